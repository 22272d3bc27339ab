"""``BurstSplitter``."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.properties import StreamRule

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.dma.bursts"
CONTEXT = 2


def bursts(lanes):
    from amaranth import Signal

    from xpu_rtl.dma.bursts import BurstSplitter
    from xpu_rtl.params import XpuConfig

    config = XpuConfig(name="formal", lanes=lanes, epilogue_lanes=lanes)
    b = Bench()
    m = b.m
    dut = BurstSplitter(config, CONTEXT)
    inside = b.add("dut", dut)
    i, o = dut.i, dut.o
    rule = StreamRule(len(o.payload.as_value()))
    b.add("rule", rule)
    m.d.comb += [rule.valid.eq(o.valid), rule.ready.eq(o.ready), rule.payload.eq(o.payload)]
    b.invariant(rule.ok)

    # What the rows taken in still want: `beats` from `beat`, both of full width.
    active, fresh = Signal(), Signal()
    beat = Signal.like(i.p.beat)
    beats = Signal(len(i.p.beats) + 1)
    context = Signal(CONTEXT)
    move = Signal()
    size = Signal(9)
    m.d.comb += [move.eq(o.valid & o.ready), size.eq(o.p.len + 1)]
    with m.If(move):
        m.d.sync += [active.eq(~o.p.last), fresh.eq(0), beat.eq(beat + size),
                     beats.eq(beats - size)]
    with m.If(i.valid & i.ready):
        m.d.sync += [active.eq(1), fresh.eq(1), beat.eq(i.p.beat), beats.eq(i.p.beats + 1),
                     context.eq(i.p.context)]
        b.invariant(~active | (move & o.p.last))        # rows do not overtake
    b.invariant(o.valid == active)

    with m.If(o.valid):
        first_byte = (o.p.beat << config.word_shift)[:12]
        b.invariant(o.p.beat == beat)
        b.invariant(o.p.first == fresh)
        b.invariant(o.p.context == context)
        b.invariant(size <= beats)
        b.invariant(o.p.last == (size == beats))
        b.invariant(size <= config.burst_beats)
        b.invariant(o.p.beat % config.burst_beats + size <= config.burst_beats)
        b.invariant(first_byte + size * config.bus_bytes <= 4096)
        # As long as it can be.
        b.invariant(o.p.last | ((o.p.beat + size) % config.burst_beats == 0))
        b.invariant(inside["left"] + 1 == beats)
    # No idle cycle: the last burst of a row makes way for the next row.
    b.invariant(i.ready == (~active | (o.ready & o.p.last)))
    return b


PROOFS = tuple(
    Proof(name=f"bursts_{lanes}", build="bursts", arguments={"lanes": lanes},
          claim=("The bursts of a row cover exactly its beats, in order, each as long as the row"
                 " and its aligned block of burst_beats allow, never across 4 KiB; stable while"
                 " stalled."),
          mutants=mutants)
    for lanes, mutants in (
        (4, (
            Mutant("room of the wrong block", Edit(MODULE, "room.eq(~beat[:bits])",
                                                   "room.eq(~beat[:bits] | beat[0])")),
            Mutant("row ends early", Edit(MODULE, "last.eq(left <= room)",
                                          "last.eq(left <= room + 1)")),
            Mutant("block not aligned", Edit(MODULE, "beat[:bits].eq(0), ", "")),
            Mutant("row taken early", Edit(MODULE, "(self.o.ready & last)", "self.o.ready")),
        )),
        (64, ()),
    ))
