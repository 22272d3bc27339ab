"""What every platform offers the driver: registers, memory, time and a trace."""

import abc
from typing import NamedTuple

from xpu_rtl.command.formats import Engine

from ..errors import XpuError

__all__ = ["ActivityRun", "Platform", "PlatformError", "RegisterAccessError", "TraceEvent",
           "engine_names"]

_SECOND_STREAMS = (Engine.LOAD1, Engine.STORE1)


def engine_names(config):
    """Return the names of a configuration's engines, in the order of ``Engine``."""
    engines = (Engine.LOAD, Engine.STORE, Engine.TENSOR,
               *((Engine.SIMD,) if config.simd_cores else ()),
               *(_SECOND_STREAMS if config.dma_streams == 2 else ()))
    return tuple(engine.name.lower() for engine in engines)


class PlatformError(XpuError, RuntimeError):
    """The platform itself failed: a model that cannot be built or loaded, a bus that hangs."""


class RegisterAccessError(PlatformError):
    """A register access was answered with an error response.

    Attributes
    ----------
    offset : int
        Byte offset of the register.
    kind : str
        ``"read"`` or ``"write"``.
    response : int
        AXI response code.
    """

    def __init__(self, offset, kind, response):
        name = {2: "SLVERR", 3: "DECERR"}.get(response, str(response))
        super().__init__(f"register {kind} at offset {offset:#x} was answered with {name}")
        self.offset, self.kind, self.response = offset, kind, response


class TraceEvent(NamedTuple):
    """One command on one engine. Cycles count as ``Platform.cycle_count`` does."""

    engine: str    #: one of ``engine_names``
    index: int     #: index of the command in its ring
    begin: int     #: cycle in which the engine began it
    end: int       #: cycle in which it was complete


class ActivityRun(NamedTuple):
    """An engine's activity from cycle ``begin`` until the engine's next run begins."""

    begin: int
    engine: str    #: one of ``engine_names``
    activity: int  #: value of the engine's activity, as in the ``engine_state`` register


class Platform(abc.ABC):
    """A device as the driver sees it: registers, memory, and simulated time that can be run.

    Simulated time passes only in ``run``, ``hard_reset`` and register accesses (a few cycles
    each). A platform is used from one thread at a time; the driver serialises its calls.

    Attributes
    ----------
    name : str
        ``"native"``, ``"model"``, ``"cocotb"``, ...
    config : xpu_rtl.XpuConfig
        Configuration of the hardware behind it.
    timed : bool
        Cycle figures mean something. False for the functional model, whose ``cycle_count`` is 0,
        whose ``run`` returns 0 cycles, and whose trace is empty.
    memory_bytes : int
        Size of global memory, which starts at address 0.
    memory_latency : int
        Cycles from a read address to its data that operators plan for; any other works as well.
    """

    name: str
    config: object
    timed: bool
    memory_bytes: int
    memory_latency: int = 20

    @property
    @abc.abstractmethod
    def cycle_count(self):
        """Clock cycles since the platform was opened. Never goes back, not even on reset."""

    @abc.abstractmethod
    def read_register(self, offset):
        """Return the 32-bit register at byte ``offset``.

        Raises
        ------
        RegisterAccessError
            The device answered with an error response.
        """

    @abc.abstractmethod
    def write_register(self, offset, value):
        """Write the 32-bit register at byte ``offset``. Raises ``RegisterAccessError``."""

    @abc.abstractmethod
    def read_memory(self, address, size):
        """Return ``size`` bytes of global memory as a new ``uint8`` array.

        Raises
        ------
        IndexError
            The range leaves the memory. The same holds for ``write_memory``.
        """

    @abc.abstractmethod
    def write_memory(self, address, data):
        """Copy ``data`` (``bytes`` or any C-contiguous array) to global memory. Takes no time."""

    @abc.abstractmethod
    def run(self, max_cycles):
        """Run until the interrupt line is high, or for ``max_cycles`` cycles.

        Returns
        -------
        cycles_run : int
            Cycles that passed; 0 if the line was high at once.
        irq : bool
            Level of the interrupt line now.
        """

    def take_trace(self):
        """Return the ``TraceEvent`` of every command completed since the last call, in order."""
        return []

    def take_activity(self):
        """Return the ``ActivityRun`` recorded since the last call, oldest first."""
        return []

    @abc.abstractmethod
    def hard_reset(self):
        """Pulse the device's reset input; memory keeps its contents."""

    @abc.abstractmethod
    def close(self):
        """Release everything. May be called twice."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def check_range(self, address, size):
        """Raise ``IndexError`` unless the range lies in global memory; for implementations."""
        if address < 0 or size < 0 or address + size > self.memory_bytes:
            raise IndexError(f"memory range {address:#x} + {size:#x} leaves the "
                             f"{self.memory_bytes:#x} bytes of global memory")
