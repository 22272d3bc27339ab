"""``matmul`` and ``linear`` of every type, batch, transposition and epilogue, on the model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpu
from support.operators import check_matmul, expected, full_range, sums, swapped
from xpu_rtl.numerics import wrap_int32

TYPES = ["int8", "uint8", "int16", "float16", "bfloat16"]


@pytest.fixture(scope="module")
def devices():
    with (xpu.open("tiny", platform="model", memory_bytes=8 << 20) as tiny,
          xpu.open("slice", platform="model", memory_bytes=8 << 20) as big):
        yield {"tiny": tiny, "slice": big}


@settings(max_examples=150, deadline=None)
@given(size=st.tuples(*[st.integers(1, 70)] * 3),
       transposed=st.tuples(st.booleans(), st.booleans()), dtype=st.sampled_from(TYPES),
       config=st.sampled_from(["tiny", "slice"]), seed=st.integers(0, 2 ** 32))
def test_any_type_and_epilogue(devices, size, transposed, dtype, config, seed):
    check_matmul(devices[config], size, transposed, dtype, seed)


@pytest.mark.parametrize("dtype", ["int8", "float16"])
@pytest.mark.parametrize(("a_batch", "b_batch"), [
    ((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)),
    ((2, 1), (3,)), ((1,), (4,)), ((2, 3), (3,)), ((2, 3), (2, 1)), ((1, 1), ()),
    ((2, 1, 3), (2, 2, 1))])
@pytest.mark.parametrize("transposed", [(False, False), (True, True)])
def test_batches_broadcast(devices, dtype, a_batch, b_batch, transposed):
    dev, rng = devices["slice"], np.random.default_rng(7)
    a, b = full_range(rng, dtype, (*a_batch, 9, 21)), full_range(rng, dtype, (*b_batch, 21, 18))
    shape = (*np.broadcast_shapes(a_batch, b_batch), 9, 18)
    residual = full_range(rng, "float32", shape)
    arguments = {"out_dtype": "float32", "residual": residual,
                 "bias": full_range(rng, "float32", 18)}
    total = sums(a, b, 8)
    result, _ = expected(wrap_int32(total) if dtype == "int8" else total, arguments)
    arguments["residual"] = dev.tensor(residual)
    operands = [dev.tensor(swapped(x) if t else x) for x, t in
                zip((a, b), transposed, strict=True)]
    y, maximum = xpu.ops.matmul(*operands, transpose_a=transposed[0], transpose_b=transposed[1],
                                return_max=True, **arguments)
    assert y.shape == shape
    np.testing.assert_array_equal(y.numpy(), result)
    assert maximum.numpy()[0] == np.abs(result).max()


def test_default_types(devices):
    dev = devices["slice"]
    for dtype, plain, scaled in (("int8", "int32", "int8"), ("uint8", "int32", "int8"),
                                 ("int16", "int64", "int16"), ("float16", "float16", "float16"),
                                 ("bfloat16", "bfloat16", "bfloat16")):
        a, b = (dev.tensor(np.ones(shape).astype(xpu.tensor.DTYPES[dtype]))
                for shape in ((2, 3), (3, 4)))
        assert xpu.ops.matmul(a, b).dtype.name == plain
        assert xpu.ops.matmul(a, b, scale=0.5).dtype.name == scaled


def test_int16_sums_are_exact_in_int64(devices):
    a = np.full((1, 65_536), -32_768, np.int16)
    dev = devices["slice"]
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(a.reshape(-1, 1)))
    assert y.dtype == np.int64
    assert y.numpy()[0, 0] == 65_536 * 2 ** 30


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_floats_are_within_the_stated_bound_of_float64(devices, dtype):
    """docs/numerics.md: the error of K terms is below (K / terms + 2) * 2**-24 * sum |a b|."""
    dev, rng = devices["slice"], np.random.default_rng(11)
    for k in (1, 8, 100, 1000):
        a = (rng.normal(size=(20, k)) * np.exp2(rng.integers(-6, 6, (20, k)))).astype(
            xpu.tensor.DTYPES[dtype])
        b = full_range(rng, dtype, (k, 30))
        y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), out_dtype="float32").numpy()
        wide = [x.astype(np.float64) for x in (a, b)]
        bound = (-(-k // 8) + 2) * 2.0 ** -24 * (np.abs(wide[0]) @ np.abs(wide[1]))
        assert (np.abs(y - wide[0] @ wide[1]) <= bound).all()


def test_special_values(devices):
    """Infinities and NaNs go where IEEE says, and nowhere else."""
    dev = devices["slice"]
    inf, nan = np.inf, np.nan
    least = 2.0 ** -24      # the smallest subnormal
    a = np.array([[inf, 1, 0], [inf, -inf, 0], [nan, 0, 0], [0, 0, 0], [least, 1, 1],
                  [65504, 65504, 0]], np.float16)
    b = np.array([[1, 0, 1], [1, 1, -1], [1, 1, 1]], np.float16)
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b)).numpy()
    expected_ = np.array([[inf, nan, inf], [nan, nan, inf], [nan, nan, nan], [0, 0, 0],
                          [2, 2, least], [inf, 65504, 0]], np.float16)
    np.testing.assert_array_equal(y, expected_)
    assert not np.signbit(y[3]).any()


def test_linear_is_torchs(devices):
    dev, rng = devices["tiny"], np.random.default_rng(12)
    x, w = full_range(rng, "int8", (2, 5, 20)), full_range(rng, "int8", (7, 20))
    bias = rng.integers(-99, 99, 7, np.int32)
    y = xpu.ops.linear(dev.tensor(x), dev.tensor(w), dev.tensor(bias), x_zero_point=3)
    np.testing.assert_array_equal(
        y.numpy(), (x.astype(np.int64) - 3) @ w.T.astype(np.int64) + bias)
    assert xpu.ops.linear(dev.tensor(x[0, 0]), dev.tensor(w)).shape == (7,)
    with pytest.raises(xpu.ShapeError, match="linear: weight must have as many columns as x has"):
        xpu.ops.linear(dev.tensor(x), dev.tensor(w.T.copy()))
    with pytest.raises(xpu.ArgumentError, match="linear: weight_zero_point must lie in"):
        xpu.ops.linear(dev.tensor(x), dev.tensor(w), weight_zero_point=999)


def test_types_a_configuration_lacks():
    with xpu.open("ecp5", platform="model", memory_bytes=1 << 20) as dev:
        a = dev.tensor(np.ones((3, 3), np.float16))
        with pytest.raises(xpu.DTypeError, match="a must be int8 or uint8 or int16, not float16"):
            xpu.ops.matmul(a, a)


@pytest.mark.parametrize("name", ["gelu", "silu", "sigmoid", "tanh", "hard_swish"])
def test_activation_tables(devices, name):
    dev, rng = devices["tiny"], np.random.default_rng(13)
    table = xpu.ops.activation_table(name, 0.05, 3, 0.04, -7)
    a, b = full_range(rng, "int8", (6, 10)), full_range(rng, "int8", (10, 8))
    plain = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), scale=0.002, zero_point=3).numpy()
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), scale=0.002, zero_point=3, table=table).numpy()
    np.testing.assert_array_equal(y, table[plain.view(np.uint8)])
    v = (plain.astype(np.float64) - 3) * 0.05
    from scipy import special
    value = {"gelu": v * special.ndtr(v), "silu": v * special.expit(v), "sigmoid": special.expit(v),
             "tanh": np.tanh(v), "hard_swish": v * np.clip(v + 3, 0, 6) / 6}[name]
    assert (np.abs(y - np.clip(value / 0.04 - 7, -128, 127)) <= 0.5001).all()


def test_float32_through_int16(devices):
    dev, rng = devices["slice"], np.random.default_rng(14)
    a = (rng.normal(size=(3, 20, 50)) * 1000).astype(np.float32)
    b = (rng.normal(size=(50, 30)) / 1000).astype(np.float32)
    y = xpu.ops.matmul(dev.tensor(a), dev.tensor(b), compute_dtype="int16")
    wide = a.astype(np.float64) @ b.astype(np.float64)
    steps = [np.abs(x).max() / 32767 for x in (a, b)]
    bound = 0.51 * (steps[0] * np.abs(b).sum(axis=0) + steps[1] * np.abs(a).sum(axis=-1)[..., None]
                    + steps[0] * steps[1] * 50)
    assert (np.abs(y.numpy() - wide) <= bound + 1e-6 * np.abs(wide)).all()
    with pytest.raises(xpu.ArgumentError, match="a must be finite for compute_dtype int16"):
        xpu.ops.matmul(dev.tensor(np.full((2, 50), np.inf, np.float32)), dev.tensor(b),
                       compute_dtype="int16")
    zero = xpu.ops.matmul(dev.tensor(a * 0), dev.tensor(b), compute_dtype="int16").numpy()
    assert (zero == 0).all()


@pytest.mark.parametrize("shape", [(1,), (7, 13), (1009,), (64, 64)])
def test_quantize_and_absmax(devices, shape):
    dev, rng = devices["slice"], np.random.default_rng(15)
    x = (rng.normal(size=shape) * 3).astype(np.float32)
    for dtype, scale, zero in (("int8", 0.05, 3), ("uint8", 0.03, 128), ("int16", 1e-4, 0)):
        y = xpu.ops.quantize(dev.tensor(x), scale, zero, dtype).numpy()
        limits, inverse = np.iinfo(dtype), np.float32(1 / np.float64(np.float32(scale)))
        np.testing.assert_array_equal(
            y, np.clip(np.rint(x * inverse).astype(np.int64) + zero, limits.min, limits.max))
    for place in (0, x.size // 2, x.size - 1):
        x.flat[place] = -100 - place
        assert xpu.ops.absmax(dev.tensor(x)).numpy()[0] == 100 + place
