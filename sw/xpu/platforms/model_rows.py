"""The rows of a DMA command, and the faults that show before a byte is looked at."""

import math
from dataclasses import dataclass

import numpy as np

from xpu_rtl.address_map import CLUSTER_LSB, OFFSET_WIDTH, SPACE_LSB, Space
from xpu_rtl.command.formats import DMA_LOOPS, DmaAxis, DmaMode, FaultCause, Opcode

from .model_check import Fault

__all__ = ["DmaCommand", "Rows"]

_ADDRESS = (1 << CLUSTER_LSB) - 1
_OFFSET = (1 << OFFSET_WIDTH) - 1
_LISTED = (DmaMode.GATHER, DmaMode.SCATTER)


@dataclass
class Rows:
    """Some consecutive rows of a command (TRANSPOSE: matrices), in the order of execution.

    Attributes
    ----------
    source, destination : int64 arrays
        Addresses of byte 0.
    left, copied : int64 arrays
        Bytes filled before the copied ones, bytes copied; the rest is filled.
    """

    source: np.ndarray
    destination: np.ndarray
    left: np.ndarray
    copied: np.ndarray

    def __len__(self):
        return len(self.source)


class DmaCommand:
    """What a DMA command means; the short formats mean a DMA_ND with one loop.

    Parameters
    ----------
    command : Command
        As decoded.

    Attributes
    ----------
    engine : Engine
        Where it runs.
    load : bool
        It writes SM, else GM.
    mode : int
        DmaMode, if it is legal.
    bytes : int
        Of a row.
    loops : list of (count, source stride, destination stride)
        Loop 1 first.
    rows : int
        Rows; matrices of a TRANSPOSE.
    """

    def __init__(self, command):
        self._get = get = command.fields.get
        self.command, self.engine, self.format = command, command.engine, command.format
        self.nd = command.opcode in (Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND)
        self.load = command.opcode in (Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND)
        self.mode = get("mode", 0)
        self.bytes = get("row_bytes", 0)
        self.source, self.destination = command["source"], command["destination"]
        self.loops = [(get("rows", 0), get("source_pitch", 0), get("destination_pitch", 0))]
        if self.nd:
            self.loops += [(get(f"count{n}", 0), get(f"source_stride{n}", 0),
                            get(f"destination_stride{n}", 0)) for n in range(2, DMA_LOOPS + 1)]
        self.transpose = self.mode == DmaMode.TRANSPOSE
        self.rows = math.prod(count for count, *_ in self.loops[self.transpose:])
        self.progress = get("progress_semaphore", 0)

    @property
    def element(self):
        """Bytes of an element of a TRANSPOSE."""
        return 1 << self._get("element_log2", 0)

    def filled_row(self):
        """The bytes of a row that is filled whole."""
        words = np.full(-(-self.bytes // 4), self._get("fill", 0), "<u4")
        return words.view(np.uint8)[:self.bytes]

    # Checks of the fields ------------------------------------------------------------------------
    def check(self, config, windows):
        """Raise the ``Fault`` of row 0 that the fields alone show."""
        for name, wrong in self._wrong_fields():
            if wrong:
                self._refuse(FaultCause.BAD_FIELD, info=self.format.lsb[name])
        if self.progress >= config.semaphores:
            self._refuse(FaultCause.BAD_SEMAPHORE, info=self.format.lsb["progress_semaphore"])
        fault = windows.semaphore_fault(self.progress, signal=self.load)
        if fault is not None:
            self._refuse(*fault)
        names = (("source", self.mode != DmaMode.FILL), ("destination", True),
                 ("index", self.mode in _LISTED))
        for name, used in names:
            if used and self.command[name] >> CLUSTER_LSB:
                self._refuse(FaultCause.BAD_ADDRESS, self.command[name])
        if self.mode in _LISTED and self.command["index"] % 4:
            self._refuse(FaultCause.BAD_FIELD, info=self.format.lsb["index_low"])

    def _refuse(self, cause, address=0, info=0, row=0):
        raise Fault(cause, self.engine, address, info, row)

    def _wrong_fields(self):
        get = self._get
        yield "row_bytes", not 1 <= self.bytes < 1 << 24
        yield "rows", get("rows", 0) == 0
        yield "reserved1", get("reserved1", 0)
        if not self.nd:
            return
        element_log2 = get("element_log2", 0)
        yield "mode", self.mode > DmaMode.SCATTER
        yield "element_log2", (element_log2 == 3 or (element_log2 and not self.transpose)
                               or self.bytes % self.element)
        yield "reserved2", get("reserved2", 0)
        yield "reserved3", get("reserved3", 0)
        for n in range(2, DMA_LOOPS + 1):
            yield f"count{n}", get(f"count{n}", 0) == 0
        yield "reserved4", get("reserved4", 0)
        yield "x_limit", self.mode == DmaMode.CLIP and get("x_limit", 0) >> 31

    # Index lists ---------------------------------------------------------------------------------
    def read_list(self, memories, checker):
        """Return ``(entries, fault)``: the entries before the first that cannot be used, and why.

        ``fault`` is a ``Fault`` of the row that would have used it, or ``None``.
        """
        address, count = self.command["index"], self.loops[0][0]
        space, offset = address >> SPACE_LSB, address & _OFFSET
        good, fault = count, None
        if space == Space.GM:
            good, fault = self._list_in_gm(offset, count, checker)
        else:
            fault = checker.fault(address, 4 * count, write=False)
        if fault is not None:
            good = good if space == Space.GM else 0
            fault = Fault(fault[0], self.engine, *fault[1:], row=good)
        entries = np.zeros(0, np.int64)
        if good:
            data = memories[space][offset:offset + 4 * good]
            entries = data.view("<u4").astype(np.int64)
        wrong = np.flatnonzero(entries >= self._get("index_limit", 0))
        if len(wrong):
            row = int(wrong[0])
            fault = Fault(FaultCause.BAD_INDEX, self.engine, address + 4 * row & _ADDRESS,
                          int(entries[row]), row)
            entries = entries[:row]
        return entries, fault

    def _list_in_gm(self, offset, count, checker):
        """Return how many entries of a list in GM arrive, and the fault of the next."""
        fault = checker.fault(offset, 4 * count, write=False)
        if fault is None:
            return count, None
        cause, address, _ = fault
        if cause is FaultCause.BAD_ADDRESS:
            return 0, fault
        return max(0, address - offset) // 4, fault

    # Rows ----------------------------------------------------------------------------------------
    def expand(self, begin, end, entries=None):
        """Return rows ``begin`` to ``end`` as ``Rows``; ``entries`` of its index list."""
        number = np.arange(begin, end)
        source = np.full(end - begin, self.source & _ADDRESS)
        destination = np.full(end - begin, self.destination & _ADDRESS)
        clip = self.mode == DmaMode.CLIP
        position = dict.fromkeys((DmaAxis.X, DmaAxis.U, DmaAxis.V), 0)
        for loop, (count, source_stride, destination_stride) in enumerate(self.loops, 1):
            if count == 1 and not (loop == 1 and entries is not None):
                continue
            if self.transpose and loop == 1:
                continue
            number, index = np.divmod(number, count) if count < end else (0, number)
            picked = index if entries is None or loop > 1 else entries[index]
            source += source_stride * (picked if self.mode == DmaMode.GATHER else index)
            destination += destination_stride * (picked if self.mode == DmaMode.SCATTER else index)
            axis = self._get(f"axis{loop}", 0)
            if clip and axis:
                position[axis] = position[axis] + self._get(f"step{loop}", 0) * index
        source &= _ADDRESS
        destination &= _ADDRESS
        left, copied = self._clip(len(source), position) if clip else self._whole(len(source))
        return Rows(source, destination, left, copied)

    def _whole(self, count):
        zeros, whole = np.zeros(count, np.int64), np.full(count, self.bytes)
        return (whole, zeros) if self.mode == DmaMode.FILL else (zeros, whole)

    def _clip(self, count, position):
        get = self._get
        x, u, v = (np.broadcast_to(_int32(position[axis] + get(f"{axis.name.lower()}_start", 0)),
                                   (count,)) for axis in (DmaAxis.X, DmaAxis.U, DmaAxis.V))
        left = np.clip(-x, 0, self.bytes)
        copied = np.clip(get("x_limit", 0) - x, 0, self.bytes) - left
        outside = ((u < 0) | (u >= get("u_limit", 0)) | (v < 0) | (v >= get("v_limit", 0))
                   | (copied <= 0))
        return np.where(outside, self.bytes, left), np.where(outside, 0, copied)


def _int32(value):
    """Wrap to 32-bit two's complement."""
    return (value + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)
