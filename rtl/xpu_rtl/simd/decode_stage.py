"""The decode stage of a core."""

from amaranth import Cat, Mux, Signal

from .types import CoreState

__all__ = ["decode_stage"]


def decode_stage(m, core, pipe, control, immediate):
    """Read registers, wait for what is awaited, and pass the instruction on."""
    word, offered = pipe.fetch.o.p.word, pipe.fetch.o
    rd = pipe.word[7:12]
    sources = {"rs1": word[15:20], "rs2": word[20:25], "rs3": word[27:32]}
    values = {}
    hazards = []
    for letter, registers in (("x", pipe.x), ("f", pipe.f)):
        writes = Signal(name=f"writes_{letter}")
        m.d.comb += writes.eq(pipe.valid & pipe.control[f"rd_{letter}"]
                              & ((rd != 0) if letter == "x" else 1))
        for name, port in zip(sources, registers.read, strict=False):
            number = sources[name]
            same, value = Signal(name=f"{name}_{letter}_same"), Signal(
                32, name=f"{name}_{letter}")
            m.d.comb += [port.addr.eq(number), same.eq(writes & (rd == number)),
                         value.eq(Mux(same, pipe.result, port.data))]
            values[f"{name}_{letter}"] = value
            hazards.append(control[f"{name}_{letter}"] & (
                registers.busy.bit_select(number, 1) | (same & pipe.late)))
        hazards.append(control[f"rd_{letter}"] & (
            registers.busy.bit_select(word[7:12], 1)
            | (writes & pipe.late & (rd == word[7:12]))))
    hazard = Signal()
    m.d.comb += hazard.eq(Cat(hazards).any() & ~offered.p.fault)
    goes = Signal()
    m.d.comb += [
        goes.eq(offered.valid & ~hazard & (~pipe.valid | pipe.leaves) & ~pipe.redirect
                & ~core.stop & (core.state == CoreState.RUNNING)),
        offered.ready.eq(goes),
    ]
    with m.If(goes):
        m.d.sync += [
            pipe.valid.eq(1), pipe.control.eq(control), pipe.word.eq(word),
            pipe.immediate.eq(immediate), pipe.fault.eq(offered.p.fault),
            core.pc.eq(offered.p.pc),
            pipe.a.eq(Mux(control.rs1_x, values["rs1_x"], Mux(
                control.rs1_f, values["rs1_f"], Mux(control.rs1_pc, offered.p.pc, 0)))),
            pipe.b.eq(Mux(control.rs2_x, values["rs2_x"], Mux(
                control.rs2_f, values["rs2_f"],
                Mux(control.rs2_immediate, immediate, 0)))),
            pipe.c.eq(values["rs3_f"]),
        ]
    with m.Elif(pipe.leaves):
        m.d.sync += pipe.valid.eq(0)
