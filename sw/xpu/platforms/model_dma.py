"""DMA commands of the functional model."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpu_rtl.address_map import OFFSET_WIDTH, SPACE_LSB, Space
from xpu_rtl.command.formats import DmaMode

from .model_check import Fault
from .model_rows import DmaCommand
from .model_runs import RunChecker
from .model_strips import move_matrices, strip_runs

__all__ = ["ModelDma"]

_CHUNK_ROWS, _CHUNK_BYTES = 1 << 16, 1 << 24      #: as much is moved at a time
_OFFSET = (1 << OFFSET_WIDTH) - 1


class ModelDma:
    """Executes DMA commands, whole ones.

    Parameters
    ----------
    config : XpuConfig
        Configuration.
    memory, scratchpad : uint8 arrays
        The memories.
    traffic : dict
        ``bytes_read`` and ``bytes_written``, counted up.
    """

    def __init__(self, config, memory, scratchpad, traffic):
        self._config, self._traffic = config, traffic
        self._memories = {Space.GM: memory, Space.SM: scratchpad}

    def execute(self, command, windows, reached):
        """Execute a command.

        Parameters
        ----------
        command : Command
            What to do.
        windows : Windows
            Of its ring.
        reached : callable
            ``reached(threshold)``: how far the progress semaphore is beyond a threshold, negative
            if it is below.

        Returns
        -------
        rows : int
            Rows that have moved.
        fault : Fault or None
            Why not all have.
        blocked : bool
            The command waits for its progress semaphore; nothing has moved.
        """
        dma = DmaCommand(command)
        checker = RunChecker(self._config, len(self._memories[Space.GM]), windows)
        try:
            dma.check(self._config, windows)
        except Fault as fault:
            return 0, fault, False
        entries, fault, rows = None, None, dma.rows
        if dma.mode in (DmaMode.GATHER, DmaMode.SCATTER):
            entries, fault = dma.read_list(self._memories, checker)
            rows = rows if fault is None else fault.row
        if not dma.load and dma.progress:
            released = reached(command["progress_value"]) + 1     # rows that may be looked at
            if released < rows and not self._faulty(dma, checker, entries, max(released, 0)):
                return 0, None, True
        for chunk in self._chunks(dma, entries, rows):
            begin, part = chunk
            good, row_fault = self._check(dma, checker, begin, part)
            self._move(dma, part, good)
            if row_fault is not None:
                return begin + good, row_fault, False
        return rows, fault, False

    def _chunks(self, dma, entries, rows):
        """Yield ``(number of the first row, Rows)``."""
        row_bytes = dma.bytes * (dma.loops[0][0] if dma.transpose else 1)
        size = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // row_bytes))
        for begin in range(0, rows, size):
            yield begin, dma.expand(begin, min(begin + size, rows), entries)

    def _faulty(self, dma, checker, entries, rows):
        """Whether one of the first ``rows`` rows is bad."""
        return any(self._check(dma, checker, *chunk)[1] is not None
                   for chunk in self._chunks(dma, entries, rows))

    # Checks --------------------------------------------------------------------------------------
    def _check(self, dma, checker, begin, rows):
        """Return (rows before the first bad one, its ``Fault`` or ``None``)."""
        writes = Space.SM if dma.load else Space.GM
        if dma.transpose:
            good = self._matrices_good(dma, checker, rows, writes)
        else:
            good = checker.surely_good(rows.destination, dma.bytes, True, writes)
            if dma.mode != DmaMode.FILL:
                good &= ((rows.copied == 0)
                         | checker.surely_good(rows.source + rows.left, rows.copied, False))
        for row in np.flatnonzero(~good).tolist():
            for address, size, write in self._runs(dma, checker, rows, row, writes):
                fault = checker.fault(address, size, write, writes if write else None)
                if fault is not None:
                    return row, Fault(fault[0], dma.engine, *fault[1:],
                                      row=begin + row & 0xFFFF_FFFF)
        return len(rows), None

    def _matrices_good(self, dma, checker, rows, writes):
        """Tell which matrices are good because all of the memory between their corners is."""
        height, source_pitch, destination_pitch = dma.loops[0]
        width = dma.bytes // dma.element
        good = np.ones(len(rows), bool)
        for begin, count, pitch, size, write in (
                (rows.source, height, source_pitch, dma.bytes, False),
                (rows.destination, width, destination_pitch, height * dma.element, True)):
            span = (count - 1) * pitch
            first = begin + min(span, 0)
            good &= first >= 0
            good &= checker.surely_good(np.maximum(first, 0), abs(span) + size, write,
                                        writes if write else None)
        return good

    def _runs(self, dma, checker, rows, row, writes):
        """Return the runs of a row in the order of the checks: (address, size, is a write)."""
        source, destination = int(rows.source[row]), int(rows.destination[row])
        if dma.transpose:
            return strip_runs(self._config, dma, checker, source, destination, writes)
        left, copied = int(rows.left[row]), int(rows.copied[row])
        runs = [(destination, left, True), (source + left, copied, False),
                (destination + left, copied, True),
                (destination + left + copied, dma.bytes - left - copied, True)]
        return [run for run in runs if run[1]]

    # Moves ---------------------------------------------------------------------------------------
    def _move(self, dma, rows, count):
        """Move the first ``count`` rows."""
        if not count:
            return
        memory = self._memories[Space.SM if dma.load else Space.GM]
        sources, destinations = rows.source[:count], rows.destination[:count] & _OFFSET
        moved = dma.bytes * (dma.loops[0][0] if dma.transpose else 1)
        if dma.transpose:
            for space, chosen in _by_space(sources):
                move_matrices(dma, self._memories[space], memory, sources[chosen] & _OFFSET,
                              destinations[chosen])
                self._count("bytes_read", space, moved * len(sources[chosen]))
        else:
            data = self._read(dma, rows, count)
            _lines(memory, dma.bytes)[destinations] = data
        self._count("bytes_written", Space.SM if dma.load else Space.GM, moved * count)

    def _count(self, name, space, amount):
        if space == Space.GM:
            self._traffic[name] += amount

    def _read(self, dma, rows, count):
        """Return ``count`` rows as they will be written, or one if all are the same."""
        if dma.mode == DmaMode.FILL:
            return dma.filled_row()
        left, copied, source = rows.left[:count], rows.copied[:count], rows.source[:count]
        if dma.mode != DmaMode.CLIP:
            return self._gather(source, dma.bytes)
        data = np.empty((count, dma.bytes), np.uint8)
        data[:] = dma.filled_row()
        shapes, which = np.unique(left << 24 | copied, return_inverse=True)
        for number, shape in enumerate(shapes.tolist()):
            begin, size = shape >> 24, shape & (1 << 24) - 1
            if size:
                mine = np.flatnonzero(which == number) if len(shapes) > 1 else slice(None)
                data[mine, begin:begin + size] = self._gather(source[mine] + begin, size)
        return data

    def _gather(self, addresses, size):
        """Return ``size`` bytes from each of many addresses."""
        data = None
        for space, chosen in _by_space(addresses):
            self._count("bytes_read", space, size * len(addresses[chosen]))
            lines = _lines(self._memories[space], size)[addresses[chosen] & _OFFSET]
            if isinstance(chosen, slice):
                return lines
            if data is None:
                data = np.empty((len(addresses), size), np.uint8)
            data[chosen] = lines
        return data


def _by_space(addresses):
    """Yield (Space, which of the addresses lie in it)."""
    spaces = addresses >> SPACE_LSB
    first = int(spaces[0])
    if (spaces == first).all():
        yield Space(first), slice(None)
        return
    for space in np.unique(spaces).tolist():
        yield Space(space), np.flatnonzero(spaces == space)


def _lines(memory, size):
    """View of every run of ``size`` bytes of a memory, by the place of its first byte."""
    return as_strided(memory, (len(memory) - size + 1, size), (1, 1))
