"""The floating-point lanes of the vector unit."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named
from ..float.divide import DivideSqrt
from ..float.fma import FusedMultiplyAdd
from ..float.ieee import Flags, Rounding
from ..float.to_integer import FloatToInteger
from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from .types import LaneFlags, VectorOp, VectorShape

__all__ = ["VectorFloat"]

class VectorFloat(wiring.Component):
    """Floating-point operations on the elements of a row.

    A lane of 32 bits has a unit for singles, which also takes the lower of two halves, and one for
    the upper half. Division, conversions to and from integers and estimates exist for the former
    only.

    Parameters
    ----------
    config : XpuConfig
        Width of a row.

    Members
    -------
    op : In(VectorOp)
        The instruction.
    halves : In(1)
        Elements are of 16 bits, else of 32.
    in2, in1, in_d : In(simd_width)
        Operands: vs2, vs1, vd. A half in 32 bits is in the low ones.
    a_half, c_half, out_half : In(1)
        Formats, of elements of 32 bits: of a and b; of what is added; of the result.
    size : In(2)
        log2 of the bytes of an integer result.
    rounding : In(Rounding)
    sum : In(1)
        FMA: what is added is b.
    fma, from_integer, to_integer, divide : In(1)
        Begin. ``divide`` stays until ``divided``; not ``fma`` nor ``from_integer`` while
        ``settling``.
    divided, settling : Out(1)
        The quotient enters the multiply-add, and comes out with its latency; until then it is
        settling.
    halves_now : In(1)
        What comes out of the multiply-add in this cycle are two halves in each lane.
    fma_result, fma_flags : Out(simd_width), Out(LaneFlags)
        8 cycles after ``fma`` or ``divided``.
    integers, integer_flags : Out(simd_width), Out(LaneFlags)
        2 cycles after ``to_integer``.

    Timing
    ------
    Latency: above. Throughput: a row per cycle, of divisions one at a time. Backpressure: none.
    Combinational paths: none. Reset: idle.
    """

    FMA_LATENCY = FusedMultiplyAdd.LATENCY
    TO_INTEGER_LATENCY = FloatToInteger.LATENCY

    def __init__(self, config: XpuConfig):
        self._shape = shape = VectorShape(config)
        flags = LaneFlags(shape.lanes)
        super().__init__({
            "op": In(VectorOp), "halves": In(1), "in2": In(shape.width), "in1": In(shape.width),
            "in_d": In(shape.width), "a_half": In(1), "c_half": In(1), "out_half": In(1),
            "size": In(2), "rounding": In(Rounding), "sum": In(1), "fma": In(1),
            "from_integer": In(1), "to_integer": In(1), "divide": In(1), "divided": Out(1),
            "settling": Out(1), "halves_now": In(1),
            "fma_result": Out(shape.width), "fma_flags": Out(flags),
            "integers": Out(shape.width), "integer_flags": Out(flags),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self._shape.lanes
        fma, half_fma = (FusedMultiplyAdd(lanes, wide=wide) for wide in (True, False))
        divide, to_integer = DivideSqrt(lanes), FloatToInteger(lanes)
        for name, unit, busy in (
                ("fma", fma, fma.busy), ("half_fma", half_fma, half_fma.busy),
                ("float_divide", divide, ~divide.i.ready),
                ("to_integer", to_integer, to_integer.busy)):
            add_gated(m, platform, name, unit, awake=unit.i.valid | busy, linger=2)
        op = self.op
        begin = named(m, "begin", 1, self.fma | self.from_integer)
        divided = self.divided
        m.d.comb += [
            divide.i.valid.eq(self.divide), divide.o.ready.eq(1), divided.eq(divide.o.valid),
            divide.i.p.half.eq(self.a_half), divide.i.p.sqrt.eq(op.op[0]),
            to_integer.i.valid.eq(self.to_integer), to_integer.i.p.half.eq(self.a_half),
            to_integer.i.p.is_signed.eq(op.is_signed), to_integer.i.p.size.eq(self.size),
            to_integer.i.p.rounding.eq(self.rounding),
            fma.i.valid.eq(begin | divided), half_fma.i.valid.eq(self.fma & self.halves),
        ]
        alone = named(m, "alone", 1, divided | self.from_integer)
        for unit in (fma, half_fma):
            request = unit.i.p
            m.d.comb += [
                request.ab_half.eq(self.a_half), request.c_half.eq(self.c_half),
                request.out_half.eq(self.out_half), request.rounding.eq(self.rounding),
                request.unit_factor.eq(alone | op.unit_factor),
                request.no_addend.eq(alone | op.no_addend),
                request.negate_product.eq(~alone & op.negate_product),
                request.negate_addend.eq(~alone & op.negate_addend),
            ]
        # A quotient is exact in some lanes only, but the unit has one bit for all: an exact
        # result goes around it.
        m.d.comb += fma.i.p.raw.eq(alone)
        settling = Signal(range(fma.LATENCY + 1))
        exact = Signal(lanes)
        exact_value = Signal(data.ArrayLayout(unsigned(32), lanes), reset_less=True)
        raised = Signal(data.ArrayLayout(Flags, lanes))
        arrives = named(m, "arrives", 1, settling == 1)
        m.d.comb += self.settling.eq(settling != 0)
        with m.If(divided):
            m.d.sync += [exact.eq(divide.o.p.exact), settling.eq(fma.LATENCY)]
        with m.Elif(settling != 0):
            m.d.sync += settling.eq(settling - 1)
        for n in range(lanes):
            self._lane(m, n, half_fma, divide, to_integer)
            quotient = divide.o.p
            number = Signal(96, name=f"number_{n}")
            integer = self.in2.word_select(n, 32)
            negative = named(m, f"negative_{n}", 1, op.is_signed & integer[31])
            magnitude = named(m, f"magnitude_{n}", 32, Mux(negative, -integer, integer))
            with m.If(divided):
                m.d.comb += number.eq(quotient.number[n])
                m.d.sync += [
                    exact_value[n].eq(quotient.number[n]), raised[n].eq(Cat(
                        Const(0, 3), quotient.divide_by_zero[n], quotient.invalid[n])),
                ]
            with m.Elif(self.from_integer):
                m.d.comb += number.eq(Cat(magnitude[:24], Const(0, 7), negative, magnitude[24:],
                                          Const(0, 24), Const(46, 32)))
            with m.Else():
                m.d.comb += number.eq(Cat(integer, self.in1.word_select(n, 32), Mux(
                    self.sum, self.in1.word_select(n, 32), self.in_d.word_select(n, 32))))
            m.d.comb += [
                fma.i.p.a[n].eq(number[:32]), fma.i.p.b[n].eq(number[32:64]),
                fma.i.p.c[n].eq(number[64:]),
            ]
            value = named(m, f"fma_value_{n}", 32, Mux(
                arrives & exact[n], exact_value[n], fma.o.p.value[n]))
            m.d.comb += [
                self.fma_result.word_select(n, 32).eq(
                    Mux(self.halves_now, Cat(value[:16], half_fma.o.p.value[n]), value)),
                self.fma_flags.wide[n].eq(
                    Mux(arrives, raised[n].as_value(), 0)
                    | Mux(arrives & exact[n], 0, fma.o.p.flags[n].as_value())),
                self.fma_flags.narrow[n].eq(half_fma.o.p.flags[n]),
            ]
        return m

    def _lane(self, m, n, half_fma, divide, to_integer):
        """Operands of the units."""
        a, b, c = (side.word_select(n, 32) for side in (self.in2, self.in1, self.in_d))
        upper = slice(16, 32)
        m.d.comb += [
            divide.i.p.a[n].eq(a), divide.i.p.b[n].eq(b), to_integer.i.p.a[n].eq(a),
            self.integers.word_select(n, 32).eq(to_integer.o.p.value[n]),
            self.integer_flags.wide[n].eq(to_integer.o.p.flags[n]),
            half_fma.i.p.a[n].eq(a[upper]), half_fma.i.p.b[n].eq(b[upper]),
            half_fma.i.p.c[n].eq(Mux(self.sum, b[upper], c[upper])),
        ]
