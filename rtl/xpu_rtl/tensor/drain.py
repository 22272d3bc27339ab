"""Order in which accumulator tiles are drained."""

from amaranth import Array, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..command.formats import Activation, ElementType
from ..params import XpuConfig
from .choose import element_shift
from .finish import FinishLanes
from .requantize import Requantizer
from .types import AccumulatorPort, Kind, TileDescriptor, retreat, wide_address

__all__ = ["PATH_FIELDS", "PIPE", "DrainSequencer", "DrainStep", "Path", "RowEnd", "Shape",
           "path_of"]


class Path(enum.Enum, shape=2):
    """How sums become results. Each has its own latency."""

    RAW = 0         #: bias and ReLU only: INT32 and INT64
    BYTES = 1       #: sums of bytes to bytes, by the requantiser
    FLOAT = 2       #: everything else


#: What the way of a tile depends on.
PATH_FIELDS = ("kind", "out_type", "float_bias", "has_residual", "has_max", "activation")


def path_of(m, name, tile):
    """Named ``Path`` of a tile, or of an object with its ``PATH_FIELDS``."""
    path = Signal(Path, name=name)
    byte = (tile.out_type == ElementType.INT8) | (tile.out_type == ElementType.UINT8)
    plain = ~(tile.float_bias | tile.has_residual | tile.has_max
              | (tile.activation > Activation.RELU))
    with m.If((tile.out_type == ElementType.INT32) | (tile.out_type == ElementType.INT64)):
        m.d.comb += path.eq(Path.RAW)
    with m.Elif((tile.kind == Kind.INT8) & byte & plain):
        m.d.comb += path.eq(Path.BYTES)
    with m.Else():
        m.d.comb += path.eq(Path.FLOAT)
    return path


#: Cycles after which a step has left the datapath for good, by its way: two stages before the
#: lanes, and after them the table and the word.
PIPE = {Path.RAW: 2 + 2, Path.BYTES: 2 + Requantizer.LATENCY + 2,
        Path.FLOAT: 2 + FinishLanes.LATENCY + 2}


class Shape:
    """How the elements of a row of a column block make words, by log2 of an element's bytes.

    A group is ``epilogue_lanes`` elements. ``pieces`` groups make a word, or a group makes
    ``parts`` words, and is then sent as often. ``steps`` groups are sent for a row.
    """

    def __init__(self, config: XpuConfig, shift):
        groups = config.lanes // config.epilogue_lanes
        self.parts = max(1, (config.epilogue_lanes << shift) // config.lanes)
        self.pieces = max(1, config.lanes // (config.epilogue_lanes << shift))
        self.steps = groups * self.parts
        self.words = 1 << shift


class DrainStep(data.StructLayout):
    """What the datapath does with the accumulator row read last.

    Fields: ``group`` (of ``epilogue_lanes`` lanes); ``setting`` (which of the two tiles it belongs
    to); ``count`` (lanes that are columns of C); ``first`` (step of its command); ``maximum`` (no
    group, but the word of the running maximum).
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "group": unsigned(ceil_log2(config.lanes // config.epilogue_lanes)),
            "setting": unsigned(1),
            "count": unsigned(ceil_log2(config.epilogue_lanes + 1)),
            "first": unsigned(1),
            "maximum": unsigned(1),
        })


class RowEnd(data.StructLayout):
    """A row whose last word is on its way. Fields: ``semaphore``, ``last`` (of its command)."""

    def __init__(self):
        super().__init__({"semaphore": unsigned(8), "last": unsigned(1)})


class DrainSequencer(wiring.Component):
    """Walk through tiles: blocks outermost, then rows, then groups of lanes.

    Words go to ``out_address + row * out_pitch + (block << s) + 0 .. (1 << s) - 1`` for elements of
    1 << s bytes. A command with a maximum ends with one word more, at its ``max_address``. A word
    whose address has the guard bit set stops the walk for good before it begins.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    tile : In(stream.Signature(TileDescriptor(config)))
        Tiles with their parameters loaded.
    half, table_half : In(1)
        Halves of the parameter and table stores that belong to ``tile``.
    computed : In(1)
        Pulse: the sums of the oldest tile not yet computed are readable from the next cycle on.
    acc : Out(AccumulatorPort(config))
        Reads of sums, one row each (``data`` is the datapath's business).
    released : Out(1)
        Pulse: the last step of a tile was in the cycle before, so that its last row has been used.
    taken : Out(1)
        Pulse: a tile is taken, and not silent; ``tile`` is its descriptor.
    step : Out(stream.Signature(DrainStep(config), always_ready=True))
        One per group, or per word of it, belonging to the newest row read.
    settings : Out(TileDescriptor(config)).array(2)
        The tiles of the steps.
    table_halves : Out(1).array(2)
        Their halves of the table store.
    param_half, param_block, param_row : Out
        Row of the parameter store for this step.
    word, word_address : Out(1), Out(config.sm_addr_width)
        A word begins in this cycle, and where it goes.
    room : In(1)
        A word may begin.
    residual : In(1), residual_used : Out(1)
        The residual of the next group is there; it is used for the last time.
    pipe_busy : In(1)
        Results are in the datapath. A tile that goes another way than the one before waits.
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
    Throughput: ``Shape.steps`` steps per row. No gap between tiles that go the same way, except
    that a tile waits until the last step of the tile before the last is ``PIPE`` cycles old.
    Backpressure: waits for ``room`` before each word, for ``residual`` before each group, and for
    ``end.ready`` in the last block.
    Combinational paths: ``room``, ``residual``, ``end.ready`` to ``acc.en``, ``step.valid``,
    ``word``, ``end.valid`` and ``tile.ready``; ``computed`` and ``pipe_busy`` to ``tile.ready``.
    Reset: no tile.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        self.param_lanes = max(config.epilogue_lanes, config.lanes // 4)
        super().__init__({
            "tile": In(stream.Signature(TileDescriptor(config))), "half": In(1),
            "table_half": In(1),
            "computed": In(1), "acc": Out(AccumulatorPort(config)), "released": Out(1),
            "taken": Out(1),
            "step": Out(stream.Signature(DrainStep(config), always_ready=True)),
            "settings": Out(TileDescriptor(config)).array(2), "table_halves": Out(1).array(2),
            "param_half": Out(1), "param_block": Out(range(config.tile_blocks)),
            "param_row": Out(range(config.lanes // self.param_lanes)),
            "word": Out(1), "word_address": Out(config.sm_addr_width), "room": In(1),
            "residual": In(1), "residual_used": Out(1), "pipe_busy": In(1),
            "end": Out(stream.Signature(RowEnd())), "last_word": In(config.sm_addr_width),
            "active": Out(1), "fault": Out(1), "fault_address": Out(wide_address(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        shapes = [Shape(config, shift) for shift in range(4)]

        tile = Signal(TileDescriptor(config), reset_less=True)
        kept = [Signal(TileDescriptor(config), name=f"settings_{n}", reset_less=True)
                for n in range(2)]
        kept_halves = [Signal(name=f"table_half_{n}", reset_less=True) for n in range(2)]
        setting = Signal()
        half = Signal(reset_less=True)
        active, stopped = Signal(), Signal()
        maximum = Signal()          # only the word of the maximum is left
        pause = Signal()            # until the maximum knows the last group
        begun = Signal(reset_less=True)     # a step of the command has been made
        step = Signal(range(shapes[-1].steps), reset_less=True)
        rows_left = Signal.like(tile.rows, reset_less=True)
        block = Signal(range(config.tile_blocks), reset_less=True)
        row = Signal(range(config.acc_rows), reset_less=True)  # of the accumulators
        word, row_start, block_start, word_room, row_room, block_room = (
            Signal(wide_address(config), name=name, reset_less=True)
            for name in ("word_at", "row_start", "block_start", "word_room", "row_room",
                         "block_room"))

        # What the element size decides.
        shift = element_shift(m, "shift", tile.out_type)
        word_first, word_end, row_last, part_last = (
            Signal(name=name) for name in ("word_first", "word_end", "row_last", "part_last"))
        group = Signal(range(config.lanes // config.epilogue_lanes))
        with m.Switch(shift):
            for size, shape in enumerate(shapes):
                with m.Case(size):
                    pieces, parts = ceil_log2(shape.pieces), ceil_log2(shape.parts)
                    m.d.comb += [
                        word_first.eq(~step[:pieces].any() if pieces else 1),
                        word_end.eq(step[:pieces].all() if pieces else 1),
                        row_last.eq(step == shape.steps - 1),
                        part_last.eq(step[:parts].all() if parts else 1),
                        group.eq(step >> parts),
                    ]
        last_row, last_block = Signal(), Signal()
        m.d.comb += [last_row.eq(rows_left == 0), last_block.eq(block == tile.blocks - 1)]

        row_ending, ending, outside = Signal(), Signal(), Signal()
        able, go, tile_ends, more = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            tile_ends.eq(row_last & last_row & last_block),
            more.eq(tile_ends & tile.last & tile.has_max & ~tile.silent & ~maximum),
            row_ending.eq(tile.silent | maximum | (row_last & last_block & ~more)),
            ending.eq(tile.silent | maximum | (tile_ends & ~more)),
            outside.eq(~tile.silent & ~maximum & word_first & word_room[-1]),
            able.eq(active & ~stopped & ~outside & ~pause & (
                tile.silent | ((self.room | (~word_first & ~maximum))
                               & (self.residual | ~tile.has_residual | maximum)))),
            go.eq(able & (~row_ending | self.end.ready)),
            self.end.valid.eq(able & row_ending),
            self.end.p.semaphore.eq(Mux(tile.silent, 0, tile.out_semaphore)),
            self.end.p.last.eq(tile.last & ending),
            self.step.valid.eq(go & ~tile.silent),
            self.word.eq(self.step.valid & (word_first | maximum)),
            self.word_address.eq(Mux(maximum, tile.max_address, word)),
            self.residual_used.eq(self.step.valid & part_last & ~maximum & tile.has_residual),
            self.active.eq(active),
            self.fault.eq(stopped), self.fault_address.eq(word),
        ]
        with m.If(active & outside):
            m.d.sync += stopped.eq(1)

        lanes = config.epilogue_lanes
        skip = ceil_log2(self.param_lanes // lanes)
        tails = Array(Const(n * lanes, unsigned(8)) for n in range(config.lanes // lanes))
        left = Signal(range(-config.lanes, config.lanes + 1))
        m.d.comb += [
            left.eq(Mux(last_block, tile.tail, config.lanes) - tails[group]),
            self.param_half.eq(half), self.param_block.eq(block), self.param_row.eq(group >> skip),
            self.step.p.group.eq(group), self.step.p.setting.eq(setting),
            self.step.p.count.eq(Mux(left < 0, 0, Mux(left > lanes, lanes, left))),
            self.step.p.first.eq(~begun), self.step.p.maximum.eq(maximum),
            *(self.settings[n].eq(kept[n]) for n in range(2)),
            *(self.table_halves[n].eq(kept_halves[n]) for n in range(2)),
            self.acc.bank.eq(tile.bank), self.acc.addr.eq(row),
            self.acc.wide.eq(tile.kind == Kind.INT16),
            self.acc.en.eq(self.step.valid & (step == 0) & ~maximum),
        ]
        m.d.sync += self.released.eq(self.step.valid & tile_ends & ~maximum)

        # The next word: after this one, at the next row, or at the top of the next block.
        origin, origin_room, stride, following = (
            Signal(wide_address(config), name=name)
            for name in ("origin", "origin_room", "stride", "following"))
        next_room = retreat(m, "next_room", origin_room, stride)
        m.d.comb += [origin.eq(word), origin_room.eq(word_room), stride.eq(1),
                     following.eq(origin + stride)]
        with m.If(row_last & last_row):
            m.d.comb += [origin.eq(block_start), origin_room.eq(block_room),
                         stride.eq(1 << shift)]
        with m.Elif(row_last):
            m.d.comb += [origin.eq(row_start), origin_room.eq(row_room), stride.eq(tile.out_pitch)]
        with m.If(self.acc.en):
            m.d.sync += row.eq(row + 1)
        m.d.sync += pause.eq(0)
        with m.If(go):
            m.d.sync += [step.eq(step + 1), begun.eq(1)]
            with m.If(row_last | word_end):
                m.d.sync += [word.eq(following), word_room.eq(next_room)]
            with m.If(row_last):
                m.d.sync += [step.eq(0), row_start.eq(following), row_room.eq(next_room),
                             rows_left.eq(rows_left - 1)]
                with m.If(last_row):
                    m.d.sync += [block_start.eq(following), block_room.eq(next_room),
                                 rows_left.eq(tile.rows - 1), block.eq(block + 1)]
            with m.If(more):
                m.d.sync += [maximum.eq(1), pause.eq(1)]
            with m.If(ending):
                m.d.sync += [active.eq(0), maximum.eq(0)]

        # Computed tiles that have not been taken: at most those the loader holds, and the one in
        # its input.
        ready_tiles = Signal(2)
        waits, differs, taken = Signal(), Signal(), Signal()
        new = self.tile.p
        new_path, path = path_of(m, "new_path", new), Signal(Path, reset_less=True)
        had_table = Signal(reset_less=True)
        ages = [Signal(range(max(PIPE.values()) + 1), name=f"age_{n}") for n in range(2)]
        of_path = Signal.like(ages[0])
        with m.Switch(path):
            for way, cycles in PIPE.items():
                with m.Case(way):
                    m.d.comb += of_path.eq(cycles)
        m.d.comb += [
            differs.eq((new_path != path) | (new.has_table != had_table)),
            waits.eq(~new.silent & (Mux(setting, ages[0], ages[1]) != 0)
                     | (~new.silent & differs & (self.pipe_busy | active))),
            self.tile.ready.eq(((ready_tiles != 0) | self.computed) & ~waits
                               & (~active | (go & ending))),
            taken.eq(self.tile.valid & self.tile.ready), self.taken.eq(taken & ~new.silent),
        ]
        for n, age in enumerate(ages):
            with m.If(self.step.valid & (setting == n)):
                m.d.sync += age.eq(of_path)
            with m.Elif(age != 0):
                m.d.sync += age.eq(age - 1)
        m.d.sync += ready_tiles.eq(ready_tiles + self.computed - taken)
        tile_room = retreat(m, "tile_room", self.last_word, new.out_address)
        with m.If(taken):
            m.d.sync += [
                word_room.eq(tile_room), row_room.eq(tile_room), block_room.eq(tile_room),
                active.eq(1), tile.eq(new), half.eq(self.half), step.eq(0), block.eq(0), row.eq(0),
                rows_left.eq(new.rows - 1), word.eq(new.out_address),
                row_start.eq(new.out_address), block_start.eq(new.out_address),
            ]
            with m.If(new.first):
                m.d.sync += begun.eq(0)
            with m.If(~new.silent):
                m.d.sync += [path.eq(new_path), had_table.eq(new.has_table), setting.eq(~setting)]
                for n in range(2):
                    with m.If(setting != n):
                        m.d.sync += [kept[n].eq(new), kept_halves[n].eq(self.table_half)]
        return m
