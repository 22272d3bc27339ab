"""What the epilogue is told about a tile."""

from amaranth import Mux, Signal

from ..params import XpuConfig
from .choose import element_shift
from .types import behind, wide_address, word_address

__all__ = ["describe_tile"]

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
