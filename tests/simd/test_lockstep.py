"""A core in lock step with Spike: every retired instruction, its registers, memory and flags."""

import re
from dataclasses import replace

import pytest

from support import spike
from support.random_programs import random_program
from support.random_vectors import VECTOR_NAMES, random_vectors
from xpu.elf import Elf
from xpu.program import run_elf
from xpu_rtl.address_map import CORE_SM_LSB
from xpu_rtl.configs import get_config

#: Instructions that follow each other without waiting for the pipeline to be empty.
MOSTLY_ROWS = re.compile(r"v[ls]e\d+\.v|v[ls]m\.v|v[ls]\dr|vm(s|f)|vns|vfncvt"
                         r"|vf?w?(add|mul|macc|madd|sub|sll|and|mv|merge)")

pytestmark = pytest.mark.cosim


#: LM and SM exist, and Spike has memory where SM is.
SM = 1 << CORE_SM_LSB
SM_AND_GM = f"{SM:#x}:0x10000,0x80000000:0x10000000"


def without_rows(lines):
    """A log without the accesses of vector loads and stores, which in rows are not seen."""
    return [line.split(" mem ")[0] if re.search(r"\(0x\w{6}[028a]7\) e\d", line) else line
            for line in lines]


def compare(text, folder, config="tiny", in_sm=False, **options):
    """Run a program on a core and on Spike; both must do the same until ``tohost`` is written."""
    elf = spike.assemble(text, folder)
    log = folder / "commits"
    result = run_elf(elf, config=config, commit_log=log, max_cycles=1_000_000, flat=not in_sm,
                     **options)
    symbols = Elf(elf).symbols
    theirs = spike.commits(elf, entry=symbols["_start"], isa=spike.isa_of(get_config(config).vlen),
                           memory=SM_AND_GM if in_sm else None)
    ours = spike.our_commits(log)
    if in_sm:
        ours, theirs = without_rows(ours), without_rows(theirs)
    difference = spike.difference(ours, theirs, f"mem 0x{symbols['tohost']:08x}")
    assert not difference, difference
    assert result.passed, result.reason
    return len(ours)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(tmp_path, seed):
    assert compare(random_program(seed), tmp_path) > 1000


@pytest.mark.parametrize("seed", range(2))
def test_slow_and_stalling_memory(tmp_path, seed):
    compare(random_program(100 + seed, length=300), tmp_path, memory_latency=100,
            memory_stall=0.3)


@pytest.mark.parametrize("seed", range(12))
def test_random_vectors(tmp_path, seed):
    assert compare(random_vectors(seed), tmp_path) > 1000


@pytest.mark.parametrize("seed", range(2))
def test_random_vectors_with_stalls(tmp_path, seed):
    compare(random_vectors(200 + seed, length=200), tmp_path, memory_latency=60, memory_stall=0.3)


@pytest.mark.parametrize("seed", range(8))
def test_random_vectors_in_sm(tmp_path, seed):
    """Loads and stores go row by row, beside arithmetic."""
    names = [name for name in VECTOR_NAMES if seed < 3 or MOSTLY_ROWS.match(name)]
    compare(random_vectors(400 + seed, names=names, shared=SM), tmp_path, in_sm=True)


@pytest.mark.slow       # a model of its own
def test_random_vectors_of_512_bits(tmp_path):
    config = replace(get_config("tiny"), name="wide", vlen=512, simd_width=256)
    for seed in range(20):
        compare(random_vectors(300 + seed, length=400, vlen=512), tmp_path, config=config)
