"""Bursts that a DMA stream writes to global memory."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.windows import PAGE_BYTES, RingWindows, gm_allowed, ring_windows
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .bursts import BurstSplitter
from .stages import DestinationRun
from .types import Burst, beat_address

__all__ = ["WriteBurst", "WriteBursts"]


class WriteBurst(data.StructLayout):
    """A burst to begin. Fields: ``beat``, ``len`` as in ``Burst``; ``fault`` (of the
    run), ``legal`` (no fault, and within the windows); ``row_end``, ``command_end`` (it is the last
    of its row, command); ``sure`` (it may begin with its first word), ``end`` (number, modulo its
    range, of words up to its last one)."""

    def __init__(self, config: XpuConfig):
        super().__init__({
            "beat": beat_address(config), "len": unsigned(8), "fault": unsigned(1),
            "legal": unsigned(1), "row_end": unsigned(1),
            "command_end": unsigned(1), "sure": unsigned(1),
            # Bursts run ahead of the words by at most four, words ahead by two.
            "end": unsigned((16 * config.burst_beats - 1).bit_length()),
        })


class WriteBursts(wiring.Component):
    """Cover runs by bursts within ``burst_beats`` beats, test their pages, count their words.

    The windows of the ring are picked in one cycle and tested in the next.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    run : In(stream.Signature(DestinationRun(config)))
        Runs.
    stop : In(1)
        Take no more.
    windows : In(ring_windows(config))
        What each ring may write.
    o : Out(stream.Signature(WriteBurst(config)))
        Bursts, in order.

    Timing
    ------
    Latency: 3 cycles from a transfer on ``run`` to ``o.valid`` (``LATENCY``).
    Throughput: one burst per cycle, also if every run is one burst.
    Backpressure: full.
    Combinational paths: ``stop`` to ``run.ready``.
    Reset: valid flags, the count of words.
    """

    LATENCY = BurstSplitter.LATENCY + 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "run": In(stream.Signature(DestinationRun(config))), "stop": In(1),
            "windows": In(ring_windows(config)), "o": Out(stream.Signature(WriteBurst(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        context = data.StructLayout(
            {"direct": 1, "fault": 1, "row_last": 1, "last": 1, "ring": 3})
        m.submodules.splitter = splitter = BurstSplitter(config, context)
        m.submodules.fifo = fifo = StreamFifo(WriteBurst(config), 2)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))

        valid = Signal()
        burst = Signal(Burst(config, context), reset_less=True)
        windows = Signal(RingWindows(), reset_less=True)
        page = Signal(32)
        end = Signal(WriteBurst(config)["end"].shape)
        advance = Signal()
        run, split, tested = self.run.p, splitter.o.p, fifo.i.p
        m.d.comb += [
            splitter.i.valid.eq(self.run.valid & ~self.stop),
            self.run.ready.eq(splitter.i.ready & ~self.stop),
            splitter.i.p.beat.eq(run.beat), splitter.i.p.beats.eq(run.beats),
            *(splitter.i.p.context[name].eq(run[name]) for name, _ in context),
            advance.eq(~valid | fifo.i.ready), splitter.o.ready.eq(advance),
            page.eq(burst.beat >> ((PAGE_BYTES - 1).bit_length() - config.word_shift)),
            fifo.i.valid.eq(valid), tested.beat.eq(burst.beat), tested.len.eq(burst.len),
            tested.fault.eq(burst.context.fault),
            tested.legal.eq(gm_allowed(windows, page, write=True) & ~burst.context.fault),
            tested.row_end.eq(burst.last & burst.context.row_last),
            tested.command_end.eq(burst.last & burst.context.last),
            tested.sure.eq(burst.context.direct | (burst.len == 0)),
            tested.end.eq(end + burst.len + 1),
        ]
        with m.If(fifo.i.valid & fifo.i.ready):
            m.d.sync += end.eq(tested.end)
        with m.If(advance):
            m.d.sync += valid.eq(splitter.o.valid)
        with m.If(advance & splitter.o.valid):
            m.d.sync += [burst.eq(split), windows.eq(self.windows[split.context.ring])]
        return m
