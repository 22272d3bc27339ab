"""What becomes of the sums: scale, bias, residual, activation, output type, table."""

import numpy as np

from ..command.formats import Activation, ElementType
from .floating import BFLOAT16, canonical
from .integer import wrap_int32, wrap_int48

__all__ = ["dtype_of", "finish", "raw"]

_DTYPES = {ElementType.INT32: np.int32, ElementType.INT8: np.int8, ElementType.UINT8: np.uint8,
           ElementType.INT16: np.int16, ElementType.INT64: np.int64, ElementType.FP32: np.float32,
           ElementType.FP16: np.float16, ElementType.BF16: BFLOAT16}


def dtype_of(element_type):
    """NumPy type of an ``ElementType``."""
    return np.dtype(_DTYPES[element_type])


def _biased(sums, bias):
    """Sums plus INT32 bias, modulo their width."""
    wrap = {np.dtype(np.int32): wrap_int32, np.dtype(np.int64): wrap_int48}[sums.dtype]
    return wrap(sums.astype(np.int64) + (0 if bias is None else np.asarray(bias, np.int64)))


def raw(sums, bias=None, relu=False):
    """Return integer sums plus INT32 bias, without what the floating-point path does.

    Parameters
    ----------
    sums : int32 or int64 array [..., N]
        Sums of 8-bit operands, or of INT16.
    bias : int32 array [N], optional
        Added modulo 2**32 or 2**48.
    relu : bool
        Replace negative results by 0.
    """
    total = _biased(np.asarray(sums), bias)
    return np.maximum(total, 0) if relu else total


def finish(sums, *, out_type, scale=1.0, bias=None, float_bias=None, residual=None,
           residual_zero_point=0, residual_scale=1.0, activation=Activation.NONE, low=0.0,
           high=0.0, out_zero_point=0, table=None):
    """Return ``(results, largest)``: every step in binary32, rounded to nearest, ties to even.

    Parameters
    ----------
    sums : int32 (8-bit operands), int64 (INT16) or float32 array [..., N]
        Sums.
    out_type : ElementType
        Of the results; none of the raw types.
    scale : float32, scalar or [N]
        The sums' multiplier.
    bias, float_bias : int32 or None, float32 or None, [N]
        Added to integer sums before, to the product after scaling.
    residual : array like the sums, optional
        ``(residual - residual_zero_point) * residual_scale`` is added.
    activation, low, high : Activation, float32, float32
        See ``Activation``. Comparisons take both zeros as equal; a NaN stays.
    out_zero_point : int
        Added to rounded integers, before saturation.
    table : 256 bytes, optional
        Replaces 8-bit results.

    Returns
    -------
    array of ``out_type`` like the sums; float32
        Results, and the largest magnitude before conversion, in which a NaN counts as the largest.
    """
    sums = np.asarray(sums)
    with np.errstate(all="ignore"):
        floating = sums.dtype == np.float32
        value = sums if floating else _biased(sums, bias).astype(np.float32)
        value = canonical(value * np.asarray(scale, np.float32))
        if float_bias is not None:
            value = canonical(value + np.asarray(float_bias, np.float32))
        if residual is not None:
            residual = np.asarray(residual)
            if residual.dtype.kind in "iu":
                residual = residual.astype(np.int32) - np.int32(residual_zero_point)
            value = canonical(value + canonical(
                residual.astype(np.float32) * np.float32(residual_scale)))
        value = _activate(value, activation, np.float32(low), np.float32(high))
        largest = (value.view(np.uint32) & np.uint32(0x7FFF_FFFF)).max().view(np.float32)
        return _convert(value, out_type, out_zero_point, table), largest


def _activate(value, activation, low, high):
    if activation == Activation.RELU:
        return np.where((value > 0) | np.isnan(value), value, np.float32(0))
    if activation == Activation.LEAKY:
        return np.where(value < 0, canonical(value * low), value)
    if activation == Activation.CLIP:
        value = np.where(value < low, low, value)
        return np.where(value > high, high, value)
    return value


def _convert(value, out_type, zero_point, table):
    dtype = dtype_of(out_type)
    if dtype == np.float32:
        return value
    if out_type in (ElementType.FP16, ElementType.BF16):
        nan = np.uint16(0x7E00 if out_type == ElementType.FP16 else 0x7FC0)
        bits = value.astype(dtype).view(np.uint16)
        return np.where(np.isnan(value), nan, bits).view(dtype)
    limits = np.iinfo(dtype)
    rounded = np.rint(np.where(np.isnan(value), np.float32(0), value)).astype(np.float64)
    result = np.clip(rounded + zero_point, limits.min, limits.max).astype(dtype)
    if table is None:
        return result
    return np.asarray(table).view(np.uint8)[result.view(np.uint8)].view(dtype)
