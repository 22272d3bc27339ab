"""Selections that the blocks of the tensor unit share."""

from types import SimpleNamespace

from amaranth import Mux, Signal, Value

from ..command.formats import ElementType
from .types import Kind

__all__ = ["choose", "choose_fields", "element_shift", "kind_of"]

_KINDS = {ElementType.INT16: Kind.INT16, ElementType.FP16: Kind.FP16, ElementType.BF16: Kind.BF16}


def choose(m, name, source, index, width):
    """Named signal: part ``index`` of ``source``, in parts of ``width`` bits."""
    chosen = Signal(width, name=name)
    with m.Switch(index):
        for n in range(len(source) // width):
            with m.Case(n):
                m.d.comb += chosen.eq(source[n * width:(n + 1) * width])
    return chosen


def choose_fields(m, name, which, pair, fields):
    """Some fields of one of two structures: an object with a named signal for each.

    ``which`` is one bit, 1 for the second of the ``pair`` of views.
    """
    chosen = SimpleNamespace()
    for field in fields:
        first, second = (one[field] for one in pair)
        signal = Signal.like(first, name=f"{name}_{field}")
        m.d.comb += signal.eq(Mux(which, Value.cast(second), Value.cast(first)))
        setattr(chosen, field, signal)
    return chosen


def kind_of(m, name, element_type):
    """Named ``Kind`` of operands of an element type."""
    kind = Signal(Kind, name=name)
    with m.Switch(element_type):
        for of, result in _KINDS.items():
            with m.Case(int(of)):
                m.d.comb += kind.eq(result)
    return kind


def element_shift(m, name, element_type, most=3):
    """Named log2 of the bytes of an element type, at most ``most``."""
    result = Signal(2, name=name)
    with m.Switch(element_type):
        for of in ElementType:
            with m.Case(int(of)):
                m.d.comb += result.eq(min(most, of.bytes.bit_length() - 1))
    return result
