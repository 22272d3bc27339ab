"""The decode and register stages of a core."""

from amaranth import Cat, Mux, Signal

from .decode import Control
from .types import CoreState, FetchedInstruction

__all__ = ["decode_stage"]


def decode_stage(m, core, pipe):
    """Decode what is fetched; then read registers, wait for what is awaited, and pass the
    instruction on."""
    offered, decoder = pipe.fetch.o, pipe.decoder
    here, goes = Signal(name="d_valid"), Signal(name="d_leaves")
    control = Signal(Control, name="d_control", reset_less=True)
    immediate = Signal(32, name="d_immediate", reset_less=True)
    fetched = Signal(FetchedInstruction, name="d_fetched", reset_less=True)
    m.d.comb += [decoder.instruction.eq(offered.p.word), offered.ready.eq(~here | goes)]
    with m.If(pipe.fetch.redirect):
        m.d.sync += here.eq(0)
    with m.Elif(offered.ready):
        m.d.sync += here.eq(offered.valid)
    with m.If(offered.ready & offered.valid):
        m.d.sync += [control.eq(decoder.control), immediate.eq(decoder.immediate),
                     fetched.eq(offered.payload)]

    word = fetched.word
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
    m.d.comb += [
        hazard.eq(Cat(hazards).any() & ~fetched.fault),
        goes.eq(here & ~hazard & (~pipe.valid | pipe.leaves) & ~pipe.redirect
                & ~core.stop & (core.state == CoreState.RUNNING)),
    ]
    with m.If(goes):
        m.d.sync += [
            pipe.valid.eq(1), pipe.control.eq(control), pipe.word.eq(word),
            pipe.immediate.eq(immediate), pipe.fault.eq(fetched.fault),
            core.pc.eq(fetched.pc),
            pipe.a.eq(Mux(control.rs1_x, values["rs1_x"], Mux(
                control.rs1_f, values["rs1_f"], Mux(control.rs1_pc, fetched.pc, 0)))),
            pipe.b.eq(Mux(control.rs2_x, values["rs2_x"], Mux(
                control.rs2_f, values["rs2_f"],
                Mux(control.rs2_immediate, immediate, 0)))),
            pipe.c.eq(values["rs3_f"]),
        ]
    with m.Elif(pipe.leaves):
        m.d.sync += pipe.valid.eq(0)
