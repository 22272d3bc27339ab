"""Beats of runs of global memory, read ahead into a buffer."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import OFFSET_WIDTH
from ..command.windows import PAGE_BYTES, gm_allowed, ring_windows
from ..common.axi import AXI_ID_WIDTH, AxiReadPort
from ..common.deep_fifo import DeepFifo
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .bursts import BurstSplitter
from .types import beat_address, beat_count

__all__ = ["GmBeat", "GmReader", "GmRun"]


class GmRun(data.StructLayout):
    """Beats to read. Fields: ``beat`` (first), ``beats`` (less one), ``lane`` (of the first byte in
    the first beat), ``first`` (run of its command), ``ring``."""

    def __init__(self, config: XpuConfig):
        super().__init__({"beat": beat_address(config), "beats": beat_count(config),
                          "lane": config.word_shift, "first": 1, "ring": 3})


class GmBeat(data.StructLayout):
    """A beat read. Fields: ``data``, ``resp``."""

    def __init__(self, config: XpuConfig):
        super().__init__({"data": config.bus_width, "resp": 2})


class GmReader(wiring.Component):
    """Read the GM beats of each run, in order.

    Runs are cut into bursts, each within one page. A burst whose page its ring may not read is
    refused: neither it nor anything behind it is read. Any other is issued once ``read_beats``
    places less those of earlier bursts leave room for its beats, and fewer than ``max_bursts``
    bursts are outstanding. ``axi.r.ready`` is 1: whatever is outstanding has its place.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    axi_id : int
        ID of all bursts, 0 to 15.

    Members
    -------
    run : In(stream.Signature(GmRun(config)))
        Runs. One waits for the splitter, which takes it when its first burst can be formed.
    windows : In(ring_windows(config))
        What each ring may read, looked at when the splitter takes a run.
    stop : In(1)
        Issue nothing more; stays high until reset. What is outstanding still arrives.
    o : Out(stream.Signature(GmBeat(config)))
        Beats.
    ended : Out(1)
        A burst was refused, and all beats before it have been handed on. Stays high.
    refused : Out(OFFSET_WIDTH)
        Offset in GM of the first byte wanted from the refused burst.
    begun : Out(1)
        Pulse: the first burst of a run with ``first`` is issued or refused.
    busy : Out(1)
        A burst is offered or outstanding.
    axi : Out(AxiReadPort(bus_width))
        Read channels. Data must come in the order of the bursts.

    Timing
    ------
    Latency: 3 cycles from a transfer on ``run`` to ``axi.ar.valid`` (``LATENCY``), 1 from a
    transfer on ``axi.r`` to ``o.valid`` (``DATA_LATENCY``). A place is free again 2 cycles after
    its beat is handed on.
    Throughput: one run, one burst, and one beat per cycle.
    Backpressure: full on ``run`` and ``o``; none on ``axi.r``.
    Combinational paths: none.
    Reset: valid flags and counters; only while not ``busy``.
    """

    LATENCY = BurstSplitter.LATENCY + 2
    DATA_LATENCY = DeepFifo.LATENCY

    def __init__(self, config: XpuConfig, axi_id=0):
        if not 0 <= axi_id < 1 << AXI_ID_WIDTH:
            raise ValueError(f"axi_id must lie in 0..{(1 << AXI_ID_WIDTH) - 1}, not {axi_id!r}")
        self._config, self._axi_id = config, axi_id
        super().__init__({
            "run": In(stream.Signature(GmRun(config))),
            "windows": In(ring_windows(config)), "stop": In(1),
            "o": Out(stream.Signature(GmBeat(config))),
            "ended": Out(1), "refused": Out(OFFSET_WIDTH), "begun": Out(1), "busy": Out(1),
            "axi": Out(AxiReadPort(config.bus_width)),
        })

    def elaborate(self, platform):
        m = Module()
        config, axi, run = self._config, self.axi, self.run

        # A run for which the splitter is not ready waits in `kept`: `run.ready` is a register.
        kept_valid = Signal()
        kept = Signal(GmRun(config), reset_less=True)
        next_run = Signal(GmRun(config))
        next_valid = Signal()
        m.d.comb += [
            run.ready.eq(~kept_valid), next_valid.eq(kept_valid | run.valid),
            next_run.eq(Mux(kept_valid, kept, run.p)),
        ]
        with m.If(run.valid & run.ready):
            m.d.sync += kept.eq(run.p)

        # Bursts, and beside the splitter what the ring of its run may read.
        context = data.StructLayout({"lane": config.word_shift, "first": 1})
        m.submodules.splitter = splitter = BurstSplitter(config, context)
        may_read = Signal(data.StructLayout({
            "gm0_first": 32, "gm0_last": 32, "gm0_read": 1,
            "gm1_first": 32, "gm1_last": 32, "gm1_read": 1}), reset_less=True)
        m.d.comb += [
            splitter.i.valid.eq(next_valid),
            splitter.i.p.beat.eq(next_run.beat), splitter.i.p.beats.eq(next_run.beats),
            splitter.i.p.context.lane.eq(next_run.lane),
            splitter.i.p.context.first.eq(next_run.first),
        ]
        m.d.sync += kept_valid.eq(next_valid & ~splitter.i.ready)
        with m.If(next_valid & splitter.i.ready):
            m.d.sync += [may_read[name].eq(self.windows[next_run.ring][name])
                         for name in may_read.shape().members]

        # Bursts that have been checked. The buffer cuts the path from `issue` to `run.ready`.
        m.submodules.checked = checked = StreamFifo(data.StructLayout({
            "beat": beat_address(config), "len": 8, "lane": config.word_shift, "first": 1,
            "allowed": 1}), 2)
        new, burst = splitter.o.p, checked.o.p
        page = Signal(32)
        starts = Signal()       # the burst has the first byte of its run
        page_lsb = (PAGE_BYTES // config.bus_bytes).bit_length() - 1
        m.d.comb += [
            page.eq(new.beat[page_lsb:]), starts.eq(new.first),
            checked.i.valid.eq(splitter.o.valid), splitter.o.ready.eq(checked.i.ready),
            checked.i.p.beat.eq(new.beat), checked.i.p.len.eq(new.len),
            checked.i.p.lane.eq(Mux(starts, new.context.lane, 0)),
            checked.i.p.first.eq(starts & new.context.first),
            checked.i.p.allowed.eq(gm_allowed(may_read, page, write=False)),
        ]

        # Addresses. `free` counts places neither taken nor reserved.
        ar_valid = Signal()
        ar_beat = Signal(beat_address(config), reset_less=True)
        ar_len = Signal(8, reset_less=True)
        free = Signal(range(config.read_beats + 1), init=config.read_beats)
        outstanding = Signal(range(config.max_bursts + 1))
        full = Signal()         # max_bursts bursts are outstanding
        look = Signal()
        issue = Signal()
        refuse = Signal()
        ended = Signal()        # a burst was refused
        freed = Signal()        # a beat was handed on in the cycle before
        answered = Signal()
        m.d.comb += [
            look.eq(checked.o.valid & ~self.stop & ~ended),
            issue.eq(look & burst.allowed & (~ar_valid | axi.ar.ready) & ~full
                     & (free > burst.len)),
            refuse.eq(look & ~burst.allowed), checked.o.ready.eq(issue | refuse),
            axi.ar.valid.eq(ar_valid), axi.ar.p.addr.eq(ar_beat << config.word_shift),
            axi.ar.p.len.eq(ar_len), axi.ar.p.id.eq(self._axi_id),
            answered.eq(axi.r.valid & axi.r.p.last),
            self.ended.eq(ended & (free == config.read_beats)),
            self.busy.eq(outstanding != 0),
        ]
        m.d.sync += [
            free.eq(Mux(issue, free - burst.len - 1, free) + freed),
            outstanding.eq(outstanding + issue - answered),
            freed.eq(self.o.valid & self.o.ready),
            self.begun.eq((issue | refuse) & burst.first),
        ]
        with m.If(issue & ~answered):
            m.d.sync += full.eq(outstanding == config.max_bursts - 1)
        with m.Elif(answered & ~issue):
            m.d.sync += full.eq(0)
        with m.If(axi.ar.ready):
            m.d.sync += ar_valid.eq(0)
        with m.If(issue):
            m.d.sync += [ar_valid.eq(1), ar_beat.eq(burst.beat), ar_len.eq(burst.len)]
        with m.If(refuse):
            m.d.sync += [ended.eq(1), self.refused.eq(Cat(burst.lane, burst.beat))]

        # Data.
        m.submodules.beats = beats = DeepFifo(GmBeat(config), config.read_beats)
        wiring.connect(m, beats.o, wiring.flipped(self.o))
        m.d.comb += [
            beats.i.valid.eq(axi.r.valid), axi.r.ready.eq(1),
            beats.i.p.data.eq(axi.r.p.data), beats.i.p.resp.eq(axi.r.p.resp),
        ]
        return m
