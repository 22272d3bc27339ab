import itertools

import numpy as np
import pytest

import xpu


def reference(a, b, bias=None, scale=None, zero_point=0, activation=None, out_dtype=np.int32,
              a_zero_point=0, b_zero_point=0):
    """The definition, step by step, in integers of 64 bits and floats of 32."""
    acc = ((a.astype(np.int64) - a_zero_point) @ (b.astype(np.int64) - np.asarray(b_zero_point)))
    acc = acc + (0 if bias is None else bias.astype(np.int64))
    acc = (acc + 2 ** 31) % 2 ** 32 - 2 ** 31
    if activation == "relu":
        acc = np.maximum(acc, 0)
    if scale is None:
        return acc.astype(np.int32)
    limits = np.iinfo(out_dtype)
    scaled = np.rint(acc.astype(np.float32) * np.asarray(scale, np.float32)).astype(np.float64)
    return np.clip(scaled + zero_point, limits.min, limits.max).astype(out_dtype)


def operands(rng, m, n, k, a_dtype=np.int8, b_dtype=np.int8):
    def full(shape, dtype):
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return full((m, k), a_dtype), full((k, n), b_dtype)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (1, 16, 16), (3, 5, 7), (16, 16, 16),
                                           (31, 17, 130), (64, 128, 64), (2, 3, 5000)])
@pytest.mark.parametrize(("a_dtype", "b_dtype"), list(itertools.product(("int8", "uint8"),
                                                                  repeat=2)))
def test_sums(dev, m, n, k, a_dtype, b_dtype):
    a, b = operands(np.random.default_rng(m * n + k), m, n, k, a_dtype, b_dtype)
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b))
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y.numpy(), reference(a, b))


@pytest.mark.parametrize("seed", range(12))
def test_everything_together(dev, seed):
    rng = np.random.default_rng(seed)
    m, n, k = (int(size) for size in rng.integers(1, 80, 3))
    a_dtype, b_dtype, out_dtype = (rng.choice(["int8", "uint8"]) for _ in range(3))
    a, b = operands(rng, m, n, k, a_dtype, b_dtype)

    def zero_point(dtype, size=None):
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, size, endpoint=True)
    arguments = {
        "bias": rng.integers(-2 ** 31, 2 ** 31, n, np.int32) // int(rng.integers(1, 10 ** 5)),
        "scale": (rng.random(n) * 0.01 + 1e-5).astype(np.float32),
        "zero_point": int(zero_point(out_dtype)), "activation": rng.choice([None, "relu"]),
        "out_dtype": out_dtype, "a_zero_point": int(zero_point(a_dtype)),
        "b_zero_point": zero_point(b_dtype, n),
    }
    if seed % 2:
        arguments["scale"] = float(arguments["scale"][0])
        arguments["b_zero_point"] = int(arguments["b_zero_point"][0])
    if seed % 3 == 0:
        arguments["bias"] = None
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), **arguments)
    assert y.dtype == out_dtype
    np.testing.assert_array_equal(y.numpy(), reference(a, b, **arguments))


def test_vectors_may_be_tensors(dev):
    rng = np.random.default_rng(5)
    a, b = operands(rng, 9, 21, 30, np.uint8, np.uint8)
    arguments = {"bias": rng.integers(-9999, 9999, 21).astype(np.int32),
                 "scale": (rng.random(21) + 0.01).astype(np.float32),
                 "b_zero_point": rng.integers(0, 256, 21).astype(np.uint8)}
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), out_dtype=np.uint8,
                       **{name: dev.tensor(value) for name, value in arguments.items()})
    np.testing.assert_array_equal(y.numpy(), reference(a, b, out_dtype=np.uint8, **arguments))


def test_a_scale_gives_int8_unless_told_otherwise(dev):
    a, b = dev.tensor(np.ones((2, 3), np.int8)), dev.tensor(np.ones((3, 4), np.int8))
    assert xpu.ops.matmul(a, b, scale=0.5).dtype == np.int8
    assert (xpu.ops.matmul(a, b, scale=np.float32(0.5)).numpy() == 2).all()     # 1.5 to even
    assert xpu.ops.matmul(a, b, scale=0.5, out_dtype="uint8").dtype == np.uint8


def test_sums_wrap(dev):
    a = np.full((1, 70_000), -128, np.int8)
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(a.T), a_zero_point=127, b_zero_point=127)
    assert y.numpy()[0, 0] == (70_000 * 255 * 255 + 2 ** 31) % 2 ** 32 - 2 ** 31


def test_results_feed_the_next_product(dev):
    rng = np.random.default_rng(8)
    a, b = operands(rng, 20, 30, 40)
    c = rng.integers(-128, 128, (30, 10), np.int8)
    hidden = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), scale=0.01, activation="relu")
    y = xpu.ops.matmul(hidden, dev.tensor(c))
    expected = reference(a, b, scale=0.01, activation="relu", out_dtype=np.int8)
    np.testing.assert_array_equal(y.numpy(), reference(expected, c))


@pytest.fixture
def pair(dev):
    return dev.tensor(np.ones((4, 6), np.int8)), dev.tensor(np.ones((6, 5), np.uint8))


ARGUMENT, DTYPE, SHAPE = xpu.ArgumentError, xpu.DTypeError, xpu.ShapeError
BAD_ARGUMENTS = [
    ({"bias": [1] * 5}, ARGUMENT, "bias must be None, a tensor or a NumPy array, not list"),
    ({"bias": np.zeros(5, np.int64)}, DTYPE, "bias must be int32, not int64"),
    ({"bias": np.zeros(5, np.int64), "scale": 1.0}, DTYPE,
     "bias must be int32 or float32, not int64"),
    ({"bias": np.zeros(4, np.int32)}, SHAPE,
     r"bias must be of shape \(5,\), one per column, not \(4,\)"),
    ({"scale": 0.0}, ARGUMENT, "scale must be finite and positive as float32, not 0.0"),
    ({"scale": 1e-60}, ARGUMENT, "scale must be finite and positive as float32, not 1e-60"),
    ({"scale": 1e60}, ARGUMENT, r"scale must be finite and positive as float32, not 1e\+60"),
    ({"scale": float("nan")}, ARGUMENT, "scale must be finite and positive as float32, not nan"),
    ({"scale": np.array([1, 1, -1, 1, 1], np.float32)}, ARGUMENT,
     "scale must be finite and positive as float32, not -1.0 at column 2"),
    ({"scale": np.ones(6, np.float32)}, SHAPE,
     r"scale must be a single value or of shape \(5,\), one per column, not \(6,\)"),
    ({"scale": np.ones(5)}, DTYPE, "scale must be float32, not float64"),
    ({"scale": "big"}, ARGUMENT, "scale must be None, a number, a tensor or a NumPy array"),
    ({"out_dtype": np.int8}, ARGUMENT, "scale must be given for out_dtype int8, not None"),
    ({"out_dtype": np.int32, "scale": 1.0}, ARGUMENT, "scale must be None for out_dtype int32"),
    ({"out_dtype": np.int64}, DTYPE, "out_dtype must be int32 or int8 or .*, not int64"),
    ({"zero_point": 3}, ARGUMENT, "zero_point must be 0 for out_dtype int32, not 3"),
    ({"zero_point": -1, "scale": 1.0, "out_dtype": np.uint8}, ARGUMENT,
     r"zero_point must lie in \[0, 255\] of uint8, not -1"),
    ({"zero_point": 1.0, "scale": 1.0}, ARGUMENT, "zero_point must be an integer, not 1.0"),
    ({"activation": "gelu"}, ARGUMENT, "activation must be None or 'relu', .*, not 'gelu'"),
    ({"activation": np.array(["relu", "relu"])}, ARGUMENT, "activation must be None or 'relu'"),
    ({"scale": 10 ** 400}, ARGUMENT, "scale must be finite and positive as float32"),
    ({"scale": 1.0, "out_dtype": ","}, DTYPE, "out_dtype must be int32 or .*, not ,"),
    ({"a_zero_point": 128}, ARGUMENT,
     r"a_zero_point must lie in \[-128, 127\] of int8, not 128"),
    ({"b_zero_point": -1}, ARGUMENT, r"b_zero_point must lie in \[0, 255\] of uint8, not -1"),
    ({"b_zero_point": np.array([0, 0, 0, 256, 0])}, ARGUMENT,
     r"b_zero_point must lie in \[0, 255\] of uint8, not 256 at column 3"),
    ({"b_zero_point": np.zeros(3, np.uint8)}, SHAPE,
     r"b_zero_point must be a single value or of shape \(5,\)"),
    ({"activation": ("clip", 1.0)}, ARGUMENT, "activation must be None or 'relu'"),
    ({"activation": ("leaky_relu", float("nan")), "scale": 1.0}, ARGUMENT, "activation must be"),
    ({"activation": ("clip", 0.0, 6.0)}, ARGUMENT,
     "activation must be None or 'relu' for out_dtype int32, the sums, not"),
    ({"table": np.zeros(256, np.int8)}, ARGUMENT, "table must be None for out_dtype int32"),
    ({"table": np.zeros(256, np.uint8), "scale": 1.0}, DTYPE, "table must be int8, not uint8"),
    ({"table": np.zeros(255, np.int8), "scale": 1.0}, SHAPE, r"table must be of shape \(256,\)"),
    ({"return_max": True}, ARGUMENT, "return_max must be False for out_dtype int32"),
    ({"residual": np.zeros((4, 5), np.int8), "scale": 1.0}, ARGUMENT,
     "residual must be a tensor made by Device.tensor, not ndarray"),
    ({"compute_dtype": "int16"}, DTYPE, "a must be float32, not int8"),
    ({"compute_dtype": "int8"}, ARGUMENT, "compute_dtype must be None or 'int16', not 'int8'"),
    ({"b_zero_point": np.zeros(5)}, ARGUMENT, "b_zero_point must be integers, not float64"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments(pair, arguments, error, message):
    with pytest.raises(error, match=f"matmul: {message}"):
        xpu.ops.matmul(*pair, **arguments)
    assert issubclass(error, xpu.XpuError)


def test_bad_operands(dev, pair):
    a, b = pair
    with pytest.raises(xpu.ArgumentError, match=r"matmul: a must be a tensor.*not ndarray"):
        xpu.ops.matmul(np.ones((4, 6), np.int8), b)
    with pytest.raises(xpu.DTypeError, match="matmul: b must be int8 or uint8, not int32"):
        xpu.ops.matmul(a, dev.tensor(np.ones((6, 5), np.int32)))
    with pytest.raises(xpu.DTypeError, match="matmul: a must be int8 or uint8 or int16 or float16 "
                                             "or bfloat16, not int64"):
        xpu.ops.matmul(dev.tensor(np.ones((4, 6), np.int64)), b)
    with pytest.raises(xpu.ArgumentError, match="matmul: a: the functional model has no SIMD"):
        xpu.ops.matmul(dev.tensor(np.ones((4, 6), np.float32)), b)
    with pytest.raises(xpu.ShapeError,
                       match=r"matmul: a must have at least 2 dimensions, not shape \(6,\)"):
        xpu.ops.matmul(dev.tensor(np.ones(6, np.int8)), b)
    with pytest.raises(xpu.ShapeError, match=r"matmul: b must have as many rows as a has columns, "
                                             r"6, not shape \(4, 6\)"):
        xpu.ops.matmul(a, a)
    with pytest.raises(xpu.ShapeError, match=r"matmul: b must have as many columns as a has rows, "
                                             r"4, not shape \(6, 5\)"):
        xpu.ops.matmul(a, b, transpose_a=True, transpose_b=True)
    with pytest.raises(xpu.ShapeError, match=r"the leading dimensions of b must broadcast against "
                                             r"those of a, \(2,\), not be \(3,\)"):
        xpu.ops.matmul(dev.tensor(np.ones((2, 4, 6), np.int8)),
                       dev.tensor(np.ones((3, 6, 5), np.int8)))
    with pytest.raises(xpu.ShapeError, match=r"residual must have the shape of the result, "
                                             r"\(4, 5\), not \(5, 4\)"):
        xpu.ops.matmul(a, b, scale=1.0, residual=dev.tensor(np.ones((5, 4), np.int8)))
    bias = dev.tensor(np.zeros(5, np.int64).astype(np.float32))
    with pytest.raises(xpu.DTypeError, match="matmul: bias must be int32, not float32"):
        xpu.ops.matmul(a, b, bias=bias)
    with pytest.raises(xpu.DTypeError, match="matmul: b_zero_point must be uint8, not int8"):
        xpu.ops.matmul(a, b, b_zero_point=dev.tensor(np.zeros(5, np.int8)))


def test_operands_of_another_device(dev, pair):
    with (xpu.open("tiny", platform="model", memory_bytes=1 << 20) as other,
          pytest.raises(xpu.ArgumentError, match="matmul: b must be on the device of a")):
        xpu.ops.matmul(pair[0], other.tensor(np.ones((6, 5), np.int8)))
