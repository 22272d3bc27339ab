"""Vector instructions that go element by element: permutations and reductions."""

from types import SimpleNamespace

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named
from ..float.compare import CompareOp, compare
from ..float.fma import FusedMultiplyAdd
from ..float.ieee import HALF, SINGLE, Flags, unpack
from ..params import XpuConfig
from .elements import log2_width
from .operations import Engine, Kind, PermuteOp, ReduceOp
from .types import RowWrite, VectorRequest, VectorShape

__all__ = ["VectorSerial"]


class VectorSerial(wiring.Component):
    """Slides, gathers, compression, iota, the first element as a scalar; reductions in the order
    of the elements.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    start : In(1)
        Begin ``request``, which stays until ``done``.
    request : In(VectorRequest(config))
    v0 : In(vlen)
        The mask.
    row2, data2, row1, data1 : Out, In
        Two ways to read a row, combinationally.
    write : Out(stream.Signature(RowWrite(config), always_ready=True))
        What is written.
    add, element, total, sum : Out(1), Out(32), Out(32), In(32)
        A sum to be made of floating-point numbers; it is there ``FusedMultiplyAdd.LATENCY`` cycles
        later.
    sum_flags : In(Flags)
    element_half, total_half : Out(1)
        Formats of what is added.
    done, flags, scalar : Out(1), Out(Flags), Out(32)
        The end, exceptions, and the result of TO_SCALAR.

    Timing
    ------
    Latency: 3 cycles and one per element; a floating-point sum 10 per element.
    Throughput: one instruction at a time. Backpressure: none. Combinational paths: ``data1``,
    ``data2`` to registers only. Reset: idle.
    """

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        super().__init__({
            "start": In(1), "request": In(VectorRequest(config)), "v0": In(config.vlen),
            "row2": Out(shape.row_bits), "data2": In(shape.width), "row1": Out(shape.row_bits),
            "data1": In(shape.width),
            "write": Out(stream.Signature(RowWrite(config), always_ready=True)),
            "add": Out(1), "element": Out(32), "total": Out(32), "sum": In(32),
            "sum_flags": In(Flags), "element_half": Out(1), "total_half": Out(1), "done": Out(1),
            "flags": Out(Flags), "scalar": Out(32),
        })

    def _row(self, register, index, width):
        """Row that holds an element, and its place there in units of its width, for each width."""
        shape = self._shape
        offset = named(self._m, f"offset_{len(self._names)}", shape.index_bits + 3,
                       index << width)
        self._names.append(offset)
        return ((register << shape.row_shift) + (offset >> shape.byte_shift),
                offset[:shape.byte_shift])

    def _pick(self, name, row, place, width):
        """The element at byte ``place`` of a row, with zeros above it."""
        m = self._m
        result = Signal(32, name=name)
        for n in range(3):
            with m.If(width == n):
                index = place[n:] if len(place) > n else Const(0, 1)
                m.d.comb += result.eq(row.word_select(index, 8 << n))
        return result

    def elaborate(self, platform):
        m = self._m = Module()
        self._names = []
        shape, request = self._shape, self.request
        op = request.op
        reduces = op.engine == Engine.REDUCE
        index = Signal(shape.vl_bits)
        bit = named(m, "enabled", 1, request.vm | self.v0.bit_select(
            index[:shape.index_bits], 1))
        last = named(m, "last", 1, index + 1 >= request.vl)
        none = request.vl == 0
        d_width = named(m, "d_width", 2, log2_width(op.d, request.sew))
        permute, reduce = self._permute(m, index, bit), self._reduce(m, index, bit)
        to_scalar = op.op == PermuteOp.TO_SCALAR
        with m.If(self.start):
            m.d.sync += index.eq(0)
        with m.FSM(name="serial"):
            with m.State("idle"):
                with m.If(self.start):
                    with m.If(none & (reduces | ~to_scalar)):
                        m.next = "end"
                    with m.Elif(reduces):
                        m.next = "first"
                    with m.Else():
                        m.next = "permute"
            with m.State("permute"):
                m.d.comb += permute.take.eq(1)
                m.d.sync += index.eq(index + 1)
                with m.If(last | to_scalar):
                    m.next = "drain"
            with m.State("drain"):
                with m.If(~permute.busy):
                    m.next = "end"
            with m.State("first"):      # the initial value
                m.d.comb += reduce.first.eq(1)
                m.next = "reduce"
            with m.State("reduce"):
                with m.If(reduce.free):
                    m.d.comb += reduce.take.eq(1)
                    m.d.sync += index.eq(index + 1)
                    with m.If(last):
                        m.next = "sum"
            with m.State("sum"):
                with m.If(reduce.free):
                    m.next = "result"
            with m.State("result"):
                m.d.comb += reduce.write.eq(1)
                m.next = "end"
            with m.State("end"):
                m.d.comb += self.done.eq(1)
                m.next = "idle"
        write = self.write.p
        value = Mux(reduce.write, reduce.total, permute.value)
        where, place = self._row(request.vd, Mux(reduce.write, 0, permute.target), d_width)
        size = named(m, "size", 4, (1 << (1 << d_width)) - 1)
        m.d.comb += [
            self.write.valid.eq(reduce.write | permute.write), write.row.eq(where),
            write.strobe.eq(size << place), write.tag.eq(request.tag),
        ]
        with m.Switch(d_width):
            for n in range(3):
                with m.Case(n):
                    m.d.comb += write.data.eq(value[:8 << n].replicate(shape.width // (8 << n)))
        return m

    def _permute(self, m, index, enabled):
        """Stages: which element; read it; write it."""
        shape, request = self._shape, self.request
        op, scalar, sew = request.op, request.scalar, request.sew
        one = {kind: named(m, f"is_{kind.name.lower()}", 1, op.op == kind) for kind in PermuteOp}
        take = Signal(name="permute_take")
        # A row of indices, or of bits to compress or count by.
        index_width = Mux(op.index16, 1, sew)
        bits = one[PermuteOp.COMPRESS] | one[PermuteOp.IOTA]
        index_row, index_place = self._row(request.vs1, index, index_width)
        bit_row = (Mux(one[PermuteOp.IOTA], request.vs2, request.vs1) << shape.row_shift) + (
            index >> (shape.byte_shift + 3))
        m.d.comb += self.row1.eq(Mux(op.engine == Engine.REDUCE,
                                     request.vs1 << shape.row_shift,
                                     Mux(bits, bit_row, index_row)))
        chosen = self._pick("index", self.data1, index_place, index_width)
        set_bit = named(m, "set_bit", 1, self.data1.bit_select(index[:shape.byte_shift + 3], 1))
        count = Signal(shape.vl_bits)
        with m.If(self.start):
            m.d.sync += count.eq(0)
        with m.Elif(take & bits & set_bit & enabled):
            m.d.sync += count.eq(count + 1)

        largest = named(m, "vlmax", shape.vl_bits,
                        Mux(request.lmul < 0, (shape.vlen // 8) >> sew >> (-request.lmul)[:2],
                            ((shape.vlen // 8) << request.lmul[:2]) >> sew))
        source = Signal(34)
        active = Signal(name="moves")
        inserts = Signal()
        m.d.comb += active.eq(enabled)
        with m.Switch(op.op):
            with m.Case(PermuteOp.SLIDE_UP.value):
                m.d.comb += [source.eq(index - scalar), active.eq(enabled & (index >= scalar))]
            with m.Case(PermuteOp.SLIDE_DOWN.value):
                m.d.comb += source.eq(index + scalar)
            with m.Case(PermuteOp.SLIDE_1_UP.value):
                m.d.comb += [source.eq(index - 1), inserts.eq(index == 0)]
            with m.Case(PermuteOp.SLIDE_1_DOWN.value):
                m.d.comb += [source.eq(index + 1), inserts.eq(index + 1 == request.vl)]
            with m.Case(PermuteOp.GATHER.value):
                m.d.comb += source.eq(Mux(op.s1_kind == Kind.SCALAR, scalar, chosen))
            with m.Case(PermuteOp.COMPRESS.value):
                m.d.comb += [source.eq(index), active.eq(set_bit)]
        # Read.
        reads, place, moves = Signal(), Signal(shape.index_bits), Signal()
        target, outside, inserted = Signal(shape.index_bits), Signal(), Signal()
        number = Signal(shape.vl_bits)
        m.d.sync += reads.eq(take)
        with m.If(take):
            m.d.sync += [place.eq(source), moves.eq(active), outside.eq(source >= largest),
                         target.eq(Mux(one[PermuteOp.COMPRESS], count, index)),
                         inserted.eq(inserts), number.eq(count)]
        element_row, element_place = self._row(request.vs2, place, sew)
        reduce_row, reduce_place = self._row(request.vs2, index[:shape.index_bits], sew)
        reduces = op.engine == Engine.REDUCE
        m.d.comb += self.row2.eq(Mux(reduces, reduce_row, element_row))
        element = self._pick("picked", self.data2, Mux(reduces, reduce_place, element_place), sew)
        self._picked = element
        # Write.
        writes, value, where = Signal(), Signal(32), Signal(shape.index_bits)
        narrow = Mux((sew == 1) & ~scalar[16:].all() & request.op.float_of.any(), HALF.nan, scalar)
        m.d.sync += writes.eq(reads & moves)
        with m.If(reads):
            m.d.sync += [
                where.eq(target),
                value.eq(Mux(inserted, narrow, Mux(one[PermuteOp.IOTA], number,
                                                   Mux(outside, 0, element)))),
            ]
            with m.If(one[PermuteOp.TO_SCALAR]):
                m.d.sync += self.scalar.eq(element)
                for n in range(2):
                    low = element[:8 << n]
                    with m.If(sew == n):
                        m.d.sync += self.scalar.eq(Cat(
                            low, (low[-1] | request.to_f).replicate(32 - len(low))))
        result = SimpleNamespace(take=take, busy=reads | writes, value=value, target=where,
                                  write=Signal(name="permute_write"))
        m.d.comb += result.write.eq(writes & ~one[PermuteOp.TO_SCALAR])
        return result

    def _reduce(self, m, index, enabled):
        """One element after the other onto a total."""
        request = self.request
        op, sew = request.op, request.sew
        first, take, write = (Signal(name=f"reduce_{name}") for name in ("first", "take", "write"))
        total, element = Signal(32), Signal(32)
        here, waiting = Signal(), Signal(range(FusedMultiplyAdd.LATENCY + 1))
        is_float = op.op >= ReduceOp.FLOAT_SUM
        sums = named(m, "sums", 1, op.op == ReduceOp.FLOAT_SUM)
        is_signed = (op.op == ReduceOp.MIN) | (op.op == ReduceOp.MAX) | op.signed2
        d_width = log2_width(op.d, sew)

        def extended(name, value, width):
            result = Signal(32, name=name)
            for n in range(3):
                low = value[:8 << n]
                with m.If(width == n):
                    m.d.comb += result.eq(Cat(low, (low[-1] & is_signed & ~is_float).replicate(
                        32 - len(low))))
            return result

        initial = extended("initial", self.data1[:32], d_width)
        operand = extended("operand", self._picked, sew)
        finished = named(m, "finished", 1, waiting == 1)
        free = named(m, "free", 1, (~here | ~sums | finished))
        half = named(m, "total_is_half", 1, d_width == 1)
        compared, invalid = compare(m, "compared", named(m, "extreme", 4, Mux(
            op.op == ReduceOp.FLOAT_MIN, CompareOp.MIN.value, CompareOp.MAX.value)),
            total, element, half)
        less = Mux(is_signed, total.as_signed() < element.as_signed(), total < element)
        below = named(m, "below", 1, less)
        result = Signal(32, name="reduced")
        with m.Switch(op.op):
            for kind, value in (
                    (ReduceOp.SUM, total + element), (ReduceOp.AND, total & element),
                    (ReduceOp.OR, total | element), (ReduceOp.XOR, total ^ element),
                    (ReduceOp.FLOAT_SUM, self.sum)):
                with m.Case(kind.value):
                    m.d.comb += result.eq(value)
            with m.Case(ReduceOp.MIN.value, ReduceOp.MINU.value):
                m.d.comb += result.eq(Mux(below, total, element))
            with m.Case(ReduceOp.MAX.value, ReduceOp.MAXU.value):
                m.d.comb += result.eq(Mux(below, element, total))
            with m.Default():
                m.d.comb += result.eq(compared)
        # A sum in any order makes its initial value an ordinary NaN even if it adds nothing.
        untouched = Signal()
        start = unpack(m, "start", total, half)
        with m.If(self.start):
            m.d.sync += [self.flags.eq(0), untouched.eq(1)]
        with m.Elif(here):
            m.d.sync += untouched.eq(0)
        cleans = named(m, "cleans", 1, sums & op.unordered & untouched & start.nan)
        with m.If(write & cleans):
            m.d.sync += self.flags.invalid.eq(start.signaling)
        with m.If(first):
            m.d.sync += [total.eq(initial), here.eq(0)]
        with m.Elif(free):
            m.d.sync += here.eq(take & enabled)
            with m.If(here):
                m.d.sync += total.eq(result)
                with m.If(sums):
                    m.d.sync += self.flags.eq(self.flags.as_value() | self.sum_flags.as_value())
                with m.Elif(is_float):
                    m.d.sync += self.flags.eq(self.flags.as_value() | (invalid << 4))
            with m.If(take):
                m.d.sync += element.eq(operand)
        m.d.comb += [
            self.add.eq(here & sums & (waiting == 0)), self.element.eq(element),
            self.total.eq(total), self.element_half.eq(sew == 1), self.total_half.eq(half),
        ]
        with m.If(self.add):
            m.d.sync += waiting.eq(FusedMultiplyAdd.LATENCY)
        with m.Elif(waiting != 0):
            m.d.sync += waiting.eq(waiting - 1)
        return SimpleNamespace(
            first=first, take=take, free=free, write=write,
            total=Mux(cleans, Mux(half, HALF.nan, SINGLE.nan), total))
