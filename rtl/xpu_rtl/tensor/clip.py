"""Which pixels of a tile a tap of the kernel can see."""

from amaranth import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..params import XpuConfig
from .types import offset_width

__all__ = ["COORDINATE", "TapClip"]

#: Coordinates of the image: 16-bit starts, and up to 255 steps of taps and 65,535 rows of 8 bits.
COORDINATE = signed(26)


class TapClip(wiring.Component):
    """Find the rectangle of a tile whose input pixels exist.

    Row r of the tile looks at u + r * u_step, column c at v + c * v_step; they exist from 0 to the
    limits. Both are stepped through at once, one row and one column per cycle, up to the first
    beyond the limit.

    Parameters
    ----------
    config : XpuConfig
        Widths.

    Members
    -------
    start : In(1)
        Begin. All other inputs must hold until ``done``.
    rows, columns : In(range(acc_rows + 1))
        Size of the tile, at least 1.
    u, v, u_step, v_step, u_limit, v_limit : In
        Coordinates of pixel (0, 0) at this tap, the steps, and how many pixels exist.
    row_pitch, column_pitch : In(offset_width)
        Words from row to row, from column to column.
    done : Out(1)
        The results belong to the last ``start``; they hold until the next.
    row_begin, row_end, column_begin, column_end : Out(range(acc_rows + 1))
        The rectangle, ends excluded; if ``empty``, not to be used.
    empty : Out(1)
        No pixel exists.
    distance : Out(offset_width)
        Words from pixel (0, 0) to the first that exists, modulo 2**offset_width.
    pixel : Out(range(acc_rows + 1))
        Its number in the tile.

    Timing
    ------
    Latency: at most max(rows, columns) + 1 cycles from ``start`` to ``done``.
    Throughput: one tap at a time. Backpressure: none. Combinational paths: none.
    Reset: done, results undefined.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        pixels, offset = unsigned(ceil_log2(config.acc_rows + 1)), unsigned(offset_width(config))
        super().__init__({
            "start": In(1), "rows": In(pixels), "columns": In(pixels),
            "u": In(COORDINATE), "v": In(COORDINATE), "u_step": In(8), "v_step": In(8),
            "u_limit": In(16), "v_limit": In(16), "row_pitch": In(offset),
            "column_pitch": In(offset),
            "done": Out(1), "row_begin": Out(pixels), "row_end": Out(pixels),
            "column_begin": Out(pixels), "column_end": Out(pixels), "empty": Out(1),
            "distance": Out(offset), "pixel": Out(pixels),
        })

    def elaborate(self, platform):
        m = Module()
        going, distances, exists = [], [], []
        axes = (("row", self.rows, self.u, self.u_step, self.u_limit, self.row_pitch),
                ("column", self.columns, self.v, self.v_step, self.v_limit, self.column_pitch))
        pixel = Signal.like(self.pixel, reset_less=True)
        for name, count, first, step, limit, pitch in axes:
            begin = Signal.like(count, name=f"{name}_first", reset_less=True)
            end = Signal.like(count, name=f"{name}_behind", reset_less=True)
            index = Signal.like(count, name=f"{name}_index", reset_less=True)
            place = Signal(COORDINATE, name=f"{name}_place", reset_less=True)
            distance = Signal.like(pitch, name=f"{name}_distance", reset_less=True)
            active, found = Signal(name=f"{name}_active"), Signal(name=f"{name}_found")
            m.d.comb += [getattr(self, f"{name}_begin").eq(begin),
                         getattr(self, f"{name}_end").eq(end)]
            with m.If(self.start):
                m.d.sync += [active.eq(1), found.eq(0), index.eq(0), begin.eq(0), end.eq(0),
                             place.eq(first), distance.eq(0)]
            with m.Elif(active):
                m.d.sync += [index.eq(index + 1), place.eq(place + step),
                             active.eq(index + 1 != count)]
                with m.If(place < 0):
                    m.d.sync += [begin.eq(index + 1), distance.eq(distance + pitch)]
                with m.Elif(place < limit):
                    m.d.sync += [end.eq(index + 1), found.eq(1)]
                with m.Else():
                    m.d.sync += active.eq(0)
            if name == "row":
                with m.If(self.start):
                    m.d.sync += pixel.eq(0)
                with m.Elif(active & (place < 0)):
                    m.d.sync += pixel.eq(pixel + self.columns)     # no more than the tile has
            going.append(active)
            distances.append(distance)
            exists.append(found)
        m.d.comb += [
            self.done.eq(~(going[0] | going[1])), self.empty.eq(~(exists[0] & exists[1])),
            self.distance.eq(distances[0] + distances[1]),
            self.pixel.eq(pixel + self.column_begin),
        ]
        return m
