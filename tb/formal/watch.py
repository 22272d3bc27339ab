"""Properties wired up: checkers connected to the ports of a bench, and asserted or assumed."""

from amaranth import Cat, Mux, Signal, Value
from amaranth.lib import data

from .properties import QueueCheck, StreamRule, Wait, count_ones

__all__ = ["QUEUE_CLAIM", "assume_stream", "deep_fifo_state", "fifo_entries", "follow",
           "number_of", "watch_queue", "watch_stream",
           "watch_turns", "window_allows", "wrap"]

QUEUE_CLAIM = ("No payload is lost, doubled, changed or overtaken; none enters a full buffer;"
               " output stable while stalled; `level` exact; latency as stated.")


def wrap(value, places):
    """``value`` modulo ``places``, for values below twice of it."""
    return Mux(value >= places, value - places, value)


def number_of(bits):
    """Number of the bit that is set, if exactly one is."""
    number = 0
    for n, bit in enumerate(bits):
        number = number | Mux(bit, n, 0)
    return number


def _rule(b, name, port):
    payload = Value.cast(port.payload)
    rule = StreamRule(len(payload))
    b.add(f"{name}_rule", rule)
    b.m.d.comb += [rule.valid.eq(port.valid), rule.ready.eq(port.ready), rule.payload.eq(payload)]
    return rule.ok


def watch_stream(b, name, port):
    """The output stream ``port`` keeps the stream rule."""
    b.invariant(_rule(b, name, port))


def assume_stream(b, name, port):
    """Whoever drives the input stream ``port`` keeps the stream rule."""
    b.assume(_rule(b, name, port))


def follow(b, name, *, put, put_data, get, get_data=None, width, capacity):
    """A ``QueueCheck`` on a queue that is described by expressions. Returns it.

    Without ``get_data`` the bench looks itself at what comes out.
    """
    queue = QueueCheck(width, capacity)
    b.add(name, queue)
    b.m.d.comb += [queue.put.eq(put), queue.put_data.eq(put_data), queue.get.eq(get),
                   queue.get_data.eq(queue.data if get_data is None else get_data)]
    b.invariant(queue.ok)
    b.invariant(queue.sane)
    b.invariant(queue.count <= capacity)
    return queue


def watch_queue(b, i, o, *, width, capacity, latency):
    """Properties of a queue between the streams ``i`` and ``o``. Returns its ``QueueCheck``."""
    queue = follow(b, "queue", put=i.valid & i.ready, put_data=i.payload, get=o.valid & o.ready,
                   get_data=o.payload, width=width, capacity=capacity)
    watch_stream(b, "o", o)
    wait = Wait(latency)
    b.add("o_wait", wait)
    b.m.d.comb += wait.waits.eq((queue.count != 0) & ~o.valid)
    # What is inside is offered in time.
    b.invariant(wait.cycles < latency)
    return queue


def watch_turns(b, *, offered, taken, above, extra=lambda _waited: 0):
    """Those who offer take turns: each lets the others pass once.

    ``offered``, ``taken``, ``above`` (those above the one taken last) have one bit each. ``extra``
    gives, for the number let pass, how many of them were of others, who have no turns. Returns
    the numbers let pass, by the bench's own count.
    """
    count = len(offered)
    limit = count - 1
    b.invariant(~above[0] & Cat(~above[n] | above[n + 1] for n in range(count - 1)).all())
    passed = []
    for n in range(count):
        let = Signal(range(2 * count + 8), name=f"let_pass_{n}")
        with b.m.If(taken[n] | ~offered[n]):
            b.m.d.sync += let.eq(0)
        with b.m.Elif(taken.any()):
            b.m.d.sync += let.eq(let + 1)
        before = Mux(above[n], count_ones(above[:n]), count_ones(above) + n)
        b.invariant(let + before <= limit + extra(let))
        passed.append(let)
    return passed


def fifo_entries(b, inside, path, depth, layout):
    """State what always holds inside a ``StreamFifo`` of at most 64 places; look at its entries.

    Returns the level and, oldest first, a pair for each place: whether it is taken, and its
    payload.
    """
    level, consume, produce = (inside[f"{path}/fifo/{name}"] for name in
                               ("level", "consume", "produce"))
    b.invariant((level <= depth) & (consume < depth) & (produce < depth))
    b.invariant(produce == wrap(consume + level, depth))
    entries = []
    for place in range(depth):
        row, drive = inside.memory(f"{path}/fifo/storage", wrap(consume + place, depth))
        b.m.d.comb += drive
        entries.append((place < level, data.View(data.Layout.cast(layout), row)))
    return level, entries


def deep_fifo_state(b, inside, path, depth):
    """State what always holds of the counters of a ``DeepFifo``. Returns its level."""
    level = inside[f"{path}/level"]
    b.invariant(inside[f"{path}/valid"] == (level != 0))
    b.invariant(inside[f"{path}/more"] == (level > 1))
    b.invariant(inside[f"{path}/room"] == (level != depth))
    b.invariant(level <= depth)
    return level


def window_allows(window, page, kind):
    """A page of GM lies in one of the two windows of a ring, with the permission ``kind``."""
    first, second = (window[f"gm{n}_{kind}"] & (page >= window[f"gm{n}_first"])
                     & (page <= window[f"gm{n}_last"]) for n in (0, 1))
    return first | second
