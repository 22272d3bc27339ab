"""The integer ALU, combinational."""

from amaranth import Mux, Signal

from .instruction import AluOp

__all__ = ["alu"]


def alu(m, op, a, b):
    """Add the logic of ``AluOp`` to a module; return the result, 32 bits."""
    result, amount = Signal(32, name="alu_result"), Signal(5, name="alu_amount")
    total, less = Signal(32, name="alu_total"), Signal(name="alu_less")
    subtract = Signal(name="alu_subtract")
    m.d.comb += [
        subtract.eq(op == AluOp.SUB), amount.eq(b[:5]), total.eq(Mux(subtract, a - b, a + b)),
        less.eq(Mux(op == AluOp.SLTU, a < b, a.as_signed() < b.as_signed())),
    ]
    with m.Switch(op):
        with m.Case(AluOp.SLL):
            m.d.comb += result.eq(a << amount)
        with m.Case(AluOp.SLT, AluOp.SLTU):
            m.d.comb += result.eq(less)
        with m.Case(AluOp.XOR):
            m.d.comb += result.eq(a ^ b)
        with m.Case(AluOp.SRL):
            m.d.comb += result.eq(a >> amount)
        with m.Case(AluOp.SRA):
            m.d.comb += result.eq(a.as_signed() >> amount)
        with m.Case(AluOp.OR):
            m.d.comb += result.eq(a | b)
        with m.Case(AluOp.AND):
            m.d.comb += result.eq(a & b)
        with m.Default():
            m.d.comb += result.eq(total)
    return result
