"""What of the memories and semaphores a ring of the functional model may use."""

from dataclasses import dataclass

from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.csr.maps import CLUSTER

__all__ = ["LINE_BYTES", "PAGE_BYTES", "WRITE", "Windows"]

PAGE_BYTES = 4096    #: unit of GM windows
LINE_BYTES = 64      #: unit of SM windows
WRITE = 16           #: added to the Space in a report on a write, or on a signal


@dataclass(frozen=True)
class Windows:
    """Windows of a ring; both ends inclusive.

    Attributes
    ----------
    gm : tuple of (first page, last page, may read, may write)
        Windows onto GM.
    sm : (first line, last line, may read, may write)
        Window onto SM.
    semaphores : (first, last, may wait, may signal)
        Window onto the semaphores.
    """

    gm: tuple
    sm: tuple
    semaphores: tuple

    @classmethod
    def from_registers(cls, read):
        """Make them of the ring's registers; ``read(name)`` returns one of them."""
        numbers = CLUSTER["window_semaphores"].unpack(read("window_semaphores"))
        may = CLUSTER["window_permissions"].unpack(read("window_permissions"))
        gm = tuple((read(f"window_gm{n}_first"), read(f"window_gm{n}_last"),
                    may[f"gm{n}_read"], may[f"gm{n}_write"]) for n in (0, 1))
        return cls(gm, (read("window_sm_first"), read("window_sm_last"), may["sm_read"],
                        may["sm_write"]),
                   (numbers["first"], numbers["last"], may["wait"], may["signal"]))

    def gm_allowed(self, page, write):
        """Whether the ring may access a page of GM."""
        return any(window[3 if write else 2] and window[0] <= page <= window[1]
                   for window in self.gm)

    def sm_allowed(self, address, size, write):
        """Whether the ring may access ``size`` bytes of SM from byte ``address`` on."""
        first, last, *may = self.sm
        return bool(may[write] and first <= address // LINE_BYTES
                    and (address + size - 1) // LINE_BYTES <= last)

    @property
    def sm_end(self):
        """First byte of SM behind the window."""
        return (self.sm[1] + 1) * LINE_BYTES

    def semaphore_fault(self, number, signal):
        """Return ``(cause, address, info)`` if the ring may not wait for or signal a semaphore."""
        first, last, *may = self.semaphores
        if number == 0 or (may[signal] and first <= number <= last):
            return None
        return FaultCause.PROTECTION, number, Space.SEMAPHORE + WRITE * signal
