"""The loops of a GEMM or CONV command: tiles, taps, depth, column blocks."""

from types import SimpleNamespace

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.formats import CONV, Opcode
from ..command.types import FaultReport, IssuedCommand, SemaphoreView, command_layout
from ..command.windows import RingWindows
from ..params import XpuConfig
from .check import CommandCheck
from .choose import kind_of
from .clip import COORDINATE
from .describe import describe_activations, describe_tile, describe_weights
from .steps import Steps
from .taps import SHORT, TapWalk
from .types import (
    SEQUENCE_WIDTH,
    ActivationPass,
    Kind,
    TileDescriptor,
    WeightPass,
    advance,
    behind,
    offset_width,
    wide_address,
    word_address,
)

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Turn commands into tiles, and tiles into passes of one block of weights each.

    Tiles run in the order of ``column_order``. In a tile the taps of the kernel are the outermost
    loop (a GEMM has one), then come the words of the depth, and column blocks are the inner one.
    All addresses are advanced by additions. Every pass goes to the weight loader and to the
    activation reader at once, every tile to the epilogue. The first pass of a tile waits for
    ``b_semaphore``. A refused command stops the sequencer until reset.

    A pass of a CONV covers the pixels of the tile that exist at its tap (``TapClip``); a tap that
    has none is left out. But the passes with a tile's first word cover the whole tile, as the sums
    start there, and those pixels that do not exist count as zero; and if the last tap has none, one
    pass of one such pixel ends the tile.

    Tiles alternate between the accumulator memories; a tile with ``hold`` does not switch, so that
    the command behind it goes on in the same memory.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    cmd : In(stream.Signature(IssuedCommand(CONV)))
        Commands; of a GEMM only its own fields are looked at. The next is accepted once all passes
        of the one before have been sent.
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
    Latency: the first pass of a GEMM is offered 2 cycles after the command is accepted
    (``LATENCY``); that of a CONV at most max(tile_rows, width) + 3 cycles later.
    Throughput: a pass per cycle; 2 cycles more per tile, and the second row tile not before the
    steps are known (``Steps.latency``); for each tap of a CONV at most max(tile_rows, width) + 3.
    Backpressure: full.
    Combinational paths: ``ready`` of the three outputs to their ``valid``, and ``halt`` to all.
    Reset: idle, memory 0 next.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "cmd": In(stream.Signature(IssuedCommand(CONV))),
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
        far = offset_width(config)
        pixel_range = range(config.acc_rows + 1)

        def words(value):
            return word_address(config, value)

        def state(shape, name):
            return Signal(shape, name=name, reset_less=True)

        def named(name, value, shape=address):
            result = Signal(shape, name=name)
            m.d.comb += result.eq(value)
            return result

        # The command, and what the loops keep.
        c = Signal(command_layout(CONV), reset_less=True)
        conv = state(1, "conv")
        sequence = state(SEQUENCE_WIDTH, "held_sequence")
        blocks = state(17 - shift, "blocks")             # of the command
        rows_left = state(16, "rows_left")               # from this tile on
        blocks_left = state(17 - shift, "blocks_left")   # from this tile on
        column_block = state(17 - shift, "column_block")  # first of this tile
        column_tile = state(16, "column_tile")
        tile_first = state(1, "tile_first")              # first tile of the command
        column_first = state(1, "column_first")          # zero points are not yet loaded
        tile_rows = state(pixel_range, "tile_rows")      # of this tile
        tile_pixels = state(pixel_range, "tile_pixels")
        tile_blocks = state(range(config.tile_blocks + 1), "tile_blocks")
        row_last, column_last = state(1, "row_last"), state(1, "column_last")
        a_row = state(far, "a_row")                      # offset of this tile's pixel 0 at tap 0
        u_row = state(COORDINATE, "u_row")               # its row of the image
        out_row, residual_row = state(address, "out_row"), state(address, "residual_row")
        a_done = state(config.semaphore_width, "a_done")  # threshold before this row tile
        b_column = state(address, "b_column")             # k row 0, first block of this tile
        b_threshold = state(config.semaphore_width, "b_threshold")
        moved = state(1, "moved")       # the rectangle is another one than that of the word before
        b_tap = state(address, "b_tap")
        depth_left = state(24, "depth_left")
        depth_first = state(1, "depth_first")             # first word of the tile
        a_offset = state(far, "pass_offset")
        b_row, b_block = state(address, "b_row"), state(address, "b_block")
        block = state(range(config.tile_blocks), "block")
        accumulator = state(range(2 * config.acc_rows), "accumulator")
        whole, ending = state(1, "whole"), state(1, "ending")   # rectangle of the pass, see below
        was_short = state(1, "was_short")
        bank = Signal()

        m.submodules.check = check = CommandCheck(config)
        m.d.comb += [check.command.eq(c), check.conv.eq(conv), check.blocks.eq(blocks),
                     check.window.eq(self.window)]

        kind = kind_of(m, "kind", c.a_type)
        wide = named("wide", kind != Kind.INT8, 1)
        width, full_pixels = Signal(pixel_range), Signal(pixel_range)
        m.d.comb += [width.eq(Mux(conv, c.width, 1)),
                     full_pixels.eq(c.tile_rows[:len(tile_rows)] * width)]

        # From tile to tile.
        m.submodules.in_steps = in_steps = Steps(far, config.acc_rows, guarded=False)
        m.submodules.out_steps = out_steps = Steps(sm_bits + 1, config.acc_rows, guarded=True)
        started = Signal()
        m.d.comb += [
            in_steps.start.eq(started), out_steps.start.eq(started),
            in_steps.count.eq(c.tile_rows), out_steps.count.eq(full_pixels),
            in_steps.factor[0].eq(c.a_pitch >> shift), in_steps.factor[1].eq(c.u_step),
            out_steps.factor[0].eq(words(c.out_pitch)),
            out_steps.factor[1].eq(words(c.residual_pitch)),
        ]
        next_out_row = advance(m, "next_out_row", out_row, out_steps.product[0])
        next_residual_row = advance(m, "next_residual_row", residual_row, out_steps.product[1])
        a_goal = Signal(config.semaphore_width)
        next_column_block = Signal.like(column_block)
        m.d.comb += [a_goal.eq(Mux(conv, c.a_value, a_done + tile_rows)),
                     next_column_block.eq(column_block + tile_blocks)]

        # From word to word, and from tap to tap.
        terms = Signal(range(lanes + 1))            # of this word
        most_terms = named("most_terms", Mux(wide, lanes // 2, lanes), range(lanes + 1))
        depth_last, block_last = Signal(), Signal()
        m.d.comb += [depth_last.eq((depth_left <= most_terms) | ending),
                     terms.eq(Mux(ending, 1, Mux(depth_left <= most_terms, depth_left,
                                                 most_terms))),
                     block_last.eq((block + 1 == tile_blocks) | ending)]
        b_pitch = named("b_pitch", words(c.b_pitch))

        def times(name, exponent):
            return named(name, Cat(Const(0, exponent), b_pitch[:sm_bits - exponent],
                                   b_pitch[sm_bits - exponent:].any()))

        b_stride = named("b_stride", Mux(wide, times("b_stride_wide", shift - 1),
                                         times("b_stride_narrow", shift)))
        next_b_row = advance(m, "next_b_row", b_row, b_stride)
        block_pitch = named("block_pitch", words(c.b_block_pitch))
        next_b_block = advance(m, "next_b_block", b_block, block_pitch)
        next_b_tap = advance(m, "next_b_tap", b_tap, named("b_tap_pitch", words(c.b_tap_pitch)))

        m.submodules.taps = taps = TapWalk(config)
        tap_last = Signal()
        m.d.comb += [taps.command.eq(c), taps.rows.eq(tile_rows), taps.width.eq(width),
                     taps.origin.eq(a_row), taps.u.eq(u_row), tap_last.eq(~conv | taps.last)]
        by_word = named("by_word", column_block + block, len(column_block))
        zero_points = behind(m, "zero_points", named(
            "zero_point_base", words(c.b_zero_point_address)), by_word)

        # What is sent.
        first, last = Signal(), Signal()    # pass of its tile
        command_last = Signal()             # tile of its command
        m.d.comb += [
            first.eq(depth_first & (block == 0)),
            last.eq(tap_last & depth_last & block_last),
            command_last.eq(row_last & column_last),
        ]
        at = SimpleNamespace(
            accumulator=accumulator, bank=bank, block=block, column_first=column_first, conv=conv,
            depth_first=depth_first, ending=ending, first=first, kind=kind, last=last,
            command_last=command_last, moved=moved, sequence=sequence, terms=terms,
            tile_blocks=tile_blocks, tile_first=tile_first, tile_rows=tile_rows,
            was_short=was_short, whole=whole, wide=wide, width=width)
        describe_weights(m, self.weight.p, c, at, address=b_block, pitch=b_pitch,
                         zero_points=zero_points)
        describe_activations(m, config, self.activation.p, c, at, taps, offset=a_offset,
                             threshold=a_goal)
        describe_tile(m, config, self.tile.p, c, {
            "bank": bank, "kind": kind, "rows": tile_pixels, "blocks": tile_blocks,
            "column_tile": column_tile, "first": tile_first, "last": command_last,
        }, column_block=column_block, column_last=column_last, out_row=out_row,
            residual_row=residual_row)
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

        to_columns = Signal.like(blocks)
        with m.FSM(name="state") as fsm:
            with m.State("idle"):       # for a command
                m.d.comb += self.cmd.ready.eq(~self.halt)
                new = self.cmd.p.command
                is_conv = named("is_conv", new.opcode == Opcode.CONV, 1)
                m.d.comb += to_columns.eq((new.columns + (lanes - 1)) >> shift)
                with m.If(self.cmd.valid & self.cmd.ready):
                    m.d.sync += [
                        c.eq(new), conv.eq(is_conv), sequence.eq(self.sequence),
                        blocks.eq(to_columns), blocks_left.eq(to_columns),
                        rows_left.eq(new.rows), tile_first.eq(1), column_first.eq(1),
                        column_block.eq(0), column_tile.eq(0),
                        a_row.eq(Mux(is_conv, new.a_offset >> shift, 0)), u_row.eq(new.u_start),
                        out_row.eq(words(new.out_address)),
                        residual_row.eq(words(new.residual_address)),
                        b_column.eq(words(new.b_address)),
                        a_done.eq(new.a_value), b_threshold.eq(new.b_value),
                    ]
                    m.next = "tile"
            with m.State("tile"):       # sizes of the tile; the wait for weights is evaluated
                short_rows, short_columns = Signal(), Signal()
                m.d.comb += [started.eq(tile_first), taps.start.eq(1),
                             short_rows.eq(rows_left <= c.tile_rows),
                             short_columns.eq(blocks_left <= c.tile_blocks)]
                m.d.sync += [
                    row_last.eq(short_rows), column_last.eq(short_columns),
                    tile_rows.eq(Mux(short_rows, rows_left, c.tile_rows)),
                    tile_pixels.eq(Mux(short_rows, rows_left[:len(tile_rows)] * width,
                                       full_pixels)),
                    tile_blocks.eq(Mux(short_columns, blocks_left, c.tile_blocks)),
                    depth_left.eq(c.depth), depth_first.eq(1), moved.eq(1), block.eq(0),
                    accumulator.eq(0), whole.eq(1), ending.eq(0), was_short.eq(0),
                    a_offset.eq(a_row),
                    b_tap.eq(b_column), b_row.eq(b_column), b_block.eq(b_column),
                ]
                m.next = "pass"
                with m.If(conv):
                    m.next = "look"
            with m.State("look"):       # at the tap's pixels
                m.d.comb += taps.look.eq(~check.bad)
                m.next = "clip"
                with m.If(check.bad):
                    m.next = "refuse"
            with m.State("clip"):       # until they are known
                with m.If(taps.done):
                    m.d.sync += a_offset.eq(Mux(whole, taps.offset, taps.offset + taps.distance))
                    m.next = "pass"
                    with m.If(taps.empty & ~whole):
                        m.next = "tap"
                        with m.If(tap_last):
                            m.d.sync += ending.eq(1)
                            m.next = "pass"
            with m.State("pass"):       # to be taken
                m.d.comb += [sending.eq(~check.bad),
                             self.waiting.eq(sending & first & ~self.b_view.reached)]
                with m.If(check.bad):   # never after the first tile: the command is the same
                    m.next = "refuse"
                with m.Elif(allowed & ready):
                    m.d.sync += [block.eq(block + 1), b_block.eq(next_b_block),
                                 accumulator.eq(accumulator + tile_pixels)]
                    with m.If(block_last):
                        m.d.sync += [
                            block.eq(0), accumulator.eq(0), depth_first.eq(0), moved.eq(0),
                            depth_left.eq(depth_left - most_terms), a_offset.eq(a_offset + 1),
                            b_row.eq(next_b_row), b_block.eq(next_b_row),
                        ]
                        with m.If(conv & whole & ~(taps.empty & tap_last)):
                            # The other words of the first tap: only what exists.
                            m.d.sync += [whole.eq(0), a_offset.eq(a_offset + taps.distance + 1),
                                         moved.eq(1), was_short.eq(tile_pixels < SHORT)]
                        with m.If(depth_last | (conv & taps.empty & ~tap_last)):
                            m.d.sync += was_short.eq(taps.short)
                            m.next = "tap"
                    with m.If(depth_first & block_last & (c.column_order | row_last)):
                        m.d.sync += b_column.eq(next_b_block)   # the next column tile
                    with m.If(last):
                        m.d.sync += bank.eq(bank ^ ~c.hold)
                        m.next = "next"
                        with m.If(command_last):
                            m.next = "idle"
            with m.State("tap"):        # the next one
                m.d.comb += taps.step.eq(1)
                m.d.sync += [
                    whole.eq(0), moved.eq(1), depth_left.eq(c.depth), block.eq(0),
                    accumulator.eq(0),
                    b_tap.eq(next_b_tap), b_row.eq(next_b_tap), b_block.eq(next_b_tap),
                ]
                m.next = "look"
            with m.State("next"):       # tile: columns first, or rows first
                next_row, next_column = Signal(), Signal()
                m.d.comb += [next_column.eq(Mux(c.column_order, ~column_last, row_last)),
                             next_row.eq(Mux(c.column_order, column_last, ~row_last))]
                with m.If(~next_row | (in_steps.ready & out_steps.ready)):
                    m.d.sync += [tile_first.eq(0), column_first.eq(next_column)]
                    m.next = "tile"
                    with m.If(next_row):
                        m.d.sync += [
                            rows_left.eq(rows_left - tile_rows), a_done.eq(a_goal),
                            a_row.eq(a_row + in_steps.product[0]),
                            u_row.eq(u_row + in_steps.product[1].as_signed()),
                            out_row.eq(next_out_row), residual_row.eq(next_residual_row)]
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
                            rows_left.eq(c.rows), a_done.eq(c.a_value), u_row.eq(c.u_start),
                            a_row.eq(Mux(conv, c.a_offset >> shift, 0)),
                            out_row.eq(words(c.out_address)),
                            residual_row.eq(words(c.residual_address)),
                        ]
            with m.State("refuse"):     # until reset
                m.d.sync += [self.fault.eq(1), self.report.eq(check.report),
                             self.fault_sequence.eq(sequence)]
                m.next = "refused"
            with m.State("refused"):
                pass
        m.d.comb += self.busy.eq(~(fsm.ongoing("idle") | fsm.ongoing("refuse")
                                   | fsm.ongoing("refused")))
        return m
