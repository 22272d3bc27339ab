"""Sharing of one read port by the fetchers of several rings."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.axi import AxiReadPort
from ..common.turns import next_in_turn
from ..params import XpuConfig

__all__ = ["FetchArbiter"]


class FetchArbiter(wiring.Component):
    """Give the read port to one ring per burst, in turns.

    Parameters
    ----------
    config : XpuConfig
        Rings and bus width.

    Members
    -------
    rings : In(AxiReadPort(config.bus_width)).array(config.rings)
        From the fetchers.
    bus : Out(AxiReadPort(config.bus_width))
        The shared port. Never more than one burst is outstanding.

    Timing
    ------
    Latency: 1 cycle from ``rings[i].ar.valid`` to ``bus.ar.valid`` when idle (``LATENCY``).
    Throughput: one beat per cycle within a burst.
    Backpressure: full.
    Combinational paths: none on AR; R and its ready pass through.
    Reset: no burst, ring 0 is the last served.
    """

    LATENCY = 1

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({"rings": In(AxiReadPort(config.bus_width)).array(config.rings),
                          "bus": Out(AxiReadPort(config.bus_width))})

    def elaborate(self, platform):
        m = Module()
        owner, next_owner = Signal(3), Signal(3)
        requests = Signal(self._config.rings)
        for n, ring in enumerate(self.rings):
            m.d.comb += requests[n].eq(ring.ar.valid)
        next_in_turn(m, requests, owner, next_owner)

        owned = Signal()
        with m.FSM(name="burst"):
            with m.State("idle"):
                with m.If(requests.any()):
                    m.d.sync += owner.eq(next_owner)
                    m.next = "address"
            with m.State("address"):
                m.d.comb += owned.eq(1)
                with m.If(self.bus.ar.valid & self.bus.ar.ready):
                    m.next = "data"
            with m.State("data"):
                with m.If(self.bus.r.valid & self.bus.r.ready & self.bus.r.p.last):
                    m.next = "idle"
        for n, ring in enumerate(self.rings):
            m.d.comb += ring.r.payload.eq(self.bus.r.payload)
            with m.If(owner == n):
                m.d.comb += [
                    self.bus.ar.valid.eq(owned & ring.ar.valid), ring.ar.ready.eq(
                        owned & self.bus.ar.ready),
                    self.bus.ar.payload.eq(ring.ar.payload),
                    ring.r.valid.eq(self.bus.r.valid), self.bus.r.ready.eq(ring.r.ready),
                ]
        return m
