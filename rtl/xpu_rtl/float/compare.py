"""Comparisons, minimum and maximum, sign injection, classes of floating-point numbers."""

from amaranth import Cat, Const, Mux
from amaranth.lib import enum

from .bits import named
from .ieee import HALF, SINGLE, unpack

__all__ = ["CompareOp", "compare"]


class CompareOp(enum.Enum, shape=4):
    """Operations, as the instructions of RISC-V."""

    SGNJ = 0
    SGNJN = 1
    SGNJX = 2
    MIN = 4
    MAX = 5
    CLASS = 6
    LE = 8
    LT = 9
    EQ = 10


def compare(m, name, op, a_bits, b_bits, half):
    """Add the logic of one lane; combinational.

    Parameters
    ----------
    m, name : Module, str
        Where signals are added, and how their names begin.
    op : Value
        ``CompareOp``.
    a_bits, b_bits : Value
        Operands of 32 bits, a half in the low ones; or of 16 bits.
    half : Value
        They are halves.

    Returns
    -------
    Result (a number in the format with zeros above it, a class of 10 bits, or one bit), and
    whether the operation is invalid.
    """
    wide = len(a_bits) == SINGLE.width
    a = unpack(m, f"{name}_a", a_bits, half)
    b = unpack(m, f"{name}_b", b_bits, half)

    def magnitude(bits):
        return Mux(half, bits[:HALF.width - 1], bits[:SINGLE.width - 1]) if wide \
            else bits[:HALF.width - 1]

    nan = named(m, f"{name}_nan", 1, a.nan | b.nan)
    signaling = named(m, f"{name}_signaling", 1, a.signaling | b.signaling)
    below = named(m, f"{name}_below", 1, magnitude(a_bits) < magnitude(b_bits))
    same = named(m, f"{name}_same", 1, magnitude(a_bits) == magnitude(b_bits))
    zeros = named(m, f"{name}_zeros", 1, a.zero & b.zero)
    # As ordered by MIN and MAX, -0 below +0.
    less = named(m, f"{name}_less", 1, Mux(a.sign ^ b.sign, a.sign,
                                           Mux(a.sign, ~below & ~same, below)))
    equal = named(m, f"{name}_equal", 1, ~nan & ((same & (a.sign == b.sign)) | zeros))
    truly_less = named(m, f"{name}_truly_less", 1, ~nan & less & ~zeros)

    normal = ~a.zero & ~a.subnormal & ~a.infinity & ~a.nan
    classes = Cat(a.sign & a.infinity, a.sign & normal, a.sign & a.subnormal, a.sign & a.zero,
                  ~a.sign & a.zero, ~a.sign & a.subnormal, ~a.sign & normal,
                  ~a.sign & a.infinity, a.signaling, a.nan & ~a.signaling)
    take_a = named(m, f"{name}_take_a", 1,
                   b.nan | (~a.nan & Mux(op == CompareOp.MAX, ~less, less)))

    width = SINGLE.width if wide else HALF.width
    result = named(m, f"{name}_result", width, 0)
    invalid = named(m, f"{name}_invalid", 1, 0)

    def signed_as(sign):
        if not wide:
            return Cat(a_bits[:15], sign)
        return Mux(half, Cat(a_bits[:15], sign), Cat(a_bits[:31], sign))

    canonical = Mux(half, HALF.nan, SINGLE.nan) if wide else Const(HALF.nan, 16)
    kept = Mux(half, Cat(Mux(take_a, a_bits, b_bits)[:16], Const(0, 16)),
               Mux(take_a, a_bits, b_bits)) if wide else Mux(take_a, a_bits, b_bits)
    with m.Switch(op):
        with m.Case(CompareOp.SGNJ):
            m.d.comb += result.eq(signed_as(b.sign))
        with m.Case(CompareOp.SGNJN):
            m.d.comb += result.eq(signed_as(~b.sign))
        with m.Case(CompareOp.SGNJX):
            m.d.comb += result.eq(signed_as(a.sign ^ b.sign))
        with m.Case(CompareOp.MIN, CompareOp.MAX):
            m.d.comb += [result.eq(Mux(a.nan & b.nan, canonical, kept)), invalid.eq(signaling)]
        with m.Case(CompareOp.CLASS):
            m.d.comb += result.eq(classes)
        with m.Case(CompareOp.LE):
            m.d.comb += [result.eq(truly_less | equal), invalid.eq(nan)]
        with m.Case(CompareOp.LT):
            m.d.comb += [result.eq(truly_less), invalid.eq(nan)]
        with m.Case(CompareOp.EQ):
            m.d.comb += [result.eq(equal), invalid.eq(signaling)]
    return result, invalid
