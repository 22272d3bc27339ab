"""Whether runs of consecutive bytes may be accessed, and the fault if they may not."""

import numpy as np

from xpu_rtl.address_map import OFFSET_WIDTH, Space
from xpu_rtl.command.formats import FaultCause

from .model_windows import LINE_BYTES, PAGE_BYTES, WRITE

__all__ = ["DECERR", "RunChecker"]

DECERR = 3      #: how the bus answers outside its memory
_OFFSET = (1 << OFFSET_WIDTH) - 1


class RunChecker:
    """Checks the accesses of one ring.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    memory_bytes : int
        Size of global memory.
    windows : Windows
        Of the ring.
    """

    def __init__(self, config, memory_bytes, windows):
        self._config, self._memory_bytes, self._windows = config, memory_bytes, windows
        self._burst_bytes = config.burst_beats * config.bus_bytes

    def surely_good(self, address, size, write, space=None):
        """Tell for each of many runs whether it is good at a glance; others may still be good.

        Parameters
        ----------
        address, size : int64 arrays or integers
            48-bit addresses and number of bytes, at least 1.
        write : bool
            Kind of access.
        space : Space or None
            The only memory that will do; none: GM or SM.
        """
        offset = address & _OFFSET
        end = offset + size
        number = address >> OFFSET_WIDTH
        good = np.zeros(np.broadcast(address, size).shape, bool)
        if space is not Space.SM:
            inside = end <= min(self._memory_bytes, _OFFSET + 1)
            for first, last, *may in self._windows.gm:
                if may[write]:
                    good |= ((offset >= first * PAGE_BYTES) & (end <= (last + 1) * PAGE_BYTES)
                             & inside & (number == Space.GM))
        if space is not Space.GM:
            first, last, *may = self._windows.sm
            if may[write]:
                good |= ((offset >= first * LINE_BYTES) & (end <= (last + 1) * LINE_BYTES)
                         & (end <= self._config.sm_bytes) & (number == Space.SM))
        return good

    def fault(self, address, size, write, space=None):
        """Return ``(cause, address, info)`` of the first fault of a run, or ``None``."""
        offset, number = address & _OFFSET, address >> OFFSET_WIDTH
        limit = {Space.GM: _OFFSET + 1, Space.SM: self._config.sm_bytes}.get(number, 0)
        if (space is not None and number != space) or offset + size > limit:
            return FaultCause.BAD_ADDRESS, address, 0
        if number == Space.GM:
            return self._bursts_fault(offset, size, write)
        if self._windows.sm_allowed(offset, size, write):
            return None
        return FaultCause.PROTECTION, address, Space.SM + WRITE * write

    def _bursts_fault(self, begin, size, write):
        first, end = begin, begin + size
        while first < end:
            if not self._windows.gm_allowed(first // PAGE_BYTES, write):
                return FaultCause.PROTECTION, first, Space.GM + WRITE * write
            following = (first // self._burst_bytes + 1) * self._burst_bytes
            if min(following, end) > self._memory_bytes:
                beat = first & -self._config.bus_bytes
                if write:
                    return FaultCause.BUS_WRITE, beat, DECERR
                return FaultCause.BUS_READ, max(beat, self._memory_bytes), DECERR
            first = following
        return None
