"""A scratchpad port that can be closed."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..params import XpuConfig
from ..scratchpad.scratchpad import Scratchpad
from ..scratchpad.types import ScratchpadPort

__all__ = ["PortGate"]


class PortGate(wiring.Component):
    """Pass accesses on until told to stop, and tell when all are answered.

    Parameters
    ----------
    config : XpuConfig
        Width of the port.

    Members
    -------
    inner : In(ScratchpadPort(config))
        The requester.
    outer : Out(ScratchpadPort(config))
        To the scratchpad.
    stop : In(1)
        Offer no further access. One offered already is offered until accepted.
    quiet : Out(1)
        No access is offered or unanswered.

    Timing
    ------
    Latency: 0 both ways.
    Throughput: one access per cycle, with up to ``OUTSTANDING`` unanswered; more than the
    scratchpad holds.
    Backpressure: full on ``req``, none on ``rsp``.
    Combinational paths: ``inner`` to ``outer`` and back; ``stop`` to ``outer.req.valid``,
    ``inner.req.ready`` and ``quiet``.
    Reset: nothing is outstanding; to be given while ``stop`` and ``quiet`` are high.
    """

    OUTSTANDING = 1 << ceil_log2(Scratchpad.SLOTS + Scratchpad.LATENCY)

    def __init__(self, config: XpuConfig):
        super().__init__({
            "inner": In(ScratchpadPort(config)), "outer": Out(ScratchpadPort(config)),
            "stop": In(1), "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        inner, outer = self.inner, self.outer
        held, closed, accepted = Signal(), Signal(), Signal()   # held: offered and not accepted
        unanswered = Signal(range(2 * self.OUTSTANDING))
        m.d.comb += [
            closed.eq(self.stop & ~held),
            outer.req.valid.eq(inner.req.valid & ~closed),
            outer.req.payload.eq(inner.req.payload),
            inner.req.ready.eq(outer.req.ready & ~closed),
            inner.rsp.valid.eq(outer.rsp.valid), inner.rsp.payload.eq(outer.rsp.payload),
            inner.waiting.eq(outer.waiting),
            accepted.eq(outer.req.valid & outer.req.ready),
            self.quiet.eq((unanswered == 0) & ~outer.req.valid),
        ]
        m.d.sync += held.eq(outer.req.valid & ~outer.req.ready)
        with m.If(accepted != outer.rsp.valid):
            m.d.sync += unanswered.eq(unanswered + accepted - outer.rsp.valid)
        return m
