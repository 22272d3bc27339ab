"""What the cluster's tests share."""

import numpy as np

import xpu
from common.axi_check import AxiCheck
from common.drive import CONFIG
from xpu_rtl import numerics

__all__ = ["CONFIG", "check_product", "open_platform", "random_operand", "random_product"]


def open_platform(dut, **kwargs):
    """The platform of a test, with the configuration the bench was built from, and bus checks."""
    AxiCheck(dut, CONFIG, extra_reads=CONFIG.rings * CONFIG.fetch_slots)
    return xpu.CocotbPlatform(dut, config=CONFIG, memory_bytes=1 << 20, **kwargs)


def random_operand(rng, dtype, shape):
    """Full-range values, extremes included."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def random_product(dev, rng, m, n, k, *, a_dtype=np.int8, b_dtype=np.int8, out_dtype=np.int8):
    """Submit a random product with every epilogue option on.

    Returns the result's tensor and the array it must be equal to.
    """
    a, b = random_operand(rng, a_dtype, (m, k)), random_operand(rng, b_dtype, (k, n))
    a_zero = int(random_operand(rng, a_dtype, ()))
    b_zero = random_operand(rng, b_dtype, (n,))
    bias = rng.integers(-1 << 14, 1 << 14, n, dtype=np.int32)
    options = {"a_zero_point": a_zero, "b_zero_point": b_zero, "bias": bias, "activation": "relu"}
    expected = numerics.relu(numerics.gemm_int(a, b, a_zero, b_zero, bias))
    if out_dtype is not np.int32:
        scale = (rng.uniform(0.2, 2.0, n) / (40 * np.sqrt(k))).astype(np.float32)
        options |= {"scale": scale, "zero_point": 3, "out_dtype": out_dtype}
        expected = numerics.requantize(expected, scale, 3, out_dtype)
    return xpu.ops.matmul(dev.tensor(a), dev.tensor(b), **options), expected


def check_product(dev, rng, m, n, k, **types):
    """One random product; raises unless it is exact."""
    result, expected = random_product(dev, rng, m, n, k, **types)
    np.testing.assert_array_equal(result.numpy(), expected)
