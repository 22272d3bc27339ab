"""The two semaphore waits in the header of a command."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .types import SemaphoreView

__all__ = ["HeaderWaits"]


class HeaderWaits(wiring.Component):
    """Wait until ``wait0``, then ``wait1`` of a command is satisfied.

    Parameters
    ----------
    config : XpuConfig
        Width of the semaphores.

    Members
    -------
    enable : In(1)
        A command is present; the four inputs below hold while it is.
    wait0_semaphore, wait0_value, wait1_semaphore, wait1_value : In
        From its header.
    view : Out(SemaphoreView(config))
        The semaphore looked at.
    satisfied : Out(1)
        All waits of the command are over. Falls with ``enable``, which must then be low for one
        cycle before the next command.
    blocked : Out(1)
        A semaphore has not reached its value.

    Timing
    ------
    Latency: ``satisfied`` is high at once if there is no wait, and 2 cycles later per wait that is
    reached (``LATENCY`` per wait, less 1 for the first).
    Throughput, backpressure: none.
    Combinational paths: ``view.reached``, ``enable`` and the inputs to ``satisfied``.
    Reset: as with ``enable`` low.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "enable": In(1),
            "wait0_semaphore": In(8), "wait0_value": In(config.semaphore_width),
            "wait1_semaphore": In(8), "wait1_value": In(config.semaphore_width),
            "view": Out(SemaphoreView(config)),
            "satisfied": Out(1), "blocked": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        second = Signal()   # wait1 is being looked at
        fresh = Signal()    # ``reached`` belongs to what is being looked at
        none0, none1, passed = Signal(), Signal(), Signal()
        m.d.comb += [
            none0.eq(self.wait0_semaphore == 0), none1.eq(self.wait1_semaphore == 0),
            self.view.semaphore.eq(Mux(second, self.wait1_semaphore, self.wait0_semaphore)),
            self.view.threshold.eq(Mux(second, self.wait1_value, self.wait0_value)),
            passed.eq(fresh & self.view.reached),
            self.satisfied.eq(self.enable & ((none0 & none1) | (passed & (second | none1)))),
            self.blocked.eq(self.enable & fresh & ~self.view.reached),
        ]
        with m.If(~self.enable):
            m.d.sync += [second.eq(0), fresh.eq(0)]
        with m.Elif(passed & ~second & ~none1):
            m.d.sync += [second.eq(1), fresh.eq(0)]
        with m.Else():
            m.d.sync += fresh.eq(1)
        return m
