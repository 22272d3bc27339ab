"""What an instruction asks of the core."""

from amaranth import Cat, Const, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..float.unit import FloatOp
from ..vector.types import VectorOp
from .instruction import Immediate, Operand
from .isa import INSTRUCTIONS

__all__ = ["Control", "Decoder"]


class Control(data.Struct):
    """A decoded instruction.

    Fields: ``legal``; ``unit`` (``Unit``), ``alu`` (``AluOp``), ``system`` (``SystemOp``),
    ``floating`` (``FloatOp``), ``vector`` (``VectorOp``); where operands come from and the result
    goes: ``rd_x``, ``rd_f``, ``rs1_x``, ``rs1_f``, ``rs1_pc``, ``rs2_x``, ``rs2_f``,
    ``rs2_immediate``, ``rs3_f``;
    ``rounds`` (has a rounding mode); ``immediate`` (``Immediate``).
    """

    legal: 1
    unit: 4
    alu: 4
    system: 3
    rd_x: 1
    rd_f: 1
    rs1_x: 1
    rs1_f: 1
    rs1_pc: 1
    rs2_x: 1
    rs2_f: 1
    rs2_immediate: 1
    rs3_f: 1
    rounds: 1
    floating: FloatOp
    vector: VectorOp
    immediate: 3


def _control(one):
    """The control word of an instruction of the table, as an integer."""
    return Control.const({
        "legal": 1, "unit": one.unit, "alu": one.alu, "system": one.system,
        "rd_x": one.rd is Operand.X, "rd_f": one.rd is Operand.F,
        "rs1_x": one.rs1 is Operand.X, "rs1_f": one.rs1 is Operand.F,
        "rs1_pc": one.rs1 is Operand.PC,
        "rs2_x": one.rs2 is Operand.X, "rs2_f": one.rs2 is Operand.F,
        "rs2_immediate": one.rs2 is Operand.IMM, "rs3_f": one.rs3 is Operand.F,
        "rounds": one.rounds, "floating": one.floating, "vector": one.vector,
        "immediate": one.immediate,
    }).as_value().value


class Decoder(wiring.Component):
    """Decode an instruction by the table of ``isa``.

    Members
    -------
    instruction : In(32)
        The word.
    control : Out(Control)
        Its meaning; all zero if there is no such instruction.
    immediate : Out(signed(32))
        Its immediate operand.

    Timing
    ------
    Combinational. Throughput, backpressure, reset: none.
    """

    def __init__(self):
        super().__init__({"instruction": In(32), "control": Out(Control),
                          "immediate": Out(signed(32))})

    def elaborate(self, platform):
        m = Module()
        word, immediate = self.instruction, self.immediate
        control = Signal(Control.as_shape().size)
        m.d.comb += self.control.eq(control)
        # One constant per instruction: assigned field by field, emission would take minutes.
        opcodes = {}
        for one in INSTRUCTIONS.values():
            opcodes.setdefault(one.pattern[-7:], []).append(one)
        with m.Switch(word[:7]):
            for opcode, some in opcodes.items():
                with m.Case(opcode), m.Switch(word[7:]):
                    for one in some:
                        with m.Case(one.pattern[:-7]):
                            m.d.comb += control.eq(_control(one))
        with m.Switch(self.control.immediate):
            with m.Case(Immediate.I):
                m.d.comb += immediate.eq(word[20:].as_signed())
            with m.Case(Immediate.S):
                m.d.comb += immediate.eq(Cat(word[7:12], word[25:]).as_signed())
            with m.Case(Immediate.B):
                m.d.comb += immediate.eq(Cat(
                    Const(0, 1), word[8:12], word[25:31], word[7], word[31]).as_signed())
            with m.Case(Immediate.U):
                m.d.comb += immediate.eq(Cat(Const(0, 12), word[12:]))
            with m.Case(Immediate.J):
                m.d.comb += immediate.eq(Cat(
                    Const(0, 1), word[21:31], word[20], word[12:20], word[31]).as_signed())
        return m
