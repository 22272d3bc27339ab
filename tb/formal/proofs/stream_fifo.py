"""``StreamFifo``, both kinds of storage."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.watch import QUEUE_CLAIM, watch_queue, wrap

__all__ = ["PROOFS"]

WIDTH = 4


def stream_fifo(depth):
    from xpu_rtl.common.fifo import StreamFifo

    b = Bench()
    dut = StreamFifo(WIDTH, depth)
    inside = b.add("dut", dut)
    queue = watch_queue(b, dut.i, dut.o, width=WIDTH, capacity=depth, latency=dut.latency)
    # A place that is free can be used (the output register of a large one only by passing on).
    room = depth if depth <= 64 else depth - 1
    b.invariant(dut.i.ready | (queue.count >= room))
    b.invariant(dut.level == queue.count)

    produce, consume = inside["fifo/produce"], inside["fifo/consume"]
    places = depth if depth <= 64 else depth - 1
    level = inside["fifo/level"] if depth <= 64 else inside["fifo/inner_level"]
    registered = 0 if depth <= 64 else inside["fifo/r_rdy"]
    b.invariant((produce < places) & (consume < places) & (level <= places))
    total = consume + level
    b.invariant(produce == wrap(total, places))
    b.invariant(queue.count == level + registered)
    row, drive = inside.memory("fifo/storage", wrap(consume + queue.ahead - registered, places))
    b.m.d.comb += drive
    in_memory = queue.followed & (queue.ahead >= registered)
    b.invariant(~in_memory | (row == queue.data))
    if depth > 64:
        b.invariant(~(queue.followed & ~in_memory) | (dut.o.payload == queue.data))
    return b


PROOFS = (
    *(Proof(name=f"stream_fifo_{depth}", build="stream_fifo", arguments={"depth": depth},
            claim=QUEUE_CLAIM, registers=depth <= 64, mutants=mutants)
      for depth, mutants in (
          (1, ()),
          (3, (Mutant("takes when full", Edit(
                  "xpu_rtl.common.fifo", "self.i.ready.eq(inner.w_rdy)", "self.i.ready.eq(1)")),
               Mutant("level of the next cycle", Edit(
                   "xpu_rtl.common.fifo", "self.level.eq(inner.level)",
                   "self.level.eq(inner.level + (inner.w_en & inner.w_rdy))")))),
          (66, ()))),
)
