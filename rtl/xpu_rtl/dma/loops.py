"""Nested loops: their counters, and sums that advance with them."""

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["COUNT_WIDTH", "LoopCounters", "LoopSum", "select_one"]

COUNT_WIDTH = 16    #: bits of the iterations of a loop


def select_one(m, one_hot, values, shape, name):
    """Return a signal with the one of ``values`` whose bit of ``one_hot`` is set; 0 if none is."""
    total = 0
    for bit, value in zip(one_hot, values, strict=True):
        total |= value & bit.replicate(len(value))
    chosen = Signal(shape, name=name)
    m.d.comb += chosen.eq(total)
    return chosen


class LoopCounters(wiring.Component):
    """Count through nested loops, loop 0 the innermost.

    Parameters
    ----------
    loops : int
        Loops, at least 1.

    Members
    -------
    load : In(1)
        Begin with all indices 0.
    counts : In(ArrayLayout(16, loops))
        Iterations of each loop, at least 1; looked at with ``load``.
    step : In(1)
        Go to the next iteration. ``load`` wins.
    advance : Out(loops)
        The loop whose index a step would increment, one-hot; the loops within begin anew. None at
        the last iteration.
    last : Out(1)
        The last iteration.

    Timing
    ------
    Latency: outputs belong to the iteration from 1 cycle after ``load`` or ``step`` on.
    Throughput: one step per cycle. Backpressure: none. Combinational paths: none.
    Reset: nothing is reset.
    """

    def __init__(self, loops):
        self._loops = loops
        super().__init__({
            "load": In(1), "counts": In(data.ArrayLayout(COUNT_WIDTH, loops)), "step": In(1),
            "advance": Out(loops), "last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        ended = Signal(self._loops, reset_less=True)        # no iterations after this one
        single = Signal(self._loops, reset_less=True)       # the loop has one iteration
        m.d.comb += self.last.eq(ended.all())
        for n in range(self._loops):
            span = Signal(COUNT_WIDTH, reset_less=True, name=f"span_{n}")   # iterations less one
            left = Signal(COUNT_WIDTH, reset_less=True, name=f"left_{n}")   # after this one
            inner = Signal(name=f"inner_ended_{n}")
            m.d.comb += [inner.eq(ended[:n].all()), self.advance[n].eq(inner & ~ended[n])]
            with m.If(self.load):
                less = Signal(COUNT_WIDTH, name=f"less_{n}")
                one = Signal(name=f"one_{n}")
                m.d.comb += [less.eq(self.counts[n] - 1), one.eq(self.counts[n] == 1)]
                m.d.sync += [span.eq(less), left.eq(less), ended[n].eq(one), single[n].eq(one)]
            with m.Elif(self.step & inner):
                m.d.sync += [left.eq(Mux(ended[n], span, left - 1)),
                             ended[n].eq(Mux(ended[n], single[n], left == 1))]
        return m


class LoopSum(wiring.Component):
    """``start`` plus the addends of all steps of nested loops, modulo 2**``width``.

    A step adds ``addend`` to the value at the start of the iteration of the loop that advances, so
    what the loops within have added is forgotten.

    Parameters
    ----------
    width : int
        Bits of the sum.
    loops : int
        Loops.

    Members
    -------
    load : In(1)
        Begin at ``start``.
    start : In(width)
    fresh : In(1)
        High with ``load``, low with a step that advances a loop; free else. It is known earlier.
    step : In(1)
        Go on.
    advance : In(loops)
        Loop that advances, as of ``LoopCounters``.
    addend : In(signed(32))
        To be added.
    value : Out(width)
        The sum.

    Timing
    ------
    Latency: 1 cycle from ``load`` or ``step`` to ``value``.
    Throughput: one step per cycle. Backpressure: none. Combinational paths: none.
    Reset: nothing is reset.
    """

    def __init__(self, width, loops):
        self._width, self._loops = width, loops
        super().__init__({
            "load": In(1), "start": In(width), "fresh": In(1), "step": In(1), "advance": In(loops),
            "addend": In(signed(32)), "value": Out(width),
        })

    def elaborate(self, platform):
        m = Module()
        # `bases[n]`: the sum when loop n's iteration began, all loops within at 0.
        bases = [Signal(self._width, reset_less=True, name=f"base_{n}") for n in range(self._loops)]
        chosen = select_one(m, self.advance, bases, unsigned(self._width), "chosen")
        total = Signal(self._width)
        m.d.comb += [total.eq(chosen + self.addend), self.value.eq(bases[0])]
        following = Signal(self._width)
        m.d.comb += following.eq(Mux(self.fresh, self.start, total))
        for n, base in enumerate(bases):
            with m.If(self.load | (self.step & self.advance[n:].any())):
                m.d.sync += base.eq(following)
        return m
