"""Payload layouts that cross a boundary inside the tensor unit."""

from amaranth import signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..params import XpuConfig

__all__ = ["AccumulatorPort", "TileDescriptor", "wide_address"]


def wide_address(config: XpuConfig):
    """Shape of a scratchpad word address before its range check: one guard bit."""
    return unsigned(config.sm_addr_width + 1)


class TileDescriptor(data.StructLayout):
    """One accumulator tile on its way out, and how to finish it.

    Sums lie in accumulator memory ``bank`` at rows 0 .. rows * blocks - 1: all rows of block 0, then
    of block 1, ... Word addresses are ``wide_address``.

    Fields: ``bank``; ``rows``, ``blocks`` (of this tile, at least 1); ``column_tile`` (number of the
    column tile within the command: parameters already loaded for it need not be read again, unless
    ``first``); ``first``, ``last`` (first, last tile of its command); ``out_address`` (word of row
    0, block 0), ``out_pitch`` (words); ``bias_address``, ``scale_address`` (words, of block 0 of
    this tile); ``has_bias``, ``scale_vector``, ``scale``, ``relu``, ``out_type``,
    ``out_zero_point``, ``out_semaphore`` as in the GEMM command; ``silent`` (the command has
    ``hold``: nothing is drained, the tile only marks the end of its command).
    """

    def __init__(self, config: XpuConfig):
        address = wide_address(config)
        super().__init__({
            "bank": unsigned(1),
            "rows": unsigned(ceil_log2(config.acc_rows + 1)),
            "blocks": unsigned(ceil_log2(config.tile_blocks + 1)),
            "column_tile": unsigned(16),
            "first": unsigned(1),
            "last": unsigned(1),
            "silent": unsigned(1),
            "out_address": address,
            "out_pitch": unsigned(config.sm_addr_width),
            "bias_address": address,
            "scale_address": address,
            "has_bias": unsigned(1),
            "scale_vector": unsigned(1),
            "scale": unsigned(32),
            "relu": unsigned(1),
            "out_type": unsigned(2),
            "out_zero_point": signed(9),
            "out_semaphore": unsigned(8),
        })


class AccumulatorPort(wiring.Signature):
    """Read port of the two accumulator memories, seen from the epilogue.

    Members
    -------
    bank : Out(1)
        Memory to read: the ``bank`` of a computed tile that is not yet released.
    en, addr : Out(1), Out(range(acc_rows))
        Read row ``addr`` in this cycle.
    data : In(acc_width * lanes)
        The row, lane 0 in the low bits, in the cycle after ``en`` (``LATENCY``).
    """

    LATENCY = 1

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "bank": Out(1),
            "en": Out(1),
            "addr": Out(range(config.acc_rows)),
            "data": In(config.acc_width * config.lanes),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._config == self._config

    def __repr__(self):
        return f"AccumulatorPort({self._config.name!r})"
