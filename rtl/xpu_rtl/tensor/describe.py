"""What the sequencer tells other blocks: of a tile to the epilogue, of a pass to the readers."""

from amaranth import Mux, Signal

from ..command.formats import ElementType
from ..params import XpuConfig
from .choose import element_shift
from .types import behind, wide_address, word_address

__all__ = ["describe_activations", "describe_tile", "describe_weights"]

_AS_IN_COMMAND = (
    "has_bias", "float_bias", "scale_vector", "has_residual", "has_table", "has_max",
    "max_accumulate", "scale", "activation", "low", "high", "residual_type",
    "residual_zero_point", "residual_scale", "out_type", "out_zero_point", "out_semaphore")


def describe_tile(m, config: XpuConfig, tile, c, given, *, column_block, column_last, out_row,
                  residual_row):
    """Drive a ``TileDescriptor``.

    Parameters
    ----------
    m : Module
        Where the logic is added.
    config : XpuConfig
        Widths.
    tile : TileDescriptor(config)
        What is driven.
    c : command_layout(CONV)
        The command.
    given : dict
        Fields that the caller knows.
    column_block : Value
        First column block of the tile, in the command.
    column_last : Value
        The tile has the command's last columns.
    out_row, residual_row : wide addresses
        First row of the tile, in block 0 of the command.
    """
    def address(name):
        base = Signal(wide_address(config), name=f"{name}_base")
        m.d.comb += base.eq(word_address(config, c[f"{name}_address"]))
        return base

    def after_blocks(name, base, shift):
        """Address of the tile's first block, of elements of 1 << shift bytes."""
        distance = Signal(len(column_block) + 3, name=f"{name}_blocks")
        m.d.comb += distance.eq(column_block << shift)
        return behind(m, f"tile_{name}", base, distance)

    shift = config.word_shift
    fields = given | {name: c[name] for name in _AS_IN_COMMAND} | {
        "silent": c.hold,
        "tail": Mux(column_last, ((c.columns - 1) & (config.lanes - 1)) + 1, config.lanes),
        "out_address": after_blocks("out", out_row, element_shift(m, "out_shift", c.out_type)),
        "residual_address": after_blocks("residual", residual_row, element_shift(
            m, "residual_shift", c.residual_type)),
        "out_pitch": c.out_pitch[shift:config.sm_byte_width],
        "residual_pitch": c.residual_pitch[shift:config.sm_byte_width],
        "bias_address": after_blocks("bias", address("bias"), 2),
        "scale_address": after_blocks("scale", address("scale"), 2),
        "table_address": address("table"), "max_address": address("max"),
    }
    m.d.comb += [tile[name].eq(value) for name, value in fields.items()]


def describe_weights(m, weight, c, at, *, address, pitch, zero_points):
    """Drive a ``WeightPass``.

    Parameters
    ----------
    m : Module
        Where the logic is added.
    weight : WeightPass(config)
        What is driven.
    c : command_layout(CONV)
        The command.
    at : object
        Where the loops of the sequencer are: its registers and signals by name.
    address, pitch, zero_points : wide addresses
        First word of the pass's weights, words from row to row, the block's zero points.
    """
    m.d.comb += [
        weight.address.eq(address),
        weight.pitch.eq(pitch),
        weight.zero_point_address.eq(zero_points),
        weight.fill.words.eq(Mux(at.wide, at.terms << 1, at.terms)),
        weight.fill.kind.eq(at.kind),
        weight.fill.zero_point_read.eq(c.b_zero_point_vector & at.depth_first & at.column_first),
        weight.fill.zero_point_vector.eq(c.b_zero_point_vector),
        weight.fill.zero_point.eq(c.b_zero_point),
        weight.fill.block.eq(at.block),
        weight.fill.b_signed.eq(c.b_type == ElementType.INT8),
        weight.last.eq(at.last & at.command_last),
        weight.sequence.eq(at.sequence),
    ]


def describe_activations(m, config: XpuConfig, activation, c, at, taps, *, offset, threshold):
    """Drive an ``ActivationPass``: the rectangle of pixels that exist, and where their sums go.

    Parameters
    ----------
    m, c, at
        As for ``describe_weights``.
    config : XpuConfig
        Widths.
    activation : ActivationPass(config)
        What is driven.
    taps : TapWalk
        Pixels of the tile that exist at the tap.
    offset : Value
        Words from the first word of A to the pass's first.
    threshold : Value
        Of A's semaphore.
    """
    feed, shift = activation.feed, config.word_shift
    m.d.comb += [
        activation.offset.eq(offset),
        activation.base.eq(c.a_address[shift:]),
        activation.row_pitch.eq(word_address(config, c.a_pitch)),
        activation.column_pitch.eq(Mux(at.conv, word_address(config, c.a_column_pitch), 0)),
        activation.semaphore.eq(c.a_semaphore),
        activation.threshold.eq(threshold),
        feed.acc_pitch.eq(at.width),
        feed.bank.eq(at.bank),
        feed.overwrite.eq(at.depth_first & ~c.accumulate),
        feed.kind.eq(at.kind),
        feed.terms.eq(Mux(at.wide, at.terms << 1, at.terms)),
        feed.a_signed.eq(c.a_type == ElementType.INT8),
        feed.zero_point.eq(c.a_zero_point),
        feed.apart.eq(at.conv & at.moved & ~at.depth_first & (at.block == 0)
                      & ((at.tile_blocks == 1) | taps.short | at.was_short)),
        feed.tile_first.eq(at.first),
        feed.tile_last.eq(at.last),
        feed.silent.eq(c.hold),
        activation.first.eq(at.first & at.tile_first),
        activation.last.eq(at.last & at.command_last),
        activation.sequence.eq(at.sequence),
    ]
    with m.If(at.ending):       # one pixel of zero
        m.d.comb += [feed.rows.eq(1), feed.columns.eq(1), feed.accumulator.eq(0)]
    with m.Elif(~at.conv):
        m.d.comb += [feed.rows.eq(at.tile_rows), feed.columns.eq(1),
                     feed.accumulator.eq(at.accumulator), activation.row_end.eq(at.tile_rows),
                     activation.column_end.eq(1)]
    with m.Elif(at.whole):
        m.d.comb += [feed.rows.eq(at.tile_rows), feed.columns.eq(at.width),
                     feed.accumulator.eq(at.accumulator)]
        with m.If(~taps.empty):
            m.d.comb += [
                activation.row_begin.eq(taps.row_begin), activation.row_end.eq(taps.row_end),
                activation.column_begin.eq(taps.column_begin),
                activation.column_end.eq(taps.column_end)]
    with m.Else():
        m.d.comb += [
            feed.rows.eq(taps.rows_seen), feed.columns.eq(taps.columns_seen),
            feed.accumulator.eq(at.accumulator + taps.pixel),
            activation.row_end.eq(taps.rows_seen), activation.column_end.eq(taps.columns_seen)]
