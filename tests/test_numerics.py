import math
import struct

import numpy as np
import pytest

from xpu_rtl.numerics import gemm_int, relu, requantize, wrap_int32

DTYPES = [np.int8, np.uint8]


def random_operand(rng, dtype, shape):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def wrap(value):
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("b_dtype", DTYPES)
@pytest.mark.parametrize("vector", [False, True])
def test_gemm_is_the_definition(a_dtype, b_dtype, vector):
    rng = np.random.default_rng(1)
    m, k, n = 5, 37, 6
    a, b = random_operand(rng, a_dtype, (m, k)), random_operand(rng, b_dtype, (k, n))
    a_zero = int(random_operand(rng, a_dtype, ()))
    b_zero = random_operand(rng, b_dtype, n) if vector else int(random_operand(rng, b_dtype, ()))
    bias = rng.integers(-1 << 31, 1 << 31, n).astype(np.int32)
    got = gemm_int(a, b, a_zero, b_zero, bias)
    assert got.dtype == np.int32
    for i in range(m):
        for j in range(n):
            zero = int(b_zero[j]) if vector else b_zero
            total = sum((int(a[i, x]) - a_zero) * (int(b[x, j]) - zero) for x in range(k))
            assert got[i, j] == wrap(total + int(bias[j]))


def test_gemm_wraps_and_stays_exact_for_deep_sums():
    k = 70_000
    a, b = np.zeros((1, k), np.uint8), np.full((k, 1), 255, np.uint8)
    assert gemm_int(a, b, 255, 0)[0, 0] == wrap(-255 * 255 * k)
    a[0, ::3] = 1
    b[::2] = 254
    exact = sum((int(x) - 255) * int(y) for x, y in zip(a[0], b[:, 0], strict=True))
    assert gemm_int(a, b, 255, 0, np.array([-1], np.int32))[0, 0] == wrap(exact - 1)


def test_gemm_in_batches():
    rng = np.random.default_rng(2)
    a, b = random_operand(rng, np.int8, (3, 4, 8)), random_operand(rng, np.int8, (8, 5))
    got = gemm_int(a, b, 1, 2)
    assert all((got[n] == gemm_int(a[n], b, 1, 2)).all() for n in range(3))


def test_wrap_int32():
    values = [0, 1, -1, (1 << 31) - 1, 1 << 31, -(1 << 31), -(1 << 31) - 1, 5 << 32, (7 << 32) - 9]
    assert wrap_int32(np.array(values)).tolist() == [wrap(value) for value in values]


def test_relu():
    assert relu(np.array([-5, 0, 5, -1 << 31], np.int32)).tolist() == [0, 0, 5, 0]


def to_float32(value):
    """Round an exact number (int or float64) to float32 through the struct module."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def requantize_one(acc, scale, zero_point, low, high):
    """The definition with Python numbers: a 24 x 24-bit product is exact in float64."""
    product = to_float32(to_float32(acc) * scale)
    if abs(product) >= 1 << 20:
        return high if product > 0 else low
    return min(max(round(product) + zero_point, low), high)  # Python's round: half to even


@pytest.mark.parametrize("dtype", DTYPES)
def test_requantize_is_the_definition(dtype):
    rng = np.random.default_rng(3)
    count = 3000
    limits = np.iinfo(dtype)
    acc = rng.integers(-1 << 31, 1 << 31, count) >> rng.integers(0, 32, count)
    scale = (rng.integers(0, 600, count) + 0.5) / (np.abs(acc) + 1)
    scale = scale.astype(np.float32)
    scale[::50] = rng.integers(1, 0x7F800000, count // 50).astype(np.uint32).view(np.float32)
    zero = int(random_operand(rng, dtype, ()))
    got = requantize(acc.astype(np.int32), scale, zero, dtype)
    assert got.dtype == dtype
    expected = [requantize_one(int(x), float(s), zero, int(limits.min), int(limits.max))
                for x, s in zip(acc, scale, strict=True)]
    assert got.tolist() == expected


@pytest.mark.parametrize(("acc", "scale", "zero_point", "dtype", "expected"), [
    (1, 0.5, 0, np.int8, 0),              # ties go to even
    (3, 0.5, 0, np.int8, 2),
    (-5, 0.5, 0, np.int8, -2),
    (3, 0.5, 1, np.int8, 3),              # the zero point comes after rounding
    (16777217, 2.0 ** -24, 0, np.int8, 1),
    (16777219, 2.0 ** -17, 0, np.int8, 127),
    (1 << 30, 3e38, 0, np.uint8, 255),    # infinite product
    (-1 << 31, 3e38, 0, np.int8, -128),
    (-1 << 31, 1e-45, 7, np.uint8, 7),    # subnormal scale
])
def test_requantize_corners(acc, scale, zero_point, dtype, expected):
    assert requantize(np.array([acc], np.int32), scale, zero_point, dtype)[0] == expected


def test_requantize_rounds_the_product_to_float32_first():
    # The exact product is just above 2.5; float32 rounds it to 2.5, and that to 2.
    acc, scale = np.array([7], np.int32), np.float32(0.35714287)
    assert float(scale) * 7 > 2.5
    assert requantize(acc, scale, 0, np.int8)[0] == 2


def test_scale_per_column():
    acc = np.array([[100, 100], [-7, -7]], np.int32)
    got = requantize(acc, np.array([0.5, 0.25], np.float32), 10, np.uint8)
    assert got.tolist() == [[60, 35], [6, 8]]


@pytest.mark.parametrize(("call", "error"), [
    (lambda: gemm_int(np.zeros((1, 1), np.int16), np.zeros((1, 1), np.int8)), TypeError),
    (lambda: gemm_int(np.zeros((1, 1), np.int8), np.zeros((1, 1))), TypeError),
    (lambda: gemm_int(np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int8), 128), ValueError),
    (lambda: gemm_int(np.zeros((1, 1), np.int8), np.zeros((1, 1), np.uint8), 0, -1), ValueError),
    (lambda: requantize(np.zeros(1, np.int64), 1.0, 0, np.int8), TypeError),
    (lambda: requantize(np.zeros(1, np.int32), 1.0, 0, np.int32), TypeError),
    (lambda: requantize(np.zeros(1, np.int32), 0.0, 0, np.int8), ValueError),
    (lambda: requantize(np.zeros(1, np.int32), np.inf, 0, np.int8), ValueError),
    (lambda: requantize(np.zeros(1, np.int32), 1.0, 200, np.int8), ValueError),
])
def test_refuses(call, error):
    with pytest.raises(error, match="must"):
        call()
