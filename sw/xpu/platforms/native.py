"""The default platform: the Verilated RTL in this process, with its memory in C++."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xpu_rtl.command.formats import Engine
from xpu_rtl.configs import get_config
from xpu_rtl.simd.csr_numbers import Csr

from ..sim import model_build
from ..sim.native import CHANNELS, Model
from .base import ActivityRun, Platform, TraceEvent, engine_names

__all__ = ["MemoryStall", "NativePlatform"]

#: Spike shows this register after an MRET; the cores do not have it.
_TCONTROL = 0x7A5
_RESPONSES = {"SLVERR": 2, "DECERR": 3}


def _name(engine):
    """Name of an observed place; those above ``Engine`` are never in use."""
    return Engine(engine).name.lower() if engine < len(Engine) else None


@dataclass(frozen=True, kw_only=True)
class MemoryStall:
    """Probabilities, 0 to below 1, that a channel of the memory stalls in a cycle.

    Parameters
    ----------
    ar, aw, w : float
        The memory is not ready.
    r, b : float
        The memory presents nothing; what it presents, it holds until it is accepted.
    seed : int
        Runs with the same seed are the same.
    """

    ar: float = 0.0
    r: float = 0.0
    aw: float = 0.0
    w: float = 0.0
    b: float = 0.0
    seed: int = 0

    @classmethod
    def of(cls, value):
        """``None``: none. A number: that probability on every channel. A dictionary: fields."""
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if isinstance(value, dict):
            names = {field.name for field in dataclasses.fields(cls)}
            if not value.keys() <= names:
                raise ValueError(f"memory_stall has the keys {', '.join(sorted(names))}, "
                                 f"not {sorted(value.keys() - names)[0]!r}")
            return cls(**value)
        if isinstance(value, int | float):
            return cls(**dict.fromkeys(CHANNELS, float(value)))
        raise TypeError("memory_stall must be None, a probability, a dictionary or a MemoryStall, "
                        f"not {value!r}")


class NativePlatform(Platform):
    """A device simulated from its RTL.

    The first use of a configuration builds its model (minutes), later ones take it from the cache.

    Parameters
    ----------
    config : XpuConfig or str
        What to simulate.
    memory_bytes : int
        Global memory; the host provides pages as they are touched.
    memory_latency : int
        Cycles from the AR handshake to the first R beat and from the last W beat to B, at least 1.
    memory_stall : None, float, dict or MemoryStall
        Random stalls of the memory; default none: it always accepts, and serves a beat per
        direction and cycle.
    memory_order : str
        ``"in_order"``; ``"reorder"``: bursts of different IDs are answered in random order;
        ``"interleave"``: their read beats are mixed as well.
    traced : bool
        Build the model so that it can write waves (``start_waves``); slower.
    randomize : int, optional
        Seed of random contents of registers and memories before reset; default zeros.
    record_activity : bool
        Record the changes of the engines' activity for ``take_activity``.
    library : path, optional
        Use this model instead of the configuration's; see ``xpu.sim.model_build``.
    """

    name = "native"
    timed = True

    def __init__(self, config="slice", memory_bytes=256 << 20, memory_latency=20, memory_stall=None,
                 *, memory_order="in_order", traced=False, randomize=None, record_activity=True,
                 library=None):
        self.config = get_config(config)
        self.traced = traced
        if memory_bytes < 4096 or memory_bytes % 4096:
            raise ValueError("memory_bytes must be a positive multiple of 4096, "
                             f"not {memory_bytes!r}")
        self.memory_bytes = int(memory_bytes)
        stall = dataclasses.asdict(MemoryStall.of(memory_stall))
        seed = stall.pop("seed")
        if library is None:
            library = model_build.model_for(self.config, traced=traced)
        #: Global memory in place: what is written here is there at once.
        self.memory = np.zeros(self.memory_bytes, np.uint8)
        self.memory_latency = memory_latency
        self._model = Model(library, self.memory, latency=memory_latency, stall=stall, seed=seed,
                            order=memory_order, randomize=randomize,
                            record_activity=record_activity)

    @property
    def cycle_count(self):
        return self._model.counters()["cycles"]

    @property
    def bus_counters(self):
        """Beats and bursts the memory has seen, by name; ``dropped`` counts trace records lost."""
        return self._model.counters()

    def take_beats(self):
        """Return and forget the data beats seen on the bus: reads by ID, and writes.

        Records of ``count`` and of the cycles of the ``first`` and the ``last`` beat.
        """
        return self._model.take_beats()

    def read_register(self, offset):
        return self._model.read_register(offset)

    def write_register(self, offset, value):
        self._model.write_register(offset, value)

    def read_memory(self, address, size):
        self.check_range(address, size)
        return self.memory[address:address + size].copy()

    def write_memory(self, address, data):
        if isinstance(data, np.ndarray):
            data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        else:
            data = np.frombuffer(data, np.uint8)
        self.check_range(address, data.size)
        self.memory[address:address + data.size] = data

    def run(self, max_cycles):
        return self._model.run(max_cycles)

    def run_until_store(self, address, max_cycles):
        """Run until a SIMD core stores to an address (as it sees it); return the cycles, and the
        value or ``None`` if the interrupt came first or ``max_cycles`` passed."""
        return self._model.run_until_store(address, max_cycles)

    def start_commit_log(self, path):
        """Write what the SIMD cores retire to a file, in the format of Spike's --log-commits."""
        self._model.start_log(path, {
            **{int(csr): csr.name.lower() for csr in Csr}, _TCONTROL: "tcontrol"})

    def stop_commit_log(self):
        """Finish the file."""
        self._model.stop_log()

    def take_trace(self):
        return [TraceEvent(_name(engine), index, begin, end)
                for begin, end, engine, index in self._model.take_events().tolist()]

    def take_activity(self):
        known = engine_names(self.config)       # the model shows places for more
        runs = [ActivityRun(begin, _name(engine), activity)
                for begin, engine, activity in self._model.take_activities().tolist()]
        return [run for run in runs if run.engine in known]

    def inject_error(self, address, size, *, kind, response="SLVERR", count=None):
        """Answer beats that touch a range with an error; writes to it are dropped.

        Parameters
        ----------
        address, size : int
            The range in global memory.
        kind : str
            ``"read"`` or ``"write"``.
        response : str
            ``"SLVERR"`` or ``"DECERR"``.
        count : int, optional
            Beats to hit; default: every one until ``clear_errors``.
        """
        if kind not in ("read", "write"):
            raise ValueError(f"kind must be 'read' or 'write', not {kind!r}")
        if response not in _RESPONSES:
            raise ValueError(f"response must be one of {', '.join(_RESPONSES)}, not {response!r}")
        self._model.add_fault(address, address + size, write=kind == "write",
                              response=_RESPONSES[response], count=-1 if count is None else count)

    def clear_errors(self):
        """Forget every injected error."""
        self._model.clear_faults()

    def start_waves(self, path):
        """Write an FST file of every signal from now on; needs ``traced=True``."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._model.start_waves(path)

    def stop_waves(self):
        """Finish the file."""
        self._model.stop_waves()

    def hard_reset(self):
        self._model.reset()

    def close(self):
        self._model.close()
