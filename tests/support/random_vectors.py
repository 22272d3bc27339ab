"""Random vector programs for lock-step comparison: every vector instruction, in every state."""

import random

from support.random_programs import SPECIAL, TAIL
from xpu_rtl.simd.instruction import Operand, Unit
from xpu_rtl.simd.isa import INSTRUCTIONS
from xpu_rtl.vector.operations import Engine, Kind, Width

__all__ = ["VECTOR_NAMES", "encode_vector", "random_vectors"]

VECTOR_NAMES = tuple(name for name, one in INSTRUCTIONS.items() if one.unit is Unit.VECTOR)

_HEAD = """.globl _start
_start:
  li a0, 0x2200
  csrs mstatus, a0
  la t0, trap
  csrw mtvec, t0
  csrw fcsr, zero
  csrw vcsr, zero
  csrw mscratch, zero
  csrw mepc, zero
  csrw mcause, zero
  csrw mtval, zero
{data}
  vsetvli x3, x0, e8, m1, ta, ma
"""
_IN_GM = "  la x1, data + 2048"
#: The data is copied to SM first.
_IN_SM = """  la x1, data
  li x3, {address}
  li x4, 1024
copy:
  lw x5, 0(x1)
  sw x5, 0(x3)
  addi x1, x1, 4
  addi x3, x3, 4
  addi x4, x4, -1
  bnez x4, copy
  li x1, {address} + 2048"""
_SPECIAL_HALVES = (0, 1, 0x3FF, 0x400, 0x3C00, 0xBC00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01,
                   0x8000, 0x8001, 0xFBFF, 0x5BFF, 0x3555)


def encode_vector(one, *, vd=0, vs1=0, vs2=0, vm=1, nf=0):
    """Return the word of a vector instruction; bits its pattern fixes win."""
    word = vd << 7 | vs1 << 15 | vs2 << 20 | vm << 25 | nf << 29
    return word & ~one.mask & 0xFFFF_FFFF | one.match


class _Program:
    """A sequence of random vector instructions, with the state in which they run."""

    def __init__(self, rng, vlen):
        self.rng, self.vlen, self.lines = rng, vlen, []
        self.sew, self.lmul = 0, 0      # log2

    def configure(self):
        rng = self.rng
        sew, lmul = rng.randrange(3), rng.choice((-3, -2, -1, 0, 0, 1, 1, 2, 3))
        if lmul + 2 < sew and rng.random() < 0.9:
            lmul = sew - 2
        self.sew, self.lmul = sew, lmul
        vtype = lmul & 7 | sew << 3 | rng.getrandbits(2) << 6
        if rng.random() < 0.02:
            vtype |= rng.getrandbits(11)
        form = rng.randrange(8)
        rd = rng.choice((0, 3))
        if form == 0:
            self.word("vsetivli", rd=rd, high=vtype & 0x3FF, rs1=rng.randrange(32))
        elif form == 1:
            self.lines.append(f"  li x4, {vtype:#x}")
            self.word("vsetvl", rd=rd, rs1=rng.choice((0, 5, 6, 7)), high=4)
        else:
            if form < 5:        # a length of about the largest
                most = self.vlen // 8 >> sew
                most = most << lmul if lmul >= 0 else most >> -lmul
                self.lines.append(f"  li x5, {rng.randrange(most + 3)}")
            self.word("vsetvli", rd=rd, rs1=rng.choice((0, 5, 5, 5)), high=vtype)

    def word(self, name, *, rd, rs1, high):
        one = INSTRUCTIONS[name]
        word = (high << 20 | rs1 << 15 | rd << 7) & ~one.mask & 0xFFFF_FFFF | one.match
        self.lines.append(f"  .word {word:#010x} # {name}")

    def register(self, relation=Width.SAME, *, grouped=True):
        """The number of a register, mostly of one where such a group may begin."""
        step = {Width.SAME: 0, Width.DOUBLE: 1, Width.HALF: -1, Width.QUARTER: -2}[relation]
        size = 1 << max(0, self.lmul + step) if grouped else 1
        number = self.rng.randrange(32)
        return number if self.rng.random() < 0.05 else number & -size

    def arithmetic(self, one):
        rng, vector = self.rng, one.vector

        def operand(letter):
            return self.register(vector.get(letter, Width.SAME),
                                 grouped=vector[f"{letter}_kind"] == Kind.GROUP)

        fields = {"vd": operand("d"), "vs2": operand("s2"), "vs1": operand("s1"),
                  "vm": rng.randrange(2)}
        if vector.get("index16"):
            fields["vs1"] = self.register()
        if vector["s1_kind"] == Kind.SCALAR:
            fields["vs1"] = rng.randrange(32)
            if vector["engine"] == Engine.PERMUTE and one.rs1 is Operand.X and rng.random() < 0.8:
                fields["vs1"] = 8       # small
        if one.rd is Operand.X:
            fields["vd"] = rng.choice((0, *range(9, 32)))
        elif one.rd is Operand.F:
            fields["vd"] = rng.randrange(32)
        elif fields["vd"] == fields["vs2"] and vector.get("apart"):
            fields["vd"] = operand("d")
        if not fields["vm"] and fields["vd"] == 0 and rng.random() < 0.9:
            fields["vm"] = 1
        if one.name[:3] == "vmv" and one.name.endswith("r.v"):
            size = int(one.name[3])
            fields["vd"], fields["vs2"] = (rng.randrange(32) & -size for _ in range(2))
        self.emit(one, fields)

    def memory(self, one):
        rng, name = self.rng, one.name
        width = {0: 0, 5: 1, 6: 2}[one.match >> 12 & 7]
        mop = one.match >> 26 & 3
        size = 1 << width
        offset = rng.randrange(-1200, 900)
        if rng.random() < 0.95:
            offset &= -size
        self.lines.append(f"  addi x3, x1, {offset}")
        nf = rng.choice((0, 0, 0, rng.randrange(8)))
        fields = {"vd": rng.randrange(32), "vs1": 3, "vm": rng.randrange(2), "nf": nf, "vs2": 4}
        data = self.lmul + (0 if mop & 1 else width - self.sew)
        if rng.random() < 0.95:
            fields["vd"] &= -(1 << max(0, min(3, data)))
            if one.vector.get("whole"):
                fields["vd"] &= -((one.match >> 29) + 1)
        if mop == 2:
            most = max(1, 6 * 128 // self.vlen)
            stride = rng.randrange(-most, most + 1) * size + (rng.random() < 0.05)
            self.lines.append(f"  li x4, {stride}")
        elif mop & 1:       # indices that stay within the data
            number = rng.randrange(32) & -(1 << max(0, min(3, self.lmul + width - self.sew)))
            fields["vs2"] = number
            mask = 0xFC if width == 0 else 0x3FC
            if rng.random() < 0.1:
                mask |= 3
            self.lines += [f"  csrr x4, vl\n  csrr x6, vtype\n  li x7, {mask}",
                           f"  vsetvli x5, x0, e{8 << width}, m1, ta, ma"]
            for n in range(number, min(32, number + 8)):
                self.lines.append(f"  vand.vx v{n}, v{n}, x7")
            self.lines.append("  vsetvl x0, x4, x6")
        if not fields["vm"] and fields["vd"] == 0 and name[1] == "l":
            fields["vm"] = rng.random() < 0.9
        self.emit(one, fields)

    def emit(self, one, fields):
        rng = self.rng
        if rng.random() < 0.03:
            self.lines.append(f"  csrwi vstart, {rng.randrange(12)}")
        if rng.random() < 0.05:
            self.lines.append(f"  csrwi vxrm, {rng.randrange(4)}")
        if rng.random() < 0.05:
            self.lines.append(f"  csrwi frm, {rng.choice((0, 1, 2, 3, 4, 4, 5))}")
        if rng.random() < 0.05:
            self.lines.append(f"  csrr x{rng.randrange(9, 32)}, "
                              f"{rng.choice(('vl', 'vtype', 'vxsat', 'fflags', 'vcsr', 'vlenb'))}")
        self.lines.append(f"  .word {encode_vector(one, **fields):#010x} # {one.name}")


def random_vectors(seed, length=600, names=VECTOR_NAMES, vlen=128, shared=None):
    """Return assembly text of a program that ends by writing 1 to ``tohost``.

    It goes through ``length`` random vector instructions of ``names``, each of equal weight, in
    random settings of ``vtype``, ``vl``, ``vstart`` and rounding. Loads and stores stay within 4
    KiB of data, which are in SM if ``shared`` is an address there; illegal and misaligned ones are
    skipped by a trap handler.
    """
    rng = random.Random(seed)
    program = _Program(rng, vlen)
    for n in range(length):
        if n % 60 == 0:         # all registers anew
            for register in range(0, 32, 8):
                program.lines += [f"  addi x3, x1, {rng.randrange(-512, 480) * 4}",
                                  f"  vl8re32.v v{register}, (x3)"]
        if n % 8 == 0:
            program.configure()
        one = INSTRUCTIONS[rng.choice(names)]
        if one.vector["engine"] in (Engine.LOAD, Engine.STORE):
            program.memory(one)
        else:
            program.arithmetic(one)
    lines = [_HEAD.format(data=_IN_GM if shared is None else _IN_SM.format(address=shared))]
    specials = (*SPECIAL, *(half << 16 | other for half in _SPECIAL_HALVES
                            for other in rng.sample(_SPECIAL_HALVES, 2)))
    lines += [f"  li x3, {rng.choice((*SPECIAL, rng.getrandbits(32))):#x}\n  fmv.w.x f{n}, x3"
              for n in range(32)]
    lines += [f"  li x{n}, {rng.choice((*SPECIAL, rng.getrandbits(32))):#x}"
              for n in range(9, 32)]
    lines += ["  li x2, 1", f"  li x8, {rng.randrange(12)}", "again:", *program.lines]
    data = [rng.choice((rng.choice(specials), rng.getrandbits(32))) for _ in range(1024)]
    lines += [TAIL, *(f"  .word {word:#010x}" for word in data),
              ".align 6\n.globl tohost\ntohost: .dword 0\n.globl fromhost\nfromhost: .dword 0\n"]
    return "\n".join(lines)
