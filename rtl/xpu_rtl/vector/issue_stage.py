"""Vector arithmetic, first stage: rows are read when what they need is there."""

from types import SimpleNamespace

from amaranth import Cat, Const, Mux, Signal
from amaranth.lib import data
from amaranth.utils import ceil_log2

from ..float.bits import named
from ..float.ieee import Rounding
from .elements import log2_width
from .operations import Engine, Kind, Width
from .types import VectorOp, VectorRequest

__all__ = ["issue_stage"]


def issue_stage(m, unit, advance):
    """Add the logic: the instruction under way, and its next row.

    Returns
    -------
    ``active``, ``request``, ``serial`` (it goes element by element); ``valid`` and ``w``, registers
    of the row for the next stage; ``idle``: no row is behind this stage but in the one after next.
    """
    shape, results = unit.shape, unit.parts.results
    request = Signal(VectorRequest(unit.config), reset_less=True)
    op = request.op
    active, started = Signal(name="active"), Signal(name="started")
    step = Signal(shape.index_bits - ceil_log2(shape.lanes) + 1, name="step")
    serial = named(m, "is_serial", 1, (op.engine == Engine.PERMUTE)
                   | (op.engine == Engine.REDUCE))
    on_masks = named(m, "on_masks", 1, op.engine == Engine.MASK)
    eew = {n: named(m, f"eew_{n}", 2, log2_width(op[n], request.sew))
           for n in ("d", "s2", "s1")}
    doubles = Cat(op[n] == Width.DOUBLE for n in eew).any()
    width = named(m, "width", 2, Mux(op.wide, 2, request.sew + doubles))
    shift = {n: named(m, f"shift_{n}", 2, Mux(on_masks, 0, width - eew[n])) for n in eew}
    log_count = named(m, "log_count", 4, Mux(on_masks, ceil_log2(shape.width),
                                             shape.byte_shift - width))
    # Elements to be written: of whole registers all, of element 0 one.
    single = op.d_kind == Kind.SINGLE
    whole = Mux(request.vs1[2], 3, Mux(request.vs1[1], 2, request.vs1[0]))
    some = request.vl != 0
    moves = request.vd != request.vs2
    end = named(m, "end", shape.vl_bits, Mux(
        op.whole, Mux(moves, Const(shape.vlen // 8) << whole, 0) >> request.sew,
        Mux(single, some, request.vl)))

    first = ~started
    now = named(m, "now", len(step), Mux(started, step, 0))
    is_last = named(m, "is_last", 1, ((now + 1) << log_count) >= end)
    base = named(m, "base", shape.vl_bits, now << log_count)
    # Results of one bit: which row of the mask register, and where in it.
    mask_row_number = base >> ceil_log2(shape.width)
    to_mask = named(m, "to_mask", 1, (op.d_kind == Kind.MASK) & ~on_masks)

    def row(number, index):
        return ((number << shape.row_shift) + index)[:shape.row_bits]

    rows = {
        "s2": named(m, "row_s2", shape.row_bits, row(request.vs2, now >> shift["s2"])),
        "s1": named(m, "row_s1", shape.row_bits, row(request.vs1, now >> shift["s1"])),
        "d": named(m, "row_d", shape.row_bits, row(request.vd, Mux(
            to_mask, mask_row_number, now >> shift["d"]))),
    }
    place_d = named(m, "place_d", 2, now & ((1 << shift["d"]) - 1)[:2])
    next_base = named(m, "next_base", shape.vl_bits + 1, base + (1 << log_count))
    new_row = Mux(to_mask, ~base[:ceil_log2(shape.width)].any(), place_d == 0)
    ends_row = Mux(to_mask, ~next_base[:ceil_log2(shape.width)].any(),
                   (place_d + 1) >> shift["d"] != 0)
    row_first = named(m, "row_first", 1, first | new_row)
    row_last = named(m, "row_last", 1, is_last | ends_row)

    # Hazards.
    pending = unit.pending
    in_flight, unissued = Signal(shape.total), Signal(shape.total)
    waits = Signal(shape.total, name="waits")
    m.d.comb += [waits.eq(in_flight | unit.loading),
                 pending.eq(in_flight | Mux(active, unissued, 0))]
    uses = {
        n: ((op[f"{n}_kind"] == Kind.GROUP) | (op[f"{n}_kind"] == Kind.MASK))
        # Of a row that is read again the instruction itself may be writing another part.
        & (first | ~(now & ((1 << shift[n]) - 1)[:2]).any()) for n in ("s2", "s1")
    } | {
        "d": (op.read_d | (op.d_kind != Kind.NONE)) & row_first,
    }
    masked = ~request.vm
    blocked = named(m, "blocked", 1, Cat(
        *(uses[n] & waits.bit_select(rows[n], 1) for n in rows),
        # Nobody else writes the mask from then on.
        masked & first & waits[:shape.rows].any()).any())
    goes = named(m, "goes", 1, active & ~serial & ~blocked & advance)
    ends = named(m, "ends", 1, (goes & is_last) | unit.parts.serial.done)
    m.d.comb += [
        unit.i.ready.eq(~active | ends), unit.issues.eq(goes),
        unit.row2.eq(Mux(serial, unit.parts.serial.row2, rows["s2"])),
        unit.row1.eq(Mux(serial, unit.parts.serial.row1, rows["s1"])),
        unit.rowd.eq(rows["d"]),
    ]
    with m.If(goes):
        m.d.sync += [step.eq(now + 1), started.eq(1)]
    with m.If(unit.i.valid & unit.i.ready):
        m.d.sync += [request.eq(unit.i.payload), active.eq(1), started.eq(0)]
    with m.Elif(ends):
        m.d.sync += active.eq(0)

    writes_register = (op.d_kind != Kind.NONE)
    added, removed = Signal(shape.total, name="added"), Signal(shape.total, name="removed")
    m.d.comb += [
        added.eq(Mux(goes & writes_register, 1 << rows["d"], 0)),
        removed.eq(Mux(results.clears, 1 << unit.write.p.row, 0)),
    ]
    m.d.sync += in_flight.eq((in_flight & ~removed) | added)
    with m.If(unit.i.valid & unit.i.ready):
        m.d.sync += unissued.eq(Cat(
            bit.replicate(shape.rows) for bit in unit.i.p.writes))
    with m.Elif(goes & row_last):
        m.d.sync += unissued.eq(unissued & ~(1 << rows["d"]))
    m.d.comb += [
        unit.reads.eq(Mux(active, request.reads, 0)),
        unit.writes.eq(Mux(active, request.writes, 0) | Cat(
            in_flight.word_select(n, shape.rows).any() for n in range(32))),
    ]

    # Registers of the next stage.
    valid = Signal(name="w_valid")
    taken = Signal(data.StructLayout({
        "op": VectorOp, "s2": shape.width, "s1": shape.width, "d": shape.width,
        **{f"shift_{n}": 2 for n in eew}, **{f"eew_{n}": 2 for n in eew},
        "width": 2, "now": len(step), "base": shape.vl_bits,
        "end": shape.vl_bits, "vm": 1, "scalar": 32, "rounding": Rounding, "vxrm": 2,
        "rd": 5, "tag": len(request.tag), "row": shape.row_bits, "place": 2,
        "mask_place": ceil_log2(shape.width), "first": 1, "last": 1, "row_first": 1,
        "row_last": 1, "to_mask": 1,
    }), name="w", reset_less=True)
    with m.If(advance):
        m.d.sync += valid.eq(goes)
    with m.If(goes):
        m.d.sync += [
            taken.op.eq(op), taken.s2.eq(unit.data2), taken.s1.eq(unit.data1),
            taken.d.eq(unit.datad),
            *(taken[f"shift_{n}"].eq(shift[n]) for n in eew),
            *(taken[f"eew_{n}"].eq(eew[n]) for n in eew),
            taken.width.eq(width), taken.now.eq(now), taken.base.eq(base),
            taken.end.eq(end), taken.vm.eq(request.vm),
            taken.scalar.eq(request.scalar), taken.rounding.eq(request.rounding),
            taken.vxrm.eq(request.vxrm), taken.rd.eq(request.rd), taken.tag.eq(request.tag),
            taken.row.eq(rows["d"]), taken.place.eq(place_d), taken.mask_place.eq(base),
            taken.first.eq(first), taken.last.eq(is_last), taken.row_first.eq(row_first),
            taken.row_last.eq(row_last), taken.to_mask.eq(to_mask),
        ]
    idle = ~valid & ~results.busy
    return SimpleNamespace(active=active, valid=valid, w=taken, request=request,
                           serial=serial, idle=idle)
