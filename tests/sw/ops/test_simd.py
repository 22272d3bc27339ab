"""Operators of the SIMD cores on the RTL, against float64 and NumPy."""

import numpy as np
import pytest

import xpu
from xpu import ops
from xpu.cli.op_cases import CASES, relative_error
from xpu.tensor import DTYPES

pytestmark = pytest.mark.cosim

#: Rounding of the result to the type, relative.
ROUNDING = {"float32": 0, "float16": 2.0 ** -11, "bfloat16": 2.0 ** -8}
STALLED = {"memory_latency": 9, "memory_stall": 0.3, "randomize": 2, "memory_order": "reorder"}


@pytest.fixture(scope="module")
def dev():
    with xpu.open("tiny", memory_bytes=8 << 20, timeout_cycles=200_000, **STALLED) as device:
        yield device


def close(result, expected, error):
    assert result.shape == np.shape(expected)
    assert relative_error(result, np.asarray(expected, np.float64)) <= error


def check_case(dev, name, shape, dtype, seed=1):
    case, rng = CASES[name], np.random.default_rng(seed)
    shapes = [shape] + [shape[-1:] if case.rows else shape] * (len(case.operands) - 1)
    arrays = [make(rng, size).astype(np.float32).astype(DTYPES[dtype])
              for make, size in zip(case.operands, shapes, strict=True)]
    expected = case.reference(*(array.astype(np.float64) for array in arrays))
    if dtype == "float16":      # what overflows is another test's
        expected = np.clip(expected, -65504, 65504)
    result = case.run(*(dev.tensor(array) for array in arrays)).numpy()
    if dtype == "float16":
        result = np.clip(result.astype(np.float32), -65504, 65504)
    assert name == "argmax" or result.dtype == (
        np.float32 if dtype == "float16" else DTYPES[dtype])
    # Below its normal numbers float16 rounds to multiples of 2^-24.
    floor = 1e-4 if dtype == "float16" else 0
    keep = np.abs(expected) >= floor
    close(np.where(keep, result, 0), np.where(keep, expected, 0), case.error + ROUNDING[dtype])


@pytest.mark.parametrize("name", CASES)
def test_float32(dev, name):
    check_case(dev, name, (7, 150), "float32")


@pytest.mark.parametrize("name", ["add", "gelu", "softmax", "layer_norm", "sum", "max"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_types(dev, name, dtype):
    check_case(dev, name, (5, 3, 33), dtype)


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 1e-40, -1e-40, 3e38, -3e38, 88.72,
                    88.73, -87.4, -103.9, -104.1, 0.625, 0.95, -0.95, 20, -20], np.float32)


@pytest.mark.parametrize(("name", "function"), [
    ("exp", np.exp), ("log", np.log), ("sqrt", np.sqrt), ("rsqrt", lambda x: 1 / np.sqrt(x)),
    ("tanh", np.tanh), ("erf", CASES["erf"].reference), ("abs", np.abs),
    ("relu", lambda x: np.where(np.isnan(x), x, np.maximum(x, 0)))])
def test_special_values(dev, name, function):
    result = getattr(ops, name)(dev.tensor(SPECIAL)).numpy()
    with np.errstate(all="ignore"):
        expected = function(SPECIAL.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(result[~finite], expected[~finite])
    spacing = np.maximum(np.spacing(np.abs(expected[finite])), np.float32(2.0 ** -149))
    assert (np.abs(result[finite].astype(np.float64) - expected[finite]) <= 2 * spacing).all()


@pytest.mark.parametrize(("name", "ulp"), [
    ("exp", 2), ("log", 2), ("sqrt", 0.5), ("rsqrt", 2), ("tanh", 2), ("erf", 2), ("sigmoid", 3)])
def test_ulp(dev, name, ulp):
    """The bounds of docs/operators.md."""
    rng = np.random.default_rng(12)
    x = (np.exp(rng.normal(0, 20, 3000)) if name in ("log", "sqrt", "rsqrt") else np.concatenate(
        [rng.normal(0, 3, 2000), rng.normal(0, 0.1, 500), rng.uniform(-80, 80, 500)]))
    x = x.astype(np.float32)
    result = CASES[name].run(dev.tensor(x)).numpy().astype(np.float64)
    expected = CASES[name].reference(x.astype(np.float64))
    spacing = np.spacing(np.abs(expected.astype(np.float32))).astype(np.float64)
    assert (np.abs(result - expected) <= ulp * spacing).all()


def test_gelu_bound(dev):
    x = np.random.default_rng(13).normal(0, 3, 3000).astype(np.float32)
    error = np.abs(ops.gelu(dev.tensor(x)).numpy() - CASES["gelu"].reference(x.astype(np.float64)))
    assert (error <= 2.0 ** -22 * np.maximum(np.abs(x), 1)).all()


def test_tails(dev):
    x = np.array([-np.inf, -1e30, -90, 90, 1e30, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(ops.sigmoid(dev.tensor(x)).numpy(),
                                  np.array([0, 0, 0, 1, 1, 1, np.nan], np.float32))
    silu = ops.silu(dev.tensor(x[1:])).numpy()
    np.testing.assert_array_equal(silu, np.array([0, 0, 90, 1e30, np.inf, np.nan], np.float32))
    gelu = ops.gelu(dev.tensor(x[1:])).numpy()
    assert np.abs(gelu[:2]).max() < 1e-7            # as docs/operators.md says
    np.testing.assert_array_equal(gelu[2:], x[3:])


def test_powers_of_special_values(dev):
    values = np.array([0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 2.5, np.inf, -np.inf, np.nan, 1e-40,
                       16777217, -33554432], np.float32)
    a, b = (grid.ravel().copy() for grid in np.meshgrid(values, values))
    result = ops.pow(dev.tensor(a), dev.tensor(b)).numpy()
    with np.errstate(all="ignore"):
        expected = np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
    # The sign of a zero or infinity of a negative zero is the only difference we accept.
    negative_zero = (a == 0) & np.signbit(a)
    np.testing.assert_array_equal(np.isinf(result), np.isinf(expected))
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(np.abs(result[finite]), np.abs(expected[finite]), rtol=2.0 ** -21,
                               atol=1e-44)
    same = ~np.isnan(expected) & ~negative_zero
    np.testing.assert_array_equal(np.signbit(result[same]), np.signbit(expected[same]))


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), (1, 2), None, -1])
def test_reductions_over_axes(dev, axis):
    x = np.random.default_rng(3).normal(0.5, 2, (6, 5, 9)).astype(np.float32)
    wide = x.astype(np.float64)
    for name in ("sum", "max"):
        result = getattr(ops, name)(dev.tensor(x), axis).numpy()
        close(result, getattr(np, name)(wide, axis=axis), 2.0 ** -16)
    kept = ops.mean(dev.tensor(x), axis, keepdims=True).numpy()
    close(kept, wide.mean(axis=axis, keepdims=True), 2.0 ** -16)
    if axis is None or np.ndim(axis) == 0:
        np.testing.assert_array_equal(ops.argmax(dev.tensor(x), axis).numpy(),
                                      np.argmax(x, axis=axis))


@pytest.mark.parametrize("shape", [(20_000,), (2, 6000), (3, 4099)])
def test_long_rows_are_reduced_in_parts(dev, shape):
    x = np.random.default_rng(4).normal(0.5, 2, shape).astype(np.float32)
    wide = x.astype(np.float64)
    close(ops.sum(dev.tensor(x), -1).numpy(), wide.sum(-1), 2.0 ** -16)
    close(ops.min(dev.tensor(x), -1).numpy(), wide.min(-1), 0)
    close(ops.l2_norm(dev.tensor(x), -1).numpy(), np.sqrt((wide ** 2).sum(-1)), 2.0 ** -20)


def test_nan_in_reductions(dev):
    x = np.random.default_rng(5).normal(0, 1, (4, 70)).astype(np.float32)
    x[1, 3], x[2, 68] = np.nan, np.nan
    x[3, 9] = x[3, 60] = 50
    for name in ("max", "min", "sum"):
        result = getattr(ops, name)(dev.tensor(x), 1).numpy()
        np.testing.assert_array_equal(np.isnan(result), [False, True, True, False])
    np.testing.assert_array_equal(ops.argmax(dev.tensor(x), 1).numpy(), np.argmax(x, 1))
    rows = np.isnan(ops.softmax(dev.tensor(x)).numpy()).all(1)
    np.testing.assert_array_equal(rows, [False, True, True, False])


@pytest.mark.parametrize(("shape", "axis"), [((6, 5, 9), 0), ((6, 5, 9), 1), ((3, 3000), 1),
                                             ((1, 1), 1), ((4,), 0)])
def test_softmax_of_any_axis_and_length(dev, shape, axis):
    """The rows of 3,000 do not fit the scratchpad with their results."""
    x = np.random.default_rng(6).normal(0, 4, shape).astype(np.float32)
    x.flat[0] = -np.inf if x.size > 1 else 3
    wide = np.moveaxis(x.astype(np.float64), axis, -1)
    for name in ("softmax", "log_softmax"):
        with np.errstate(all="ignore"):
            expected = np.moveaxis(CASES[name].reference(wide), -1, axis)
        result = getattr(ops, name)(dev.tensor(x), axis=axis).numpy()
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(result[~finite], expected[~finite])
        close(np.where(finite, result, 0), np.where(finite, expected, 0), 2.0 ** -16)


def test_normalizations(dev):
    rng = np.random.default_rng(7)
    x = rng.normal(2, 3, (4, 6, 10)).astype(np.float32)
    weight, bias = (rng.normal(0, 1, (6, 10)).astype(np.float32) for _ in range(2))
    wide = x.astype(np.float64)
    centred = wide - wide.mean((1, 2), keepdims=True)
    normal = centred / np.sqrt((centred ** 2).mean((1, 2), keepdims=True) + 1e-3)
    t = dev.tensor
    close(ops.layer_norm(t(x), (6, 10), eps=1e-3).numpy(), normal, 2.0 ** -13)
    close(ops.layer_norm(t(x), (6, 10), t(weight), eps=1e-3).numpy(), normal * weight, 2.0 ** -13)
    close(ops.layer_norm(t(x), (6, 10), None, t(bias), 1e-3).numpy(), normal + bias, 2.0 ** -13)
    square = (wide ** 2).mean(-1, keepdims=True)
    close(ops.rms_norm(t(x)).numpy(), wide / np.sqrt(square + 2.0 ** -23), 2.0 ** -18)
    mean, scale, shift = (rng.normal(0, 1, 6).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.1, 3, 6).astype(np.float32)
    expected = ((wide - mean[:, None]) / np.sqrt(variance.astype(np.float64) + 1e-5)[:, None]
                * scale[:, None] + shift[:, None])
    close(ops.batch_norm(t(x), t(mean), t(variance), t(scale), t(shift), axis=1).numpy(), expected,
          2.0 ** -13)


def test_broadcasting_and_numbers(dev):
    rng = np.random.default_rng(8)
    a, b = (rng.normal(0, 2, shape).astype(np.float32) for shape in ((4, 1, 33), (5, 33)))
    t = dev.tensor
    np.testing.assert_array_equal(ops.add(t(a), t(b)).numpy(), a + b)
    np.testing.assert_array_equal(ops.sub(1.5, t(b)).numpy(), np.float32(1.5) - b)
    np.testing.assert_array_equal(ops.div(t(b), 3).numpy(), b / np.float32(3))
    np.testing.assert_array_equal(ops.mul(t(a), t(a[:1, :, :1])).numpy(), a * a[:1, :, :1])
    np.testing.assert_array_equal(ops.lt(t(a), t(b)).numpy(), a < b)
    np.testing.assert_array_equal(ops.where(t(a < 0), t(a), t(b)).numpy(), np.where(a < 0, a, b))
    np.testing.assert_array_equal(ops.clip(t(a), -1, 0.5).numpy(), np.clip(a, -1, 0.5))
    np.testing.assert_array_equal(ops.leaky_relu(t(a), 0.25).numpy(), np.where(a < 0, a / 4, a))
    np.testing.assert_array_equal(ops.expand(t(b[:, :1]), (4, 5, 3)).numpy(),
                                  np.broadcast_to(b[:, :1], (4, 5, 3)))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
def test_integers(dev, dtype):
    rng, limits = np.random.default_rng(9), np.iinfo(dtype)
    a, b = (rng.integers(limits.min, limits.max, (3, 90), dtype, endpoint=True) for _ in range(2))
    b[0] = a[0]
    t = dev.tensor
    for name, function in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply),
                           ("maximum", np.maximum), ("eq", np.equal), ("ge", np.greater_equal)):
        np.testing.assert_array_equal(getattr(ops, name)(t(a), t(b)).numpy(), function(a, b))
    np.testing.assert_array_equal(ops.clip(t(a), 3, 100).numpy(), np.clip(a, 3, 100))


_KINDS = ("float32", "float16", "bfloat16", "int8", "uint8", "int16", "uint16", "int32", "uint32",
          "bool")


@pytest.mark.parametrize("source", _KINDS)
def test_casts(dev, source):
    values = np.array([0, 1, -1, 2.5, -2.5, 100.7, -100.2, 127, -128, 200, 255, 1000, -1000, 40000,
                       65535, 70000, 3e9, -3e9, 0.999, 1 + 2.0 ** -9])
    kind = DTYPES[source]
    if kind.kind in "iu":
        values = np.clip(values, np.iinfo(kind).min, np.iinfo(kind).max)
    with np.errstate(over="ignore"):
        x = (values if kind.kind in "iub" else values.astype(np.float32)).astype(kind)
    for target in _KINDS:
        to = DTYPES[target]
        with np.errstate(over="ignore", invalid="ignore"):
            if to.kind in "iu" and kind.kind not in "iub":
                limits = np.iinfo(to)
                expected = np.clip(np.trunc(x.astype(np.float64)), limits.min,
                                   limits.max).astype(to)
            else:
                expected = x.astype(to)
        result = ops.cast(dev.tensor(x), target).numpy()
        assert result.dtype == to
        np.testing.assert_array_equal(result, expected, err_msg=f"{source} to {target}")


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 7, 3), (33, 70, 45), (26, 20, 301)])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_float32(dev, size, transposed):
    """Small integers: every sum is exact, whatever its order."""
    (m, n, k), rng = size, np.random.default_rng(10)
    a, b = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    flags = {"transpose_a": True, "transpose_b": True} if transposed else {}
    left, right = (np.ascontiguousarray(x.T) if transposed else x for x in (a, b))
    result = ops.matmul(dev.tensor(left), dev.tensor(right), **flags).numpy()
    np.testing.assert_array_equal(result, a @ b)


def test_batches_and_bias_of_float32(dev):
    rng, t = np.random.default_rng(11), dev.tensor
    a, b = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((3, 2, 5, 9), (2, 9, 6)))
    np.testing.assert_array_equal(ops.matmul(t(a), t(b)).numpy(), a @ b)
    np.testing.assert_array_equal(ops.matmul(t(a), t(b[0])).numpy(), a @ b[0])
    bias = np.arange(6, dtype=np.float32)
    for given in (t(bias), bias, list(bias)):
        result = ops.linear(t(a[0]), t(np.ascontiguousarray(b[0].T)), given).numpy()
        np.testing.assert_array_equal(result, a[0] @ b[0] + bias)
    x = rng.normal(size=(20, 50)).astype(np.float32)
    y = rng.normal(size=(50, 30)).astype(np.float32)
    close(ops.matmul(t(x), t(y)).numpy(), x.astype(np.float64) @ y, 2.0 ** -12)
    with pytest.raises(xpu.ArgumentError, match="scale must not be given for float32"):
        ops.matmul(t(x), t(y), scale=2.0)
    with pytest.raises(xpu.DTypeError, match="b must be float32, not int8"):
        ops.matmul(t(x), t(y.astype(np.int8)))


def test_wrong_arguments(dev):
    t = dev.tensor
    x = t(np.zeros((3, 4), np.float32))
    for call, error, message in (
            (lambda: ops.exp(np.zeros(3)), xpu.ArgumentError, "exp: x must be a tensor"),
            (lambda: ops.exp(t(np.zeros(3, np.int8))), xpu.DTypeError, "exp: x must be float32"),
            (lambda: ops.add(x, t(np.zeros(3, np.float32))), xpu.ShapeError, "add: shapes"),
            (lambda: ops.add(x, t(np.zeros(4, np.int8))), xpu.DTypeError, "add: b must be float32"),
            (lambda: ops.add(x, "1"), xpu.ArgumentError, "add: b must be a number"),
            (lambda: ops.div(t(np.zeros(3, np.int8)), 2), xpu.DTypeError, "div: a"),
            (lambda: ops.clip(x, 2, 1), xpu.ArgumentError, "low must not be above high"),
            (lambda: ops.softmax(x, axis=2), xpu.ArgumentError, "softmax: axis"),
            (lambda: ops.sum(x, axis=(0, 0)), xpu.ArgumentError, "sum: axis"),
            (lambda: ops.argmax(x, axis=(0, 1)), xpu.ArgumentError, "argmax: axis"),
            (lambda: ops.layer_norm(x, 3), xpu.ShapeError, "normalized_shape"),
            (lambda: ops.layer_norm(x, None, t(np.zeros(3, np.float32))), xpu.ShapeError, "weight"),
            (lambda: ops.layer_norm(x, eps=-1), xpu.ArgumentError, "eps"),
            (lambda: ops.where(x, x, x), xpu.DTypeError, "where: condition must be bool"),
            (lambda: ops.cast(x, "float64"), xpu.DTypeError, "cast: dtype"),
            (lambda: ops.expand(x, (3, 5)), xpu.ShapeError, "cannot be broadcast"),
            (lambda: ops.argmax(t(np.zeros((2, 9000), np.float32)), 1), xpu.ArgumentError,
             "does not fit the scratchpad")):
        with pytest.raises(error, match=message):
            call()
    np.testing.assert_array_equal(ops.exp(x).numpy(), 1)       # nothing was lost


def test_devices_without_vectors():
    with xpu.open("tiny", platform="model") as device:
        x = device.tensor(np.zeros(3, np.float32))
        with pytest.raises(xpu.ArgumentError, match="functional model has no SIMD cores"):
            ops.exp(x)


@pytest.mark.parametrize("name", ["softmax", "gelu", "layer_norm", "add", "max"])
def test_several_pieces_on_four_cores(name):
    with xpu.open("slice", memory_bytes=16 << 20, randomize=3, memory_stall=0.1) as device:
        check_case(device, name, (45, 700), "float32")
