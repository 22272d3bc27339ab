"""Estimates of reciprocals and reciprocal square roots with seven bits: vfrec7, vfrsqrt7."""

from math import sqrt

from amaranth import Array, Cat, Const, Mux, Signal, signed

from ..float.bits import named
from ..float.ieee import HALF, SINGLE, Flags, Rounding, count_zeros, unpack

__all__ = ["RECIPROCAL", "RECIPROCAL_ROOT", "estimate"]

_BITS = 7
#: Fractions of the results: those of the middle of each interval, rounded. The first 64 entries of
#: the roots are for even biased exponents.
RECIPROCAL = [round(256 / (1 + (n + 0.5) / 128)) - 128 for n in range(128)]
RECIPROCAL_ROOT = [round(256 / sqrt((2 - n // 64) * (1 + (n % 64 + 0.5) / 64))) - 128
                   for n in range(128)]


def estimate(m, name, root, bits, half, rounding):
    """Add the logic of one lane; combinational.

    Source: "V" Standard Extension, sections 13.9 and 13.10.

    Parameters
    ----------
    m, name : Module, str
        Where signals are added, and how their names begin.
    root, half : Value
        The reciprocal of the square root instead of the number's; the number is a half.
    bits, rounding : Value
        The number, a half in the low bits; what an overflow becomes.

    Returns
    -------
    Result, a half with zeros above it, and ``Flags``.
    """
    def signal(text, shape, value):
        return named(m, f"{name}_{text}", shape, value)

    x = unpack(m, f"{name}_x", bits, half, 10)
    zeros = count_zeros(m, f"{name}_zeros", x.significand)
    normal = signal("normal", SINGLE.precision, x.significand << zeros)
    exponent = signal("exponent", signed(10), x.exponent - zeros)
    bias = Mux(half, HALF.bias, SINGLE.bias)
    index = signal("index", _BITS, Mux(root, Cat(normal[-7:-1], ~exponent[0]), normal[-8:-1]))
    tables = [Array(Const(value, _BITS) for value in table)
              for table in (RECIPROCAL, RECIPROCAL_ROOT)]
    fraction = signal("fraction", _BITS, Mux(root, tables[1][index], tables[0][index]))
    biased = signal("biased", signed(12), Mux(root, (2 * bias - 1 - exponent) >> 1,
                                              bias - 1 - exponent))
    overflow = signal("overflow", 1, ~root & x.subnormal & (biased > 2 * bias))
    to_largest = ((rounding == Rounding.ZERO) | ((rounding == Rounding.DOWN) & ~x.sign)
                  | ((rounding == Rounding.UP) & x.sign))
    # Nine bits of the fraction; a result below the normal numbers has its leading one among them.
    top = signal("top", _BITS + 2, Mux(biased > 0, fraction << 2, Mux(
        biased == 0, Cat(Const(0, 1), fraction, Const(1, 1)), Cat(fraction, Const(1, 2)))))
    field = signal("field", SINGLE.exponent, Mux(biased > 0, biased, 0))
    invalid = signal("invalid", 1, x.signaling | (root & x.sign & ~x.zero & ~x.nan))
    nan = signal("nan", 1, x.nan | invalid)

    def packed(fmt):
        number = Cat(Const(0, fmt.fraction - len(top)), top, field[:fmt.exponent])
        return Mux(nan, fmt.nan, Cat(Mux(
            x.infinity, 0, Mux(x.zero, fmt.infinity, Mux(
                overflow, fmt.infinity - to_largest, number)))[:fmt.width - 1], x.sign))

    flags = Signal(Flags, name=f"{name}_flags")
    m.d.comb += [
        flags.invalid.eq(invalid), flags.divide_by_zero.eq(x.zero), flags.overflow.eq(
            overflow & ~nan), flags.inexact.eq(flags.overflow),
    ]
    return signal("result", 32, Mux(half, packed(HALF), packed(SINGLE))), flags
