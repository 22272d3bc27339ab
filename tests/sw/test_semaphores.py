import pytest

from xpu.commands import Command
from xpu.semaphores import Semaphores
from xpu_rtl.command.formats import DmaMode, Opcode
from xpu_rtl.configs import get_config


def test_what_each_command_adds():
    semaphores = Semaphores(get_config("tiny"))          # 4 lanes
    semaphores.account([
        Command(Opcode.DMA_LOAD, rows=5, row_bytes=1, progress_semaphore=1, signal0_semaphore=2,
                signal0_add=7),
        Command(Opcode.DMA_STORE, rows=5, row_bytes=1, progress_semaphore=1, signal1_semaphore=2,
                signal1_add=1),
        Command(Opcode.GEMM, rows=3, columns=9, tile_rows=3, tile_blocks=2, out_semaphore=3,
                release_semaphore=4),
        Command(Opcode.GEMM, rows=3, columns=8, tile_rows=3, tile_blocks=2, hold=1,
                out_semaphore=3, release_semaphore=4),
        Command(Opcode.NOP, signal0_semaphore=5, signal0_add=9),
        Command(Opcode.FENCE, signal0_semaphore=5, signal0_add=9),
    ])
    assert [semaphores.value(n) for n in range(6)] == [0, 5, 8, 6, 2, 9]
    semaphores.reset()
    assert [semaphores.value(n) for n in range(6)] == [0] * 6


def test_values_are_modular():
    config = get_config("tiny")
    semaphores = Semaphores(config)
    add = Command(Opcode.NOP, signal0_semaphore=1, signal0_add=65535)
    semaphores.account([add] * 257)
    assert semaphores.value(1) == 257 * 65535 % (1 << config.semaphore_width)


@pytest.mark.parametrize("config", ["tiny", "slice"])
def test_they_agree_with_the_device(config):
    import numpy as np

    import xpu
    rng = np.random.default_rng(3)
    with xpu.open(config, platform="model", memory_bytes=8 << 20) as dev:
        for m, n, k in ((1, 1, 1), (17, 33, 65), (70, 40, 900)):
            a = dev.tensor(rng.integers(-128, 128, (m, k), np.int8))
            b = dev.tensor(rng.integers(-128, 128, (k, n), np.int8))
            xpu.ops.matmul(a, b)
        dev.synchronize()
        values = [dev._work.read("semaphore", n) for n in range(dev.semaphores.count)]
        assert values == [dev.semaphores.value(n) for n in range(dev.semaphores.count)]
        assert any(values)


def test_progress_of_loops():
    semaphores = Semaphores(get_config("tiny"))
    fields = {"rows": 3, "count2": 5, "count3": 1, "count4": 2, "count5": 1,
              "progress_semaphore": 4}
    semaphores.account([Command(Opcode.DMA_LOAD_ND, **fields)])
    assert semaphores.value(4) == 30
    semaphores.account([Command(Opcode.DMA_LOAD_ND, mode=DmaMode.TRANSPOSE, **fields)])
    assert semaphores.value(4) == 40
    semaphores.account([Command(Opcode.DMA_STORE_ND, **fields)])
    assert semaphores.value(4) == 40
