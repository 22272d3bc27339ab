"""How far a row tile is from the next, without a multiplier."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .types import advance, wide_address

__all__ = ["RowSteps"]


class RowSteps(wiring.Component):
    """Multiply two pitches by the rows of a tile, one bit of the rows per cycle.

    ``a_step = rows * a_pitch``, ``out_step = rows * out_pitch``, as wide addresses (the guard bit
    is set if the product is too large).

    Parameters
    ----------
    config : XpuConfig
        Widths.

    Members
    -------
    start : In(1)
        Begin, with ``rows`` and the pitches of this cycle.
    rows : In(range(acc_rows + 1))
        Rows of a tile.
    a_pitch, out_pitch : In(wide_address(config))
        Words from row to row.
    ready : Out(1)
        The steps belong to the last ``start``.
    a_step, out_step : Out(wide_address(config))
        Products.

    Timing
    ------
    Latency: at most ``latency`` cycles from ``start`` to ``ready``, fewer for small ``rows``.
    Throughput: one pair at a time; a ``start`` abandons the one before.
    Backpressure: none. Combinational paths: none.
    Reset: ``ready`` is high, steps are undefined.
    """

    def __init__(self, config: XpuConfig):
        self._bits = config.acc_rows.bit_length()
        shape = wide_address(config)
        super().__init__({
            "start": In(1), "rows": In(unsigned(self._bits)), "a_pitch": In(shape),
            "out_pitch": In(shape), "ready": Out(1), "a_step": Out(shape), "out_step": Out(shape),
        })

    @property
    def latency(self):
        return self._bits + 1

    def elaborate(self, platform):
        m = Module()
        rows = Signal(self._bits)
        m.d.comb += self.ready.eq(rows == 0)
        with m.If(self.start):
            m.d.sync += rows.eq(self.rows)
        with m.Else():
            m.d.sync += rows.eq(rows >> 1)
        for name, pitch, port in (("a", self.a_pitch, self.a_step),
                                  ("out", self.out_pitch, self.out_step)):
            power = Signal.like(pitch, name=f"{name}_power", reset_less=True)
            step = Signal.like(pitch, name=f"{name}_product", reset_less=True)
            total = advance(m, f"{name}_next", step, power)
            m.d.comb += port.eq(step)
            with m.If(self.start):
                m.d.sync += [power.eq(pitch), step.eq(0)]
            with m.Elif(~self.ready):
                m.d.sync += power.eq(Cat(0, power[:-2], power[-2:].any()))
                with m.If(rows[0]):
                    m.d.sync += step.eq(total)
        return m
