"""The ways of results into a core's registers."""

from amaranth import Cat, Const, Mux, Signal

__all__ = ["write_back"]


def write_back(m, core, pipe):
    """Late results have the write ports first; whatever waits keeps its result."""
    load_store, multiply, unit = pipe.load_store.o, pipe.multiply.o, pipe.float
    other, fma = unit.other, unit.fma_result
    x, f, word, vector = pipe.x, pipe.f, pipe.word, pipe.vector.scalar
    vector_x, vector_f = Signal(), Signal()
    completion, seen = pipe.vector.completion, pipe.seen
    load_x, load_f = Signal(), Signal()
    other_x, other_f = Signal(), Signal()
    m.d.comb += [
        load_x.eq(load_store.valid & ~load_store.p.floating & ~load_store.p.vector),
        load_f.eq(load_store.valid & load_store.p.floating),
        other_x.eq(other.valid & other.p.integer), other_f.eq(other.valid & ~other.p.integer),
        load_store.ready.eq(~load_store.p.floating | ~unit.fma_valid),
        multiply.ready.eq(~load_x),
        vector_x.eq(vector.valid & ~vector.p.floating),
        vector_f.eq(vector.valid & vector.p.floating),
        vector.ready.eq(Mux(vector.p.floating, ~unit.fma_valid & ~load_f & ~other_f,
                            ~load_x & ~multiply.valid & ~other_x)),
        other.ready.eq(~unit.fma_valid & ~load_store.valid
                       & ~(other.p.integer & multiply.valid)),
        seen.late_x_valid.eq(load_x | multiply.valid | (other_x & other.ready)
                             | (vector_x & vector.ready)),
        seen.late_f_valid.eq(unit.fma_valid | load_f | (other_f & other.ready)
                             | (vector_f & vector.ready)),
        seen.late_x.eq(Mux(load_x, load_store.payload, Mux(
            multiply.valid, multiply.payload, Mux(
                other_x & other.ready, Cat(other.p.tag, Const(0, 1), other.p.value),
                vector.payload)))),
        seen.late_f.eq(Mux(unit.fma_valid, Cat(fma.tag, Const(1, 1), fma.value), Mux(
            load_f, load_store.payload, Mux(
                other_f, Cat(other.p.tag, Const(1, 1), other.p.value), vector.payload)))),
        seen.late_flags_valid.eq(unit.fma_valid | (other.valid & other.ready)),
        seen.late_flags.eq(Mux(unit.fma_valid, fma.flags, other.p.flags)),
        pipe.csr.flags_valid.eq(seen.late_flags_valid | pipe.vector.done),
        pipe.csr.flags.eq(Mux(seen.late_flags_valid, seen.late_flags, 0)
                          | Mux(pipe.vector.done, completion.flags.as_value(), 0)),
        pipe.csr.saturated.eq(pipe.vector.done & completion.saturated),
        pipe.csr.float_written.eq(f.write.en),
    ]
    rd = word[7:12]
    at_once = Signal()
    m.d.comb += at_once.eq(~pipe.late)
    to = {"x": (x, seen.late_x_valid, seen.late_x, pipe.control.rd_x & (rd != 0)),
          "f": (f, seen.late_f_valid, seen.late_f, pipe.control.rd_f)}
    conflicts = []
    for letter, (registers, late, result, wanted) in to.items():
        wants = Signal(name=f"wants_{letter}")
        m.d.comb += [
            wants.eq(wanted), registers.write.addr.eq(Mux(late, result.rd, rd)),
            registers.write.data.eq(Mux(late, result.value, pipe.result)),
            registers.write.en.eq(Mux(late, (result.rd != 0) if letter == "x" else 1,
                                      wants & at_once & pipe.done)),
        ]
        conflicts.append(late & wants & at_once)
        cleared = Signal(32, name=f"{letter}_cleared")
        added = Signal(32, name=f"{letter}_added")
        m.d.comb += [cleared.eq(Mux(late, 1 << result.rd, 0)),
                     added.eq(Mux(pipe.control[f"rd_{letter}"] & pipe.late & pipe.done,
                                  1 << rd, 0))]
        m.d.sync += registers.busy.eq((registers.busy & ~cleared) | added)
    m.d.comb += pipe.port_free.eq(~Cat(conflicts).any())
