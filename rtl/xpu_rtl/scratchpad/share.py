"""Two requesters on one scratchpad port."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..params import XpuConfig
from .scratchpad import Scratchpad
from .types import ScratchpadPort

__all__ = ["PortShare"]


class PortShare(wiring.Component):
    """Merge the accesses of two requesters and return each response to its requester.

    ``high`` goes first whenever it offers an access, except that an access once offered at ``port``
    stays offered until accepted. ``low`` may starve. Responses keep the order of acceptance.

    Parameters
    ----------
    config : XpuConfig
        Width of the port.

    Members
    -------
    high, low : In(ScratchpadPort(config))
        The requesters. ``waiting`` is raised for the owner of the access held back at the
        scratchpad (not for a ``low`` that waits for ``high``).
    port : Out(ScratchpadPort(config))
        To the scratchpad.

    Timing
    ------
    Latency: 0 both ways.
    Throughput: one access per cycle, with up to ``OUTSTANDING`` unanswered; more than the
    scratchpad holds.
    Backpressure: full on ``req``, none on ``rsp``.
    Combinational paths: ``req`` to ``port.req``; ``port.req.ready``, ``high.req.valid`` to
    ``req.ready``; ``port.rsp`` to ``rsp``; ``port.waiting`` to ``waiting``.
    Reset: owners of unanswered accesses are forgotten (reset the scratchpad too).
    """

    OUTSTANDING = 1 << ceil_log2(Scratchpad.SLOTS + Scratchpad.LATENCY)

    def __init__(self, config: XpuConfig):
        super().__init__({
            "high": In(ScratchpadPort(config)), "low": In(ScratchpadPort(config)),
            "port": Out(ScratchpadPort(config)),
        })

    def elaborate(self, platform):
        m = Module()
        high, low, port = self.high, self.low, self.port

        # Pointers into the circular list of owners, one bit more than its index. An access is
        # accepted, then granted (seen as a cycle without ``waiting``), then answered.
        owners = Signal(self.OUTSTANDING)  # 1: low
        accepted = Signal(range(2 * self.OUTSTANDING))
        granted = Signal.like(accepted)
        answered = Signal.like(accepted)
        index = slice(0, ceil_log2(self.OUTSTANDING))
        full = Signal()
        m.d.comb += full.eq((accepted ^ answered) == self.OUTSTANDING)

        locked = Signal()
        locked_low = Signal()
        take_low = Signal()
        m.d.comb += [
            take_low.eq(Mux(locked, locked_low, ~high.req.valid)),
            port.req.valid.eq(Mux(take_low, low.req.valid, high.req.valid) & ~full),
            port.req.payload.eq(Mux(take_low, low.req.payload, high.req.payload)),
            high.req.ready.eq(port.req.ready & ~full & ~take_low),
            low.req.ready.eq(port.req.ready & ~full & take_low),
        ]
        m.d.sync += [locked.eq(port.req.valid & ~port.req.ready), locked_low.eq(take_low)]
        with m.If(port.req.valid & port.req.ready):
            m.d.sync += [
                owners.bit_select(accepted[index], 1).eq(take_low), accepted.eq(accepted + 1)]
        with m.If((granted != accepted) & ~port.waiting):
            m.d.sync += granted.eq(granted + 1)
        with m.If(port.rsp.valid):
            m.d.sync += answered.eq(answered + 1)

        answered_low = Signal()
        waiting_low = Signal()
        m.d.comb += [
            answered_low.eq(owners.bit_select(answered[index], 1)),
            waiting_low.eq(owners.bit_select(granted[index], 1)),
            high.rsp.valid.eq(port.rsp.valid & ~answered_low),
            low.rsp.valid.eq(port.rsp.valid & answered_low),
            high.rsp.payload.eq(port.rsp.payload),
            low.rsp.payload.eq(port.rsp.payload),
            high.waiting.eq(port.waiting & ~waiting_low),
            low.waiting.eq(port.waiting & waiting_low),
        ]
        return m
