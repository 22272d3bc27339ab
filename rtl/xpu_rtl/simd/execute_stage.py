"""The execute stage of a core: what an instruction asks for, or its trap."""

from amaranth import Cat, Const, Mux, Signal

from ..address_map import CORE_SM_LSB
from ..float.ieee import HALF, Rounding
from ..float.unit import FloatKind
from .alu import alu
from .csr_numbers import Csr
from .instruction import Cause, SystemOp, Unit
from .types import CoreState
from .vector_issue import vector_issue

__all__ = ["execute_stage"]


def execute_stage(m, core, pipe):
    """Do what the instruction asks, or trap."""
    control, word, a, b = pipe.control, pipe.word, pipe.a, pipe.b
    csr, load_store, multiply, unit = pipe.csr, pipe.load_store, pipe.multiply, pipe.float
    seen = pipe.seen
    is_unit = {}
    for one in Unit:
        is_unit[one] = Signal(name=f"is_{one.name.lower()}")
        m.d.comb += is_unit[one].eq(pipe.valid & (control.unit == one))
    total, address = Signal(32), Signal(32)
    # Loads and stores take two cycles: their address is registered before it is looked at.
    memory, addressed = Signal(), Signal()
    data_address = Signal(32, reset_less=True)
    m.d.comb += memory.eq(is_unit[Unit.LOAD] | is_unit[Unit.STORE])
    m.d.sync += [addressed.eq(memory & ~pipe.leaves), data_address.eq(address)]
    m.d.comb += [
        total.eq(alu(m, control.alu, a, b)),
        # Jumps and memory: a + immediate; branches: pc + immediate.
        address.eq(Mux(control.unit == Unit.BRANCH, core.pc, a) + pipe.immediate),
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
                          | is_unit[Unit.FLOAT] | control.vector.float_of.any())

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

    # Loads and stores wait for those of the vector unit, as far as they could meet.
    apart = Signal()
    in_lm = ~core.flat & ~data_address[CORE_SM_LSB:].any()
    m.d.comb += apart.eq(Mux(in_lm & is_unit[Unit.LOAD], ~pipe.vector.storing,
                             ~pipe.vector.accessing))
    issue = vector_issue(m, core, pipe, is_unit)
    refused, trap, cause, trap_value = _traps(
        m, core, pipe, is_unit, floats, mode, csr_writes, taken, target, addressed, data_address,
        issue.illegal)

    # What leaves when.
    quiet = Signal()        # nothing before this instruction is outstanding
    m.d.comb += quiet.eq(~pipe.x.busy.any() & ~pipe.f.busy.any() & ~unit.busy
                         & ~load_store.busy & ~pipe.vector.busy)
    system = control.system
    barrier = Signal()
    m.d.comb += [barrier.eq(is_unit[Unit.CSR] & (csr.number == Csr.BARRIER)),
                 core.at_barrier.eq(barrier & quiet)]
    finished = Signal()
    with m.Switch(control.unit):
        with m.Case(Unit.LOAD, Unit.STORE):
            m.d.comb += finished.eq(addressed & apart & load_store.i.ready & ~load_store.fault)
        with m.Case(Unit.MULTIPLY):
            m.d.comb += finished.eq(multiply.i.ready)
        with m.Case(Unit.FLOAT):
            m.d.comb += finished.eq(unit.i.ready)
        with m.Case(Unit.CSR):
            m.d.comb += finished.eq(quiet & (core.resume | ~barrier))
        with m.Case(Unit.SYSTEM):
            m.d.comb += finished.eq(quiet)
        with m.Case(Unit.VECTOR):
            m.d.comb += finished.eq(issue.finished)
        with m.Default():
            m.d.comb += finished.eq(1)
    allowed = Signal()      # it may do something
    scalar_access = Signal()
    m.d.comb += allowed.eq(pipe.valid & ~refused & (core.state == CoreState.RUNNING))
    failed = Signal()       # its access did
    m.d.comb += failed.eq((allowed & addressed & apart & load_store.i.ready & load_store.fault)
                          | issue.failed)
    m.d.comb += [
        pipe.done.eq(allowed & finished & pipe.port_free & ~trap),
        issue.allowed.eq(allowed), scalar_access.eq(allowed & addressed & apart),
        multiply.i.valid.eq(allowed & is_unit[Unit.MULTIPLY]),
        unit.i.valid.eq(allowed & is_unit[Unit.FLOAT]),
        pipe.late.eq(is_unit[Unit.LOAD] | is_unit[Unit.MULTIPLY] | is_unit[Unit.FLOAT]
                     | is_unit[Unit.VECTOR]),
    ]
    trapping = Signal()
    taken_trap, taken_cause = pipe.taken_trap, Signal(5)
    failure = Signal()      # a failed access, remembered until nothing is outstanding
    with m.If(pipe.leaves):
        m.d.sync += failure.eq(0)
    with m.Elif(failed):
        m.d.sync += failure.eq(1)
    m.d.comb += [
        trapping.eq(pipe.valid & (trap | failure)), taken_trap.eq(trapping & quiet),
        taken_cause.eq(Mux(failure, Mux(
            is_unit[Unit.VECTOR], issue.cause,
            Mux(is_unit[Unit.STORE], Cause.STORE_FAULT, Cause.LOAD_FAULT)), cause)),
        pipe.leaves.eq(pipe.done | taken_trap | (pipe.valid & core.stop & quiet)),
    ]
    with m.If(failure):     # asked once
        m.d.comb += [scalar_access.eq(0), issue.allowed.eq(0), pipe.done.eq(0)]

    # Results at once.
    with m.Switch(control.unit):
        with m.Case(Unit.JUMP):
            m.d.comb += pipe.result.eq(core.pc + 4)
        with m.Case(Unit.CSR):
            m.d.comb += pipe.result.eq(csr.read)
        with m.Case(Unit.CONFIGURE):
            m.d.comb += pipe.result.eq(csr.new.vl)
        with m.Default():
            m.d.comb += pipe.result.eq(total)
            with m.If(control.floating.half):       # fmv.x.h, fmv.h.x
                m.d.comb += pipe.result.eq(Cat(
                    total[:16], (total[15] | control.rd_f).replicate(16)))

    # Requests to the units.
    def unboxed(value):
        return Mux(control.floating.half & ~value[16:].all(), HALF.nan, value)

    request = unit.i.p
    adds = control.floating.unit_factor & ~control.floating.no_addend
    fences = Signal()
    # The vector unit's accesses come while the pipeline waits for them.
    element = pipe.vector.element
    m.d.comb += [load_store.i.valid.eq(scalar_access | element.valid),
                 element.ready.eq(load_store.i.ready), pipe.vector.fault.eq(load_store.fault)]
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
        request.b.eq(unboxed(b)), request.c.eq(unboxed(Mux(adds, b, pipe.c))),
        csr.write.eq(pipe.done & is_unit[Unit.CSR] & csr_writes),
        csr.trap.eq(taken_trap), csr.cause.eq(taken_cause), csr.pc.eq(core.pc),
        csr.trap_value.eq(Mux(failure, Mux(is_unit[Unit.VECTOR], issue.address, data_address),
                              trap_value)),
        csr.mret.eq(pipe.done & is_unit[Unit.SYSTEM] & (system == SystemOp.MRET)),
        fences.eq(pipe.done & is_unit[Unit.SYSTEM] & (system == SystemOp.FENCE_I)),
    ]
    m.d.sync += core.flush.eq(fences)
    with m.If(element.valid):
        m.d.comb += load_store.i.payload.eq(element.payload)
    with m.If(taken_trap):
        m.d.comb += [pipe.redirect.eq(1), pipe.target.eq(csr.handler)]
    with m.Elif(pipe.exits):       # nothing follows
        m.d.comb += pipe.redirect.eq(1)
    with m.Elif(pipe.done & taken):
        m.d.comb += [pipe.redirect.eq(1), pipe.target.eq(target)]
    with m.Elif(csr.mret):
        m.d.comb += [pipe.redirect.eq(1), pipe.target.eq(csr.return_pc)]
    with m.Elif(fences):
        m.d.comb += [pipe.redirect.eq(1), pipe.target.eq(core.pc + 4)]
    m.d.comb += [
        pipe.exits.eq(csr.write & (csr.number == Csr.EXIT)),
        core.quiet.eq(quiet & ~pipe.fetch.busy & ~pipe.valid),
        csr.retired.eq(pipe.done),
        seen.retire.eq(pipe.done | taken_trap),
        seen.retired.pc.eq(core.pc), seen.retired.word.eq(word),
        seen.retired.to_x.eq(control.rd_x),
        seen.retired.to_f.eq(control.rd_f), seen.retired.late.eq(pipe.late),
        seen.retired.value.eq(Mux(taken_trap, taken_cause, pipe.result)),
        seen.retired.load.eq(is_unit[Unit.LOAD]), seen.retired.store.eq(is_unit[Unit.STORE]),
        seen.retired.address.eq(Mux(is_unit[Unit.VECTOR], issue.log_place, data_address)),
        seen.retired.csr.eq(csr.write),
        seen.retired.data.eq(Mux(taken_trap, csr.trap_value,
                                 Mux(csr.write, csr.written, Mux(csr.mret, csr.status, Mux(
                                     is_unit[Unit.VECTOR] | is_unit[Unit.CONFIGURE],
                                     issue.log, b))))),
        seen.retired.vector.eq(is_unit[Unit.VECTOR]),
        seen.retired.configure.eq(is_unit[Unit.CONFIGURE]),
        seen.retired.trap.eq(taken_trap),
    ]


def _traps(m, core, pipe, is_unit, floats, mode, csr_writes, taken, target, addressed,
           address, vector_illegal):
    """Whether the instruction traps by itself, cause and ``mtval``; before them, whether it
    does for a reason that is known early, without the comparison of a branch."""
    control, word, csr = pipe.control, pipe.word, pipe.csr
    trap, cause, value = Signal(), Signal(5), Signal(32)
    size = word[12:14]
    misaligned = Signal()
    m.d.comb += misaligned.eq(((size == 1) & address[0]) | ((size == 2) & address[:2].any()))
    illegal = Signal()
    m.d.comb += illegal.eq(
        ~control.legal | vector_illegal | (floats & ~csr.float_on) | (control.rounds & (mode > 4))
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
        m.d.comb += [trap.eq(1), value.eq(core.pc), cause.eq(Cause.BREAKPOINT)]
    with m.If(illegal):
        # Without the low bits set it is an instruction of 16 bits.
        m.d.comb += [trap.eq(1), value.eq(Mux(word[:2].all(), word, word[:16])),
                     cause.eq(Cause.ILLEGAL)]
    with m.If(pipe.fault):
        m.d.comb += [trap.eq(1), value.eq(core.pc), cause.eq(Cause.FETCH_FAULT)]
    refused = Signal()
    m.d.comb += refused.eq(illegal | pipe.fault | (addressed & misaligned))
    return refused, trap, cause, value
