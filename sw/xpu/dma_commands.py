"""From loops to DMA commands, and what a DMA command does. ``xpu.dma`` builds on it."""

import math

from xpu_rtl.address_map import CLUSTER_LSB, OFFSET_WIDTH, Space, SystemAddress
from xpu_rtl.command.formats import DMA_LOOPS, DmaAxis, DmaMode, Opcode

from .commands import Command
from .dma_loops import MOST_ROW_BYTES, Loop, dense, fit
from .errors import ArgumentError

__all__ = ["DMA_OPCODES", "check_address", "check_integer", "check_sizes", "check_strides",
           "joined", "nd_commands", "row_indices", "row_pieces", "rows_of", "sm"]

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
def check_integer(name, value, least, most=None):
    """Return an integer argument within its limits, or raise ``ArgumentError``."""
    try:
        value = value.__index__()
    except AttributeError:
        raise ArgumentError(f"{name} must be an integer, not {value!r}") from None
    if value < least or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"in [{least}, {most}]"
        raise ArgumentError(f"{name} must be {limit}, not {value}")
    return value


def check_address(name, value):
    """Return a system address of GM or SM of this cluster, or raise ``ArgumentError``."""
    value = check_integer(name, value, 0)
    if value >> OFFSET_WIDTH not in (Space.GM, Space.SM):
        raise ArgumentError(f"{name} must be an address in GM or SM of this cluster, "
                            f"not {value:#x}")
    return value


def check_sizes(name, value):
    """Return positive integers as a tuple, or raise ``ArgumentError``."""
    return tuple(check_integer(f"{name}[{n}]", size, 1) for n, size in enumerate(value))


def check_strides(name, value, outer, row_bytes):
    """Strides of the outer dimensions; dense ones by default."""
    if value is None:
        return dense(outer, row_bytes)
    strides = tuple(check_integer(f"{name}[{n}]", stride, -(1 << 48))
                    for n, stride in enumerate(value))
    if len(strides) != len(outer):
        raise ArgumentError(f"{name} must have one entry for each of the {len(outer)} dimensions "
                            f"but the last, not {len(strides)}")
    return strides


# Making commands ----------------------------------------------------------------------------------
def nd_commands(mode, source, destination, row_bytes, loops, *, position=(0, 0, 0, 0), fixed=None,
                fields=None, **body):
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
    fields : dict, optional
        Fields the caller of a builder gave: waits for the first command, signals for the last, the
        others for each.
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
    return _decorate(commands, fields or {})


def _decorate(commands, fields):
    """Add fields to a list of commands: waits to the first, signals to the last."""
    if len(commands) > 1:
        name = next((name for name in _PROGRESS if fields.get(name)), None)
        if name is not None:
            raise ArgumentError(f"{name} needs a transfer that is one command, but this one is "
                                f"cut into {len(commands)}")
    for name, value in fields.items():
        chosen = commands
        if name.startswith("wait"):
            chosen = commands[:1]
        elif name.startswith("signal"):
            chosen = commands[-1:]
        for command in chosen:
            command[name] = value
    return commands


def joined(parts, fields):
    """One list of several, with the fields of a whole."""
    return _decorate([command for part in parts for command in part], fields)


def row_pieces(row_bytes):
    """Cut a row: ``(begin, bytes)`` of pieces a command can move."""
    if row_bytes <= 2 * MOST_ROW_BYTES - 4:
        return [(0, row_bytes)]
    return [(begin, min(MOST_ROW_BYTES, row_bytes - begin))
            for begin in range(0, row_bytes, MOST_ROW_BYTES)]
