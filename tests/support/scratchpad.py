"""Traffic for scratchpad ports under ``amaranth.sim``, checked against a dictionary of bytes."""

from collections import deque
from dataclasses import dataclass, field

from amaranth.sim import Simulator

__all__ = ["Access", "MemoryModel", "PortLog", "read", "run_ports", "write"]


@dataclass(frozen=True)
class Access:
    """One request."""

    address: int
    write: bool = False
    data: int = 0
    strobe: int = 0


def read(address):
    return Access(address)


def write(address, data, strobe):
    return Access(address, True, data, strobe)


class MemoryModel:
    """Bytes by (word, lane); a byte never written is unknown and matches anything."""

    def __init__(self):
        self._bytes = {}

    def apply(self, access, response, where):
        """Perform a write, or compare a word read."""
        for lane in range(access.strobe.bit_length() if access.write else 0):
            if access.strobe >> lane & 1:
                self._bytes[access.address, lane] = access.data >> 8 * lane & 0xFF
        if access.write:
            return
        for lane in range(64):
            known = self._bytes.get((access.address, lane))
            got = response >> 8 * lane & 0xFF
            assert known is None or got == known, (
                f"{where}: word {access.address:#x} byte {lane} is {got:#x}, not {known:#x}")


@dataclass
class PortLog:
    """What happened at one port."""

    accepted: list = field(default_factory=list)    #: cycle of each transfer on req
    answered: list = field(default_factory=list)    #: cycle of each response
    words: list = field(default_factory=list)       #: payload of each response
    waiting: list = field(default_factory=list)     #: cycles with ``waiting``

    @property
    def longest_wait(self):
        """Longest run of consecutive cycles with ``waiting``."""
        longest = run = 0
        last = None
        for cycle in self.waiting:
            run = run + 1 if last is not None and cycle == last + 1 else 1
            longest, last = max(longest, run), cycle
        return longest


def run_ports(dut, ports, sources, *, cycles, drain=400, check=None, model=None):
    """Offer what the sources say for ``cycles`` cycles, then let all ports drain.

    ``sources[i](cycle)`` returns the next Access of port i or None to pause for a cycle. Responses
    are applied to ``model`` in the order they appear, which is the order the accesses were
    performed in. ``check(cycle, samples)`` sees (ready, rsp_valid, waiting) of every port. Returns
    one PortLog per port. Fails if a response is missing, superfluous, or out of order.
    """
    logs = [PortLog() for _ in ports]
    model = model or MemoryModel()

    async def bench(ctx):
        pending = [deque() for _ in ports]
        offered = [None] * len(ports)
        signals = [s for p in ports for s in
                   (p.req.ready, p.rsp.valid, p.rsp.payload, p.waiting)]
        for cycle in range(cycles + drain):
            for i, port in enumerate(ports):
                if offered[i] is None and cycle < cycles:
                    offered[i] = sources[i](cycle)
                    if offered[i] is not None:
                        ctx.set(port.req.payload, {
                            "address": offered[i].address, "write": offered[i].write,
                            "data": offered[i].data, "strobe": offered[i].strobe})
                ctx.set(port.req.valid, offered[i] is not None)
            _, _, *values = await ctx.tick().sample(*signals)
            samples = [tuple(values[4 * i:4 * i + 4]) for i in range(len(ports))]
            reads, writes = [], []
            for i, (ready, answered, word, waiting) in enumerate(samples):
                if answered:
                    assert pending[i], f"cycle {cycle}: port {i} answers without a request"
                    access = pending[i].popleft()
                    (writes if access.write else reads).append((access, word, i))
                    logs[i].answered.append(cycle)
                    logs[i].words.append(word)
                if waiting:
                    logs[i].waiting.append(cycle)
                if offered[i] is not None and ready:
                    pending[i].append(offered[i])
                    logs[i].accepted.append(cycle)
                    offered[i] = None
            touched = [access.address for access, _, _ in reads + writes]
            assert len(set(touched)) == len(touched), f"cycle {cycle}: one word twice in a cycle"
            for access, word, i in reads + writes:
                model.apply(access, word, f"cycle {cycle} port {i}")
            if check:
                check(cycle, samples)
            if cycle >= cycles and not any(pending) and not any(offered):
                return
        raise AssertionError(f"not drained after {drain} cycles: {[len(p) for p in pending]}")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    return logs
