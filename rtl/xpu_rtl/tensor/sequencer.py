"""The loops of a GEMM or CONV command: tiles, taps, depth, column blocks."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.formats import CONV, ElementType, Opcode
from ..command.types import FaultReport, IssuedCommand, SemaphoreView, command_layout
from ..command.windows import RingWindows
from ..params import XpuConfig
from .check import CommandCheck
from .clip import COORDINATE, TapClip
from .steps import Steps
from .types import (
    SEQUENCE_WIDTH,
    ActivationPass,
    Kind,
    TileDescriptor,
    WeightPass,
    advance,
    offset_width,
    wide_address,
)

__all__ = ["Sequencer", "element_shift", "kind_of"]

_SHORT = 16     #: passes shorter than this may leave too little distance between equal accumulators
_KINDS = {ElementType.INT16: Kind.INT16, ElementType.FP16: Kind.FP16, ElementType.BF16: Kind.BF16}
_SHIFTS = {ElementType.INT32: 2, ElementType.INT8: 0, ElementType.UINT8: 0, ElementType.INT16: 1,
           ElementType.INT64: 3, ElementType.FP32: 2, ElementType.FP16: 1, ElementType.BF16: 1}


def kind_of(m, name, element_type):
    """Named ``Kind`` of operands of an element type."""
    kind = Signal(Kind, name=name)
    with m.Switch(element_type):
        for of, result in _KINDS.items():
            with m.Case(int(of)):
                m.d.comb += kind.eq(result)
    return kind


def element_shift(m, name, element_type):
    """Named log2 of the bytes of an element type."""
    result = Signal(2, name=name)
    with m.Switch(element_type):
        for of, size in _SHIFTS.items():
            with m.Case(int(of)):
                m.d.comb += result.eq(size)
    return result


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
            """Wide word address of a byte address or pitch."""
            if len(value) <= config.sm_byte_width:
                return Cat(value[shift:], Const(0, 1))
            return Cat(value[shift:config.sm_byte_width], value[config.sm_byte_width:].any())

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
        tap_row, tap_column = state(8, "tap_row"), state(8, "tap_column")
        tap_start, tap_offset = state(far, "tap_start"), state(far, "tap_offset")
        tap_u, tap_v = state(COORDINATE, "tap_u"), state(COORDINATE, "tap_v")
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
        tap_row_last, tap_column_last, tap_last = Signal(), Signal(), Signal()
        m.d.comb += [tap_row_last.eq(~conv | (tap_row + 1 == c.kernel_height)),
                     tap_column_last.eq(~conv | (tap_column + 1 == c.kernel_width)),
                     tap_last.eq(tap_row_last & tap_column_last)]

        m.submodules.clip = clip = TapClip(config)
        m.d.comb += [
            clip.rows.eq(tile_rows), clip.columns.eq(width), clip.u.eq(tap_u), clip.v.eq(tap_v),
            clip.u_step.eq(c.u_step), clip.v_step.eq(c.v_step), clip.u_limit.eq(c.u_limit),
            clip.v_limit.eq(c.v_limit), clip.row_pitch.eq(c.a_pitch >> shift),
            clip.column_pitch.eq(c.a_column_pitch >> shift),
        ]
        # The rectangle: the whole tile with what exists inside, what exists, or a pixel of zero.
        clip_rows, clip_columns, clip_pixels = (
            Signal(pixel_range, name=f"clip_{name}") for name in ("rows", "columns", "pixels"))
        short = Signal()
        m.d.comb += [
            clip_rows.eq(clip.row_end - clip.row_begin),
            clip_columns.eq(clip.column_end - clip.column_begin),
            clip_pixels.eq(Mux(clip_rows >= _SHORT, _SHORT, clip_rows[:5])
                           * Mux(clip_columns >= _SHORT, _SHORT, clip_columns[:5])),
            short.eq(clip.empty | (clip_pixels < _SHORT)),
        ]

        def offset(name, base, distance):
            """Wide address ``distance`` words behind ``base``, which may be large."""
            step = named(f"{name}_distance",
                         Cat(distance[:sm_bits], distance[sm_bits:].any())
                         if len(distance) > sm_bits else distance)
            return advance(m, name, base, step)

        out_shift = element_shift(m, "out_shift", c.out_type)
        residual_shift = element_shift(m, "residual_shift", c.residual_type)
        by_word = named("by_word", column_block + block, len(column_block))
        by_four = named("by_four", column_block << 2, len(column_block) + 2)
        by_output, by_residual = (
            named(name, column_block << size, len(column_block) + 3)
            for name, size in (("by_output", out_shift), ("by_residual", residual_shift)))
        zero_points = offset("zero_points", named(
            "zero_point_base", words(c.b_zero_point_address)), by_word)

        # What is sent.
        first, last = Signal(), Signal()    # pass of its tile
        command_last = Signal()             # tile of its command
        tail = named("tail", Mux(column_last, ((c.columns - 1) & (lanes - 1)) + 1, lanes),
                     range(lanes + 1))
        weight, activation = self.weight.p, self.activation.p
        feed = activation.feed
        m.d.comb += [
            first.eq(depth_first & (block == 0)),
            last.eq(tap_last & depth_last & block_last),
            command_last.eq(row_last & column_last),

            weight.address.eq(b_block),
            weight.pitch.eq(b_pitch),
            weight.zero_point_address.eq(zero_points),
            weight.fill.words.eq(Mux(wide, terms << 1, terms)),
            weight.fill.kind.eq(kind),
            weight.fill.zero_point_read.eq(c.b_zero_point_vector & depth_first & column_first),
            weight.fill.zero_point_vector.eq(c.b_zero_point_vector),
            weight.fill.zero_point.eq(c.b_zero_point),
            weight.fill.block.eq(block),
            weight.fill.b_signed.eq(c.b_type == ElementType.INT8),
            weight.last.eq(last & command_last),
            weight.sequence.eq(sequence),

            activation.offset.eq(a_offset),
            activation.base.eq(c.a_address[shift:]),
            activation.row_pitch.eq(words(c.a_pitch)),
            activation.column_pitch.eq(Mux(conv, words(c.a_column_pitch), 0)),
            activation.semaphore.eq(c.a_semaphore),
            activation.threshold.eq(a_goal),
            feed.acc_pitch.eq(width),
            feed.bank.eq(bank),
            feed.overwrite.eq(depth_first & ~c.accumulate),
            feed.kind.eq(kind),
            feed.terms.eq(Mux(wide, terms << 1, terms)),
            feed.a_signed.eq(c.a_type == ElementType.INT8),
            feed.zero_point.eq(c.a_zero_point),
            feed.apart.eq(conv & moved & ~depth_first & (block == 0)
                          & ((tile_blocks == 1) | short | was_short)),
            feed.tile_first.eq(first),
            feed.tile_last.eq(last),
            feed.silent.eq(c.hold),
            activation.first.eq(first & tile_first),
            activation.last.eq(last & command_last),
            activation.sequence.eq(sequence),
        ]
        with m.If(ending):      # one pixel of zero
            m.d.comb += [feed.rows.eq(1), feed.columns.eq(1), feed.accumulator.eq(0)]
        with m.Elif(~conv):
            m.d.comb += [feed.rows.eq(tile_rows), feed.columns.eq(1),
                         feed.accumulator.eq(accumulator), activation.row_end.eq(tile_rows),
                         activation.column_end.eq(1)]
        with m.Elif(whole):
            m.d.comb += [feed.rows.eq(tile_rows), feed.columns.eq(width),
                         feed.accumulator.eq(accumulator)]
            with m.If(~clip.empty):
                m.d.comb += [
                    activation.row_begin.eq(clip.row_begin), activation.row_end.eq(clip.row_end),
                    activation.column_begin.eq(clip.column_begin),
                    activation.column_end.eq(clip.column_end)]
        with m.Else():
            m.d.comb += [
                feed.rows.eq(clip_rows), feed.columns.eq(clip_columns),
                feed.accumulator.eq(accumulator + clip.pixel),
                activation.row_end.eq(clip_rows), activation.column_end.eq(clip_columns)]
        base = {name: named(f"{name}_base", words(c[f"{name}_address"]))
                for name in ("bias", "scale", "table", "max")}
        descriptor = {
            "bank": bank, "kind": kind, "rows": tile_pixels, "blocks": tile_blocks, "tail": tail,
            "column_tile": column_tile, "first": tile_first, "last": command_last,
            "silent": c.hold,
            "out_address": offset("tile_out", out_row, by_output),
            "out_pitch": c.out_pitch[shift:config.sm_byte_width],
            "residual_address": offset("tile_residual", residual_row, by_residual),
            "residual_pitch": c.residual_pitch[shift:config.sm_byte_width],
            "bias_address": offset("tile_bias", base["bias"], by_four),
            "scale_address": offset("tile_scale", base["scale"], by_four),
            "table_address": base["table"], "max_address": base["max"],
            **{name: c[name] for name in (
                "has_bias", "float_bias", "scale_vector", "has_residual", "has_table", "has_max",
                "max_accumulate", "scale", "activation", "low", "high", "residual_type",
                "residual_zero_point", "residual_scale", "out_type", "out_zero_point",
                "out_semaphore")},
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
                m.d.comb += [started.eq(tile_first), short_rows.eq(rows_left <= c.tile_rows),
                             short_columns.eq(blocks_left <= c.tile_blocks)]
                m.d.sync += [
                    row_last.eq(short_rows), column_last.eq(short_columns),
                    tile_rows.eq(Mux(short_rows, rows_left, c.tile_rows)),
                    tile_pixels.eq(Mux(short_rows, rows_left[:len(tile_rows)] * width,
                                       full_pixels)),
                    tile_blocks.eq(Mux(short_columns, blocks_left, c.tile_blocks)),
                    depth_left.eq(c.depth), depth_first.eq(1), moved.eq(1), block.eq(0),
                    accumulator.eq(0), whole.eq(1), ending.eq(0), was_short.eq(0),
                    tap_row.eq(0), tap_column.eq(0), a_offset.eq(a_row), tap_offset.eq(a_row),
                    tap_start.eq(a_row), tap_u.eq(u_row), tap_v.eq(c.v_start),
                    b_tap.eq(b_column), b_row.eq(b_column), b_block.eq(b_column),
                ]
                m.next = "pass"
                with m.If(conv):
                    m.next = "look"
            with m.State("look"):       # at the tap's pixels
                m.d.comb += clip.start.eq(~check.bad)
                m.next = "clip"
                with m.If(check.bad):
                    m.next = "refuse"
            with m.State("clip"):       # until they are known
                with m.If(clip.done):
                    m.d.sync += a_offset.eq(Mux(whole, tap_offset, tap_offset + clip.distance))
                    m.next = "pass"
                    with m.If(clip.empty & ~whole):
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
                        with m.If(conv & whole & ~(clip.empty & tap_last)):
                            # The other words of the first tap: only what exists.
                            m.d.sync += [whole.eq(0), a_offset.eq(a_offset + clip.distance + 1),
                                         moved.eq(1), was_short.eq(tile_pixels < _SHORT)]
                        with m.If(depth_last | (conv & clip.empty & ~tap_last)):
                            m.d.sync += was_short.eq(short)
                            m.next = "tap"
                    with m.If(depth_first & block_last & (c.column_order | row_last)):
                        m.d.sync += b_column.eq(next_b_block)   # the next column tile
                    with m.If(last):
                        m.d.sync += bank.eq(bank ^ ~c.hold)
                        m.next = "next"
                        with m.If(command_last):
                            m.next = "idle"
            with m.State("tap"):        # the next one
                right = named("right", tap_offset + (c.a_tap_column_pitch >> shift), far)
                down = named("down", tap_start + (c.a_tap_row_pitch >> shift), far)
                m.d.sync += [
                    whole.eq(0), moved.eq(1), depth_left.eq(c.depth), block.eq(0),
                    accumulator.eq(0),
                    b_tap.eq(next_b_tap), b_row.eq(next_b_tap), b_block.eq(next_b_tap),
                    tap_column.eq(tap_column + 1), tap_offset.eq(right),
                    tap_v.eq(tap_v + c.v_tap),
                ]
                with m.If(tap_column_last):
                    m.d.sync += [
                        tap_column.eq(0), tap_row.eq(tap_row + 1), tap_start.eq(down),
                        tap_offset.eq(down), tap_u.eq(tap_u + c.u_tap), tap_v.eq(c.v_start),
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
