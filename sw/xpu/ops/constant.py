"""Operators with a constant: fills, and copies with something around them."""

import math
import numbers

import numpy as np

from .. import dma
from ..errors import ArgumentError, ShapeError
from ..tensor import DTYPES, check_dtype, check_shape
from .arguments import check_tensor, new_tensor

__all__ = ["fill", "full", "im2col", "pad"]


def fill(x, value):
    """Set every element of a tensor to ``value``, in place, and return the tensor.

    Raises
    ------
    ArgumentError
        The value is none of the tensor's type.
    """
    check_tensor("fill: x", x)
    word = word_of("fill: value", value, x.dtype)
    x.device.submit(_constant(x, word), name=f"fill {x!r}", writes=[x])
    return x


def full(device, shape, value, dtype):
    """Return a new tensor of which every element is ``value``. Raises like ``fill``."""
    dtype = check_dtype(dtype, "full: dtype")
    word_of("full: value", value, dtype)
    return fill(device.empty(check_shape(shape, "full: shape"), dtype), value)


def word_of(name, value, dtype):
    """Return the bytes of a value as an integer."""
    value = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if getattr(value, "dtype", None) == DTYPES["bfloat16"]:     # no number to Python
        value = float(value)
    number = numbers.Integral if dtype.kind in "iu" else numbers.Real
    wrong = dtype.kind == "b" and value not in (0, 1)
    if not isinstance(value, number | np.bool_) or wrong:
        raise ArgumentError(f"{name} must be a value of type {dtype.name}, not {value!r}")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max:
            raise ArgumentError(f"{name} must lie in [{limits.min}, {limits.max}] of {dtype.name}, "
                                f"not {value}")
    with np.errstate(over="ignore"):
        data = np.array(value).astype(dtype).tobytes()
    return int.from_bytes(data, "little")


def pattern_of(word, size):
    """Four bytes made of elements of ``size`` bytes, or ``None`` if there is no such pattern."""
    data = word.to_bytes(size, "little") * (4 // size or 1)
    return int.from_bytes(data[:4], "little") if data[:4] * (len(data) // 4) == data else None


def _constant(x, word):
    pattern = pattern_of(word, x.dtype.itemsize)
    if pattern is not None:
        return dma.fill(x.address, pattern, (x.nbytes,))
    halves = ((0, word & 0xFFFF_FFFF), (4, word >> 32))      # of each element of 8 bytes
    return [command for begin, half in halves
            for command in dma.fill(x.address + begin, half, (x.size, 4), (8,))]


def pad(x, widths, value=0):
    """Return a tensor with ``x`` in the middle and ``value`` around it, as ``numpy.pad`` does.

    Parameters
    ----------
    x : Tensor
        What to pad.
    widths : int, (int, int), or one of them for each dimension
        Elements before and after.
    value : number
        Of the type of x.
    """
    check_tensor("pad: x", x)
    widths = _pad_widths(widths, x.ndim)
    size = x.dtype.itemsize
    word = word_of("pad: value", value, x.dtype)
    shape = tuple(n + sum(pair) for n, pair in zip(x.shape, widths, strict=True))

    def commands(out):
        if not x.ndim:
            return dma.copy_nd(x.address, out.address, (size,))
        pattern = pattern_of(word, size)
        sizes, totals = _in_bytes(x.shape, size), _in_bytes(shape, size)
        if pattern is not None:
            pairs = [*widths[:-1], tuple(width * size for width in widths[-1])]
            return dma.pad(x.address, out.address, sizes, pairs, pattern)
        strides = (*_dense(totals), size)
        begin = sum(pair[0] * stride for pair, stride in zip(widths, strides, strict=True))
        return _constant(out, word) + dma.copy_nd(
            x.address, out.address + begin, sizes, destination_strides=strides[:-1])
    return new_tensor("pad", shape, [x], commands)


def _in_bytes(shape, size):
    return (*shape[:-1], shape[-1] * size)


def _dense(shape):
    """Strides of all dimensions but the last, which is in bytes."""
    return tuple(math.prod(shape[n + 1:]) for n in range(len(shape) - 1))


def _pad_widths(widths, ndim):
    try:
        array = np.asarray(widths)
        pairs = np.broadcast_to(array if array.ndim != 1 or len(array) == 2 else array[:, None],
                                (ndim, 2))
    except ValueError:
        pairs = None
    if pairs is None or pairs.dtype.kind not in "iu" or (pairs < 0).any():
        raise ArgumentError(f"pad: widths must be counts: one, a pair (before, after), or one of "
                            f"them for each of the {ndim} dimensions, not {widths!r}")
    return [tuple(pair) for pair in pairs.tolist()]


def im2col(x, kernel, stride=1, padding=0, dilation=1, value=0, columns=None):
    """Return the patches a convolution looks at, ready for ``matmul`` with [KH * KW * C, F].

    Parameters
    ----------
    x : Tensor
        Image [N, H, W, C].
    kernel, stride, dilation : int or (int, int)
        Of the rows and of the columns of the image.
    padding : int, (int, int), or ((int, int), (int, int))
        Rows and columns around the image: as many on each side; of rows and of columns; or
        ((top, bottom), (left, right)).
    value : number
        What the padding holds.
    columns : int, optional
        Elements of a row of the result; what lies behind KH * KW * C of them is ``value``.

    Returns
    -------
    Tensor
        [N, OH, OW, columns], a patch in the order (kh, kw, c).
    """
    check_tensor("im2col: x", x)
    if x.ndim != 4:
        raise ShapeError(f"im2col: x must have 4 dimensions, N, H, W, C, not shape {x.shape}")
    n, h, w, c = x.shape
    size = x.dtype.itemsize
    (kh, kw), stride, dilation = (_two("im2col", name, pair, 1) for name, pair in (
        ("kernel", kernel), ("stride", stride), ("dilation", dilation)))
    padding = _paddings(padding)
    spans = [total + sum(pair) - step * (k - 1) - 1 for total, pair, step, k in
             zip((h, w), padding, dilation, (kh, kw), strict=True)]
    if min(spans) < 0:
        raise ShapeError(f"im2col: kernel {kh}x{kw} with dilation {dilation} is larger than the "
                         f"padded image {h + sum(padding[0])}x{w + sum(padding[1])}")
    oh, ow = (span // step + 1 for span, step in zip(spans, stride, strict=True))
    used = kh * kw * c
    columns = used if columns is None else columns
    if not isinstance(columns, numbers.Integral) or columns < used:
        raise ArgumentError(f"im2col: columns must be at least KH * KW * C = {used}, "
                            f"not {columns!r}")
    word = word_of("im2col: value", value, x.dtype)
    pattern = pattern_of(word, size)
    if pattern is None:
        raise ArgumentError(f"im2col: value must have two equal halves of 32 bits, as 0 has, for "
                            f"{x.dtype.name}, not {value!r}")

    def commands(out):
        pitch, begin = columns * size, used * size
        commands = dma.im2col(x.address, out.address, (n, h, w, c * size), (kh, kw), stride=stride,
                              padding=padding, dilation=dilation, pitch=pitch, pattern=pattern)
        if begin < pitch:
            commands += dma.fill(out.address + begin, pattern, (n * oh * ow, pitch - begin),
                                 (pitch,))
        return commands
    return new_tensor("im2col", (n, oh, ow, int(columns)), [x], commands)


def _two(operator, name, value, least):
    pair = (value, value) if isinstance(value, numbers.Integral) else value
    try:
        pair = tuple(entry.__index__() for entry in pair)
    except (AttributeError, TypeError):
        pair = ()
    if len(pair) != 2 or min(pair) < least:
        raise ArgumentError(f"{operator}: {name} must be one or two integers of at least {least}, "
                            f"not {value!r}")
    return pair


def _paddings(padding):
    pair = (padding, padding) if isinstance(padding, numbers.Integral) else padding
    try:
        first, second = pair
    except (TypeError, ValueError):
        raise ArgumentError(f"im2col: padding must be an integer, a pair, or a pair of pairs, "
                            f"not {padding!r}") from None
    return tuple(_two("im2col", "padding", side, 0) for side in (first, second))
