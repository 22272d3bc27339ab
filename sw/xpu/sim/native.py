"""The built model as a Python object: a thin layer over the C interface of ``harness.cpp``."""

import ctypes
import functools

import numpy as np

from ..platforms.base import PlatformError, RegisterAccessError

__all__ = ["CHANNELS", "ORDERS", "Model"]

CHANNELS = ("ar", "r", "aw", "w", "b")
ORDERS = {"in_order": 0, "reorder": 1, "interleave": 2}

_DONE, _IRQ, _FAILED, _PAUSED, _STORED = range(5)

#: Seconds a run stays inside the library; then Python may handle Ctrl-C.
_SLICE_SECONDS = 0.1

EVENT = np.dtype([("begin", "u8"), ("end", "u8"), ("engine", "u4"), ("index", "u4")])
BEATS = np.dtype([("count", "u8"), ("first", "u8"), ("last", "u8")])
_IDS = 16
ACTIVITY = np.dtype([("begin", "u8"), ("engine", "u4"), ("activity", "u4")])


class _Options(ctypes.Structure):
    _fields_ = [("memory", ctypes.c_void_p), ("memory_bytes", ctypes.c_uint64),
                ("latency", ctypes.c_uint64), ("stall", ctypes.c_uint32 * len(CHANNELS)),
                ("order", ctypes.c_uint32), ("seed", ctypes.c_uint64),
                ("randomize", ctypes.c_int32), ("record_activity", ctypes.c_int32)]


class _Counters(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("cycles", "read_beats", "write_beats", "read_bursts", "write_bursts", "dropped",
                 "vector_issues")]


_DEVICE, _U32, _U64, _INT = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int
_P32, _P64 = ctypes.POINTER(_U32), ctypes.POINTER(_U64)
_FUNCTIONS = {
    "xpu_open": (_DEVICE, ctypes.POINTER(_Options)),
    "xpu_close": (None, _DEVICE),
    "xpu_error": (ctypes.c_char_p, _DEVICE),
    "xpu_run": (_INT, _DEVICE, _U64, ctypes.c_double, _P64),
    "xpu_run_until_store": (_INT, _DEVICE, _U64, ctypes.c_double, _U32, _P64, _P32),
    "xpu_read_register": (_INT, _DEVICE, _U32, _P32, _P32),
    "xpu_write_register": (_INT, _DEVICE, _U32, _U32, _P32),
    "xpu_reset": (_INT, _DEVICE, _INT),
    "xpu_counters": (None, _DEVICE, ctypes.POINTER(_Counters)),
    "xpu_take_beats": (None, _DEVICE, ctypes.c_void_p),
    "xpu_add_fault": (None, _DEVICE, _U64, _U64, _INT, _INT, ctypes.c_int64),
    "xpu_clear_faults": (None, _DEVICE),
    "xpu_take_events": (_U64, _DEVICE, ctypes.c_void_p, _U64),
    "xpu_take_activities": (_U64, _DEVICE, ctypes.c_void_p, _U64),
    "xpu_start_log": (_INT, _DEVICE, ctypes.c_char_p, ctypes.c_char_p),
    "xpu_stop_log": (_INT, _DEVICE),
    "xpu_start_waves": (_INT, _DEVICE, ctypes.c_char_p),
    "xpu_stop_waves": (_INT, _DEVICE),
}


@functools.lru_cache(maxsize=32)
def _load(path):
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise PlatformError(f"cannot load the simulator: {error}") from error
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Model:
    """One instance of a Verilated model with its memory.

    Calls release the interpreter's lock; a model takes one call at a time.

    Parameters
    ----------
    library : path
        From ``model_build``.
    memory : numpy.ndarray
        ``uint8``, C-contiguous: global memory, used in place.
    latency : int
        Cycles from the AR handshake to the first R beat and from the last W beat to B; at least 1.
    stall : dict
        Probability of a stall in a cycle, 0 to below 1, by name of the channel (``CHANNELS``).
    order : str
        Key of ``ORDERS``: answers in order; bursts of different IDs in random order; read beats of
        different IDs interleaved as well.
    seed : int
        For stalls and order.
    randomize : int or None
        Seed of random contents of registers and memories before reset; default zeros.
    record_activity : bool
        Note every change of an engine's activity.
    """

    def __init__(self, library, memory, *, latency=20, stall=None, order="in_order", seed=0,
                 randomize=None, record_activity=True):
        if latency < 1:
            raise ValueError(f"memory latency must be at least 1 cycle, not {latency!r}")
        if order not in ORDERS:
            raise ValueError(f"memory order must be one of {', '.join(ORDERS)}, not {order!r}")
        if memory.dtype != np.uint8 or not memory.flags.c_contiguous:
            raise ValueError("memory must be a contiguous uint8 array")
        stall = stall or {}
        unknown = set(stall) - set(CHANNELS)
        if unknown:
            raise ValueError(f"stall channels are {', '.join(CHANNELS)}, "
                             f"not {sorted(unknown)[0]!r}")
        for channel, probability in stall.items():
            if not 0 <= probability < 1:
                raise ValueError(f"stall probability of {channel} must lie in [0, 1), "
                                 f"not {probability!r}")
        self._library, self._memory, self._device = _load(str(library)), memory, None
        scaled = [int(stall.get(channel, 0) * 2 ** 32) for channel in CHANNELS]
        options = _Options(memory.ctypes.data, memory.size, latency, (_U32 * len(scaled))(*scaled),
                           ORDERS[order], seed & (2 ** 64 - 1),
                           -1 if randomize is None else randomize & 0x7FFF_FFFF, record_activity)
        self._device = self._library.xpu_open(ctypes.byref(options))
        if not self._device:
            raise PlatformError("the simulator did not start")

    def close(self):
        if self._device:
            self._library.xpu_close(self._device)
            self._device = None

    def __del__(self):
        if getattr(self, "_device", None):
            self.close()

    @property
    def _handle(self):
        if not self._device:
            raise PlatformError("the simulator is closed")
        return self._device

    def _check(self, status):
        if status == _FAILED:
            raise PlatformError(self._library.xpu_error(self._handle).decode(errors="replace"))
        return status

    def run(self, max_cycles):
        """Run until the interrupt or for ``max_cycles``; return (cycles, level of interrupt)."""
        done, ran = 0, _U64()
        while True:
            status = self._check(self._library.xpu_run(
                self._handle, max_cycles - done, _SLICE_SECONDS, ctypes.byref(ran)))
            done += ran.value
            if status != _PAUSED:
                return done, status == _IRQ

    def run_until_store(self, address, max_cycles):
        """Run until a SIMD core stores something at an address of its own address space, or until
        the interrupt; return cycles, and the value or ``None``."""
        done, ran, value = 0, _U64(), _U32()
        while True:
            status = self._check(self._library.xpu_run_until_store(
                self._handle, max_cycles - done, _SLICE_SECONDS, address, ctypes.byref(ran),
                ctypes.byref(value)))
            done += ran.value
            if status != _PAUSED:
                return done, value.value if status == _STORED else None

    def read_register(self, offset):
        value, response = _U32(), _U32()
        self._check(self._library.xpu_read_register(self._handle, offset, ctypes.byref(value),
                                                    ctypes.byref(response)))
        if response.value:
            raise RegisterAccessError(offset, "read", response.value)
        return value.value

    def write_register(self, offset, value):
        response = _U32()
        self._check(self._library.xpu_write_register(self._handle, offset, value,
                                                     ctypes.byref(response)))
        if response.value:
            raise RegisterAccessError(offset, "write", response.value)

    def reset(self, cycles=4):
        """Hold the reset input for some cycles."""
        self._check(self._library.xpu_reset(self._handle, cycles))

    def counters(self):
        """Return cycles, beats and bursts on the bus, and trace records dropped, by name."""
        counters = _Counters()
        self._library.xpu_counters(self._handle, ctypes.byref(counters))
        return {name: getattr(counters, name) for name, _ in counters._fields_}

    def take_beats(self):
        """Return data beats since the last call: arrays of ``BEATS``, reads by ID, and writes."""
        records = np.empty(_IDS + 1, BEATS)
        self._library.xpu_take_beats(self._handle, records.ctypes.data)
        return records[:_IDS], records[_IDS]

    def add_fault(self, begin, end, *, write, response, count):
        self._library.xpu_add_fault(self._handle, begin, end, write, response, count)

    def clear_faults(self):
        self._library.xpu_clear_faults(self._handle)

    def _take(self, function, dtype):
        records = np.empty(function(self._handle, None, 0), dtype)
        function(self._handle, records.ctypes.data, records.size)
        return records

    def take_events(self):
        """Return and forget the commands recorded: an array of ``EVENT``."""
        return self._take(self._library.xpu_take_events, EVENT)

    def take_activities(self):
        """Return and forget the changes of activity: an array of ``ACTIVITY``."""
        return self._take(self._library.xpu_take_activities, ACTIVITY)

    def start_log(self, path, names):
        """Write what the SIMD cores retire; ``names`` are those of CSRs, by number."""
        table = "".join(f"{number} {name}\n" for number, name in names.items())
        self._check(self._library.xpu_start_log(self._handle, str(path).encode(), table.encode()))

    def stop_log(self):
        self._check(self._library.xpu_stop_log(self._handle))

    def start_waves(self, path):
        self._check(self._library.xpu_start_waves(self._handle, str(path).encode()))

    def stop_waves(self):
        self._check(self._library.xpu_stop_waves(self._handle))
