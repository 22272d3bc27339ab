"""Properties that many blocks share: streams, queues, AXI channels.

Each checker watches signals and returns conditions through its ``ok`` bits; the bench asserts them
for the outputs of a block and assumes them for its inputs.
"""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["QueueCheck", "StreamRule", "Wait", "at_most_one", "count_ones"]


def count_ones(bits):
    """Number of ones of a ``Value``."""
    return sum((bit for bit in bits), 0)


def at_most_one(bits):
    """No two bits are set."""
    return (bits & (bits - 1))[:len(bits)] == 0


class StreamRule(wiring.Component):
    """Once offered, a payload is offered unchanged until it is taken.

    Members
    -------
    valid, ready, payload : In
    ok : Out(1)
        The rule holds in this cycle.
    """

    def __init__(self, width):
        super().__init__({"valid": In(1), "ready": In(1), "payload": In(width), "ok": Out(1)})

    def elaborate(self, platform):
        m = Module()
        stalled = Signal()
        before = Signal(len(self.payload), reset_less=True)
        m.d.sync += [stalled.eq(self.valid & ~self.ready), before.eq(self.payload)]
        m.d.comb += self.ok.eq(~stalled | (self.valid & (self.payload == before)))
        return m


class Wait(wiring.Component):
    """How many cycles in a row ``waits`` has been high, this one included.

    Members
    -------
    waits : In(1)
    cycles : Out(range(limit + 2))
        Saturates one above ``limit``.
    """

    def __init__(self, limit):
        self._limit = limit
        super().__init__({"waits": In(1), "cycles": Out(range(limit + 2)),
                          "before": Out(range(limit + 2))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.cycles.eq(Mux(
            self.waits, Mux(self.before > self._limit, self._limit + 1, self.before + 1), 0))
        m.d.sync += self.before.eq(self.cycles)
        return m


class QueueCheck(wiring.Component):
    """Follows one payload, of the solver's choice, through a queue.

    ``count`` payloads are inside. The one put in with ``mark`` is followed: ``ahead`` others leave
    before it, then it must leave itself, with its data. As it may be any, together with the count
    nothing is lost, doubled, changed or overtaken.

    Parameters
    ----------
    width : int
    capacity : int
        Most payloads inside.

    Members
    -------
    put, put_data : In
        A payload enters.
    get, get_data : In
        A payload leaves.
    mark : In(1)
        Follow the one entering now, if none is.
    count, ahead, followed, data : Out
        State before this cycle.
    ok : Out(1)
        No overflow, nothing leaves that did not enter, the right data leave.
    """

    def __init__(self, width, capacity):
        self._capacity = capacity
        super().__init__({
            "put": In(1), "put_data": In(width), "get": In(1), "get_data": In(width),
            "mark": In(1), "count": Out(range(capacity + 1)), "ahead": Out(range(capacity + 1)),
            "followed": Out(1), "data": Out(width), "ok": Out(1), "sane": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(self.count + self.put - self.get)
        with m.If(self.followed):
            with m.If(self.get):
                m.d.sync += [self.ahead.eq(self.ahead - 1), self.followed.eq(self.ahead != 0)]
        with m.Elif(self.put & self.mark):
            m.d.sync += [self.followed.eq(1), self.data.eq(self.put_data),
                         self.ahead.eq(self.count - self.get)]
        m.d.comb += [
            self.ok.eq(Cat(
                (self.count != self._capacity) | ~self.put | self.get,
                (self.count != 0) | ~self.get,
                ~(self.followed & self.get & (self.ahead == 0))
                | (self.get_data == self.data)).all()),
            self.sane.eq(~self.followed | (self.ahead < self.count)),
        ]
        return m


