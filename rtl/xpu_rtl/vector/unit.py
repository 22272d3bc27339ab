"""The vector unit of a core: a queue of instructions, arithmetic beside loads and stores."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..common.fifo import StreamFifo
from ..float.bits import named
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from ..simd.types import LateResult, LocalPort, MemoryRequest
from .arithmetic import VectorArithmetic
from .memory import VectorMemory
from .operations import Engine
from .registers import VectorRegisters
from .types import TAG_BITS, Completion, RowWrite, VectorRequest, VectorShape

__all__ = ["VectorObserved", "VectorUnit"]


class VectorObserved(data.StructLayout):
    """What the unit does in a cycle, for logs.

    Fields: ``arithmetic``, ``load`` (``RowWrite``) with ``arithmetic_valid``, ``load_valid``; the
    ends of instructions: ``done``, ``completion`` of arithmetic, ``memory_done``, ``memory_tag``;
    ``access``: a single element is accessed, with ``memory_tag``, ``address``, ``size``,
    ``stored``, ``data``."""

    def __init__(self, config: XpuConfig):
        super().__init__({
            "arithmetic_valid": 1, "load_valid": 1, "done": 1, "memory_done": 1, "access": 1,
            "arithmetic": RowWrite(config), "load": RowWrite(config), "completion": Completion,
            "memory_tag": TAG_BITS, "address": 32, "size": 2, "stored": 1, "data": 32,
        })


class VectorUnit(wiring.Component):
    """Zve32f and Zvfh, behind the scalar pipeline.

    Instructions enter a queue in the order of the program, checked; they leave it in that order for
    one of two parts, arithmetic or memory, each of which works on one instruction at
    a time. An instruction waits at the head of the queue while it writes a register that the other
    part still reads or writes; for what it reads it waits row by row (chaining).

    Parameters
    ----------
    config : XpuConfig
        ``vlen``, ``simd_width``.

    Members
    -------
    i : In(stream.Signature(VectorRequest(config)))
        Instructions.
    scalar : Out(stream.Signature(LateResult))
        Results for integer and floating-point registers.
    local, sm : Out(LocalPort(config)), Out(ScratchpadPort(config))
        Memories, for rows.
    element, fault, loaded, value : Out(stream.Signature(MemoryRequest)), In(1), In(1), In(32)
        Memory, element by element.
    done, completion : Out(1), Out(Completion)
        An arithmetic instruction has ended.
    memory_done, failed, misaligned, index, address, trimmed : Out
        A load or store has ended: see ``VectorMemory``.
    accessing, storing : Out(1), Out(1)
        Loads or stores, stores are not done.
    busy, issues : Out(1), Out(1)
        An instruction is here; the arithmetic pipe takes a row.
    observed : Out(VectorObserved(config))
        For logs.

    Timing
    ------
    Latency: 2 cycles from a transfer on ``i`` to the first row at issue.
    Throughput: an instruction per cycle and part. Backpressure: full on ``i``, after ``DEPTH``.
    Combinational paths: none from port to port but ``fault`` to ``failed``, ``memory_done``.
    Reset: empty. Registers keep what they hold.
    """

    DEPTH = 4

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        super().__init__({
            "i": In(stream.Signature(VectorRequest(config))),
            "scalar": Out(stream.Signature(LateResult)), "local": Out(LocalPort(config)),
            "sm": Out(ScratchpadPort(config)), "element": Out(stream.Signature(MemoryRequest)),
            "fault": In(1), "loaded": In(1), "value": In(32), "done": Out(1),
            "completion": Out(Completion), "memory_done": Out(1), "failed": Out(1),
            "misaligned": Out(1), "index": Out(shape.index_bits), "address": Out(32),
            "trimmed": Out(1), "accessing": Out(1), "storing": Out(1), "busy": Out(1),
            "issues": Out(1), "observed": Out(VectorObserved(config)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamFifo(VectorRequest(self._config), self.DEPTH)
        m.submodules.registers = registers = VectorRegisters(self._config)
        m.submodules.arithmetic = arithmetic = VectorArithmetic(self._config)
        m.submodules.memory = memory = VectorMemory(self._config)
        connect(m, flipped(self.i), queue.i)
        connect(m, arithmetic.scalar, flipped(self.scalar))
        connect(m, memory.local, flipped(self.local))
        connect(m, memory.sm, flipped(self.sm))
        connect(m, memory.element, flipped(self.element))

        # In order to one of the parts, once it writes nothing that the other needs.
        head = queue.o.p
        to_memory = named(m, "to_memory", 1, (head.op.engine == Engine.LOAD)
                          | (head.op.engine == Engine.STORE))
        conflict = named(m, "conflict", 1, (head.writes & Mux(
            to_memory, arithmetic.reads | arithmetic.writes,
            memory.reads | memory.writes)).any())
        free = named(m, "free", 1, queue.o.valid & ~conflict)
        m.d.comb += [
            arithmetic.i.valid.eq(free & ~to_memory), memory.i.valid.eq(free & to_memory),
            arithmetic.i.payload.eq(head), memory.i.payload.eq(head),
            queue.o.ready.eq(~conflict & Mux(to_memory, memory.i.ready, arithmetic.i.ready)),
        ]

        ports = registers.read
        for port, row, result in (
                (ports[0], arithmetic.row2, arithmetic.data2),
                (ports[1], arithmetic.row1, arithmetic.data1),
                (ports[2], arithmetic.rowd, arithmetic.datad),
                (ports[3], memory.row, memory.data)):
            m.d.comb += [port.row.eq(row), result.eq(port.data)]
        connect(m, arithmetic.write, registers.first)
        connect(m, memory.write, registers.second)
        m.d.comb += [
            arithmetic.v0.eq(registers.v0), memory.v0.eq(registers.v0),
            arithmetic.loading.eq(memory.loading), memory.pending.eq(arithmetic.pending),
            memory.fault.eq(self.fault), memory.loaded.eq(self.loaded),
            memory.value.eq(self.value), self.memory_done.eq(memory.done),
            *(getattr(self, name).eq(getattr(memory, name)) for name in (
                "failed", "misaligned", "index", "address", "trimmed")),
            self.done.eq(arithmetic.done), self.completion.eq(arithmetic.completion),
            self.issues.eq(arithmetic.issues),
            self.busy.eq(queue.o.valid | arithmetic.busy | memory.busy),
        ]

        # Loads and stores between entry and end.
        enters = {"accessing": self.i.p.op.engine >= Engine.LOAD,
                  "storing": self.i.p.op.engine == Engine.STORE}
        ends = {"accessing": 1, "storing": memory.storing}
        for name, kind in enters.items():
            count = Signal(range(self.DEPTH + 5), name=f"{name}_count")
            m.d.sync += count.eq(count + (self.i.valid & self.i.ready & kind)
                                 - (memory.done & ends[name]))
            m.d.comb += getattr(self, name).eq(count != 0)

        seen = self.observed
        m.d.comb += [
            seen.arithmetic_valid.eq(arithmetic.write.valid),
            seen.arithmetic.eq(arithmetic.write.payload),
            seen.load_valid.eq(memory.write.valid & memory.write.ready),
            seen.load.eq(memory.write.payload), seen.done.eq(arithmetic.done),
            seen.completion.eq(arithmetic.completion), seen.memory_done.eq(memory.done),
            seen.memory_tag.eq(memory.tag),
            seen.access.eq(memory.element.valid & memory.element.ready & ~self.fault),
            seen.address.eq(memory.element.p.address), seen.size.eq(memory.element.p.size),
            seen.stored.eq(memory.element.p.write), seen.data.eq(memory.element.p.data),
        ]
        return m
