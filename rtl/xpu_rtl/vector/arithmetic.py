"""The arithmetic half of the vector unit: issues instructions row by row to its engines."""

from types import SimpleNamespace

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from ..simd.types import LateResult
from .alu import VectorAlu
from .compare import VectorCompare
from .divide import VectorDivide
from .engine_stage import engine_stage
from .floating import VectorFloat
from .issue_stage import issue_stage
from .mask import VectorMask
from .multiply import VectorMultiply
from .operations import Kind
from .result_stage import ResultStage
from .serial import VectorSerial
from .types import Completion, RowWrite, VectorRequest, VectorShape
from .widen_stage import widen_stage

__all__ = ["VectorArithmetic"]


class VectorArithmetic(wiring.Component):
    """Execute arithmetic vector instructions in order, a row of the widest operand per cycle.

    Stages: ``issue_stage``, ``widen_stage``, ``engine_stage``, ``ResultStage``. A row waits
    at issue until the rows it needs are written, also those that loads still write, so that
    instructions follow each other row by row. Permutations and reductions
    go element by element, alone.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(VectorRequest(config)))
        Instructions.
    row2, row1, rowd, data2, data1, datad, v0 : Out, In
        Registers, read combinationally.
    loading : In(32 * rows)
        Rows that loads have yet to write.
    write : Out(stream.Signature(RowWrite(config), always_ready=True))
        Rows written.
    pending : Out(32 * rows)
        Rows that have yet to be written here.
    reads, writes : Out(32), Out(32)
        Registers that an instruction here has yet to read, or to write.
    scalar : Out(stream.Signature(LateResult))
        Results for integer and floating-point registers.
    done, completion : Out(1), Out(Completion)
        An instruction has ended.
    issues, busy : Out(1), Out(1)
        A row is issued; an instruction is here.

    Timing
    ------
    Latency: a row that depends on another can be issued 5 cycles after it (integer operations,
    comparisons, masks), 6 (products, conversions to integers), 12 (floating point).
    Throughput: a row per cycle; divisions one row at a time (about 40 cycles).
    Backpressure: full on ``i`` and ``scalar``.
    Combinational paths: ``loading`` and register data to registers only.
    Reset: idle.
    """

    def __init__(self, config: XpuConfig):
        self.config, self.shape = config, VectorShape(config)
        shape = self.shape
        super().__init__({
            "i": In(stream.Signature(VectorRequest(config))),
            **{f"row{n}": Out(shape.row_bits) for n in "21d"},
            **{f"data{n}": In(shape.width) for n in "21d"}, "v0": In(config.vlen),
            "loading": In(shape.total),
            "write": Out(stream.Signature(RowWrite(config), always_ready=True)),
            "pending": Out(shape.total), "reads": Out(32), "writes": Out(32),
            "scalar": Out(stream.Signature(LateResult)), "done": Out(1),
            "completion": Out(Completion), "issues": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        serial, alu, compare = VectorSerial(config), VectorAlu(config), VectorCompare(config)
        mask = VectorMask(config)
        multiply, divide = VectorMultiply(config), VectorDivide(self.shape.lanes)
        m.submodules.float = floating = VectorFloat(config)
        m.submodules.results = results = ResultStage(config)
        self._serial_running = Signal(name="serial_running")
        for name, unit, awake in (
                ("serial", serial, serial.start | self._serial_running), ("alu", alu, alu.load),
                ("compare", compare, compare.load), ("mask", mask, mask.load | mask.take),
                ("multiply", multiply, multiply.enable | multiply.busy),
                ("divide", divide, divide.start | divide.busy)):
            add_gated(m, platform, name, unit, awake=awake, linger=2)
        self.parts = SimpleNamespace(serial=serial, alu=alu, compare=compare, mask=mask,
                                     multiply=multiply, divide=divide, float=floating,
                                     results=results)
        advance = Signal()
        issued = issue_stage(m, self, advance)
        widened = widen_stage(m, self, issued, advance)
        engine_stage(m, self, widened, advance)
        self._serial(m, issued, widened)
        m.d.comb += self.busy.eq(issued.active | issued.valid | widened.valid | results.busy
                                 | self.scalar.valid)
        return m

    def _serial(self, m, issued, widened):
        """Instructions that go element by element, when nothing else is under way."""
        serial, results, request = self.parts.serial, self.parts.results, issued.request
        running = self._serial_running
        needed = request.reads | request.writes
        loads = Cat(self.loading.word_select(n, self.shape.rows).any() for n in range(32))
        m.d.comb += [
            serial.start.eq(issued.active & issued.serial & ~running & issued.idle & ~widened.valid
                            & ~(needed & loads).any() & ~self.scalar.valid),
            serial.request.eq(request), serial.v0.eq(self.v0), serial.data2.eq(self.data2),
            serial.data1.eq(self.data1), serial.sum.eq(self.parts.float.fma_result[:32]),
            serial.sum_flags.eq(self.parts.float.fma_flags.wide[0]),
        ]
        with m.If(serial.start):
            m.d.sync += running.eq(1)
        with m.Elif(serial.done):
            m.d.sync += running.eq(0)
        with m.If(serial.done & (request.op.d_kind == Kind.NONE)):
            m.d.sync += [self.scalar.valid.eq(1), self.scalar.p.rd.eq(request.rd),
                         self.scalar.p.floating.eq(request.to_f),
                         self.scalar.p.value.eq(serial.scalar)]
        m.d.comb += [
            self.write.valid.eq(results.write.valid | serial.write.valid),
            self.write.payload.eq(Mux(serial.write.valid, serial.write.payload,
                                      results.write.payload)),
            self.done.eq(results.done | serial.done),
            self.completion.eq(Mux(serial.done, Cat(request.tag, serial.flags, Const(0, 1)),
                                   results.completion)),
        ]
