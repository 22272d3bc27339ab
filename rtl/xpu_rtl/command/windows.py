"""What of the memories and semaphores a ring may use."""

from amaranth import unsigned
from amaranth.lib import data

from ..address_map import PAGE_BYTES
from ..params import XpuConfig

__all__ = ["LINE_BYTES", "PAGE_BYTES", "RingWindows", "gm_allowed", "ring_windows",
           "semaphore_allowed", "sm_allowed"]

LINE_BYTES = 64      #: unit of SM windows


class RingWindows(data.StructLayout):
    """The windows of a ring, as its registers hold them. ``first`` and ``last`` are inclusive.

    Fields: ``gm0_first``, ``gm0_last``, ``gm1_first``, ``gm1_last`` (pages of GM), ``sm_first``,
    ``sm_last`` (lines of SM), ``semaphore_first``, ``semaphore_last`` (numbers); ``gm0_read``,
    ``gm0_write``, ``gm1_read``, ``gm1_write``, ``sm_read``, ``sm_write``, ``wait``, ``signal``
    (permissions).
    """

    def __init__(self):
        super().__init__({
            **{f"gm{n}_{end}": unsigned(32) for n in (0, 1) for end in ("first", "last")},
            "sm_first": unsigned(18), "sm_last": unsigned(18),
            "semaphore_first": unsigned(8), "semaphore_last": unsigned(8),
            **{name: unsigned(1) for name in (
                "gm0_read", "gm0_write", "gm1_read", "gm1_write", "sm_read", "sm_write",
                "wait", "signal")},
        })


def ring_windows(config: XpuConfig):
    """Shape of the windows of all rings, by ring number."""
    return data.ArrayLayout(RingWindows(), config.rings)


def gm_allowed(windows, page, *, write):
    """Whether a ring may access a page of GM (one-bit expression; give it a name).

    ``page`` is the byte offset in GM divided by ``PAGE_BYTES``.
    """
    kind = "write" if write else "read"
    inside = [windows[f"gm{n}_{kind}"] & (page >= windows[f"gm{n}_first"])
              & (page <= windows[f"gm{n}_last"]) for n in (0, 1)]
    return inside[0] | inside[1]


def sm_allowed(windows, first_line, last_line, *, write):
    """Whether a ring may access a run of SM, given the lines of its first and last byte."""
    return (windows["sm_write" if write else "sm_read"] & (first_line >= windows.sm_first)
            & (last_line <= windows.sm_last))


def semaphore_allowed(windows, number, *, signal):
    """Whether a ring may wait for or signal a semaphore; number 0, which is none, always."""
    return (number == 0) | (windows["signal" if signal else "wait"]
                            & (number >= windows.semaphore_first)
                            & (number <= windows.semaphore_last))
