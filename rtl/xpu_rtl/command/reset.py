"""The sequence of a reset: of everything, of a ring, or of an engine."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ResetSequencer"]


class ResetSequencer(wiring.Component):
    """Stop what is to be reset, then reset it.

    Raises ``abort``; after ``SETTLE_CYCLES``, in which those asked to stop may still begin what
    they had decided, waits for ``quiet``; then raises ``core_reset`` for ``RESET_CYCLES``. Requests
    during a reset are ignored.

    Parameters
    ----------
    none

    Members
    -------
    request : In(1)
        Pulse: reset.
    quiet : In(1)
        All has stopped: no bus transaction or other access is outstanding. Does not fall while
        ``abort`` is high, except in the first ``SETTLE_CYCLES``.
    abort : Out(1)
        Begin nothing. High until the end of ``core_reset``.
    core_reset : Out(1)
        Reset.
    resetting : Out(1)
        As ``abort``.

    Timing
    ------
    Latency: 1 cycle from ``request`` to ``abort``; at least ``SETTLE_CYCLES + 1`` from there to
    ``core_reset``.
    Throughput, backpressure, combinational paths: none.
    Reset: no reset is under way.
    """

    SETTLE_CYCLES = 8
    RESET_CYCLES = 2

    def __init__(self):
        super().__init__({"request": In(1), "quiet": In(1), "abort": Out(1),
                          "core_reset": Out(1), "resetting": Out(1)})

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(max(self.SETTLE_CYCLES, self.RESET_CYCLES)))
        stopping = Signal()
        m.d.comb += self.resetting.eq(self.abort)
        with m.If(self.core_reset):
            m.d.sync += count.eq(count + 1)
            with m.If(count == self.RESET_CYCLES - 1):
                m.d.sync += [self.core_reset.eq(0), self.abort.eq(0)]
        with m.Elif(stopping):
            with m.If(count != self.SETTLE_CYCLES - 1):
                m.d.sync += count.eq(count + 1)
            with m.Elif(self.quiet):
                m.d.sync += [stopping.eq(0), self.core_reset.eq(1), count.eq(0)]
        with m.Elif(self.request):
            m.d.sync += [self.abort.eq(1), stopping.eq(1), count.eq(0)]
        return m
