"""The floating-point lanes of the vector unit."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named
from ..float.compare import CompareOp, compare
from ..float.divide import DivideSqrt
from ..float.fma import FusedMultiplyAdd
from ..float.ieee import Flags, Rounding
from ..float.to_integer import FloatToInteger
from ..params import XpuConfig
from .estimate import estimate
from .types import VectorOp, VectorShape

__all__ = ["LaneFlags", "VectorFloat"]

#: Operations of COMPARE beyond those of ``CompareOp``.
_NOT_EQUAL, _RECIPROCAL, _RECIPROCAL_ROOT = 11, 12, 13     # the last bit: of the root


class LaneFlags(data.StructLayout):
    """Exceptions of every lane. Fields: ``wide`` (words, and the halves with even numbers),
    ``narrow`` (the other halves)."""

    def __init__(self, lanes):
        super().__init__({"wide": data.ArrayLayout(Flags, lanes),
                          "narrow": data.ArrayLayout(Flags, lanes)})


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
    compared, bits, compare_flags : Out(simd_width), Out(simd_width // 8), Out(LaneFlags)
        Of a COMPARE in this cycle: elements, bits.

    Timing
    ------
    Latency: above. Throughput: a row per cycle, of divisions one at a time. Backpressure: none.
    Combinational paths: to ``compared``, ``bits``, ``compare_flags``. Reset: idle.
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
            "compared": Out(shape.width), "bits": Out(shape.bytes), "compare_flags": Out(flags),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self._shape.lanes
        m.submodules.fma = fma = FusedMultiplyAdd(lanes, wide=True)
        m.submodules.half_fma = half_fma = FusedMultiplyAdd(lanes, wide=False)
        m.submodules.divide = divide = DivideSqrt(lanes)
        m.submodules.to_integer = to_integer = FloatToInteger(lanes)
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
        """Operands of the units, and comparisons."""
        a, b, c = (side.word_select(n, 32) for side in (self.in2, self.in1, self.in_d))
        op = self.op
        upper = slice(16, 32)
        m.d.comb += [
            divide.i.p.a[n].eq(a), divide.i.p.b[n].eq(b), to_integer.i.p.a[n].eq(a),
            self.integers.word_select(n, 32).eq(to_integer.o.p.value[n]),
            self.integer_flags.wide[n].eq(to_integer.o.p.flags[n]),
            half_fma.i.p.a[n].eq(a[upper]), half_fma.i.p.b[n].eq(b[upper]),
            half_fma.i.p.c[n].eq(Mux(self.sum, b[upper], c[upper])),
        ]
        not_equal = named(m, f"not_equal_{n}", 1, op.op[:4] == _NOT_EQUAL)
        kind = named(m, f"compare_{n}", 4, Mux(not_equal, CompareOp.EQ.value, op.op[:4]))
        wide, wide_invalid = compare(m, f"wide_{n}", kind, a, b, self.a_half)
        narrow, narrow_invalid = compare(m, f"narrow_{n}", kind, a[upper], b[upper], Const(1))
        estimates = named(m, f"estimates_{n}", 1, (op.op[:4] == _RECIPROCAL)
                          | (op.op[:4] == _RECIPROCAL_ROOT))
        estimated, estimate_flags = estimate(m, f"estimate_{n}", op.op[0], a, self.a_half,
                                             self.rounding)
        result = Mux(self.halves, Cat(wide[:16], narrow), wide)
        m.d.comb += [
            self.compared.word_select(n, 32).eq(Mux(estimates, estimated, result)),
            self.compare_flags.wide[n].eq(Mux(estimates, estimate_flags.as_value(),
                                              wide_invalid << 4)),
            self.compare_flags.narrow[n].invalid.eq(narrow_invalid),
        ]
        bits = named(m, f"bits_{n}", 2, Cat(wide[0], narrow[0]) ^ not_equal.replicate(2))
        with m.If(self.halves):
            m.d.comb += self.bits.word_select(n, 2).eq(bits)
        with m.Else():
            m.d.comb += self.bits[n].eq(bits[0])
