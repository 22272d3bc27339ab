"""How a core's execute stage configures the vector unit and passes it instructions."""

from types import SimpleNamespace

from amaranth import Cat, Const, Mux, Signal

from ..address_map import CORE_GM_LSB, CORE_SM_LSB
from ..command.windows import LINE_BYTES, sm_allowed
from ..float.bits import named
from ..float.ieee import Rounding
from ..vector.operations import Engine, Kind
from ..vector.types import TAG_BITS, VectorShape
from .instruction import Cause, Unit

__all__ = ["vector_issue"]

_LINE_SHIFT = LINE_BYTES.bit_length() - 1
_LARGEST_SEW = 2        # log2 of bytes: ELEN is 32


def vector_issue(m, core, pipe, is_unit):
    """Add the logic.

    A vector instruction stays for two cycles: it is checked, then enters the queue. A load or store
    that could fail goes element by element, and stays until it has ended.

    Returns
    -------
    Signals: ``illegal``, ``finished``, ``failed`` (by an access; ``cause`` and ``address`` are
    there in the next cycle), ``log`` and ``log_place`` (``data`` and ``address`` of ``Retired``);
    ``allowed`` is to be driven.
    """
    control, word, csr, vector = pipe.control, pipe.word, pipe.csr, pipe.vector
    config = core.config
    shape = VectorShape(config)
    op, state = control.vector, csr.vector
    is_vector = is_unit[Unit.VECTOR]
    allowed = Signal(name="vector_allowed")
    if not config.vector:
        nothing = Const(0, 32)
        return SimpleNamespace(
            allowed=allowed, illegal=is_vector | is_unit[Unit.CONFIGURE], finished=Const(0),
            failed=Const(0), cause=Const(0, 5), address=nothing, log=nothing, log_place=nothing)
    _configure(m, pipe, shape, is_unit[Unit.CONFIGURE])

    # First cycle: is it legal, how many elements, and where are they?
    check = pipe.vector_check
    m.d.comb += [
        check.op.eq(op), check.word.eq(word), check.sew.eq(state.sew), check.lmul.eq(state.lmul),
        check.vill.eq(state.vill), check.vstart_zero.eq(state.vstart == 0),
        check.rounding_valid.eq(csr.rounding != Rounding.DYNAMIC),
    ]
    is_load, is_store = op.engine == Engine.LOAD, op.engine == Engine.STORE
    memory = named(m, "vector_memory", 1, is_load | is_store)
    mop, consecutive = word[26:28], named(m, "consecutive", 1, word[26:28] == 0)
    on_mask = op.d_kind == Kind.MASK
    width = named(m, "access_width", 2, Mux(word[14], Cat(~word[13], word[13]), 0))
    count = named(m, "element_count", shape.vl_bits, Mux(
        op.whole, (Const(shape.vlen // 8) * (word[29:32] + 1)) >> width,
        Mux(on_mask, (state.vl + 7) >> 3, state.vl)))
    size = named(m, "access_bytes", shape.vl_bits + 1, count << Mux(consecutive, width, 0))
    base = pipe.a
    end = named(m, "access_end", 33, base + size)
    line, last_line = base[_LINE_SHIFT:CORE_SM_LSB], (end - 1)[_LINE_SHIFT:CORE_SM_LSB]
    local = named(m, "all_local", 1, end <= config.lm_bytes)
    shared = named(m, "all_shared", 1, (base[CORE_SM_LSB:CORE_GM_LSB] == 1)
                   & ~base[CORE_GM_LSB:].any()
                   & (end <= (1 << CORE_SM_LSB) + config.sm_bytes)
                   & Mux(is_store, sm_allowed(core.allowed, line, last_line, write=True),
                         sm_allowed(core.allowed, line, last_line, write=False)))
    aligned = ~(base & ((1 << width) - 1)[:2]).any()
    single_field = op.whole | (word[29:32] == 0)
    nothing = named(m, "no_elements", 1, state.vstart >= count)
    fast = named(m, "fast_access", 1, consecutive & single_field & aligned & ~core.flat
                 & (local | shared))

    checked = Signal(name="vector_checked")
    illegal, slow, is_shared = (Signal(name=f"vector_{name}", reset_less=True)
                                for name in ("bad", "slow", "shared"))
    reads, writes = (Signal(32, name=f"vector_{name}", reset_less=True)
                     for name in ("reads", "writes"))
    elements = Signal(shape.vl_bits, name="vector_elements", reset_less=True)
    m.d.sync += checked.eq(is_vector & ~pipe.leaves)
    with m.If(is_vector & ~checked):
        m.d.sync += [
            illegal.eq(check.illegal), reads.eq(check.reads), writes.eq(check.writes),
            slow.eq(memory & ~fast & ~nothing), is_shared.eq(shared),
            elements.eq(Mux(memory, count, state.vl)),
        ]

    # Second cycle: into the queue.
    tag, waiting = Signal(TAG_BITS, name="vector_tag"), Signal(name="vector_waiting")
    request = vector.i.p
    immediate = Cat(word[15:20], (word[19] & ~op.unsigned_immediate).replicate(27))
    offers = named(m, "vector_offers", 1, allowed & is_vector & checked & ~waiting
                   & ~(slow & vector.accessing))
    m.d.comb += [
        vector.i.valid.eq(offers), request.op.eq(op), request.vd.eq(word[7:12]),
        request.vs2.eq(word[20:25]), request.vs1.eq(word[15:20]), request.vm.eq(word[25]),
        request.scalar.eq(Mux(control.rs1_x | control.rs1_f, pipe.a, immediate)),
        request.stride.eq(pipe.b), request.vl.eq(elements), request.vstart.eq(state.vstart),
        request.sew.eq(state.sew), request.lmul.eq(state.lmul),
        request.rounding.eq(csr.rounding), request.vxrm.eq(state.vxrm),
        request.reads.eq(reads), request.writes.eq(writes), request.rd.eq(word[7:12]),
        request.to_f.eq(control.rd_f), request.tag.eq(tag), request.width.eq(width),
        request.mop.eq(mop), request.fields.eq(Mux(op.whole, 0, word[29:32])),
        request.slow.eq(slow), request.shared.eq(is_shared),
        request.first_fault.eq(is_load & consecutive & (word[20:25] == 16)),
    ]
    ended = named(m, "access_ended", 1, waiting & vector.memory_done)
    with m.If(offers & vector.i.ready & slow):
        m.d.sync += waiting.eq(1)
    with m.Elif(ended):
        m.d.sync += waiting.eq(0)
    with m.If(is_vector & pipe.leaves):
        m.d.sync += tag.eq(tag + 1)
    failed = named(m, "access_failed", 1, ended & vector.failed)
    cause, address = (Signal(5, name="access_cause", reset_less=True),
                      Signal(32, name="access_address", reset_less=True))
    with m.If(failed):
        m.d.sync += [address.eq(vector.address), cause.eq(Mux(
            is_store, Mux(vector.misaligned, Cause.STORE_MISALIGNED, Cause.STORE_FAULT),
            Mux(vector.misaligned, Cause.LOAD_MISALIGNED, Cause.LOAD_FAULT)))]
    m.d.comb += [
        csr.vstart_set.eq(failed), csr.vl_set.eq(ended & vector.trimmed),
        csr.place.eq(vector.index), csr.vector_done.eq(is_vector & pipe.done),
    ]
    vl = Mux(ended & vector.trimmed, vector.index, state.vl)
    log = Mux(is_vector, Cat(tag, Const(0, 8 - TAG_BITS), vl), _vtype(csr.new))
    return SimpleNamespace(
        allowed=allowed, illegal=((is_vector | is_unit[Unit.CONFIGURE]) & ~csr.vector_on)
        | (is_vector & checked & illegal),
        finished=(offers & vector.i.ready & ~slow) | (ended & ~vector.failed),
        failed=failed, cause=cause, address=address, log=log,
        log_place=Cat(tag, Const(0, 8 - TAG_BITS), state.vstart))


def _vtype(state):
    return Cat(state.lmul.as_unsigned(), state.sew, state.vta, state.vma,
               Const(0, 23), state.vill)


def _configure(m, pipe, shape, is_configure):
    """vsetvli, vsetivli and vsetvl."""
    word, csr = pipe.word, pipe.csr
    by_register = word[30:32] == 0b10
    immediate_length = word[30:32] == 0b11
    vtype = named(m, "asked_vtype", 32, Mux(by_register, pipe.b, Mux(
        immediate_length, word[20:30], word[20:31])))
    sew, lmul = vtype[3:6], vtype[:3].as_signed()
    same = named(m, "same_length", 1, ~immediate_length & (word[15:20] == 0))
    keeps = named(m, "keeps_length", 1, same & (word[7:12] == 0))
    # vl is kept only if the largest one stays.
    old = csr.vector
    valid = named(m, "vtype_valid", 1, ~vtype[8:].any() & (sew <= _LARGEST_SEW)
                  & (lmul != -4) & (lmul + _LARGEST_SEW >= sew)
                  & (~keeps | (~old.vill & ((sew - lmul) == (old.sew - old.lmul)))))
    registers = shape.vlen // 8
    largest = named(m, "asked_vlmax", shape.vl_bits, Mux(
        lmul < 0, registers >> sew[:2] >> (-lmul)[:2], (registers << lmul[:2]) >> sew[:2]))
    length = named(m, "asked_length", 32, Mux(immediate_length, word[15:20], Mux(
        same, Mux(keeps, old.vl, (1 << 32) - 1), pipe.a)))
    m.d.comb += [
        csr.configure.eq(is_configure & pipe.done), csr.new.vill.eq(~valid),
        csr.new.vl.eq(Mux(valid, Mux(length > largest, largest, length), 0)),
    ]
    # Of an illegal vtype nothing is seen but in logs.
    m.d.comb += [csr.new.sew.eq(sew), csr.new.lmul.eq(lmul), csr.new.vta.eq(vtype[6]),
                 csr.new.vma.eq(vtype[7])]
