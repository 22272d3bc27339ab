"""Which vector instructions are legal as ``vtype`` stands, and the registers they use."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .operations import Engine, FloatOf, Kind, Width
from .types import VectorOp

__all__ = ["VectorCheck"]

_LARGEST = 3        # log2 of eight registers


class VectorCheck(wiring.Component):
    """Element widths, group sizes, alignment and overlap of an instruction's operands.

    Source: "V" Standard Extension, sections 3.4, 5.2, 5.3, 7 and 11 to 16; where they leave a case
    reserved, it is illegal here if it is in Spike.

    Members
    -------
    op : In(VectorOp)
        The instruction.
    word : In(32)
        Its bits.
    sew, lmul, vill, vstart_zero, rounding_valid : In
        State: element width, group size (log2), no valid ``vtype``; ``vstart`` is 0; ``frm`` is a
        rounding mode.
    illegal : Out(1)
    reads, writes : Out(32), Out(32)
        Registers.

    Timing
    ------
    Combinational. Throughput, backpressure, reset: none.
    """

    def __init__(self):
        super().__init__({
            "op": In(VectorOp), "word": In(32), "sew": In(2), "lmul": In(signed(3)),
            "vill": In(1), "vstart_zero": In(1), "rounding_valid": In(1),
            "illegal": Out(1), "reads": Out(32), "writes": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        op, word = self.op, self.word
        is_load, is_store, memory = Signal(), Signal(), Signal()
        indexed = Signal()
        masked = ~word[25]
        m.d.comb += [
            is_load.eq(op.engine == Engine.LOAD), is_store.eq(op.engine == Engine.STORE),
            memory.eq(is_load | is_store), indexed.eq(memory & word[26]),
        ]
        width = Signal(2)       # of a load or store, by its instruction
        m.d.comb += width.eq(Mux(word[14], Cat(~word[13], word[13]), 0))
        fields = Signal(4)
        m.d.comb += fields.eq(Mux(memory & ~op.whole & (op.d_kind == Kind.GROUP),
                                  word[29:32] + 1, 1))
        whole = Signal(signed(4))       # log2 of the registers of a whole-register instruction
        count = Mux(memory, word[29:32], word[15:18])
        m.d.comb += whole.eq(Mux(count[2], 3, Mux(count[1], 2, count[0])))

        bad = []

        def operand(name, relation, kind, number, *, eew=None, copies=None):
            """Width, size and registers of an operand."""
            exponent, size = Signal(signed(4), name=f"{name}_eew"), Signal(
                signed(5), name=f"{name}_size")
            with m.Switch(relation):
                for one, step in ((Width.SAME, 0), (Width.DOUBLE, 1), (Width.HALF, -1),
                                  (Width.QUARTER, -2)):
                    with m.Case(one):
                        m.d.comb += exponent.eq(self.sew + step)
            if eew is not None:         # where the instruction says it
                with m.If(eew[0]):
                    m.d.comb += exponent.eq(eew[1])
            grouped, used = Signal(name=f"{name}_grouped"), Signal(name=f"{name}_used")
            ones = Signal(32, name=f"{name}_ones")
            registers = Signal(32, name=f"{name}_registers")
            large = Signal(range(_LARGEST + 1), name=f"{name}_large")
            many = Signal(4, name=f"{name}_many")       # registers
            m.d.comb += [
                grouped.eq(kind == Kind.GROUP),
                used.eq(grouped | (kind == Kind.SINGLE) | (kind == Kind.MASK)),
                size.eq(Mux(op.whole, whole, self.lmul + exponent - self.sew)),
                large.eq(Mux(grouped & (size > 0), size, 0)),
            ]
            total = Signal(8, name=f"{name}_total")
            m.d.comb += [total.eq((copies if copies is not None else 1) << large),
                         many.eq(total), ones.eq((1 << total) - 1),
                         registers.eq(Mux(used, ones << number, 0))]
            aligned = ~(number & ((1 << large) - 1)[:_LARGEST + 1]).any()
            bad.append(used & (kind != Kind.MASK) & ~op.whole
                       & ((exponent < 0) | (exponent > 2)))
            bad.append(grouped & ~aligned)
            bad.append(grouped & ((size < -3) | (size > _LARGEST)) & ~op.whole)
            if copies is not None:
                bad.append(grouped & ((total > 8) | (number + total > 32)))
            return exponent, size, registers, grouped, used, total

        vd, vs2, vs1 = word[7:12], word[20:25], word[15:20]
        d = operand("d", op.d, op.d_kind, vd, eew=(memory & ~indexed, width), copies=fields)
        s2 = operand("s2", op.s2, op.s2_kind, vs2, eew=(indexed, width))
        s1 = operand("s1", op.s1, op.s1_kind, vs1, eew=(op.index16, Const(1, 2)))
        d_eew, _, d_registers, d_grouped, d_used, d_total = d

        # Overlap of what is written with what is read.
        for name, number, kind, (eew, size, registers, grouped, _, total) in (
                ("s2", vs2, op.s2_kind, s2), ("s1", vs1, op.s1_kind, s1)):
            common = Signal(name=f"{name}_common")
            m.d.comb += common.eq((d_registers & registers).any() & ~is_store)
            lower = number == vd
            upper = (size >= 0) & (number + total == vd + d_total)
            widening, narrowing = eew < d_eew, eew > d_eew
            bad.append(common & op.apart & (op.engine == Engine.PERMUTE if name == "s1" else 1))
            bad.append(common & d_grouped & (kind == Kind.MASK))
            bad.append(common & (op.d_kind == Kind.MASK) & grouped & ~lower)
            bad.append(common & d_grouped & grouped & narrowing & ~lower)
            bad.append(common & d_grouped & grouped & widening & ~upper)
            if name == "s2":
                bad.append(common & indexed & (fields > 1))
            else:
                bad.append(common & op.index16)

        float_eew = Mux(op.float_of == FloatOf.DESTINATION, d_eew, s2[0])
        floats = op.float_of != FloatOf.NONE
        bad += [
            masked & (vd == 0) & ~is_store & (d_grouped | op.not_v0),
            ~memory & ~self.vstart_zero,       # only loads and stores leave it otherwise
            self.vill & ~(memory & op.whole),
            floats & ((float_eew < 1) | ~self.rounding_valid
                      | ((op.s1_kind != Kind.NONE) & (s1[0] < 1))),
        ]
        merged = op.read_d | (op.d_kind == Kind.MASK)
        m.d.comb += [
            self.illegal.eq(Cat(bad).any()),
            self.reads.eq(s2[2] | s1[2] | Mux(is_store | (~is_load & merged), d_registers, 0)
                          | masked),
            self.writes.eq(Mux(is_store | ~d_used, 0, d_registers)),
        ]
        return m
