"""What the operators that move data have in common."""

from ..errors import ArgumentError
from ..tensor import Tensor

__all__ = ["check_tensor", "new_tensor"]


def check_tensor(name, value, device=None):
    """Raise ``ArgumentError`` unless ``value`` is a tensor, of ``device`` if that is given."""
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{name} must be a tensor made by Device.tensor, not "
                            f"{type(value).__name__}")
    if device is not None and value.device is not device:
        raise ArgumentError(f"{name} must be on the device of x, {device!r}, not on "
                            f"{value.device!r}")


def new_tensor(name, shape, reads, commands):
    """Queue what ``commands(out)`` returns, for a new tensor, and return it."""
    x = reads[0]
    out = x.device.empty(shape, x.dtype)
    x.device.submit(commands(out), name=f"{name} to {out!r}", reads=reads, writes=[out])
    return out
