"""Where the driver's device lives: in a native simulation, in a testbench, or in NumPy."""

from .base import (
    ENGINES,
    ActivityRun,
    Platform,
    PlatformError,
    RegisterAccessError,
    TraceEvent,
)

__all__ = ["ENGINES", "ActivityRun", "Platform", "PlatformError", "RegisterAccessError",
           "TraceEvent"]
