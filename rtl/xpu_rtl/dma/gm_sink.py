"""The end of a DMA stream that writes global memory."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import Space
from ..command.formats import FaultCause
from ..command.types import FaultReport
from ..command.windows import ring_windows
from ..common.axi import AXI_ID_WIDTH, AxiWriteBeat, AxiWritePort
from ..common.deep_fifo import DeepFifo
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .align import count_ones
from .stages import DestinationRun
from .types import AlignedWord, beat_address
from .write_bursts import WriteBurst, WriteBursts

__all__ = ["GmSink"]

WRITE_INFO = Space.GM | 16      #: `info` of a PROTECTION fault


class GmSink(wiring.Component):
    """Write the words of each run to consecutive beats of GM, by bursts within 4 KiB pages.

    A burst begins when its first word is at hand and its page is within the windows of the run's
    ring; unless the run is ``direct``, when all its words are at hand. AW is offered no later than
    the first W beat, and neither waits for the other. So a begun burst always ends, whichever
    channel the other side takes first. A command is complete when all its responses have come.

    A run with ``fault``, a burst outside the windows and a write error stop the sink: no burst
    begins any more, a burst under way gets its remaining beats without strobes, the responses of
    bursts begun are awaited. A write error among those is what is reported, being about an earlier
    row. ``failed`` without ``busy`` means all this is over, and ``fault`` final.

    Parameters
    ----------
    config : XpuConfig
        Sizes. Bursts unanswered: ``max_bursts``. Words ahead of the bursts: 2 * ``burst_beats``.
    axi_id : int
        ID of all bursts, 0 to 15.

    Members
    -------
    run : In(stream.Signature(DestinationRun(config)))
        Runs, taken ahead of their words. ``semaphore`` is not used.
    run_fault : In(FaultReport())
        Meaning of the run with ``fault``. Stays from the offer of that run on.
    i : In(stream.Signature(AlignedWord(config, 0)))
        Words, ``beats`` + 1 for each run. ``first`` and ``last`` are not used.
    halt : In(1)
        Stop as for a fault. Runs and words offered are dropped. Stays high until reset.
    windows : In(ring_windows(config))
        What each ring may write. Constant while a run of the ring is under way.
    axi : Out(AxiWritePort(bus_width))
        Write channels. Responses must come in the order of the bursts.
    completed : Out(1)
        A command is complete; one pulse each.
    failed : Out(1)
        The sink has stopped by itself. Stays high until reset.
    fault : Out(FaultReport())
        If ``failed`` and not ``busy``: why. PROTECTION names the first byte to be written by the
        burst, BUS_WRITE the burst. ``row`` is the number of rows of the command before it.
    busy : Out(1)
        A burst is unanswered, a completion pending, or words held make a burst (or a fault) that
        is yet to begin, or their run is yet to come. Low while words held wait for further ones.
    payload_bytes : Out(range(bus_bytes + 1))
        Bytes taken by the write channel, one cycle later.

    Timing
    ------
    Latency: 4 cycles from a transfer on ``run`` until its first burst can begin (``RUN_LATENCY``);
    from a transfer on ``i`` to ``axi.aw.valid`` and ``axi.w.valid`` of a burst it lets begin 2
    cycles if it is the burst's first word (``DATA_LATENCY``), else 3 (``LAST_LATENCY``); 1 from
    ``axi.b`` to ``completed`` or ``failed`` (``RESPONSE_LATENCY``); 3 from a word on ``i`` to
    ``failed`` for its run or burst (``FAULT_LATENCY``).
    Throughput: one beat per cycle, also if each is a burst and a run of its own, while
    ``max_bursts`` bursts cover the latency of the memory.
    Backpressure: full.
    Combinational paths: ``halt`` to ``i.ready`` and ``run.ready``.
    Reset: valid flags and counters; only while not ``busy``.
    """

    #: Beats between words and channel: one in transfer, and two for the cycle or two that a beat
    #: waits for its address in a multiplexer behind.
    BEATS_AHEAD = 4
    RUN_LATENCY = WriteBursts.LATENCY + 1
    DATA_LATENCY = DeepFifo.LATENCY + 1
    LAST_LATENCY = DATA_LATENCY + 1
    RESPONSE_LATENCY = 1
    FAULT_LATENCY = DeepFifo.LATENCY + 2

    def __init__(self, config: XpuConfig, *, axi_id=0):
        if not 0 <= axi_id < 1 << AXI_ID_WIDTH:
            raise ValueError(f"axi_id must lie in 0..{(1 << AXI_ID_WIDTH) - 1}, not {axi_id!r}")
        self._config, self._axi_id = config, axi_id
        super().__init__({
            "run": In(stream.Signature(DestinationRun(config))),
            "run_fault": In(FaultReport()),
            "i": In(stream.Signature(AlignedWord(config, 0))),
            "halt": In(1),
            "windows": In(ring_windows(config)),
            "axi": Out(AxiWritePort(config.bus_width)),
            "completed": Out(1), "failed": Out(1), "fault": Out(FaultReport()), "busy": Out(1),
            "payload_bytes": Out(range(config.bus_bytes + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        config, axi = self._config, self.axi
        bus_failed = Signal()   # failed by a response
        stop = Signal()         # no new bursts
        m.d.comb += stop.eq(self.halt | self.failed)

        m.submodules.bursts = bursts = WriteBursts(config)
        m.d.comb += [
            bursts.stop.eq(stop), bursts.windows.eq(self.windows),
            bursts.run.valid.eq(self.run.valid), bursts.run.payload.eq(self.run.payload),
            self.run.ready.eq(bursts.run.ready | self.halt),
        ]

        # Words ahead of the bursts.
        word_layout = data.StructLayout({"data": config.word_width, "strobe": config.word_bytes})
        m.submodules.words = words = DeepFifo(word_layout, 2 * config.burst_beats)
        m.d.comb += [
            words.i.valid.eq(self.i.valid & ~stop),
            self.i.ready.eq((words.i.ready & ~self.failed) | self.halt),
            words.i.p.data.eq(self.i.p.data), words.i.p.strobe.eq(self.i.p.strobe),
        ]

        # The next burst. `enough`: its words were there in the cycle before, or its first suffices.
        word_moves = Signal()
        come = Signal(WriteBurst(config)["end"].shape)      # words, so far
        fresh = Signal()        # one that `enough` does not know
        burst_valid = Signal()
        burst = Signal(WriteBurst(config), reset_less=True)
        enough = Signal()
        start = Signal()
        load = Signal()
        spare = Signal.like(come)           # words beyond the burst; as a negative number if none
        spare_behind = Signal.like(come)    # beyond the burst behind it
        m.d.comb += [
            word_moves.eq(words.i.valid & words.i.ready),
            load.eq(~burst_valid | start), bursts.o.ready.eq(load),
            spare.eq(come - burst.end), spare_behind.eq(come - bursts.o.p.end),
        ]
        m.d.sync += [come.eq(come + word_moves), fresh.eq(word_moves)]
        with m.If(load):
            m.d.sync += [burst_valid.eq(bursts.o.valid), burst.eq(bursts.o.payload),
                         enough.eq(bursts.o.p.sure | ~spare_behind[-1])]
        with m.Else():
            m.d.sync += enough.eq(burst.sure | ~spare[-1])

        # Bursts begin. `owed` holds those whose responses are awaited.
        owed_layout = data.StructLayout(
            {"beat": beat_address(config), "row_end": 1, "command_end": 1})
        address_layout = data.StructLayout({"beat": beat_address(config), "len": 8})
        m.submodules.addresses = addresses = StreamFifo(address_layout, 2)
        m.submodules.beats = beats = StreamFifo(AxiWriteBeat(config.bus_width), self.BEATS_AHEAD)
        m.submodules.owed = owed = StreamFifo(owed_layout, config.max_bursts)
        word = words.o.p
        in_burst = Signal()
        left = Signal(8, reset_less=True)       # beats after this one
        look = Signal()         # a burst and its first word are there
        follow = Signal()
        move = Signal()
        last = Signal()
        m.d.comb += [
            look.eq(burst_valid & words.o.valid & ~in_burst & ~stop),
            start.eq(look & burst.legal & enough
                     & addresses.i.ready & beats.i.ready & owed.i.ready),
            follow.eq(in_burst & (words.o.valid | stop) & beats.i.ready),
            move.eq(start | follow),
            last.eq(Mux(in_burst, left == 0, burst.len == 0)),
            words.o.ready.eq(move),
            addresses.i.valid.eq(start), owed.i.valid.eq(start), beats.i.valid.eq(move),
            addresses.i.p.beat.eq(burst.beat), addresses.i.p.len.eq(burst.len),
            owed.i.p.beat.eq(burst.beat), owed.i.p.row_end.eq(burst.row_end),
            owed.i.p.command_end.eq(burst.command_end),
            beats.i.p.data.eq(word.data), beats.i.p.last.eq(last),
            beats.i.p.strb.eq(word.strobe & (~stop).replicate(config.bus_bytes)),
        ]
        with m.If(move):
            m.d.sync += [in_burst.eq(~last), left.eq(Mux(in_burst, left, burst.len) - 1)]

        # Write channels. `lead`: addresses less whole bursts of beats taken by the other side; at
        # most those of the bursts in `beats`. When it is -1, the address of the next burst
        # stands behind that of the last one, and its beats wait until it is offered.
        lead = Signal(range(-1, self.BEATS_AHEAD + 1))
        behind = Signal()
        address_moves = Signal()
        beat_moves = Signal()
        written = count_ones(m, beats.o.p.strb)
        m.d.comb += [
            axi.aw.valid.eq(addresses.o.valid), addresses.o.ready.eq(axi.aw.ready),
            axi.aw.p.addr.eq(addresses.o.p.beat << config.word_shift),
            axi.aw.p.len.eq(addresses.o.p.len), axi.aw.p.id.eq(self._axi_id),
            behind.eq(lead < 0),
            axi.w.valid.eq(beats.o.valid & ~behind), beats.o.ready.eq(axi.w.ready & ~behind),
            axi.w.payload.eq(beats.o.payload),
            address_moves.eq(axi.aw.valid & axi.aw.ready),
            beat_moves.eq(axi.w.valid & axi.w.ready),
        ]
        m.d.sync += [
            lead.eq(lead + address_moves - (beat_moves & axi.w.p.last)),
            self.payload_bytes.eq(Mux(beat_moves, written, 0)),
        ]

        # Responses.
        answer = Signal()
        wrong = Signal()
        rows = Signal(32)
        fault = Signal(FaultReport(), reset_less=True)
        m.d.comb += [
            axi.b.ready.eq(owed.o.valid), owed.o.ready.eq(axi.b.valid),
            answer.eq(axi.b.valid & owed.o.valid & ~bus_failed),
            wrong.eq(answer & axi.b.p.resp[1]),
        ]
        m.d.sync += self.completed.eq(answer & ~wrong & owed.o.p.command_end)
        with m.If(answer & ~wrong & owed.o.p.row_end):
            m.d.sync += rows.eq(Mux(owed.o.p.command_end, 0, rows + 1))

        # Faults. A bad burst is met in one cycle and reported in the next.
        met = Signal()
        met_strobe = Signal(config.word_bytes, reset_less=True)
        lane = Signal(config.word_shift)        # of the first byte; 0 but in the run's first burst
        m.d.sync += met.eq(look & ~burst.legal)
        with m.If(look & ~burst.legal):
            m.d.sync += met_strobe.eq(word.strobe)
        for n in reversed(range(config.word_bytes)):
            with m.If(met_strobe[n]):
                m.d.comb += lane.eq(n)
        m.d.comb += [self.fault.eq(fault), self.fault.row.eq(rows)]
        with m.If(wrong):
            m.d.sync += [
                self.failed.eq(1), bus_failed.eq(1), fault.cause.eq(FaultCause.BUS_WRITE),
                fault.address.eq(owed.o.p.beat << config.word_shift), fault.info.eq(axi.b.p.resp),
            ]
        with m.Elif(met & ~self.failed):
            m.d.sync += self.failed.eq(1)
            with m.If(burst.fault):
                m.d.sync += fault.eq(self.run_fault)
            with m.Else():
                m.d.sync += [
                    fault.cause.eq(FaultCause.PROTECTION), fault.info.eq(WRITE_INFO),
                    fault.address.eq(Cat(lane, burst.beat)),
                ]

        # `waits`: the words held are too few for the next burst.
        waits = Signal()
        m.d.comb += [
            waits.eq(burst_valid & burst.legal & ~enough & ~fresh),
            self.busy.eq((owed.level != 0) | self.completed
                         | ((words.level != 0) & ~waits & ~stop)),
        ]
        return m
