"""First-in first-out buffer on a memory with registered reads."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..prims.sram import Sram1R1W

__all__ = ["BeatFifo"]


class BeatFifo(wiring.Component):
    """Buffer of ``depth`` words in a block RAM, in order.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words the memory holds, a power of two of at least 2; one more waits at the output.

    Members
    -------
    i, o : In, Out(stream.Signature(unsigned(width)))
        Input and output.

    Timing
    ------
    Latency: 2 cycles from a transfer on ``i`` to ``o.valid`` (``LATENCY``).
    Throughput: one word per cycle.
    Backpressure: full.
    Combinational paths: ``o.ready`` to the memory's read enable.
    Reset: emptied.
    """

    LATENCY = 2

    def __init__(self, *, width, depth):
        self._width, self._depth = width, depth
        super().__init__({"i": In(stream.Signature(unsigned(width))),
                          "o": Out(stream.Signature(unsigned(width)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Sram1R1W(depth=self._depth, width=self._width)
        level = Signal(range(self._depth + 1))  # words in the memory that are not at the output
        read, write, valid = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(level != self._depth), write.eq(self.i.valid & self.i.ready),
            memory.w_en.eq(write), memory.w_data.eq(self.i.payload),
            read.eq((level != 0) & (~valid | self.o.ready)), memory.r_en.eq(read),
            self.o.valid.eq(valid), self.o.payload.eq(memory.r_data),
        ]
        with m.If(write):
            m.d.sync += memory.w_addr.eq(memory.w_addr + 1)
        with m.If(read):
            m.d.sync += memory.r_addr.eq(memory.r_addr + 1)
        with m.If(write & ~read):
            m.d.sync += level.eq(level + 1)
        with m.If(read & ~write):
            m.d.sync += level.eq(level - 1)
        with m.If(read):
            m.d.sync += valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += valid.eq(0)
        return m
