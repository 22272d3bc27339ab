"""Decides which of the pending accesses go to their banks in a cycle."""

import itertools

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig

__all__ = ["AGE_LIMIT", "BankArbiter", "max_wait"]

#: Cycles after which a refused access wins over everybody. A power of two.
AGE_LIMIT = 32


def max_wait(count):
    """Most cycles an access at the head of its port is refused, with ``count`` requesters.

    After ``AGE_LIMIT`` refusals it yields only to accesses as old, one of each other requester.
    """
    return AGE_LIMIT + count - 1


class BankArbiter(wiring.Component):
    """Grant the largest-ranking pending access of every bank.

    Requester i is refused exactly if some j asks for the same bank and ranks above it. Accesses
    refused ``AGE_LIMIT`` times rank first, then requesters with priority, then the rest; among
    equals the one granted least recently (requesters granted in the same cycle keep their order).
    Ranking is total in every cycle, so each bank asked for is granted to exactly one requester,
    and requesters of different banks never disturb each other.

    Parameters
    ----------
    config : XpuConfig
        Number of banks.
    requesters : tuple of Requester
        At least one, at most ``MAX_REQUESTERS``.

    Members
    -------
    valid : In(len(requesters))
        Requester i has an access. It stays, with its bank, until granted.
    bank : In(bank_width).array(len(requesters))
        The bank it asks for.
    grant : Out(len(requesters))
        The access of requester i is performed in this cycle.
    refused : Out(len(requesters))
        Requester i asks and is not granted.

    Timing
    ------
    Latency: 0. An access is refused at most ``max_wait(len(requesters))`` times.
    Throughput: one grant per requester and per bank in every cycle.
    Backpressure: ``refused``.
    Combinational paths: ``valid``, ``bank`` to ``grant``, ``refused`` (drive them from registers).
    Reset: ages zero; ranking by position.
    """

    MAX_REQUESTERS = AGE_LIMIT // 2

    def __init__(self, config: XpuConfig, requesters):
        if not 1 <= len(requesters) <= self.MAX_REQUESTERS:
            raise ValueError(
                f"requesters must be 1 to {self.MAX_REQUESTERS}, not {len(requesters)}")
        self._config, self._requesters = config, tuple(requesters)
        count = len(self._requesters)
        super().__init__({
            "valid": In(count), "bank": In(config.bank_width).array(count),
            "grant": Out(count), "refused": Out(count),
        })

    def elaborate(self, platform):
        m = Module()
        count = len(self._requesters)

        aged = Signal(count)
        for i in range(count):
            age = Signal(range(AGE_LIMIT + 1), name=f"age_{i}")
            # The top bit is the flag: an aged access waits few cycles more, far from wrapping.
            m.d.comb += aged[i].eq(age[-1])
            with m.If(self.refused[i]):
                m.d.sync += age.eq(age + 1)
            with m.Elif(self.grant[i]):
                m.d.sync += age.eq(0)

        blocked = [[] for _ in range(count)]
        for i, j in itertools.combinations(range(count), 2):
            clash = Signal(name=f"clash_{i}_{j}")
            later = Signal(name=f"later_{i}_{j}")  # i was granted later than j
            yields = Signal(name=f"yields_{i}_{j}")  # i ranks below j
            above = int(self._requesters[i].priority) - int(self._requesters[j].priority)
            # A priority requester cannot age: each other one precedes it at most once, by age or by
            # turn, in AGE_LIMIT cycles. So if both are aged, both have no priority.
            tie = later if above == 0 else int(above < 0)
            m.d.comb += [
                clash.eq(self.valid[i] & self.valid[j] & (self.bank[i] == self.bank[j])),
                yields.eq(Mux(aged[i] == aged[j], tie, aged[j])),
            ]
            with m.If(self.grant[i] ^ self.grant[j]):
                m.d.sync += later.eq(self.grant[i])
            blocked[i].append(clash & yields)
            blocked[j].append(clash & ~yields)

        for i in range(count):
            m.d.comb += self.refused[i].eq(Cat(blocked[i]).any())
        m.d.comb += self.grant.eq(self.valid & ~self.refused)
        return m
