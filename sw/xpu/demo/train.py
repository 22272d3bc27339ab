"""Trains the demonstration's network: ``python -m xpu.demo.train``.

Plain NumPy in float64: Adam with decoupled weight decay, a cosine schedule, label smoothing, and a
light augmentation (some images shifted by one pixel, noise on all). It stops after a fixed number
of epochs. Epochs, smoothing and augmentation were compared by cross-validation within the training
images (``--cross-validate`` repeats it for the settings below). Augmentation brought nothing there:
without it 8 of 1,297 were wrong, with it 10, which is no difference; it is kept for robustness. The
500 held-out images are only looked at to print the result.

One seed fixes everything: a second run gives the same file, byte for byte. So do OpenBLAS's kernels
for other generations of x86, whose different roundings in float64 vanish in the float32 weights.
Another NumPy or libm may change the last bits, which is far less than an INT8 step.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from .data import PIXEL_SCALE, SIDE, load_digits
from .network import Network

__all__ = ["accuracy", "main", "train"]

SIZES = (SIDE * SIDE, 256, 128, 10)

_SEED = 1
_EPOCHS = 100
_BATCH = 64
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_SMOOTHING = 0.05      # share of a label's weight spread over all classes
_SHIFTED = 0.2         # share of the images moved by one pixel
_NOISE = 0.1           # standard deviation; a pixel's full range is 1
_FOLDS = 5


def _augment(rng, images):
    """Return images with one in five moved by one pixel in one of four directions, and noise."""
    square = images.reshape(-1, SIDE, SIDE).copy()
    choice = rng.random(len(images))
    for number, (axis, step) in enumerate(((1, 1), (1, -1), (2, 1), (2, -1))):
        low, high = number * _SHIFTED / 4, (number + 1) * _SHIFTED / 4
        chosen = (low <= choice) & (choice < high)
        moved = np.roll(square[chosen], step, axis)
        edge = 0 if step > 0 else SIDE - 1
        moved[(slice(None),) * axis + (edge,)] = 0
        square[chosen] = moved
    return square.reshape(images.shape) + _NOISE * rng.normal(size=images.shape)


def _gradients(parameters, x, targets):
    """Return the gradients of the mean cross-entropy, weights first, then biases."""
    layers = len(parameters) // 2
    weights, biases = parameters[:layers], parameters[layers:]
    outputs = [x]
    for index in range(layers):
        x = outputs[-1] @ weights[index] + biases[index]
        outputs.append(np.maximum(x, 0) if index < layers - 1 else x)
    logits = np.exp(outputs[-1] - outputs[-1].max(axis=1, keepdims=True))
    delta = (logits / logits.sum(axis=1, keepdims=True) - targets) / len(targets)
    gradients = [None] * (2 * layers)
    for index in reversed(range(layers)):
        gradients[index] = outputs[index].T @ delta
        gradients[layers + index] = delta.sum(axis=0)
        if index:
            delta = (delta @ weights[index].T) * (outputs[index] > 0)
    return gradients


# The matrices are small: a second thread costs more than it brings.
@threadpool_limits.wrap(limits=1, user_api="blas")
def train(images, labels, *, sizes=SIZES, epochs=_EPOCHS, seed=_SEED):
    """Return a ``Network`` trained on and calibrated with these images."""
    rng = np.random.default_rng(seed)
    shapes = list(itertools.pairwise(sizes))
    parameters = [rng.normal(size=shape) * np.sqrt(2 / shape[0]) for shape in shapes]
    parameters += [np.zeros(outputs) for _, outputs in shapes]
    means = [np.zeros_like(parameter) for parameter in parameters]
    squares = [np.zeros_like(parameter) for parameter in parameters]
    x = images * np.float64(PIXEL_SCALE)
    targets = np.full((len(labels), sizes[-1]), _SMOOTHING / sizes[-1])
    targets[np.arange(len(labels)), labels] += 1 - _SMOOTHING

    batches = len(x) // _BATCH
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        augmented = _augment(rng, x)
        for batch in range(batches):
            chosen = order[batch * _BATCH:(batch + 1) * _BATCH]
            gradients = _gradients(parameters, augmented[chosen], targets[chosen])
            rate = _LEARNING_RATE * (1 + np.cos(np.pi * step / (epochs * batches))) / 2
            step += 1
            for index, gradient in enumerate(gradients):
                means[index] += 0.1 * (gradient - means[index])
                squares[index] += 0.001 * (gradient * gradient - squares[index])
                mean, square = means[index] / (1 - 0.9**step), squares[index] / (1 - 0.999**step)
                if index < len(shapes):
                    parameters[index] *= 1 - rate * _WEIGHT_DECAY
                parameters[index] -= rate * mean / (np.sqrt(square) + 1e-8)
    network = Network(parameters[:len(shapes)], parameters[len(shapes):])
    network.calibrate(images)
    return network


def accuracy(network, images, labels):
    """Return the shares the float network and its INT8 form get right."""
    x = images
    for layer in network.quantize():
        x = layer.reference(x)
    return (float(np.mean(network.activations(images)[-1].argmax(axis=1) == labels)),
            float(np.mean(x.argmax(axis=1) == labels)))


def _cross_validate(images, labels):
    fold = np.arange(len(images)) % _FOLDS
    results = []
    for number in range(_FOLDS):
        inside = fold != number
        network = train(images[inside], labels[inside])
        results.append(accuracy(network, images[~inside], labels[~inside]))
        print(f"fold {number}: float {results[-1][0]:.2%}, INT8 {results[-1][1]:.2%}", flush=True)
    means = np.mean(results, axis=0)
    print(f"mean:   float {means[0]:.2%}, INT8 {means[1]:.2%}")


def main(arguments=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m xpu.demo.train", description="Train the "
                                     "network of the demonstration and rewrite its weights.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("weights.npz"),
                        help="file to write (default: the package's own)")
    parser.add_argument("--cross-validate", action="store_true",
                        help=f"train {_FOLDS} times on parts of the training images and test on "
                             f"the rest of them; write nothing")
    options = parser.parse_args(arguments)
    digits = load_digits()
    if options.cross_validate:
        _cross_validate(digits.train_images, digits.train_labels)
        return 0
    begin = time.monotonic()
    network = train(digits.train_images, digits.train_labels)
    network.save(options.output)
    results = accuracy(network, digits.test_images, digits.test_labels)
    print(f"trained {'-'.join(map(str, SIZES))} on {len(digits.train_images)} images in "
          f"{time.monotonic() - begin:.0f} s; on {len(digits.test_images)} held-out images: float "
          f"{results[0]:.2%}, INT8 {results[1]:.2%}; wrote {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
