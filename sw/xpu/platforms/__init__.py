"""Where the driver's device lives: in a native simulation, in a testbench, or in NumPy."""

from .base import (
    ActivityRun,
    Platform,
    PlatformError,
    RegisterAccessError,
    TraceEvent,
    engine_names,
)

__all__ = ["ActivityRun", "Platform", "PlatformError", "RegisterAccessError", "TraceEvent",
           "engine_names"]
