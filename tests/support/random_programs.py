"""Random programs for lock-step comparison: every scalar instruction, special operands, traps."""

import random

from xpu_rtl.simd.instruction import Immediate, Operand, Unit
from xpu_rtl.simd.isa import INSTRUCTIONS

__all__ = ["SPECIAL", "TAIL", "encode", "random_program"]

#: Registers that programs leave alone: x1 points into the data, x2 counts the rounds.
_RESERVED = (1, 2)
SPECIAL = (0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x3F80_0000, 0xBF80_0000, 0x7F80_0000,
            0xFF80_0000, 0x7FC0_0000, 0x7F80_0001, 0x0080_0000, 0x007F_FFFF, 0x7F7F_FFFF,
            0xFFFF_3C00, 0xFFFF_7C00, 0xFFFF_7E00, 0xFFFF_7C01, 0xFFFF_0001, 0xFFFF_03FF,
            0xFFFF_0400, 0xFFFF_FBFF, 0x4F00_0000, 0xCF00_0000, 0x4F80_0000, 0xFFFF_8000,
            0x3300_0000, 0x4B00_0001)
_CSRS = (0x001, 0x002, 0x003, 0x340, 0x341, 0x342, 0x343, 0xF14, 0x7FF)

_HEAD = """.globl _start
_start:
  li a0, 0x2000
  csrs mstatus, a0
  la t0, trap
  csrw mtvec, t0
  csrw fcsr, zero
  csrw mscratch, zero
  csrw mepc, zero
  csrw mcause, zero
  csrw mtval, zero
  la x1, data + 2048
"""
TAIL = """  addi x2, x2, -1
  beqz x2, finish
  j again
finish:
  fence
  la x3, tohost
  li x4, 1
  sw x4, 0(x3)
stay: j stay
.align 2
trap:
  csrw mscratch, x31
  csrr x31, mepc
  addi x31, x31, 4
  csrw mepc, x31
  csrr x31, mscratch
  mret
.data
.align 12
data:
"""


def encode(one, *, rd=0, rs1=0, rs2=0, rs3=0, immediate=0, rounding=0):
    """Return the word of an instruction of the table; bits its pattern fixes win."""
    word = rd << 7 | rounding << 12 | rs1 << 15 | rs2 << 20 | rs3 << 27
    imm = immediate & 0xFFFF_FFFF
    if one.unit in (Unit.LOAD, Unit.CSR) or one.rs2 is Operand.IMM or one.unit is Unit.SYSTEM:
        if one.immediate is Immediate.I:
            word = rd << 7 | rs1 << 15 | (imm & 0xFFF) << 20
        elif one.immediate is Immediate.U:
            word = rd << 7 | (imm & 0xFFFF_F000)
        else:
            word = rd << 7 | (imm >> 20 & 1) << 31 | (imm >> 1 & 0x3FF) << 21 \
                | (imm >> 11 & 1) << 20 | (imm >> 12 & 0xFF) << 12
    elif one.immediate is Immediate.S:
        word = rs1 << 15 | rs2 << 20 | (imm & 31) << 7 | (imm >> 5 & 0x7F) << 25
    elif one.immediate is Immediate.B:
        word = rs1 << 15 | rs2 << 20 | (imm >> 11 & 1) << 7 | (imm >> 1 & 15) << 8 \
            | (imm >> 5 & 0x3F) << 25 | (imm >> 12 & 1) << 31
    return word & ~one.mask & 0xFFFF_FFFF | one.match


class _Body:
    """A sequence of random instructions."""

    def __init__(self, rng):
        self.rng, self.words = rng, []
        self.targets = set()        # numbers of the words to which branches go

    def _destination(self, one):
        number = self.rng.randrange(32)
        while one.rd is Operand.X and number in _RESERVED:
            number = self.rng.randrange(32)
        return number

    def _source(self, last):
        """A register, often the one just written."""
        return last if self.rng.random() < 0.3 else self.rng.randrange(32)

    def add(self, one, last):
        """Append an instruction; returns the register it writes."""
        rng = self.rng
        rd = self._destination(one)
        fields = {"rd": rd, "rs1": self._source(last), "rs2": self._source(last),
                  "rs3": self._source(last)}
        if one.rounds:
            fields["rounding"] = rng.choice((0, 1, 2, 3, 4, 7, 7, 7, rng.randrange(8)))
        if one.unit in (Unit.LOAD, Unit.STORE):
            size = 1 << (one.match >> 12 & 3)
            offset = rng.randrange(-2048, 2048)
            fields |= {"rs1": 1, "immediate": offset if rng.random() < 0.05 else offset & -size}
        elif one.unit is Unit.BRANCH or one.name == "jal":
            ahead = rng.randrange(1, 8)
            self.targets.add(len(self.words) + ahead)
            fields["immediate"] = 4 * ahead
        elif one.name == "jalr":        # behind an auipc, and nobody else comes to it
            while len(self.words) + 1 in self.targets:
                self.words.append(encode(INSTRUCTIONS["addi"]))
            base, ahead = rng.randrange(3, 32), rng.randrange(2, 8)
            self.targets.add(len(self.words) + ahead)
            self.words.append(encode(INSTRUCTIONS["auipc"], rd=base))
            fields |= {"rs1": base, "immediate": 4 * ahead + (rng.random() < 0.1)}
        elif one.unit is Unit.CSR:
            fields |= {"immediate": rng.choice(_CSRS)}
        elif one.rs2 is Operand.IMM:
            fields["immediate"] = rng.choice((rng.getrandbits(32), rng.randrange(-16, 16)))
        self.words.append(encode(one, **fields))
        return rd


def random_program(seed, length=1000, rounds=2):
    """Return assembly text of a program that ends by writing 1 to ``tohost``.

    It goes several times through ``length`` random instructions: all of the table but WFI and MRET,
    each kind of equal weight. Branches and jumps go forward; loads and stores stay within 4 KiB of
    data, and some are misaligned; traps skip the instruction.
    """
    rng = random.Random(seed)
    body = _Body(rng)
    left_out = {"wfi", "mret"}
    names = [name for name, one in INSTRUCTIONS.items()
             if name not in left_out and one.unit not in (Unit.VECTOR, Unit.CONFIGURE)]
    last = 0
    while len(body.words) < length:
        name = rng.choice(names)
        if INSTRUCTIONS[name].unit is Unit.SYSTEM and rng.random() < 0.7:
            continue
        if rng.random() < 0.005:        # no instruction at all
            body.words.append(rng.getrandbits(32) & ~3)
            continue
        last = body.add(INSTRUCTIONS[name], last)
    body.words += [encode(INSTRUCTIONS["addi"])] * 8     # where the last branches go
    lines = [_HEAD]
    lines += [f"  li x3, {rng.choice((*SPECIAL, rng.getrandbits(32))):#x}\n  fmv.w.x f{n}, x3"
              for n in range(32)]
    lines += [f"  li x{n}, {rng.choice((*SPECIAL, rng.getrandbits(32))):#x}"
              for n in range(3, 32)]
    lines += [f"  li x2, {rounds}", "again:"]
    lines += [f"  .word {word:#010x}" for word in body.words]
    data = [rng.choice((*SPECIAL, rng.getrandbits(32))) for _ in range(1024)]
    lines += [TAIL, *(f"  .word {word:#010x}" for word in data),
              ".align 6\n.globl tohost\ntohost: .dword 0\n.globl fromhost\nfromhost: .dword 0\n"]
    return "\n".join(lines)
