"""Operations on mask registers."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named, total_of
from ..params import XpuConfig
from .operations import MaskOp
from .types import VectorShape

__all__ = ["VectorMask"]


class VectorMask(wiring.Component):
    """The engine MASK. It holds its operands, so that it rests while others work.

    Parameters
    ----------
    config : XpuConfig
        Width of a row.

    Members
    -------
    load : In(1)
        Take the operands and what is to be done with them.
    op : In(MaskOp)
    first, number : In(1), In
        The row is its instruction's first; its number.
    in2, in1, old, active : In(simd_width)
        Operands: vs2, vs1; the bits that were there; those to be written.
    take : In(1)
        The row leaves: what was found or counted in it is kept for the next.
    result : Out(simd_width)
        The row to write.
    value : Out(32)
        Of COUNT and FIND_FIRST, with this row.

    Timing
    ------
    Latency: ``result`` and ``value`` are there 2 cycles after ``load`` and 1 after ``take``, until
    2 cycles after the next ``load``. Throughput: a row per cycle. Backpressure: none.
    Combinational paths: none. Reset: none.
    """

    def __init__(self, config: XpuConfig):
        self._shape = shape = VectorShape(config)
        row = {name: In(shape.width) for name in ("in2", "in1", "old", "active")}
        super().__init__({
            "load": In(1), "op": In(MaskOp), "first": In(1), "number": In(shape.row_bits), **row,
            "take": In(1), "result": Out(shape.width), "value": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        width = self._shape.width
        held = {}
        for name in ("op", "first", "number", "in2", "in1", "old", "active"):
            port = getattr(self, name)
            held[name] = Signal.like(port, name=f"held_{name}", reset_less=True)
            with m.If(self.load):
                m.d.sync += held[name].eq(port)
        op, a, b, active = (held[name] for name in ("op", "in2", "in1", "active"))
        found = Signal(reset_less=True)
        count = Signal(self._shape.vl_bits, reset_less=True)    # or the place of the first
        was_found = named(m, "was_found", 1, found & ~held["first"])
        chosen = named(m, "chosen", width, a & active)
        some = named(m, "some", 1, chosen.any())
        lowest = named(m, "lowest", width, chosen & -chosen)
        # Zeros below the lowest bit that is set.
        before = named(m, "before", width, Mux(was_found, 0, Mux(some, lowest - 1, -1)))
        only = named(m, "only", width, Mux(was_found, 0, lowest))
        result = Signal(width, name="row")
        with m.Switch(op):
            for one, value in (
                    (MaskOp.AND, a & b), (MaskOp.NAND, ~(a & b)), (MaskOp.ANDN, a & ~b),
                    (MaskOp.XOR, a ^ b), (MaskOp.OR, a | b), (MaskOp.NOR, ~(a | b)),
                    (MaskOp.ORN, a | ~b), (MaskOp.XNOR, ~(a ^ b)), (MaskOp.BEFORE_FIRST, before),
                    (MaskOp.ONLY_FIRST, only), (MaskOp.INCLUDING_FIRST, before | only)):
                with m.Case(one):
                    m.d.comb += result.eq(value)
        ones = total_of(m, "ones", list(chosen))
        place = Cat(named(m, f"place_{bit}", 1, Cat(
            lowest[n] for n in range(width) if n >> bit & 1).any())
            for bit in range((width - 1).bit_length()))
        total = named(m, "total", self._shape.vl_bits, ones + Mux(held["first"], 0, count))
        where = named(m, "where", self._shape.vl_bits,
                      Mux(was_found, count, Cat(place, held["number"])))
        finds = named(m, "finds", 1, op == MaskOp.FIND_FIRST)
        m.d.sync += [
            self.result.eq((result & active) | (held["old"] & ~active)),
            self.value.eq(Mux(finds, Mux(was_found | some, where, -1), total)),
        ]
        with m.If(self.take):
            m.d.sync += [found.eq(was_found | some), count.eq(Mux(finds, where, total))]
        return m
