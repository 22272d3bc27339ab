"""First-in first-out buffer in a block RAM, without the latency of one."""

from amaranth import Module, Mux, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..prims.sram import Sram1R1W

__all__ = ["DeepFifo"]


class DeepFifo(wiring.Component):
    """Buffer ``depth`` payloads in order; for depths where a block RAM pays.

    The first payload stands in a register, the others in the memory behind it. The memory's read
    port always looks at the second payload, and a register keeps the last one stored for the cycle
    in which the memory cannot give it yet; a payload that finds nothing before it bypasses both.

    Parameters
    ----------
    shape : ShapeLike
        Payload.
    depth : int
        Payloads held, at least 2. The memory has the next power of two of ``depth - 1`` words.

    Members
    -------
    i, o : In, Out(stream.Signature(shape))
        Input and output.
    level : Out(range(depth + 1))
        Payloads held.

    Timing
    ------
    Latency: 1 cycle from a transfer on ``i`` to ``o.valid`` (``LATENCY``); 1 from a transfer on
    ``o`` of a full buffer to ``i.ready``.
    Throughput: one payload per cycle, at any level but full.
    Backpressure: full.
    Combinational paths: none. ``o``, ``i.ready`` and ``level`` are registers.
    Reset: emptied.
    """

    LATENCY = 1

    def __init__(self, shape, depth):
        if not isinstance(depth, int) or depth < 2:
            raise ValueError(f"depth must be at least 2, not {depth!r}")
        self._shape, self._depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)),
                          "level": Out(range(depth + 1))})

    def elaborate(self, platform):
        m = Module()
        width = Shape.cast(self._shape).width
        words = max(2, 1 << (self._depth - 2).bit_length())
        m.submodules.memory = memory = Sram1R1W(depth=words, width=width)

        valid = Signal()                        # `first` holds a payload
        more = Signal()                         # the memory does
        room = Signal(init=1)
        fresh = Signal()                        # the second payload is `stored`, not yet readable
        first = Signal(width, reset_less=True)
        stored = Signal(width, reset_less=True)
        read = Signal(range(words))             # place of the second payload
        write = Signal(range(words))
        put = Signal()
        get = Signal()
        bypass = Signal()       # the payload on `i` becomes the first
        store = Signal()        # it goes to the memory
        take = Signal()         # the second payload becomes the first
        two = Signal()
        m.d.comb += [
            put.eq(self.i.valid & room), get.eq(valid & self.o.ready),
            take.eq(get & more), two.eq(self.level == 2),
            bypass.eq(put & (~valid | (get & ~more))), store.eq(put & ~bypass),
            self.i.ready.eq(room), self.o.valid.eq(valid),
            Value.cast(self.o.payload).eq(first),
            memory.w_en.eq(store), memory.w_addr.eq(write),
            memory.w_data.eq(Value.cast(self.i.payload)),
            memory.r_en.eq(take | fresh), memory.r_addr.eq(read + take),
        ]
        m.d.sync += fresh.eq(store & (~more | (take & two)))
        with m.If(store):
            m.d.sync += [stored.eq(memory.w_data), write.eq(write + 1)]
        with m.If(take):
            m.d.sync += read.eq(read + 1)
        with m.If(bypass):
            m.d.sync += first.eq(memory.w_data)
        with m.Elif(take):
            m.d.sync += first.eq(Mux(fresh, stored, memory.r_data))
        with m.If(put & ~get):
            m.d.sync += [self.level.eq(self.level + 1), valid.eq(1), more.eq(valid),
                         room.eq(self.level != self._depth - 1)]
        with m.If(get & ~put):
            m.d.sync += [self.level.eq(self.level - 1), valid.eq(more), more.eq(more & ~two),
                         room.eq(1)]
        return m
