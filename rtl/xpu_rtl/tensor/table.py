"""Tables of 256 bytes, one lookup per lane."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from ..prims.sram import Sram1R1W
from .parameters import table_words

__all__ = ["ByteTable"]


class ByteTable(wiring.Component):
    """Replace every byte of a group by the entry of a table that it names.

    There are two tables, so that one can be written while the other is in use; every lane has its
    own copy of both.

    Parameters
    ----------
    config : XpuConfig
        ``epilogue_lanes`` lanes; a table comes in words.

    Members
    -------
    w_en, w_half, w_row, w_data : In
        Write a word of a table.
    valid, half, bytes : In(1), In(1), In(ArrayLayout(unsigned(8), epilogue_lanes))
        A group to look up, and in which table.
    o_valid, o_bytes : Out(1), Out(ArrayLayout(unsigned(8), epilogue_lanes))
        Entries.

    Timing
    ------
    Latency: 1 cycle from ``valid`` to ``o_valid`` (``LATENCY``).
    Throughput: one group per cycle. Backpressure: none. Combinational paths: none.
    Reset: valid flag; the tables are undefined until written.
    """

    LATENCY = 1

    def __init__(self, config: XpuConfig):
        self._config = config
        group = data.ArrayLayout(unsigned(8), config.epilogue_lanes)
        super().__init__({
            "w_en": In(1), "w_half": In(1), "w_row": In(range(table_words(config))),
            "w_data": In(config.word_width),
            "valid": In(1), "half": In(1), "bytes": In(group), "o_valid": Out(1),
            "o_bytes": Out(group),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        low = config.word_shift     # bits that choose a byte of a word
        m.d.sync += self.o_valid.eq(self.valid)
        for n in range(config.epilogue_lanes):
            m.submodules[f"copy_{n}"] = copy = Sram1R1W(
                depth=2 * table_words(config), width=config.word_width)
            byte = Signal(low, name=f"byte_{n}", reset_less=True)
            m.d.comb += [
                copy.w_en.eq(self.w_en), copy.w_addr.eq(Cat(self.w_row, self.w_half)),
                copy.w_data.eq(self.w_data),
                copy.r_en.eq(self.valid), copy.r_addr.eq(Cat(self.bytes[n][low:], self.half)),
                self.o_bytes[n].eq(copy.r_data.word_select(byte, 8)),
            ]
            with m.If(self.valid):
                m.d.sync += byte.eq(self.bytes[n])
        return m
