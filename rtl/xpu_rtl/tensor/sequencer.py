"""The loops of a GEMM command: tiles, depth, column blocks."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.formats import GEMM, OutType
from ..command.types import FaultReport, IssuedCommand, SemaphoreView, command_layout
from ..command.windows import RingWindows
from ..params import XpuConfig
from .check import CommandCheck
from .steps import RowSteps
from .types import (
    SEQUENCE_WIDTH,
    ActivationPass,
    TileDescriptor,
    WeightPass,
    advance,
    wide_address,
)

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Turn commands into tiles, and tiles into passes of one block of weights each.

    Tiles run in the order of ``column_order``; in a tile the depth is the outer loop and its column
    blocks are the inner one. All addresses are advanced by additions. Every pass goes to the weight
    loader and to the activation reader at once, every tile to the epilogue. The first pass of a
    tile waits for ``b_semaphore``. A refused command stops the sequencer until reset.

    Tiles alternate between the accumulator memories; a tile with ``hold`` does not switch, so that
    the command behind it goes on in the same memory.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    cmd : In(stream.Signature(IssuedCommand(GEMM)))
        Commands. The next is accepted once all passes of the one before have been sent.
    sequence : In(SEQUENCE_WIDTH)
        Number of the command accepted in this cycle.
    window : In(RingWindows())
        What the ring of the command may use; from the cycle after its acceptance on.
    halt : In(1)
        Accept nothing and send nothing.
    weight : Out(stream.Signature(WeightPass(config)))
    activation : Out(stream.Signature(ActivationPass(config)))
    tile : Out(stream.Signature(TileDescriptor(config)))
        Passes and tiles. ``weight`` and ``activation`` transfer in the same cycle, and ``tile``
        in that of its tile's first pass: ``valid`` of each depends on ``ready`` of the others,
        which must not fall without a transfer.
    b_view : Out(SemaphoreView(config))
        The wait for weights.
    busy : Out(1)
        A command is in work. Not after a fault.
    waiting : Out(1)
        Waits for ``b_semaphore``.
    fault, report, fault_sequence : Out(1), Out(FaultReport()), Out(SEQUENCE_WIDTH)
        A command was refused (sticky), why, and its number.

    Timing
    ------
    Latency: the first pass is offered 2 cycles after the command is accepted (``LATENCY``).
    Throughput: a pass per cycle; 2 cycles more per tile, and the second row tile not before the
    steps are known (``RowSteps.latency``).
    Backpressure: full.
    Combinational paths: ``ready`` of the three outputs to their ``valid``, and ``halt`` to all.
    Reset: idle, memory 0 next.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "cmd": In(stream.Signature(IssuedCommand(GEMM))),
            "sequence": In(SEQUENCE_WIDTH),
            "window": In(RingWindows()), "halt": In(1),
            "weight": Out(stream.Signature(WeightPass(config))),
            "activation": Out(stream.Signature(ActivationPass(config))),
            "tile": Out(stream.Signature(TileDescriptor(config))),
            "b_view": Out(SemaphoreView(config)),
            "busy": Out(1),
            "waiting": Out(1),
            "fault": Out(1), "report": Out(FaultReport()), "fault_sequence": Out(SEQUENCE_WIDTH),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        lanes, shift = config.lanes, config.word_shift
        sm_bits = config.sm_addr_width
        address = wide_address(config)

        def words(value):
            """Wide word address of a byte address or pitch."""
            return Cat(value[shift:config.sm_byte_width], value[config.sm_byte_width:].any())

        def state(shape, name):
            return Signal(shape, name=name, reset_less=True)

        def named(name, value):
            result = Signal(address, name=name)
            m.d.comb += result.eq(value)
            return result

        # The command, and what the loops keep.
        c = Signal(command_layout(GEMM), reset_less=True)
        sequence = state(SEQUENCE_WIDTH, "held_sequence")
        blocks = state(17 - shift, "blocks")             # of the command
        rows_left = state(16, "rows_left")               # from this tile on
        blocks_left = state(17 - shift, "blocks_left")   # from this tile on
        column_block = state(17 - shift, "column_block")  # first of this tile
        column_tile = state(16, "column_tile")
        tile_first = state(1, "tile_first")              # first tile of the command
        column_first = state(1, "column_first")          # zero points are not yet loaded
        tile_rows = state(range(config.acc_rows + 1), "tile_rows")      # of this tile
        tile_blocks = state(range(config.tile_blocks + 1), "tile_blocks")
        row_last, column_last = state(1, "row_last"), state(1, "column_last")
        a_row, out_row = state(address, "a_row"), state(address, "out_row")
        a_done = state(config.semaphore_width, "a_done")  # threshold before this row tile
        b_column = state(address, "b_column")             # k row 0, first block of this tile
        b_threshold = state(config.semaphore_width, "b_threshold")
        depth_left = state(24, "depth_left")
        depth_first = state(1, "depth_first")
        a_word = state(address, "a_word")
        b_row, b_block = state(address, "b_row"), state(address, "b_block")
        block = state(range(config.tile_blocks), "block")
        accumulator = state(range(2 * config.acc_rows), "accumulator")
        bank = Signal()

        m.submodules.check = check = CommandCheck(config)
        m.d.comb += [check.command.eq(c), check.blocks.eq(blocks), check.window.eq(self.window)]
        m.submodules.steps = steps = RowSteps(config)
        started = Signal()
        m.d.comb += [
            steps.start.eq(started), steps.rows.eq(c.tile_rows),
            steps.a_pitch.eq(words(c.a_pitch)), steps.out_pitch.eq(words(c.out_pitch)),
        ]

        # Shared sums.
        one = Const(1, address)
        b_pitch = named("b_pitch", words(c.b_pitch))
        b_stride = named("b_stride", Cat(Const(0, shift), b_pitch[:sm_bits - shift],
                                                 b_pitch[sm_bits - shift:].any()))
        next_a_row = advance(m, "next_a_row", a_row, steps.a_step)
        next_out_row = advance(m, "next_out_row", out_row, steps.out_step)
        next_a_word = advance(m, "next_a_word", a_word, one)
        next_b_row = advance(m, "next_b_row", b_row, b_stride)
        block_pitch = named("block_pitch", words(c.b_block_pitch))
        next_b_block = advance(m, "next_b_block", b_block, block_pitch)
        a_goal = Signal(config.semaphore_width)
        next_column_block = Signal.like(column_block)
        m.d.comb += [a_goal.eq(a_done + tile_rows),
                     next_column_block.eq(column_block + tile_blocks)]
        depth_last, block_last = Signal(), Signal()
        m.d.comb += [depth_last.eq(depth_left <= lanes),
                     block_last.eq(block + 1 == tile_blocks)]

        def offset(name, base, distance):
            """Wide address ``distance`` words behind ``base``, which may be large."""
            wide = named(f"{name}_distance",
                              Cat(distance[:sm_bits], distance[sm_bits:].any())
                              if len(distance) > sm_bits else distance)
            return advance(m, name, base, wide)

        by_word = Signal.like(column_block)
        by_four = Signal(len(column_block) + 2)
        by_output = Signal(len(column_block) + 2)
        m.d.comb += [by_word.eq(column_block + block), by_four.eq(column_block << 2),
                     by_output.eq(Mux(c.out_type == OutType.INT32, by_four, column_block))]
        tile_out = offset("tile_out", out_row, by_output)
        tile_bias = offset("tile_bias", named("bias", words(c.bias_address)),
                           by_four)
        tile_scale = offset("tile_scale", named("scale", words(c.scale_address)),
                            by_four)
        zero_points = offset("zero_points", named(
            "zero_point_base", words(c.b_zero_point_address)), by_word)

        # What is sent.
        first, last = Signal(), Signal()    # pass of its tile
        command_last = Signal()             # tile of its command
        reads_zero_points = Signal()
        weight, activation = self.weight.p, self.activation.p
        m.d.comb += [
            first.eq(depth_first & (block == 0)),
            last.eq(depth_last & block_last),
            command_last.eq(row_last & column_last),
            reads_zero_points.eq(c.b_zero_point_vector & depth_first & column_first),

            weight.address.eq(b_block),
            weight.pitch.eq(b_pitch),
            weight.zero_point_address.eq(zero_points),
            weight.fill.rows.eq(Mux(depth_last, depth_left, lanes)),
            weight.fill.zero_point_read.eq(reads_zero_points),
            weight.fill.zero_point_vector.eq(c.b_zero_point_vector),
            weight.fill.zero_point.eq(c.b_zero_point),
            weight.fill.block.eq(block),
            weight.fill.b_signed.eq(c.b_signed),
            weight.last.eq(last & command_last),
            weight.sequence.eq(sequence),

            activation.address.eq(a_word),
            activation.pitch.eq(words(c.a_pitch)),
            activation.semaphore.eq(c.a_semaphore),
            activation.threshold.eq(a_goal),
            activation.feed.rows.eq(tile_rows),
            activation.feed.accumulator.eq(accumulator),
            activation.feed.bank.eq(bank),
            activation.feed.overwrite.eq(depth_first & ~c.accumulate),
            activation.feed.a_signed.eq(c.a_signed),
            activation.feed.zero_point.eq(c.a_zero_point),
            activation.feed.tile_first.eq(first),
            activation.feed.tile_last.eq(last),
            activation.feed.silent.eq(c.hold),
            activation.first.eq(first & tile_first),
            activation.last.eq(last & command_last),
            activation.sequence.eq(sequence),
        ]
        descriptor = {
            "bank": bank, "rows": tile_rows, "blocks": tile_blocks, "column_tile": column_tile,
            "first": tile_first, "last": command_last, "silent": c.hold, "out_address": tile_out,
            "out_pitch": c.out_pitch[shift:config.sm_byte_width], "bias_address": tile_bias,
            "scale_address": tile_scale, "has_bias": c.has_bias, "scale_vector": c.scale_vector,
            "scale": c.scale, "relu": c.relu, "out_type": c.out_type,
            "out_zero_point": c.out_zero_point, "out_semaphore": c.out_semaphore,
        }
        m.d.comb += [self.tile.p[name].eq(value) for name, value in descriptor.items()]
        m.d.comb += [self.b_view.semaphore.eq(c.b_semaphore), self.b_view.threshold.eq(b_threshold)]

        # A pass leaves when all who must take it can.
        ready, allowed = Signal(), Signal()
        sending = Signal()
        m.d.comb += [
            allowed.eq(~self.halt & (~first | self.b_view.reached)),
            ready.eq(self.weight.ready & self.activation.ready & (~first | self.tile.ready)),
            self.weight.valid.eq(sending & allowed & self.activation.ready
                                 & (~first | self.tile.ready)),
            self.activation.valid.eq(sending & allowed & self.weight.ready
                                     & (~first | self.tile.ready)),
            self.tile.valid.eq(sending & allowed & first & self.weight.ready
                               & self.activation.ready),
        ]

        with m.FSM(name="state") as fsm:
            with m.State("idle"):       # for a command
                m.d.comb += self.cmd.ready.eq(~self.halt)
                with m.If(self.cmd.valid & self.cmd.ready):
                    new = self.cmd.p.command
                    columns = (new.columns + (lanes - 1)) >> shift
                    m.d.sync += [
                        c.eq(new), sequence.eq(self.sequence),
                        blocks.eq(columns),
                        blocks_left.eq(columns),
                        rows_left.eq(new.rows), tile_first.eq(1), column_first.eq(1),
                        column_block.eq(0), column_tile.eq(0),
                        a_row.eq(words(new.a_address)), out_row.eq(words(new.out_address)),
                        b_column.eq(words(new.b_address)),
                        a_done.eq(new.a_value), b_threshold.eq(new.b_value),
                    ]
                    m.next = "tile"
            with m.State("tile"):       # sizes of the tile; the wait for weights is evaluated
                m.d.comb += started.eq(tile_first)
                m.d.sync += [
                    row_last.eq(rows_left <= c.tile_rows),
                    tile_rows.eq(Mux(rows_left <= c.tile_rows, rows_left, c.tile_rows)),
                    column_last.eq(blocks_left <= c.tile_blocks),
                    tile_blocks.eq(Mux(blocks_left <= c.tile_blocks, blocks_left, c.tile_blocks)),
                    depth_left.eq(c.depth), depth_first.eq(1), block.eq(0), accumulator.eq(0),
                    a_word.eq(a_row), b_row.eq(b_column), b_block.eq(b_column),
                ]
                m.next = "pass"
            with m.State("pass"):       # to be taken
                m.d.comb += [sending.eq(~check.bad),
                             self.waiting.eq(sending & first & ~self.b_view.reached)]
                with m.If(check.bad):   # never after the first tile: the command is the same
                    m.next = "refused"
                    m.d.sync += [self.fault.eq(1), self.report.eq(check.report),
                                 self.fault_sequence.eq(sequence)]
                with m.Elif(allowed & ready):
                    m.d.sync += [block.eq(block + 1), b_block.eq(next_b_block),
                                 accumulator.eq(accumulator + tile_rows)]
                    with m.If(block_last):
                        m.d.sync += [
                            block.eq(0), accumulator.eq(0), depth_first.eq(0),
                            depth_left.eq(depth_left - lanes), a_word.eq(next_a_word),
                            b_row.eq(next_b_row), b_block.eq(next_b_row),
                        ]
                    with m.If(depth_first & block_last & (c.column_order | row_last)):
                        m.d.sync += b_column.eq(next_b_block)   # the next column tile
                    with m.If(last):
                        m.d.sync += bank.eq(bank ^ ~c.hold)
                        m.next = "next"
                        with m.If(command_last):
                            m.next = "idle"
            with m.State("next"):       # tile: columns first, or rows first
                next_row, next_column = Signal(), Signal()
                m.d.comb += [next_column.eq(Mux(c.column_order, ~column_last, row_last)),
                             next_row.eq(Mux(c.column_order, column_last, ~row_last))]
                with m.If(~next_row | steps.ready):
                    m.d.sync += [tile_first.eq(0), column_first.eq(next_column)]
                    m.next = "tile"
                    with m.If(next_row):
                        m.d.sync += [rows_left.eq(rows_left - tile_rows), a_row.eq(next_a_row),
                                     out_row.eq(next_out_row), a_done.eq(a_goal)]
                    with m.If(next_column):
                        m.d.sync += [blocks_left.eq(blocks_left - tile_blocks),
                                     column_block.eq(next_column_block),
                                     column_tile.eq(column_tile + 1),
                                     b_threshold.eq(b_threshold + 1)]
                    with m.If(next_row & c.column_order):       # back to the first column
                        # The zero points of a single column tile are still there.
                        m.d.sync += [
                            column_first.eq(blocks != tile_blocks),
                            blocks_left.eq(blocks), column_block.eq(0), column_tile.eq(0),
                            b_column.eq(words(c.b_address)), b_threshold.eq(c.b_value),
                        ]
                    with m.If(next_column & ~c.column_order):   # back to the first row
                        m.d.sync += [
                            rows_left.eq(c.rows), a_row.eq(words(c.a_address)),
                            out_row.eq(words(c.out_address)), a_done.eq(c.a_value),
                        ]
            with m.State("refused"):    # until reset
                pass
        m.d.comb += self.busy.eq(~fsm.ongoing("idle") & ~fsm.ongoing("refused"))
        return m
