"""Padding and im2col: copies of which some bytes lie outside the source."""

from dataclasses import dataclass, replace

from xpu_rtl.command.formats import DmaAxis, DmaMode

from .dma_commands import (
    check_address,
    check_integer,
    check_sizes,
    check_strides,
    joined,
    nd_commands,
    row_pieces,
)
from .dma_loops import MOST_COUNT, Loop, merge
from .errors import ArgumentError

__all__ = ["im2col", "pad"]

_MOST_BEFORE, _MOST_STEP = 1 << 15, (1 << 15) - 1


@dataclass(frozen=True)
class _Dimension:
    """A dimension to pad: size at the source, elements before and after, strides in bytes."""

    size: int
    before: int
    after: int
    source: int
    destination: int

    @property
    def total(self):
        return self.before + self.size + self.after

    @property
    def padded(self):
        return self.before + self.after > 0

    @property
    def countable(self):
        """Whether a coordinate of a command can count it."""
        return self.total <= MOST_COUNT and self.before <= _MOST_BEFORE


def pad(source, destination, shape, widths, pattern=0, source_strides=None,
        destination_strides=None, **fields):
    """Copy an array into the middle of a larger one and fill the rest with a constant.

    Parameters
    ----------
    source, destination : int
        Addresses of the first byte of either array.
    shape : sequence of int
        Sizes of the source, outermost first; the last is in bytes, which are consecutive on both
        sides.
    widths : sequence of (int, int)
        How much to add before and after each dimension, the last in bytes.
    pattern : int
        Four bytes, the first in bits 7:0: a constant of 1, 2 or 4 bytes, repeated. Sizes of the
        last dimension must be multiples of the constant.
    source_strides, destination_strides : sequence of int, optional
        Bytes from element to element of every dimension but the last; default: dense.
    """
    source, destination = check_address("source", source), check_address("destination", destination)
    pattern = check_integer("pattern", pattern, 0, 0xFFFF_FFFF)
    shape, widths = check_sizes("shape", shape), _widths("widths", widths)
    if len(widths) != len(shape):
        raise ArgumentError(f"widths must have one pair for each of the {len(shape)} dimensions, "
                            f"not {len(widths)}")
    totals = [size + sum(pair) for size, pair in zip(shape, widths, strict=True)]
    strides = [check_strides("source_strides", source_strides, shape[:-1], shape[-1]),
               check_strides("destination_strides", destination_strides, totals[:-1], totals[-1])]
    dimensions = [_Dimension(size, *pair, *ends) for size, pair, *ends in zip(
        shape, widths, (*strides[0], 1), (*strides[1], 1), strict=True)]
    return joined(_pad(_merge(dimensions[::-1]), source, destination, pattern), fields)


def _widths(name, pairs):
    try:
        pairs = [tuple(pair) for pair in pairs]
    except TypeError:
        pairs = [()]
    if any(len(pair) != 2 for pair in pairs):
        raise ArgumentError(f"{name} must be pairs (before, after), one for each dimension")
    return [tuple(check_integer(f"{name}[{n}]", width, 0) for width in pair)
            for n, pair in enumerate(pairs)]


def _merge(dimensions):
    """Fewer dimensions for the same bytes, innermost first."""
    result = dimensions[:1]
    for outer in dimensions[1:]:
        inner = result[-1]
        if outer.size == 1 and not outer.padded:
            continue
        if (not inner.padded and outer.source == inner.size * inner.source
                and outer.destination == inner.size * inner.destination):
            result[-1] = _Dimension(outer.size * inner.size, outer.before * inner.size,
                                    outer.after * inner.size, inner.source, inner.destination)
        else:
            result.append(outer)
    return result


def _pad(dimensions, source, destination, pattern):
    """Return lists of commands; ``dimensions`` innermost first.

    A command clips along the row and two more dimensions. Along any further padded dimension, what
    lies before and after the source is filled by commands of its own.
    """
    row, *outer = dimensions
    clipped = [n for n, d in enumerate(outer) if d.padded and d.countable][:2]
    slab = next((n for n, d in reversed(list(enumerate(outer)))
                 if d.padded and n not in clipped), None)
    if slab is None:
        return _clip(row, outer, clipped, source, destination, pattern)
    one = outer[slab]
    parts = []
    for first, count in ((0, one.before), (one.before + one.size, one.after)):
        if count:
            loops = [Loop(count if n == slab else d.total, 0, d.destination)
                     for n, d in enumerate(outer)]
            _, loops = merge(0, loops, into_row=False)
            parts += [nd_commands(DmaMode.FILL, 0, destination + first * one.destination + begin,
                                  size, loops, fill=pattern)
                      for begin, size in row_pieces(row.total)]
    outer[slab] = replace(one, before=0, after=0)
    return parts + _pad([row, *outer], source, destination + one.before * one.destination, pattern)


def _clip(row, outer, clipped, source, destination, pattern):
    position, limits = [0, -row.before, 0, 0], {"x_limit": row.size}
    axes = dict(zip(clipped, (DmaAxis.U, DmaAxis.V), strict=False))
    loops = []
    source -= row.before
    for n, d in enumerate(outer):
        axis = axes.get(n, DmaAxis.NONE)
        loops.append(Loop(d.total, d.source, d.destination, axis, int(axis != DmaAxis.NONE)))
        position[axis] -= d.before
        source -= d.before * d.source
        if axis != DmaAxis.NONE:
            limits[f"{axis.name.lower()}_limit"] = d.size
    limits = {"u_limit": 1, "v_limit": 1} | limits
    _, loops = merge(0, loops, into_row=False)
    return [nd_commands(DmaMode.CLIP, source + begin, destination + begin, size, loops,
                        position=(0, position[1] + begin, *position[2:]), fill=pattern, **limits)
            for begin, size in row_pieces(row.total)]


def im2col(source, destination, shape, kernel, *, stride=(1, 1), padding=((0, 0), (0, 0)),
           dilation=(1, 1), pitch=None, pattern=0, window=None, **fields):
    """Write the patches a convolution looks at, one row of bytes each.

    Rows are in the order (n, oh, ow); within a row bytes are in the order (kh, kw, c).

    Parameters
    ----------
    source, destination : int
        Addresses of the image (NHWC, dense) and of the first row.
    shape : (int, int, int, int)
        N, H, W and the bytes of all channels of a pixel.
    kernel, stride, dilation : (int, int)
        Of the rows and of the columns of the image.
    padding : ((int, int), (int, int))
        Rows before and after, columns before and after.
    pitch : int, optional
        Bytes from row to row; what lies behind a row's bytes is not written. Default: dense.
    pattern : int
        What the padding holds, as in ``pad``.
    window : ((int, int), (int, int)), optional
        First and count of the rows, and of the columns, of patches to write; default: all.
    """
    source, destination = check_address("source", source), check_address("destination", destination)
    n, h, w, c = _tuple("shape", shape, 4)
    (kh, kw), (sh, sw), (dh, dw) = (_tuple(name, value, 2) for name, value in (
        ("kernel", kernel), ("stride", stride), ("dilation", dilation)))
    (top, bottom), (left, right) = _pair_of_pairs(padding)
    oh = (h + top + bottom - dh * (kh - 1) - 1) // sh + 1
    ow = (w + left + right - dw * (kw - 1) - 1) // sw + 1
    if oh < 1 or ow < 1:
        raise ArgumentError(f"kernel {kh}x{kw} with dilation {dh}x{dw} is larger than the padded "
                            f"image of {h + top + bottom}x{w + left + right}")
    (row0, oh), (column0, ow) = _window(window, oh, ow)
    pitch = kh * kw * c if pitch is None else check_integer("pitch", pitch, kh * kw * c)
    for name, value, most in (("shape[1]", h, MOST_COUNT), ("shape[2]", w, MOST_COUNT),
                              ("padding", max(top, left), _MOST_BEFORE),
                              ("stride", max(sh, sw), _MOST_STEP),
                              ("dilation", max(dh, dw), _MOST_STEP)):
        check_integer(name, value, 0, most)
    in_row = dw == 1 and sw * c <= _MOST_STEP and kw * c < 1 << 23
    across = DmaAxis.X if in_row else DmaAxis.V      # the coordinate along an image row
    unit = c if in_row else 1                        # what it counts, in bytes
    line = w * c
    loops = [Loop(kh, dh * line, kw * c, DmaAxis.U, dh),
             Loop(ow, sw * c, pitch, across, sw * unit),
             Loop(oh, sh * line, ow * pitch, DmaAxis.U, sh),
             Loop(n, h * line, oh * ow * pitch)]
    top, left = top - row0 * sh, left - column0 * sw     # as seen from the first patch
    position = [0, 0, -top, 0]
    position[across] -= left * unit
    limits = {"x_limit": line if in_row else c, "u_limit": h, "v_limit": 1 if in_row else w}
    row_bytes = kw * c if in_row else c
    if not in_row:
        loops.insert(0, Loop(kw, dw * c, c, DmaAxis.V, dw))
    _, loops = merge(0, loops, into_row=False)
    begin = source - top * line - left * c
    return joined([nd_commands(
        DmaMode.CLIP, begin + piece, destination + piece, size, loops, fill=pattern,
        position=(0, position[1] + piece, *position[2:]), **limits)
        for piece, size in row_pieces(row_bytes)], fields)


def _window(window, *sizes):
    """Return the window, or the whole."""
    if window is None:
        return [(0, size) for size in sizes]
    return [(check_integer("window", first, 0, size - 1),
             check_integer("window", count, 1, size - first))
            for (first, count), size in zip(window, sizes, strict=True)]


def _tuple(name, value, length):
    value = check_sizes(name, value)
    if len(value) != length:
        raise ArgumentError(f"{name} must have {length} entries, not {len(value)}")
    return value


def _pair_of_pairs(padding):
    pairs = _widths("padding", padding)
    if len(pairs) != 2:
        raise ArgumentError(f"padding must be two pairs, of rows and of columns, not {len(pairs)}")
    return pairs
