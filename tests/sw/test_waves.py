"""Waves of a piece of work."""

import numpy as np
import pytest

import xpu


def test_devices_that_cannot_write_them(tmp_path):
    with xpu.open("tiny", platform="model") as dev:
        with pytest.raises(xpu.ArgumentError, match="traced=True"), dev.waves(tmp_path / "a.fst"):
            pass
        assert dev.tensor(np.ones(3, np.int8)).numpy().sum() == 3


@pytest.mark.slow
@pytest.mark.cosim
def test_only_the_work_of_the_block(tmp_path):
    with xpu.open("tiny", traced=True) as dev:
        a = dev.tensor(np.ones((16, 16), np.int8))
        with dev.waves(tmp_path / "one.fst"):
            xpu.ops.matmul(a, a)
        with dev.waves(tmp_path / "five.fst"):
            for _ in range(5):
                xpu.ops.matmul(a, a)
        with pytest.raises(xpu.ArgumentError, match="a must be"), dev.waves(tmp_path / "bad.fst"):
            xpu.ops.matmul(3, a)
        np.testing.assert_array_equal(xpu.ops.matmul(a, a).numpy(), 16)
    one, five = ((tmp_path / f"{name}.fst").stat().st_size for name in ("one", "five"))
    assert 1000 < one < five
