"""The arithmetic half of the vector unit: issues instructions row by row to its engines."""

from types import SimpleNamespace

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..float.bits import named
from ..float.ieee import HALF, Rounding
from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from ..simd.types import LateResult
from .alu import VectorAlu, mask_row
from .compare import VectorCompare
from .divide import VectorDivide
from .elements import active_bits, expand, log2_width, splat
from .floating import VectorFloat
from .multiply import VectorMultiply
from .operations import AluOp, Engine, Kind, MaskOp, Width
from .result_stage import ResultStage
from .serial import VectorSerial
from .types import Completion, RowWrite, VectorOp, VectorRequest, VectorShape

__all__ = ["VectorArithmetic"]


class VectorArithmetic(wiring.Component):
    """Execute arithmetic vector instructions in order, a row of the widest operand per cycle.

    Stages: issue (read registers), widen, execute (of the engine's latency), results. A row waits
    at issue until the rows it needs are written, also those that loads still write, so that
    instructions follow each other row by row. Permutations and reductions
    go element by element, alone.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(VectorRequest(config)))
        Instructions.
    row2, row1, rowd, data2, data1, datad, v0 : Out, In
        Registers, read combinationally.
    loading : In(32 * rows)
        Rows that loads have yet to write.
    write : Out(stream.Signature(RowWrite(config), always_ready=True))
        Rows written.
    pending : Out(32 * rows)
        Rows that have yet to be written here.
    reads, writes : Out(32), Out(32)
        Registers that an instruction here has yet to read, or to write.
    scalar : Out(stream.Signature(LateResult))
        Results for integer and floating-point registers.
    done, completion : Out(1), Out(Completion)
        An instruction has ended.
    issues, busy : Out(1), Out(1)
        A row is issued; an instruction is here.

    Timing
    ------
    Latency: a row that depends on another can be issued 5 cycles after it (integer operations,
    comparisons, masks), 6 (products, conversions to integers), 12 (floating point).
    Throughput: a row per cycle; divisions one row at a time (about 40 cycles).
    Backpressure: full on ``i`` and ``scalar``.
    Combinational paths: ``loading`` and register data to registers only.
    Reset: idle.
    """

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        super().__init__({
            "i": In(stream.Signature(VectorRequest(config))),
            **{f"row{n}": Out(shape.row_bits) for n in "21d"},
            **{f"data{n}": In(shape.width) for n in "21d"}, "v0": In(config.vlen),
            "loading": In(shape.total),
            "write": Out(stream.Signature(RowWrite(config), always_ready=True)),
            "pending": Out(shape.total), "reads": Out(32), "writes": Out(32),
            "scalar": Out(stream.Signature(LateResult)), "done": Out(1),
            "completion": Out(Completion), "issues": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        serial, alu, compare = VectorSerial(config), VectorAlu(config), VectorCompare(config)
        multiply, divide = VectorMultiply(config), VectorDivide(self._shape.lanes)
        m.submodules.float = floating = VectorFloat(config)
        m.submodules.results = results = ResultStage(config)
        self._serial_running = Signal(name="serial_running")
        for name, unit, awake in (
                ("serial", serial, serial.start | self._serial_running), ("alu", alu, alu.load),
                ("compare", compare, compare.load),
                ("multiply", multiply, multiply.enable | multiply.busy),
                ("divide", divide, divide.start | divide.busy)):
            add_gated(m, platform, name, unit, awake=awake, linger=2)
        self._units = SimpleNamespace(serial=serial, alu=alu, compare=compare, multiply=multiply,
                                      divide=divide, float=floating, results=results)
        advance = Signal()
        issued = self._issue(m, advance)
        widened = self._widen(m, issued, advance)
        self._execute(m, widened, advance)
        self._serial(m, issued, widened)
        m.d.comb += self.busy.eq(issued.active | issued.valid | widened.valid | results.busy
                                 | self.scalar.valid)
        return m

    def _issue(self, m, advance):
        """The instruction under way, and its next row."""
        shape, results = self._shape, self._units.results
        request = Signal(VectorRequest(self._config), reset_less=True)
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
        pending = self.pending
        in_flight, unissued = Signal(shape.total), Signal(shape.total)
        waits = Signal(shape.total, name="waits")
        m.d.comb += [waits.eq(in_flight | self.loading),
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
        ends = named(m, "ends", 1, (goes & is_last) | self._units.serial.done)
        m.d.comb += [
            self.i.ready.eq(~active | ends), self.issues.eq(goes),
            self.row2.eq(Mux(serial, self._units.serial.row2, rows["s2"])),
            self.row1.eq(Mux(serial, self._units.serial.row1, rows["s1"])),
            self.rowd.eq(rows["d"]),
        ]
        with m.If(goes):
            m.d.sync += [step.eq(now + 1), started.eq(1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [request.eq(self.i.payload), active.eq(1), started.eq(0)]
        with m.Elif(ends):
            m.d.sync += active.eq(0)

        writes_register = (op.d_kind != Kind.NONE)
        added, removed = Signal(shape.total, name="added"), Signal(shape.total, name="removed")
        m.d.comb += [
            added.eq(Mux(goes & writes_register, 1 << rows["d"], 0)),
            removed.eq(Mux(results.clears, 1 << self.write.p.row, 0)),
        ]
        m.d.sync += in_flight.eq((in_flight & ~removed) | added)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += unissued.eq(Cat(
                bit.replicate(shape.rows) for bit in self.i.p.writes))
        with m.Elif(goes & row_last):
            m.d.sync += unissued.eq(unissued & ~(1 << rows["d"]))
        m.d.comb += [
            self.reads.eq(Mux(active, request.reads, 0)),
            self.writes.eq(Mux(active, request.writes, 0) | Cat(
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
                taken.op.eq(op), taken.s2.eq(self.data2), taken.s1.eq(self.data1),
                taken.d.eq(self.datad),
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
                               serial=serial, started=started, idle=idle)

    def _widen(self, m, issued, advance):
        """Operands of one width, and which elements are active."""
        shape, w = self._shape, issued.w
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
            m.d.comb += mask.eq(self.v0.word_select(w.now[:max(1, shape.row_shift)], shape.width)
                                if shape.rows > 1 else self.v0)
        for n in range(3):
            with m.Elif(w.width == n):
                count = shape.bytes >> n
                m.d.comb += mask.eq(self.v0.word_select(
                    w.now[:ceil_log2(shape.vlen // count)], count))
        active = active_bits(m, "active_bits", w.base, None, w.end,
                             mask | (w.vm | op.mask_operand).replicate(shape.width), shape.width)

        valid = Signal(name="x_valid")
        taken = Signal(data.StructLayout({
            "op": VectorOp, "a": shape.width, "b": shape.width, "c": shape.width,
            "active": shape.width, "halves": 1,
            **{f"eew_{n}": 2 for n in ("s2", "s1", "d")}, "rounding": Rounding, "vxrm": 2,
            "rd": 5, "first": 1, "now": len(w.now), "beat": self._units.results.i.p.shape(),
        }), name="x", reset_less=True)
        enters = named(m, "enters", 1, advance & issued.valid)
        with m.If(advance):
            m.d.sync += valid.eq(issued.valid)
        beat = taken.beat
        left = named(m, "left", shape.width, Mux(swap_d, operands["d"], Mux(swap_1, s1, s2)))
        right = named(m, "right", shape.width, Mux(swap_1, s2, s1))
        rounding = named(m, "rounding_now", 3, Mux(op.rounding[0], Rounding.ZERO.value, Mux(
            op.rounding[1], Rounding.ODD.value, w.rounding.as_value())))
        # These two hold their operands themselves.
        alu, compare = self._units.alu, self._units.compare
        for unit, engine in ((alu, Engine.ALU), (compare, Engine.COMPARE)):
            m.d.comb += [unit.load.eq(enters & (op.engine == engine)), unit.op.eq(op.op),
                         unit.in2.eq(left), unit.in1.eq(right)]
        m.d.comb += [
            alu.width.eq(w.width), alu.mask.eq(Mux(op.mask_operand, mask, 0)),
            alu.vxrm.eq(w.vxrm), compare.halves.eq(w.width == 1), compare.half.eq(w.eew_s2 == 1),
            compare.rounding.eq(rounding),
        ]
        with m.If(enters):
            m.d.sync += [
                taken.op.eq(op), taken.a.eq(left), taken.b.eq(right),
                taken.c.eq(Mux(swap_d, s2, operands["d"])),
                taken.active.eq(active), taken.halves.eq(w.width == 1),
                *(taken[f"eew_{n}"].eq(w[f"eew_{n}"]) for n in ("s2", "s1", "d")),
                taken.rounding.eq(rounding), taken.vxrm.eq(w.vxrm), taken.rd.eq(w.rd),
                taken.first.eq(w.first),
                taken.now.eq(w.now),
                beat.engine.eq(op.engine), beat.tag.eq(w.tag), beat.last.eq(w.last),
                beat.width.eq(w.width), beat.shift.eq(w.shift_d), beat.place.eq(w.place),
                beat.mask_place.eq(w.mask_place), beat.row.eq(w.row),
                beat.row_first.eq(w.row_first), beat.row_last.eq(w.row_last),
                beat.to_mask.eq(w.to_mask), beat.writes.eq(op.d_kind != Kind.NONE),
                beat.active.eq(active),
            ]
        return SimpleNamespace(valid=valid, x=taken)

    def _execute(self, m, widened, advance):
        """Give the row to its engine; its record follows to the results."""
        units, x, valid = self._units, widened.x, widened.valid
        multiply, divide, floating = units.multiply, units.divide, units.float
        results, op, serial = units.results, x.op, units.serial
        engine = {one: named(m, f"engine_{one.name.lower()}", 1, valid & (op.engine == one))
                  for one in Engine if one < Engine.PERMUTE}
        short = named(m, "short", 1, engine[Engine.ALU] | engine[Engine.COMPARE]
                      | engine[Engine.MASK])
        two = named(m, "two", 1, engine[Engine.MULTIPLY] | engine[Engine.TO_INTEGER])
        long = named(m, "long", 1, engine[Engine.FMA] | engine[Engine.FROM_INTEGER])
        to_scalar = named(m, "to_scalar", 1, engine[Engine.MASK] & (op.op >= MaskOp.COUNT)
                          & x.beat.last)
        dividing = Signal()
        quotient = named(m, "quotient", 1, engine[Engine.DIVIDE] & dividing & ~divide.busy)
        ready = Signal(name="x_ready")
        m.d.comb += ready.eq(
            (short & results.free_1 & ~(to_scalar & self.scalar.valid))
            | (two & results.free_2) | (long & ~floating.settling)
            | (quotient & results.free_1) | floating.divided)
        leaves = named(m, "x_leaves", 1, valid & ready)
        m.d.comb += advance.eq(~valid | ready)
        with m.If(leaves):
            m.d.sync += dividing.eq(0)
        with m.Elif(divide.start):
            m.d.sync += dividing.eq(1)
        halves = x.halves
        m.d.comb += [
            multiply.op.eq(op.op), multiply.width.eq(x.beat.width), multiply.in2.eq(x.a),
            multiply.in1.eq(x.b), multiply.vxrm.eq(x.vxrm), multiply.in_d.eq(x.c),
            multiply.enable.eq(engine[Engine.MULTIPLY] & leaves),
            divide.start.eq(engine[Engine.DIVIDE] & ~dividing), divide.op.eq(op.op),
            divide.in2.eq(x.a), divide.in1.eq(x.b),
            floating.op.eq(op), floating.halves.eq(halves), floating.in2.eq(x.a),
            floating.in1.eq(x.b), floating.in_d.eq(x.c), floating.a_half.eq(x.eew_s2 == 1),
            floating.sum.eq(op.unit_factor),
            floating.c_half.eq(Mux(op.unit_factor, x.eew_s1 == 1, x.eew_d == 1)),
            floating.out_half.eq(x.eew_d == 1), floating.size.eq(x.eew_d),
            floating.rounding.eq(x.rounding), floating.fma.eq(engine[Engine.FMA] & leaves),
            floating.from_integer.eq(engine[Engine.FROM_INTEGER] & leaves),
            floating.to_integer.eq(engine[Engine.TO_INTEGER] & leaves),
            floating.divide.eq(engine[Engine.FLOAT_DIVIDE]),
        ]
        with m.If(serial.add):      # alone in the pipeline
            m.d.comb += [
                floating.in2.eq(serial.element), floating.in1.eq(serial.total), floating.sum.eq(1),
                floating.a_half.eq(serial.element_half), floating.c_half.eq(serial.total_half),
                floating.out_half.eq(serial.total_half), floating.fma.eq(1), floating.halves.eq(0),
                floating.op.eq(0), floating.op.unit_factor.eq(1),
                floating.rounding.eq(self._serial_rounding),
            ]

        # Masks.
        found, count = Signal(), Signal(self._shape.vl_bits)
        was_found = named(m, "was_found", 1, found & ~x.first)
        mask_result, set_bits, some, place = mask_row(m, op.op, x.a, x.b, x.active, was_found)
        total = named(m, "mask_total", self._shape.vl_bits, set_bits + Mux(x.first, 0, count))
        where = named(m, "where", self._shape.vl_bits, Mux(
            was_found, count, Cat(place, x.now)))
        finds = op.op == MaskOp.FIND_FIRST
        with m.If(leaves & engine[Engine.MASK]):
            m.d.sync += [found.eq(was_found | some), count.eq(Mux(finds, where, total))]
        with m.If(self.scalar.valid & self.scalar.ready):
            m.d.sync += self.scalar.valid.eq(0)
        with m.If(leaves & to_scalar):
            m.d.sync += [
                self.scalar.valid.eq(1), self.scalar.p.rd.eq(x.rd), self.scalar.p.floating.eq(0),
                self.scalar.p.value.eq(Mux(finds, Mux(was_found | some, where, -1), total)),
            ]
        merged = (mask_result & x.active) | (x.c & ~x.active)

        # What is there at once waits a cycle for its record.
        with m.If(leaves & short):
            m.d.sync += results.old.eq(x.c)
            with m.If(engine[Engine.MASK]):
                m.d.sync += [results.short.eq(merged), results.written.eq(x.active)]
            with m.Elif(engine[Engine.COMPARE]):
                m.d.sync += [results.short.eq(units.compare.result),
                             results.bits.eq(units.compare.bits),
                             results.short_flags.eq(units.compare.flags)]
            with m.Else():
                m.d.sync += [results.short.eq(units.alu.result), results.bits.eq(units.alu.bits),
                             results.short_saturated.eq(units.alu.saturated)]
        m.d.comb += [
            results.i.valid.eq(leaves), results.i.payload.eq(x.beat),
            results.after_1.eq(short | quotient), results.after_2.eq(two),
            results.product.eq(multiply.result), results.product_saturated.eq(multiply.saturated),
            results.quotient.eq(divide.result), results.integers.eq(floating.integers),
            results.integer_flags.eq(floating.integer_flags), results.fma.eq(floating.fma_result),
            results.fma_flags.eq(floating.fma_flags), floating.halves_now.eq(results.halves_now),
        ]

    @property
    def _serial_rounding(self):
        return self._units.serial.request.rounding

    def _serial(self, m, issued, widened):
        """Instructions that go element by element, when nothing else is under way."""
        serial, results, request = self._units.serial, self._units.results, issued.request
        running = self._serial_running
        needed = request.reads | request.writes
        loads = Cat(self.loading.word_select(n, self._shape.rows).any() for n in range(32))
        m.d.comb += [
            serial.start.eq(issued.active & issued.serial & ~running & issued.idle & ~widened.valid
                            & ~(needed & loads).any() & ~self.scalar.valid),
            serial.request.eq(request), serial.v0.eq(self.v0), serial.data2.eq(self.data2),
            serial.data1.eq(self.data1), serial.sum.eq(self._units.float.fma_result[:32]),
            serial.sum_flags.eq(self._units.float.fma_flags.wide[0]),
        ]
        with m.If(serial.start):
            m.d.sync += running.eq(1)
        with m.Elif(serial.done):
            m.d.sync += running.eq(0)
        with m.If(serial.done & (request.op.d_kind == Kind.NONE)):
            m.d.sync += [self.scalar.valid.eq(1), self.scalar.p.rd.eq(request.rd),
                         self.scalar.p.floating.eq(request.to_f),
                         self.scalar.p.value.eq(serial.scalar)]
        m.d.comb += [
            self.write.valid.eq(results.write.valid | serial.write.valid),
            self.write.payload.eq(Mux(serial.write.valid, serial.write.payload,
                                      results.write.payload)),
            self.done.eq(results.done | serial.done),
            self.completion.eq(Mux(serial.done, Cat(request.tag, serial.flags, Const(0, 1)),
                                   results.completion)),
        ]
