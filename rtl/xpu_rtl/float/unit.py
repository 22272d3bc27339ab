"""The floating-point unit of a scalar core: every operation on singles and halves."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from .bits import named
from .compare import CompareOp, compare
from .divide import DivideSqrt
from .fma import FusedMultiplyAdd
from .ieee import Flags, Rounding
from .to_integer import FloatToInteger

__all__ = ["FloatKind", "FloatOp", "FloatRequest", "FloatResult", "FloatUnit"]


class FloatKind(enum.Enum, shape=3):
    """Which part executes an operation."""

    FMA = 0             #: all sums and products, conversions between the formats
    DIVIDE = 1
    TO_INTEGER = 2
    FROM_INTEGER = 3
    COMPARE = 4


class FloatOp(data.Struct):
    """An operation. Fields: ``kind``; ``half`` and ``out_half`` (format of operands and result);
    of FMA: ``negate_product``, ``negate_addend``, ``unit_factor`` (a + c), ``no_addend`` (a * b);
    of DIVIDE: ``sqrt``; of conversions with integers: ``is_signed``; of COMPARE: ``compare``."""

    kind: FloatKind
    half: 1
    out_half: 1
    negate_product: 1
    negate_addend: 1
    unit_factor: 1
    no_addend: 1
    sqrt: 1
    is_signed: 1
    compare: CompareOp


class FloatRequest(data.Struct):
    """Fields: ``op``, ``rounding``, operands ``a``, ``b``, ``c`` (a half in the low bits), and
    ``tag``, which comes back with the result."""

    op: FloatOp
    rounding: Rounding
    a: 32
    b: 32
    c: 32
    tag: 5


class FloatResult(data.Struct):
    """Fields: ``value`` (a half boxed by ones; an integer), ``flags``, ``tag``, ``integer`` (the
    value is for an integer register)."""

    value: 32
    flags: Flags
    tag: 5
    integer: 1


class FloatUnit(wiring.Component):
    """Fused multiply-add, division, square root, conversions and comparisons of RISC-V's F, Zfh.

    Values and flags are those of IEEE-754 with RISC-V's choices: canonical NaN, tininess after
    rounding, saturating conversions.

    Members
    -------
    i : In(stream.Signature(FloatRequest))
        Operations. One division at a time, one other operation that is not FMA.
    fma_valid, fma_result : Out(1), Out(FloatResult)
        Results of FMA, FROM_INTEGER and DIVIDE; they do not wait.
    other : Out(stream.Signature(FloatResult))
        Results of the other kinds.
    busy : Out(1)
        An operation is inside.

    Timing
    ------
    Latency: 8 cycles to ``fma_valid`` (``FMA_LATENCY``), 39 of a division; 1 to 3 to ``other``.
    Throughput: one FMA or FROM_INTEGER per cycle; one other in 3.
    Backpressure: full on ``i`` and ``other``.
    Combinational paths: ``i.p.op.kind`` to ``i.ready``.
    Reset: idle.
    """

    FMA_LATENCY = FusedMultiplyAdd.LATENCY

    def __init__(self):
        super().__init__({"i": In(stream.Signature(FloatRequest)),
                          "fma_valid": Out(1), "fma_result": Out(FloatResult),
                          "other": Out(stream.Signature(FloatResult)), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fma = fma = FusedMultiplyAdd(1, wide=True)
        m.submodules.divide = divide = DivideSqrt(1)
        m.submodules.to_integer = to_integer = FloatToInteger(1)
        request, op = self.i.p, self.i.p.op
        kinds = {kind: named(m, f"is_{kind.name.lower()}", 1, op.kind == kind)
                 for kind in FloatKind}

        # Division: its result takes a place in the multiply-add's pipeline.
        divide_tag = Signal(5, reset_less=True)
        divide_half, divide_rounding = Signal(reset_less=True), Signal(Rounding, reset_less=True)
        divide_done = divide.o.valid
        quotient = divide.o.p
        m.d.comb += [
            divide.i.p.a[0].eq(request.a), divide.i.p.b[0].eq(request.b),
            divide.i.p.half.eq(op.half), divide.i.p.sqrt.eq(op.sqrt),
            divide.i.valid.eq(self.i.valid & kinds[FloatKind.DIVIDE]), divide.o.ready.eq(1),
        ]
        with m.If(divide.i.valid & divide.i.ready):
            m.d.sync += [divide_tag.eq(request.tag), divide_half.eq(op.half),
                         divide_rounding.eq(request.rounding)]

        # Multiply-add; integers enter it as a product.
        negative = named(m, "negative", 1, op.is_signed & request.a[31])
        magnitude = named(m, "magnitude", 32, Mux(negative, -request.a, request.a))
        integer = Cat(magnitude[:24], Const(0, 7), negative, magnitude[24:], Const(0, 24),
                      Const(46, 32))
        from_integer = kinds[FloatKind.FROM_INTEGER]
        whole = Signal(96)
        with m.If(divide_done):
            m.d.comb += whole.eq(quotient.number[0])
        with m.Elif(from_integer):
            m.d.comb += whole.eq(integer)
        with m.Else():
            m.d.comb += whole.eq(Cat(request.a, request.b, request.c))
        alone = named(m, "alone", 1, divide_done | from_integer)
        ours = named(m, "ours", 1, self.i.valid & (from_integer | kinds[FloatKind.FMA]))
        m.d.comb += [
            fma.i.p.a[0].eq(whole[:32]), fma.i.p.b[0].eq(whole[32:64]), fma.i.p.c[0].eq(whole[64:]),
            fma.i.p.raw.eq(Mux(divide_done, ~quotient.exact[0], from_integer)),
            fma.i.p.unit_factor.eq(alone | op.unit_factor),
            fma.i.p.no_addend.eq(alone | op.no_addend),
            fma.i.p.negate_product.eq(~alone & op.negate_product),
            fma.i.p.negate_addend.eq(~alone & op.negate_addend),
            fma.i.p.ab_half.eq(Mux(divide_done, divide_half, op.half)),
            fma.i.p.c_half.eq(op.half),
            fma.i.p.out_half.eq(Mux(divide_done, divide_half, op.out_half)),
            fma.i.p.rounding.eq(Mux(divide_done, divide_rounding, request.rounding)),
            fma.i.valid.eq(divide_done | ours),
        ]
        tags = [Cat(Mux(divide_done, divide_tag, request.tag),
                    divide_done & quotient.invalid[0], divide_done & quotient.divide_by_zero[0])]
        for stage in range(fma.LATENCY):
            tag = Signal(7, name=f"tag_{stage}", reset_less=True)
            m.d.sync += tag.eq(tags[-1])
            tags.append(tag)
        m.d.comb += [
            self.fma_valid.eq(fma.o.valid), self.fma_result.value.eq(fma.o.p.value[0]),
            self.fma_result.tag.eq(tags[-1][:5]),
            self.fma_result.flags.eq(fma.o.p.flags[0].as_value()
                                | Cat(Const(0, 3), tags[-1][6], tags[-1][5])),
        ]
        others_busy = self._others(m, to_integer, kinds)
        with m.If(kinds[FloatKind.DIVIDE]):
            m.d.comb += self.i.ready.eq(divide.i.ready)
        with m.Elif(kinds[FloatKind.FMA] | from_integer):
            m.d.comb += self.i.ready.eq(~divide_done)
        with m.Else():
            m.d.comb += self.i.ready.eq(~others_busy)
        m.d.comb += self.busy.eq(fma.busy | ~divide.i.ready | others_busy)
        return m

    def _others(self, m, to_integer, kinds):
        """Comparisons and conversions to integers: one at a time. Returns whether one is inside."""
        request, op = self.i.p, self.i.p.op
        value, flags = Signal(32, reset_less=True), Signal(Flags, reset_less=True)
        busy, done = Signal(name="others_busy"), Signal(name="others_done")
        tag, integer = Signal(5, reset_less=True), Signal(reset_less=True)
        compared, invalid = compare(m, "compared", op.compare, request.a, request.b, op.half)
        to_register = named(m, "to_register", 1,
                            (op.compare == CompareOp.CLASS) | op.compare.as_value()[3])
        enter = named(m, "enter", 1, self.i.valid & ~busy)
        converts = kinds[FloatKind.TO_INTEGER]
        m.d.comb += [
            to_integer.i.p.a[0].eq(request.a), to_integer.i.p.half.eq(op.half),
            to_integer.i.p.is_signed.eq(op.is_signed), to_integer.i.p.size.eq(2),
            to_integer.i.p.rounding.eq(request.rounding),
            to_integer.i.valid.eq(enter & converts),
        ]
        with m.If(enter & (converts | kinds[FloatKind.COMPARE])):
            m.d.sync += [busy.eq(1), done.eq(~converts), tag.eq(request.tag),
                         integer.eq(converts | to_register), flags.eq(0),
                         flags.invalid.eq(invalid),
                         value.eq(compared | Mux(op.half & ~to_register, 0xFFFF_0000, 0))]
        with m.If(to_integer.o.valid):
            m.d.sync += [done.eq(1), value.eq(to_integer.o.p.value[0]),
                         flags.eq(to_integer.o.p.flags[0])]
        with m.If(self.other.valid & self.other.ready):
            m.d.sync += [busy.eq(0), done.eq(0)]
        m.d.comb += [self.other.valid.eq(done), self.other.p.value.eq(value),
                     self.other.p.flags.eq(flags), self.other.p.tag.eq(tag),
                     self.other.p.integer.eq(integer)]
        return busy
