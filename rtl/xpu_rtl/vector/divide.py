"""Integer division of a vector row, in lanes of 32 bits."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named

__all__ = ["VectorDivide"]


class VectorDivide(wiring.Component):
    """Quotients and remainders, digit by digit.

    Division by zero gives all ones and the dividend, the overflowing one the dividend and 0.

    Parameters
    ----------
    lanes : int
        Divisions at a time.

    Members
    -------
    start, op : In(1), In(2)
        Begin: 0 unsigned quotient, 1 signed quotient, 2 unsigned remainder, 3 signed remainder.
        Not while ``busy``.
    in2, in1 : In(32 * lanes)
        Dividends, divisors, extended to 32 bits by their kind.
    busy : Out(1)
        A division is under way.
    result : Out(32 * lanes)
        Of the last division, once not ``busy``, until the next.

    Timing
    ------
    Latency: 33 cycles from ``start`` to the end of ``busy``. Throughput: one row at a time.
    Backpressure: none. Combinational paths: none. Reset: idle.
    """

    def __init__(self, lanes):
        self._lanes = lanes
        super().__init__({"start": In(1), "op": In(2), "in2": In(32 * lanes), "in1": In(32 * lanes),
                          "busy": Out(1), "result": Out(32 * lanes)})

    def elaborate(self, platform):
        m = Module()
        count, op = Signal(range(33)), Signal(2, reset_less=True)
        m.d.comb += self.busy.eq(count != 0)
        with m.If(self.start):
            m.d.sync += [count.eq(32), op.eq(self.op)]
        with m.Elif(count != 0):
            m.d.sync += count.eq(count - 1)
        for n in range(self._lanes):
            a, b = self.in2.word_select(n, 32), self.in1.word_select(n, 32)
            quotient, divisor, rest = (Signal(32, name=f"{name}_{n}", reset_less=True)
                                       for name in ("quotient", "divisor", "rest"))
            negate_quotient = Signal(name=f"negate_quotient_{n}", reset_less=True)
            negate_rest = Signal(name=f"negate_rest_{n}", reset_less=True)
            a_negative = named(m, f"a_negative_{n}", 1, self.op[0] & a[31])
            b_negative = named(m, f"b_negative_{n}", 1, self.op[0] & b[31])
            taken = named(m, f"taken_{n}", 33, Cat(quotient[-1], rest))
            trial = named(m, f"trial_{n}", signed(34), taken - divisor)
            with m.If(self.start):
                m.d.sync += [
                    quotient.eq(Mux(a_negative, -a, a)), divisor.eq(Mux(b_negative, -b, b)),
                    rest.eq(0), negate_quotient.eq((a_negative ^ b_negative) & b.any()),
                    negate_rest.eq(a_negative),
                ]
            with m.Elif(count != 0):
                m.d.sync += [quotient.eq(Cat(~trial[-1], quotient)),
                             rest.eq(Mux(trial[-1], taken, trial))]
            m.d.comb += self.result.word_select(n, 32).eq(
                Mux(op[1], Mux(negate_rest, -rest, rest),
                    Mux(negate_quotient, -quotient, quotient)))
        return m
