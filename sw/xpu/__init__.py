"""Driver of the XPU compute cluster."""

from . import ops
from .device import Device
from .errors import (
    ArgumentError,
    ClosedError,
    CompileError,
    ContractError,
    DeviceFault,
    DTypeError,
    HangError,
    LostError,
    OutOfMemoryError,
    ShapeError,
    XpuError,
)
from .kernel import Kernel
from .opening import open_device as open
from .profile import Profile
from .tensor import Tensor

__all__ = ["ArgumentError", "ClosedError", "CocotbPlatform", "CompileError",
           "ContractError", "DTypeError", "Device", "DeviceFault", "HangError", "Kernel",
           "LostError", "OutOfMemoryError", "Profile", "ShapeError", "Tensor", "XpuError",
           "__version__", "open", "ops"]

__version__ = "0.1.0"


def __getattr__(name):
    # Not imported above: it needs cocotb, which only testbenches do.
    if name == "CocotbPlatform":
        from .platforms.cocotb import CocotbPlatform
        return CocotbPlatform
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
