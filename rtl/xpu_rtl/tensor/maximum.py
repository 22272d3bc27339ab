"""The running maximum of the results' magnitudes."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import maximum
from ..params import XpuConfig

__all__ = ["RunningMaximum"]


class RunningMaximum(wiring.Component):
    """Keep the largest magnitude seen. As integers, so that a NaN is larger than all else.

    Parameters
    ----------
    config : XpuConfig
        ``epilogue_lanes`` magnitudes at a time.

    Members
    -------
    valid, count, magnitude : In(1), In(range(epilogue_lanes + 1)), In(ArrayLayout(31, lanes))
        A group, of which the first ``count`` count.
    first : In(1)
        Forget what was before this group.
    largest : Out(31)
        Of all groups until two cycles ago.

    Timing
    ------
    Latency: 2 cycles from ``valid`` to ``largest`` (``LATENCY``).
    Throughput: one group per cycle. Backpressure: none. Combinational paths: none.
    Reset: 0.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._lanes = config.epilogue_lanes
        super().__init__({
            "valid": In(1), "first": In(1), "count": In(range(self._lanes + 1)),
            "magnitude": In(data.ArrayLayout(unsigned(31), self._lanes)), "largest": Out(31),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = [Signal(31, name=f"lane_{n}") for n in range(self._lanes)]
        fresh = Signal()
        m.d.sync += fresh.eq(self.valid)
        with m.If(self.valid):
            for n, kept in enumerate(lanes):
                new = Signal(31, name=f"new_{n}")
                m.d.comb += new.eq(Mux(self.count > n, self.magnitude[n], 0))
                m.d.sync += kept.eq(Mux(self.first | (new > kept), new, kept))
        with m.If(fresh):
            m.d.sync += self.largest.eq(maximum(m, "largest", lanes))
        return m
