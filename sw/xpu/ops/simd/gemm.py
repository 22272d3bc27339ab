"""Products of float32 matrices on the SIMD cores."""

import itertools
import math

import numpy as np

from xpu_rtl.address_map import CORE_SM_LSB

from ... import dma
from ...kernel import launch_command
from .library import kernel_for, line_elements
from .turns import LOADED, RUN, STORED, Turns

__all__ = ["product", "resident_commands"]

_TALL = 6               #: rows of a core's tile, as in gemm.h
_ALIGN = 64
_ARGUMENTS = 64
_TEMPLATE = "gemm"


def _bytes(*sizes):
    return -(-4 * math.prod(sizes) // _ALIGN) * _ALIGN


def _depth(config):
    """Most elements of a row of A in LM."""
    return (line_elements(config, _TALL) - 16) // 16 * 16


def _blocks(config, m, n, k):
    """Rows, columns and depth of the blocks that are in the scratchpad at a time: two of A and B,
    and two of C."""
    rows = min(m, 192)
    cols, depth = min(n, config.vlen // 2), min(k, _depth(config))
    while (2 * (_bytes(rows, depth) + _bytes(depth, cols) + _bytes(rows, cols) + _ARGUMENTS)
           > config.sm_bytes):
        if depth >= max(rows, cols) and depth > 16:
            depth = -(-depth // 2)
        elif rows > 2 * _TALL * config.simd_cores:
            rows = max(rows - _TALL * config.simd_cores, _TALL * config.simd_cores)
        else:
            cols = -(-cols // 2)
    return rows, cols, depth


def loaded_kernel(device):
    """The kernel in the device's memory."""
    config = device.config
    return device._load(kernel_for(config, _TEMPLATE, (("DEPTH", _depth(config)),)))


def _words(addresses, count, depth, cols, first):
    core = 1 << CORE_SM_LSB
    return [*(core + address for address in addresses), count, depth, cols, int(first)]


def product(device, a, b, out, a_address, b_address, out_address, m, n, k):
    """Submit ``out = a @ b`` of dense matrices of float32 at addresses in tensors.

    Blocks of A and B are loaded while the blocks before are multiplied; those of C are stored.
    """
    config = device.config
    loaded = loaded_kernel(device)
    rows, cols, depth = _blocks(config, m, n, k)
    places, place = [], 0
    for _ in range(2):
        slot = []
        for size in (_ARGUMENTS, _bytes(rows, depth), _bytes(depth, cols), _bytes(rows, cols)):
            slot.append(place)
            place += size
        places.append(slot)
    turns = Turns(device.semaphores)
    after, done = turns.after, turns.done
    steps = [(i, j, first) for i, j in itertools.product(range(0, m, rows), range(0, n, cols))
             for first in range(0, k, depth)]
    table = np.zeros((len(steps), _ARGUMENTS // 4), np.uint32)
    block = device.tensor(table)
    commands, results = [], 0
    for step, (i, j, first) in enumerate(steps):
        tall, wide, deep = min(rows, m - i), min(cols, n - j), min(depth, k - first)
        arguments, at_a, at_b, _ = places[step % 2]
        at_c = places[results % 2][3]
        table[step, :7] = _words((at_a, at_b, at_c), tall, deep, wide, first == 0)
        free = after(0, RUN, step - 1)
        commands += dma.copy_nd(block.address + step * _ARGUMENTS, dma.sm(arguments), (_ARGUMENTS,),
                                **done(LOADED), **free)
        commands += dma.copy_nd(a_address + 4 * (i * k + first), dma.sm(at_a), (tall, 4 * deep),
                                [4 * k], [4 * deep], **done(LOADED), **free)
        commands += dma.copy_nd(b_address + 4 * (first * n + j), dma.sm(at_b), (deep, 4 * wide),
                                [4 * n], [4 * wide], **done(LOADED), **free)
        commands.append(launch_command(
            loaded, (1 << CORE_SM_LSB) + arguments, config.simd_cores, **done(RUN),
            **after(0, LOADED, 3 * (step + 1)),
            **after(1, STORED, results - 1 if first == 0 else 0)))
        if first + deep == k:
            commands += dma.copy_nd(dma.sm(at_c), out_address + 4 * (i * n + j), (tall, 4 * wide),
                                    [4 * wide], [4 * n], **done(STORED),
                                    **after(0, RUN, step + 1))
            results += 1
    device.platform.write_memory(block.address, table.reshape(-1).view(np.uint8))
    device.submit(commands, name=f"matmul {m}x{n}x{k} to float32",
                  reads=[a, b, block, loaded.memory], writes=[out])


def resident_commands(device, a, b, out, m, n, k):
    """Commands that load A and B, multiply them in one launch, and store C, each when the one
    before has ended; for measurements of the launch alone. ``None`` if they do not fit."""
    config, turns = device.config, Turns(device.semaphores)
    loaded = loaded_kernel(device)
    at = [_ARGUMENTS]
    for size in (_bytes(m, k), _bytes(k, n), _bytes(m, n)):
        at.append(at[-1] + size)
    if at[-1] > config.sm_bytes or k > _depth(config):
        return None
    block = device.tensor(np.array([_words(at[:3], m, k, n, True) + [0] * 9], np.uint32))
    commands = []
    for source, target, size in ((block.address, 0, _ARGUMENTS), (a.address, at[0], 4 * m * k),
                                 (b.address, at[1], 4 * k * n)):
        commands += dma.copy_nd(source, dma.sm(target), (size,), **turns.done(LOADED))
    commands.append(launch_command(loaded, 1 << CORE_SM_LSB, config.simd_cores, **turns.done(RUN),
                                   **turns.after(0, LOADED, 3)))
    commands += dma.copy_nd(dma.sm(at[2]), out.address, (4 * m * n,), **turns.after(0, RUN, 1))
    return commands, [a, b, block, loaded.memory]
