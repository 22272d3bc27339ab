"""A core: the scalar pipeline, with its units around it."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from ..command.windows import RingWindows
from ..float.ieee import HALF, Rounding
from ..float.unit import FloatKind, FloatUnit
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .alu import alu
from .csr import CsrFile
from .csr_numbers import Csr
from .decode import Control, Decoder
from .fetch import Fetch
from .isa import Cause, SystemOp, Unit
from .load_store import LoadStore
from .multiply import MultiplyDivide
from .types import CoreState, GmPort, InstructionPort, LateResult, Retired

__all__ = ["Core"]


class _RegisterFile:
    """32 registers of 32 bits with combinational reads and one write."""

    def __init__(self, m, name, reads):
        memory = Memory(shape=32, depth=32, init=[])
        m.submodules[name] = memory
        self.read = [memory.read_port(domain="comb") for _ in range(reads)]
        self.write = memory.write_port()
        self.busy = Signal(32, name=f"{name}_busy")     # a late result is awaited


class Core(wiring.Component):
    """An in-order RISC-V core: RV32IMF_Zicsr_Zifencei_Zfh, machine mode only.

    Two stages behind instruction fetch: decode with register read, and execute. Instructions leave
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
    exit_value : Out(32)
        What was written to EXIT, if FINISHED.
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
    at_barrier, release : Out(1), In(1)
        An access to BARRIER waits; it may end, or the kernel is stopped.
    retired, late_x, late_f, late_flags : Out
        For logs: an instruction (valid in ``retire``), late results (valid in ``late_x_valid``,
        ``late_f_valid``) in registers X and F, exceptions with ``late_flags_valid``.

    Timing
    ------
    Latency: 5 cycles from ``start`` to the first instruction with a memory of 1 cycle. A taken
    branch costs 3 cycles more than others with such a memory.
    Throughput: one instruction per cycle, a load or store in two. The result of a load from LM
    can be used 4 cycles later, a product's 4, that of a floating-point operation 10.
    Backpressure: full.
    Combinational paths: none from port to port but ``gm.rsp`` and ``sm.rsp`` to
    ``retired``.
    Reset: IDLE. Registers keep what they hold.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "start": In(1), "entry": In(32), "stop": In(1), "flat": In(1), "hart": In(32),
            "cores": In(32), "argument": In(32),
            "state": Out(CoreState), "exit_value": Out(32), "cause": Out(5), "trap_pc": Out(32),
            "trap_value": Out(32), "pc": Out(32), "quiet": Out(1),
            "instruction": Out(InstructionPort(config)), "gm": Out(GmPort(config)),
            "sm": Out(ScratchpadPort(config)), "allowed": In(RingWindows()),
            "flush": Out(1), "at_barrier": Out(1), "release": In(1),
            "retire": Out(1), "retired": Out(Retired), "late_x_valid": Out(1),
            "late_x": Out(LateResult), "late_f_valid": Out(1), "late_f": Out(LateResult),
            "late_flags_valid": Out(1), "late_flags": Out(5),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.fetch = self._fetch = fetch = Fetch(config)
        m.submodules.decoder = decoder = Decoder()
        m.submodules.load_store = self._load_store = load_store = LoadStore(config)
        m.submodules.multiply = self._multiply = MultiplyDivide()
        m.submodules.float = self._float = FloatUnit()
        m.submodules.csr = self._csr = csr = CsrFile(config)
        self._x, self._f = _RegisterFile(m, "x", 2), _RegisterFile(m, "f", 3)
        connect(m, fetch.port, flipped(self.instruction))
        connect(m, load_store.gm, flipped(self.gm))
        connect(m, load_store.sm, flipped(self.sm))
        m.d.comb += [load_store.allowed.eq(self.allowed), load_store.flat.eq(self.flat),
                     csr.hart.eq(self.hart),
                     csr.cores.eq(self.cores), csr.argument.eq(self.argument),
                     csr.start.eq(self.start), decoder.instruction.eq(fetch.o.p.word)]

        # Execute stage: an instruction with its operands.
        self._valid, self._leaves = Signal(name="x_valid"), Signal(name="x_leaves")
        self._done = Signal(name="x_done")      # it retires in this cycle
        self._control = Signal(Control, name="x_control", reset_less=True)
        self._word = Signal(32, name="x_word", reset_less=True)
        self._immediate = Signal(32, name="x_immediate", reset_less=True)
        self._fault = Signal(name="x_fault", reset_less=True)
        self._a, self._b, self._c = (Signal(32, name=f"x_{name}", reset_less=True)
                                     for name in "abc")
        self._result = Signal(32, name="x_result")      # of what is not late
        self._late = Signal(name="x_late")
        self._exits = Signal(name="exits")
        self._redirect, self._target = Signal(name="redirect"), Signal(32, name="redirect_target")

        self._decode(m, decoder.control, decoder.immediate)
        self._execute(m)
        self._write_back(m)
        self._run(m)
        return m

    def _decode(self, m, control, immediate):
        """Read registers, wait for what is awaited, and pass the instruction on."""
        word, offered = self._fetch.o.p.word, self._fetch.o
        rd = self._word[7:12]
        sources = {"rs1": word[15:20], "rs2": word[20:25], "rs3": word[27:32]}
        values = {}
        hazards = []
        for letter, registers in (("x", self._x), ("f", self._f)):
            writes = Signal(name=f"writes_{letter}")
            m.d.comb += writes.eq(self._valid & self._control[f"rd_{letter}"]
                                  & ((rd != 0) if letter == "x" else 1))
            for name, port in zip(sources, registers.read, strict=False):
                number = sources[name]
                same, value = Signal(name=f"{name}_{letter}_same"), Signal(
                    32, name=f"{name}_{letter}")
                m.d.comb += [port.addr.eq(number), same.eq(writes & (rd == number)),
                             value.eq(Mux(same, self._result, port.data))]
                values[f"{name}_{letter}"] = value
                hazards.append(control[f"{name}_{letter}"] & (
                    registers.busy.bit_select(number, 1) | (same & self._late)))
            hazards.append(control[f"rd_{letter}"] & (
                registers.busy.bit_select(word[7:12], 1)
                | (writes & self._late & (rd == word[7:12]))))
        hazard = Signal()
        m.d.comb += hazard.eq(Cat(hazards).any() & ~offered.p.fault)
        goes = Signal()
        m.d.comb += [
            goes.eq(offered.valid & ~hazard & (~self._valid | self._leaves) & ~self._redirect
                    & ~self.stop & (self.state == CoreState.RUNNING)),
            offered.ready.eq(goes),
        ]
        with m.If(goes):
            m.d.sync += [
                self._valid.eq(1), self._control.eq(control), self._word.eq(word),
                self._immediate.eq(immediate), self._fault.eq(offered.p.fault),
                self.pc.eq(offered.p.pc),
                self._a.eq(Mux(control.rs1_x, values["rs1_x"], Mux(
                    control.rs1_f, values["rs1_f"], Mux(control.rs1_pc, offered.p.pc, 0)))),
                self._b.eq(Mux(control.rs2_x, values["rs2_x"], Mux(
                    control.rs2_f, values["rs2_f"],
                    Mux(control.rs2_immediate, immediate, 0)))),
                self._c.eq(values["rs3_f"]),
            ]
        with m.Elif(self._leaves):
            m.d.sync += self._valid.eq(0)

    def _execute(self, m):
        """Do what the instruction asks, or trap."""
        control, word, a, b = self._control, self._word, self._a, self._b
        csr, load_store, multiply, unit = self._csr, self._load_store, self._multiply, self._float
        is_unit = {}
        for one in Unit:
            is_unit[one] = Signal(name=f"is_{one.name.lower()}")
            m.d.comb += is_unit[one].eq(self._valid & (control.unit == one))
        total, address = Signal(32), Signal(32)
        # Loads and stores take two cycles: their address is registered before it is looked at.
        memory, addressed = Signal(), Signal()
        data_address = Signal(32, reset_less=True)
        m.d.comb += memory.eq(is_unit[Unit.LOAD] | is_unit[Unit.STORE])
        m.d.sync += [addressed.eq(memory & ~self._leaves), data_address.eq(address)]
        m.d.comb += [
            total.eq(alu(m, control.alu, a, b)),
            # Jumps and memory: a + immediate; branches: pc + immediate.
            address.eq(Mux(control.unit == Unit.BRANCH, self.pc, a) + self._immediate),
        ]

        # Branches and jumps.
        equal, less = a == b, Mux(word[13], a < b, a.as_signed() < b.as_signed())
        taken, target = Signal(), Signal(32)
        m.d.comb += [
            taken.eq(is_unit[Unit.JUMP] | (is_unit[Unit.BRANCH]
                                           & (Mux(word[14], less, equal) ^ word[12]))),
            target.eq(Cat(Const(0, 1), address[1:])),
        ]

        # Rounding: a mode that does not exist is an illegal instruction.
        rounding, mode = Signal(Rounding), Signal(3)
        m.d.comb += [mode.eq(Mux(word[12:15] == 7, csr.rounding, word[12:15])),
                     rounding.eq(mode)]
        floats = Signal()
        m.d.comb += floats.eq(control.rd_f | control.rs1_f | control.rs2_f
                              | is_unit[Unit.FLOAT])

        # CSRs: bits to set or clear, none of which is no write.
        source = Signal(32)
        csr_writes = Signal()
        m.d.comb += [
            source.eq(Mux(word[14], word[15:20], a)), csr.number.eq(word[20:]),
            csr_writes.eq((word[12:14] == 1) | (word[15:20] != 0)),
        ]
        with m.Switch(word[12:14]):
            with m.Case(2):
                m.d.comb += csr.value.eq(csr.read | source)
            with m.Case(3):
                m.d.comb += csr.value.eq(csr.read & ~source)
            with m.Default():
                m.d.comb += csr.value.eq(source)

        refused, trap, cause, trap_value = self._traps(
            m, is_unit, floats, mode, csr_writes, taken, target, addressed, data_address)

        # What leaves when.
        quiet = Signal()        # nothing before this instruction is outstanding
        m.d.comb += quiet.eq(~self._x.busy.any() & ~self._f.busy.any() & ~unit.busy
                             & ~load_store.busy)
        system = control.system
        barrier = Signal()
        m.d.comb += [barrier.eq(is_unit[Unit.CSR] & (csr.number == Csr.BARRIER)),
                     self.at_barrier.eq(barrier & quiet)]
        finished = Signal()
        with m.Switch(control.unit):
            with m.Case(Unit.LOAD, Unit.STORE):
                m.d.comb += finished.eq(addressed & load_store.i.ready & ~load_store.fault)
            with m.Case(Unit.MULTIPLY):
                m.d.comb += finished.eq(multiply.i.ready)
            with m.Case(Unit.FLOAT):
                m.d.comb += finished.eq(unit.i.ready)
            with m.Case(Unit.CSR):
                m.d.comb += finished.eq(quiet & (self.release | ~barrier))
            with m.Case(Unit.SYSTEM):
                m.d.comb += finished.eq(quiet)
            with m.Default():
                m.d.comb += finished.eq(1)
        allowed = Signal()      # it may do something
        m.d.comb += allowed.eq(self._valid & ~refused & (self.state == CoreState.RUNNING))
        failed = Signal()       # its access did
        m.d.comb += failed.eq(allowed & addressed & load_store.i.ready & load_store.fault)
        port_free = self._port_free = Signal(name="port_free")
        m.d.comb += [
            self._done.eq(allowed & finished & port_free & ~trap),
            load_store.i.valid.eq(allowed & addressed),
            multiply.i.valid.eq(allowed & is_unit[Unit.MULTIPLY]),
            unit.i.valid.eq(allowed & is_unit[Unit.FLOAT]),
            self._late.eq(is_unit[Unit.LOAD] | is_unit[Unit.MULTIPLY] | is_unit[Unit.FLOAT]),
        ]
        trapping = Signal()
        taken_trap, taken_cause = Signal(), Signal(5)
        failure = Signal()      # a failed access, remembered until nothing is outstanding
        with m.If(self._leaves):
            m.d.sync += failure.eq(0)
        with m.Elif(failed):
            m.d.sync += failure.eq(1)
        m.d.comb += [
            trapping.eq(self._valid & (trap | failure)), taken_trap.eq(trapping & quiet),
            taken_cause.eq(Mux(failure, Mux(is_unit[Unit.STORE], Cause.STORE_FAULT,
                                            Cause.LOAD_FAULT), cause)),
            self._leaves.eq(self._done | taken_trap | (self._valid & self.stop & quiet)),
        ]
        with m.If(failure):     # asked once
            m.d.comb += [load_store.i.valid.eq(0), self._done.eq(0)]

        # Results at once.
        with m.Switch(control.unit):
            with m.Case(Unit.JUMP):
                m.d.comb += self._result.eq(self.pc + 4)
            with m.Case(Unit.CSR):
                m.d.comb += self._result.eq(csr.read)
            with m.Default():
                m.d.comb += self._result.eq(total)
                with m.If(control.floating.half):       # fmv.x.h, fmv.h.x
                    m.d.comb += self._result.eq(Cat(
                        total[:16], (total[15] | control.rd_f).replicate(16)))

        # Requests to the units.
        def unboxed(value):
            return Mux(control.floating.half & ~value[16:].all(), HALF.nan, value)

        request = unit.i.p
        adds = control.floating.unit_factor & ~control.floating.no_addend
        m.d.comb += [
            load_store.i.p.address.eq(data_address), load_store.i.p.write.eq(is_unit[Unit.STORE]),
            load_store.i.p.size.eq(word[12:14]), load_store.i.p.extend.eq(~word[14]),
            load_store.i.p.data.eq(b), load_store.i.p.rd.eq(word[7:12]),
            load_store.i.p.floating.eq(control.rd_f),
            multiply.i.p.operation.eq(word[12:15]), multiply.i.p.a.eq(a), multiply.i.p.b.eq(b),
            multiply.i.p.rd.eq(word[7:12]),
            request.op.eq(control.floating), request.rounding.eq(rounding),
            request.tag.eq(word[7:12]),
            request.a.eq(Mux(control.floating.kind == FloatKind.FROM_INTEGER, a, unboxed(a))),
            request.b.eq(unboxed(b)), request.c.eq(unboxed(Mux(adds, b, self._c))),
            csr.write.eq(self._done & is_unit[Unit.CSR] & csr_writes),
            csr.trap.eq(taken_trap), csr.cause.eq(taken_cause), csr.pc.eq(self.pc),
            csr.trap_value.eq(Mux(failure, data_address, trap_value)),
            csr.mret.eq(self._done & is_unit[Unit.SYSTEM] & (system == SystemOp.MRET)),
            self.flush.eq(self._done & is_unit[Unit.SYSTEM] & (system == SystemOp.FENCE_I)),
        ]
        with m.If(taken_trap):
            m.d.comb += [self._redirect.eq(1), self._target.eq(csr.handler)]
        with m.Elif(self._exits):       # nothing follows
            m.d.comb += self._redirect.eq(1)
        with m.Elif(self._done & taken):
            m.d.comb += [self._redirect.eq(1), self._target.eq(target)]
        with m.Elif(csr.mret):
            m.d.comb += [self._redirect.eq(1), self._target.eq(csr.return_pc)]
        with m.Elif(self.flush):
            m.d.comb += [self._redirect.eq(1), self._target.eq(self.pc + 4)]
        self._taken_trap = taken_trap
        m.d.comb += [
            self._exits.eq(csr.write & (csr.number == Csr.EXIT)),
            self.quiet.eq(quiet & ~self._fetch.busy & ~self._valid),
            csr.retired.eq(self._done),
            self.retire.eq(self._done | taken_trap),
            self.retired.pc.eq(self.pc), self.retired.word.eq(word),
            self.retired.to_x.eq(control.rd_x),
            self.retired.to_f.eq(control.rd_f), self.retired.late.eq(self._late),
            self.retired.value.eq(Mux(taken_trap, taken_cause, self._result)),
            self.retired.load.eq(is_unit[Unit.LOAD]), self.retired.store.eq(is_unit[Unit.STORE]),
            self.retired.address.eq(data_address), self.retired.csr.eq(csr.write),
            self.retired.data.eq(Mux(taken_trap, csr.trap_value,
                                     Mux(csr.write, csr.written, Mux(csr.mret, csr.status, b)))),
            self.retired.trap.eq(taken_trap),
        ]

    def _traps(self, m, is_unit, floats, mode, csr_writes, taken, target, addressed,
               address):
        """Whether the instruction traps by itself, cause and ``mtval``; before them, whether it
        does for a reason that is known early, without the comparison of a branch."""
        control, word, csr = self._control, self._word, self._csr
        trap, cause, value = Signal(), Signal(5), Signal(32)
        size = word[12:14]
        misaligned = Signal()
        m.d.comb += misaligned.eq(((size == 1) & address[0]) | ((size == 2) & address[:2].any()))
        illegal = Signal()
        m.d.comb += illegal.eq(
            ~control.legal | (floats & ~csr.float_on) | (control.rounds & (mode > 4))
            | (is_unit[Unit.CSR] & (~csr.present | (csr_writes & (csr.number[10:] == 3)))))
        is_system = is_unit[Unit.SYSTEM]
        # Later assignments win.
        with m.If(addressed & misaligned):
            m.d.comb += [trap.eq(1), value.eq(address), cause.eq(Mux(
                is_unit[Unit.STORE], Cause.STORE_MISALIGNED, Cause.LOAD_MISALIGNED))]
        with m.If(taken & target[1]):
            m.d.comb += [trap.eq(1), value.eq(target), cause.eq(Cause.FETCH_MISALIGNED)]
        with m.If(is_system & (control.system == SystemOp.ECALL)):
            m.d.comb += [trap.eq(1), value.eq(0), cause.eq(Cause.ECALL)]
        with m.If(is_system & (control.system == SystemOp.EBREAK)):
            m.d.comb += [trap.eq(1), value.eq(self.pc), cause.eq(Cause.BREAKPOINT)]
        with m.If(illegal):
            # Without the low bits set it is an instruction of 16 bits.
            m.d.comb += [trap.eq(1), value.eq(Mux(word[:2].all(), word, word[:16])),
                         cause.eq(Cause.ILLEGAL)]
        with m.If(self._fault):
            m.d.comb += [trap.eq(1), value.eq(self.pc), cause.eq(Cause.FETCH_FAULT)]
        refused = Signal()
        m.d.comb += refused.eq(illegal | self._fault | (addressed & misaligned))
        return refused, trap, cause, value

    def _write_back(self, m):
        """Late results have the write ports first; whatever waits keeps its result."""
        load_store, multiply, unit = self._load_store.o, self._multiply.o, self._float
        other, fma = unit.other, unit.fma_result
        x, f, word = self._x, self._f, self._word
        load_x, load_f = Signal(), Signal()
        other_x, other_f = Signal(), Signal()
        m.d.comb += [
            load_x.eq(load_store.valid & ~load_store.p.floating),
            load_f.eq(load_store.valid & load_store.p.floating),
            other_x.eq(other.valid & other.p.integer), other_f.eq(other.valid & ~other.p.integer),
            load_store.ready.eq(~load_store.p.floating | ~unit.fma_valid),
            multiply.ready.eq(~load_x),
            other.ready.eq(~unit.fma_valid & ~load_store.valid
                           & ~(other.p.integer & multiply.valid)),
            self.late_x_valid.eq(load_x | multiply.valid | (other_x & other.ready)),
            self.late_f_valid.eq(unit.fma_valid | load_f | other_f),
            self.late_x.eq(Mux(load_x, load_store.payload, Mux(
                multiply.valid, multiply.payload, Cat(other.p.tag, Const(0, 1), other.p.value)))),
            self.late_f.eq(Mux(unit.fma_valid, Cat(fma.tag, Const(1, 1), fma.value), Mux(
                load_f, load_store.payload, Cat(other.p.tag, Const(1, 1), other.p.value)))),
            self.late_flags_valid.eq(unit.fma_valid | (other.valid & other.ready)),
            self.late_flags.eq(Mux(unit.fma_valid, fma.flags, other.p.flags)),
            self._csr.flags_valid.eq(self.late_flags_valid),
            self._csr.flags.eq(self.late_flags), self._csr.float_written.eq(f.write.en),
        ]
        rd = word[7:12]
        at_once = Signal()
        m.d.comb += at_once.eq(~self._late)
        to = {"x": (x, self.late_x_valid, self.late_x, self._control.rd_x & (rd != 0)),
              "f": (f, self.late_f_valid, self.late_f, self._control.rd_f)}
        conflicts = []
        for letter, (registers, late, result, wanted) in to.items():
            wants = Signal(name=f"wants_{letter}")
            m.d.comb += [
                wants.eq(wanted), registers.write.addr.eq(Mux(late, result.rd, rd)),
                registers.write.data.eq(Mux(late, result.value, self._result)),
                registers.write.en.eq(Mux(late, (result.rd != 0) if letter == "x" else 1,
                                          wants & at_once & self._done)),
            ]
            conflicts.append(late & wants & at_once)
            cleared = Signal(32, name=f"{letter}_cleared")
            added = Signal(32, name=f"{letter}_added")
            m.d.comb += [cleared.eq(Mux(late, 1 << result.rd, 0)),
                         added.eq(Mux(self._control[f"rd_{letter}"] & self._late & self._done,
                                      1 << rd, 0))]
            m.d.sync += registers.busy.eq((registers.busy & ~cleared) | added)
        m.d.comb += self._port_free.eq(~Cat(conflicts).any())

    def _run(self, m):
        """The state of the kernel."""
        fetch, csr = self._fetch, self._csr
        m.d.comb += [
            fetch.enable.eq((self.state == CoreState.RUNNING) & ~self.stop),
            fetch.redirect.eq(self._redirect | self.start),
            fetch.target.eq(Mux(self.start, self.entry, self._target)),
        ]
        with m.If(self.start):
            m.d.sync += [self.state.eq(CoreState.RUNNING)]
        with m.Elif(self._exits):
            m.d.sync += [self.state.eq(CoreState.FINISHED), self.exit_value.eq(csr.value)]
        with m.Elif(self._taken_trap & ~csr.handled):
            m.d.sync += [self.state.eq(CoreState.TRAPPED), self.cause.eq(csr.cause),
                         self.trap_pc.eq(self.pc), self.trap_value.eq(csr.trap_value)]
        with m.Elif(self.stop & (self.state == CoreState.RUNNING)
                    & (~self._valid | self._leaves) & ~self._load_store.busy):
            m.d.sync += self.state.eq(CoreState.IDLE)
