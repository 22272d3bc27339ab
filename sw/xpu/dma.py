"""Commands of the DMA for what people want: copies of arrays, fills, transpositions, gathers.

Addresses are system addresses of GM or SM (a byte offset in GM is its own address; ``sm(offset)``
makes one of SM). A command writes where ``destination`` says: SM on the load side, GM on the store
side. Every function returns a list, usually of one command; more if a dimension exceeds what a
command can count. Commands of a list may run in order on one stream and need no waits in between.

Further arguments are fields of the commands: ``stream`` and ``tag`` of each, waits of the first,
signals of the last; ``progress_semaphore`` and ``progress_value`` if there is but one.
"""

from xpu_rtl.command.formats import DmaMode

from .dma_clip import im2col, pad
from .dma_commands import (
    check_address,
    check_integer,
    check_sizes,
    check_strides,
    joined,
    nd_commands,
    row_indices,
    row_pieces,
    rows_of,
    sm,
)
from .dma_loops import MOST_COUNT, Loop, merge
from .errors import ArgumentError

__all__ = ["copy_nd", "fill", "gather", "im2col", "pad", "row_indices", "rows_of", "scatter", "sm",
           "transpose"]


def copy_nd(source, destination, shape, source_strides=None, destination_strides=None, **fields):
    """Copy an array.

    Parameters
    ----------
    source, destination : int
        Addresses of the first byte.
    shape : sequence of int
        Sizes, outermost first; the last is in bytes, which are consecutive on both sides.
    source_strides, destination_strides : sequence of int, optional
        Bytes from element to element of every dimension but the last; default: dense.
    """
    source, destination = check_address("source", source), check_address("destination", destination)
    *outer, row_bytes = check_sizes("shape", shape)
    loops = [Loop(*loop) for loop in zip(
        outer, check_strides("source_strides", source_strides, outer, row_bytes),
        check_strides("destination_strides", destination_strides, outer, row_bytes), strict=True)]
    row_bytes, loops = merge(row_bytes, loops[::-1])
    return joined([nd_commands(DmaMode.COPY, source + begin, destination + begin, size, loops)
                    for begin, size in row_pieces(row_bytes)], fields)


def fill(destination, pattern, shape, destination_strides=None, **fields):
    """Fill an array with a pattern of 32 bits, repeated from the start of each row.

    Parameters
    ----------
    destination : int
        Address of the first byte.
    pattern : int
        Four bytes, the first in bits 7:0.
    shape, destination_strides : sequence of int
        As in ``copy_nd``.
    """
    destination = check_address("destination", destination)
    pattern = check_integer("pattern", pattern, 0, 0xFFFF_FFFF)
    *outer, row_bytes = check_sizes("shape", shape)
    strides = check_strides("destination_strides", destination_strides, outer, row_bytes)
    loops = [Loop(count, stride, stride) for count, stride in zip(outer, strides, strict=True)]
    uniform = pattern == (pattern & 0xFF) * 0x0101_0101
    row_bytes, loops = merge(row_bytes, loops[::-1], into_row=uniform or row_bytes % 4 == 0)
    return joined([nd_commands(DmaMode.FILL, 0, destination + begin, size, loops,
                                fill=pattern) for begin, size in row_pieces(row_bytes)], fields)


def transpose(source, destination, rows, columns, element, *, source_pitch=None,
              destination_pitch=None, outer=(), **fields):
    """Transpose matrices of ``rows`` x ``columns`` elements.

    Parameters
    ----------
    source, destination : int
        Addresses of the first byte.
    rows, columns : int
        Sizes of a matrix at the source.
    element : int
        Bytes of an element: 1, 2 or 4.
    source_pitch, destination_pitch : int, optional
        Bytes from row to row on either side (the destination has ``columns`` rows); default: dense.
    outer : sequence of (count, source stride, destination stride)
        Loops from matrix to matrix, outermost first.
    """
    source, destination = check_address("source", source), check_address("destination", destination)
    rows, columns = check_integer("rows", rows, 1), check_integer("columns", columns, 1)
    if element not in (1, 2, 4):
        raise ArgumentError(f"element must be 1, 2 or 4 bytes, not {element!r}")
    if source_pitch is None:
        source_pitch = columns * element
    if destination_pitch is None:
        destination_pitch = rows * element
    pitches = [check_integer(name, value, -(1 << 31), (1 << 31) - 1) for name, value in
               (("source_pitch", source_pitch), ("destination_pitch", destination_pitch))]
    _, loops = merge(0, [Loop(*loop) for loop in outer][::-1], into_row=False)
    parts = []
    for first in range(0, rows, MOST_COUNT):
        fixed = Loop(min(MOST_COUNT, rows - first), *pitches)
        for begin, size in row_pieces(columns * element):
            parts.append(nd_commands(
                DmaMode.TRANSPOSE, source + first * pitches[0] + begin,
                destination + begin // element * pitches[1] + first * element, size, loops,
                fixed=fixed, element_log2=element.bit_length() - 1))
    return joined(parts, fields)


def gather(source, destination, indices, count, row_bytes, limit, *, source_pitch=None,
           destination_pitch=None, outer=(), **fields):
    """Copy ``count`` rows whose source is picked by a list: row i is row ``list[i]`` of the source.

    Parameters
    ----------
    source, destination, indices : int
        Addresses of row 0 of either side, and of the list: 32-bit unsigned entries.
    count : int
        Entries of the list.
    row_bytes : int
        Bytes of a row.
    limit : int
        Rows of the source; an entry that is not below it is refused (BAD_INDEX).
    source_pitch, destination_pitch : int, optional
        Bytes from row to row; default: dense.
    outer : sequence of (count, source stride, destination stride)
        Loops around it, outermost first; each reads the list anew.
    """
    return _listed(DmaMode.GATHER, source, destination, indices, count, row_bytes, limit,
                   source_pitch, destination_pitch, outer, fields)


def scatter(source, destination, indices, count, row_bytes, limit, *, source_pitch=None,
            destination_pitch=None, outer=(), **fields):
    """Copy ``count`` rows whose destination is picked by a list; arguments as for ``gather``.

    ``limit`` is the number of rows at the destination.
    """
    return _listed(DmaMode.SCATTER, source, destination, indices, count, row_bytes, limit,
                   source_pitch, destination_pitch, outer, fields)


def _listed(mode, source, destination, indices, count, row_bytes, limit, source_pitch,
            destination_pitch, outer, fields):
    source, destination = check_address("source", source), check_address("destination", destination)
    indices = check_address("indices", indices)
    if indices % 4:
        raise ArgumentError(f"indices must be a multiple of 4, not {indices:#x}")
    count, row_bytes = check_integer("count", count, 1), check_integer("row_bytes", row_bytes, 1)
    limit = check_integer("limit", limit, 1, 0xFFFF_FFFF)
    pitches = [check_integer(name, row_bytes if value is None else value, -(1 << 31), (1 << 31) - 1)
               for name, value in (("source_pitch", source_pitch),
                                   ("destination_pitch", destination_pitch))]
    _, loops = merge(0, [Loop(*loop) for loop in outer][::-1], into_row=False)
    walked = 1 if mode == DmaMode.GATHER else 0      # the side that is not picked
    parts = []
    for first in range(0, count, MOST_COUNT):
        moved = [0, 0]
        moved[walked] = first * pitches[walked]
        for begin, size in row_pieces(row_bytes):
            parts.append(nd_commands(
                mode, source + moved[0] + begin, destination + moved[1] + begin, size, loops,
                fixed=Loop(min(MOST_COUNT, count - first), *pitches),
                index=indices + 4 * first, index_limit=limit))
    return joined(parts, fields)
