"""Reductions over axes."""

import math

import numpy as np

from ...errors import ArgumentError
from ...tensor import DTYPES
from ..arguments import integer
from ..constant import pad
from ..move import transpose
from .library import C_TYPES, FLOATS, check_operand, described
from .stream import Flow, stream

__all__ = ["argmax", "l2_norm", "max_", "mean", "min_", "sum_"]

_PART = 2048        #: elements of the parts of a long row, at most
_NEUTRAL = {"SUM": 0.0, "SQUARES": 0.0, "MAX": -math.inf, "MIN": math.inf}


def _axes(name, x, axis):
    """The axes to reduce, in order."""
    if axis is None:
        return list(range(x.ndim))
    axes = [integer(f"{name}: axis", one, -x.ndim, x.ndim - 1) % x.ndim
            for one in (axis if np.iterable(axis) else (axis,))]
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{name}: axis must name every axis once, not {axis!r}")
    return sorted(axes)


def _reduce(name, x, axis, keepdims, kind, factor=1.0, out_dtype=None):
    """Reduce the axes of a tensor by a template."""
    check_operand(f"{name}: x", x, FLOATS)
    axes = _axes(name, x, axis)
    kept = [n for n in range(x.ndim) if n not in axes]
    shape = tuple(1 if n in axes else size for n, size in enumerate(x.shape)
                  if keepdims or n not in axes)
    order = kept + axes
    matrix = (x if order == list(range(x.ndim)) else transpose(x, order)).reshape(
        -1, math.prod(x.shape[n] for n in axes))
    if kind != "ARGMAX":
        matrix = _in_parts(name, matrix, kind)
    return _rows(name, matrix, kind, out_dtype or x.dtype, factor).reshape(shape)


def _in_parts(name, x, kind):
    """Reduce parts of rows that are too long for the scratchpad, or too few for the cores."""
    rows, cols = x.shape
    config = x.device.config
    most = min(_PART, config.sm_bytes // 16)
    while ((rows < 2 * config.simd_cores and cols > _PART)
           or cols * x.dtype.itemsize > config.sm_bytes // 4):
        part = next((size for size in range(most, 63, -1) if cols % size == 0), 0)
        if not part:
            more = -cols % (most // 4)
            x = pad(x, ((0, 0), (0, more)), x.dtype.type(_NEUTRAL[kind]))
            cols += more
            continue
        x = _rows(name, x.reshape(-1, part), kind, DTYPES["float32"]).reshape(rows, cols // part)
        rows, cols = x.shape
    return x


def _rows(name, x, kind, out_dtype, factor=1.0):
    rows, cols = x.shape
    out = x.device.empty((rows,), out_dtype)
    stream(described(name, x), "reduce",
           {"IN": C_TYPES[x.dtype.name], "OUT": C_TYPES[out.dtype.name], kind: 1}, rows,
           [Flow(x, cols * x.dtype.itemsize)], [Flow(out, out.dtype.itemsize)],
           numbers=(cols, *(() if kind == "ARGMAX" else (float(factor),))),
           granule=x.device.config.simd_cores)
    return out


def sum_(x, axis=None, keepdims=False):
    """Return the sum over axes.

    Parameters
    ----------
    x : Tensor
        float32, float16 or bfloat16; added in float32, in an order that the shape decides, and
        rounded once to x's type.
    axis : int or sequence of int, optional
        Which; default: all.
    keepdims : bool
        They stay, with size 1.
    """
    return _reduce("sum", x, axis, keepdims, "SUM")


def mean(x, axis=None, keepdims=False):
    """Return the mean over axes; arguments as of ``sum``."""
    check_operand("mean: x", x, FLOATS)
    count = math.prod(x.shape[n] for n in _axes("mean", x, axis))
    return _reduce("mean", x, axis, keepdims, "SUM", 1 / count)


def max_(x, axis=None, keepdims=False):
    """Return the largest element over axes, NaN if one is; arguments as of ``sum``."""
    return _reduce("max", x, axis, keepdims, "MAX")


def min_(x, axis=None, keepdims=False):
    """Return the smallest element over axes, NaN if one is; arguments as of ``sum``."""
    return _reduce("min", x, axis, keepdims, "MIN")


def l2_norm(x, axis=None, keepdims=False):
    """Return the square root of the sum of squares over axes; arguments as of ``sum``."""
    return _reduce("l2_norm", x, axis, keepdims, "SQUARES")


def argmax(x, axis=None, keepdims=False):
    """Return the index of the first largest element (of the first NaN if there is one), as int32.

    ``axis``: one axis, along which a row must fit the scratchpad; default: of all elements, flat.
    """
    if axis is not None and np.iterable(axis):
        raise ArgumentError(f"argmax: axis must be one axis or None, not {axis!r}")
    return _reduce("argmax", x, axis, keepdims, "ARGMAX", out_dtype=DTYPES["int32"])
