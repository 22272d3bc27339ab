"""Prefetch of bias, scales and tables for the epilogue."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..prims.sram import Sram1R1W
from ..scratchpad.types import ScratchpadPort
from .types import TileDescriptor, retreat

__all__ = ["ParameterLoader", "table_words"]

#: Scratchpad words of one parameter (4 bytes per channel) of a column block (one byte per channel
#: and word).
_WORDS = 4


def table_words(config: XpuConfig):
    """Scratchpad words of a table of 256 bytes."""
    return 256 // config.word_bytes


class ParameterLoader(wiring.Component):
    """Hold tiles back until their bias, scales and table are there.

    The parameter store has two halves. A tile that needs parameters the current half does not hold
    (``first`` or another ``column_tile``, and ``has_bias`` or ``scale_vector``) fills the other
    half: 4 words per block of bias from ``bias_address`` if it has bias, then as many of scales
    from ``scale_address`` if they are a vector. The ``first`` tile of a command with a table then
    sends the table's words to a half of the table store, likewise the other one. Loading starts
    when the tile before has gone on, so it overlaps with that tile's drain. Other tiles, and silent
    ones, pass at once.

    Parameters
    ----------
    config : XpuConfig
        Sizes. A row of the store holds ``row_lanes`` biases and scales.

    Members
    -------
    i : In(stream.Signature(TileDescriptor(config)))
        Tiles to prepare; two are buffered.
    o : Out(stream.Signature(TileDescriptor(config)))
        The same tiles, with parameters.
    half, table_half : Out(1), Out(1)
        Halves of the stores that belong to ``o``; to be kept with the tile.
    table_en, table_half_written, table_row, table_data : Out(1), Out(1), Out, Out(word_width)
        A word of a table, and where it goes.
    r_en, r_half, r_block, r_row : In
        Read port: row ``r_row`` of column block ``r_block``. A half may be read until the second
        tile after is taken from ``o``.
    bias, scale : Out(32 * row_lanes)
        Row read, in the cycle after ``r_en`` and until the next.
    param : Out(ScratchpadPort(config))
        Reads of the parameters.
    last_word : In(config.sm_addr_width)
        Last word of the ring's window.
    stop : In(1)
        Begin no further load.
    empty : Out(1)
        Holds no tile.
    idle : Out(1)
        No request is offered and none lacks its response.
    fault : Out(1)
        The oldest tile not yet taken has a parameter outside the scratchpad or the window. Sticky:
        it is never offered. Words before the offending one may have been read.
    fault_address : Out(config.sm_addr_width + 1)
        Word address of the offence, in or beyond the scratchpad.

    Timing
    ------
    Latency: 2 cycles from ``i`` to ``o`` without a load; with one, as many as requests and
    responses take and 3 more.
    Throughput: a tile per 2 cycles; one word per cycle.
    Backpressure: full; responses are always taken.
    Combinational paths: none but ``r_*`` into the memory.
    Reset: buffers emptied, no half holds anything.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        self.row_lanes = max(config.epilogue_lanes, config.lanes // _WORDS)
        self.block_rows = config.lanes // self.row_lanes
        address = unsigned(config.sm_addr_width + 1)
        super().__init__({
            "i": In(stream.Signature(TileDescriptor(config))),
            "o": Out(stream.Signature(TileDescriptor(config))),
            "half": Out(1), "table_half": Out(1), "table_en": Out(1),
            "table_half_written": Out(1), "table_row": Out(range(table_words(config))),
            "table_data": Out(config.word_width),
            "r_en": In(1), "r_half": In(1), "r_block": In(range(config.tile_blocks)),
            "r_row": In(range(self.block_rows)),
            "bias": Out(32 * self.row_lanes), "scale": Out(32 * self.row_lanes),
            "param": Out(ScratchpadPort(config)),
            "last_word": In(config.sm_addr_width), "stop": In(1), "empty": Out(1), "idle": Out(1),
            "fault": Out(1), "fault_address": Out(address),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        row_words = _WORDS // self.block_rows  # per parameter
        depth = max(2, 2 * config.tile_blocks * self.block_rows)
        m.submodules.store = store = Sram1R1W(
            depth=depth, width=64 * self.row_lanes, granularity=config.word_width)
        m.submodules.tiles = tiles = StreamFifo(TileDescriptor(config), 2)
        wiring.connect(m, wiring.flipped(self.i), tiles.i)
        tile = tiles.o.p
        m.d.comb += [
            self.o.payload.eq(tiles.o.payload),
            self.empty.eq(~tiles.o.valid),
            tiles.o.ready.eq(self.o.valid & self.o.ready),
            store.r_en.eq(self.r_en),
            store.r_addr.eq(Cat(self.r_row, self.r_block, self.r_half)),
            Cat(self.bias, self.scale).eq(store.r_data),
        ]

        half, table_half, column = Signal(), Signal(), Signal(16, reset_less=True)
        most = max(config.tile_blocks * _WORDS, table_words(config))

        # What is loaded: up to three parts, one after the other. `asks` and `gets` are the part
        # whose words are asked for, and the part whose words arrive.
        wanted = Signal(3)      # bias, scale, table
        asks, gets = Signal(3, reset_less=True), Signal(3, reset_less=True)     # one bit each
        asked, got = Signal(range(most)), Signal(range(most))
        address = Signal(config.sm_addr_width + 1, reset_less=True)
        room = Signal.like(address, reset_less=True)
        parameter_last = Signal(range(most))
        room_base, room_step, start = (Signal.like(address, name=name)
                                       for name in ("room_base", "room_step", "start"))
        next_room = retreat(m, "next_room", room_base, room_step)
        row_bits = ceil_log2(row_words)
        renews = Signal()
        m.d.comb += [
            self.half.eq(half), self.table_half.eq(table_half),
            parameter_last.eq(Cat(Const(_WORDS - 1),
                                  (tile.blocks - 1)[:ceil_log2(config.tile_blocks)])),
            renews.eq(tile.first | (tile.column_tile != column)),
            wanted.eq(Cat(tile.has_bias & renews, tile.scale_vector & renews,
                          tile.has_table & tile.first)),
            room_base.eq(self.last_word),
            self.param.req.p.address.eq(address),
            self.fault_address.eq(address),
            store.w_addr.eq(Cat(got[row_bits:ceil_log2(config.tile_blocks * _WORDS)], ~half)),
            store.w_data.eq(self.param.rsp.payload.replicate(2 * row_words)),
            self.table_half_written.eq(~table_half), self.table_row.eq(got),
            self.table_data.eq(self.param.rsp.payload),
        ]

        def lowest(bits, name):
            """The lowest bit that is set."""
            result = Signal(3, name=name)
            m.d.comb += result.eq(bits & ~(bits << 1) & ~((bits << 2) & 0b111))
            return result

        def behind(part, name):
            """The part that follows, or none."""
            above = Signal(3, name=f"{name}_above")
            m.d.comb += above.eq(Mux(part[0], 0b110, Mux(part[1], 0b100, 0)))
            return lowest(wanted & above, name)

        first_part = lowest(wanted, "first_part")
        next_asks, next_gets = behind(asks, "next_asks"), behind(gets, "next_gets")
        chosen = Signal(3)
        asks_end, gets_end = Signal(), Signal()
        m.d.comb += [
            start.eq(Mux(chosen[0], tile.bias_address,
                         Mux(chosen[1], tile.scale_address, tile.table_address))),
            asks_end.eq(asked == Mux(asks[2], table_words(config) - 1, parameter_last)),
            gets_end.eq(got == Mux(gets[2], table_words(config) - 1, parameter_last)),
        ]
        with m.If(self.param.rsp.valid):
            with m.If(gets[2]):
                m.d.comb += self.table_en.eq(1)
            with m.Else():
                m.d.comb += store.w_en.eq(1 << Cat(got[:row_bits], gets[1]))
            m.d.sync += got.eq(got + 1)
            with m.If(gets_end):
                m.d.sync += [got.eq(0), gets.eq(next_gets)]

        with m.FSM(name="state"):
            with m.State("DECIDE"):  # a tile
                m.d.comb += [self.idle.eq(1), chosen.eq(first_part), room_step.eq(start)]
                m.d.sync += [asked.eq(0), got.eq(0), asks.eq(first_part), gets.eq(first_part),
                             address.eq(start), room.eq(next_room)]
                with m.If(tiles.o.valid):
                    with m.If(tile.silent | ~wanted.any()):
                        m.next = "OFFER"
                    with m.Elif(~self.stop):
                        m.next = "REQUEST"
            with m.State("REQUEST"):  # the scratchpad
                m.d.comb += [self.param.req.valid.eq(~room[-1]), chosen.eq(next_asks),
                             room_base.eq(room), room_step.eq(1)]
                with m.If(asks_end):
                    m.d.comb += [room_base.eq(self.last_word), room_step.eq(start)]
                with m.If(room[-1]):  # the guard bit
                    m.next = "FAULT"
                with m.Elif(self.param.req.ready):
                    m.d.sync += [asked.eq(asked + 1), address.eq(address + 1), room.eq(next_room)]
                    with m.If(asks_end):
                        m.d.sync += [asked.eq(0), asks.eq(next_asks), address.eq(start)]
                        with m.If(~next_asks.any()):
                            m.next = "RESPONSE"
            with m.State("RESPONSE"):  # the last response, later than the last request
                with m.If(self.param.rsp.valid & gets_end & ~next_gets.any()):
                    with m.If(wanted[:2].any()):
                        m.d.sync += [half.eq(~half), column.eq(tile.column_tile)]
                    m.d.sync += table_half.eq(table_half ^ wanted[2])
                    m.next = "OFFER"
            with m.State("FAULT"):  # reset; but first the responses on their way
                with m.If((asked == got) & (asks == gets)):
                    m.d.comb += [self.fault.eq(1), self.idle.eq(1)]
            with m.State("OFFER"):  # the drain
                m.d.comb += [self.o.valid.eq(1), self.idle.eq(1)]
                with m.If(self.o.ready):
                    m.next = "DECIDE"
        return m
