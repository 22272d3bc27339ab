"""Several requesters on one scratchpad port, in turns."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..params import XpuConfig
from .scratchpad import Scratchpad
from .types import ScratchpadPort, ScratchpadRequest

__all__ = ["PortMux"]


class PortMux(wiring.Component):
    """Merge the accesses of up to eight requesters and return each response to its requester.

    Requesters take turns, access by access: the next after the one taken last that offers one. The
    choice is made when the output register is free, so an access once offered at ``port`` stays
    until accepted. Responses keep the order of acceptance. ``PortShare`` is the version for two of
    different priority.

    Parameters
    ----------
    config : XpuConfig
        Width of the port.
    requesters : int
        Number of requesters, 1 to ``MAX_REQUESTERS``.

    Members
    -------
    requesters : In(ScratchpadPort(config)).array(requesters)
        The requesters. ``waiting`` is raised for the owner of the access held back at the
        scratchpad (not for one that waits for its turn).
    port : Out(ScratchpadPort(config))
        To the scratchpad.

    Timing
    ------
    Latency: 1 cycle from ``req`` to ``port.req`` (``REQUEST_LATENCY``), responses in the same
    cycle. A requester lets at most ``requesters - 1`` accesses pass, each of which is at the port
    for at most the scratchpad's ``max_wait`` + 1 cycles.
    Throughput: one access per cycle, with up to ``OUTSTANDING`` unanswered at ``port``; as many as
    the scratchpad holds.
    Backpressure: full on ``req``, none on ``rsp``.
    Combinational paths: ``port.req.ready`` and every ``requesters[j].req.valid`` to
    ``requesters[i].req.ready``; ``port.rsp`` to ``rsp``; ``port.waiting`` to ``waiting``.
    Reset: turns, the access offered, owners of unanswered accesses (reset the scratchpad too).
    """

    MAX_REQUESTERS = 8
    OUTSTANDING = 1 << ceil_log2(Scratchpad.SLOTS + Scratchpad.LATENCY)
    REQUEST_LATENCY = 1

    def __init__(self, config: XpuConfig, requesters):
        if not 1 <= requesters <= self.MAX_REQUESTERS:
            raise ValueError(f"requesters must lie in 1..{self.MAX_REQUESTERS}, "
                             f"not {requesters!r}")
        self._config = config
        super().__init__({"requesters": In(ScratchpadPort(config)).array(requesters),
                          "port": Out(ScratchpadPort(config))})

    def elaborate(self, platform):
        m = Module()
        port, requesters = self.port, self.requesters
        count = len(requesters)
        number = range(max(2, count))

        # Turns: of those above the one taken last the lowest, else the lowest of all.
        wanted = Signal(count)
        above = Signal(count)       # the requesters above the one taken last
        ahead = Signal(count)
        first_ahead = Signal(count)
        first_wanted = Signal(count)
        chosen = Signal(count)
        m.d.comb += [
            wanted.eq(Cat(requester.req.valid for requester in requesters)),
            ahead.eq(wanted & above),
            *(first_ahead[n].eq(ahead[n] & ~ahead[:n].any()) for n in range(count)),
            *(first_wanted[n].eq(wanted[n] & ~wanted[:n].any()) for n in range(count)),
            chosen.eq(Mux(ahead.any(), first_ahead, first_wanted)),
        ]

        valid = Signal()
        request = Signal(ScratchpadRequest(self._config), reset_less=True)
        owner = Signal(number, reset_less=True)
        full = Signal()
        leave = Signal()
        free = Signal()
        m.d.comb += [
            port.req.valid.eq(valid & ~full), port.req.payload.eq(request),
            leave.eq(port.req.valid & port.req.ready), free.eq(~valid | leave),
            *(requester.req.ready.eq(free & chosen[n]) for n, requester in enumerate(requesters)),
        ]
        with m.If(free):
            m.d.sync += valid.eq(wanted.any())
        for n, requester in enumerate(requesters):
            with m.If(free & chosen[n]):
                m.d.sync += [request.eq(requester.req.payload), owner.eq(n),
                             above.eq((-2 << n) & ((1 << count) - 1))]

        # Pointers into the circular list of owners, one bit more than its index. An access is
        # accepted, then granted (seen as a cycle without ``waiting``), then answered.
        owners = Signal(data.ArrayLayout(number, self.OUTSTANDING), reset_less=True)
        accepted = Signal(range(2 * self.OUTSTANDING))
        granted = Signal.like(accepted)
        answered = Signal.like(accepted)
        index = slice(0, ceil_log2(self.OUTSTANDING))
        m.d.comb += full.eq((accepted ^ answered) == self.OUTSTANDING)
        with m.If(leave):
            m.d.sync += [owners[accepted[index]].eq(owner), accepted.eq(accepted + 1)]
        with m.If((granted != accepted) & ~port.waiting):
            m.d.sync += granted.eq(granted + 1)
        with m.If(port.rsp.valid):
            m.d.sync += answered.eq(answered + 1)

        answering = Signal(number)
        waiting = Signal(number)
        m.d.comb += [answering.eq(owners[answered[index]]), waiting.eq(owners[granted[index]])]
        for n, requester in enumerate(requesters):
            m.d.comb += [
                requester.rsp.valid.eq(port.rsp.valid & (answering == n)),
                requester.rsp.payload.eq(port.rsp.payload),
                requester.waiting.eq(port.waiting & (waiting == n)),
            ]
        return m
