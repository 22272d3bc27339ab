"""``GmReader``: the AXI rules of DMA reads."""

from formal.axi import ReadMemory, legal_burst
from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.sizes import SMALL_BURSTS, SMALL_GM, small_config
from formal.watch import (
    assume_stream,
    deep_fifo_state,
    fifo_entries,
    watch_stream,
    window_allows,
)

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.dma.gm_reader"


def gm_reader():
    from amaranth import Mux, Signal
    from amaranth.lib import data

    from xpu_rtl.dma.gm_reader import GmReader, GmRun
    from xpu_rtl.dma.types import beat_address

    config = small_config()
    b = Bench()
    m = b.m
    dut = GmReader(config, axi_id=5)
    inside = b.add("dut", dut)
    ar, r = dut.axi.ar, dut.axi.r
    assume_stream(b, "run", dut.run)
    b.assume_constant("windows", dut.windows)
    b.assume(dut.run.p.ring < config.rings)
    window = dut.windows[0]

    watch_stream(b, "ar", ar)
    watch_stream(b, "o", dut.o)
    legal = legal_burst(ar.p.addr, ar.p.len, beat_bytes=config.bus_bytes,
                        burst_beats=config.burst_beats)
    b.invariant(~ar.valid | legal)
    b.invariant(ar.p.id == 5)
    b.invariant(~ar.valid | window_allows(window, ar.p.addr[12:], "read"))

    # The memory owes what it has taken and not sent; each beat of it finds its place.
    memory = ReadMemory(config.max_bursts, config.burst_beats)
    b.add("memory", memory)
    m.d.comb += [memory.ar.eq(ar.valid & ar.ready), memory.length.eq(ar.p.len),
                 memory.valid.eq(r.valid), memory.ready.eq(r.ready), memory.last.eq(r.p.last)]
    b.assume(memory.right)
    b.invariant(memory.sane)
    b.invariant(r.ready)
    room = inside["beats/room"]
    b.invariant(~r.valid | room)
    outstanding = Signal(range(config.max_bursts + 2))
    m.d.comb += outstanding.eq(memory.count + ar.valid)
    b.invariant(outstanding <= config.max_bursts)
    b.invariant(dut.busy == (outstanding != 0))

    # A refused burst is the last that is looked at.
    ended, issue, refuse = (inside[name] for name in ("ended", "issue", "refuse"))
    b.invariant(~(ended | dut.stop) | ~(issue | refuse))
    b.invariant(~dut.ended | ended)

    # Helpers: places are either free, taken, or reserved for what was asked.
    level = deep_fifo_state(b, inside, "beats", config.read_beats)
    free, freed = inside["free"], inside["freed"]
    asked = Signal(8)
    m.d.comb += asked.eq(memory.beats + Mux(ar.valid, ar.p.len + 1, 0))
    b.invariant(free + freed + level + asked == config.read_beats)
    b.invariant(inside["outstanding"] == outstanding)
    b.invariant(inside["full"] == (outstanding == config.max_bursts))
    may_read = inside.view("may_read", data.StructLayout({
        f"gm{n}_{name}": 1 if name == "read" else 32 for n in (0, 1)
        for name in ("first", "last", "read")}))
    splitter_valid = inside["splitter/valid"]
    following = inside.view("next_run", GmRun(config))
    b.invariant(~inside["next_valid"] | (following.ring < config.rings))
    for name in may_read.shape().members:
        b.invariant(~splitter_valid | (may_read[name] == window[name]))
    checked = data.StructLayout({"beat": beat_address(config), "len": 8,
                                 "lane": config.word_shift, "first": 1, "allowed": 1})
    _, entries = fifo_entries(b, inside, "checked", 2, checked)
    for present, burst in entries:
        address = burst.beat << config.word_shift
        b.invariant(~present | legal_burst(address, burst.len, beat_bytes=config.bus_bytes,
                                           burst_beats=config.burst_beats))
        allowed = window_allows(window, address[12:], "read")
        b.invariant(~present | (burst.allowed == allowed))
    return b


PROOFS = (
    Proof(
        name="gm_reader", build="gm_reader", edits=SMALL_BURSTS + SMALL_GM,
        claim=("AR is stable and legal (aligned, length, 4 KiB) and in a page the ring may read;"
               " R is always taken and finds a place; never more than max_bursts outstanding;"
               " nothing is asked for after a refused burst or `stop`."),
        assumes=("Data only for addresses taken, in order, RLAST right; windows constant; runs keep"
                 " the stream rule."),
        mutants=(
            Mutant("no place reserved", Edit(MODULE, "(free > burst.len)", "(free > 0)")),
            Mutant("one burst too many", Edit(MODULE, "outstanding == config.max_bursts - 1",
                                              "outstanding == config.max_bursts")),
            Mutant("windows ignored", Edit(MODULE, "look & burst.allowed", "look")),
            Mutant("address exchanged", Edit(MODULE, "(~ar_valid | axi.ar.ready) & ~full",
                                             "~full")),
            Mutant("place given back twice", Edit(MODULE, "free - burst.len - 1, free) + freed",
                                                  "free - burst.len, free) + freed")),
        )),
)
