"""A core: the scalar pipeline, with its units around it."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..command.windows import RingWindows
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .decode_stage import decode_stage
from .execute_stage import execute_stage
from .observed import Observed, observe
from .pipeline import Pipeline
from .types import CoreState, GmPort, InstructionPort
from .write_back import write_back

__all__ = ["Core"]


class Core(wiring.Component):
    """An in-order RISC-V core: RV32IMF_Zicsr_Zifencei_Zfh_Zve32f_Zvfh, machine mode only.

    Three stages behind instruction fetch: decode, registers, execute. Instructions leave
    in order; results of loads, multiplications and floating-point operations come later, and an
    instruction that needs one waits for it. Branches are predicted not taken.

    A trap goes to the handler in ``mtvec`` if the program has set one; otherwise the kernel ends in
    state TRAPPED, with cause, address of the instruction and ``mtval``. A kernel ends by writing
    the register EXIT.

    Parameters
    ----------
    config : XpuConfig
        Sizes and widths.

    Members
    -------
    start, entry : In(1), In(32)
        Begin a kernel at ``entry``; not while RUNNING.
    stop : In(1)
        End it, as soon as no access to GM is outstanding; the state becomes IDLE.
    flat, allowed, hart, cores, argument : In
        See ``LoadStore`` and ``CsrFile``. Stable while RUNNING.
    state : Out(CoreState)
    cause, trap_pc, trap_value : Out(5), Out(32), Out(32)
        If TRAPPED.
    pc : Out(32)
        Instruction in the execute stage, or the last that was there.
    quiet : Out(1)
        Nothing is outstanding anywhere.
    instruction, gm, sm : Out(InstructionPort(config)), Out(GmPort(config)),
    Out(ScratchpadPort(config))
        Memory.
    flush : Out(1)
        A FENCE.I retires: forget cached instructions.
    at_barrier, resume : Out(1), In(1)
        An access to BARRIER waits; it may end, or the kernel is stopped.
    observed : Out(Observed(config))
        For logs: what it did in the cycle before.

    Timing
    ------
    Latency: 6 cycles from ``start`` to the first instruction if the cache has it. A taken branch
    costs 4 cycles more than others then.
    Throughput: one instruction per cycle, a load or store in two. The result of a load from LM
    can be used 4 cycles later, a product's 4, that of a floating-point operation 10.
    Backpressure: full.
    Combinational paths: none but from ``allowed`` and ``flat``, which change at rest: so its
    simulation can be a library of its own (``sim/part.py``), and a test holds it to that.
    Reset: IDLE. Registers keep what they hold.
    """

    def __init__(self, config: XpuConfig):
        self.config = config
        super().__init__({
            "start": In(1), "entry": In(32), "stop": In(1), "flat": In(1), "hart": In(32),
            "cores": In(32), "argument": In(32),
            "state": Out(CoreState), "cause": Out(5), "trap_pc": Out(32),
            "trap_value": Out(32), "pc": Out(32), "quiet": Out(1),
            "instruction": Out(InstructionPort(config)), "gm": Out(GmPort(config)),
            "sm": Out(ScratchpadPort(config)), "allowed": In(RingWindows()),
            "flush": Out(1), "at_barrier": Out(1), "resume": In(1),
            "observed": Out(Observed(config)),
        })

    def elaborate(self, platform):
        m = Module()
        pipe = Pipeline(m, platform, self.config)
        fetch, load_store, csr = pipe.fetch, pipe.load_store, pipe.csr
        connect(m, fetch.port, flipped(self.instruction))
        connect(m, load_store.gm, flipped(self.gm))
        vector = pipe.vector
        # Never both at a time: see ``execute_stage``. Each knows whether it has asked.
        mine = load_store.sm
        m.d.comb += [
            self.sm.req.valid.eq(mine.req.valid | vector.sm.req.valid),
            self.sm.req.payload.eq(Mux(vector.sm.req.valid, vector.sm.req.payload,
                                       mine.req.payload)),
            mine.req.ready.eq(self.sm.req.ready), vector.sm.req.ready.eq(self.sm.req.ready),
            mine.rsp.valid.eq(self.sm.rsp.valid),
            vector.sm.rsp.valid.eq(self.sm.rsp.valid),
            mine.rsp.payload.eq(self.sm.rsp.payload),
            vector.sm.rsp.payload.eq(self.sm.rsp.payload),
            mine.waiting.eq(self.sm.waiting), vector.sm.waiting.eq(self.sm.waiting),
            vector.loaded.eq(load_store.o.valid & load_store.o.p.vector),
            vector.value.eq(load_store.o.p.value),
        ]
        connect(m, vector.local, load_store.rows)
        m.d.comb += [
            load_store.allowed.eq(self.allowed), load_store.flat.eq(self.flat),
            csr.hart.eq(self.hart), csr.cores.eq(self.cores), csr.argument.eq(self.argument),
            csr.start.eq(self.start),
        ]
        decode_stage(m, self, pipe)
        execute_stage(m, self, pipe)
        write_back(m, self, pipe)
        observe(m, pipe, self.observed)
        self._run(m, pipe)
        return m

    def _run(self, m, pipe):
        """The state of the kernel."""
        fetch, csr = pipe.fetch, pipe.csr
        stopping = Signal()
        m.d.sync += stopping.eq(self.stop)
        m.d.comb += [
            fetch.enable.eq((self.state == CoreState.RUNNING) & ~stopping),
            fetch.redirect.eq(pipe.redirect | self.start),
            fetch.target.eq(Mux(self.start, self.entry, pipe.target)),
        ]
        with m.If(self.start):
            m.d.sync += [self.state.eq(CoreState.RUNNING)]
        with m.Elif(pipe.exits):
            m.d.sync += [self.state.eq(CoreState.FINISHED)]
        with m.Elif(pipe.taken_trap & ~csr.handled):
            m.d.sync += [self.state.eq(CoreState.TRAPPED), self.cause.eq(csr.cause),
                         self.trap_pc.eq(self.pc), self.trap_value.eq(csr.trap_value)]
        with m.Elif(self.stop & (self.state == CoreState.RUNNING)
                    & (~pipe.valid | pipe.leaves) & ~pipe.load_store.busy):
            m.d.sync += self.state.eq(CoreState.IDLE)
