"""``DeepFifo``."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.watch import QUEUE_CLAIM, watch_queue

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.common.deep_fifo"
WIDTH = 4


def deep_fifo(depth):
    from amaranth import Mux

    from xpu_rtl.common.deep_fifo import DeepFifo

    b = Bench()
    dut = DeepFifo(WIDTH, depth)
    inside = b.add("dut", dut)
    queue = watch_queue(b, dut.i, dut.o, width=WIDTH, capacity=depth, latency=DeepFifo.LATENCY)
    b.invariant(dut.i.ready == (queue.count != depth))
    b.invariant(dut.level == queue.count)

    names = ("valid", "more", "fresh", "stored", "read", "write", "first")
    valid, more, fresh, stored, read, write, first = (inside[name] for name in names)
    b.invariant(valid == (queue.count != 0))
    b.invariant(more == (queue.count > 1))
    b.invariant(write == (read + queue.count - valid)[:len(write)])
    second, drive_second = inside.memory("memory/memory", read)
    row, drive_row = inside.memory("memory/memory", (read + queue.ahead - 1)[:len(read)])
    b.m.d.comb += [drive_second, drive_row]
    b.invariant(~fresh | (more & (stored == second)))
    b.invariant(~more | fresh | (inside["memory/r_data"] == second))
    b.invariant(~queue.followed | (queue.data == Mux(queue.ahead == 0, first, row)))
    return b


PROOFS = tuple(
    Proof(name=f"deep_fifo_{depth}", build="deep_fifo", arguments={"depth": depth},
          claim=QUEUE_CLAIM, mutants=mutants)
    for depth, mutants in (
        (2, ()),
        (5, (
            Mutant("stale second", Edit(MODULE, "fresh.eq(store & (~more | (take & two)))",
                                        "fresh.eq(store & ~more)")),
            Mutant("no bypass when emptied", Edit(MODULE, "(~valid | (get & ~more))", "~valid")),
            Mutant("takes one too many", Edit(MODULE, "self._depth - 1)]", "self._depth)]")),
            Mutant("looks at the first", Edit(MODULE, "memory.r_addr.eq(read + take)",
                                              "memory.r_addr.eq(read)")),
        )),
        (8, ()),
    ))
