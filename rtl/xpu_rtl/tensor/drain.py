"""Order in which accumulator tiles are drained."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..command.formats import OutType
from ..params import XpuConfig
from .types import AccumulatorPort, TileDescriptor, retreat, wide_address

__all__ = ["DrainSequencer", "DrainStep", "RowEnd"]


class DrainStep(data.StructLayout):
    """What the datapath does with the accumulator row read last.

    Fields: ``group`` (group of ``epilogue_lanes`` lanes), ``part`` (INT32: which part of the group
    goes out), ``word_end`` (INT32: the part completes a word), ``int32``; ``has_bias``,
    ``scale_vector``, ``scale``, ``relu``, ``out_signed``, ``out_zero_point`` of the tile.
    """

    def __init__(self, config: XpuConfig):
        groups = config.lanes // config.epilogue_lanes
        parts = max(1, config.epilogue_lanes * 4 // config.lanes)
        super().__init__({
            "group": unsigned(ceil_log2(groups)),
            "part": unsigned(ceil_log2(parts)),
            "word_end": unsigned(1),
            "int32": unsigned(1),
            "has_bias": unsigned(1),
            "scale_vector": unsigned(1),
            "scale": unsigned(32),
            "relu": unsigned(1),
            "out_signed": unsigned(1),
            "out_zero_point": TileDescriptor(config)["out_zero_point"].shape,
        })


class RowEnd(data.StructLayout):
    """A row whose last word is on its way. Fields: ``semaphore``, ``last`` (of its command)."""

    def __init__(self):
        super().__init__({"semaphore": unsigned(8), "last": unsigned(1)})


class DrainSequencer(wiring.Component):
    """Walk through tiles: blocks outermost, then rows, then groups of lanes or INT32 words.

    Words go to ``out_address + row * out_pitch + block`` (8 bits) or ``+ 4 * block + 0 .. 3``
    (INT32). A word whose address has the guard bit set stops the walk for good before it begins.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    tile : In(stream.Signature(TileDescriptor(config)))
        Tiles with their parameters loaded.
    half : In(1)
        Half of the parameter store that belongs to ``tile``.
    computed : In(1)
        Pulse: the sums of the oldest tile not yet computed are readable from the next cycle on.
    acc : Out(AccumulatorPort(config))
        Reads of sums, one row each (``data`` is the datapath's business).
    released : Out(1)
        Pulse: the last step of a tile was in the cycle before, so that its last row has been used.
    step : Out(stream.Signature(DrainStep(config), always_ready=True))
        One per group, or per INT32 word or part of one, belonging to the newest row read.
    param_half, param_block, param_row : Out
        Row of the parameter store for this step.
    word, word_address : Out(1), Out(config.sm_addr_width)
        A word begins in this cycle, and where it goes.
    room : In(1)
        A word may begin.
    bytes_busy : In(1)
        8-bit results are in the datapath: an INT32 tile, whose way is shorter, waits.
    end : Out(stream.Signature(RowEnd()))
        Accepted with the last step of each row of a tile's last block; once for a silent tile.
    last_word : In(config.sm_addr_width)
        Last word of the ring's window.
    active : Out(1)
        A tile is being drained.
    fault, fault_address : Out(1), Out(wide_address(config))
        Sticky: stopped at this word address, which is behind the window or the scratchpad.

    Timing
    ------
    Latency: the first row is read in the cycle after the tile is taken, which is at the earliest
    the cycle of its ``computed``.
    Throughput: lanes / epilogue_lanes steps per row; INT32 as many, but at least 4. No gap between
    tiles, except before an INT32 tile that follows an 8-bit one.
    Backpressure: waits for ``room`` before each word and for ``end.ready`` in the last block.
    Combinational paths: ``room``, ``end.ready`` to ``acc.en``, ``step.valid``, ``word``,
    ``end.valid`` and ``tile.ready``; ``computed`` and ``bytes_busy`` to ``tile.ready``.
    Reset: no tile.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        self.param_lanes = max(config.epilogue_lanes, config.lanes // 4)
        super().__init__({
            "tile": In(stream.Signature(TileDescriptor(config))), "half": In(1),
            "computed": In(1), "acc": Out(AccumulatorPort(config)), "released": Out(1),
            "step": Out(stream.Signature(DrainStep(config), always_ready=True)),
            "param_half": Out(1), "param_block": Out(range(config.tile_blocks)),
            "param_row": Out(range(config.lanes // self.param_lanes)),
            "word": Out(1), "word_address": Out(config.sm_addr_width), "room": In(1),
            "bytes_busy": In(1),
            "end": Out(stream.Signature(RowEnd())), "last_word": In(config.sm_addr_width),
            "active": Out(1), "fault": Out(1), "fault_address": Out(wide_address(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        groups = config.lanes // config.epilogue_lanes
        parts = max(1, config.epilogue_lanes * 4 // config.lanes)
        int32_steps = groups * parts  # at least 4

        tile = Signal(TileDescriptor(config), reset_less=True)
        half = Signal(reset_less=True)
        active, stopped = Signal(), Signal()
        step = Signal(range(int32_steps), reset_less=True)
        rows_left = Signal.like(tile.rows, reset_less=True)
        block = Signal(range(config.tile_blocks), reset_less=True)
        row = Signal(range(config.acc_rows), reset_less=True)  # of the accumulators
        word, row_start, block_start, word_room, row_room, block_room = (
            Signal(wide_address(config), name=name, reset_less=True)
            for name in ("word_at", "row_start", "block_start", "word_room", "row_room",
                         "block_room"))

        int32, word_first, word_end = Signal(), Signal(), Signal()
        row_last, last_row, last_block = Signal(), Signal(), Signal()
        word_steps = ceil_log2(int32_steps // 4)
        m.d.comb += [
            int32.eq(tile.out_type == OutType.INT32),
            word_first.eq(Mux(int32, ~step[:word_steps].any() if word_steps else 1, step == 0)),
            word_end.eq(step[:word_steps].all() if word_steps else 1),
            row_last.eq(Mux(int32, step == int32_steps - 1, step == groups - 1)),
            last_row.eq(rows_left == 0),
            last_block.eq(block == tile.blocks - 1),
        ]

        row_ending, ending, outside = Signal(), Signal(), Signal()
        able, go = Signal(), Signal()
        m.d.comb += [
            row_ending.eq(tile.silent | (row_last & last_block)),
            ending.eq(row_ending & (tile.silent | last_row)),
            outside.eq(~tile.silent & word_first & word_room[-1]),
            able.eq(active & ~stopped & ~outside & (tile.silent | ~word_first | self.room)),
            go.eq(able & (~row_ending | self.end.ready)),
            self.end.valid.eq(able & row_ending),
            self.end.p.semaphore.eq(Mux(tile.silent, 0, tile.out_semaphore)),
            self.end.p.last.eq(tile.last & ending),
            self.step.valid.eq(go & ~tile.silent),
            self.word.eq(self.step.valid & word_first), self.word_address.eq(word),
            self.active.eq(active),
            self.fault.eq(stopped), self.fault_address.eq(word),
        ]
        with m.If(active & outside):
            m.d.sync += stopped.eq(1)

        part_bits, group_bits = ceil_log2(parts), ceil_log2(groups)
        group = Signal(group_bits)
        skip = ceil_log2(self.param_lanes // config.epilogue_lanes)
        m.d.comb += [
            group.eq(Mux(int32, step >> part_bits, step)),
            self.param_half.eq(half), self.param_block.eq(block), self.param_row.eq(group >> skip),
            self.step.p.group.eq(group), self.step.p.part.eq(step[:part_bits]),
            self.step.p.word_end.eq(word_end), self.step.p.int32.eq(int32),
            self.step.p.out_signed.eq(tile.out_type == OutType.INT8),
        ]
        for name in ("has_bias", "scale_vector", "scale", "relu", "out_zero_point"):
            m.d.comb += self.step.p[name].eq(tile[name])

        m.d.comb += [
            self.acc.bank.eq(tile.bank), self.acc.addr.eq(row),
            self.acc.en.eq(self.step.valid & (step == 0)),
        ]
        m.d.sync += self.released.eq(self.step.valid & ending)

        # The next word: after this one, at the next row, or at the top of the next block.
        origin, origin_room, stride, following = (
            Signal(wide_address(config), name=name)
            for name in ("origin", "origin_room", "stride", "following"))
        next_room = retreat(m, "next_room", origin_room, stride)
        m.d.comb += [origin.eq(word), origin_room.eq(word_room), stride.eq(1),
                     following.eq(origin + stride)]
        with m.If(row_last & last_row):
            m.d.comb += [origin.eq(block_start), origin_room.eq(block_room),
                         stride.eq(Mux(int32, 4, 1))]
        with m.Elif(row_last):
            m.d.comb += [origin.eq(row_start), origin_room.eq(row_room), stride.eq(tile.out_pitch)]
        with m.If(self.acc.en):
            m.d.sync += row.eq(row + 1)
        with m.If(go):
            m.d.sync += step.eq(step + 1)
            with m.If(row_last | (int32 & word_end)):
                m.d.sync += [word.eq(following), word_room.eq(next_room)]
            with m.If(row_last):
                m.d.sync += [step.eq(0), row_start.eq(following), row_room.eq(next_room),
                             rows_left.eq(rows_left - 1)]
                with m.If(last_row):
                    m.d.sync += [block_start.eq(following), block_room.eq(next_room),
                                 rows_left.eq(tile.rows - 1), block.eq(block + 1)]
            with m.If(ending):
                m.d.sync += active.eq(0)

        # Computed tiles that have not been taken: at most those the loader holds, and the one in
        # its input.
        ready_tiles = Signal(2)
        waits = Signal()
        new = self.tile.p
        m.d.comb += [
            waits.eq(~new.silent & (new.out_type == OutType.INT32)
                     & (self.bytes_busy | (active & ~int32 & ~tile.silent))),
            self.tile.ready.eq(((ready_tiles != 0) | self.computed) & ~waits
                               & (~active | (go & ending))),
        ]
        taken = Signal()
        m.d.comb += taken.eq(self.tile.valid & self.tile.ready)
        m.d.sync += ready_tiles.eq(ready_tiles + self.computed - taken)
        tile_room = retreat(m, "tile_room", self.last_word, new.out_address)
        with m.If(taken):
            m.d.sync += [
                word_room.eq(tile_room), row_room.eq(tile_room), block_room.eq(tile_room),
                active.eq(1), tile.eq(new), half.eq(self.half), step.eq(0), block.eq(0), row.eq(0),
                rows_left.eq(new.rows - 1), word.eq(new.out_address),
                row_start.eq(new.out_address), block_start.eq(new.out_address),
            ]
        return m
