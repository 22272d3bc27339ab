"""``AxiReadMux``."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.properties import QueueCheck, StreamRule, at_most_one, count_ones

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.common.axi_mux"
WIDTH = 8


def axi_read_mux(managers, background, patience):
    from amaranth import Cat, Const, Mux, Signal

    from xpu_rtl.common.axi_mux import AxiReadMux

    b = Bench()
    m = b.m
    dut = AxiReadMux(WIDTH, managers, background=background, patience=patience)
    inside = b.add("dut", dut)
    ar, r = dut.axi.ar, dut.axi.r

    rule = StreamRule(len(ar.payload.as_value()))
    b.add("ar_rule", rule)
    m.d.comb += [rule.valid.eq(ar.valid), rule.ready.eq(ar.ready), rule.payload.eq(ar.payload)]
    b.invariant(rule.ok)

    # Addresses: what a manager hands over comes out, with its number.
    taken = Signal(managers)
    for i in range(managers):
        own = dut.managers[i].ar
        rule = StreamRule(len(own.payload.as_value()))
        b.add(f"rule_{i}", rule)
        m.d.comb += [rule.valid.eq(own.valid), rule.ready.eq(own.ready),
                     rule.payload.eq(own.payload), taken[i].eq(own.valid & own.ready)]
        b.assume(rule.ok)
    b.invariant(at_most_one(taken))
    offered = Signal(managers)
    m.d.comb += offered.eq(Cat(manager.ar.valid for manager in dut.managers))
    b.invariant(taken.any() | ~offered.any() | (ar.valid & ~ar.ready))
    queue = QueueCheck(64 + 8 + 4, 1)
    b.add("queue", queue)
    put = Signal(64 + 8 + 4)
    for i in range(managers):
        with m.If(taken[i]):
            p = dut.managers[i].ar.p
            m.d.comb += put.eq(Cat(p.addr, p.len, Const(i, 4)))
    m.d.comb += [
        queue.put.eq(taken.any()), queue.put_data.eq(put),
        queue.get.eq(ar.valid & ar.ready), queue.get_data.eq(Cat(ar.p.addr, ar.p.len, ar.p.id)),
    ]
    b.invariant(queue.ok)
    b.invariant(queue.sane)
    b.invariant(queue.count == ar.valid)
    b.invariant(~queue.followed | (queue.data == queue.get_data))

    # Nobody is passed over for ever: addresses of others taken while one is offered.
    front = managers - background
    counts = []
    for i in range(managers):
        passed = Signal(range(patience + managers + 1), name=f"bench_passed_{i}")
        with m.If(taken[i]):
            m.d.sync += passed.eq(0)
        with m.Elif(taken.any() & offered[i]):
            m.d.sync += passed.eq(passed + 1)
        b.invariant((passed == 0) | offered[i])
        b.invariant(passed <= (managers - 1 if i < front else patience + background - 1))
        counts.append(passed)
    later = inside["later"]
    b.invariant(~later[0] & Cat(~later[i] | later[i + 1] for i in range(front - 1)).all())
    for i in range(front):      # each of the foreground once, each of the background once
        before = Mux(later[i], count_ones(later[:i]), count_ones(later) + i)
        others = count_ones([counts[j] < counts[i] for j in range(front, managers)])
        b.invariant(counts[i] + before <= front - 1 + others)
    for i in range(front, managers):    # late ones are passed only by late ones, by each once
        b.invariant(inside[f"passed_{i}"] == Mux(counts[i] > patience, patience, counts[i]))
        for extra in range(1, background):
            for recent in range(extra):
                others = [counts[j] <= recent for j in range(front, managers) if j != i]
                b.invariant((counts[i] != patience + extra) | (count_ones(others) > recent))

    # Data: to the manager of their number only, unchanged.
    for i in range(managers):
        own = dut.managers[i].r
        b.invariant(own.valid == (r.valid & (r.p.id == i)))
        b.invariant(~own.valid | (own.payload.as_value() == r.payload.as_value()))
        b.invariant((r.p.id != i) | (r.ready == own.ready))
    b.invariant((r.p.id < managers) | r.ready)
    return b


PROOFS = (
    Proof(
        name="axi_read_mux", build="axi_read_mux",
        arguments={"managers": 4, "background": 2, "patience": 4},
        claim=("Every address comes out once, unchanged, with its manager's ID, and stays until"
               " taken. A manager of the foreground is passed over at most managers - 1 times, one"
               " of the background patience + background - 1 times. Data go to the manager of their"
               " ID only."),
        assumes="Managers keep the stream rule; patience is at least managers - 1.",
        mutant_depth=16,
        mutants=(
            Mutant("address exchanged", Edit(MODULE, "free.eq(~valid | axi.ar.ready)",
                                             "free.eq(~valid | axi.ar.ready | axi.ar.p.len[0])")),
            Mutant("count kept", Edit(MODULE, "m.d.sync += count.eq(0)",
                                      "m.d.sync += count.eq(count[1:])"), incremental=True),
            Mutant("turns forgotten", Edit(MODULE, "later.eq((-2 << n)", "later.eq((-1 << n)")),
            Mutant("wrong number", Edit(MODULE, "address.id.eq(n)",
                                        "address.id.eq(n | late.any())")),
            Mutant("data to two", Edit(MODULE, "with m.Case(n):", "with m.Case(n, n + 8):")),
        )),
)
