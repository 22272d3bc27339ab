"""Protection windows for tests."""

from xpu_rtl.csr.maps import CLUSTER

__all__ = ["CLOSED", "OPEN", "protect"]

_PERMISSIONS = ("gm0_read", "gm0_write", "gm1_read", "gm1_write", "sm_read", "sm_write", "wait",
                "signal")

#: Windows that allow everything, and windows that allow nothing, as ``RingWindows`` fields.
OPEN = {"gm0_first": 0, "gm0_last": (1 << 32) - 1, "gm1_first": 0, "gm1_last": 0, "sm_first": 0,
        "sm_last": (1 << 18) - 1, "semaphore_first": 0, "semaphore_last": 255,
        **dict.fromkeys(_PERMISSIONS, 1), "gm1_read": 0, "gm1_write": 0}
CLOSED = OPEN | dict.fromkeys(_PERMISSIONS, 0)


def protect(**fields):
    """Yield ``(register, value)`` that set the windows to ``OPEN`` but for some fields."""
    values = OPEN | fields
    for name in ("gm0_first", "gm0_last", "gm1_first", "gm1_last", "sm_first", "sm_last"):
        yield f"window_{name}", values[name]
    yield "window_semaphores", CLUSTER["window_semaphores"].pack(
        first=values["semaphore_first"], last=values["semaphore_last"])
    yield "window_permissions", CLUSTER["window_permissions"].pack(
        **{name: values[name] for name in _PERMISSIONS})
