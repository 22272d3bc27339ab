"""The destination side of rows and matrices: pieces of consecutive bytes, column by column."""

from amaranth import C, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .stages import address_48
from .strips import row_blocks, row_segments
from .types import BYTES_WIDTH

__all__ = ["DestinationPiece", "DestinationRow", "DestinationWalker"]


class DestinationRow(data.StructLayout):
    """What the destination side needs of an ``NdRow``. Fields: as there; ``direct`` (the copied
    bytes come from SM)."""

    def __init__(self):
        super().__init__({
            "destination": address_48(), "bytes": unsigned(BYTES_WIDTH),
            "left": unsigned(BYTES_WIDTH), "copied": unsigned(BYTES_WIDTH),
            "transpose": unsigned(1), "rows": unsigned(16), "destination_pitch": unsigned(32),
            "element_log2": unsigned(2), "direct": unsigned(1), "last": unsigned(1),
            "semaphore": unsigned(8), "ring": unsigned(3),
        })


class DestinationPiece(data.StructLayout):
    """Consecutive destination bytes; unchecked. Fields: ``address`` (of the first byte), ``span``
    (bytes less one), ``transpose``; the others as in ``DestinationRun``."""

    def __init__(self):
        super().__init__({
            "address": address_48(), "span": unsigned(BYTES_WIDTH), "transpose": unsigned(1),
            "direct": unsigned(1), "row_last": unsigned(1), "last": unsigned(1),
            "semaphore": unsigned(8), "ring": unsigned(3),
        })


class DestinationWalker(wiring.Component):
    """Walk the destination side of rows and matrices.

    A plain row is up to three pieces, those of its source side. Of a matrix each block of
    word_bytes / element rows gives one piece, of at most a word's bytes, per column. The columns
    of all strips of a block follow each other.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(DestinationRow()))
        Rows.
    o : Out(stream.Signature(DestinationPiece()))
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
        super().__init__({"i": In(stream.Signature(DestinationRow())),
                          "o": Out(stream.Signature(DestinationPiece()))})

    def elaborate(self, platform):
        m = Module()
        config, row, out = self._config, self.i.p, self.o.p
        lanes = config.word_shift

        valid = Signal()
        row_last = Signal(reset_less=True)      # it is the last of its command
        matrix = Signal(reset_less=True)
        direct = Signal(reset_less=True)
        semaphore = Signal(8, reset_less=True)
        ring = Signal(3, reset_less=True)
        address = Signal(48, reset_less=True)

        all_present, all_right = row_segments(m, row)
        present = Signal(3, reset_less=True)    # segments still to go
        left = Signal(BYTES_WIDTH, reset_less=True)
        copied = Signal(BYTES_WIDTH, reset_less=True)
        right = Signal(BYTES_WIDTH, reset_less=True)
        copying = Signal()
        size = Signal(BYTES_WIDTH)
        row_done = Signal()
        m.d.comb += [
            copying.eq(~present[0] & present[1]),
            size.eq(Mux(present[0], left, Mux(present[1], copied, right))),
            row_done.eq(~Mux(present[0], present[1] | present[2], present[1] & present[2])),
        ]

        all_blocks, all_tail, single_block = row_blocks(m, config, row)
        row_tail_span = Signal(lanes)
        row_columns = Signal(BYTES_WIDTH)       # less one
        single_column = Signal()
        with m.Switch(row.element_log2):
            for element_log2 in range(3):
                with m.Case(element_log2):
                    m.d.comb += [
                        row_tail_span.eq(all_tail << element_log2 | (1 << element_log2) - 1),
                        row_columns.eq((row.bytes - 1) >> element_log2),
                        single_column.eq(row.bytes == 1 << element_log2),
                    ]
        pitch = Signal(signed(32), reset_less=True)
        block_start = Signal(48, reset_less=True)
        columns = Signal(BYTES_WIDTH, reset_less=True)      # after this one
        all_columns = Signal(BYTES_WIDTH, reset_less=True)  # less one
        row_single = Signal(reset_less=True)                # there is but one
        blocks = Signal(16, reset_less=True)                # after this one
        tail_span = Signal(lanes, reset_less=True)
        block_end = Signal(reset_less=True)     # last column
        matrix_end = Signal(reset_less=True)    # last block
        start = Signal(48)
        stride = Signal(signed(32))
        next_address = Signal(48)
        m.d.comb += [
            start.eq(Mux(matrix & block_end, block_start, address)),
            stride.eq(Mux(matrix, Mux(block_end, config.word_bytes, pitch), size)),
            next_address.eq(start + stride),
        ]

        done = Signal()
        m.d.comb += [
            done.eq(Mux(matrix, block_end & matrix_end, row_done)),
            self.i.ready.eq(~valid | (self.o.ready & done)),
            self.o.valid.eq(valid), out.address.eq(address),
            out.span.eq(Mux(matrix, Mux(matrix_end, tail_span, config.word_bytes - 1), size - 1)),
            out.transpose.eq(matrix), out.direct.eq(~matrix & (~copying | direct)),
            out.row_last.eq(done), out.last.eq(done & row_last),
            out.semaphore.eq(semaphore), out.ring.eq(ring),
        ]
        with m.If(valid & self.o.ready):
            m.d.sync += [valid.eq(~done), address.eq(next_address)]
            with m.If(~matrix):
                m.d.sync += present.eq(Cat(C(0, 1), present[0] & present[1], present[2]))
            with m.Else():
                m.d.sync += [columns.eq(columns - 1), block_end.eq(columns == 1)]
                with m.If(block_end):
                    m.d.sync += [
                        block_start.eq(next_address), columns.eq(all_columns),
                        block_end.eq(row_single), blocks.eq(blocks - 1),
                        matrix_end.eq(blocks == 1),
                    ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                valid.eq(1), row_last.eq(row.last), matrix.eq(row.transpose),
                direct.eq(row.direct), semaphore.eq(row.semaphore), ring.eq(row.ring),
                address.eq(row.destination), present.eq(all_present),
                left.eq(row.left), copied.eq(row.copied), right.eq(all_right),
                pitch.eq(row.destination_pitch), block_start.eq(row.destination),
                columns.eq(row_columns), all_columns.eq(row_columns), blocks.eq(all_blocks),
                tail_span.eq(row_tail_span), block_end.eq(single_column),
                row_single.eq(single_column), matrix_end.eq(single_block),
            ]
        return m
