"""Pieces of tensors go through the scratchpad while the SIMD cores work on others."""

from dataclasses import dataclass

import numpy as np

from xpu_rtl.address_map import CORE_SM_LSB

from ... import dma
from ...errors import ArgumentError
from ...kernel import launch_command
from ...tensor import Tensor
from .library import kernel_for
from .turns import LOADED, RUN, STORED, Turns

__all__ = ["Flow", "TooLarge", "stream"]

_SLOTS = 2              #: pieces that are in the scratchpad at a time
_ALIGN = 64
_ARGUMENTS = 64         #: bytes of a launch's arguments
_PIECE = 64 * 1024      #: bytes of a piece, all operands together, at which a launch is cheap
_LEAST = 8 * 1024       #: ... and below which its overhead counts more than the overlap


class TooLarge(ArgumentError):
    """A unit does not fit the scratchpad."""


@dataclass(frozen=True)
class Flow:
    """A tensor that goes through the scratchpad unit by unit, ``bytes`` each."""

    tensor: Tensor
    bytes: int


def _ceil(value, size):
    return -(-value // size)


def _round_up(value):
    return _ceil(value, _ALIGN) * _ALIGN


def _units_of_a_piece(device, units, flows, fixed, granule):
    """How many units are taken at a time."""
    each = sum(flow.bytes for flow in flows)
    space = ((device.config.sm_bytes - fixed) // _SLOTS
             - _ARGUMENTS - _ALIGN * len(flows))
    most = space // each
    if most < 1:
        raise TooLarge(f"a row of {each} bytes, with its result, does not fit the scratchpad of "
                       f"{device.config.sm_bytes} bytes twice")
    wanted = min(max(_PIECE // each, 1), max(_ceil(units, 4), _LEAST // each, 1))
    wanted = _ceil(wanted, granule) * granule
    if wanted > most:
        wanted = most // granule * granule or most
    pieces = _ceil(units, wanted)
    return min(wanted, _ceil(_ceil(units, pieces), granule) * granule)


def stream(name, template, defines, units, inputs, outputs, *, fixed=(), numbers=(), granule=1):
    """Run a kernel of the library on all units of the inputs, as one operation.

    Every piece is loaded, worked on by all cores, and stored; the loads and stores of others run
    meanwhile. The kernel's parameters are the addresses of inputs, fixed and outputs, the number of
    units, and the numbers.

    Parameters
    ----------
    name : str
        For messages and profiles.
    template, defines : str, dict
        See ``kernel_for``.
    units : int
        Units of all flows.
    inputs, outputs : sequence of Flow
        Read, and written.
    fixed : sequence of Tensor
        Read as a whole, once.
    numbers : sequence of int and float
        Further arguments.
    granule : int
        Units of a piece are a multiple, if there are so many.

    Raises
    ------
    TooLarge
        A unit does not fit the scratchpad.
    """
    device = inputs[0].tensor.device
    with device._lock:
        loaded = device._load(kernel_for(device.config, template, tuple(sorted(defines.items()))))
        commands, block = _commands(device, loaded, units, inputs, outputs, fixed, numbers, granule)
        device.submit(commands, name=name,
                      reads=[block, loaded.memory, *fixed, *(flow.tensor for flow in inputs)],
                      writes=[flow.tensor for flow in outputs])


def _commands(device, loaded, units, inputs, outputs, fixed, numbers, granule):
    turns = Turns(device.semaphores)
    after, done = turns.after, turns.done
    place, fixed_at = 0, []
    for tensor in fixed:
        fixed_at.append(place)
        place += _round_up(tensor.nbytes)
    flows = [*inputs, *outputs]
    piece = _units_of_a_piece(device, units, flows, place, granule)
    slots = []
    for _ in range(_SLOTS):
        slot = []
        for size in (_ARGUMENTS, *(flow.bytes * piece for flow in flows)):
            slot.append(place)
            place += _round_up(size)
        slots.append(slot)
    pieces = [(first, min(piece, units - first)) for first in range(0, units, piece)]
    tail = [np.float32(value).view(np.uint32) if isinstance(value, float) else value & 0xFFFF_FFFF
            for value in numbers]
    core = 1 << CORE_SM_LSB
    table = np.zeros((len(pieces), _ARGUMENTS // 4), np.uint32)
    for n, (_, count) in enumerate(pieces):
        _, *places = slots[n % _SLOTS]
        words = [core + at for at in (*places[:len(inputs)], *fixed_at, *places[len(inputs):])]
        table[n, :len(words) + 1 + len(tail)] = [*words, count, *tail]
    block = device.tensor(table)
    commands, loads = [], 0
    for tensor, at in zip(fixed, fixed_at, strict=True):
        commands += dma.copy_nd(tensor.address, dma.sm(at), (tensor.nbytes,), **done(LOADED))
        loads += 1
    for n, (first, count) in enumerate(pieces):
        arguments, *places = slots[n % _SLOTS]
        free = after(0, RUN, n + 1 - _SLOTS)
        sources = [(block.address + n * _ARGUMENTS, arguments, _ARGUMENTS)]
        sources += [(flow.tensor.address + first * flow.bytes, at, count * flow.bytes)
                    for flow, at in zip(inputs, places, strict=False)]
        for source, at, size in sources:
            commands += dma.copy_nd(source, dma.sm(at), (size,), **done(LOADED), **free)
        loads += len(sources)
        commands.append(launch_command(
            loaded, core + arguments, device.config.simd_cores, **done(RUN),
            **after(0, LOADED, loads), **after(1, STORED, (n + 1 - _SLOTS) * len(outputs))))
        for flow, at in zip(outputs, places[len(inputs):], strict=True):
            commands += dma.copy_nd(dma.sm(at), flow.tensor.address + first * flow.bytes,
                                    (count * flow.bytes,), **after(0, RUN, n + 1),
                                    **done(STORED))
    return commands, block
