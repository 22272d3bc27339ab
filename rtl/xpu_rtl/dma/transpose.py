"""Transposition of strips of a matrix."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from ..prims.sram import Sram1R1W
from .stages import STRIP_WORDS, FormRow, PlaceRun
from .types import AlignedWord

__all__ = ["Transposer"]

_STRIP_SHIFT = STRIP_WORDS.bit_length() - 1     # STRIP_WORDS is a power of two


class _Strip(data.StructLayout):
    """Fields: ``last_byte`` (number of the last byte of each run), ``element_log2``."""

    def __init__(self, config: XpuConfig):
        super().__init__({"last_byte": unsigned(config.word_shift + _STRIP_SHIFT),
                          "element_log2": unsigned(2)})


class _Arrival(data.StructLayout):
    """Where a source word goes. Fields: ``skew`` (lanes by which its matrix row is rotated in the
    banks); ``word`` (number within its run); ``strip_end`` (last word of its strip); ``strip``."""

    def __init__(self, config: XpuConfig):
        super().__init__({"skew": unsigned(config.word_shift),
                          "word": unsigned(_STRIP_SHIFT + 1),
                          "strip_end": unsigned(1), "strip": _Strip(config)})


class Transposer(wiring.Component):
    """Turn the rows of each strip of a matrix into its columns.

    A strip is up to ``word_bytes / element`` runs of source words, one per matrix row, of equally
    many bytes. Each of its columns c becomes one destination run: elements (0, c), (1, c), ...

    A strip is collected in byte-wide banks, as many as a word has lanes. Byte j = k * word_bytes +
    b of row r stands in bank (b + r * element) modulo word_bytes, at address {buffer, k, b} with b
    rounded down to its element: the elements of a column lie in different banks at one address, and
    so do those of a row at different ones. One rotation before the banks thus does both the source
    alignment and the skew, one behind them the destination alignment and the skew's reversal. There
    are two buffers; one is filled while the other is read.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    row : In(stream.Signature(FormRow(config)))
        Rows, all of them with ``transpose``; transferred with their last source word. The rows of a
        strip have the same number of bytes, at most ``STRIP_WORDS`` words' worth and a multiple of
        the element.
    i : In(stream.Signature(unsigned(word_width)))
        Source words, each row ``beats + 1`` of them.
    place : In(stream.Signature(PlaceRun(config)))
        One for each column of each strip, in order; transferred no earlier than its strip is
        complete.
    o : Out(stream.Signature(AlignedWord(config, 0)))
        Destination words, one or two for each column; exactly the bytes of the run are set.
        ``first``, ``last``: word of its run.
    busy : Out(1)
        A whole strip is inside, or what is left of one: words leave without further source words.

    Timing
    ------
    Latency: ``LATENCY`` cycles from the transfer of a strip's last source word to ``o.valid`` of
    its first column, if the strip before has left the banks by then and ``place`` is valid.
    Throughput: one source word and one destination word per cycle; strips that take as many of one
    as of the other follow each other without a bubble.
    Backpressure: full.
    Combinational paths: ``o.ready`` to ``place.ready``; ``row.valid`` to ``i.ready``; ``i.valid``
    and ``row.payload`` to ``row.ready``.
    Reset: valid flags, buffer states and counters. After a row that lacks words only a reset helps.
    """

    LATENCY = 5

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "row": In(stream.Signature(FormRow(config))),
            "i": In(stream.Signature(config.word_width)),
            "place": In(stream.Signature(PlaceRun(config))),
            "o": Out(stream.Signature(AlignedWord(config, 0))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        lanes, lane_bits, width = config.word_bytes, config.word_shift, config.word_width
        ones = Const((1 << lanes) - 1, lanes)

        def turned(value, amount):
            # Right, by a shift and not by a chain of multiplexers: simulators do it in one step.
            return Cat(value, value).bit_select(amount, len(value))

        # Accept a source word.
        row = self.row.p
        word = Signal(_STRIP_SHIFT + 1)
        row_end = Signal()
        skew = Signal(lane_bits)
        accept = Signal()
        s1_valid = Signal()
        s1_taken = Signal()
        m.d.comb += [
            row_end.eq(word == row.beats[:len(word)]),
            skew.eq(row.strip_row << row.element_log2),
            self.i.ready.eq(self.row.valid & (~s1_valid | s1_taken)),
            accept.eq(self.i.valid & self.i.ready),
            self.row.ready.eq(accept & row_end),
        ]
        s1_data = Signal(width, reset_less=True)
        s1_lane = Signal(lane_bits, reset_less=True)
        s1_turn = Signal(lane_bits, reset_less=True)
        s1 = Signal(_Arrival(config), reset_less=True)
        with m.If(s1_taken):
            m.d.sync += s1_valid.eq(0)
        with m.If(accept):
            m.d.sync += [
                word.eq(Mux(row_end, 0, word + 1)),
                s1_valid.eq(1), s1_data.eq(self.i.payload), s1_lane.eq(row.lane),
                s1_turn.eq(row.lane - skew),
                s1.skew.eq(skew), s1.word.eq(word), s1.strip_end.eq(row_end & row.strip_last),
                # Bytes less one; they fit, as a run has at most STRIP_WORDS words' worth.
                s1.strip.last_byte.eq(Cat(row.end, row.beats[:_STRIP_SHIFT]) - row.lane),
                s1.strip.element_log2.eq(row.element_log2),
            ]

        # Stage 1: rotate. Bytes before the run's lane belong to the word before in the run (in the
        # first source word: to none).
        s1_before = Signal(lanes)
        s2_valid = Signal()
        s2_taken = Signal()
        s2_data = Signal(width, reset_less=True)
        s2_before = Signal(lanes, reset_less=True)
        s2 = Signal(_Arrival(config), reset_less=True)
        m.d.comb += [
            s1_taken.eq(s1_valid & (~s2_valid | s2_taken)),
            s1_before.eq(~(ones << s1_lane)[:lanes]),
        ]
        with m.If(s2_taken):
            m.d.sync += s2_valid.eq(0)
        with m.If(s1_taken):
            m.d.sync += [s2_valid.eq(1), s2_data.eq(turned(s1_data, Cat(Const(0, 3), s1_turn))),
                         s2_before.eq(turned(s1_before, s1_turn)), s2.eq(s1)]

        # Stage 2: write. Words count modulo STRIP_WORDS. A byte outside the run goes to a place
        # that is not read, or written again later, but for one behind the run in word STRIP_WORDS:
        # it would overwrite word 0.
        full = Signal(2)
        write_buffer = Signal()
        strips = [Signal(_Strip(config), name=f"strip_{n}", reset_less=True) for n in range(2)]
        s2_in_word = Signal(_STRIP_SHIFT)
        s2_in_before = Signal(_STRIP_SHIFT)
        s2_over = Signal()
        m.d.comb += [
            s2_taken.eq(s2_valid & ~full.bit_select(write_buffer, 1)),
            s2_in_word.eq(s2.word), s2_in_before.eq(s2.word - 1), s2_over.eq(s2.word[-1]),
        ]
        # The banks. A column is read while `issue`, see below.
        read_buffer = Signal()
        column = Signal(lane_bits + _STRIP_SHIFT)       # byte of the runs where it starts
        issue = Signal()
        read_data = Signal(width)
        for n in range(lanes):
            bank = Sram1R1W(depth=2 * STRIP_WORDS * lanes, width=8)
            m.submodules[f"bank_{n}"] = bank
            byte = Signal(lane_bits, name=f"byte_{n}")
            within = Signal(lane_bits, name=f"within_{n}")      # its element's first byte
            in_word = Signal(_STRIP_SHIFT, name=f"in_word_{n}")
            m.d.comb += [
                byte.eq(n - s2.skew),
                within.eq(Cat(byte[0] & (s2.strip.element_log2 == 0),
                              byte[1] & ~s2.strip.element_log2[1], byte[2:])),
                in_word.eq(Mux(s2_before[n], s2_in_before, s2_in_word)),
                bank.w_en.eq(s2_taken & (s2_before[n] | ~s2_over)),
                bank.w_addr.eq(Cat(within, in_word, write_buffer)),
                bank.w_data.eq(s2_data.word_select(n, 8)),
                bank.r_en.eq(issue), bank.r_addr.eq(Cat(column, read_buffer)),
                read_data.word_select(n, 8).eq(bank.r_data),
            ]
        with m.If(s2_taken & s2.strip_end):
            m.d.sync += [full.bit_select(write_buffer, 1).eq(1), write_buffer.eq(~write_buffer)]
            with m.If(write_buffer):
                m.d.sync += strips[1].eq(s2.strip)
            with m.Else():
                m.d.sync += strips[0].eq(s2.strip)

        # Ask for a column.
        place = self.place.p
        strip = Signal(_Strip(config))
        column_byte = Signal(len(column))       # its elements' last byte
        column_last = Signal()
        place_end = Signal(lane_bits + 1)
        s3_valid = Signal()
        s3_taken = Signal()
        m.d.comb += [
            strip.eq(Mux(read_buffer, strips[1], strips[0])),
            column_byte.eq(column | Cat(strip.element_log2 != 0, strip.element_log2[1])),
            column_last.eq(column_byte == strip.last_byte),
            self.place.ready.eq(full.bit_select(read_buffer, 1) & (~s3_valid | s3_taken)),
            issue.eq(self.place.valid & self.place.ready),
            place_end.eq(place.lane + place.bytes),
        ]
        s3_turn = Signal(lane_bits, reset_less=True)
        s3_lane = Signal(lane_bits, reset_less=True)
        s3_end = Signal(lane_bits, reset_less=True)
        s3_wrap = Signal(reset_less=True)
        with m.If(s3_taken):
            m.d.sync += s3_valid.eq(0)
        with m.If(issue):
            m.d.sync += [
                s3_valid.eq(1), s3_turn.eq(column - place.lane), s3_lane.eq(place.lane),
                s3_end.eq(place_end), s3_wrap.eq(place_end[-1]), column.eq(column_byte + 1),
            ]
            with m.If(column_last):
                m.d.sync += [column.eq(0), full.bit_select(read_buffer, 1).eq(0),
                             read_buffer.eq(~read_buffer)]

        # Stage 3: rotate. Stage 4: the output; both words of a run have the same rotated data.
        s3_from = Signal(lanes)
        s3_upto = Signal(lanes)
        s4_valid = Signal()
        s4_data = Signal(width, reset_less=True)
        s4_strobe = Signal(lanes, reset_less=True)
        s4_rest = Signal(lanes, reset_less=True)
        s4_first = Signal(reset_less=True)
        s4_last = Signal(reset_less=True)
        s4_taken = Signal()
        out = self.o.p
        m.d.comb += [
            s3_from.eq((ones << s3_lane)[:lanes]),
            s3_upto.eq(~((ones & ~1) << s3_end)[:lanes]),
            s4_taken.eq(self.o.ready & s4_last),
            s3_taken.eq(s3_valid & (~s4_valid | s4_taken)),
            self.o.valid.eq(s4_valid),
            out.data.eq(s4_data), out.strobe.eq(s4_strobe),
            out.first.eq(s4_first), out.last.eq(s4_last),
            self.busy.eq((s1_valid & s1.strip_end) | (s2_valid & s2.strip_end) | full.any()
                         | s3_valid | s4_valid),
        ]
        with m.If(s4_valid & self.o.ready):
            m.d.sync += [s4_valid.eq(~s4_last), s4_strobe.eq(s4_rest), s4_first.eq(0),
                         s4_last.eq(1)]
        with m.If(s3_taken):
            m.d.sync += [
                s4_valid.eq(1), s4_data.eq(turned(read_data, Cat(Const(0, 3), s3_turn))),
                s4_strobe.eq(s3_from & (s3_upto | s3_wrap.replicate(lanes))),
                s4_rest.eq(s3_upto), s4_first.eq(1), s4_last.eq(~s3_wrap),
            ]
        return m
