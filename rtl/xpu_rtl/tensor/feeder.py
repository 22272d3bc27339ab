"""Decides when a word of activations enters the array."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .accumulator import Accumulator
from .types import ActivationWord, FeedPass, Kind, RowTag

__all__ = ["Feeder"]


class Feeder(wiring.Component):
    """Let words into the array when their weights are loaded and their accumulators are free.

    A pass begins when the shadow block is full, and so late that each of its words enters at least
    ``Accumulator.MIN_DISTANCE`` cycles after its like of the pass before (short passes only, which
    may have been held up half-way). If it is to be ``apart`` from the one before, or of
    another kind, it begins when the accumulators are at rest. The first pass of a tile also needs
    the tile announced to the epilogue, and its accumulator memory released by the tile before the
    last. Later words of a pass wait for nothing else.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    feed : In(stream.Signature(FeedPass(config)))
    word : In(stream.Signature(ActivationWord(config)))
        Passes, and their words.
    accumulating : In(1)
        A word is in the array or the accumulators; from the cycle after ``valid`` on.
    weights_full : In(1)
        The shadow block holds the weights of the next pass.
    announced : In(1)
        Pulse: the epilogue has accepted a tile.
    released : In(1)
        Pulse: the accumulators of the oldest tile that is not silent have been read.
    halt : In(1)
        Let nothing in.
    valid, swap, zero, kind, terms, a_signed, zero_point : Out
        To ``DotArray``, with the word at the head of ``word``.
    tag : Out(RowTag(config))
        To ``Accumulator``.
    lacks_word, lacks_weights, lacks_memory : Out(1)
        Why the pass at hand cannot go on; at most one is set.
    draining : Out(1)
        A tile that has entered whole has not been released.

    Timing
    ------
    Latency: 0 from ``word`` to ``valid``.
    Throughput: one word per cycle, also from row to row and from pass to pass.
    Backpressure: full.
    Combinational paths: ``feed``, ``word``, ``weights_full``, ``halt`` to all outputs.
    Reset: both memories free, no tile announced.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "feed": In(stream.Signature(FeedPass(config))),
            "word": In(stream.Signature(ActivationWord(config))),
            "accumulating": In(1),
            "weights_full": In(1), "announced": In(1), "released": In(1), "halt": In(1),
            "valid": Out(1), "swap": Out(1), "zero": Out(1), "kind": Out(Kind),
            "terms": Out(range(config.lanes + 1)), "a_signed": Out(1),
            "zero_point": Out(signed(9)),
            "tag": Out(RowTag(config)),
            "lacks_word": Out(1), "lacks_weights": Out(1), "lacks_memory": Out(1),
            "draining": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, feed = self._config, self.feed.p

        inside = Signal()               # a word of this pass has entered
        kept_rows, kept_columns = (Signal.like(feed.rows, name=name, reset_less=True)
                                   for name in ("kept_rows", "kept_columns"))    # left
        kept_address, kept_start = (Signal(range(config.acc_rows), name=name, reset_less=True)
                                    for name in ("kept_address", "kept_start"))
        # Cycles until the next pass may begin, and what the word at hand asks for: each word has to
        # be ``MIN_DISTANCE`` before its like, which is as far behind the first of the next pass.
        gap, spacing, kept_spacing = (
            Signal(range(Accumulator.FLOAT_MIN_DISTANCE), name=name)
            for name in ("gap", "spacing", "kept_spacing"))
        kind = Signal(Kind, reset_less=True)        # of the pass before
        tiles = Signal(range(8))        # announced and not begun
        taken = Signal(2)               # memories in use by tiles that are not silent
        oldest = Signal()               # memory that is released next
        whole = Signal(range(3))        # tiles entered and not released

        ends, row_ends = Signal(), Signal()
        rows, columns = (Signal.like(feed.rows, name=name) for name in ("rows", "columns"))
        start, next_row = Signal.like(kept_start), Signal.like(kept_start)      # of accumulators
        calm = Signal()
        weights_ok, memory_ok = Signal(), Signal()
        m.d.comb += [
            calm.eq(~self.accumulating | (~feed.apart & (feed.kind == kind))),
            weights_ok.eq(inside | (self.weights_full & (gap == 0) & calm)),
            memory_ok.eq(inside | ~feed.tile_first
                         | ((tiles != 0) & ~taken.bit_select(feed.bank, 1))),
            self.valid.eq(self.feed.valid & self.word.valid & weights_ok & memory_ok & ~self.halt),
            self.lacks_word.eq(self.feed.valid & ~self.word.valid),
            self.lacks_weights.eq(self.feed.valid & self.word.valid & ~weights_ok),
            self.lacks_memory.eq(self.feed.valid & self.word.valid & weights_ok & ~memory_ok),
            self.swap.eq(self.valid & ~inside),
            self.zero.eq(self.word.p.zero), self.kind.eq(feed.kind), self.terms.eq(feed.terms),
            self.a_signed.eq(feed.a_signed),
            self.zero_point.eq(feed.zero_point),
            rows.eq(Mux(inside, kept_rows, feed.rows)),
            columns.eq(Mux(inside, kept_columns, feed.columns)),
            self.tag.address.eq(Mux(inside, kept_address, feed.accumulator)),
            start.eq(Mux(inside, kept_start, feed.accumulator)),
            next_row.eq(start + feed.acc_pitch),
            row_ends.eq(columns == 1), ends.eq(row_ends & (rows == 1)),
            self.tag.kind.eq(feed.kind),
            self.tag.bank.eq(feed.bank),
            self.tag.overwrite.eq(feed.overwrite),
            self.tag.last.eq(ends & feed.tile_last),
            self.word.ready.eq(self.valid),
            self.feed.ready.eq(self.valid & ends),
            self.draining.eq(whole != 0),
        ]
        begins, complete = Signal(), Signal()
        m.d.comb += [begins.eq(self.swap & feed.tile_first),
                     complete.eq(self.valid & self.tag.last & ~feed.silent)]
        floating = (feed.kind == Kind.FP16) | (feed.kind == Kind.BF16)
        with m.If(~inside):
            m.d.comb += spacing.eq(Mux(floating, Accumulator.FLOAT_MIN_DISTANCE - 1,
                                       Accumulator.MIN_DISTANCE - 1))
        with m.Elif(kept_spacing != 0):
            m.d.comb += spacing.eq(kept_spacing - 1)
        with m.If(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(self.swap):
            m.d.sync += kind.eq(feed.kind)
        with m.If(self.valid):
            m.d.sync += [inside.eq(~ends), gap.eq(spacing), kept_spacing.eq(spacing),
                         kept_rows.eq(rows), kept_columns.eq(columns - 1),
                         kept_address.eq(self.tag.address + 1), kept_start.eq(start)]
            with m.If(row_ends):
                m.d.sync += [kept_rows.eq(rows - 1), kept_columns.eq(feed.columns),
                             kept_address.eq(next_row), kept_start.eq(next_row)]
        m.d.sync += [tiles.eq(tiles + self.announced - begins),
                     whole.eq(whole + complete - self.released)]
        with m.If(self.released):
            m.d.sync += [taken.bit_select(oldest, 1).eq(0), oldest.eq(~oldest)]
        with m.If(begins & ~feed.silent):
            m.d.sync += taken.bit_select(feed.bank, 1).eq(1)
        return m
