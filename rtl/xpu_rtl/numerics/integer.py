"""Integer sums, and their requantisation to 8 bits."""

import numpy as np

__all__ = ["gemm_int", "gemm_int16", "relu", "requantize", "wrap_int32", "wrap_int48"]

_OPERANDS = (np.dtype(np.int8), np.dtype(np.uint8))


def wrap_int32(values):
    """Return int64 ``values`` modulo 2**32, as int32."""
    return np.asarray(values, dtype=np.int64).astype(np.uint32).view(np.int32)


def wrap_int48(values):
    """Return int64 ``values`` modulo 2**48, as signed numbers of 48 bits."""
    values = np.asarray(values, dtype=np.int64).view(np.uint64) << np.uint64(16)
    return values.view(np.int64) >> np.int64(16)


def gemm_int16(a, b):
    """Return ``sum over k of a[m, k] * b[k, n]`` modulo 2**48.

    Parameters
    ----------
    a, b : int16 arrays of [..., M, K] and [..., K, N]
        Operands.

    Returns
    -------
    int64 array of [..., M, N]

    Notes
    -----
    Each operand is split into a signed high and an unsigned low byte; the four products are
    exact in float64, as their terms are below 2**16 in magnitude.
    """
    a, b = np.asarray(a), np.asarray(b)
    for name, operand in (("a", a), ("b", b)):
        if operand.dtype != np.int16:
            raise TypeError(f"{name} must be int16, not {operand.dtype}")
    halves = [[(operand >> 8).astype(np.float64), (operand & 255).astype(np.float64)]
              for operand in (a, b)]
    total = 0
    for i, left in enumerate(halves[0]):
        for j, right in enumerate(halves[1]):
            total = total + (np.matmul(left, right).astype(np.int64) << (16 - 8 * i - 8 * j))
    return wrap_int48(total)


def gemm_int(a, b, a_zero_point=0, b_zero_point=0, bias=None):
    """Return ``sum over k of (a[m, k] - a_zero_point) * (b[k, n] - b_zero_point) + bias[n]``.

    Parameters
    ----------
    a, b : int8 or uint8 arrays of [..., M, K] and [..., K, N]
        Operands.
    a_zero_point, b_zero_point : int; ``b_zero_point`` also [N]
        Values that mean zero, of the operands' types.
    bias : None or int32 array, scalar or [N]
        Added to the sums.

    Returns
    -------
    int32 array of [..., M, N]
        The result modulo 2**32.

    Notes
    -----
    The product is computed in float64, which is exact: a term is below 2**18 in magnitude and a
    float64 sum of fewer than 2**35 such terms has no rounding, in whatever order it is made. Going
    through float64 uses BLAS, which NumPy has only for floating point.
    """
    a, b = np.asarray(a), np.asarray(b)
    for name, operand in (("a", a), ("b", b)):
        if operand.dtype not in _OPERANDS:
            raise TypeError(f"{name} must be int8 or uint8, not {operand.dtype}")
    acc = np.matmul(a.astype(np.float64) - _zero_point(a_zero_point, a.dtype, "a_zero_point"),
                    b.astype(np.float64) - _zero_point(b_zero_point, b.dtype, "b_zero_point"))
    acc = acc.astype(np.int64)
    if bias is not None:
        acc += np.asarray(bias).astype(np.int64)
    return wrap_int32(acc)


def relu(acc):
    """Return ``acc`` with negative values replaced by zero."""
    return np.maximum(acc, np.int32(0))


def requantize(acc, scale, zero_point, out_dtype):
    """Return ``saturate(round_half_even(float32(acc) * scale) + zero_point)``.

    Every operation is IEEE-754 binary32, rounded to nearest, ties to even. A product beyond the
    range of float32 becomes infinite and saturates.

    Parameters
    ----------
    acc : int32 array
        Sums.
    scale : float32, scalar or one per column (last axis)
        Finite and positive; subnormal values count.
    zero_point : int
        Of ``out_dtype``.
    out_dtype : int8 or uint8
        Element type of the result.
    """
    out_dtype = np.dtype(out_dtype)
    if out_dtype not in _OPERANDS:
        raise TypeError(f"out_dtype must be int8 or uint8, not {out_dtype}")
    acc = np.asarray(acc)
    if acc.dtype != np.int32:
        raise TypeError(f"acc must be int32, not {acc.dtype}")
    scale = np.asarray(scale, dtype=np.float32)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError("scale must be finite and positive")
    zero = np.float32(_zero_point(zero_point, out_dtype, "zero_point"))
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.rint(acc.astype(np.float32) * scale)
    limits = np.iinfo(out_dtype)
    return np.clip(rounded + zero, np.float32(limits.min), np.float32(limits.max)).astype(out_dtype)


def _zero_point(value, dtype, name):
    """Return ``value`` as float64 after checking that ``dtype`` holds it."""
    value = np.asarray(value)
    limits = np.iinfo(dtype)
    if (value < limits.min).any() or (value > limits.max).any():
        raise ValueError(f"{name} must lie in [{limits.min}, {limits.max}] of {dtype}")
    return value.astype(np.float64)
