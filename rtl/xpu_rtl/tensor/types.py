"""Payload layouts and interfaces that cross a boundary inside the tensor unit."""

from amaranth import Cat, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..params import XpuConfig

__all__ = ["SEQUENCE_WIDTH", "AccumulatorPort", "ActivationPass", "FeedPass", "FillPass",
           "RowTag", "TileDescriptor", "WeightPass", "advance", "retreat", "wide_address"]

#: Bits of a command's sequence number; half as many commands may be unfinished.
SEQUENCE_WIDTH = 4


def wide_address(config: XpuConfig):
    """Shape of a scratchpad word address before its range check: one guard bit."""
    return unsigned(config.sm_addr_width + 1)


def advance(m, name, address, step):
    """Named ``address + step`` of two wide addresses; its guard bit is set if either's is.

    A pitch or step is a wide address too: with the guard bit set, nothing behind it exists.
    """
    width = len(address) - 1
    total = Signal(width + 1, name=f"{name}_total")
    result = Signal(width + 1, name=name)
    m.d.comb += [
        total.eq(address[:width] + step[:width]),
        result.eq(Cat(total[:width], total[width] | address[width] | step[width])),
    ]
    return result


def retreat(m, name, room, step):
    """Named ``room - step``; its guard bit is set if that is negative, or either's guard bit is.

    ``room`` is how many words lie between an address and the end of the ring's window; as addresses
    only grow, the guard bit says that one is behind the window (or behind the scratchpad).
    """
    width = len(step) - 1
    total = Signal(width + 1, name=f"{name}_total")
    result = Signal(width + 1, name=name)
    m.d.comb += [
        total.eq(room[:width] - step[:width]),
        result.eq(Cat(total[:width], total[width] | room[width:].any() | step[width])),
    ]
    return result


class TileDescriptor(data.StructLayout):
    """One accumulator tile on its way out, and how to finish it.

    Sums lie in accumulator memory ``bank`` at rows 0 .. rows * blocks - 1: all rows of block 0,
    then of block 1, ... Word addresses are ``wide_address``.

    Fields: ``bank``; ``rows``, ``blocks`` (of this tile, at least 1); ``column_tile`` (number of
    the column tile within the command: parameters already loaded for it need not be read again,
    unless ``first``); ``first``, ``last`` (first, last tile of its command); ``out_address`` (word
    of row 0, block 0), ``out_pitch`` (words); ``bias_address``, ``scale_address`` (words, of block
    0 of this tile); ``has_bias``, ``scale_vector``, ``scale``, ``relu``, ``out_type``,
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


class FillPass(data.StructLayout):
    """How the words of one block of weights become operands.

    Fields: ``rows`` (k rows of the block, 1 to lanes), ``zero_point_read`` (a word of zero points
    precedes the weights), ``zero_point_vector``, ``zero_point`` (of all columns, if no vector),
    ``block`` (within the tile), ``b_signed``.
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "rows": unsigned(ceil_log2(config.lanes + 1)),
            "zero_point_read": unsigned(1),
            "zero_point_vector": unsigned(1),
            "zero_point": signed(9),
            "block": unsigned(ceil_log2(config.tile_blocks)),
            "b_signed": unsigned(1),
        })


class WeightPass(data.StructLayout):
    """Where to read the weights of one pass.

    Fields: ``address`` (of k row 0), ``pitch`` (from row to row), ``zero_point_address``, all wide
    word addresses; ``fill``; ``last`` (pass of its command); ``sequence`` (of its command).
    """

    def __init__(self, config: XpuConfig):
        address = wide_address(config)
        super().__init__({
            "address": address,
            "pitch": address,
            "zero_point_address": address,
            "fill": FillPass(config),
            "last": unsigned(1),
            "sequence": unsigned(SEQUENCE_WIDTH),
        })


class FeedPass(data.StructLayout):
    """What the array does with the activation rows of one pass.

    Fields: ``rows`` (at least 1), ``accumulator`` (address of row 0), ``bank``, ``overwrite`` (the
    sums start here), ``a_signed``, ``zero_point``, ``tile_first``, ``tile_last`` (first, last pass
    of its tile), ``silent`` (the tile is not drained).
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "rows": unsigned(ceil_log2(config.acc_rows + 1)),
            "accumulator": unsigned(ceil_log2(config.acc_rows)),
            "bank": unsigned(1),
            "overwrite": unsigned(1),
            "a_signed": unsigned(1),
            "zero_point": signed(9),
            "tile_first": unsigned(1),
            "tile_last": unsigned(1),
            "silent": unsigned(1),
        })


class ActivationPass(data.StructLayout):
    """Where to read the activation rows of one pass, and what to wait for.

    Fields: ``address`` (of row 0), ``pitch``, wide word addresses; ``semaphore``, ``threshold`` (to
    be reached before a ``feed.tile_first`` pass); ``feed``; ``first``, ``last`` (pass of its
    command); ``sequence``.
    """

    def __init__(self, config: XpuConfig):
        address = wide_address(config)
        super().__init__({
            "address": address,
            "pitch": address,
            "semaphore": unsigned(8),
            "threshold": unsigned(config.semaphore_width),
            "feed": FeedPass(config),
            "first": unsigned(1),
            "last": unsigned(1),
            "sequence": unsigned(SEQUENCE_WIDTH),
        })


class RowTag(data.StructLayout):
    """Where the sums of one activation row go.

    Fields: ``address``, ``bank`` of the accumulator; ``overwrite``; ``last`` (row of its tile).
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "address": unsigned(ceil_log2(config.acc_rows)),
            "bank": unsigned(1),
            "overwrite": unsigned(1),
            "last": unsigned(1),
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
        The row, lane 0 in the low bits, from the cycle after ``en`` (``LATENCY``) until the cycle
        after the next ``en``.
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
