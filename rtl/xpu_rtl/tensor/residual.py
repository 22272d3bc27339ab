"""Reads the residual ahead of the epilogue's lanes."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .choose import element_shift
from .drain import Shape
from .reader import WordReader
from .types import TileDescriptor, retreat, wide_address

__all__ = ["ResidualReader"]


class ResidualReader(wiring.Component):
    """Read the residual of one tile after the other, in the order in which it is drained.

    Words lie at ``residual_address + row * residual_pitch + (block << s) + 0 .. (1 << s) - 1`` for
    elements of 1 << s bytes. A row of a column block that is not whole inside the scratchpad and
    the window stops the reads until reset.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    start, tile : In(1), In(TileDescriptor(config))
        A tile begins, with its descriptor. Not before the last group of the tile before is taken.
    port : Out(ScratchpadPort(config))
        Reads.
    last_word : In(sm_addr_width)
        Last word of the ring's window.
    o : Out(stream.Signature(ArrayLayout(unsigned(32), epilogue_lanes)))
        Groups of elements, each in the low bits.
    empty : Out(1)
        No word or group is on its way.
    fault, fault_address : Out(1), Out(wide_address(config))
        Sticky: stopped before this word.

    Timing
    ------
    Latency: 2 cycles from ``start`` to the first request, 2 from the last response of a group to
    ``o``.
    Throughput: one word per cycle, in groups as ``Shape`` has them.
    Backpressure: full. Combinational paths: none.
    Reset: empty.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "start": In(1), "tile": In(TileDescriptor(config)),
            "port": Out(ScratchpadPort(config)), "last_word": In(config.sm_addr_width),
            "o": Out(stream.Signature(data.ArrayLayout(unsigned(32), config.epilogue_lanes))),
            "empty": Out(1), "fault": Out(1), "fault_address": Out(wide_address(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        address = wide_address(config)
        m.submodules.reader = reader = WordReader(config)
        wiring.connect(m, reader.port, wiring.flipped(self.port))

        active = Signal()
        tile = Signal(TileDescriptor(config), reset_less=True)
        shift = element_shift(m, "shift", tile.residual_type, most=2)
        last_of_row = Signal(3)
        m.d.comb += last_of_row.eq((1 << shift) - 1)

        word, rows_left = Signal(3), Signal.like(tile.rows, reset_less=True)
        blocks_left = Signal.like(tile.blocks, reset_less=True)
        now, of_row, of_block, room, room_of_row, room_of_block = (
            Signal(address, name=name, reset_less=True)
            for name in ("now", "of_row", "of_block", "room", "room_of_row", "room_of_block"))
        origin, origin_room, stride, following = (
            Signal(address, name=name) for name in ("origin", "origin_room", "stride", "following"))
        row_ends, block_ends, beyond = Signal(), Signal(), Signal()
        next_room = retreat(m, "next_room", origin_room, stride)
        m.d.comb += [
            row_ends.eq(word == last_of_row), block_ends.eq(row_ends & (rows_left == 0)),
            following.eq(origin + stride),
            beyond.eq((word == 0) & (room[-1] | (room < last_of_row))),
            reader.ask.eq(active & reader.ready & ~self.fault & ~beyond),
            reader.address.eq(now),
            origin.eq(now), origin_room.eq(room), stride.eq(1),
        ]
        with m.If(block_ends):
            m.d.comb += [origin.eq(of_block), origin_room.eq(room_of_block),
                         stride.eq(1 << shift)]
        with m.Elif(row_ends):
            m.d.comb += [origin.eq(of_row), origin_room.eq(room_of_row),
                         stride.eq(tile.residual_pitch)]
        with m.If(reader.ask):
            m.d.sync += [now.eq(following), room.eq(next_room), word.eq(word + 1)]
            with m.If(row_ends):
                m.d.sync += [word.eq(0), of_row.eq(following), room_of_row.eq(next_room),
                             rows_left.eq(rows_left - 1)]
            with m.If(block_ends):
                m.d.sync += [of_block.eq(following), room_of_block.eq(next_room),
                             rows_left.eq(tile.rows - 1), blocks_left.eq(blocks_left - 1),
                             active.eq(blocks_left != 1)]
        with m.If(active & beyond & ~self.fault):
            m.d.sync += [self.fault.eq(1),
                         self.fault_address.eq(Mux(room[-1], now, now + room + 1))]
        first_room = retreat(m, "first_room", self.last_word, self.tile.residual_address)
        with m.If(self.start):
            m.d.sync += [
                active.eq(1), tile.eq(self.tile), word.eq(0), rows_left.eq(self.tile.rows - 1),
                blocks_left.eq(self.tile.blocks),
                *(register.eq(self.tile.residual_address) for register in (now, of_row, of_block)),
                *(register.eq(first_room) for register in (room, room_of_row, room_of_block)),
            ]

        self._groups(m, reader, shift)
        return m

    def _groups(self, m, reader, shift):
        """Words become groups: several words make one, or one word makes several."""
        config = self._config
        lanes = config.epilogue_lanes
        layout = data.ArrayLayout(unsigned(32), lanes)
        m.submodules.groups = groups = StreamFifo(layout, 4)
        wiring.connect(m, groups.o, wiring.flipped(self.o))
        count = Signal(range(max(Shape(config, 2).parts, Shape(config, 0).pieces)))
        earlier = Signal(max(1, 32 * lanes - config.word_width), reset_less=True)
        word = reader.o.p.data
        m.d.comb += self.empty.eq(reader.empty & ~groups.o.valid)
        advance = Signal()
        with m.Switch(shift):
            for size in range(3):
                shape, width = Shape(config, size), 8 << size
                with m.Case(size):
                    if shape.parts > 1:
                        whole = Cat(earlier, word)[-lanes * width:]
                        last = count == shape.parts - 1
                        m.d.comb += [groups.i.valid.eq(reader.o.valid & last),
                                     reader.o.ready.eq(~last | groups.i.ready),
                                     advance.eq(reader.o.valid & reader.o.ready)]
                        counts = shape.parts
                    else:
                        whole = Signal(lanes * width, name=f"piece_{size}")
                        with m.Switch(count):
                            for n in range(shape.pieces):
                                with m.Case(n):
                                    m.d.comb += whole.eq(word.word_select(n, lanes * width))
                        last = count == shape.pieces - 1
                        m.d.comb += [groups.i.valid.eq(reader.o.valid),
                                     reader.o.ready.eq(groups.i.ready & last),
                                     advance.eq(reader.o.valid & groups.i.ready)]
                        counts = shape.pieces
                    m.d.comb += [groups.i.p[n].eq(whole[n * width:(n + 1) * width])
                                 for n in range(lanes)]
                    with m.If(advance):
                        m.d.sync += count.eq(Mux(count == counts - 1, 0, count + 1))
        with m.If(reader.o.valid & reader.o.ready):
            m.d.sync += earlier.eq(Cat(earlier, word)[-len(earlier):])
