"""IEEE-754 formats, rounding and flags as RISC-V numbers them, and how operands are unpacked."""

from dataclasses import dataclass

from amaranth import Cat, Const, Mux, Signal, signed
from amaranth.lib import data, enum

from .bits import named

__all__ = ["HALF", "SINGLE", "Flags", "FloatFormat", "Rounding", "Unpacked", "count_zeros",
           "round_up", "unpack"]


@dataclass(frozen=True)
class FloatFormat:
    """A binary interchange format: bits of exponent and fraction, and what follows from them."""

    exponent: int
    fraction: int

    @property
    def width(self):
        return 1 + self.exponent + self.fraction

    @property
    def precision(self):
        """Bits of a significand."""
        return self.fraction + 1

    @property
    def bias(self):
        return (1 << (self.exponent - 1)) - 1

    @property
    def lowest(self):
        """Exponent of the smallest normal number, and of all subnormal ones."""
        return 1 - self.bias

    @property
    def infinity(self):
        return ((1 << self.exponent) - 1) << self.fraction

    @property
    def nan(self):
        """The canonical NaN, the only one that is ever produced."""
        return self.infinity | 1 << (self.fraction - 1)


HALF = FloatFormat(5, 10)
SINGLE = FloatFormat(8, 23)


class Rounding(enum.Enum, shape=3):
    """Rounding modes as in the field ``rm``; ``ODD`` is that of ``vfncvt.rod``, and internal."""

    NEAREST_EVEN = 0
    ZERO = 1
    DOWN = 2
    UP = 3
    NEAREST_AWAY = 4
    ODD = 6
    DYNAMIC = 7


class Flags(data.Struct):
    """Exceptions, in the order of ``fflags``."""

    inexact: 1
    underflow: 1
    overflow: 1
    divide_by_zero: 1
    invalid: 1


@dataclass(frozen=True)
class Unpacked:
    """An operand: value = significand * 2**(exponent - (precision - 1)), unless inf or nan.

    Signals: ``sign``, ``exponent`` (signed, of a subnormal number that of the smallest normal one),
    ``significand`` (``precision`` bits), ``zero``, ``subnormal``, ``infinity``, ``nan``,
    ``signaling``.
    """

    sign: Signal
    significand: Signal
    zero: Signal
    subnormal: Signal
    infinity: Signal
    nan: Signal
    signaling: Signal
    exponent: Signal | None = None


def unpack(m, name, value, half, exponent_bits=None):
    """Take a number apart.

    Parameters
    ----------
    m, name : Module, str
        Where signals are added, and how their names begin.
    value : Value
        16 bits: a half; 32 bits: a single, or a half in the low bits.
    half : Value
        It is a half (of no meaning for 16 bits).
    exponent_bits : int
        Width of the exponent; without, there is none.

    Returns
    -------
    An ``Unpacked``. A half in 32 bits has its significand in the upper 11 of 24.
    """
    wide = len(value) == SINGLE.width
    fmt = SINGLE if wide else HALF
    parts = {}
    for which in (HALF, SINGLE)[:1 + wide]:
        fraction = value[:which.fraction]
        field = value[which.fraction:which.width - 1]
        parts[which] = (Cat(Const(0, fmt.fraction - which.fraction), fraction), field,
                        field.all(), value[which.width - 1], which.bias)
    chosen = [Mux(half, *pair) for pair in zip(*parts.values(), strict=True)] if wide \
        else list(parts[HALF])
    fraction = named(m, f"{name}_fraction", fmt.fraction, chosen[0])
    field = named(m, f"{name}_field", fmt.exponent, chosen[1])
    ones = named(m, f"{name}_ones", 1, chosen[2])
    some = named(m, f"{name}_some", 1, fraction.any())
    small = named(m, f"{name}_small", 1, ~field.any())
    parts = {
        "sign": (1, chosen[3]), "significand": (fmt.precision, Cat(fraction, ~small)),
        "zero": (1, small & ~some), "subnormal": (1, small & some),
        "infinity": (1, ones & ~some), "nan": (1, ones & some),
        "signaling": (1, ones & some & ~fraction[-1]),
    }
    if exponent_bits:
        parts["exponent"] = signed(exponent_bits), (field | small) - chosen[4]
    return Unpacked(**{part: named(m, f"{name}_{part}", *entry) for part, entry in parts.items()})


def count_zeros(m, name, value):
    """Zeros above the highest one of a value; its width if it is zero. A tree of pairs."""
    width = 1 << (len(value) - 1).bit_length()
    padded = Cat(Const(-1, width - len(value)), value) if width > len(value) else value
    # Per group: is it all zero, and how many zeros are above its highest one.
    groups = [(~padded[n], Const(0, 0)) for n in reversed(range(width))]
    level = 0
    while len(groups) > 1:
        pairs = []
        for n in range(0, len(groups), 2):
            (high_none, high), (low_none, low) = groups[n], groups[n + 1]
            none = named(m, f"{name}_none_{level}_{n}", 1, high_none & low_none)
            count = named(m, f"{name}_count_{level}_{n}", level + 1,
                          Cat(Mux(high_none, low, high), high_none))
            pairs.append((none, count))
        groups = pairs
        level += 1
    none, count = groups[0]
    if width > len(value):
        return named(m, name, len(value).bit_length(), count)   # a padding bit ends the count
    return named(m, name, len(value).bit_length(), Mux(none, width, count))


def round_up(rounding, sign, last, first_lost, others_lost):
    """Whether a magnitude grows by one unit in its last place (``ODD`` is for the caller)."""
    lost = first_lost | others_lost
    return (((rounding == Rounding.NEAREST_EVEN) & first_lost & (others_lost | last))
            | ((rounding == Rounding.NEAREST_AWAY) & first_lost)
            | ((rounding == Rounding.DOWN) & sign & lost)
            | ((rounding == Rounding.UP) & ~sign & lost))
