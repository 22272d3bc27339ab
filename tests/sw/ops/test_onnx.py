"""Operators on the device against ONNX Runtime: not one element may differ."""

import numpy as np
import pytest

import xpu
from support.onnx_runtime import QLINEAR_DTYPES, evaluate, operands, weight_limits

DTYPES = [np.int8, np.uint8]
SHAPES = [(1, 1, 1), (5, 300, 17), (33, 64, 40), (1, 2000, 3), (130, 7, 61)]     # m, k, n


@pytest.fixture(scope="module", params=["model", pytest.param("native", marks=pytest.mark.cosim)])
def dev(request):
    with xpu.open("tiny", platform=request.param, memory_bytes=4 << 20) as device:
        yield device


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("b_dtype", DTYPES)
def test_matmul_integer(dev, a_dtype, b_dtype, per_column):
    rng = np.random.default_rng(1)
    low, high = weight_limits(b_dtype)
    for m, k, n in SHAPES:
        a, b, a_zero, b_zero = operands(rng, a_dtype, b_dtype, m, k, n)
        b_zero = b_dtype(b_zero)
        if per_column:
            b_zero = rng.integers(low, high + 1, n).astype(b_dtype)
        expected = evaluate("MatMulInteger", [a, b, a_dtype(a_zero), b_zero], np.int32)
        y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), a_zero_point=a_zero, b_zero_point=b_zero)
        np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize(("dtype", "b_dtype"), QLINEAR_DTYPES)
def test_qlinear_matmul(dev, dtype, b_dtype, per_column):
    """Scales from the useful to the absurd, and powers of two, which make ties."""
    rng = np.random.default_rng(2)
    for m, k, n in SHAPES:
        spread = 255 * 255 * np.sqrt(k)
        for y_scale in (1.0, 2.0 ** 9, spread / 300, spread / 1e9, 1e30, 1e-33):
            a, b, a_zero, b_zero = operands(rng, dtype, b_dtype, m, k, n)
            a_scale = np.float32(rng.uniform(0.5, 2) if spread / 300 == y_scale else 1)
            b_scale, b_zeros = np.float32(1), b_dtype(b_zero)
            if per_column:
                b_scale = np.exp2(rng.integers(-2, 3, n)).astype(np.float32)
                if y_scale == spread / 300:
                    b_scale = rng.uniform(0.5, 2, n).astype(np.float32)
                # ONNX Runtime wants one zero point for all columns here.
                b_zeros = np.full(n, b_zero, b_dtype)
            y_scale = np.float32(y_scale)
            zero = int(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1))
            expected = evaluate("QLinearMatMul", [
                a, a_scale, dtype(a_zero), b, b_scale, b_zeros, y_scale, dtype(zero)], dtype)
            y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), scale=a_scale * b_scale / y_scale,
                               zero_point=zero, out_dtype=dtype, a_zero_point=a_zero,
                               b_zero_point=b_zeros)
            np.testing.assert_array_equal(y.numpy(), expected)
