"""Addition of FP32 numbers in several lanes."""

from amaranth import Module, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.pipeline import Valids
from .lane import ADD_STAGES, Lane, add

__all__ = ["FloatAdd"]


class FloatAdd(wiring.Component):
    """``o = a + b`` in every lane, as IEEE-754 binary32 has it.

    Rounded to nearest, ties to even; subnormal numbers count; every NaN is 0x7FC00000; the sum of
    opposite numbers is +0.

    Parameters
    ----------
    lanes : int
        Additions per cycle.

    Members
    -------
    i : In(stream.Signature(StructLayout(a, b: ArrayLayout(32, lanes)), always_ready=True))
        Operands.
    o : Out(stream.Signature(ArrayLayout(32, lanes), always_ready=True))
        Sums, in the order received.
    busy : Out(1)
        Operands are inside.

    Timing
    ------
    Latency: 10 cycles (``LATENCY``).
    Throughput: one addition per lane and cycle. Backpressure: none. Combinational paths: none.
    Reset: valid flags. Idle stages keep still.
    """

    LATENCY = ADD_STAGES

    def __init__(self, lanes):
        self._lanes = lanes
        numbers = data.ArrayLayout(unsigned(32), lanes)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"a": numbers, "b": numbers}),
                                     always_ready=True)),
            "o": Out(stream.Signature(numbers, always_ready=True)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        valids = Valids(m, self.i.valid, self.LATENCY)
        m.d.comb += [self.o.valid.eq(valids.last), self.busy.eq(valids.busy)]
        for n in range(self._lanes):
            lane = Lane(m, valids.enables, str(n))
            m.d.comb += self.o.p[n].eq(add(lane, 0, "sum", self.i.p.a[n], self.i.p.b[n]))
        return m
