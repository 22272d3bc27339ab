"""First-in first-out buffer between two streams."""

from amaranth import Module, Shape
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamFifo"]


class StreamFifo(wiring.Component):
    """Buffer ``depth`` payloads in order.

    Parameters
    ----------
    shape : ShapeLike
        Payload.
    depth : int
        Payloads held, at least 1. Above 64 the storage is a block RAM and the latency grows by one.

    Members
    -------
    i, o : In, Out(stream.Signature(shape))
        Input and output.
    level : Out(range(depth + 1))
        Payloads held.

    Timing
    ------
    Latency: 1 cycle from a transfer on ``i`` to ``o.valid``; 2 above depth 64 (``latency``).
    Throughput: one payload per cycle if ``depth`` is at least 2.
    Backpressure: full.
    Combinational paths: none.
    Reset: emptied.
    """

    def __init__(self, shape, depth):
        self._shape, self._depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
                          "level": Out(range(depth + 1))})

    @property
    def latency(self):
        return 1 if self._depth <= 64 else 2

    def elaborate(self, platform):
        m = Module()
        kind = fifo.SyncFIFO if self._depth <= 64 else fifo.SyncFIFOBuffered
        m.submodules.fifo = inner = kind(width=Shape.cast(self._shape).width, depth=self._depth)
        m.d.comb += [
            inner.w_data.eq(self.i.payload), inner.w_en.eq(self.i.valid),
            self.i.ready.eq(inner.w_rdy),
            self.o.payload.eq(inner.r_data), self.o.valid.eq(inner.r_rdy),
            inner.r_en.eq(self.o.ready), self.level.eq(inner.level),
        ]
        return m
