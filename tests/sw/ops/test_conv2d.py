"""``conv2d`` on the functional model: any geometry, type and epilogue, against the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpu
from support.operators import check_conv2d, convolve, full_range, geometries


@pytest.fixture(scope="module")
def devices():
    with (xpu.open("tiny", platform="model", memory_bytes=8 << 20) as tiny,
          xpu.open("slice", platform="model", memory_bytes=8 << 20) as big):
        yield {"tiny": tiny, "slice": big}


@settings(max_examples=120, deadline=None)
@given(geometry=geometries(), dtype=st.sampled_from(["int8", "uint8", "int16"]),
       config=st.sampled_from(["tiny", "slice"]), seed=st.integers(0, 2 ** 32))
def test_integers_in_any_geometry(devices, geometry, dtype, config, seed):
    check_conv2d(devices[config], *geometry, dtype, seed)


@settings(max_examples=40, deadline=None)
@given(geometry=geometries(), dtype=st.sampled_from(["float16", "bfloat16"]),
       seed=st.integers(0, 2 ** 32))
def test_floats_in_any_geometry(devices, geometry, dtype, seed):
    x_shape, w_shape, arguments = geometry
    arguments["groups"] = 1
    w_shape = (*w_shape[:2], x_shape[3], w_shape[3])
    if x_shape[3] <= 4 and w_shape[:2] != (1, 1):
        x_shape, w_shape = (*x_shape[:3], 5), (*w_shape[:2], 5, w_shape[3])
    check_conv2d(devices["slice"], x_shape, w_shape, arguments, dtype, seed)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_few_channels_of_floats_are_patches(devices, dtype, channels):
    """Dot products then run over the taps: docs/numerics.md."""
    dev, rng = devices["slice"], np.random.default_rng(channels)
    x = full_range(rng, dtype, (1, 15, 15, channels))
    w = full_range(rng, dtype, (3, 3, channels, 8))
    geometry = {"stride": (2, 2), "padding": ((1, 1), (1, 1))}
    total = convolve(x, w, **geometry, terms=8, by_tap=False)
    y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), out_dtype="float32", **geometry)
    np.testing.assert_array_equal(y.numpy(), total)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_grouped_floats(devices, dtype):
    """Groups of one channel, joined by eight: zero weights change nothing."""
    dev, rng = devices["slice"], np.random.default_rng(1)
    x, w = full_range(rng, dtype, (1, 9, 9, 16)), full_range(rng, dtype, (3, 3, 1, 16))
    total = convolve(x, w, padding=((1, 1), (1, 1)), groups=16, terms=1)
    y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), padding=1, groups=16, out_dtype="float32")
    np.testing.assert_array_equal(y.numpy(), total)


def test_padding_in_every_notation(devices):
    dev, rng = devices["tiny"], np.random.default_rng(2)
    x, w = full_range(rng, "int8", (1, 6, 7, 4)), full_range(rng, "int8", (3, 3, 4, 5))
    for padding, pairs in ((1, ((1, 1), (1, 1))), ((2, 0), ((2, 2), (0, 0))),
                           (((0, 1), (2, 3)), ((0, 1), (2, 3)))):
        y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), padding=padding)
        np.testing.assert_array_equal(y.numpy(), convolve(x, w, padding=pairs))


def test_a_kernel_that_fits_no_scratchpad(devices):
    """31 x 31 x 9: more than 16 KiB of weights for four columns; cut by taps and channels."""
    dev, rng = devices["tiny"], np.random.default_rng(3)
    x, w = full_range(rng, "int8", (1, 33, 31, 9)), full_range(rng, "int8", (31, 31, 9, 5))
    y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), padding=((3, 2), (4, 4)))
    np.testing.assert_array_equal(y.numpy(), convolve(x, w, padding=((3, 2), (4, 4))))


def test_an_image_wider_than_the_accumulators(devices):
    dev, rng = devices["tiny"], np.random.default_rng(4)
    x, w = full_range(rng, "int8", (1, 3, 200, 6)), full_range(rng, "int8", (3, 3, 6, 10))
    y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), padding=1)
    np.testing.assert_array_equal(y.numpy(), convolve(x, w, padding=((1, 1), (1, 1))))


def test_weights_of_other_frameworks():
    w = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    ours = xpu.ops.oihw_to_hwio(w)
    assert ours.shape == (4, 5, 3, 2)
    assert ours[1, 2, 0, 1] == w[1, 0, 1, 2]
    with pytest.raises(xpu.ShapeError, match="w must have 4 dimensions"):
        xpu.ops.oihw_to_hwio(w[0])


def test_float32_through_int16(devices):
    """The error bound of docs/numerics.md: half a step of either scale for every term."""
    dev, rng = devices["slice"], np.random.default_rng(5)
    x = rng.normal(size=(1, 8, 8, 24)).astype(np.float32)
    w = rng.normal(size=(3, 3, 24, 10)).astype(np.float32)
    y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), padding=1, compute_dtype="int16")
    exact = _float64(x, w)
    xs, ws = np.abs(x).max() / 32767, np.abs(w).max() / 32767
    taps = w.reshape(-1, 10)
    bound = (0.51 * xs * np.abs(taps).sum(axis=0) + 0.51 * ws * 9 * 24 * np.abs(x).max()) * 1.001
    assert y.dtype == np.float32
    assert (np.abs(y.numpy() - exact) <= bound).all()
    assert np.abs(y.numpy() - exact).max() < 2e-3 * np.abs(exact).max()


def _float64(x, w):
    image = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(image[:, i:i + x.shape[1], j:j + x.shape[2]] @ w[i, j].astype(np.float64)
               for i in range(3) for j in range(3))


BAD = [
    ((1, 5, 5, 4), (3, 3, 5, 2), {}, xpu.ShapeError, "w must have x's channels / groups, 4 / 1"),
    ((1, 5, 5, 4), (3, 3, 2, 3), {"groups": 2}, xpu.ShapeError, "w must have a multiple of groups"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"groups": 3}, xpu.ShapeError, "channels / groups, 4 / 3"),
    ((5, 5, 4), (3, 3, 4, 3), {}, xpu.ShapeError, "x must have 4 dimensions"),
    ((1, 5, 5, 4), (3, 4, 3), {}, xpu.ShapeError, "w must have 4 dimensions"),
    ((1, 2, 5, 4), (3, 3, 4, 3), {}, xpu.ShapeError, "w's 3 rows .* over 3 rows, but x has 2"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"stride": 0}, xpu.ArgumentError,
     r"stride must lie in \[1, 255\], not 0"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"stride": (1, 2, 3)}, xpu.ArgumentError,
     "stride must be an integer or a pair"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"padding": -1}, xpu.ArgumentError, "padding must lie in"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"padding": 1.5}, xpu.ArgumentError, "padding must be an integer"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"dilation": 256}, xpu.ArgumentError, "dilation must lie in"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"x_zero_point": 200}, xpu.ArgumentError,
     r"x_zero_point must lie in \[-128, 127\] of int8, not 200"),
    ((1, 5, 5, 4), (3, 3, 4, 3), {"w_zero_point": np.zeros(4, np.int8)}, xpu.ShapeError,
     r"w_zero_point must be a single value or of shape \(3,\)"),
    ((1, 40_000, 1, 1), (1, 1, 1, 3), {}, xpu.ShapeError, "at most 32767 rows"),
]


@pytest.mark.parametrize(("x", "w", "arguments", "error", "message"), BAD)
def test_bad_arguments(devices, x, w, arguments, error, message):
    dev = devices["tiny"]
    with pytest.raises(error, match=f"conv2d: .*{message}"):
        xpu.ops.conv2d(dev.tensor(np.zeros(x, np.int8)), dev.tensor(np.zeros(w, np.int8)),
                       **arguments)
