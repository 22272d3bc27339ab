"""``BeatFifo``."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.watch import QUEUE_CLAIM, watch_queue

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.command.beat_fifo"
WIDTH = 4


def beat_fifo(depth):
    from xpu_rtl.command.beat_fifo import BeatFifo

    b = Bench()
    dut = BeatFifo(width=WIDTH, depth=depth)
    inside = b.add("dut", dut)
    queue = watch_queue(b, dut.i, dut.o, width=WIDTH, capacity=depth + 1, latency=BeatFifo.LATENCY)
    b.invariant(dut.i.ready | (queue.count >= depth))

    level, valid = inside["level"], inside["valid"]
    w_addr, r_addr = inside["w_addr"], inside["r_addr"]
    b.invariant((level <= depth) & (queue.count == level + valid))
    b.invariant(w_addr == (r_addr + level)[:len(w_addr)])
    row, drive = inside.memory("memory/memory", (r_addr + queue.ahead - valid)[:len(r_addr)])
    b.m.d.comb += drive
    stored = queue.followed & (queue.ahead >= valid)
    b.invariant(~stored | (row == queue.data))
    b.invariant(~(queue.followed & ~stored) | (dut.o.payload == queue.data))
    return b


PROOFS = (
    Proof(name="beat_fifo", build="beat_fifo", arguments={"depth": 4}, claim=QUEUE_CLAIM, mutants=(
        Mutant("takes one too many", Edit(MODULE, "level != self._depth",
                                          "level != self._depth + 1")),
        Mutant("overwrites the output", Edit(MODULE, "(~valid | self.o.ready)",
                                             "(~valid | self.o.ready | self.i.valid)")),
        Mutant("output stays valid", Edit(MODULE, "m.Elif(self.o.ready)",
                                          "m.Elif(self.o.ready & ~self.i.valid)")),
    )),
)
