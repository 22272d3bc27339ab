"""Realignment of rows of bytes between words."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .types import AlignedWord, AlignRow, beat_count

__all__ = ["Aligner", "count_ones"]


def count_ones(m, bits, name="ones"):
    """Return a signal with the number of ones in ``bits``, by a balanced tree of named sums."""
    level, terms = 0, list(bits)
    while len(terms) > 1:
        sums = []
        for n in range(0, len(terms), 2):
            pair = terms[n:n + 2]
            total = Signal(level + 2, name=f"{name}_{level}_{n // 2}")
            m.d.comb += total.eq(pair[0] + pair[-1] if len(pair) == 2 else pair[0])
            sums.append(total)
        level, terms = level + 1, sums
    return terms[0]


class Aligner(wiring.Component):
    """Move the bytes of each row from their source lanes to their destination lanes.

    A source word is rotated by ``shift`` lanes. What stays in the destination word of the same
    number (part A) completes the bytes carried over from the source word before; what falls into
    the next word (part B) is carried. With ``wrap`` part A of the first source word is empty. What
    is still carried at the end of a row becomes a word of its own, and leaves beside the first
    source word of the next row if that has no part A.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    context : ShapeLike
        Whatever belongs to a row; each of its output words carries a copy.

    Members
    -------
    row : In(stream.Signature(AlignRow(config, context)))
        Rows; transferred with their last source word.
    i : In(stream.Signature(unsigned(word_width)))
        Source words, each row ``beats + 1`` of them.
    index : Out(beat_count(config))
        Number within its row of the source word ``i`` expects.
    o : Out(stream.Signature(AlignedWord(config, context)))
        Destination words. Every strobe has a byte set, and exactly the bytes of the row are set.
    busy : Out(1)
        A word is inside that leaves without further input.

    Timing
    ------
    Latency: 1 cycle from the transfer on ``i`` of a word with a part A to ``o.valid``; 2 for a word
    without (``LATENCY`` is the greater).
    Throughput: rows of the same alignment take max(source words, destination words) cycles each; a
    row without ``wrap`` may take one more after a row with a carried last word.
    Backpressure: full.
    Combinational paths: ``o.ready`` to ``i.ready`` and ``row.ready``; ``row.valid`` to ``i.ready``;
    ``i.valid`` to ``row.ready``.
    Reset: valid flags and ``index``.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig, context):
        self._config, self._context = config, context
        super().__init__({
            "row": In(stream.Signature(AlignRow(config, context))),
            "i": In(stream.Signature(config.word_width)),
            "index": Out(beat_count(config)),
            "o": Out(stream.Signature(AlignedWord(config, context))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        lanes = config.word_bytes
        ones = (1 << lanes) - 1

        # Bytes of the row in this source word, and their rotation.
        row = self.row.p
        first = Signal()
        last = Signal()
        mask = Signal(lanes)
        m.d.comb += [
            first.eq(self.index == 0), last.eq(self.index == row.beats),
            mask.eq(Mux(first, (ones << row.lane)[:lanes], ones)
                    & Mux(last, ((2 << row.end) - 1)[:lanes], ones)),
        ]
        rotated_data, rotated_mask = self.i.payload, mask
        for bit in range(config.word_shift):
            next_data = Signal(config.word_width, name=f"rotated_data_{bit}")
            next_mask = Signal(lanes, name=f"rotated_mask_{bit}")
            m.d.comb += [
                next_data.eq(Mux(row.shift[bit], rotated_data.rotate_left(8 << bit),
                                 rotated_data)),
                next_mask.eq(Mux(row.shift[bit], rotated_mask.rotate_left(1 << bit),
                                 rotated_mask)),
            ]
            rotated_data, rotated_mask = next_data, next_mask

        # Stage 1: a rotated source word. `part_a` marks the lanes of part A, used or not.
        s1_valid = Signal()
        s1_data = Signal(config.word_width, reset_less=True)
        s1_mask = Signal(lanes, reset_less=True)
        s1_part_a = Signal(lanes, reset_less=True)
        s1_has_a = Signal(reset_less=True)
        s1_has_b = Signal(reset_less=True)
        s1_first = Signal(reset_less=True)
        s1_last = Signal(reset_less=True)
        s1_context = Signal(self._context, reset_less=True)
        s1_taken = Signal()
        accept = Signal()
        m.d.comb += [
            self.i.ready.eq(self.row.valid & (~s1_valid | s1_taken)),
            accept.eq(self.i.valid & self.i.ready),
            self.row.ready.eq(accept & last),
        ]
        with m.If(s1_taken):
            m.d.sync += s1_valid.eq(0)
        with m.If(accept):
            m.d.sync += [
                s1_valid.eq(1), s1_data.eq(rotated_data), s1_mask.eq(rotated_mask),
                s1_part_a.eq((ones << row.shift)[:lanes]),
                s1_has_a.eq(~(first & row.wrap)),
                s1_has_b.eq((row.shift != 0) & (~last | (row.end + row.shift >= lanes))),
                s1_first.eq(first), s1_last.eq(last), s1_context.eq(row.context),
                self.index.eq(Mux(last, 0, self.index + 1)),
            ]

        # Carried part B of the word before. `final`: the row has no further word to complete it.
        carry_valid = Signal()
        carry_final = Signal(reset_less=True)
        carry_first = Signal(reset_less=True)
        carry_data = Signal(config.word_width, reset_less=True)
        carry_mask = Signal(lanes, reset_less=True)
        carry_context = Signal(self._context, reset_less=True)
        flush = Signal()
        from_s1 = Signal(lanes)
        out = self.o.p
        m.d.comb += [
            flush.eq(carry_valid & carry_final),
            from_s1.eq(Mux(flush, 0, s1_part_a)),
            self.o.valid.eq(flush | (s1_valid & s1_has_a)),
            s1_taken.eq(s1_valid & Mux(flush, self.o.ready & ~s1_has_a,
                                       self.o.ready | ~s1_has_a)),
            out.strobe.eq((s1_mask & from_s1) | (carry_mask & carry_valid.replicate(lanes))),
            out.first.eq(Mux(carry_valid, carry_first, s1_first)),
            out.last.eq(flush | (s1_last & ~s1_has_b)),
            out.context.eq(Mux(flush, carry_context, s1_context)),
            self.busy.eq(s1_valid | flush),
        ]
        m.d.comb += [out.data.word_select(n, 8).eq(
            Mux(from_s1[n], s1_data.word_select(n, 8), carry_data.word_select(n, 8)))
            for n in range(lanes)]
        with m.If(flush & self.o.ready):
            m.d.sync += carry_valid.eq(0)
        with m.If(s1_taken):
            m.d.sync += [
                carry_valid.eq(s1_has_b), carry_final.eq(s1_last),
                carry_first.eq(s1_first & ~s1_has_a), carry_data.eq(s1_data),
                carry_mask.eq(s1_mask & ~s1_part_a), carry_context.eq(s1_context),
            ]
        return m
