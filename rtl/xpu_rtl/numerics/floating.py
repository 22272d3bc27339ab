"""FP16 and BF16 dot products, and their accumulation in FP32."""

import ml_dtypes
import numpy as np

__all__ = ["BFLOAT16", "NAN", "canonical", "dot_float", "gemm_float"]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NAN = np.uint32(0x7FC0_0000).view(np.float32)
_FLOAT16 = np.dtype(np.float16)
_FRACTION = 34      #: bits of the window below a product of 22 bits


def canonical(values):
    """Return float32 ``values`` with every NaN replaced by 0x7FC00000."""
    values = np.asarray(values, np.float32)
    return np.where(np.isnan(values), NAN, values)


def _parts(values):
    """``(significand, exponent, infinite, nan)``: finite values are significand * 2**exponent.

    The significand is signed, of 11 bits, int64; its exponent that of the type, int64.
    """
    if values.dtype == _FLOAT16:
        fraction_bits, bias, most = 10, 15, 31
    elif values.dtype == BFLOAT16:
        fraction_bits, bias, most = 7, 127, 255
    else:
        raise TypeError(f"operands must be float16 or bfloat16, not {values.dtype}")
    bits = values.view(np.uint16).astype(np.int64)
    field, fraction = bits >> fraction_bits & most, bits & (1 << fraction_bits) - 1
    special = field == most
    significand = (fraction | np.where(field > 0, 1 << fraction_bits, 0)) << (10 - fraction_bits)
    significand = np.where(bits >> 15, -significand, significand)
    significand[special] = 0
    return (significand, np.maximum(field, 1) - bias - 10, special & (fraction == 0),
            special & (fraction != 0))


def _round(total, exponent):
    """``total * 2**exponent`` (int64 each) rounded once to float32; a zero result is +0."""
    # Round to odd at 40 bits keeps the one rounding to float32 exact; ldexp in float64 is, too,
    # as float64 reaches far beyond the products of BF16.
    magnitude = np.abs(total)
    _, bits = np.frexp(magnitude.astype(np.float64))    # may be one too many, which is no harm
    drop = np.maximum(bits.astype(np.int64) - 40, 0)
    odd = (magnitude >> drop) | ((magnitude & ((np.int64(1) << drop) - 1)) != 0)
    value = np.ldexp(odd.astype(np.float64), (drop + exponent).astype(np.int32))
    with np.errstate(over="ignore", under="ignore"):
        value = np.where(total < 0, -value, value).astype(np.float32)
    return value + np.float32(0)    # -0 + 0 is +0


def dot_float(a, b):
    """Return the dot product over the last axis, as the array computes it.

    Products are exact. Those that are not zero are aligned to the largest exponent among them, in a
    window of 56 bits at whose top a product of that exponent (22 bits) begins; what lies below the
    window is cut off the magnitude. The sum is exact, and rounded once to float32, to nearest, ties
    to even. A zero is +0. A NaN operand, infinity times zero or infinities of both signs give NaN.

    Parameters
    ----------
    a, b : float16 or bfloat16 arrays, broadcast against each other
        Operands, both of the same type; at most 64 along the last axis.

    Returns
    -------
    float32 array
    """
    a, b = np.broadcast_arrays(a, b)
    if a.dtype != b.dtype:
        raise TypeError(f"operands must be of one type, not {a.dtype} and {b.dtype}")
    (ma, ea, ia, na), (mb, eb, ib, nb) = _parts(np.ascontiguousarray(a)), _parts(
        np.ascontiguousarray(b))
    product, exponent = ma * mb, ea + eb
    lowest = np.int64(-(1 << 20))
    largest = np.where(product != 0, exponent, lowest).max(axis=-1)
    shift = np.clip(largest[..., np.newaxis] - exponent, 0, 62)
    aligned = np.sign(product) * (np.abs(product) << _FRACTION >> shift)
    result = _round(aligned.sum(axis=-1),
                    np.where(largest == lowest, 0, largest - _FRACTION))
    if not (ia.any() or ib.any() or na.any() or nb.any()):
        return result
    negative = np.signbit(a.astype(np.float32)) ^ np.signbit(b.astype(np.float32))
    infinite = (ia & ((mb != 0) | ib)) | (ib & ((ma != 0) | ia))
    wrong = na | nb | (ia & (mb == 0) & ~ib & ~nb) | (ib & (ma == 0) & ~ia & ~na)
    plus, minus = (infinite & ~negative).any(axis=-1), (infinite & negative).any(axis=-1)
    result = np.where(plus, np.float32(np.inf), np.where(minus, np.float32(-np.inf), result))
    return np.where(wrong.any(axis=-1) | (plus & minus), NAN, result).astype(np.float32)


def _exact_in_float64(a, b, terms):
    """Whether dot products of ``terms`` terms in float64 are exact, window and all.

    Let every finite operand that is not zero be an odd number times 2**low, and below 2**high.
    Products are multiples of 2**(low_a + low_b) below 2**(high_a + high_b). If these are 50 bits or
    less apart, sums of up to 8 products have no rounding in float64. Nor does the window cut
    anything: the lowest bit of every product lies at most 50 below the top of the largest, the
    window reaches 56 - 1 below.
    """
    spans = []
    for values in (a, b):
        significand, exponent, infinite, nan = _parts(values)
        if infinite.any() or nan.any():
            return False
        some = significand != 0
        if not some.any():
            spans.append((0, 0))
            continue
        significand, exponent = np.abs(significand[some]), exponent[some]
        _, bits = np.frexp(significand.astype(np.float64))
        _, low = np.frexp((significand & -significand).astype(np.float64))
        spans.append(((low - 1 + exponent).min(), (bits + exponent).max()))
    return terms <= 8 and sum(high - low for low, high in spans) <= 50


def gemm_float(a, b, terms, init=None):
    """Return ``a @ b`` as the array computes it: dot products of ``terms`` terms, added in FP32.

    Parameters
    ----------
    a, b : float16 or bfloat16 arrays of [..., M, K] and [..., K, N]
        Operands.
    terms : int
        Terms of a dot product: 8 in ``slice``. The last may have fewer.
    init : float32 array of [..., M, N], optional
        Sums to go on from. Without it the first dot product starts them.

    Returns
    -------
    float32 array of [..., M, N]
        ``fl(... fl(fl(d0 + d1) + d2) ...)``.
    """
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    exact = _exact_in_float64(a, b, terms)
    if exact:
        a, b = a.astype(np.float64), b.astype(np.float64)
    total = init
    for k in range(0, a.shape[-1], terms):
        left, right = a[..., k:k + terms], b[..., k:k + terms, :]
        if exact:
            part = np.matmul(left, right).astype(np.float32) + np.float32(0)
        else:
            part = dot_float(left[..., :, np.newaxis, :],
                             np.swapaxes(right, -1, -2)[..., np.newaxis, :, :])
        with np.errstate(over="ignore", invalid="ignore"):
            total = part if total is None else canonical(np.asarray(total, np.float32) + part)
    return np.asarray(total, np.float32)
