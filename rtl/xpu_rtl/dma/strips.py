"""The source side of rows and matrices: pieces of consecutive bytes, strip by strip."""

from amaranth import C, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .stages import STRIP_WORDS, NdRow, address_48
from .types import BYTES_WIDTH

__all__ = ["SourcePiece", "SourceWalker", "at_most", "row_blocks", "row_segments"]


class SourcePiece(data.StructLayout):
    """Consecutive source bytes, or bytes to fill; unchecked.

    Fields: ``address`` (of the first byte; filled bytes: the destination lane in its low bits, the
    rest void), ``span`` (bytes less one), ``lane`` (destination lane; void in a transposition);
    ``filled``; ``fault`` (the odometer's); ``pattern`` (of a filled word); ``transpose``,
    ``element_log2``, ``strip_row``, ``strip_last`` as in ``FormRow``; ``first``, ``row_last``,
    ``last``, ``ring``, ``index`` as in ``SourceRun``.
    """

    def __init__(self, config: XpuConfig):
        lane = unsigned(config.word_shift)
        super().__init__({
            "address": address_48(), "span": unsigned(BYTES_WIDTH), "lane": lane,
            "filled": unsigned(1), "fault": unsigned(1), "pattern": unsigned(32),
            "transpose": unsigned(1), "element_log2": unsigned(2),
            "strip_row": lane, "strip_last": unsigned(1),
            "first": unsigned(1), "row_last": unsigned(1), "last": unsigned(1),
            "ring": unsigned(3), "index": unsigned(32),
        })


def row_segments(m, row):
    """Segments of a row: named signals ``present`` (bit per left fill, copy, right fill) and
    ``right`` (bytes of the right fill)."""
    covered = Signal(BYTES_WIDTH + 1)
    present = Signal(3)
    right = Signal(BYTES_WIDTH)
    m.d.comb += [
        covered.eq(row.left + row.copied), right.eq(row.bytes - covered),
        present.eq(Cat(row.left != 0, row.copied != 0, covered != row.bytes)),
    ]
    return present, right


def at_most(value, bits):
    """Whether a value that is not zero is at most ``2 ** bits``, without a carry chain."""
    return (value[bits + 1:] == 0) & (~value[bits] | (value[:bits] == 0))


def row_blocks(m, config, row):
    """Row blocks of a matrix, word_bytes / element rows each: named signals ``blocks`` (less one),
    ``tail`` (rows of the last one, less one) and ``single`` (there is but one)."""
    rows = Signal(16)       # less one
    blocks = Signal(16)
    tail = Signal(config.word_shift)
    single = Signal()
    m.d.comb += rows.eq(row.rows - 1)
    with m.Switch(row.element_log2):
        for element_log2 in range(3):
            bits = config.word_shift - element_log2
            with m.Case(element_log2):
                m.d.comb += [blocks.eq(rows >> bits), tail.eq(rows[:bits]),
                             single.eq(at_most(row.rows, bits))]
    return blocks, tail, single


class SourceWalker(wiring.Component):
    """Walk the source side of rows and matrices.

    A plain row is up to three pieces: left fill, copy, right fill. A matrix is walked strip by
    strip: for each block of word_bytes / element matrix rows, for each ``STRIP_WORDS`` words of
    their bytes, one piece per row. A row with ``fault`` is one piece with ``fault``.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(NdRow(config)))
        Rows, but with the address of the first copied byte as ``source``.
    o : Out(stream.Signature(SourcePiece(config)))
        Pieces, in order.

    Timing
    ------
    Latency: 1 cycle from a transfer on ``i`` to ``o.valid`` (``LATENCY``).
    Throughput: one piece per cycle, without a gap between rows.
    Backpressure: full.
    Combinational paths: ``o.ready`` to ``i.ready``.
    Reset: the valid flag only.
    """

    LATENCY = 1

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({"i": In(stream.Signature(NdRow(config))),
                          "o": Out(stream.Signature(SourcePiece(config)))})

    def elaborate(self, platform):
        m = Module()
        config, row, out = self._config, self.i.p, self.o.p
        lanes = config.word_shift
        strip_shift = (config.word_bytes * STRIP_WORDS).bit_length() - 1
        m.d.comb += [
            out[name].eq(value) for name, value in self._kept(m, row).items()]

        valid = Signal()
        first = Signal(reset_less=True)
        row_last = Signal(reset_less=True)      # it is the last of its command
        matrix = Signal(reset_less=True)
        address = Signal(48, reset_less=True)   # of the copied bytes; of this piece of a matrix

        # Plain rows: `present` are the segments still to go.
        all_present, all_right = row_segments(m, row)
        present = Signal(3, reset_less=True)
        left = Signal(BYTES_WIDTH, reset_less=True)
        copied = Signal(BYTES_WIDTH, reset_less=True)
        right = Signal(BYTES_WIDTH, reset_less=True)
        row_copy_lane = Signal(lanes)
        m.d.comb += row_copy_lane.eq(row.destination[:lanes] + row.left[:lanes])
        left_lane = Signal(lanes, reset_less=True)
        copy_lane = Signal(lanes, reset_less=True)
        right_lane = Signal(lanes, reset_less=True)
        copying = Signal()
        size = Signal(BYTES_WIDTH)
        lane = Signal(lanes)
        row_done = Signal()
        m.d.comb += [
            copying.eq(~present[0] & present[1]),
            size.eq(Mux(present[0], left, Mux(present[1], copied, right))),
            lane.eq(Mux(present[0], left_lane, Mux(present[1], copy_lane, right_lane))),
            row_done.eq(~Mux(present[0], present[1] | present[2], present[1] & present[2])),
        ]

        # Matrices: rows within a strip, strips within a block, blocks.
        all_blocks, all_tail, single_block = row_blocks(m, config, row)
        row_bytes = Signal(BYTES_WIDTH)     # less one
        single_strip = Signal()
        m.d.comb += [row_bytes.eq(row.bytes - 1),
                     single_strip.eq(at_most(row.bytes, strip_shift))]
        row_block_pitch = Signal(signed(32 + lanes))
        row_full = Signal(lanes)            # rows of a whole strip, less one
        with m.Switch(row.element_log2):
            for element_log2 in range(3):
                bits = lanes - element_log2
                with m.Case(element_log2):
                    m.d.comb += [row_block_pitch.eq(row.source_pitch.as_signed() << bits),
                                 row_full.eq((1 << bits) - 1)]
        pitch = Signal(signed(32), reset_less=True)
        block_pitch = Signal(signed(32 + lanes), reset_less=True)
        block_start = Signal(48, reset_less=True)
        strip_start = Signal(48, reset_less=True)
        strip_row = Signal(lanes, reset_less=True)
        strip_rows = Signal(lanes, reset_less=True)     # of this strip, less one
        full_rows = Signal(lanes, reset_less=True)      # of a whole strip, less one
        tail_rows = Signal(lanes, reset_less=True)      # of the last block, less one
        strips = Signal(BYTES_WIDTH - strip_shift, reset_less=True)     # after this one
        row_strips = Signal(BYTES_WIDTH - strip_shift, reset_less=True)
        row_single = Signal(reset_less=True)    # a matrix row is one strip
        tail_bytes = Signal(strip_shift, reset_less=True)       # of the last strip, less one
        blocks = Signal(16, reset_less=True)        # after this one
        strip_end = Signal(reset_less=True)     # last row of its strip
        block_end = Signal(reset_less=True)     # last strip of its block
        matrix_end = Signal(reset_less=True)    # last block
        start = Signal(48)
        stride = Signal(signed(32 + lanes))
        next_address = Signal(48)
        next_row = Signal(lanes)
        next_rows = Signal(lanes)       # of the next block, less one
        first_rows = Signal(lanes)      # of the first block of a row, less one
        m.d.comb += [
            next_row.eq(strip_row + 1), next_rows.eq(Mux(blocks == 1, tail_rows, full_rows)),
            start.eq(Mux(~strip_end, address, Mux(~block_end, strip_start, block_start))),
            stride.eq(Mux(~strip_end, pitch, Mux(~block_end, 1 << strip_shift, block_pitch))),
            next_address.eq(start + stride),
            first_rows.eq(Mux(single_block, all_tail, row_full)),
        ]

        done = Signal()
        step = Signal()
        m.d.comb += [
            done.eq(Mux(matrix, strip_end & block_end & matrix_end, row_done)),
            step.eq(valid & self.o.ready),
            self.i.ready.eq(~valid | (self.o.ready & done)),
            self.o.valid.eq(valid),
            out.address[lanes:].eq(address[lanes:]),
            out.address[:lanes].eq(Mux(out.filled, lane, address[:lanes])),
            out.span.eq(Mux(matrix, Mux(block_end, tail_bytes, (1 << strip_shift) - 1), size - 1)),
            out.lane.eq(lane), out.filled.eq(~matrix & ~copying), out.transpose.eq(matrix),
            out.strip_row.eq(strip_row), out.strip_last.eq(strip_end),
            out.first.eq(first), out.row_last.eq(done), out.last.eq(done & row_last),
        ]
        with m.If(step):
            m.d.sync += [valid.eq(~done), first.eq(0)]
            with m.If(~matrix):
                m.d.sync += present.eq(Cat(C(0, 1), present[0] & present[1], present[2]))
            with m.Else():
                m.d.sync += [address.eq(next_address), strip_row.eq(next_row),
                             strip_end.eq(next_row == strip_rows)]
                with m.If(strip_end):
                    m.d.sync += [strip_start.eq(next_address), strip_row.eq(0),
                                 strip_end.eq(strip_rows == 0),
                                 strips.eq(strips - 1), block_end.eq(strips == 1)]
                    with m.If(block_end):
                        m.d.sync += [
                            block_start.eq(next_address), strips.eq(row_strips),
                            block_end.eq(row_single), blocks.eq(blocks - 1),
                            matrix_end.eq(blocks == 1),
                            strip_rows.eq(next_rows), strip_end.eq(next_rows == 0),
                        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                valid.eq(1), first.eq(row.first), row_last.eq(row.last),
                matrix.eq(row.transpose & ~row.fault), address.eq(row.source),
                present.eq(Mux(row.fault, 0b010, all_present)),
                left.eq(row.left), copied.eq(row.copied), right.eq(all_right),
                left_lane.eq(row.destination[:lanes]), copy_lane.eq(row_copy_lane),
                right_lane.eq(row_copy_lane + row.copied[:lanes]),
                pitch.eq(row.source_pitch),
                block_pitch.eq(row_block_pitch),
                block_start.eq(row.source), strip_start.eq(row.source),
                strip_row.eq(0), strip_rows.eq(first_rows), strip_end.eq(first_rows == 0),
                full_rows.eq(row_full), tail_rows.eq(all_tail),
                strips.eq(row_bytes >> strip_shift), row_strips.eq(row_bytes >> strip_shift),
                tail_bytes.eq(row_bytes), block_end.eq(single_strip),
                row_single.eq(single_strip), blocks.eq(all_blocks), matrix_end.eq(single_block),
            ]
        return m

    def _kept(self, m, row):
        """Registers of what every piece of a row has alike, by name."""
        kept = {"fault": Signal(reset_less=True), "pattern": Signal(32, reset_less=True),
                "element_log2": Signal(2, reset_less=True), "ring": Signal(3, reset_less=True),
                "index": Signal(32, reset_less=True)}
        # The pattern begins with the row, and rows at any lane: rotate it to lane 0.
        rotated = Signal(32)
        with m.Switch(row.destination[:2]):
            for lane in range(4):
                with m.Case(lane):
                    m.d.comb += rotated.eq(row.fill.rotate_left(8 * lane))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [kept["pattern"].eq(rotated)]
            m.d.sync += [kept[name].eq(row[name]) for name in kept if name != "pattern"]
        return kept
