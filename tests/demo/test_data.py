"""The digits and their split."""

import hashlib
import sys

import numpy as np
import pytest

from xpu.demo.data import load_digits


def test_split_is_fixed_and_disjoint():
    digits = load_digits()
    assert digits.train_images.shape == (1297, 64)
    assert digits.test_images.shape == (500, 64)
    assert digits.train_images.dtype == digits.test_images.dtype == np.uint8
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 16)
    assert digits.train_labels.shape == (1297,)
    assert set(digits.test_labels) == set(range(10))
    everything = np.concatenate([digits.train_images, digits.test_images])
    assert len(np.unique(everything, axis=0)) == 1797, "an image is in both parts"
    digest = hashlib.sha256(digits.test_images.tobytes()).hexdigest()
    assert digest == "ef178fd2afd304f522658473ad608cf9c5dea2373880a55a588d4c86c8f20ab3"


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-learn"):
        load_digits()
