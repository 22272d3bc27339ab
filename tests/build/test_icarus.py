"""The emitted text in a second, independent simulator."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import xpu
from xpu.platforms.model import ModelPlatform
from xpu_rtl import get_config, numerics
from xpu_rtl.build.verilog import emit
from xpu_rtl.csr.maps import CLUSTER

BENCH = Path(__file__).with_name("icarus_bench.sv")
MEMORY_BYTES = 1 << 19


class Recorder(ModelPlatform):
    """The functional model, which also keeps what reached the device before its first command."""

    def __init__(self, config):
        super().__init__(config, MEMORY_BYTES)
        self.writes, self.before = [], None

    def write_register(self, offset, value):
        control = CLUSTER["control"].address()
        if self.before is None and offset != control:
            self.writes.append((offset, value))
        if offset == CLUSTER["ring_tail"].address() and self.before is None and value:
            self.before = self.read_memory(0, MEMORY_BYTES)
        super().write_register(offset, value)


@pytest.mark.cosim
@pytest.mark.skipif(shutil.which("iverilog") is None,
                    reason="Icarus Verilog is optional, and not installed; .ci/run installs it")
def test_a_product_gives_the_same_bytes_under_icarus(tmp_path):
    config = get_config("tiny")
    rng = np.random.default_rng(7)
    a = rng.integers(-128, 128, (7, 10), dtype=np.int8)
    b = rng.integers(-128, 128, (10, 6), dtype=np.int8)
    scale = rng.uniform(0.001, 0.003, 6).astype(np.float32)
    platform = Recorder(config)
    with xpu.open(config, platform=platform) as dev:
        product = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), scale=scale, zero_point=-3)
        result = product.numpy()
        expected = platform.read_memory(0, MEMORY_BYTES)
    np.testing.assert_array_equal(
        result, numerics.requantize(numerics.gemm_int(a, b, 0, 0, None), scale, -3, np.int8))
    assert (expected != platform.before).any()

    word = config.bus_bytes
    lines = [row[::-1].tobytes().hex() for row in platform.before.reshape(-1, word)]
    (tmp_path / "memory.hex").write_text("\n".join(lines), encoding="ascii")
    (tmp_path / "script.hex").write_text(
        "\n".join(f"{offset:03x}{value:08x}" for offset, value in platform.writes),
        encoding="ascii")
    (tmp_path / "xpu.sv").write_text(emit(config), encoding="utf-8")
    subprocess.run(
        ["iverilog", "-g2012", "-DXPU_RANDOM_INIT", "-s", "icarus_bench", "-o", "bench.vvp",
         f"-Picarus_bench.WIDTH={config.bus_width}", f"-Picarus_bench.WORDS={MEMORY_BYTES // word}",
         f"-Picarus_bench.WRITES={len(platform.writes)}", BENCH, "xpu.sv"],
        cwd=tmp_path, check=True, timeout=120)
    done = subprocess.run(["vvp", "bench.vvp"], cwd=tmp_path, check=True, timeout=300, text=True,
                          capture_output=True)
    assert "PASSED" in done.stdout, done.stdout
    words = [line for line in (tmp_path / "result.hex").read_text(encoding="ascii").splitlines()
             if not line.startswith(("//", "@"))]
    memory = np.frombuffer(b"".join(bytes.fromhex(w)[::-1] for w in words), np.uint8)
    np.testing.assert_array_equal(memory, expected)
