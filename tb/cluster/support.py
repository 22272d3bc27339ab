"""What the cluster's tests share."""

import os

import numpy as np

import xpu
from xpu_rtl import numerics

CONFIG = os.environ.get("XPU_CONFIG", "tiny")


def open_platform(dut, **kwargs):
    """The platform of a test, with the configuration the bench was built from."""
    return xpu.CocotbPlatform(dut, config=CONFIG, memory_bytes=1 << 20, **kwargs)


def random_operand(rng, dtype, shape):
    """Full-range values, extremes included."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def check_product(dev, rng, m, n, k, *, a_dtype, b_dtype, out_dtype):
    """One random product with every epilogue option on; raises unless it is exact."""
    a, b = random_operand(rng, a_dtype, (m, k)), random_operand(rng, b_dtype, (k, n))
    a_zero = int(random_operand(rng, a_dtype, ()))
    b_zero = random_operand(rng, b_dtype, (n,))
    bias = rng.integers(-1 << 14, 1 << 14, n, dtype=np.int32)
    options = {"a_zero_point": a_zero, "b_zero_point": b_zero, "bias": bias, "activation": "relu"}
    sums = numerics.relu(numerics.gemm_int(a, b, a_zero, b_zero, bias))
    if out_dtype is np.int32:
        expected = sums
    else:
        scale = (rng.uniform(0.2, 2.0, n) / (40 * np.sqrt(k))).astype(np.float32)
        options |= {"scale": scale, "zero_point": 3, "out_dtype": out_dtype}
        expected = numerics.requantize(sums, scale, 3, out_dtype)
    result = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), **options).numpy()
    np.testing.assert_array_equal(result, expected)
