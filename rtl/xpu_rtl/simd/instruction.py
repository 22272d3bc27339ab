"""What is said of an instruction: its encoding, its operands, the unit that executes it."""

import enum
from dataclasses import dataclass, field

__all__ = ["AluOp", "Cause", "Immediate", "Instruction", "Operand", "SystemOp", "Unit"]


@enum.unique
class Unit(enum.IntEnum):
    """Which part of a core executes an instruction."""

    ALU = 0
    BRANCH = 1
    JUMP = 2
    LOAD = 3
    STORE = 4
    MULTIPLY = 5        #: also divides
    FLOAT = 6
    CSR = 7
    SYSTEM = 8
    CONFIGURE = 9       #: vset*
    VECTOR = 10


@enum.unique
class AluOp(enum.IntEnum):
    """Operations of the ALU; bits 2:0 are ``funct3``, bit 3 is bit 30 of the instruction."""

    ADD = 0b0000
    SUB = 0b1000
    SLL = 0b0001
    SLT = 0b0010
    SLTU = 0b0011
    XOR = 0b0100
    SRL = 0b0101
    SRA = 0b1101
    OR = 0b0110
    AND = 0b0111


@enum.unique
class SystemOp(enum.IntEnum):
    """What SYSTEM and fence instructions do."""

    FENCE = 0
    FENCE_I = 1
    ECALL = 2
    EBREAK = 3
    MRET = 4
    WFI = 5


@enum.unique
class Immediate(enum.IntEnum):
    """Formats of immediate operands."""

    I = 0       # noqa: E741
    S = 1
    B = 2
    U = 3
    J = 4


@enum.unique
class Operand(enum.IntEnum):
    """Where an operand comes from, or a result goes to."""

    NONE = 0
    X = 1       #: integer register
    F = 2       #: floating-point register
    PC = 3      #: address of the instruction (first operand)
    IMM = 4     #: immediate (second operand)


@enum.unique
class Cause(enum.IntEnum):
    """Why a trap was taken, as in ``mcause``."""

    FETCH_MISALIGNED = 0
    FETCH_FAULT = 1
    ILLEGAL = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_FAULT = 5
    STORE_MISALIGNED = 6
    STORE_FAULT = 7
    ECALL = 11


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Parameters
    ----------
    name : str
        Mnemonic.
    pattern : str
        32 characters, bit 31 first: 0, 1, or - where operands are.
    unit : Unit
        Executes it.
    rd, rs1, rs2, rs3 : Operand
        Registers that it writes and reads; ``rs1`` may be PC, ``rs2`` IMM.
    immediate : Immediate
        Format of the immediate.
    alu : AluOp
        Operation of the ALU.
    system : SystemOp
        For SYSTEM.
    rounds : bool
        Has a rounding mode in bits 14:12.
    floating : dict
        Fields of ``FloatOp``.
    vector : dict
        Fields of ``VectorOp``.
    """

    name: str
    pattern: str
    unit: Unit
    rd: Operand = Operand.NONE
    rs1: Operand = Operand.NONE
    rs2: Operand = Operand.NONE
    rs3: Operand = Operand.NONE
    immediate: Immediate = Immediate.I
    alu: AluOp = AluOp.ADD
    system: SystemOp = SystemOp.FENCE
    rounds: bool = False
    floating: dict = field(default_factory=dict)
    vector: dict = field(default_factory=dict)

    @property
    def match(self):
        """The fixed bits."""
        return int(self.pattern.replace("-", "0"), 2)

    @property
    def mask(self):
        """Where the fixed bits are."""
        return int("".join("0" if bit == "-" else "1" for bit in self.pattern), 2)
