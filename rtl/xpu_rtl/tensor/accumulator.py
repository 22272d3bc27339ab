"""The accumulator memories and the addition in front of them."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from ..prims.sram import Sram1R1W
from .array import DotArray, sum_width
from .types import AccumulatorPort, RowTag

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Add rows of sums to one of two accumulator memories, while the other is read out.

    ``memory[bank][address][n] = (0 if overwrite else memory[bank][address][n]) + sums[n]`` modulo
    2**acc_width.

    Parameters
    ----------
    config : XpuConfig
        Size of the memories.

    Members
    -------
    valid, tag : In(1), In(RowTag(config))
        A row enters the array in this cycle, and where its sums go. The same row of a memory must
        not enter again within the ``MIN_DISTANCE - 1`` cycles that follow.
    sums : In(signed(sum_width)).array(lanes)
        Sums of the row that entered ``DotArray.LATENCY`` cycles ago.
    computed : Out(1)
        The ``last`` row of a tile is written in this cycle; the tile can be read from the next on.
    port : In(AccumulatorPort(config))
        Read port for the epilogue. Must not name the memory whose sums are being computed. ``data``
        holds until the cycle after the next ``en``.

    Timing
    ------
    Latency: ``LATENCY`` = 5 cycles from ``valid`` to the write (``computed``).
    Throughput: one row per cycle, and one row read out per cycle.
    Backpressure: none.
    Combinational paths: ``port`` into the memories only.
    Reset: valid flags; memories are undefined until written.
    """

    LATENCY = DotArray.LATENCY + 1
    MIN_DISTANCE = 4

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "valid": In(1), "tag": In(RowTag(config)),
            "sums": In(signed(sum_width(config))).array(config.lanes),
            "computed": Out(1),
            "port": In(AccumulatorPort(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        lanes, width = config.lanes, config.acc_width
        rows = range(lanes)

        # Tags travel beside the array: stage 2 reads the old row, stage 5 writes the new one.
        valid, tag = [self.valid], [self.tag]
        for stage in range(1, self.LATENCY + 1):
            valid.append(Signal(name=f"s{stage}_valid"))
            tag.append(Signal(RowTag(config), name=f"s{stage}_tag", reset_less=True))
            m.d.sync += valid[stage].eq(valid[stage - 1])
            with m.If(valid[stage - 1]):
                m.d.sync += tag[stage].eq(tag[stage - 1])

        read = Signal()
        m.d.comb += read.eq(valid[2] & ~tag[2].overwrite)
        new = [Signal(width, name=f"s5_new_{n}", reset_less=True) for n in rows]
        data = []
        for bank in range(2):
            m.submodules[f"memory_{bank}"] = memory = Sram1R1W(
                depth=config.acc_rows, width=width * lanes)
            mine = Signal(name=f"read_{bank}")
            m.d.comb += [
                mine.eq(read & (tag[2].bank == bank)),
                memory.r_en.eq(mine | (self.port.en & (self.port.bank == bank))),
                memory.r_addr.eq(Mux(mine, tag[2].address, self.port.addr)),
                memory.w_en.eq(valid[5] & (tag[5].bank == bank)),
                memory.w_addr.eq(tag[5].address),
                memory.w_data.eq(Cat(new)),
            ]
            data.append(memory.r_data)

        # Stage 4: the old row, beside the sums. Stage 5: the new row.
        for n in rows:
            lane = slice(n * width, (n + 1) * width)
            old = Signal(width, name=f"s4_old_{n}", reset_less=True)
            with m.If(valid[3]):
                m.d.sync += old.eq(Mux(tag[3].overwrite, 0,
                                       Mux(tag[3].bank, data[1][lane], data[0][lane])))
            with m.If(valid[4]):
                m.d.sync += new[n].eq(old + self.sums[n])   # modulo 2**acc_width, as specified
        m.d.comb += self.computed.eq(valid[5] & tag[5].last)

        # The row read out is kept: its memory may be computing again before the next is asked for.
        fresh = Signal()
        port_bank = Signal(reset_less=True)
        kept = Signal(width * lanes, reset_less=True)
        m.d.sync += fresh.eq(self.port.en)
        with m.If(self.port.en):
            m.d.sync += port_bank.eq(self.port.bank)
        m.d.comb += self.port.data.eq(kept)
        with m.If(fresh):
            m.d.comb += self.port.data.eq(Mux(port_bank, data[1], data[0]))
            m.d.sync += kept.eq(self.port.data)
        return m
