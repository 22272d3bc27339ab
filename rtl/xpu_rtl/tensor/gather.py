"""Makes words of elements."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .drain import Shape

__all__ = ["Gather"]


class Gather(wiring.Component):
    """Join groups of elements to words, or pick one of the words of a group.

    Groups come as ``Shape`` has them: ``pieces`` of them make a word, or each is sent once for each
    of the ``parts`` words it makes. Word by word is complete before elements of another size come.

    Parameters
    ----------
    config : XpuConfig
        ``epilogue_lanes`` elements a group.
    sizes : tuple of int
        log2 of the bytes of the elements that come.

    Members
    -------
    valid, shift, elements : In(1), In(2), In(ArrayLayout(unsigned(8 << sizes[-1]), epilogue_lanes))
        A group, the log2 of the bytes of its elements, which are in the low bits.
    alone, word_alone : In(1), In(word_width)
        With ``valid``: no group, but a word, between two words.
    o_valid, word : Out(1), Out(word_width)
        A word.

    Timing
    ------
    Latency: 0. Throughput: one group per cycle. Backpressure: none.
    Combinational paths: from the inputs to the outputs.
    Reset: no group kept.
    """

    def __init__(self, config: XpuConfig, sizes=(0, 1, 2)):
        self._config, self._sizes = config, sizes
        super().__init__({
            "valid": In(1), "shift": In(2),
            "elements": In(data.ArrayLayout(unsigned(8 << sizes[-1]), config.epilogue_lanes)),
            "alone": In(1), "word_alone": In(config.word_width),
            "o_valid": Out(1), "word": Out(config.word_width),
        })

    def elaborate(self, platform):
        m = Module()
        width, lanes = self._config.word_width, self._config.epilogue_lanes
        shapes = {size: Shape(self._config, size) for size in self._sizes}
        most = max(max(shape.parts, shape.pieces) for shape in shapes.values())
        count = Signal(range(most))
        kept = Signal(width, reset_less=True)       # the newest piece at the top
        last = Signal()
        m.d.comb += self.o_valid.eq(self.valid & (last | self.alone))
        with m.Switch(self.shift):
            for size, shape in shapes.items():
                bits = 8 << size
                group = Cat(self.elements[n][:bits] for n in range(lanes))
                with m.Case(size):
                    if shape.parts > 1:
                        m.d.comb += last.eq(1)
                        for n in range(shape.parts):
                            with m.If(count == n):
                                m.d.comb += self.word.eq(group[n * width:(n + 1) * width])
                        turns = shape.parts
                    else:
                        m.d.comb += [self.word.eq(Cat(kept, group)[-width:]),
                                     last.eq(count == shape.pieces - 1)]
                        turns = shape.pieces
                    with m.If(self.valid & ~self.alone):
                        m.d.sync += count.eq(Mux(count == turns - 1, 0, count + 1))
        with m.If(self.valid):
            m.d.sync += kept.eq(self.word)
        with m.If(self.alone):
            m.d.comb += self.word.eq(self.word_alone)
        return m
