"""Where a run ends, and whether it lies in its memory."""

from amaranth import Signal
from amaranth.lib import data

from ..address_map import OFFSET_WIDTH, SPACE_LSB, Space
from ..command.windows import LINE_BYTES, RingWindows, sm_allowed
from .types import BYTES_WIDTH, beat_count

__all__ = ["RunCheck"]

_WINDOW = data.StructLayout({name: RingWindows()[name].shape
                             for name in ("sm_first", "sm_last", "sm_read", "sm_write")})


class RunCheck:
    """Two register stages of a side: where a piece ends, then whether it lies in its memory.

    ``s2`` takes a piece, ``s3`` also its end and the windows of its ring; from ``s3`` the one-bit
    signals ``in_gm``, ``in_sm`` (in the scratchpad) and ``allowed`` (by the windows, if in the
    scratchpad; not without ``windows``) are worked out.
    """

    def __init__(self, m, config, windows, shape, name, *, write):
        lanes, sm_bits = config.word_shift, config.sm_byte_width
        self._m, self._config, self._windows = m, config, windows
        self.s2_valid = Signal(name=f"{name}_s2_valid")
        self.s3_valid = Signal(name=f"{name}_s3_valid")
        self.s2 = Signal(shape, reset_less=True, name=f"{name}_s2")
        self.s3 = Signal(shape, reset_less=True, name=f"{name}_s3")
        self.last = Signal(OFFSET_WIDTH + 1, reset_less=True, name=f"{name}_last")
        self.beats = Signal(beat_count(config), reset_less=True, name=f"{name}_beats")

        offset = Signal(OFFSET_WIDTH, name=f"{name}_offset")
        space = Signal(4, name=f"{name}_space")
        self.in_gm = Signal(name=f"{name}_in_gm")
        self.in_sm = Signal(name=f"{name}_in_sm")
        m.d.comb += [
            offset.eq(self.s3.address[:OFFSET_WIDTH]), space.eq(self.s3.address[SPACE_LSB:]),
            self.in_gm.eq((space == Space.GM) & ~self.last[-1]),
            self.in_sm.eq((space == Space.SM) & (offset[sm_bits:] == 0)
                          & (self.last[sm_bits:] == 0)),
        ]
        if windows is not None:
            self.allowed = Signal(name=f"{name}_allowed")
            self._window = Signal(_WINDOW, reset_less=True, name=f"{name}_window")
            lines = slice(LINE_BYTES.bit_length() - 1, sm_bits)
            m.d.comb += self.allowed.eq(sm_allowed(self._window, offset[lines], self.last[lines],
                                                   write=write))
        self._words = Signal(BYTES_WIDTH + 1, name=f"{name}_words")
        m.d.comb += self._words.eq(self.s2.address[:lanes] + self.s2.span)

    def advance(self, piece):
        """Statements of a cycle in which everything moves one stage on."""
        m, config, s2 = self._m, self._config, self.s2
        m.d.sync += [self.s2_valid.eq(piece.valid), self.s3_valid.eq(self.s2_valid)]
        with m.If(piece.valid):
            m.d.sync += s2.eq(piece.payload)
        with m.If(self.s2_valid):
            m.d.sync += [
                self.s3.eq(s2), self.last.eq(s2.address[:OFFSET_WIDTH] + s2.span),
                self.beats.eq(self._words[config.word_shift:]),
            ]
            if self._windows is not None:
                with m.Switch(s2.ring):
                    for ring in range(config.rings):
                        with m.Case(ring):
                            m.d.sync += [self._window[name].eq(self._windows[ring][name])
                                         for name in _WINDOW.members]
