"""Decides when a row of activations enters the array."""

from amaranth import Module, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .accumulator import Accumulator
from .types import FeedPass, RowTag

__all__ = ["Feeder"]


class Feeder(wiring.Component):
    """Let rows into the array when their weights are loaded and their accumulators are free.

    A pass begins when the shadow block is full, and not within ``Accumulator.MIN_DISTANCE`` cycles
    of the one before (short passes only). The first pass of a tile also needs the tile announced to
    the epilogue, and its accumulator memory released by the tile before the last. Later rows of a
    pass wait for nothing but their word.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    feed, word : In(stream.Signature(FeedPass(config))), In(stream.Signature(unsigned(word_width)))
        Passes, and their rows.
    weights_full : In(1)
        The shadow block holds the weights of the next pass.
    announced : In(1)
        Pulse: the epilogue has accepted a tile.
    released : In(1)
        Pulse: the accumulators of the oldest tile that is not silent have been read.
    halt : In(1)
        Let nothing in.
    valid, swap, a_signed, zero_point : Out
        To ``DotArray``, with the word at the head of ``word``.
    tag : Out(RowTag(config))
        To ``Accumulator``.
    lacks_word, lacks_weights, lacks_memory : Out(1)
        Why the pass at hand cannot go on; at most one is set.
    draining : Out(1)
        A tile that has entered whole has not been released.

    Timing
    ------
    Latency: 0 from ``word`` to ``valid``. Throughput: one row per cycle, also from pass to pass.
    Backpressure: full.
    Combinational paths: ``feed``, ``word``, ``weights_full``, ``halt`` to all outputs.
    Reset: both memories free, no tile announced.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "feed": In(stream.Signature(FeedPass(config))),
            "word": In(stream.Signature(unsigned(config.word_width))),
            "weights_full": In(1), "announced": In(1), "released": In(1), "halt": In(1),
            "valid": Out(1), "swap": Out(1), "a_signed": Out(1), "zero_point": Out(signed(9)),
            "tag": Out(RowTag(config)),
            "lacks_word": Out(1), "lacks_weights": Out(1), "lacks_memory": Out(1),
            "draining": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, feed = self._config, self.feed.p

        inside = Signal()               # a row of this pass has entered
        rows_left = Signal(range(config.acc_rows + 1), reset_less=True)
        address = Signal(range(config.acc_rows), reset_less=True)
        gap = Signal(range(Accumulator.MIN_DISTANCE))
        tiles = Signal(range(8))        # announced and not begun
        taken = Signal(2)               # memories in use by tiles that are not silent
        oldest = Signal()               # memory that is released next
        whole = Signal(range(3))        # tiles entered and not released

        ends, row = Signal(), Signal.like(rows_left)
        weights_ok, memory_ok = Signal(), Signal()
        m.d.comb += [
            weights_ok.eq(inside | (self.weights_full & (gap == 0))),
            memory_ok.eq(inside | ~feed.tile_first
                         | ((tiles != 0) & ~taken.bit_select(feed.bank, 1))),
            self.valid.eq(self.feed.valid & self.word.valid & weights_ok & memory_ok & ~self.halt),
            self.lacks_word.eq(self.feed.valid & ~self.word.valid),
            self.lacks_weights.eq(self.feed.valid & self.word.valid & ~weights_ok),
            self.lacks_memory.eq(self.feed.valid & self.word.valid & weights_ok & ~memory_ok),
            self.swap.eq(self.valid & ~inside),
            self.a_signed.eq(feed.a_signed),
            self.zero_point.eq(feed.zero_point),
            row.eq(feed.rows),
            self.tag.address.eq(feed.accumulator),
            ends.eq(row == 1),
            self.tag.bank.eq(feed.bank),
            self.tag.overwrite.eq(feed.overwrite),
            self.tag.last.eq(ends & feed.tile_last),
            self.word.ready.eq(self.valid),
            self.feed.ready.eq(self.valid & ends),
            self.draining.eq(whole != 0),
        ]
        with m.If(inside):
            m.d.comb += [row.eq(rows_left), self.tag.address.eq(address)]

        begins, complete = Signal(), Signal()
        m.d.comb += [begins.eq(self.swap & feed.tile_first),
                     complete.eq(self.valid & self.tag.last & ~feed.silent)]
        with m.If(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(self.swap):
            m.d.sync += gap.eq(Accumulator.MIN_DISTANCE - 1)
        with m.If(self.valid):
            m.d.sync += [inside.eq(~ends), rows_left.eq(row - 1), address.eq(self.tag.address + 1)]
        m.d.sync += [tiles.eq(tiles + self.announced - begins),
                     whole.eq(whole + complete - self.released)]
        with m.If(self.released):
            m.d.sync += [taken.bit_select(oldest, 1).eq(0), oldest.eq(~oldest)]
        with m.If(begins & ~feed.silent):
            m.d.sync += taken.bit_select(feed.bank, 1).eq(1)
        return m
