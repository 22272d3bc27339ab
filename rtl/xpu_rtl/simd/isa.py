"""The instructions of a core: encodings, operands, and which unit executes them.

One table, from which the decoder and the generator of test programs are made.
Source: The RISC-V Instruction Set Manual, RV32I, M, F, Zicsr, Zifencei, Zfh, V.
"""

from ..vector.isa import vector_instructions
from .instruction import AluOp, Immediate, Instruction, Operand, SystemOp, Unit

__all__ = ["INSTRUCTIONS"]


def _pattern(opcode, *, funct3=None, funct7=None, rs1=None, rs2=None, rd=None, funct2=None):
    def bits(value, width):
        return "-" * width if value is None else f"{value:0{width}b}"

    high = bits(funct7, 7) if funct2 is None else "-" * 5 + bits(funct2, 2)
    return (high + bits(rs2, 5) + bits(rs1, 5) + bits(funct3, 3) + bits(rd, 5) + bits(opcode, 7))


_X, _F, _IMM, _PC, _NONE = Operand.X, Operand.F, Operand.IMM, Operand.PC, Operand.NONE


def _integer():
    yield Instruction("lui", _pattern(0b0110111), Unit.ALU, rd=_X, rs2=_IMM,
                      immediate=Immediate.U)
    yield Instruction("auipc", _pattern(0b0010111), Unit.ALU, rd=_X, rs1=_PC, rs2=_IMM,
                      immediate=Immediate.U)
    yield Instruction("jal", _pattern(0b1101111), Unit.JUMP, rd=_X, rs1=_PC, rs2=_IMM,
                      immediate=Immediate.J)
    yield Instruction("jalr", _pattern(0b1100111, funct3=0), Unit.JUMP, rd=_X, rs1=_X, rs2=_IMM)
    for funct3, name in {0: "beq", 1: "bne", 4: "blt", 5: "bge", 6: "bltu", 7: "bgeu"}.items():
        yield Instruction(name, _pattern(0b1100011, funct3=funct3), Unit.BRANCH, rs1=_X, rs2=_X,
                          immediate=Immediate.B)
    for funct3, name in {0: "lb", 1: "lh", 2: "lw", 4: "lbu", 5: "lhu"}.items():
        yield Instruction(name, _pattern(0b0000011, funct3=funct3), Unit.LOAD, rd=_X, rs1=_X)
    for funct3, name in enumerate(("sb", "sh", "sw")):
        yield Instruction(name, _pattern(0b0100011, funct3=funct3), Unit.STORE, rs1=_X, rs2=_X,
                          immediate=Immediate.S)
    for op in AluOp:
        funct3, high = op & 7, 0b0100000 if op & 8 else 0
        name = op.name.lower()
        yield Instruction(name, _pattern(0b0110011, funct3=funct3, funct7=high), Unit.ALU,
                          rd=_X, rs1=_X, rs2=_X, alu=op)
        if op is not AluOp.SUB:
            shifts = op in (AluOp.SLL, AluOp.SRL, AluOp.SRA)
            yield Instruction("sltiu" if op is AluOp.SLTU else f"{name}i",
                              _pattern(0b0010011, funct3=funct3, funct7=high if shifts else None),
                              Unit.ALU, rd=_X, rs1=_X, rs2=_IMM, alu=op)
    names = ("mul", "mulh", "mulhsu", "mulhu", "div", "divu", "rem", "remu")
    for funct3, name in enumerate(names):
        yield Instruction(name, _pattern(0b0110011, funct3=funct3, funct7=1), Unit.MULTIPLY,
                          rd=_X, rs1=_X, rs2=_X)


def _system():
    yield Instruction("fence", _pattern(0b0001111, funct3=0), Unit.SYSTEM, system=SystemOp.FENCE)
    yield Instruction("fence.i", _pattern(0b0001111, funct3=1), Unit.SYSTEM,
                      system=SystemOp.FENCE_I)
    for name, high, low in (("ecall", 0, 0), ("ebreak", 0, 1), ("mret", 0b0011000, 2),
                            ("wfi", 0b0001000, 5)):
        yield Instruction(name, _pattern(0b1110011, funct7=high, rs2=low, rs1=0, funct3=0, rd=0),
                          Unit.SYSTEM, system=SystemOp[name.upper()])
    for funct3, name in {1: "csrrw", 2: "csrrs", 3: "csrrc"}.items():
        yield Instruction(name, _pattern(0b1110011, funct3=funct3), Unit.CSR, rd=_X, rs1=_X)
        yield Instruction(f"{name}i", _pattern(0b1110011, funct3=funct3 + 4), Unit.CSR, rd=_X)


def _floating():
    # Numbers of FloatKind and CompareOp (float/unit.py, float/compare.py); a test compares them.
    fma, divide, to_integer, from_integer, compare = range(5)
    yield Instruction("flw", _pattern(0b0000111, funct3=2), Unit.LOAD, rd=_F, rs1=_X)
    yield Instruction("flh", _pattern(0b0000111, funct3=1), Unit.LOAD, rd=_F, rs1=_X)
    for funct3, name in {2: "fsw", 1: "fsh"}.items():
        yield Instruction(name, _pattern(0b0100111, funct3=funct3), Unit.STORE, rs1=_X, rs2=_F,
                          immediate=Immediate.S)
    for half, suffix, code in ((0, "s", 0b00), (1, "h", 0b10)):
        def op(name, funct5, floating, *, code=code, suffix=suffix, rd=_F, rs1=_F, rs2=_F,
               number=None, funct3=None, half=half):
            return Instruction(
                f"{name}.{suffix}",
                _pattern(0b1010011, funct7=funct5 << 2 | code, rs2=number, funct3=funct3),
                Unit.FLOAT, rd=rd, rs1=rs1, rs2=rs2 if number is None else _NONE,
                rounds=funct3 is None, floating={"half": half, "out_half": half} | floating)

        yield op("fadd", 0b00000, {"kind": fma, "unit_factor": 1})
        yield op("fsub", 0b00001, {"kind": fma, "unit_factor": 1, "negate_addend": 1})
        yield op("fmul", 0b00010, {"kind": fma, "no_addend": 1})
        yield op("fdiv", 0b00011, {"kind": divide})
        yield op("fsqrt", 0b01011, {"kind": divide, "sqrt": 1}, number=0)
        for n, name in enumerate(("fsgnj", "fsgnjn", "fsgnjx")):
            yield op(name, 0b00100, {"kind": compare, "compare": n}, funct3=n)
        for n, name in enumerate(("fmin", "fmax")):
            yield op(name, 0b00101, {"kind": compare, "compare": 4 + n}, funct3=n)
        for n, name in enumerate(("fle", "flt", "feq")):
            yield op(name, 0b10100, {"kind": compare, "compare": 8 + n}, funct3=n, rd=_X)
        yield op("fclass", 0b11100, {"kind": compare, "compare": 6}, funct3=1, rd=_X, number=0)
        for n, name in enumerate(("w", "wu")):
            yield op(f"fcvt.{name}", 0b11000, {"kind": to_integer, "is_signed": 1 - n}, rd=_X,
                     number=n)
            yield Instruction(
                f"fcvt.{suffix}.{name}", _pattern(0b1010011, funct7=0b11010 << 2 | code, rs2=n),
                Unit.FLOAT, rd=_F, rs1=_X, rounds=True,
                floating={"kind": from_integer, "half": half, "out_half": half,
                          "is_signed": 1 - n})
        # Moves between the register files leave the bits as they are: the ALU's.
        yield Instruction(f"fmv.x.{'h' if half else 'w'}",
                          _pattern(0b1010011, funct7=0b11100 << 2 | code, rs2=0, funct3=0),
                          Unit.ALU, rd=_X, rs1=_F, floating={"half": half})
        yield Instruction(f"fmv.{'h' if half else 'w'}.x",
                          _pattern(0b1010011, funct7=0b11110 << 2 | code, rs2=0, funct3=0),
                          Unit.ALU, rd=_F, rs1=_X, floating={"half": half})
        for opcode, name, product, addend in (
                (0b1000011, "fmadd", 0, 0), (0b1000111, "fmsub", 0, 1),
                (0b1001011, "fnmsub", 1, 0), (0b1001111, "fnmadd", 1, 1)):
            yield Instruction(
                f"{name}.{suffix}", _pattern(opcode, funct2=code), Unit.FLOAT, rd=_F, rs1=_F,
                rs2=_F, rs3=_F, rounds=True,
                floating={"kind": fma, "half": half, "out_half": half, "negate_product": product,
                          "negate_addend": addend})
    convert = {"kind": fma, "unit_factor": 1, "no_addend": 1}
    yield Instruction("fcvt.s.h", _pattern(0b1010011, funct7=0b0100000, rs2=2), Unit.FLOAT,
                      rd=_F, rs1=_F, rounds=True, floating=convert | {"half": 1, "out_half": 0})
    yield Instruction("fcvt.h.s", _pattern(0b1010011, funct7=0b0100010, rs2=0), Unit.FLOAT,
                      rd=_F, rs1=_F, rounds=True, floating=convert | {"half": 0, "out_half": 1})


#: Every instruction, by name.
INSTRUCTIONS = {one.name: one for one in (
    *_integer(), *_system(), *_floating(), *vector_instructions())}
