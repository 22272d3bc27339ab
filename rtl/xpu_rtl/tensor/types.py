"""Payload layouts and interfaces that cross a boundary inside the tensor unit."""

from amaranth import Cat, Const, Signal, signed, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..params import XpuConfig

__all__ = ["SEQUENCE_WIDTH", "AccumulatorPort", "ActivationPass", "ActivationWord", "FeedPass",
           "FillPass", "Kind", "RowTag", "TileDescriptor", "WeightPass", "advance", "behind",
           "offset_width", "retreat", "wide_address", "word_address"]

#: Bits of a command's sequence number; half as many commands may be unfinished.
SEQUENCE_WIDTH = 4


class Kind(enum.Enum, shape=2):
    """What the operands of a pass are, and so its sums."""

    INT8 = 0    #: bytes of either signedness; sums modulo 2**32
    INT16 = 1   #: sums of 48 bits
    FP16 = 2    #: sums in FP32
    BF16 = 3    #: sums in FP32


def wide_address(config: XpuConfig):
    """Shape of a scratchpad word address before its range check: one guard bit."""
    return unsigned(config.sm_addr_width + 1)


def offset_width(config: XpuConfig):
    """Bits of a signed distance in words between places of a command's A: wide enough for the sums
    of pitches of 24 bits that a legal command can ask for."""
    return 34 - config.word_shift


def word_address(config: XpuConfig, value):
    """Wide word address of a byte address or pitch."""
    shift = config.word_shift
    if len(value) <= config.sm_byte_width:
        return Cat(value[shift:], Const(0, 1))
    return Cat(value[shift:config.sm_byte_width], value[config.sm_byte_width:].any())


def behind(m, name, base, distance):
    """Named wide address ``distance`` words behind ``base``; the distance may be large."""
    bits = len(base) - 1
    step = Signal(bits + 1, name=f"{name}_distance")
    m.d.comb += step.eq(Cat(distance[:bits], distance[bits:].any())
                        if len(distance) > bits else distance)
    return advance(m, name, base, step)


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

    Fields: ``bank``; ``kind`` of the sums; ``rows`` (CONV: pixels), ``blocks`` (of this tile, at
    least 1); ``tail`` (columns of C in the last block of this tile, 1 to lanes; the others are
    padding); ``column_tile`` (number of the column tile within the command: parameters already
    loaded for it need not be read again, unless ``first``); ``first``, ``last`` (first, last tile
    of its command); ``out_address``, ``residual_address`` (words of row 0, block 0), ``out_pitch``,
    ``residual_pitch`` (words); ``bias_address``, ``scale_address`` (words, of block 0 of this
    tile); ``table_address``, ``max_address`` (words); the other fields as in the command;
    ``silent`` (the command has ``hold``: nothing is drained, the tile only marks the end of its
    command).
    """

    def __init__(self, config: XpuConfig):
        address = wide_address(config)
        super().__init__({
            "bank": unsigned(1),
            "kind": Kind,
            "rows": unsigned(ceil_log2(config.acc_rows + 1)),
            "blocks": unsigned(ceil_log2(config.tile_blocks + 1)),
            "tail": unsigned(ceil_log2(config.lanes + 1)),
            "column_tile": unsigned(16),
            "first": unsigned(1),
            "last": unsigned(1),
            "silent": unsigned(1),
            "out_address": address,
            "out_pitch": unsigned(config.sm_addr_width),
            "bias_address": address,
            "scale_address": address,
            "residual_address": address,
            "residual_pitch": unsigned(config.sm_addr_width),
            "table_address": address,
            "max_address": address,
            "has_bias": unsigned(1),
            "float_bias": unsigned(1),
            "scale_vector": unsigned(1),
            "has_residual": unsigned(1),
            "has_table": unsigned(1),
            "has_max": unsigned(1),
            "max_accumulate": unsigned(1),
            "scale": unsigned(32),
            "activation": unsigned(2),
            "low": unsigned(32),
            "high": unsigned(32),
            "residual_type": unsigned(3),
            "residual_zero_point": signed(16),
            "residual_scale": unsigned(32),
            "out_type": unsigned(3),
            "out_zero_point": signed(16),
            "out_semaphore": unsigned(8),
        })


class FillPass(data.StructLayout):
    """How the words of one block of weights become operands.

    Fields: ``words`` (of the block, 1 to lanes: one per k row of 8-bit weights, two of 16-bit
    ones), ``kind``, ``zero_point_read`` (a word of zero points precedes the weights),
    ``zero_point_vector``, ``zero_point`` (of all columns, if no vector), ``block`` (within the
    tile), ``b_signed``.
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "words": unsigned(ceil_log2(config.lanes + 1)),
            "kind": Kind,
            "zero_point_read": unsigned(1),
            "zero_point_vector": unsigned(1),
            "zero_point": signed(9),
            "block": unsigned(ceil_log2(config.tile_blocks)),
            "b_signed": unsigned(1),
        })


class WeightPass(data.StructLayout):
    """Where to read the weights of one pass.

    Fields: ``address`` (of k row 0), ``pitch`` (from k row to k row; the second word of a 16-bit
    row follows the first), ``zero_point_address``, all wide word addresses; ``fill``; ``last``
    (pass of its command); ``sequence`` (of its command).
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
    """What the array does with the activation words of one pass: a rectangle of ``rows`` times
    ``columns`` output pixels (GEMM: 1 column).

    Fields: ``rows``, ``columns`` (at least 1); ``accumulator`` (address of the first pixel),
    ``acc_pitch`` (from row to row; from column to column it is 1); ``bank``; ``overwrite`` (the
    sums start here); ``kind``; ``terms`` (bytes of each word that count, the others are taken as
    zero); ``a_signed``, ``zero_point``; ``apart`` (must not enter before the sums of the pass
    before are written: its rectangle is another one over the same accumulators); ``tile_first``,
    ``tile_last`` (first, last pass of its tile), ``silent`` (the tile is not drained).
    """

    def __init__(self, config: XpuConfig):
        pixels = unsigned(ceil_log2(config.acc_rows + 1))
        super().__init__({
            "rows": pixels,
            "columns": pixels,
            "accumulator": unsigned(ceil_log2(config.acc_rows)),
            "acc_pitch": pixels,
            "bank": unsigned(1),
            "overwrite": unsigned(1),
            "kind": Kind,
            "terms": unsigned(ceil_log2(config.lanes + 1)),
            "a_signed": unsigned(1),
            "zero_point": signed(9),
            "apart": unsigned(1),
            "tile_first": unsigned(1),
            "tile_last": unsigned(1),
            "silent": unsigned(1),
        })


class ActivationPass(data.StructLayout):
    """Where to read the activation words of one pass, and what to wait for.

    The walk goes through ``feed.rows`` times ``feed.columns`` pixels, columns fastest. Pixels
    outside the rectangle ``row_begin <= r < row_end``, ``column_begin <= c < column_end`` are not
    read: their word counts as zero.

    Fields: ``offset`` (signed: words from ``base`` to pixel (0, 0)), ``base`` (word address, inside
    the scratchpad and the window); ``row_pitch``, ``column_pitch`` (wide, words); ``row_begin``,
    ``row_end``, ``column_begin``, ``column_end``; ``semaphore``, ``threshold`` (to be reached
    before a ``feed.tile_first`` pass); ``feed``; ``first``, ``last`` (pass of its command);
    ``sequence``.
    """

    def __init__(self, config: XpuConfig):
        address = wide_address(config)
        pixels = unsigned(ceil_log2(config.acc_rows + 1))
        super().__init__({
            "offset": signed(offset_width(config)),
            "base": unsigned(config.sm_addr_width),
            "row_pitch": address,
            "column_pitch": address,
            "row_begin": pixels,
            "row_end": pixels,
            "column_begin": pixels,
            "column_end": pixels,
            "semaphore": unsigned(8),
            "threshold": unsigned(config.semaphore_width),
            "feed": FeedPass(config),
            "first": unsigned(1),
            "last": unsigned(1),
            "sequence": unsigned(SEQUENCE_WIDTH),
        })


class ActivationWord(data.StructLayout):
    """An activation word on its way to the array. Fields: ``data``; ``zero`` (all its terms are
    zero, whatever ``data`` holds)."""

    def __init__(self, config: XpuConfig):
        super().__init__({"data": unsigned(config.word_width), "zero": unsigned(1)})


class RowTag(data.StructLayout):
    """Where the sums of one activation word go.

    Fields: ``address``, ``bank`` of the accumulator; ``overwrite``; ``last`` (row of its tile);
    ``kind``.
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "address": unsigned(ceil_log2(config.acc_rows)),
            "bank": unsigned(1),
            "overwrite": unsigned(1),
            "last": unsigned(1),
            "kind": Kind,
        })


class AccumulatorPort(wiring.Signature):
    """Read port of the two accumulator memories, seen from the epilogue.

    Members
    -------
    bank : Out(1)
        Memory to read: the ``bank`` of a computed tile that is not yet released.
    en, addr : Out(1), Out(range(acc_rows))
        Read row ``addr`` in this cycle.
    wide : Out(1)
        With ``en``: the sums are INT16 sums of ``acc_width`` bits. Else only the low 32 bits of
        each lane are read, and the others are undefined.
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
            "wide": Out(1),
            "data": In(config.acc_width * config.lanes),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._config == self._config

    def __repr__(self):
        return f"AccumulatorPort({self._config.name!r})"
