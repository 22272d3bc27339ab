"""The golden model against ONNX Runtime, an implementation nobody here wrote."""

import numpy as np
import pytest

from support.onnx_runtime import QLINEAR_DTYPES, evaluate, operands, weight_limits
from xpu_rtl.numerics import gemm_int, requantize

DTYPES = [np.int8, np.uint8]


@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("b_dtype", DTYPES)
def test_matmul_integer(a_dtype, b_dtype):
    rng = np.random.default_rng(1)
    for m, k, n in ((1, 1, 1), (5, 300, 17), (33, 64, 40)):
        a, b, a_zero, b_zero = operands(rng, a_dtype, b_dtype, m, k, n)
        expected = evaluate("MatMulInteger", [a, b, a_dtype(a_zero), b_dtype(b_zero)], np.int32)
        assert (gemm_int(a, b, a_zero, b_zero) == expected).all()


@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("b_dtype", DTYPES)
def test_matmul_integer_with_zero_point_per_column(a_dtype, b_dtype):
    rng = np.random.default_rng(2)
    a, b, a_zero, _ = operands(rng, a_dtype, b_dtype, 9, 70, 20)
    low, high = weight_limits(b_dtype)
    b_zero = rng.integers(low, high + 1, 20).astype(b_dtype)
    expected = evaluate("MatMulInteger", [a, b, a_dtype(a_zero), b_zero], np.int32)
    assert (gemm_int(a, b, a_zero, b_zero) == expected).all()


@pytest.mark.parametrize(("dtype", "b_dtype"), QLINEAR_DTYPES)
@pytest.mark.parametrize("per_column", [False, True])
def test_qlinear_matmul(dtype, b_dtype, per_column):
    """Scales from the useful to the absurd, and powers of two, which make ties."""
    rng = np.random.default_rng(3)
    m, k, n = 40, 96, 24
    spread = 255 * 255 * np.sqrt(k)
    for y_scale in (1.0, 2.0 ** 9, 2.0 ** 12, spread / 300, spread / 1e9, 1e30, 1e-33):
        a, b, a_zero, b_zero = operands(rng, dtype, b_dtype, m, k, n)
        a_scale = np.float32(1.0)
        b_scale = np.ones(n, np.float32) if per_column else np.float32(1.0)
        if 2.0 ** 12 < y_scale < 1e20:
            b_scale = (b_scale * rng.uniform(0.5, 2, b_scale.shape)).astype(np.float32)
            a_scale = np.float32(rng.uniform(0.5, 2))
        y_scale = np.float32(y_scale)
        b_zeros = np.full(n, b_zero, b_dtype) if per_column else b_dtype(b_zero)
        out_zero = int(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1))
        expected = evaluate("QLinearMatMul", [
            a, a_scale, dtype(a_zero), b, b_scale, b_zeros, y_scale, dtype(out_zero)], dtype)
        scale = (a_scale * b_scale) / y_scale
        got = requantize(gemm_int(a, b, a_zero, b_zero), scale, out_zero, dtype)
        assert (got == expected).all(), f"{(got != expected).sum()} differ at y_scale={y_scale}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_qlinear_conv_of_one_pixel_kernels(dtype):
    """A 1 x 1 convolution is a GEMM; it brings the bias and one scale per output channel."""
    rng = np.random.default_rng(4)
    m, k, n = 50, 60, 12
    a, b, a_zero, _ = operands(rng, dtype, np.int8, m, k, n)
    a_scale, y_scale = np.float32(0.0173), np.float32(0.731)
    b_scale = np.exp2(rng.uniform(-9, -3, n)).astype(np.float32)
    bias = rng.integers(-100_000, 100_000, n).astype(np.int32)
    image = np.ascontiguousarray(a.T).reshape(1, k, 1, m)
    kernel = np.ascontiguousarray(b.T).reshape(n, k, 1, 1)
    out_zero = 9
    expected = evaluate("QLinearConv", [
        image, a_scale, dtype(a_zero), kernel, b_scale, np.zeros(n, np.int8), y_scale,
        dtype(out_zero), bias], dtype)
    acc = gemm_int(a, b, a_zero, 0, bias)
    got = requantize(acc, a_scale * b_scale / y_scale, out_zero, dtype)
    assert len(np.unique(got)) > 30
    assert (got.T.reshape(expected.shape) == expected).all()
