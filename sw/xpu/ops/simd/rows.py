"""Operators on rows: softmax and normalisations."""

import math

import numpy as np

from ...errors import ArgumentError, ShapeError
from ..arguments import integer
from ..move import transpose
from .elementwise import add, cast, div, exp, log, mul, rsqrt, sub
from .library import C_TYPES, FLOATS, check_operand, described, line_elements
from .reduce import max_, sum_
from .stream import Flow, TooLarge, stream

__all__ = ["along", "batch_norm", "layer_norm", "log_softmax", "rms_norm", "softmax"]


def along(name, x, axis, operator):
    """Apply an operator on rows, [rows, elements] to the same, to an axis of a tensor."""
    axis = integer(f"{name}: axis", axis, -x.ndim, x.ndim - 1) % max(x.ndim, 1) if x.ndim else None
    if axis is None:
        raise ShapeError(f"{name}: x must have at least one dimension, not shape ()")
    order = [n for n in range(x.ndim) if n != axis] + [axis]
    moved = x if axis == x.ndim - 1 else transpose(x, order)
    result = operator(moved.reshape(-1, x.shape[axis])).reshape(moved.shape)
    return result if axis == x.ndim - 1 else transpose(result, np.argsort(order))


def _rows(name, template, x, defines, fixed=(), numbers=()):
    """Run a template on the rows of a matrix."""
    rows, cols = x.shape
    out = x.device.empty(x.shape, x.dtype)
    size = cols * x.dtype.itemsize
    defines = {"IN": C_TYPES[x.dtype.name], "OUT": C_TYPES[x.dtype.name]} | defines
    stream(described(name, x), template, defines, rows, [Flow(x, size)], [Flow(out, size)],
           fixed=fixed, numbers=(cols, *numbers), granule=x.device.config.simd_cores)
    return out


def softmax(x, axis=-1):
    """Return ``exp(x) / sum(exp(x))`` along an axis, for elements of any size.

    Parameters
    ----------
    x : Tensor
        float32, float16 or bfloat16; computed in float32 and rounded once.
    axis : int
        Which.
    """
    check_operand("softmax: x", x, FLOATS)
    return along("softmax", x, axis, _softmax)


def log_softmax(x, axis=-1):
    """Return the logarithm of ``softmax``, precise also where that is 0."""
    check_operand("log_softmax: x", x, FLOATS)
    return along("log_softmax", x, axis, lambda matrix: _softmax(matrix, LOG=1))


def _softmax(x, **defines):
    name = "log_softmax" if defines else "softmax"
    try:
        return _rows(name, "softmax", x, defines | {"LINE": line_elements(x.device.config, 1)})
    except TooLarge:
        wide = cast(x, "float32")
        shifted = sub(wide, max_(wide, axis=-1, keepdims=True))
        powers = exp(shifted)
        total = sum_(powers, axis=-1, keepdims=True)
        return cast(sub(shifted, log(total)) if defines else div(powers, total), x.dtype)


def _normalized(name, x, shape, **parameters):
    """``(rows, elements)`` and float32 parameters of a normalisation of the last dimensions."""
    check_operand(f"{name}: x", x, FLOATS)
    shape = x.shape[-1:] if shape is None else (
        tuple(shape) if np.iterable(shape) else (shape,))
    if not shape or x.shape[-len(shape):] != shape:
        raise ShapeError(f"{name}: normalized_shape must be the last dimensions of x, of shape "
                         f"{x.shape}, not {shape}")
    given = []
    for letter, value in parameters.items():
        if value is not None:
            check_operand(f"{name}: {letter}", value, FLOATS, x.device)
            if value.shape != shape:
                raise ShapeError(f"{name}: {letter} must have shape {shape}, not {value.shape}")
            given.append(cast(value, "float32"))
        else:
            given.append(None)
    return x.reshape(-1, math.prod(shape)), given


def layer_norm(x, normalized_shape=None, weight=None, bias=None, eps=1e-5):
    """Return ``(x - mean) / sqrt(variance + eps) * weight + bias`` of the last dimensions.

    Parameters
    ----------
    x : Tensor
        float32, float16 or bfloat16; computed in float32 and rounded once.
    normalized_shape : int or sequence of int
        The last dimensions of x, over which mean and variance are taken; default: the last one.
    weight, bias : Tensor, optional
        Of that shape.
    eps : float
        Added to the variance.
    """
    rows, (weight, bias) = _normalized("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    if bias is not None and weight is None:
        weight = x.device.tensor(np.ones(bias.shape, np.float32))
    return _norm("layer_norm", rows, [weight, bias], eps, CENTRED=1).reshape(x.shape)


def rms_norm(x, normalized_shape=None, weight=None, eps=None):
    """Return ``x / sqrt(mean(x^2) + eps) * weight`` of the last dimensions; arguments as of
    ``layer_norm``. ``eps`` is that of x's type if it is None."""
    rows, (weight,) = _normalized("rms_norm", x, normalized_shape, weight=weight)
    if eps is None:
        eps = {"float32": 2.0 ** -23, "float16": 2.0 ** -10, "bfloat16": 2.0 ** -7}[x.dtype.name]
    return _norm("rms_norm", rows, [weight], eps).reshape(x.shape)


def _norm(name, x, parameters, eps, **defines):
    if not (isinstance(eps, float | int | np.floating) and eps >= 0):
        raise ArgumentError(f"{name}: eps must be a number of at least 0, not {eps!r}")
    given = [tensor for tensor in parameters if tensor is not None]
    defines |= {macro: 1 for macro, _ in zip(("WEIGHT", "BIAS"), given, strict=False)}
    defines["LINE"] = line_elements(x.device.config, 1 + len(given))
    return _rows(name, "norm", x, defines, fixed=given,
                 numbers=(float(eps), float(1 / x.shape[1])))


def batch_norm(x, running_mean, running_var, weight=None, bias=None, eps=1e-5, axis=-1):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` with one of each per channel.

    Parameters
    ----------
    x : Tensor
        float32, float16 or bfloat16; computed in float32 and rounded once.
    running_mean, running_var, weight, bias : Tensor
        float32, as many as there are channels; the last two are optional.
    eps : float
        Added to the variance.
    axis : int
        Of the channels.
    """
    check_operand("batch_norm: x", x, FLOATS)
    channels = x.shape[integer("batch_norm: axis", axis, -x.ndim, x.ndim - 1)]
    for name, value in (("running_mean", running_mean), ("running_var", running_var),
                        ("weight", weight), ("bias", bias)):
        if value is not None or name.startswith("running"):
            check_operand(f"batch_norm: {name}", value, ("float32",), x.device)
            if value.shape != (channels,):
                raise ShapeError(f"batch_norm: {name} must have shape ({channels},), not "
                                 f"{value.shape}")
    scale = rsqrt(add(running_var, float(eps)))
    if weight is not None:
        scale = mul(scale, weight)
    shift = mul(mul(running_mean, scale), -1.0)
    if bias is not None:
        shift = add(shift, bias)
    return along("batch_norm", x, axis,
                 lambda rows: _rows("batch_norm", "affine", rows, {}, fixed=(scale, shift)))


