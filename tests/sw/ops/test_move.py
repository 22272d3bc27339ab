"""Operators that move data, against NumPy."""

import itertools

import numpy as np
import pytest

import xpu
from xpu.ops import copy, fill, full, im2col, pad, scatter, take, transpose
from xpu.tensor import DTYPES
from xpu_rtl.command.formats import FaultCause

MEMORY = 8 << 20


@pytest.fixture(scope="module", params=[
    ("tiny", "model"), ("slice", "model"),
    pytest.param(("tiny", "native"), marks=pytest.mark.cosim),
    pytest.param(("slice", "native"), marks=pytest.mark.cosim)], ids="-".join)
def dev(request):
    config, platform = request.param
    with xpu.open(config, platform=platform, memory_bytes=MEMORY, timeout_cycles=50_000) as device:
        yield device


def values(shape, dtype, seed=0):
    """Random bytes of a type; no NaN, so that they can be compared."""
    dtype = DTYPES.get(dtype) or np.dtype(dtype)
    rng = np.random.default_rng([seed, *shape])
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "fV":      # NumPy knows no kind of bfloat16
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def check(tensor, expected):
    assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(tensor.numpy(), expected)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5, 4), (70_001,)])
def test_copy(dev, shape):
    x = values(shape, np.int16)
    check(copy(dev.tensor(x)), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants(dev, dtype):
    value = {"b": True, "u": 200, "i": -77, "f": 1.37, "V": 1.37}[DTYPES[dtype].kind]
    check(full(dev, (3, 37), value, dtype), np.full((3, 37), value, DTYPES[dtype]))
    x = dev.tensor(values((5, 3), dtype))
    y = copy(x)
    assert fill(x, DTYPES[dtype].type(value)) is x
    check(x, np.full((5, 3), value, DTYPES[dtype]))
    check(y, values((5, 3), dtype))


PADDINGS = [
    ((7,), 3), ((3, 5), ((1, 2), (3, 4))), ((2, 3, 5), ((0, 0), (1, 0), (0, 2))),
    ((2, 3, 4, 5), ((0, 0), (1, 1), (2, 3), (0, 0))), ((2, 3, 2, 3), 1),
    ((1, 2, 1, 3, 2), (2, 1)), ((2, 1, 2, 1, 2, 2), 1), ((4, 5), 0),
    ((1, 1), ((40, 0), (0, 33))), ((3, 1), ((0, 0), (2, 2)))]


@pytest.mark.parametrize(("shape", "widths"), PADDINGS)
@pytest.mark.parametrize("dtype", ["int8", "float16", "int32", "float64"])
def test_pad(dev, shape, widths, dtype):
    x = values(shape, dtype)
    value = np.dtype(dtype).type(-3.5 if x.dtype.kind == "f" else -35)
    expected = np.pad(x, widths, constant_values=value)
    check(pad(dev.tensor(x), widths, value), expected)


def test_pad_by_dimension(dev):
    x = values((2, 3, 4), np.uint8)
    check(pad(dev.tensor(x), [1, 2, 3]), np.pad(x, [(1, 1), (2, 2), (3, 3)]))
    scalar = dev.tensor(np.float32(3))
    check(pad(scalar, 0), np.array(3, np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_of_every_type(dev, dtype):
    x = values((13, 22), dtype)
    check(transpose(dev.tensor(x)), x.T)
    x = values((5, 3, 4, 2), dtype)
    check(transpose(dev.tensor(x), (0, 3, 1, 2)), x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 1, 4), (3, 2, 5, 2)])
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_every_permutation(dev, shape, dtype):
    x = values(shape, dtype)
    tensor = dev.tensor(x)
    for axes in itertools.permutations(range(len(shape))):
        check(transpose(tensor, axes), x.transpose(axes))


@pytest.mark.parametrize("axes", [
    (5, 4, 3, 2, 1, 0), (0, 2, 1, 3, 5, 4), (1, 0, 3, 2, 5, 4), (3, 5, 1, 4, 0, 2),
    (0, 1, 2, 3, 5, 4), (4, 2, 0, 1, 3, 5), (5, 0, 1, 2, 3, 4), (-1, -2, 0, 1, 2, 3)])
def test_six_dimensions(dev, axes):
    for dtype in ("uint8", "int32", "int64"):
        x = values((2, 3, 2, 4, 3, 5), dtype)
        check(transpose(dev.tensor(x), axes), x.transpose(axes))


def test_eight_dimensions(dev):
    x = values((2, 2, 3, 2, 2, 2, 2, 3), np.int8)
    for axes in ((7, 6, 5, 4, 3, 2, 1, 0), (0, 2, 1, 4, 3, 6, 5, 7), (7, 0, 6, 1, 5, 2, 4, 3)):
        check(transpose(dev.tensor(x), axes), x.transpose(axes))


@pytest.mark.parametrize("dtype", ["int8", "float16", "int32", "float64"])
@pytest.mark.parametrize("row", [(), (1,), (3, 5), (300,)])
def test_take(dev, row, dtype):
    x = values((20, *row), dtype)
    tensor = dev.tensor(x)
    indices = np.random.default_rng(1).integers(-20, 20, (4, 7))
    check(take(tensor, indices), x[indices])
    on_device = dev.tensor((indices % 20).astype(np.int32))
    check(xpu.ops.gather(tensor, on_device), x[indices])
    check(take(tensor, [3]), x[[3]])
    check(take(tensor, 3), x[3])


@pytest.mark.parametrize("dtype", ["int8", "float16", "int32", "float64"])
@pytest.mark.parametrize("row", [(), (1,), (3, 5), (300,)])
def test_scatter(dev, row, dtype):
    out, x = values((20, *row), dtype), values((2, 3, *row), dtype, 1)
    indices = np.random.default_rng(1).permutation(20)[:6].reshape(2, 3) - 20
    tensor = dev.tensor(out)
    assert scatter(dev.tensor(x), indices, tensor) is tensor
    out[indices] = x
    check(tensor, out)


def patches(x, kernel, stride, padding, dilation, value):
    """Reference of im2col, patch by patch."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)
    n, h, w, _ = x.shape
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    rows = [[[x[i, top:top + reach[0]:dilation[0], left:left + reach[1]:dilation[1]].reshape(-1)
              for left in range(0, w - reach[1] + 1, stride[1])]
             for top in range(0, h - reach[0] + 1, stride[0])] for i in range(n)]
    return np.array(rows)


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), [
    ((1, 5, 6, 3), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((2, 7, 5, 4), (3, 2), (2, 3), ((0, 2), (1, 0)), (1, 1)),
    ((2, 8, 9, 1), (3, 3), (1, 2), ((2, 2), (2, 2)), (2, 2)),
    ((1, 4, 4, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((3, 6, 6, 2), (6, 6), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((1, 3, 3, 2), (5, 5), (1, 1), ((2, 2), (3, 3)), (1, 1)),
    ((2, 9, 4, 2), (2, 3), (3, 1), ((1, 0), (3, 3)), (3, 1))])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_im2col(dev, shape, kernel, stride, padding, dilation, dtype):
    x = values(shape, dtype)
    tensor = dev.tensor(x)
    expected = patches(x, kernel, stride, padding, dilation, 7)
    check(im2col(tensor, kernel, stride, padding, dilation, 7), expected)
    wide = im2col(tensor, kernel, stride, padding, dilation, 7, columns=expected.shape[-1] + 5)
    check(wide, np.pad(expected, ((0, 0),) * 3 + ((0, 5),), constant_values=7))


def test_im2col_shorthands(dev):
    x = values((1, 6, 5, 2), np.int64)
    check(im2col(dev.tensor(x), 3, padding=(1, 2)),
          patches(x, (3, 3), (1, 1), ((1, 1), (2, 2)), (1, 1), 0))


def test_a_convolution(dev):
    """What im2col is for."""
    x, weights = values((1, 6, 5, 3), np.int8), values((27, 4), np.int8)
    rows = im2col(dev.tensor(x), 3, padding=1)
    result = xpu.ops.matmul(rows.reshape(30, 27), dev.tensor(weights))
    expected = patches(x, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 0).reshape(30, 27)
    check(result, expected.astype(np.int32) @ weights.astype(np.int32))


def test_an_index_on_the_device_that_is_too_large(dev):
    x = dev.tensor(values((8, 3), np.int8))
    indices = dev.tensor(np.array([1, 5, -1, 3], np.int32))
    y = take(x, indices)
    with pytest.raises(xpu.DeviceFault, match=r"BAD_INDEX in engine STORE.* at row 2 = \(i1=2\), "
                                              r"address 0x[0-9a-f]+, info 0xffffffff") as caught:
        y.numpy()
    fault = caught.value
    assert (fault.cause, fault.row, fault.indices) == (FaultCause.BAD_INDEX, 2, {1: 2})
    assert fault.address == indices.address + 8
    dev.reset()
    check(take(x, [7]), x.numpy()[[7]])


REFUSALS = [
    (lambda x: copy(3), xpu.ArgumentError, "copy: x must be a tensor made by Device.tensor, not i"),
    (lambda x: fill(x, 300), xpu.ArgumentError, r"fill: value must lie in \[-128, 127\] of int8"),
    (lambda x: fill(x, 1.5), xpu.ArgumentError, "fill: value must be a value of type int8, not 1"),
    (lambda x: full(x.device, (2,), None, "bool"), xpu.ArgumentError, "type bool, not None"),
    (lambda x: full(x.device, (2, 0), 1, "int8"), xpu.ShapeError, "full: shape: every dimension"),
    (lambda x: pad(x, -1), xpu.ArgumentError, "pad: widths must be counts: .* not -1"),
    (lambda x: pad(x, [1, 2, 3]), xpu.ArgumentError, "for each of the 2 dimensions, not"),
    (lambda x: pad(x, 1, "a"), xpu.ArgumentError, "pad: value must be a value of type int8"),
    (lambda x: transpose(x, (0, 0)), xpu.ArgumentError, "axes must be a permutation of the 2 dim"),
    (lambda x: transpose(x, 1), xpu.ArgumentError, "axes must be a permutation of the 2 dim"),
    (lambda x: take(x, [0.5]), xpu.DTypeError, "take: indices must be integers, not float64"),
    (lambda x: take(x, [[0, 6]]), xpu.ArgumentError, r"in \[-6, 5\], not 6 at \(0, 1\)"),
    (lambda x: take(x, x), xpu.DTypeError, "indices must be int32 or uint32, not int8"),
    (lambda x: scatter(x, [0], x), xpu.ArgumentError, "scatter: out must be another tensor"),
    (lambda x: scatter(x, [0], copy(x)), xpu.ShapeError, r"scatter: x must have shape \(1, 4\)"),
    (lambda x: im2col(x, 3), xpu.ShapeError, "im2col: x must have 4 dimensions"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS)
def test_refusals(dev, call, error, message):
    with pytest.raises(error, match=message):
        call(dev.tensor(values((6, 4), np.int8)))


IMAGE_REFUSALS = [
    ({"kernel": 0}, "kernel must be one or two integers of at least 1, not 0"),
    ({"kernel": 9}, r"kernel 9x9 with dilation \(1, 1\) is larger than the padded image 4x4"),
    ({"kernel": 2, "stride": (1, 2, 3)}, "stride must be one or two integers"),
    ({"kernel": 2, "padding": "x"}, "padding must be an integer, a pair"),
    ({"kernel": 2, "padding": -1}, "padding must be one or two integers of at least 0"),
    ({"kernel": 2, "columns": 7}, r"columns must be at least KH \* KW \* C = 8, not 7"),
    ({"kernel": 2, "value": 1}, "value must have two equal halves"),
]


@pytest.mark.parametrize(("arguments", "message"), IMAGE_REFUSALS)
def test_refusals_of_im2col(dev, arguments, message):
    with pytest.raises(ValueError, match=message):
        im2col(dev.tensor(values((1, 4, 4, 2), np.int64)), **arguments)
