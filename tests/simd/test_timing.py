"""The cycles that docs/simd.md states: from an instruction to one that uses its result."""

import numpy as np
import pytest

import xpu

pytestmark = pytest.mark.cosim

COUNT = 16


@pytest.fixture(scope="module")
def dev():
    with xpu.open("tiny", memory_latency=20) as device:
        yield device


def cycles(dev, body, *, count=COUNT, before=""):
    """Cycles of ``body``, in which every instruction waits for the one before: the difference
    between two lengths, from a warm instruction cache. ``before`` is executed once."""
    def text(length):
        return (f'__asm__ volatile(".option push\\n.option norelax\\n" "{before}\\n" "{body}\\n"'
                + f' "{body}\\n"' * (length - 1)
                + ' ".option pop" : "+r"(x), "+f"(y) : "r"(lm), "r"(sm), "r"(gm));')
    source = """#include "xpu_kernel.h"
__global__ void test(uint32_t *out, uint32_t *gm, int rounds) {
  static __local__ uint32_t *lm_word;
  static __shared__ uint32_t *sm_word;
  uint32_t *lm = (uint32_t *)&lm_word, *sm = (uint32_t *)&sm_word;
  *lm = (uint32_t)lm, *sm = (uint32_t)sm, *gm = (uint32_t)gm;
  for (int round = 0; round < rounds; ++round) {
    register uint32_t x __asm__("x28") = (uint32_t)START;
    register float y __asm__("f28") = 1.5f;
    mfence();
    const uint32_t begin = xpu_cycles();
    BODY
    mfence();
    out[round] = xpu_cycles() - begin;
  }
}"""
    start = next((name for name in ("lm", "sm", "gm") if f"#{name}" in body), "7")
    body = body.split("#")[0].strip()
    taken = []
    for length in (count, 2 * count):
        out = np.zeros(2, np.uint32)
        k = xpu.Kernel.from_source(source.replace("BODY", text(length)).replace("START", start),
                                   "test")
        dev.launch(k, [out, np.zeros(16, np.uint32), 2])
        taken.append(int(out[1]))
    return (taken[1] - taken[0]) / count


@pytest.mark.parametrize(("body", "expected"), [
    ("addi x28, x28, 1", 1), ("csrrw x28, mscratch, x28", 1), ("mul x28, x28, x28", 4),
    ("div x28, x28, x28", 36), ("fadd.s f28, f28, f28", 10), ("fmadd.s f28, f28, f28, f28", 10),
    ("fcvt.h.s f28, f28", 10), ("fdiv.s f28, f28, f28", 40), ("fsqrt.s f28, f28", 40),
    ("feq.s x28, f28, f28; fmv.w.x f28, x28", 3 + 1),
    ("fcvt.w.s x28, f28; fmv.w.x f28, x28", 5 + 1),
    ("lw x28, 0(x28) #lm", 4),
])
def test_result(dev, body, expected):
    # The instruction cache delivers a little less than one instruction per cycle with a bus of
    # 32 bits, which shows where nothing else waits.
    assert expected <= cycles(dev, body) <= expected * 1.02 + (0.25 if expected == 1 else 0)


@pytest.mark.parametrize(("memory", "expected"), [("sm", 9), ("gm", 20 + 7)])
def test_shared_and_global_memory(dev, memory, expected):
    assert expected <= cycles(dev, f"lw x28, 0(x28) #{memory}") <= expected * 1.02


def test_taken_branch(dev):
    """4 cycles more than a branch that is not taken."""
    taken = cycles(dev, "beq x0, x0, 1f; 1:")
    not_taken = cycles(dev, "bne x0, x0, 1f; 1:")
    assert 3.9 <= taken - not_taken <= 4.3


ROW = "vsetivli zero, 2, e32, m1, ta, ma"       # a row of tiny


@pytest.mark.parametrize(("body", "expected"), [
    ("vadd.vv v8, v8, v8", 5), ("vfmax.vv v8, v8, v8", 5), ("vmul.vv v8, v8, v8", 6),
    ("vfadd.vv v8, v8, v8", 12), ("vfmacc.vv v8, v8, v8", 12)])
def test_vector_result(dev, body, expected):
    """A row that needs the one before is issued so many cycles later."""
    assert expected <= cycles(dev, body, before=ROW) <= expected * 1.02


@pytest.mark.parametrize(("body", "bits", "expected"), [
    ("vadd.vv v8, v16, v24", 8, 16), ("vmul.vv v8, v16, v24", 8, 16),
    ("vfmacc.vv v8, v16, v24", 32, 16), ("vfmacc.vv v8, v16, v24", 16, 16),
    ("vslide1down.vx v8, v16, x0", 32, 32)])
def test_vector_throughput(dev, body, bits, expected):
    """16 rows of every width take 16 cycles; a slide takes one for each of its 32 elements."""
    setting = f"li x28, -1; vsetvli x28, x28, e{bits}, m8, ta, ma"
    measured = cycles(dev, body, before=setting)
    assert expected <= measured <= expected * 1.02 + (8 if "slide" in body else 0)
