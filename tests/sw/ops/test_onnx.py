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


# Convolutions -------------------------------------------------------------------------------------
CONVOLUTIONS = [     # x [N, H, W, C], w [KH, KW, C / groups, O], geometry
    ((1, 6, 7, 3), (3, 3, 3, 5), {"padding": ((1, 1), (1, 1))}),
    ((2, 9, 8, 20), (3, 2, 20, 9), {"stride": (2, 1), "padding": ((0, 1), (2, 0))}),
    ((1, 12, 11, 6), (3, 3, 3, 8), {"groups": 2, "dilation": (2, 3), "padding": ((2, 2), (3, 1))}),
    ((1, 10, 10, 12), (3, 3, 1, 12), {"groups": 12, "padding": ((1, 1), (1, 1))}),
    ((1, 5, 5, 70), (1, 1, 70, 33), {"stride": (2, 2)}),
]


def _geometry(w, geometry):
    """Attributes of ONNX's convolutions."""
    pads = geometry.get("padding", ((0, 0), (0, 0)))
    return {"kernel_shape": w[:2], "strides": geometry.get("stride", (1, 1)),
            "dilations": geometry.get("dilation", (1, 1)), "group": geometry.get("groups", 1),
            "pads": [pads[0][0], pads[1][0], pads[0][1], pads[1][1]]}


def _nchw(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _values(rng, dtype, shape, limits=None):
    low, high = limits or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return rng.integers(low, high + 1, shape).astype(dtype)


@pytest.mark.parametrize("w_dtype", DTYPES)
@pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), CONVOLUTIONS)
def test_conv_integer(dev, x_shape, w_shape, geometry, w_dtype):
    """ONNX Runtime implements it for uint8 images."""
    rng = np.random.default_rng(3)
    x, w = _values(rng, np.uint8, x_shape), _values(rng, w_dtype, w_shape, weight_limits(w_dtype))
    x_zero, w_zero = int(_values(rng, np.uint8, ())), int(_values(rng, w_dtype, (),
                                                                 weight_limits(w_dtype)))
    expected = evaluate("ConvInteger", [
        _nchw(x), np.ascontiguousarray(w.transpose(3, 2, 0, 1)), np.uint8(x_zero),
        w_dtype(w_zero)], np.int32, **_geometry(w_shape, geometry))
    y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), x_zero_point=x_zero, w_zero_point=w_zero,
                       **geometry)
    np.testing.assert_array_equal(_nchw(y.numpy()), expected)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("dtype", "w_dtype"), QLINEAR_DTYPES)
@pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), CONVOLUTIONS)
def test_qlinear_conv(dev, x_shape, w_shape, geometry, dtype, w_dtype, per_channel):
    rng = np.random.default_rng(4)
    limits, o = weight_limits(w_dtype), w_shape[3]
    for y_scale in (2.0 ** 9, 3000.0, 77.7):
        x, w = _values(rng, dtype, x_shape), _values(rng, w_dtype, w_shape, limits)
        x_zero, y_zero = int(_values(rng, dtype, ())), int(_values(rng, dtype, ()))
        w_zero = int(_values(rng, w_dtype, (), limits)) if not per_channel else 0
        x_scale, y_scale = np.float32(rng.uniform(0.5, 2)), np.float32(y_scale)
        w_scale = (rng.uniform(0.5, 2, o).astype(np.float32) if per_channel
                   else np.float32(rng.uniform(0.5, 2)))
        bias = rng.integers(-20_000, 20_000, o).astype(np.int32)
        zeros = np.full(o, w_zero, w_dtype) if per_channel else w_dtype(w_zero)
        expected = evaluate("QLinearConv", [
            _nchw(x), x_scale, dtype(x_zero), np.ascontiguousarray(w.transpose(3, 2, 0, 1)),
            w_scale, zeros, y_scale, dtype(y_zero), bias], dtype, **_geometry(w_shape, geometry))
        y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), bias, scale=x_scale * w_scale / y_scale,
                           zero_point=y_zero, out_dtype=dtype, x_zero_point=x_zero,
                           w_zero_point=w_zero, **geometry)
        np.testing.assert_array_equal(_nchw(y.numpy()), expected)
