"""What the stages of a core share: its parts, and the instruction in the execute stage."""

from amaranth import Signal
from amaranth.lib.memory import Memory

from ..float.unit import FloatUnit
from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from ..vector.check import VectorCheck
from ..vector.unit import VectorUnit
from .csr import CsrFile
from .decode import Control, Decoder
from .fetch import Fetch
from .load_store import LoadStore
from .multiply import MultiplyDivide
from .types import CoreEvents

__all__ = ["Pipeline"]


class _RegisterFile:
    """32 registers of 32 bits with combinational reads and one write."""

    def __init__(self, m, name, reads):
        memory = Memory(shape=32, depth=32, init=[])
        m.submodules[name] = memory
        self.read = [memory.read_port(domain="comb") for _ in range(reads)]
        self.write = memory.write_port()
        self.busy = Signal(32, name=f"{name}_busy")     # a late result is awaited


class Pipeline:
    """Parts and signals, added to the core's module.

    Attributes
    ----------
    fetch, decoder, load_store, multiply, float, csr, vector, vector_check : wiring.Component
        Parts.
    x, f : _RegisterFile
        Registers.
    valid, control, word, immediate, fault, a, b, c : Signal
        The instruction in the execute stage: it is there, decoded, as read, whether that failed,
        its operands.
    leaves, done : Signal
        It leaves the stage in this cycle; it retires.
    result, late : Signal
        What it writes to its register at once; its result comes later instead.
    redirect, target, exits : Signal
        Fetching goes on elsewhere; the kernel ends.
    seen : Signal(CoreEvents)
        What is to be logged of this cycle.
    taken_trap, port_free : Signal
        A trap is taken; no late result needs the write port.
    """

    def __init__(self, m, platform, config: XpuConfig):
        m.submodules.fetch = self.fetch = Fetch(config)
        m.submodules.decoder = self.decoder = Decoder()
        m.submodules.load_store = self.load_store = LoadStore(config)
        m.submodules.multiply = self.multiply = MultiplyDivide()
        self.float = FloatUnit()
        add_gated(m, platform, "float", self.float,
                  awake=self.float.i.valid | self.float.busy, linger=2)
        m.submodules.csr = self.csr = CsrFile(config)
        self.vector, self.vector_check = VectorUnit(config), VectorCheck()
        if config.vector:
            add_gated(m, platform, "vector", self.vector,
                      awake=self.vector.i.valid | self.vector.busy | self.vector.accessing)
            m.submodules.vector_check = self.vector_check
        else:       # nothing ever comes of them
            for part in (self.vector, self.vector_check):
                part._MustUse__used = True
        self.x, self.f = _RegisterFile(m, "x", 2), _RegisterFile(m, "f", 3)
        self.valid, self.leaves = Signal(name="x_valid"), Signal(name="x_leaves")
        self.done = Signal(name="x_done")
        self.control = Signal(Control, name="x_control", reset_less=True)
        self.word = Signal(32, name="x_word", reset_less=True)
        self.immediate = Signal(32, name="x_immediate", reset_less=True)
        self.fault = Signal(name="x_fault", reset_less=True)
        self.a, self.b, self.c = (Signal(32, name=f"x_{name}", reset_less=True) for name in "abc")
        self.result, self.late = Signal(32, name="x_result"), Signal(name="x_late")
        self.exits, self.taken_trap = Signal(name="exits"), Signal(name="taken_trap")
        self.port_free = Signal(name="port_free")
        self.seen = Signal(CoreEvents, name="seen")
        self.redirect, self.target = Signal(name="redirect"), Signal(32, name="redirect_target")
