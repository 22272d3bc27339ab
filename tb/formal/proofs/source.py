"""``Source``: the words of runs, in their order."""

from formal.axi import ReadMemory
from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.sizes import SMALL_BURSTS, SMALL_GM, small_config
from formal.watch import assume_stream, follow, watch_stream

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.dma.source"


def source():
    from amaranth import Mux, Signal
    from amaranth.lib import data

    from xpu_rtl.dma.source import Source
    from xpu_rtl.dma.stages import RunKind

    config = small_config()
    b = Bench()
    m = b.m
    dut = Source(config)
    b.add("dut", dut)
    run, word, ar, r, sm = dut.run, dut.o, dut.axi.ar, dut.axi.r, dut.sm
    assume_stream(b, "run", run)
    b.assume_constant("windows", dut.windows)
    b.assume(run.p.ring < config.rings)
    b.assume(run.p.beats < 4)
    halted = Signal()
    m.d.sync += halted.eq(dut.halt)
    b.assume(~halted | dut.halt)

    memory = ReadMemory(config.max_bursts, config.burst_beats)
    b.add("memory", memory)
    m.d.comb += [memory.ar.eq(ar.valid & ar.ready), memory.length.eq(ar.p.len),
                 memory.valid.eq(r.valid), memory.ready.eq(r.ready), memory.last.eq(r.p.last)]
    b.assume(memory.right)
    b.invariant(r.ready)
    b.invariant(memory.count + ar.valid <= config.max_bursts)
    watch_stream(b, "ar", ar)
    watch_stream(b, "req", sm.req)
    answers = Signal(range(64))
    m.d.sync += answers.eq(answers + (sm.req.valid & sm.req.ready) - sm.rsp.valid)
    b.assume(~sm.rsp.valid | (answers != 0))
    b.invariant(dut.busy | ((answers == 0) & (memory.count == 0) & ~ar.valid))

    # The runs taken, oldest first, and how many words of the oldest have come.
    depth = Source.RUNS_PER_BURST * config.max_bursts
    shape = data.StructLayout({"kind": RunKind, "beats": 2, "fill": 13})
    runs = Signal(data.ArrayLayout(shape, depth))
    count, at = Signal(range(depth + 1)), Signal(2)
    accept, moves, ends = Signal(), Signal(), Signal()
    kept = Signal.like(count)
    head = runs[0]
    m.d.comb += [
        accept.eq(run.valid & run.ready), moves.eq(word.valid & word.ready & ~word.p.fault),
        ends.eq(moves & (at == head.beats)), kept.eq(count - ends),
    ]
    with m.If(moves):
        m.d.sync += at.eq(Mux(ends, 0, at + 1))
    with m.If(ends):
        m.d.sync += [runs[n].eq(runs[n + 1]) for n in range(depth - 1)]
    m.d.sync += count.eq(kept + accept)
    for n in range(depth):
        with m.If(accept & (kept == n)):
            m.d.sync += [runs[n].kind.eq(run.p.kind), runs[n].beats.eq(run.p.beats),
                         runs[n].fill.eq(run.p.fill)]
    b.invariant((count != depth) | ~accept)
    b.invariant(~word.valid | (count != 0))
    b.invariant(~(dut.halt & word.valid))
    with m.If(word.valid & ~word.p.fault):
        b.invariant(head.kind != RunKind.FAULT)
        b.invariant((head.kind != RunKind.FILL) | (word.p.data[:13] == head.fill))
    # The beats of GM in the order they came, and only good ones; likewise the words of SM.
    beats = follow(b, "beats", put=r.valid, put_data=r.p.data ^ r.p.resp[1],
                   get=moves & (head.kind == RunKind.GM), get_data=word.p.data,
                   width=config.bus_width, capacity=config.read_beats)
    words = follow(b, "words", put=sm.rsp.valid, put_data=sm.rsp.payload,
                   get=moves & (head.kind == RunKind.SM), get_data=word.p.data,
                   width=config.word_width, capacity=16)
    b.invariant(~(word.valid & ~word.p.fault & (head.kind == RunKind.GM)) | (beats.count != 0))
    b.invariant(~(word.valid & ~word.p.fault & (head.kind == RunKind.SM)) | (words.count != 0))

    # Offered until taken, unless halted; nothing after a fault.
    stalled, fault, over = Signal(), Signal(), Signal()
    m.d.sync += [stalled.eq(word.valid & ~word.ready), fault.eq(word.p.fault)]
    b.invariant(~stalled | dut.halt | (word.valid & (word.p.fault == fault)))
    with m.If(word.valid & word.ready & word.p.fault):
        m.d.sync += over.eq(1)
    b.invariant(~over | ~word.valid)
    return b


PROOFS = (
    Proof(
        name="source", build="source", edits=SMALL_BURSTS + SMALL_GM, method="bmc", depth=7,
        mutant_depth=9,
        claim=("The words come in the order of the runs, as many as each has, from its memory in"
               " the order they were answered; no word of a bad beat; offered until taken; nothing"
               " after a fault or `halt`; `busy` whenever something is outstanding."),
        assumes=("Data and responses only when asked for, in order; windows constant; runs of at"
                 " most 4 words keep the stream rule; `halt` stays."),
        mutants=(
            Mutant("bad beat handed on", Edit(MODULE, "here.eq(gm_reader.o.valid & ~beat.resp[1])",
                                              "here.eq(gm_reader.o.valid)")),
            Mutant("a word short", Edit(MODULE, "at_last.eq(following == head.beats)",
                                        "at_last.eq(following == head.beats - head.beats[1])")),
            Mutant("told again", Edit(MODULE, "(here | (failed & ~told))", "(here | failed)")),
            Mutant("goes on when halted", Edit(MODULE, "(failed & ~told)) & ~self.halt)",
                                               "(failed & ~told)))")),
        )),
)
