"""Commands of the DMA for what people want: copies of arrays, fills, transpositions, gathers.

Addresses are system addresses of GM or SM (a byte offset in GM is its own address; ``sm(offset)``
makes one of SM). A command writes where ``destination`` says: SM on the load side, GM on the store
side. Every function returns a list, usually of one command; more if a dimension exceeds what a
command can count. Commands of a list may run in order on one stream and need no waits in between.

Further arguments are fields of the commands: ``stream`` and ``tag`` of each, waits of the first,
signals of the last; ``progress_semaphore`` and ``progress_value`` if there is but one.
"""

import math

from xpu_rtl.address_map import CLUSTER_LSB, OFFSET_WIDTH, Space, SystemAddress
from xpu_rtl.command.formats import DMA_LOOPS, DmaAxis, DmaMode, Opcode

from .commands import Command
from .dma_loops import MOST_COUNT, MOST_ROW_BYTES, Loop, dense, fit, merge

__all__ = ["DMA_OPCODES", "copy_nd", "fill", "gather", "nd_commands", "row_indices", "rows_of",
           "scatter", "sm", "transpose"]

_ADDRESS = (1 << CLUSTER_LSB) - 1
_ND = (Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND)
DMA_OPCODES = (Opcode.DMA_LOAD, Opcode.DMA_STORE, *_ND)
_PROGRESS = ("progress_semaphore", "progress_value")


def sm(offset):
    """System address of a byte of the scratchpad."""
    return SystemAddress(Space.SM, offset).encode()


# What a command does ------------------------------------------------------------------------------
def _counts(command):
    """Iterations of the loops that number a command's rows, by loop."""
    loops = {1: command["rows"]}
    if command.opcode in _ND:
        loops |= {n: command[f"count{n}"] for n in range(2, DMA_LOOPS + 1)}
        if command["mode"] == DmaMode.TRANSPOSE:
            del loops[1]
    return loops


def rows_of(command):
    """Rows of a DMA command as progress counts them: matrices of a TRANSPOSE."""
    return math.prod(_counts(command).values())


def row_indices(command, row):
    """Return ``{n: i_n}`` of a row of a DMA command, for the loops with more than one iteration."""
    indices = {}
    for n, count in _counts(command).items():
        if count > 1:
            row, indices[n] = divmod(row, count)
    return indices


# Checks of arguments ------------------------------------------------------------------------------
def _integer(name, value, least, most=None):
    try:
        value = value.__index__()
    except AttributeError:
        raise ValueError(f"{name} must be an integer, not {value!r}") from None
    if value < least or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"in [{least}, {most}]"
        raise ValueError(f"{name} must be {limit}, not {value}")
    return value


def _address(name, value):
    value = _integer(name, value, 0)
    if value >> OFFSET_WIDTH not in (Space.GM, Space.SM):
        raise ValueError(f"{name} must be an address in GM or SM of this cluster, not {value:#x}")
    return value


def _shape(name, value):
    return tuple(_integer(f"{name}[{n}]", size, 1) for n, size in enumerate(value))


def _strides(name, value, outer, row_bytes):
    """Strides of the outer dimensions; dense ones by default."""
    if value is None:
        return dense(outer, row_bytes)
    strides = tuple(_integer(f"{name}[{n}]", stride, -(1 << 48)) for n, stride in enumerate(value))
    if len(strides) != len(outer):
        raise ValueError(f"{name} must have one entry for each of the {len(outer)} dimensions but "
                         f"the last, not {len(strides)}")
    return strides


# Making commands ----------------------------------------------------------------------------------
def nd_commands(mode, source, destination, row_bytes, loops, *, position=(0, 0, 0, 0), fixed=None,
                fields, **body):
    """Return commands of one mode for any loops.

    Parameters
    ----------
    mode : DmaMode
        Mode.
    source, destination : int
        Addresses of byte 0 of the first row; ``source`` modulo 2**48.
    row_bytes : int
        Bytes of a row, below 2**24.
    loops : sequence of Loop
        Innermost first.
    position : tuple of int
        CLIP: coordinates of the first row, by DmaAxis.
    fixed : Loop, optional
        Loop 1, where it means more than a loop; it must fit.
    fields : dict
        Fields the caller of a builder gave.
    **body : int
        Further fields of the body.
    """
    opcode = _ND[destination >> OFFSET_WIDTH != Space.SM]
    commands = []
    for offsets, fitting in fit(loops, DMA_LOOPS - (fixed is not None)):
        used = fitting if fixed is None else [fixed, *fitting]
        used += [Loop(1, 0, 0)] * (DMA_LOOPS - len(used))
        values = {"source": source + offsets.source & _ADDRESS, "row_bytes": row_bytes,
                  "destination": destination + offsets.destination & _ADDRESS,
                  "rows": used[0].count, "source_pitch": used[0].source,
                  "destination_pitch": used[0].destination}
        if mode == DmaMode.FILL:
            values |= {"source": 0, "source_pitch": 0}
        if mode == DmaMode.COPY and all(loop.count == 1 for loop in used[1:]):
            commands.append(Command(opcode - 2, **values))
            continue
        for n, loop in enumerate(used[1:], 2):
            values[f"count{n}"] = loop.count
            if mode != DmaMode.FILL:
                values[f"source_stride{n}"] = loop.source
            values[f"destination_stride{n}"] = loop.destination
        if mode == DmaMode.CLIP:
            for n, loop in enumerate(used, 1):
                values |= {f"axis{n}": loop.axis, f"step{n}": loop.step}
            for axis in (DmaAxis.X, DmaAxis.U, DmaAxis.V):
                values[f"{axis.name.lower()}_start"] = position[axis] + offsets.position[axis]
        commands.append(Command(opcode, mode=mode, **values, **body))
    return _decorate(commands, fields)


def _decorate(commands, fields):
    """Add fields to a list of commands: waits to the first, signals to the last."""
    if len(commands) > 1:
        name = next((name for name in _PROGRESS if fields.get(name)), None)
        if name is not None:
            raise ValueError(f"{name} needs a transfer that is one command, but this one is cut "
                             f"into {len(commands)}")
    for name, value in fields.items():
        chosen = commands
        if name.startswith("wait"):
            chosen = commands[:1]
        elif name.startswith("signal"):
            chosen = commands[-1:]
        for command in chosen:
            command[name] = value
    return commands


def _joined(parts, fields):
    """One list of several, with the fields of a whole."""
    return _decorate([command for part in parts for command in part], fields)


def _row_pieces(row_bytes):
    """Cut a row: ``(begin, bytes)`` of pieces a command can move."""
    if row_bytes <= 2 * MOST_ROW_BYTES - 4:
        return [(0, row_bytes)]
    return [(begin, min(MOST_ROW_BYTES, row_bytes - begin))
            for begin in range(0, row_bytes, MOST_ROW_BYTES)]


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
    source, destination = _address("source", source), _address("destination", destination)
    *outer, row_bytes = _shape("shape", shape)
    loops = [Loop(*loop) for loop in zip(
        outer, _strides("source_strides", source_strides, outer, row_bytes),
        _strides("destination_strides", destination_strides, outer, row_bytes), strict=True)]
    row_bytes, loops = merge(row_bytes, loops[::-1])
    return _joined([nd_commands(DmaMode.COPY, source + begin, destination + begin, size, loops,
                                fields={}) for begin, size in _row_pieces(row_bytes)], fields)


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
    destination = _address("destination", destination)
    pattern = _integer("pattern", pattern, 0, 0xFFFF_FFFF)
    *outer, row_bytes = _shape("shape", shape)
    strides = _strides("destination_strides", destination_strides, outer, row_bytes)
    loops = [Loop(count, stride, stride) for count, stride in zip(outer, strides, strict=True)]
    uniform = pattern == (pattern & 0xFF) * 0x0101_0101
    row_bytes, loops = merge(row_bytes, loops[::-1], into_row=uniform or row_bytes % 4 == 0)
    return _joined([nd_commands(DmaMode.FILL, 0, destination + begin, size, loops, fields={},
                                fill=pattern) for begin, size in _row_pieces(row_bytes)], fields)


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
    source, destination = _address("source", source), _address("destination", destination)
    rows, columns = _integer("rows", rows, 1), _integer("columns", columns, 1)
    if element not in (1, 2, 4):
        raise ValueError(f"element must be 1, 2 or 4 bytes, not {element!r}")
    if source_pitch is None:
        source_pitch = columns * element
    if destination_pitch is None:
        destination_pitch = rows * element
    pitches = [_integer(name, value, -(1 << 31), (1 << 31) - 1) for name, value in
               (("source_pitch", source_pitch), ("destination_pitch", destination_pitch))]
    _, loops = merge(0, [Loop(*loop) for loop in outer][::-1], into_row=False)
    parts = []
    for first in range(0, rows, MOST_COUNT):
        fixed = Loop(min(MOST_COUNT, rows - first), *pitches)
        for begin, size in _row_pieces(columns * element):
            parts.append(nd_commands(
                DmaMode.TRANSPOSE, source + first * pitches[0] + begin,
                destination + begin // element * pitches[1] + first * element, size, loops,
                fixed=fixed, element_log2=element.bit_length() - 1, fields={}))
    return _joined(parts, fields)


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
    source, destination = _address("source", source), _address("destination", destination)
    indices = _address("indices", indices)
    if indices % 4:
        raise ValueError(f"indices must be a multiple of 4, not {indices:#x}")
    count, row_bytes = _integer("count", count, 1), _integer("row_bytes", row_bytes, 1)
    limit = _integer("limit", limit, 1, 0xFFFF_FFFF)
    pitches = [_integer(name, row_bytes if value is None else value, -(1 << 31), (1 << 31) - 1)
               for name, value in (("source_pitch", source_pitch),
                                   ("destination_pitch", destination_pitch))]
    _, loops = merge(0, [Loop(*loop) for loop in outer][::-1], into_row=False)
    walked = 1 if mode == DmaMode.GATHER else 0      # the side that is not picked
    parts = []
    for first in range(0, count, MOST_COUNT):
        moved = [0, 0]
        moved[walked] = first * pitches[walked]
        for begin, size in _row_pieces(row_bytes):
            parts.append(nd_commands(
                mode, source + moved[0] + begin, destination + moved[1] + begin, size, loops,
                fixed=Loop(min(MOST_COUNT, count - first), *pitches),
                index=indices + 4 * first, index_limit=limit, fields={}))
    return _joined(parts, fields)
