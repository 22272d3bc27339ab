"""Operators of the SIMD cores with operands and float64 references, for measurements and tests."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import ops

__all__ = ["CASES", "Case", "relative_error"]

_ERF = np.vectorize(math.erf, otypes=[np.float64])


def _normal(rng, shape):
    return rng.normal(0, 3, shape)


def _positive(rng, shape):
    return np.exp(rng.normal(0, 3, shape))


def _gelu(x):
    return x * (1 + _ERF(x / math.sqrt(2))) / 2


def _softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _layer_norm(x, weight, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def _rms_norm(x, weight):
    return x / np.sqrt((x ** 2).mean(-1, keepdims=True) + 1e-5) * weight


@dataclass(frozen=True)
class Case:
    """An operator.

    Attributes
    ----------
    run : callable
        Of tensors.
    reference : callable
        Of float64 arrays.
    operands : tuple of callable
        ``operand(rng, shape)``: the first has the shape asked for, others too, or with ``rows`` the
        last dimension.
    rows : bool
        It works on rows.
    error : float
        Bound of ``relative_error`` for float32.
    """

    run: Callable
    reference: Callable
    operands: tuple = (_normal,)
    rows: bool = False
    error: float = 2.0 ** -22


def _row_case(run, reference, parameters=0, error=2.0 ** -20):
    return Case(run, reference, (_normal,) * (1 + parameters), True, error)


_TWO = (_normal, _normal)
CASES = {
    "exp": Case(ops.exp, np.exp), "log": Case(ops.log, np.log, (_positive,)),
    "sqrt": Case(ops.sqrt, np.sqrt, (_positive,), error=2.0 ** -24),
    "rsqrt": Case(ops.rsqrt, lambda x: 1 / np.sqrt(x), (_positive,)),
    "erf": Case(ops.erf, _ERF), "tanh": Case(ops.tanh, np.tanh),
    "sigmoid": Case(ops.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "gelu": Case(ops.gelu, _gelu, error=2.0 ** -15),
    "silu": Case(ops.silu, lambda x: x / (1 + np.exp(-x))),
    "hardswish": Case(ops.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6, error=2.0 ** -20),
    "relu": Case(ops.relu, lambda x: np.maximum(x, 0), error=0),
    "abs": Case(ops.abs, np.abs, error=0), "neg": Case(ops.neg, np.negative, error=0),
    "add": Case(ops.add, np.add, _TWO, error=2.0 ** -24),
    "sub": Case(ops.sub, np.subtract, _TWO, error=2.0 ** -24),
    "mul": Case(ops.mul, np.multiply, _TWO, error=2.0 ** -24),
    "div": Case(ops.div, np.divide, _TWO, error=2.0 ** -24),
    "maximum": Case(ops.maximum, np.maximum, _TWO, error=0),
    "minimum": Case(ops.minimum, np.minimum, _TWO, error=0),
    "pow": Case(ops.pow, np.power, (_positive, lambda rng, shape: rng.normal(0, 2, shape))),
    "softmax": _row_case(ops.softmax, _softmax),
    "log_softmax": _row_case(ops.log_softmax, _log_softmax, error=2.0 ** -16),
    "layer_norm": _row_case(lambda x, w, b: ops.layer_norm(x, None, w, b), _layer_norm, 2,
                            error=2.0 ** -13),
    "rms_norm": _row_case(lambda x, w: ops.rms_norm(x, None, w, 1e-5), _rms_norm, 1),
    "sum": _row_case(lambda x: ops.sum(x, -1), lambda x: x.sum(-1), error=2.0 ** -16),
    "mean": _row_case(lambda x: ops.mean(x, -1), lambda x: x.mean(-1), error=2.0 ** -16),
    "max": _row_case(lambda x: ops.max(x, -1), lambda x: x.max(-1), error=0),
    "min": _row_case(lambda x: ops.min(x, -1), lambda x: x.min(-1), error=0),
    "l2_norm": _row_case(lambda x: ops.l2_norm(x, -1), lambda x: np.sqrt((x ** 2).sum(-1))),
    "argmax": _row_case(lambda x: ops.argmax(x, -1), lambda x: x.argmax(-1), error=0),
}


def relative_error(result, expected):
    """Largest difference, relative to what is expected or, where that is smaller, to 1/1000 of the
    largest that is."""
    floor = np.abs(expected).max(initial=0) / 1000 + np.finfo(np.float32).tiny
    return float((np.abs(result.astype(np.float64) - expected)
                  / np.maximum(np.abs(expected), floor)).max(initial=0))
