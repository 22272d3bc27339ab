"""From rows of beats to AXI bursts."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .types import Burst, SplitRow, beat_address, beat_count

__all__ = ["BurstSplitter"]


class BurstSplitter(wiring.Component):
    """Cover each row of beats by INCR bursts.

    A burst ends at the end of its row or at the next multiple of ``burst_beats`` beats, whichever
    comes first. As ``burst_beats`` beats divide 4 KiB, no burst crosses a 4 KiB boundary.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    context : ShapeLike
        Whatever belongs to a row; each of its bursts carries a copy.

    Members
    -------
    i : In(stream.Signature(SplitRow(config, context)))
        Rows. Accepted when their first burst can be formed, not when the last one is.
    o : Out(stream.Signature(Burst(config, context)))
        Bursts, in order.

    Timing
    ------
    Latency: 1 cycle from a transfer on ``i`` to ``o.valid`` (``LATENCY``).
    Throughput: one burst per cycle, also if every row is one burst.
    Backpressure: full.
    Combinational paths: ``o.ready`` to ``i.ready``.
    Reset: the valid flag only.
    """

    LATENCY = 1

    def __init__(self, config: XpuConfig, context):
        self._config, self._context = config, context
        super().__init__({"i": In(stream.Signature(SplitRow(config, context))),
                          "o": Out(stream.Signature(Burst(config, context)))})

    def elaborate(self, platform):
        m = Module()
        config = self._config
        bits = config.burst_beats.bit_length() - 1

        valid = Signal()
        first = Signal(reset_less=True)
        beat = Signal(beat_address(config), reset_less=True)
        left = Signal(beat_count(config), reset_less=True)      # beats less one
        context = Signal(self._context, reset_less=True)

        room = Signal(bits)     # beats to the boundary, less one
        last = Signal()
        m.d.comb += [
            room.eq(~beat[:bits]), last.eq(left <= room),
            self.o.valid.eq(valid), self.o.p.beat.eq(beat),
            self.o.p.len.eq(Mux(last, left, room)),
            self.o.p.first.eq(first), self.o.p.last.eq(last), self.o.p.context.eq(context),
            self.i.ready.eq(~valid | (self.o.ready & last)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                valid.eq(~last), first.eq(0), left.eq(left - room - 1),
                beat[:bits].eq(0), beat[bits:].eq(beat[bits:] + 1),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [valid.eq(1), first.eq(1), beat.eq(self.i.p.beat),
                         left.eq(self.i.p.beats), context.eq(self.i.p.context)]
        return m
