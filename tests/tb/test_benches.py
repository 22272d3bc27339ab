"""A short run of every testbench under Verilator."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHES = ("scratchpad", "dma", "tensor", "command", "cluster")


def run(*arguments):
    return subprocess.run([sys.executable, ROOT / "tb" / "run.py", *arguments],
                          capture_output=True, text=True, timeout=900)


def test_every_bench_is_run():
    listed = [line.split()[0] for line in run("--list").stdout.splitlines()]
    assert sorted(listed) == sorted(BENCHES)


@pytest.mark.cosim
@pytest.mark.parametrize("name", BENCHES)
def test_bench(name):
    """``tb/run.py`` exits with 0 only if at least one test ran and none failed."""
    result = run(name, "--quick")
    assert result.returncode == 0, result.stdout + result.stderr
