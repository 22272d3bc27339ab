"""``GmSink``: the AXI rules of DMA writes."""

from formal.axi import WriteOrder, legal_burst
from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.sizes import SMALL_BURSTS, SMALL_GM, small_config
from formal.watch import (
    assume_stream,
    deep_fifo_state,
    fifo_entries,
    follow,
    watch_stream,
    window_allows,
)

__all__ = ["PROOFS"]

SINK = "xpu_rtl.dma.gm_sink"
BURSTS = "xpu_rtl.dma.write_bursts"


def gm_sink():
    from amaranth import Cat, Mux, Signal
    from amaranth.lib import data

    from xpu_rtl.command.windows import RingWindows
    from xpu_rtl.common.axi import AxiWriteBeat
    from xpu_rtl.dma.gm_sink import GmSink
    from xpu_rtl.dma.types import Burst, beat_address
    from xpu_rtl.dma.write_bursts import WriteBurst

    config = small_config(max_bursts=4)
    held = 4        # beats on their way to W, each perhaps a burst
    longest, shift = config.burst_beats, config.word_shift
    b = Bench()
    m = b.m
    dut = GmSink(config, axi_id=5)
    inside = b.add("dut", dut)
    aw, w, answers = dut.axi.aw, dut.axi.w, dut.axi.b
    assume_stream(b, "run", dut.run)
    assume_stream(b, "i", dut.i)
    b.assume_constant("windows", dut.windows)
    b.assume(dut.run.p.ring < config.rings)
    window = dut.windows[0]
    halted = Signal()
    m.d.sync += halted.eq(dut.halt)
    b.assume(~halted | dut.halt)

    def legal(beat, length):
        return legal_burst(beat << shift, length, beat_bytes=config.bus_bytes, burst_beats=longest)

    def allowed(beat):
        return window_allows(window, (beat << shift)[12:], "write")

    # What AXI sees. A burst is born in the sink with `start`.
    start, in_burst, left, stop, lead, enough, burst_valid, come = (
        inside[name] for name in
        ("start", "in_burst", "left", "stop", "lead", "enough", "burst_valid", "come"))
    burst = inside.view("burst", WriteBurst(config))
    order = WriteOrder(config.max_bursts, held, longest)
    b.add("order", order)
    m.d.comb += [
        order.start.eq(start), order.length.eq(burst.len), order.aw.eq(aw.valid & aw.ready),
        order.w.eq(w.valid & w.ready), order.w_last.eq(w.p.last),
        order.b.eq(answers.valid & answers.ready),
    ]
    b.assume(~answers.valid | (order.answerable != 0))
    b.invariant(order.ok)
    b.invariant(order.sane)
    b.invariant(order.unanswered <= config.max_bursts)
    b.invariant((order.answerable == 0) | answers.ready)
    watch_stream(b, "aw", aw)
    watch_stream(b, "w", w)
    b.invariant(~aw.valid | legal_burst(aw.p.addr, aw.p.len, beat_bytes=config.bus_bytes,
                                        burst_beats=longest))
    b.invariant(~aw.valid | window_allows(window, aw.p.addr[12:], "write"))
    b.invariant(aw.p.id == 5)
    b.invariant(~w.valid | (order.bursts + aw.valid > order.addresses))     # its AW is offered
    b.invariant(~w.valid | (order.bursts != 0))
    addresses = follow(b, "addresses", put=start, put_data=Cat(burst.beat, burst.len),
                       get=order.aw, get_data=Cat(aw.p.addr[shift:shift + len(burst.beat)],
                                                  aw.p.len),
                       width=len(burst.beat) + 8, capacity=2)
    # Stopped means stopped, and over when no longer busy.
    b.invariant(~(start & stop))
    over = dut.failed & ~dut.busy
    b.invariant(~over | ((order.unanswered == 0) & ~aw.valid & ~w.valid & ~in_burst))

    # A begun burst always ends: its words are there, or come from SM, or are no longer wanted.
    level = deep_fifo_state(b, inside, "words", 2 * longest)
    certain = Signal()          # the words of the burst under way come whatever AXI does
    with m.If(start):
        m.d.sync += certain.eq(burst.sure)
    rest = Signal(8)
    m.d.comb += rest.eq(Mux(in_burst, left + 1, 0))
    b.invariant(~in_burst | certain | stop | (level >= rest))
    b.invariant(~start | burst.sure | (level > burst.len))

    # Helpers: words are counted right, in the sink and in its bursts.
    wanted = Signal(8)          # up to the end of `burst`
    m.d.comb += wanted.eq(rest + burst.len + 1)
    taken_end = Signal(len(come))
    m.d.comb += taken_end.eq(Mux(burst_valid, burst.end, come - level + rest))
    b.invariant(stop | ~burst_valid | (burst.end == (come - level + wanted)[:len(come)]))
    b.invariant(~burst_valid | (burst.len < longest))
    b.invariant(stop | ~(burst_valid & enough) | burst.sure | (level >= wanted))
    b.invariant(~(burst_valid & burst.legal) | (legal(burst.beat, burst.len)
                                                & allowed(burst.beat)))
    _, entries = fifo_entries(b, inside, "bursts/fifo", 2, WriteBurst(config))
    end = taken_end
    for present, entry in entries:
        b.invariant(~present | (entry.len < longest))
        b.invariant(~(present & entry.legal) | (legal(entry.beat, entry.len)
                                                & allowed(entry.beat)))
        b.invariant(stop | ~present | (entry.end == (end + entry.len + 1)[:len(come)]))
        end = Mux(present, entry.end, end)
    b.invariant(stop | (inside["bursts/end"] == end))
    context = data.StructLayout({"direct": 1, "fault": 1, "row_last": 1, "last": 1, "ring": 3})
    tested = inside.view("bursts/burst", Burst(config, context))
    tested_valid = inside["bursts/valid"]
    windows = inside.view("bursts/windows", RingWindows())
    b.invariant(~tested_valid | legal(tested.beat, tested.len))
    b.invariant(~tested_valid | (windows.as_value() == window.as_value()))
    split_context = inside.view("bursts/splitter/context", context)
    b.invariant(~inside["bursts/splitter/valid"] | (split_context.ring < config.rings))

    # Helpers: beats on their way to W.
    address = data.StructLayout({"beat": beat_address(config), "len": 8})
    address_level, entries = fifo_entries(b, inside, "addresses", 2, address)
    b.invariant((address_level == order.addresses) & (address_level == addresses.count))
    for place, (present, entry) in enumerate(entries):
        b.invariant(~present | (legal(entry.beat, entry.len) & allowed(entry.beat)))
        b.invariant(~addresses.followed | (addresses.ahead != place)
                    | (entry.as_value() == addresses.data))
    beat_level, entries = fifo_entries(b, inside, "beats", held, AxiWriteBeat(config.bus_width))
    number, at = Signal(range(held + 1), name="number_0"), Signal(8, name="at_0")
    m.d.comb += at.eq(order.at)
    for place, (present, entry) in enumerate(entries):      # each ends its burst or does not
        ends = Signal(name=f"ends_{place}")
        next_number = Signal(range(held + 1), name=f"number_{place + 1}")
        next_at = Signal(8, name=f"at_{place + 1}")
        m.d.comb += [
            ends.eq(at == order.lengths[number]), next_number.eq(number + ends),
            next_at.eq(Mux(ends, 0, at + 1)),
        ]
        b.invariant(~present | (entry.last == ends))
        number, at = next_number, next_at
    b.invariant(order.beats == beat_level + rest)
    newest = Signal(8)
    m.d.comb += newest.eq(order.lengths[(order.bursts - 1)[:2]])
    b.invariant(~in_burst | ((order.bursts != 0) & (left < newest)))
    b.invariant(lead == order.bursts - order.addresses)
    b.invariant(inside["owed/fifo/level"] == order.unanswered)
    return b


PROOFS = (
    Proof(
        name="gm_sink", build="gm_sink", edits=SMALL_BURSTS + SMALL_GM,
        claim=("AW and W are stable; bursts are legal (aligned, length, 4 KiB) and in pages the"
               " ring may write; WLAST exactly with the last beat of each, in the order of AW, no"
               " beat before its AW is offered; at most max_bursts unanswered, each response is"
               " taken at once; a begun burst has its words; nothing begins after a fault, which is"
               " reported when all is answered."),
        assumes=("Responses only to bursts whose address and last beat are taken; windows"
                 " constant; `run` and `i` keep the stream rule; `halt` stays."),
        mutants=(
            Mutant("begins too early", Edit(SINK, "bursts.o.p.sure | ~spare_behind[-1]",
                                            "bursts.o.p.sure | (come != bursts.o.p.end - 1)")),
            Mutant("WLAST early", Edit(SINK, "Mux(in_burst, left == 0, burst.len == 0)",
                                       "Mux(in_burst, left <= 1, burst.len == 0)")),
            Mutant("beat before address", Edit(SINK, "behind.eq(lead < 0)", "behind.eq(0)")),
            Mutant("goes on after halt", Edit(SINK, "~in_burst & ~stop),", "~in_burst),")),
            Mutant("windows ignored", Edit(
                BURSTS, "gm_allowed(windows, page, write=True) &",
                "(gm_allowed(windows, page, write=True) | burst.first) &")),
            Mutant("words miscounted", Edit(BURSTS, "tested.end.eq(end + burst.len + 1)",
                                            "tested.end.eq(end + burst.len)")),
            Mutant("burst forgotten", Edit(SINK, "owed.i.valid.eq(start)",
                                           "owed.i.valid.eq(start & ~addresses.o.valid)")),
        )),
)
