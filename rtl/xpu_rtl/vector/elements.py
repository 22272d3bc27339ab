"""Where the elements of vector operands lie in their registers, and which are active."""

from amaranth import Cat, Const, Mux, Signal

from ..float.bits import named
from .operations import Width

__all__ = ["active_bits", "element_bytes", "expand", "log2_width", "narrow", "splat"]


def log2_width(relation, sew):
    """log2 of the bytes of elements of a ``Width``."""
    return Mux(relation == Width.DOUBLE, sew + 1, Mux(
        relation == Width.HALF, sew - 1, Mux(relation == Width.QUARTER, sew - 2, sew)))[:2]


def expand(m, name, row, shift, place, width, is_signed):
    """Widen a part of a row to a whole one.

    Parameters
    ----------
    m, name : Module, str
        Where a signal is added, and its name.
    row : Value
        The row.
    shift : Value
        log2 of the factor by which elements are widened, 0 to 2.
    place : Value
        Which half or quarter.
    width : Value
        log2 of the bytes of the widened elements.
    is_signed : Value
        They are extended by their sign, else by zeros.
    """
    result = Signal(len(row), name=name)
    m.d.comb += result.eq(row)
    for factor, target in ((1, 1), (1, 2), (2, 2)):
        bits = 8 << target >> factor
        part = named(m, f"{name}_{factor}_{target}", len(row) >> factor,
                     row.word_select(place[:factor], len(row) >> factor))
        wide = []
        for n in range(len(part) // bits):
            element = part.word_select(n, bits)
            wide += [element, (element[-1] & is_signed).replicate((8 << target) - bits)]
        with m.If((shift == factor) & (width == target)):
            m.d.comb += result.eq(Cat(wide))
    return result


def narrow(m, name, row, shift, width):
    """The lower part of each element, packed, as often as it fits a row (see ``expand``)."""
    result = Signal(len(row), name=name)
    m.d.comb += result.eq(row)
    for factor, source in ((1, 1), (1, 2), (2, 2)):
        bits = 8 << source
        packed = Cat(row.word_select(n, bits)[:bits >> factor] for n in range(len(row) // bits))
        with m.If((shift == factor) & (width == source)):
            m.d.comb += result.eq(packed.replicate(1 << factor))
    return result


def splat(m, name, scalar, own, width, is_signed, bits):
    """A row of ``bits`` bits whose elements of ``width`` are all the scalar's lowest ``own``
    bytes (both log2), extended."""
    extended = Signal(32, name=f"{name}_extended")
    result = Signal(bits, name=name)
    for n in range(3):
        with m.If(own == n):
            low = scalar[:8 << n]
            m.d.comb += extended.eq(Cat(low, (low[-1] & is_signed).replicate(32 - len(low))))
        with m.If(width == n):
            m.d.comb += result.eq(extended[:8 << n].replicate(bits // (8 << n)))
    return result


def active_bits(m, name, base, begin, end, enabled, count):
    """Which of ``count`` elements from number ``base`` on are active: not before ``begin`` (if
    it is not ``None``), before ``end`` and with their bit of ``enabled`` set."""
    def ones_from(text, limit):
        far = named(m, f"{name}_{text}_far", 1, limit >= base + count)
        distance = named(m, f"{name}_{text}_distance", (count - 1).bit_length(),
                         Mux(limit > base, limit - base, 0))
        return named(m, f"{name}_{text}", count,
                     Mux(far, 0, (Const((1 << count) - 1, count) << distance)[:count]))

    after = ~ones_from("end", end) & enabled
    return named(m, name, count, after if begin is None else after & ones_from("begin", begin))


def element_bytes(m, name, active, width, count):
    """Strobes of a row of ``count`` bytes from a bit per element of ``width`` (log2 of bytes)."""
    result = Signal(count, name=name)
    for n in range(3):
        with m.If(width == n):
            m.d.comb += result.eq(Cat(active[k].replicate(1 << n) for k in range(count >> n)))
    return result
