"""The accumulator memories and the addition in front of them."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..float.add import FloatAdd
from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from ..prims.sram import Sram1R1W
from .array import DotArray, sum_names, sum_width, wide_sum_width
from .types import AccumulatorPort, Kind, RowTag

__all__ = ["Accumulator"]

_LOW = 32       #: bits of a lane in the low memory: INT8 and floating-point sums whole


class Accumulator(wiring.Component):
    """Add words of sums to one of two accumulator memories, while the other is read out.

    ``memory[bank][address][n] = (0 if overwrite else memory[bank][address][n]) + sums[n]``: INT8
    modulo 2**32, INT16 modulo 2**48, FP16 and BF16 in FP32 (``FloatAdd``). The upper 16 bits of the
    lanes are a memory of their own, which only INT16 touches.

    Parameters
    ----------
    config : XpuConfig
        Size of the memories, and which kinds there are.

    Members
    -------
    valid, tag : In(1), In(RowTag(config))
        A word enters the array in this cycle, and where its sums go. The same row of a memory must
        not enter again within the ``MIN_DISTANCE - 1`` cycles that follow (``FLOAT_MIN_DISTANCE``
        for FP16 and BF16), nor a word of another kind while ``busy``.
    sums, wide_sums, floats : In.array(lanes)
        As ``DotArray`` delivers them.
    computed : Out(1)
        The ``last`` row of a tile is written in this cycle; the tile can be read from the next on.
    busy : Out(1)
        A word is inside: from the cycle after ``valid`` until that of its write.
    port : In(AccumulatorPort(config))
        Read port for the epilogue. Must not name the memory whose sums are being computed. ``data``
        holds until the cycle after the next ``en``.

    Timing
    ------
    Latency: from ``valid`` to the write (``computed``) ``LATENCY`` = 5 cycles for integers,
    ``FLOAT_LATENCY`` for the others.
    Throughput: one row per cycle, and one row read out per cycle.
    Backpressure: none.
    Combinational paths: ``port`` into the memories only.
    Reset: valid flags; memories are undefined until written.
    """

    LATENCY = DotArray.LATENCY + 1
    FLOAT_LATENCY = DotArray.FLOAT_LATENCY + FloatAdd.LATENCY
    # The old row is read two cycles before it is added, and can be read after its write.
    MIN_DISTANCE = 1 + 3
    FLOAT_MIN_DISTANCE = FloatAdd.LATENCY + 3

    def __init__(self, config: XpuConfig):
        self._config = config
        shapes = {"sums": signed(sum_width(config)), "wide_sums": signed(wide_sum_width(config)),
                  "floats": 32}
        super().__init__({
            "valid": In(1), "tag": In(RowTag(config)),
            **{name: In(shapes[name]).array(config.lanes) for name in sum_names(config)},
            "computed": Out(1), "busy": Out(1),
            "port": In(AccumulatorPort(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        lanes = config.lanes

        # Tags travel beside the array, in a pipe for integers and one for the others.
        kinds = self.tag.kind
        floating = Signal()
        m.d.comb += floating.eq((kinds == Kind.FP16) | (kinds == Kind.BF16))
        pipes = {}
        if config.has_int8 or config.has_int16:
            pipes["int"] = self._pipe(m, "int", self.valid & ~floating, self.LATENCY)
        if config.has_float:
            pipes["float"] = self._pipe(m, "float", self.valid & floating, self.FLOAT_LATENCY)
        m.d.comb += self.busy.eq(Cat(valid[1:] for valid, _ in pipes.values()).any())

        # One pipe is used at a time. It reads the old row two cycles before the addition.
        read, read_tag, write = Signal(), Signal(RowTag(config)), Signal()
        write_tag, wide_read = Signal(RowTag(config)), Signal()
        adds = {"int": self.LATENCY - 1, "float": self.FLOAT_LATENCY - FloatAdd.LATENCY}
        for name, (valid, tag) in pipes.items():
            with m.If(valid[adds[name] - 2]):
                m.d.comb += [read_tag.eq(tag[adds[name] - 2]), read.eq(~read_tag.overwrite)]
            with m.If(valid[-1]):
                m.d.comb += [write.eq(1), write_tag.eq(tag[-1])]
        m.d.comb += [wide_read.eq(read & (read_tag.kind == Kind.INT16)),
                     self.computed.eq(write & write_tag.last)]

        new = [Signal(config.acc_width, name=f"new_{n}") for n in range(lanes)]
        parts = [(0, _LOW, read, write, self.port.en)]
        if config.acc_width > _LOW:
            parts.append((_LOW, config.acc_width, wide_read,
                          write & (write_tag.kind == Kind.INT16), self.port.en & self.port.wide))
        old = [[] for _ in range(lanes)]    # by lane: the row read last, low part first
        port_old = [[] for _ in range(lanes)]
        old_bank, port_bank = Signal(reset_less=True), Signal(reset_less=True)
        with m.If(read):
            m.d.sync += old_bank.eq(read_tag.bank)
        with m.If(self.port.en):
            m.d.sync += port_bank.eq(self.port.bank)
        for low, high, reads, writes, port_reads in parts:
            bits, data = high - low, []
            for bank in range(2):
                memory = Sram1R1W(depth=config.acc_rows, width=bits * lanes)
                m.submodules[f"memory_{bank}" + "_high" * (low > 0)] = memory
                mine = Signal(name=f"read_{bank}_{low}")
                m.d.comb += [
                    mine.eq(reads & (read_tag.bank == bank)),
                    memory.r_en.eq(mine | (port_reads & (self.port.bank == bank))),
                    memory.r_addr.eq(Mux(mine, read_tag.address, self.port.addr)),
                    memory.w_en.eq(writes & (write_tag.bank == bank)),
                    memory.w_addr.eq(write_tag.address),
                    memory.w_data.eq(Cat(value[low:high] for value in new)),
                ]
                data.append(memory.r_data)
            for n in range(lanes):
                lane = slice(n * bits, (n + 1) * bits)
                old[n].append(Mux(old_bank, data[1][lane], data[0][lane]))
                port_old[n].append(Mux(port_bank, data[1][lane], data[0][lane]))

        for name, (valid, tag) in pipes.items():
            if name == "int":
                values = self._integers(m, valid, tag, adds[name], old)
            else:
                values = self._floats(m, platform, valid, tag, adds[name], old)
            for n in range(lanes):
                with m.If(valid[-1]):
                    m.d.comb += new[n].eq(values[n])
        self._read_out(m, port_old)
        return m

    def _pipe(self, m, name, valid, stages):
        """``(valid, tag)`` of a word by stage."""
        valids, tags = [valid], [self.tag]
        for stage in range(1, stages + 1):
            valids.append(Signal(name=f"{name}{stage}_valid"))
            tags.append(Signal(RowTag(self._config), name=f"{name}{stage}_tag", reset_less=True))
            m.d.sync += valids[stage].eq(valids[stage - 1])
            with m.If(valids[stage - 1]):
                m.d.sync += tags[stage].eq(tags[stage - 1])
        return valids, tags

    def _integers(self, m, valid, tag, stage, old):
        """The old row, beside the sums; then the new one. Modulo the width, as specified."""
        config, values = self._config, []
        wide = tag[stage].kind == Kind.INT16
        for n in range(config.lanes):
            kept = Signal(config.acc_width, name=f"old_{n}", reset_less=True)
            new = Signal(config.acc_width, name=f"sum_{n}", reset_less=True)
            low, *high = old[n]
            with m.If(valid[stage - 1]):
                overwrite = tag[stage - 1].overwrite
                m.d.sync += kept[:_LOW].eq(Mux(overwrite, 0, low))
                if high:
                    with m.If(tag[stage - 1].kind == Kind.INT16):
                        m.d.sync += kept[_LOW:].eq(Mux(overwrite, 0, high[0]))
            with m.If(valid[stage]):
                if config.has_int16:
                    with m.If(wide):
                        m.d.sync += new.eq(kept + self.wide_sums[n])
                if config.has_int8:
                    with m.If(~wide):
                        m.d.sync += new[:_LOW].eq(kept[:_LOW] + self.sums[n])
            values.append(new)
        return values

    def _floats(self, m, platform, valid, tag, stage, old):
        adder = FloatAdd(self._config.lanes)
        kept = Signal(32 * self._config.lanes, reset_less=True)
        with m.If(valid[stage - 1]):
            m.d.sync += kept.eq(Mux(tag[stage - 1].overwrite, 0, Cat(low for low, *_ in old)))
        m.d.comb += [adder.i.valid.eq(valid[stage]), adder.i.p.a.eq(kept),
                     adder.i.p.b.eq(Cat(self.floats[n] for n in range(self._config.lanes)))]
        add_gated(m, platform, "adder", adder, awake=valid[stage - 1] | valid[stage] | adder.busy)
        return [adder.o.p[n] for n in range(self._config.lanes)]

    def _read_out(self, m, rows):
        """The row read out is kept: its memory may be computing again before the next one."""
        config, port = self._config, self.port
        for part, (low, high) in enumerate(((0, _LOW), (_LOW, config.acc_width))):
            if low == high:
                continue
            bits = high - low
            row = Signal(bits * config.lanes, name=f"row_{low}")
            kept = Signal(bits * config.lanes, name=f"kept_{low}", reset_less=True)
            fresh = Signal(name=f"fresh_{low}")
            m.d.sync += fresh.eq(port.en & port.wide if low else port.en)
            m.d.comb += row.eq(kept)
            with m.If(fresh):
                m.d.comb += row.eq(Cat(lane[part] for lane in rows))
                m.d.sync += kept.eq(row)
            m.d.comb += [port.data[n * config.acc_width + low:n * config.acc_width + high].eq(
                row[n * bits:(n + 1) * bits]) for n in range(config.lanes)]
