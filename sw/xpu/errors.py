"""What can go wrong, as exceptions. Every message names the thing, what was expected, what came."""

__all__ = ["ArgumentError", "ClosedError", "CompileError", "ContractError", "DTypeError",
           "DeviceFault", "HangError", "LostError", "OutOfMemoryError", "ShapeError", "XpuError"]


class XpuError(Exception):
    """Base of every error the driver raises."""


class ArgumentError(XpuError, ValueError):
    """An argument has a value the operation does not accept."""


class ShapeError(XpuError, ValueError):
    """An array or tensor has the wrong number or sizes of dimensions."""


class DTypeError(XpuError, TypeError):
    """An array, tensor or argument has the wrong type."""


class ClosedError(XpuError):
    """The device was used after ``close``."""


class OutOfMemoryError(XpuError, MemoryError):
    """Device memory has no gap that is large enough."""


class ContractError(XpuError):
    """The hardware is not the one this driver was written for."""


class LostError(XpuError):
    """The operation that should have written a tensor was lost to a fault, a hang or a reset."""


class CompileError(XpuError):
    """A kernel does not compile or link, or there is no compiler; the message says where."""


class DeviceFault(XpuError):
    """A command failed and stopped its ring.

    Attributes
    ----------
    cause : FaultCause
        Why.
    engine : Engine
        Where.
    index : int
        Number of the command in its ring since the last reset.
    command : Command or None
        The command, if the driver knows it.
    address, info : int
        More about it, as ``FaultCause`` says.
    row : int
        Row of a DMA command, in the order of execution.
    indices : dict of int
        Its loop indices by number of the loop, of the loops with more than one iteration.
    """

    def __init__(self, message, *, cause, engine, index, command, address, info, row=0,
                 indices=None):
        super().__init__(message)
        self.cause, self.engine, self.index = cause, engine, index
        self.command, self.address, self.info = command, address, info
        self.row, self.indices = row, indices or {}


class HangError(XpuError):
    """Nothing moved for ``timeout_cycles`` while work was outstanding.

    Attributes
    ----------
    engines : dict
        By engine: ``activity``, ``index`` and ``command`` last begun, and, if its next command
        waits, ``semaphore``, ``threshold`` and current ``value``.
    """

    def __init__(self, message, *, engines):
        super().__init__(message)
        self.engines = engines
