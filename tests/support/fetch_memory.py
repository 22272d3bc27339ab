"""A read-only memory behind the command fetch."""

from collections import deque

__all__ = ["FetchMemory"]


class FetchMemory:
    """Answer read bursts from ``contents`` (address to 64-byte slot), in order.

    Parameters
    ----------
    bus : AxiReadPort
        The manager's port.
    width : int
        Bits of a beat.
    rng : random.Random
        For stalls and latencies.
    latency : tuple
        Shortest and longest answer time in cycles.
    ready_p, valid_p : float
        Chance per cycle to accept an address and to offer a beat.

    Attributes
    ----------
    contents : dict
        Slots by address. A missing slot reads as zero.
    errors : dict
        RRESP by beat address.
    bursts : list
        (address, beats) of every burst accepted.
    outstanding : int
        Bursts not answered completely.
    """

    def __init__(self, bus, width, rng, *, latency=(1, 8), ready_p=1.0, valid_p=1.0):
        self.bus, self.bytes, self.rng = bus, width // 8, rng
        self.latency, self.ready_p, self.valid_p = latency, ready_p, valid_p
        self.contents, self.errors, self.bursts, self.outstanding = {}, {}, [], 0

    def _beat(self, address):
        slot = self.contents.get(address & ~63, 0)
        return slot >> 8 * (address & 63) & ((1 << 8 * self.bytes) - 1)

    async def run(self, ctx):
        bus, rng = self.bus, self.rng
        beats = deque()     # (due cycle, address, last)
        cycle, offered = 0, False
        while True:
            ready = rng.random() < self.ready_p
            ctx.set(bus.ar.ready, ready)
            if not offered and beats and beats[0][0] <= cycle and rng.random() < self.valid_p:
                _, address, last = beats[0]
                ctx.set(bus.r.payload, {"data": self._beat(address), "last": last, "id": 0,
                                        "resp": self.errors.get(address, 0)})
                offered = True
            ctx.set(bus.r.valid, offered)
            _, _, valid, burst, taken = await ctx.tick().sample(bus.ar.valid, bus.ar.payload,
                                                                bus.r.ready)
            cycle += 1
            if valid and ready:
                count = burst.len + 1
                assert burst.addr % 64 == 0, "a burst begins within a slot"
                assert (burst.addr ^ burst.addr + count * self.bytes - 1) >> 12 == 0, "4 KiB"
                self.bursts.append((burst.addr, count))
                self.outstanding += 1
                due = cycle + rng.randint(*self.latency)
                beats.extend((due, burst.addr + n * self.bytes, n == burst.len)
                             for n in range(count))
            if offered and taken:
                self.outstanding -= beats.popleft()[2]
                offered = False
