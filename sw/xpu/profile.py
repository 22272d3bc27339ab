"""Cycles, traffic and stalls of a stretch of work, from the device's counters."""

from xpu_rtl.command.formats import Engine
from xpu_rtl.csr.maps import CLUSTER

from .platforms import engine_names
from .tensor import DTYPES

__all__ = ["CAUSES", "Counters", "Profile"]

#: Why an engine does not move or compute data in a cycle.
CAUSES = ("semaphore", "memory", "bank_conflict", "output", "idle")


class Counters:
    """The hardware's performance counters, extended beyond 32 bits.

    Parameters
    ----------
    platform : Platform
        Where to read them. They must be sampled at least every 2**32 cycles.
    """

    def __init__(self, platform):
        self._platform = platform
        self._addresses = {"cycles": (CLUSTER["perf_cycles"].address(), 32)}
        for name in ("bytes_read", "bytes_written"):
            self._addresses[name] = (CLUSTER[f"{name}_low"].address(), 64)
        if platform.timed:
            for engine in engine_names(platform.config):
                number = Engine[engine.upper()]
                for cause in ("busy", *CAUSES):
                    register = CLUSTER[f"perf_{cause}"]
                    self._addresses[engine, cause] = (register.address(number), 32)
        self._raw = {key: self._read(key) for key in self._addresses}
        self.values = dict.fromkeys(self._addresses, 0)

    def _read(self, key):
        offset, width = self._addresses[key]
        if width == 32:
            return self._platform.read_register(offset)
        while True:
            high = self._platform.read_register(offset + 4)
            low = self._platform.read_register(offset)
            if self._platform.read_register(offset + 4) == high:
                return high << 32 | low

    def sample(self):
        """Read all counters and return what each has counted since this object was made."""
        for key, (_, width) in self._addresses.items():
            raw = self._read(key)
            self.values[key] += (raw - self._raw[key]) & ((1 << width) - 1)
            self._raw[key] = raw
        return self.values


def _issues(platform):
    """Rows that vector arithmetic has taken, if the platform counts them."""
    return getattr(platform, "bus_counters", {}).get("vector_issues")


class Profile:
    """Figures of the work submitted within ``with device.profile() as p``.

    They are complete when the block has been left. Figures in cycles are ``None`` on a platform
    without time (``model``).

    Attributes
    ----------
    cycles : int
        From the first doorbell to the last completion, without the time in which the device had
        no work.
    macs : int
        Multiply-accumulates asked for.
    utilization : float
        ``macs`` / (peak macs per cycle * ``cycles``).
    bytes_read, bytes_written : int
        Payload the DMA engines have read from and written to global memory.
    bus_utilization : float
        The larger of the two / (bus bytes * ``cycles``).
    vector_utilization : float or None
        Cycles in which a core's vector arithmetic takes a row / (``cycles`` * cores); ``None`` on
        a platform that does not count them, or without such cores.
    busy : dict
        By engine: cycles in which it moved or computed data.
    stalls : dict
        By engine, then by cause (``semaphore``, ``memory``, ``bank_conflict``, ``output``,
        ``idle``): the other cycles. With ``busy`` they add up to ``cycles``.
    seconds : float
        Time on the wall the platform has run.
    events : list of TraceEvent
        Begin and end cycle of each command on its engine, counted from the block's begin.
    """

    def __init__(self, device):
        self._device = device
        config = device.config
        self._peak = {DTYPES[name]: config.lanes * config.word_bytes // DTYPES[name].itemsize
                      for name in ("int8", "uint8", "int16", "float16", "bfloat16")}
        self._bus_bytes = config.bus_bytes
        self.cycles = self.utilization = self.bus_utilization = self.vector_utilization = None
        self._cores = config.simd_cores if config.vector else 0
        self.macs = self.bytes_read = self.bytes_written = 0
        self.seconds = 0.0
        engines = engine_names(config)
        self.busy = dict.fromkeys(engines)
        self.stalls = {engine: dict.fromkeys(CAUSES) for engine in engines}
        self.events = []
        self._macs = {}

    def __enter__(self):
        self._device._begin_profile(self)
        return self

    def __exit__(self, kind, *_):
        self._device._end_profile(self, wait=kind is None)

    def _start(self, platform):
        self._seconds = self._device._work.seconds
        self._counters = Counters(platform)
        self._origin = platform.cycle_count
        self._platform, self._issues = platform, _issues(platform)
        self._sampled = self._origin

    def _count_macs(self, dtype, macs):
        self._macs[dtype] = self._macs.get(dtype, 0) + macs

    def _tick(self, cycle_count):
        if cycle_count - self._sampled > 1 << 30:
            self._sampled = cycle_count
            self._counters.sample()

    def _add_events(self, events):
        self.events += [event._replace(begin=event.begin - self._origin,
                                       end=event.end - self._origin) for event in events]

    def _finish(self, timed):
        values = self._counters.sample()
        self.seconds = self._device._work.seconds - self._seconds
        self.macs = sum(self._macs.values())
        self.bytes_read, self.bytes_written = values["bytes_read"], values["bytes_written"]
        if not timed:
            return
        self.cycles = values["cycles"]
        for engine in self.busy:
            self.busy[engine] = values[engine, "busy"]
            self.stalls[engine] = {cause: values[engine, cause] for cause in CAUSES}
        if self.cycles:
            work = sum(macs / self._peak[dtype] for dtype, macs in self._macs.items())
            self.utilization = work / self.cycles
            if self._cores and self._issues is not None:
                rows = _issues(self._platform) - self._issues
                self.vector_utilization = rows / (self.cycles * self._cores)
            self.bus_utilization = (max(self.bytes_read, self.bytes_written)
                                    / (self._bus_bytes * self.cycles))
        else:
            self.utilization = self.bus_utilization = 0.0

    def __repr__(self):
        if self.cycles is None:
            return f"Profile(macs={self.macs}, untimed or not finished)"
        return (f"Profile(cycles={self.cycles}, macs={self.macs}, "
                f"utilization={self.utilization:.4f})")
