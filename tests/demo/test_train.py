"""Training: its gradients, its reproducibility, its command line."""

import itertools

import numpy as np
import pytest

from xpu.demo import train as training
from xpu.demo.data import load_digits
from xpu.demo.network import Network


def _loss(parameters, x, targets):
    layers = len(parameters) // 2
    for index in range(layers):
        x = x @ parameters[index] + parameters[layers + index]
        x = np.maximum(x, 0) if index < layers - 1 else x
    log_sum = np.log(np.exp(x).sum(axis=1, keepdims=True))
    return -(targets * (x - log_sum)).sum(axis=1).mean()


def test_gradients_equal_finite_differences():
    rng = np.random.default_rng(0)
    sizes = (5, 7, 4, 3)
    parameters = [rng.normal(size=shape) for shape in itertools.pairwise(sizes)]
    parameters += [rng.normal(size=size) for size in sizes[1:]]
    x, targets = rng.normal(size=(6, 5)), rng.dirichlet(np.ones(3), 6)
    for parameter, gradient in zip(parameters, training._gradients(parameters, x, targets),
                                   strict=True):
        for place in np.ndindex(parameter.shape):
            kept, differences = parameter[place], []
            for step in (1e-6, -1e-6):
                parameter[place] = kept + step
                differences.append(_loss(parameters, x, targets))
            parameter[place] = kept
            assert gradient[place] == pytest.approx((differences[0] - differences[1]) / 2e-6,
                                                    abs=1e-6)


def test_augmentation_shifts_without_wrapping(monkeypatch):
    monkeypatch.setattr(training, "_SHIFTED", 1.0)
    monkeypatch.setattr(training, "_NOISE", 0.0)
    image = np.arange(1, 65.0).reshape(8, 8)
    expected = {}
    padded = np.pad(image, 1)
    for name, (y, x) in {"right": (1, 0), "left": (1, 2), "down": (0, 1), "up": (2, 1)}.items():
        expected[name] = padded[y:y + 8, x:x + 8]
    seen = set()
    images = np.tile(image.reshape(1, 64), (40, 1))
    for moved in training._augment(np.random.default_rng(0), images):
        matches = [name for name, want in expected.items() if (moved.reshape(8, 8) == want).all()]
        assert len(matches) == 1
        seen.update(matches)
    assert seen == set(expected)


def test_same_seed_same_network():
    digits = load_digits()
    images, labels = digits.train_images[:300], digits.train_labels[:300]
    one, two = (training.train(images, labels, sizes=(64, 24, 10), epochs=4) for _ in range(2))
    for first, second in zip(one.quantize(), two.quantize(), strict=True):
        np.testing.assert_array_equal(first.weights, second.weights)
        np.testing.assert_array_equal(first.scale, second.scale)
    other = training.train(images, labels, sizes=(64, 24, 10), epochs=4, seed=2)
    assert (other.weights[0] != one.weights[0]).any()


@pytest.mark.slow
def test_retraining_gives_the_stored_network(tmp_path, capsys):
    assert training.main(["--output", str(tmp_path / "weights.npz")]) == 0
    assert "500 held-out images: float 9" in capsys.readouterr().out
    digits, stored, again = load_digits(), Network.load(), Network.load(tmp_path / "weights.npz")
    results = [training.accuracy(network, digits.test_images, digits.test_labels)
               for network in (stored, again)]
    assert results[0] == results[1]
    for first, second in zip(stored.weights, again.weights, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)
