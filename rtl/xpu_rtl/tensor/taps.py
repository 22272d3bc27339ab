"""The taps of a convolution's kernel, and what a tile sees through each."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..command.formats import CONV
from ..command.types import command_layout
from ..params import XpuConfig
from .accumulator import Accumulator
from .clip import COORDINATE, TapClip
from .types import offset_width

__all__ = ["SHORT", "TapWalk"]

SHORT = 16      #: passes shorter than this may leave too little distance between equal accumulators
assert max(Accumulator.MIN_DISTANCE, Accumulator.FLOAT_MIN_DISTANCE) <= SHORT


class TapWalk(wiring.Component):
    """Go through the taps of the kernel for one tile after the other.

    Parameters
    ----------
    config : XpuConfig
        Widths.

    Members
    -------
    command : In(command_layout(CONV))
        The command; holds while its tiles are walked through.
    rows, width : In(range(acc_rows + 1))
        Size of the tile in pixels.
    start, origin, u : In(1), In(offset_width), In(COORDINATE)
        A tile begins: words from the base to its pixel (0, 0) at tap (0, 0), and that pixel's row
        in the image.
    step : In(1)
        Go to the next tap.
    look : In(1)
        Find what the tile sees through this tap; not in the cycle of ``start`` or ``step``.
    last : Out(1)
        This is the last tap.
    offset : Out(offset_width)
        Words from the base to pixel (0, 0) at this tap, modulo 2**offset_width.
    clip : Out, as ``TapClip`` has them
        ``done``, ``row_begin``, ``row_end``, ``column_begin``, ``column_end``, ``empty``,
        ``distance``, ``pixel``: what the last ``look`` found.
    rows_seen, columns_seen : Out(range(acc_rows + 1))
        Size of that rectangle.
    short : Out(1)
        It has fewer than ``SHORT`` pixels, or none.

    Timing
    ------
    Latency: 1 cycle from ``start`` and ``step`` to ``last`` and ``offset``; at most max(rows,
    width) + 1 cycles from ``look`` to ``done``.
    Throughput: one tap at a time. Backpressure: none.
    Combinational paths: none.
    Reset: none; undefined until ``start``.
    """

    _CLIP = ("done", "row_begin", "row_end", "column_begin", "column_end", "empty", "distance",
             "pixel")

    def __init__(self, config: XpuConfig):
        self._config = config
        pixels, offset = unsigned(ceil_log2(config.acc_rows + 1)), unsigned(offset_width(config))
        shapes = {"done": 1, "empty": 1, "distance": offset}
        super().__init__({
            "command": In(command_layout(CONV)), "rows": In(pixels), "width": In(pixels),
            "start": In(1), "origin": In(offset), "u": In(COORDINATE), "step": In(1),
            "look": In(1), "last": Out(1), "offset": Out(offset),
            **{name: Out(shapes.get(name, pixels)) for name in self._CLIP},
            "rows_seen": Out(pixels), "columns_seen": Out(pixels), "short": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        c, shift = self.command, self._config.word_shift
        row, column = (Signal(8, name=name, reset_less=True) for name in ("row", "column"))
        row_offset = Signal.like(self.offset, reset_less=True)      # of the first tap of this row
        offset = Signal.like(self.offset, reset_less=True)
        u, v = (Signal(COORDINATE, name=name, reset_less=True) for name in ("tap_u", "tap_v"))
        column_last, down = Signal(), Signal.like(self.offset)
        m.d.comb += [
            column_last.eq(column + 1 == c.kernel_width),
            self.last.eq(column_last & (row + 1 == c.kernel_height)),
            down.eq(row_offset + (c.a_tap_row_pitch >> shift)), self.offset.eq(offset),
        ]
        with m.If(self.start):
            m.d.sync += [row.eq(0), column.eq(0), row_offset.eq(self.origin),
                         offset.eq(self.origin), u.eq(self.u), v.eq(c.v_start)]
        with m.Elif(self.step):
            m.d.sync += [column.eq(column + 1), v.eq(v + c.v_tap),
                         offset.eq(offset + (c.a_tap_column_pitch >> shift))]
            with m.If(column_last):
                m.d.sync += [column.eq(0), row.eq(row + 1), row_offset.eq(down), offset.eq(down),
                             u.eq(u + c.u_tap), v.eq(c.v_start)]

        m.submodules.clip = clip = TapClip(self._config)
        seen = [Mux(side >= SHORT, SHORT, side[:SHORT.bit_length()])
                for side in (self.rows_seen, self.columns_seen)]
        m.d.comb += [
            clip.start.eq(self.look), clip.rows.eq(self.rows), clip.columns.eq(self.width),
            clip.u.eq(u), clip.v.eq(v), clip.u_step.eq(c.u_step), clip.v_step.eq(c.v_step),
            clip.u_limit.eq(c.u_limit), clip.v_limit.eq(c.v_limit),
            clip.row_pitch.eq(c.a_pitch >> shift), clip.column_pitch.eq(c.a_column_pitch >> shift),
            *(getattr(self, name).eq(getattr(clip, name)) for name in self._CLIP),
            self.rows_seen.eq(clip.row_end - clip.row_begin),
            self.columns_seen.eq(clip.column_end - clip.column_begin),
            self.short.eq(clip.empty | (seen[0] * seen[1] < SHORT)),
        ]
        return m
