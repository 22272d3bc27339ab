"""A core in lock step with Spike: every retired instruction, its registers, memory and flags."""

from dataclasses import replace

import pytest

from support import spike
from support.random_programs import random_program
from support.random_vectors import random_vectors
from xpu.elf import Elf
from xpu.program import run_elf
from xpu_rtl.configs import get_config

pytestmark = pytest.mark.cosim


def compare(text, folder, config="tiny", **options):
    """Run a program on a core and on Spike; both must do the same until ``tohost`` is written."""
    elf = spike.assemble(text, folder)
    log = folder / "commits"
    result = run_elf(elf, config=config, commit_log=log, max_cycles=1_000_000, **options)
    symbols = Elf(elf).symbols
    theirs = spike.commits(elf, entry=symbols["_start"], isa=spike.isa_of(get_config(config).vlen))
    ours = spike.our_commits(log)
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


@pytest.mark.slow       # a model of its own
def test_random_vectors_of_512_bits(tmp_path):
    config = replace(get_config("tiny"), name="wide", vlen=512, simd_width=256)
    for seed in range(20):
        compare(random_vectors(300 + seed, length=400, vlen=512), tmp_path, config=config)
