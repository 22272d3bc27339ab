"""The banked scratchpad with its arbitration."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.interfaces import connect_stream
from ..params import XpuConfig
from .arbiter import BankArbiter, max_wait
from .banks import BankAccess, Banks, bank_sum
from .requesters import REQUESTERS
from .types import ScratchpadPort, ScratchpadRequest

__all__ = ["Scratchpad"]


class _Slots(wiring.Component):
    """Two pending accesses of one port, the older at the head, with the bank number computed.

    Latency 1, throughput 1, no combinational paths. Fields the requester never uses are constant.
    """

    DEPTH = 2

    def __init__(self, config: XpuConfig, requester):
        self._config, self._requester = config, requester
        super().__init__({
            "req": In(stream.Signature(ScratchpadRequest(config))),
            "valid": Out(1), "head": Out(BankAccess(config)), "granted": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, who = self._config, self._requester
        req = self.req
        used = {"bank", "row"}
        if who.writes:
            used |= {"strobe", "data"} | ({"write"} if who.reads else set())
        layout = data.StructLayout(
            {name: field.shape for name, field in BankAccess(config) if name in used})

        offered = Signal(layout)
        m.d.comb += [
            offered.bank.eq(bank_sum(config, req.payload.address)),
            offered.row.eq(req.payload.address >> config.bank_width),
            *(offered[name].eq(req.payload[name]) for name in ("write", "strobe", "data")
              if name in used),
        ]

        head = Signal(layout, reset_less=True)
        spare = Signal(layout, reset_less=True)
        spare_valid = Signal()
        m.d.comb += [
            req.ready.eq(~spare_valid),
            self.head.write.eq(who.writes),
            *(self.head[name].eq(head[name]) for name in sorted(used)),
        ]
        with m.If(~self.valid | self.granted):
            m.d.sync += [self.valid.eq(spare_valid | req.valid), spare_valid.eq(0)]
            with m.If(spare_valid):
                m.d.sync += head.eq(spare)
            with m.Elif(req.valid):
                m.d.sync += head.eq(offered)
        with m.Elif(req.valid & ~spare_valid):
            m.d.sync += [spare.eq(offered), spare_valid.eq(1)]
        return m


class Scratchpad(wiring.Component):
    """A memory of words in single-port banks, shared by several requesters.

    A word lies in bank ``bank_of(config, address)`` at row ``address >> bank_width``. A port's
    accesses are performed in order, one at a time; accesses of different ports in the order of
    their grants (``BankArbiter``), all those of one cycle being at different banks. A response
    follows its grant by a fixed time, so that an access whose response has been seen precedes any
    accepted later on any port.

    Parameters
    ----------
    config : XpuConfig
        Size and number of the banks.
    requesters : tuple of Requester
        One per port. Default: those of a cluster.

    Members
    -------
    ports : In(ScratchpadPort(config)).array(len(requesters))
        One per requester, in the same order. A requester never writes through a port that only
        reads, nor reads through one that only writes: ``write`` of such a port is ignored.

    Timing
    ------
    Latency: 4 cycles from a transfer on ``req`` to ``rsp.valid`` if the bank is free (``LATENCY``);
    one more for every cycle of ``waiting`` and for the accesses before it. An access at the head of
    its port waits at most ``max_wait`` cycles.
    Throughput: one access per port and cycle while the banks differ.
    Backpressure: full on ``req``; ``SLOTS`` accesses wait at each port. None on ``rsp``.
    Combinational paths: none.
    Reset: pending accesses are dropped. Memory is undefined until written.
    """

    SLOTS = _Slots.DEPTH
    LATENCY = 1 + Banks.LATENCY

    def __init__(self, config: XpuConfig, requesters=REQUESTERS):
        if not isinstance(config, XpuConfig):
            raise TypeError(f"config must be an XpuConfig, not {config!r}")
        self._config, self._requesters = config, tuple(requesters)
        names = [who.name for who in self._requesters]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"requesters must be one or more with different names, not {names}")
        super().__init__({"ports": In(ScratchpadPort(config)).array(len(names))})

    @property
    def max_wait(self):
        """Most cycles the head of a port is refused."""
        return max_wait(len(self._requesters))

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = BankArbiter(self._config, self._requesters)
        m.submodules.banks = banks = Banks(self._config, self._requesters)
        m.d.comb += banks.en.eq(arbiter.grant)
        for i, who in enumerate(self._requesters):
            port = self.ports[i]
            m.submodules[f"{who.name}_slots"] = slots = _Slots(self._config, who)
            connect_stream(m, wiring.flipped(port.req), slots.req)
            m.d.comb += [
                arbiter.valid[i].eq(slots.valid),
                arbiter.bank[i].eq(slots.head.bank),
                slots.granted.eq(arbiter.grant[i]),
                banks.access[i].eq(slots.head),
                port.waiting.eq(arbiter.refused[i]),
                port.rsp.valid.eq(banks.done[i]),
                port.rsp.payload.eq(banks.r_data[i]),
            ]
        return m
