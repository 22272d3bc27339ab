"""Lists of indices, read ahead."""

from amaranth import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import OFFSET_WIDTH, SPACE_LSB, Space
from ..command.formats import FaultCause
from ..command.types import FaultReport
from ..command.windows import LINE_BYTES, PAGE_BYTES, gm_allowed, ring_windows, sm_allowed
from ..common.axi import AXI_ID_WIDTH, AxiAddress, AxiReadPort
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .stages import IndexEntry, IndexJob
from .types import beat_address

__all__ = ["IndexReader"]

_LIST_BYTES = 18        # bits of the bytes of a list


class IndexReader(wiring.Component):
    """Read index lists from GM or SM; offer their entries in order.

    GM is read by bursts that end at multiples of ``burst_beats`` beats, so none crosses 4 KiB, and
    no beat without an entry of the list is read. A place of the buffer is reserved for every beat
    before it is asked for. Lists follow each other without waiting for data, except that those of
    one memory are at hand before the other is read.

    A list that leaves its memory is BAD_ADDRESS, one in SM that its ring may not read whole is
    PROTECTION, both with the address of the list; a GM burst that the ring may not read is
    PROTECTION with the address of its first entry. A read error is BUS_READ. The entry that meets
    one of these is offered with ``fault`` after all entries before it, and nothing follows until
    reset.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    axi_id : int
        ID of all bursts, 0 to 15.

    Members
    -------
    job : In(stream.Signature(IndexJob()))
        Lists.
    o : Out(stream.Signature(IndexEntry()))
        Entries.
    fault : Out(FaultReport())
        Why the entry offered with ``fault`` could not be read; ``row`` is 0. Valid from the cycle
        in which it is offered.
    windows : In(ring_windows(config))
        What the rings may read.
    halt : In(1)
        Ask for nothing more. What is asked for still arrives.
    busy : Out(1)
        AXI or the scratchpad has been asked, or is being asked, and has not yet answered.
    axi : Out(AxiReadPort(bus_width))
        Read channels. Data must come in the order of the bursts. ``r.ready`` is constant.
    sm : Out(ScratchpadPort(config))
        Scratchpad; reads only.

    Timing
    ------
    Latency: 4 cycles from a transfer on ``job`` to ``axi.ar.valid`` or ``sm.req.valid``
    (``ISSUE_LATENCY``), 2 from the arrival of a beat to ``o.valid`` (``DATA_LATENCY``).
    Throughput: one entry per cycle, without a gap between lists, as long as the memory answers
    within the time it takes to use ``BEATS`` - ``burst_beats`` beats; one burst or word asked for
    per cycle.
    Backpressure: full.
    Combinational paths: ``halt`` to ``job.ready``.
    Reset: valid flags and counters; only while not ``busy``.
    """

    BEATS = 32
    ISSUE_LATENCY = 4
    DATA_LATENCY = 2

    def __init__(self, config: XpuConfig, axi_id=0):
        if not 0 <= axi_id < 1 << AXI_ID_WIDTH:
            raise ValueError(f"axi_id must lie in 0..{(1 << AXI_ID_WIDTH) - 1}, not {axi_id!r}")
        self._config, self._axi_id = config, axi_id
        super().__init__({
            "job": In(stream.Signature(IndexJob())), "o": Out(stream.Signature(IndexEntry())),
            "fault": Out(FaultReport()), "windows": In(ring_windows(config)),
            "halt": In(1), "busy": Out(1), "axi": Out(AxiReadPort(config.bus_width)),
            "sm": Out(ScratchpadPort(config)),
        })

    @staticmethod
    def burst_beats(config):
        """Most beats of a burst: 64 bytes, but 4 to 8 beats."""
        return min(8, max(4, 64 // config.bus_bytes))

    def elaborate(self, platform):
        m = Module()
        config, axi, sm = self._config, self.axi, self.sm
        shift = config.word_shift
        burst_beats = self.burst_beats(config)
        place = unsigned(shift - 2)         # of an entry within its beat
        beat_bits = OFFSET_WIDTH - shift
        left_bits = _LIST_BYTES - shift + 1
        listed = data.StructLayout({"beat": beat_address(config), "place": place, "count": 16})
        m.submodules.lists = lists = StreamFifo(listed, self.BEATS)
        arrived = data.StructLayout({"data": config.word_width, "resp": 2, "marker": 1})
        m.submodules.beats = beats = StreamFifo(arrived, self.BEATS)
        failed = Signal()       # a marker is in the buffer

        # Stage 1: a list, its first and its last byte.
        s1_valid = Signal()
        s1 = Signal(IndexJob(), reset_less=True)
        s1_last = Signal(OFFSET_WIDTH + 1, reset_less=True)
        s1_taken = Signal()
        last_byte = Signal(OFFSET_WIDTH + 1)
        m.d.comb += [
            # The list begins at a multiple of 4.
            last_byte[2:].eq(self.job.p.address[2:OFFSET_WIDTH] + self.job.p.count - 1),
            last_byte[:2].eq(3),
            self.job.ready.eq((~s1_valid | s1_taken) & ~self.halt & ~failed),
        ]
        with m.If(s1_taken):
            m.d.sync += s1_valid.eq(0)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [s1_valid.eq(1), s1.eq(self.job.p), s1_last.eq(last_byte)]

        space = s1.address[SPACE_LSB:]
        offset = s1.address[:SPACE_LSB]
        line = LINE_BYTES.bit_length() - 1
        bad_list = Signal()
        sm_open = Signal()
        in_sm = Signal()
        in_gm = Signal()
        m.d.comb += [
            in_gm.eq(space == Space.GM), in_sm.eq(space == Space.SM),
            bad_list.eq(~((in_gm & ~s1_last[OFFSET_WIDTH])
                          | (in_sm & (s1_last[config.sm_byte_width:] == 0)))),
        ]
        with m.Switch(s1.ring):
            for ring in range(config.rings):
                with m.Case(ring):
                    m.d.comb += sm_open.eq(sm_allowed(
                        self.windows[ring], offset[line:config.sm_byte_width],
                        s1_last[line:config.sm_byte_width], write=False))

        # Stage 2: the list is split into bursts, or in SM words. A bad list is one bad burst.
        s2_valid = Signal()
        s2_space = Signal(4, reset_less=True)
        s2_beat = Signal(beat_bits, reset_less=True)
        s2_place = Signal(place, reset_less=True)
        s2_left = Signal(left_bits, reset_less=True)        # beats less one
        s2_ring = Signal(3, reset_less=True)
        s2_bad = Signal(reset_less=True)
        s2_closed = Signal(reset_less=True)
        s2_taken = Signal()
        room = Signal(range(burst_beats))      # beats to the end of the burst, less one
        s2_len = Signal(range(burst_beats))
        s2_last = Signal()
        m.d.comb += [
            room.eq(Mux(s2_space == Space.SM, 0, ~s2_beat)),
            s2_last.eq((s2_left <= room) | s2_bad), s2_len.eq(Mux(s2_last, s2_left, room)),
            s1_taken.eq(s1_valid & (~s2_valid | (s2_taken & s2_last)) & lists.i.ready),
            lists.i.valid.eq(s1_taken), lists.i.p.beat.eq(offset[shift:]),
            lists.i.p.place.eq(offset[2:shift]), lists.i.p.count.eq(s1.count),
        ]
        with m.If(s2_taken):
            m.d.sync += [s2_valid.eq(~s2_last), s2_beat.eq(s2_beat + room + 1), s2_place.eq(0),
                         s2_left.eq(s2_left - room - 1)]
        with m.If(s1_taken):
            m.d.sync += [
                s2_valid.eq(1), s2_space.eq(space), s2_beat.eq(offset[shift:]),
                s2_place.eq(offset[2:shift]),
                s2_left.eq(s1_last[shift:shift + left_bits] - offset[shift:shift + left_bits]),
                s2_ring.eq(s1.ring), s2_bad.eq(bad_list), s2_closed.eq(in_sm & ~sm_open),
            ]

        # Stage 3: a burst checked against the windows.
        s3_valid = Signal()
        s3_space = Signal(4, reset_less=True)
        s3_beat = Signal(beat_bits, reset_less=True)
        s3_place = Signal(place, reset_less=True)
        s3_len = Signal(range(burst_beats), reset_less=True)
        s3_bad = Signal(reset_less=True)
        s3_closed = Signal(reset_less=True)
        s3_taken = Signal()
        page_open = Signal()
        page = PAGE_BYTES.bit_length() - 1 - shift
        with m.Switch(s2_ring):
            for ring in range(config.rings):
                with m.Case(ring):
                    m.d.comb += page_open.eq(gm_allowed(self.windows[ring], s2_beat[page:],
                                                        write=False))
        m.d.comb += s2_taken.eq(s2_valid & (~s3_valid | s3_taken))
        with m.If(s3_taken):
            m.d.sync += s3_valid.eq(0)
        with m.If(s2_taken):
            m.d.sync += [
                s3_valid.eq(1), s3_space.eq(s2_space), s3_beat.eq(s2_beat), s3_place.eq(s2_place),
                s3_len.eq(s2_len), s3_bad.eq(s2_bad),
                s3_closed.eq(s2_closed | ((s2_space == Space.GM) & ~page_open)),
            ]

        # Requests. A fault waits for all that is under way, so that it takes its turn.
        ar_valid = Signal()
        ar = Signal(AxiAddress(), reset_less=True)
        req_valid = Signal()
        word = Signal(config.sm_addr_width, reset_less=True)
        free = Signal(range(self.BEATS + 1), init=self.BEATS)
        flying = Signal(range(self.BEATS + 1))
        kind = Signal(reset_less=True)          # what flies is of the scratchpad
        issue = Signal()
        asked = Signal(range(burst_beats + 1))
        answered = Signal()
        freed = Signal()
        mark = Signal()
        s3_fault = Signal()
        s3_sm = Signal()
        port_free = Signal()
        m.d.comb += [
            s3_fault.eq(s3_bad | s3_closed), s3_sm.eq(s3_space == Space.SM),
            port_free.eq(Mux(s3_sm, ~req_valid | sm.req.ready, ~ar_valid | axi.ar.ready)),
            issue.eq(s3_valid & ~s3_fault & port_free & (free > s3_len) & ~self.halt
                     & ((flying == 0) | (kind == s3_sm))),
            mark.eq(s3_valid & s3_fault & (flying == 0) & beats.i.ready & ~failed),
            s3_taken.eq(issue),
            asked.eq(Mux(issue, s3_len + 1, 0)),
            answered.eq(axi.r.valid | sm.rsp.valid),
            axi.ar.valid.eq(ar_valid), axi.ar.payload.eq(ar), axi.r.ready.eq(1),
            sm.req.valid.eq(req_valid), sm.req.p.address.eq(word),
            self.busy.eq(flying != 0),
            beats.i.valid.eq(answered | mark), beats.i.p.marker.eq(mark),
            beats.i.p.data.eq(Mux(kind, sm.rsp.payload, axi.r.p.data)),
            beats.i.p.resp.eq(Mux(kind, 0, axi.r.p.resp)),
        ]
        m.d.sync += [free.eq(free - asked + freed), flying.eq(flying + asked - answered)]
        with m.If(axi.ar.ready):
            m.d.sync += ar_valid.eq(0)
        with m.If(sm.req.ready):
            m.d.sync += req_valid.eq(0)
        with m.If(issue):
            m.d.sync += kind.eq(s3_sm)
            with m.If(s3_sm):
                m.d.sync += [req_valid.eq(1), word.eq(s3_beat)]
            with m.Else():
                m.d.sync += [ar_valid.eq(1), ar.addr.eq(Cat(C(0, shift), s3_beat)),
                             ar.len.eq(s3_len), ar.id.eq(self._axi_id)]
        with m.If(mark):
            m.d.sync += failed.eq(1)

        # Entries. `left`: entries of the list after this one.
        active = Signal()
        at = Signal(listed, reset_less=True)
        take = Signal()
        list_end = Signal()
        beat_end = Signal()
        bad = Signal()
        ended = Signal()
        o_valid = Signal()
        entry = Signal(IndexEntry(), reset_less=True)
        report = Signal(FaultReport(), reset_less=True)
        head = beats.o.p
        m.d.comb += [
            take.eq(active & beats.o.valid & (~o_valid | self.o.ready) & ~ended),
            list_end.eq(at.count == 1), beat_end.eq(list_end | at.place.all()),
            bad.eq(head.marker | head.resp[1]),
            freed.eq(take & beat_end), beats.o.ready.eq(freed),
            lists.o.ready.eq(~active | (take & list_end)),
            self.o.valid.eq(o_valid), self.o.payload.eq(entry), self.fault.eq(report),
        ]
        with m.If(self.o.ready):
            m.d.sync += o_valid.eq(0)
        with m.If(take):
            m.d.sync += [
                o_valid.eq(1), entry.value.eq(head.data.word_select(at.place, 32)),
                entry.fault.eq(bad), ended.eq(bad), at.place.eq(at.place + 1),
                at.count.eq(at.count - 1), at.beat.eq(at.beat + beat_end), active.eq(~list_end),
            ]
            with m.If(bad):
                m.d.sync += [report.cause.eq(FaultCause.BUS_READ), report.info.eq(head.resp),
                             report.address.eq(Cat(C(0, shift), at.beat)), report.row.eq(0)]
            with m.If(bad & head.marker):
                m.d.sync += [
                    report.cause.eq(Mux(s3_bad, FaultCause.BAD_ADDRESS, FaultCause.PROTECTION)),
                    report.info.eq(Mux(s3_bad, 0, s3_space)),
                    report.address.eq(Cat(C(0, 2), s3_place, s3_beat, s3_space)),
                ]
        with m.If(lists.o.valid & lists.o.ready):
            m.d.sync += [active.eq(1), at.eq(lists.o.p)]
        return m
