"""The network's INT8 form, against plain definitions of what it should be."""

import itertools

import numpy as np
import pytest

from xpu.demo.data import load_digits
from xpu.demo.network import Network
from xpu.demo.train import accuracy


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def network():
    return Network.load()


def _random_network(seed, sizes=(64, 6, 5, 3)):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in itertools.pairwise(sizes)]
    return Network(weights, [rng.normal(size=size) for size in sizes[1:]])


def _forward_in_python_integers(layer, x):
    """One layer by the definition, in Python's unbounded integers and single float32 steps."""
    low, high = (0, 255) if layer.out_dtype == np.uint8 else (-128, 127)
    y = np.empty((len(x), len(layer.bias)), layer.out_dtype)
    for m, n in np.ndindex(y.shape):
        acc = int(layer.bias[n]) + sum((int(a) - layer.a_zero_point) * int(w)
                                       for a, w in zip(x[m], layer.weights[:, n], strict=True))
        if layer.relu:
            acc = max(acc, 0)
        scaled = round(float(np.float32(acc) * layer.scale[n]))
        y[m, n] = min(max(scaled + layer.zero_point, low), high)
    return y


def test_stored_network_reaches_the_promised_accuracy(network, digits):
    assert network.sizes == (64, 256, 128, 10)
    full, int8 = accuracy(network, digits.test_images, digits.test_labels)
    assert full >= 0.97
    assert int8 >= full - 0.005 - 1e-9


def test_stored_scales_come_from_the_training_images(network, digits):
    again = Network(network.weights, network.biases)
    again.calibrate(digits.train_images)
    np.testing.assert_allclose(again.scales, network.scales, rtol=1e-6)
    assert again.zero_points == network.zero_points


def test_quantities_follow_their_definitions(network):
    layers = network.quantize()
    x_scale, x_zero = np.float32(1 / 16), 0
    for index, layer in enumerate(layers):
        w_scale = np.abs(network.weights[index]).max(axis=0) / np.float32(127)
        assert layer.weights.dtype == np.int8
        assert np.abs(layer.weights.astype(int)).max(axis=0).tolist() == [127] * len(w_scale)
        error = np.abs(layer.weights * w_scale - network.weights[index])
        assert (error <= 0.51 * w_scale).all()
        assert layer.bias.dtype == np.int32
        error = np.abs(layer.bias * (x_scale * w_scale) - network.biases[index])
        assert (error <= 0.51 * x_scale * w_scale).all()
        assert layer.scale.dtype == np.float32
        y_scale = network.scales[index]
        assert layer.scale.tolist() == [np.float32(np.float32(x_scale * w) / y_scale)
                                        for w in w_scale]
        assert layer.a_zero_point == x_zero
        last = index == len(layers) - 1
        assert (layer.relu, layer.out_dtype) == (not last, np.int8 if last else np.uint8)
        x_scale, x_zero = y_scale, layer.zero_point


@pytest.mark.parametrize("seed", range(3))
def test_reference_equals_integer_arithmetic(seed):
    network = _random_network(seed)
    images = np.random.default_rng(seed).integers(0, 17, (20, 64)).astype(np.uint8)
    network.calibrate(images)
    x = images
    for layer in network.quantize():
        expected = _forward_in_python_integers(layer, x)
        x = layer.reference(x)
        assert x.dtype == layer.out_dtype
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("seed", range(3))
def test_int8_logits_approximate_the_float_ones(seed):
    network = _random_network(seed)
    images = np.random.default_rng(seed).integers(0, 17, (50, 64)).astype(np.uint8)
    network.calibrate(images)
    x = images
    for layer in network.quantize():
        x = layer.reference(x)
    logits = network.activations(images)[-1]
    dequantized = (x.astype(int) - network.zero_points[-1]) * network.scales[-1]
    assert np.abs(dequantized - logits).max() < 0.05 * np.ptp(logits)
    assert (x.min(), x.max()) == pytest.approx((-128, 127), abs=4), "8 bits are not used"


def test_save_and_load(tmp_path):
    network = _random_network(0)
    network.calibrate(np.full((2, 64), 16, np.uint8))
    network.save(tmp_path / "one.npz")
    again = Network.load(tmp_path / "one.npz")
    again.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    for mine, other in zip(network.quantize(), again.quantize(), strict=True):
        np.testing.assert_array_equal(mine.weights, other.weights)
        np.testing.assert_array_equal(mine.scale, other.scale)
        assert mine.zero_point == other.zero_point
