"""Recovery of an engine after a fault of the ring it serves."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .reset import ResetSequencer
from .types import Activity

__all__ = ["EngineRecovery"]


class EngineRecovery(wiring.Component):
    """Stop and reset an engine that has failed, or that is stuck with commands nobody wants.

    An engine may finish its commands of a ring that is given up. It is stuck when it does nothing,
    or waits for a semaphore, for ``PATIENCE`` cycles while it has such commands.

    Parameters
    ----------
    config : XpuConfig
        Number of rings.
    endless : bool
        Commands of the engine may never end by themselves: it is stuck whatever it does.

    Members
    -------
    failed : In(1)
        Pulse: the engine has reported a fault.
    serving : In(config.rings)
        The ring whose commands the engine has.
    dying : In(config.rings)
        Rings that are given up.
    activity, quiet : In(Activity), In(1)
        Of the engine.
    abort, reset : Out(1)
        To the engine; ``reset`` to its dispatch as well. As in ``ResetSequencer``.

    Timing
    ------
    Latency: 1 cycle from ``failed`` to ``abort``, or ``PATIENCE`` from the beginning of the
    standstill; from there as ``ResetSequencer``.
    Throughput, backpressure, combinational paths: none.
    Reset: no recovery is under way.
    """

    PATIENCE = 16

    def __init__(self, config: XpuConfig, *, endless=False):
        self._endless = endless
        super().__init__({
            "failed": In(1), "serving": In(config.rings), "dying": In(config.rings),
            "activity": In(Activity), "quiet": In(1), "abort": Out(1), "reset": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer = sequencer = ResetSequencer()
        waits, stuck = Signal(), Signal()
        patience = Signal(range(self.PATIENCE))
        m.d.comb += [
            waits.eq((self.serving & self.dying).any() & (
                self._endless | (self.activity == Activity.IDLE)
                | (self.activity == Activity.SEMAPHORE))),
            stuck.eq(waits & (patience == self.PATIENCE - 1)),
            sequencer.request.eq(self.failed | stuck), sequencer.quiet.eq(self.quiet),
            self.abort.eq(sequencer.abort), self.reset.eq(sequencer.core_reset),
        ]
        with m.If(~waits | sequencer.abort):
            m.d.sync += patience.eq(0)
        with m.Else():
            m.d.sync += patience.eq(patience + 1)
        return m
