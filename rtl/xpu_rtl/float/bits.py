"""Combinational helpers: every one adds named signals to a module and returns one."""

from amaranth import Const, Mux, Signal

__all__ = ["INFINITY", "NAN", "first_set", "maximum", "named", "round_even", "shift_right",
           "total_of"]

NAN = 0x7FC0_0000               #: the only NaN that is ever produced
INFINITY = 0x7F80_0000


def named(m, name, shape, value):
    """Named signal of a value."""
    target = Signal(shape, name=name)
    m.d.comb += target.eq(value)
    return target


def _tree(m, name, values, bits, combine):
    """Combine values in pairs until one is left; ``bits`` more of them hold a result."""
    level = 0
    while len(values) > 1:
        pairs = []
        for n in range(0, len(values) - 1, 2):
            a, b = values[n:n + 2]
            pairs.append(named(m, f"{name}_{level}_{n}", max(len(a), len(b)) + bits,
                               combine(a, b)))
        values = [*pairs, *values[len(values) & ~1:]]
        level += 1
    return values[0]


def maximum(m, name, values):
    """Largest of unsigned values, in a balanced tree."""
    return _tree(m, name, values, 0, lambda a, b: Mux(a > b, a, b))


def total_of(m, name, values):
    """Sum of unsigned values, in a balanced tree."""
    return _tree(m, name, values, 1, lambda a, b: a + b)


def first_set(m, name, flags):
    """Number of flags before the first that is set; of the last if none is."""
    count = Const(len(flags) - 1, (len(flags) - 1).bit_length())
    for n in reversed(range(len(flags) - 1)):
        count = Mux(flags[n], n, count)
    return named(m, name, (len(flags) - 1).bit_length(), count)


def shift_right(m, name, value, amount):
    """Return ``value >> amount``, with what is lost ORed into the lowest bit.

    An amount that leaves nothing must still leave that bit: the caller limits it to len(value).
    """
    bits = len(value)
    lost = named(m, f"{name}_lost", 1, (value & ((1 << amount) - 1)[:bits]).any())
    return named(m, f"{name}_sticky", bits, (value >> amount) | lost)


def round_even(m, name, value, drop):
    """Drop the ``drop`` low bits of a value, rounding to nearest, ties to even: one bit wider."""
    kept = value[drop:]
    up = value[drop - 1] & (value[:drop - 1].any() | value[drop])
    return named(m, name, len(kept) + 1, kept + up)
