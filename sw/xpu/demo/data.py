"""The 1,797 handwritten digits that come with scikit-learn, and their fixed split."""

from dataclasses import dataclass

import numpy as np

__all__ = ["HELD_OUT", "PIXEL_SCALE", "SIDE", "Digits", "load_digits"]

SIDE = 8                              #: an image has SIDE x SIDE pixels
PIXEL_SCALE = np.float32(1 / 16)      #: a pixel is an integer from 0 to 16 and means value / 16
HELD_OUT = 500                        #: images no training step ever sees

_SPLIT_SEED = 1797


@dataclass(frozen=True)
class Digits:
    """Images as ``uint8`` [count, 64] with values 0 to 16, labels as integers from 0 to 9."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_digits():
    """Return the digits, split the same way everywhere and always.

    The order comes from the raw output of a bit generator, which NumPy promises never to change;
    the shuffling methods above it carry no such promise.

    Raises
    ------
    ModuleNotFoundError
        scikit-learn is missing.
    """
    try:
        from sklearn import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the demo needs scikit-learn, which its images come with: "
                                  "pip install scikit-learn") from error
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.argsort(np.random.PCG64(_SPLIT_SEED).random_raw(len(images)), kind="stable")
    images, labels = images[order].astype(np.uint8), labels[order]
    split = len(images) - HELD_OUT
    return Digits(images[:split], labels[:split], images[split:], labels[split:])
