"""Vector arithmetic, second stage: operands of one width, and the mask."""

from types import SimpleNamespace

from amaranth import Cat, Const, Mux, Signal
from amaranth.lib import data
from amaranth.utils import ceil_log2

from ..float.bits import named
from ..float.ieee import HALF, Rounding
from .elements import active_bits, expand, splat
from .operations import AluOp, Engine, Kind
from .types import VectorOp

__all__ = ["widen_stage"]


def widen_stage(m, unit, issued, advance):
    """Add the logic: operands of one width, and which elements are active.

    Returns
    -------
    ``valid`` and ``x``, registers of the row for the engines.
    """
    shape, w = unit.shape, issued.w
    op = w.op
    on_masks = op.engine == Engine.MASK
    operands = {}
    for n, is_signed in (("s2", op.signed2), ("s1", op.signed1), ("d", 0)):
        place = w.now & ((1 << w[f"shift_{n}"]) - 1)[:2]
        operands[n] = expand(m, f"wide_{n}", w[n], w[f"shift_{n}"], place[:2], w.width,
                             is_signed)
    # A half that is not boxed is a NaN.
    scalar = Mux(op.float_of.any() & (w.eew_s1 == 1) & ~w.scalar[16:].all(), HALF.nan,
                 w.scalar)
    scalars = splat(m, "scalars", scalar, w.eew_s1, w.width, op.signed1, shape.width)
    s1 = named(m, "operand_s1", shape.width, Mux(op.s1_kind == Kind.SCALAR, scalars,
                                                 operands["s1"]))
    numbers = Signal(shape.width, name="numbers")
    for n in range(3):
        with m.If(w.width == n):
            m.d.comb += numbers.eq(Cat(
                ((w.base + k) | Const(0, 32))[:8 << n] for k in range(shape.bytes >> n)))
    s2 = named(m, "operand_s2", shape.width, Mux(
        (op.engine == Engine.ALU) & (op.op == AluOp.ID), numbers, operands["s2"]))
    swap_d, swap_1 = op.swap & op.read_d, op.swap & ~op.read_d
    # Bits of the mask for these elements.
    mask = Signal(shape.width, name="mask_bits")
    with m.If(on_masks):
        m.d.comb += mask.eq(unit.v0.word_select(w.now[:max(1, shape.row_shift)], shape.width)
                            if shape.rows > 1 else unit.v0)
    for n in range(3):
        with m.Elif(w.width == n):
            count = shape.bytes >> n
            m.d.comb += mask.eq(unit.v0.word_select(
                w.now[:ceil_log2(shape.vlen // count)], count))
    active = active_bits(m, "active_bits", w.base, None, w.end,
                         mask | (w.vm | op.mask_operand).replicate(shape.width), shape.width)

    valid = Signal(name="x_valid")
    taken = Signal(data.StructLayout({
        "op": VectorOp, "a": shape.width, "b": shape.width, "c": shape.width,
        "active": shape.width, "halves": 1,
        **{f"eew_{n}": 2 for n in ("s2", "s1", "d")}, "rounding": Rounding, "vxrm": 2,
        "rd": 5, "beat": unit.parts.results.i.p.shape(),
    }), name="x", reset_less=True)
    enters = named(m, "enters", 1, advance & issued.valid)
    with m.If(advance):
        m.d.sync += valid.eq(issued.valid)
    beat = taken.beat
    left = named(m, "left", shape.width, Mux(swap_d, operands["d"], Mux(swap_1, s1, s2)))
    right = named(m, "right", shape.width, Mux(swap_1, s2, s1))
    rounding = named(m, "rounding_now", 3, Mux(op.rounding[0], Rounding.ZERO.value, Mux(
        op.rounding[1], Rounding.ODD.value, w.rounding.as_value())))
    # These hold their operands themselves.
    alu, compare, of_masks = unit.parts.alu, unit.parts.compare, unit.parts.mask
    for part, engine in ((alu, Engine.ALU), (compare, Engine.COMPARE), (of_masks, Engine.MASK)):
        m.d.comb += [part.load.eq(enters & (op.engine == engine)), part.op.eq(op.op),
                     part.in2.eq(left), part.in1.eq(right)]
    m.d.comb += [
        alu.width.eq(w.width), alu.mask.eq(Mux(op.mask_operand, mask, 0)),
        alu.vxrm.eq(w.vxrm), compare.halves.eq(w.width == 1), compare.half.eq(w.eew_s2 == 1),
        compare.rounding.eq(rounding),
        of_masks.first.eq(w.first), of_masks.number.eq(w.now), of_masks.active.eq(active),
        of_masks.old.eq(operands["d"]),
    ]
    with m.If(enters):
        m.d.sync += [
            taken.op.eq(op), taken.a.eq(left), taken.b.eq(right),
            taken.c.eq(Mux(swap_d, s2, operands["d"])),
            taken.active.eq(active), taken.halves.eq(w.width == 1),
            *(taken[f"eew_{n}"].eq(w[f"eew_{n}"]) for n in ("s2", "s1", "d")),
            taken.rounding.eq(rounding), taken.vxrm.eq(w.vxrm), taken.rd.eq(w.rd),
            beat.engine.eq(op.engine), beat.tag.eq(w.tag), beat.last.eq(w.last),
            beat.width.eq(w.width), beat.shift.eq(w.shift_d), beat.place.eq(w.place),
            beat.mask_place.eq(w.mask_place), beat.row.eq(w.row),
            beat.row_first.eq(w.row_first), beat.row_last.eq(w.row_last),
            beat.to_mask.eq(w.to_mask), beat.writes.eq(op.d_kind != Kind.NONE),
            beat.active.eq(active),
        ]
    return SimpleNamespace(valid=valid, x=taken)
