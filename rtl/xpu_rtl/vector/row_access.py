"""Vector loads and stores of consecutive elements in LM and SM, row by row."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..address_map import CORE_SM_LSB
from ..common.fifo import StreamFifo
from ..float.bits import named
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from ..simd.types import LocalPort
from .types import RowWrite, VectorRequest, VectorShape

__all__ = ["RowLoads", "RowStores"]


class _Extent:
    """Which rows, and which words of memory, an instruction covers; all words are as wide as rows.

    Row 0 begins at ``offset`` bytes in word 0, whose number is ``word``."""

    def __init__(self, m, config, request, number_bits):
        shape = VectorShape(config)
        last_byte = named(m, "last_byte", number_bits + shape.byte_shift,
                          (request.vl << request.width) - 1)
        self.none = named(m, "none", 1, request.vstart >= request.vl)
        self.offset = request.scalar[:shape.byte_shift]
        self.word = request.scalar[shape.byte_shift:CORE_SM_LSB]
        self.first = named(m, "first", number_bits,
                           (request.vstart << request.width) >> shape.byte_shift)
        self.last_row = named(m, "last_row", number_bits, last_byte >> shape.byte_shift)
        self.last_word = named(m, "last_word", number_bits,
                               (last_byte + self.offset) >> shape.byte_shift)


class RowLoads(wiring.Component):
    """Words of LM or SM, shifted into place, become rows of registers.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    start, request, done : In(1), In(VectorRequest(config)), Out(1)
        Begin; the instruction, which stays; its end.
    number, strobe : Out(range), In(simd_width // 8)
        Row of the group being written, and its active bytes.
    write : Out(stream.Signature(RowWrite(config)))
        Rows.
    local, sm : Out(LocalPort(config)), Out(ScratchpadPort(config))
        Memories.

    Timing
    ------
    Latency: 3 cycles from ``start`` to the first row from LM. Throughput: a word of LM or of SM per
    cycle, with ``DEPTH`` rows under way. Backpressure: full on ``write``.
    Combinational paths: ``strobe`` to ``write.p.strobe``. Reset: idle.
    """

    DEPTH = 8

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        self._number = shape.row_shift + 5
        super().__init__({
            "start": In(1), "request": In(VectorRequest(config)), "done": Out(1),
            "number": Out(self._number), "strobe": In(shape.bytes),
            "write": Out(stream.Signature(RowWrite(config))), "local": Out(LocalPort(config)),
            "sm": Out(ScratchpadPort(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, shape, request = self._config, self._shape, self.request
        m.submodules.words = words = StreamFifo(unsigned(shape.width), self.DEPTH)
        extent = _Extent(m, config, request, self._number)
        parts = shape.width // config.word_width        # words of SM in one of ours

        # Ask.
        asking, ask = Signal(), Signal(self._number)
        part = Signal(range(max(2, parts)))
        room = Signal(range(self.DEPTH + 1), init=self.DEPTH)
        word = named(m, "word", CORE_SM_LSB, extent.word + ask)
        last_part = named(m, "last_part", 1, ~request.shared | (part == parts - 1))
        begins_word = room != 0
        asked = named(m, "asked", 1, Mux(request.shared, self.sm.req.valid & self.sm.req.ready,
                                         self.local.req.valid & self.local.req.ready))
        m.d.comb += [
            self.local.req.valid.eq(asking & begins_word & ~request.shared),
            self.local.req.p.address.eq(word),
            self.sm.req.valid.eq(asking & (begins_word | (part != 0)) & request.shared),
            self.sm.req.p.address.eq(Cat(part[:ceil_log2(parts)], word) if parts > 1 else word),
        ]
        with m.If(self.start & ~extent.none):
            m.d.sync += [asking.eq(1), ask.eq(extent.first), part.eq(0)]
        with m.Elif(asked):
            m.d.sync += part.eq(part + 1)
            with m.If(last_part):
                m.d.sync += [ask.eq(ask + 1), part.eq(0)]
                with m.If(ask == extent.last_word):
                    m.d.sync += asking.eq(0)
        taken, popped = asked & Mux(request.shared, part == 0, 1), Signal()
        m.d.comb += popped.eq(words.o.valid & words.o.ready)
        m.d.sync += room.eq(room - taken + popped)

        # Collect.
        from_local = Signal()
        m.d.sync += from_local.eq(self.local.req.valid & self.local.req.ready)
        collected, have = Signal(shape.width, reset_less=True), Signal(range(max(2, parts)))
        whole = Cat(collected[config.word_width:], self.sm.rsp.payload)
        with m.If(self.sm.rsp.valid & request.shared):
            m.d.sync += [collected.eq(whole), have.eq(Mux(have == parts - 1, 0, have + 1))]
        m.d.comb += [
            words.i.valid.eq(from_local | (self.sm.rsp.valid & request.shared
                                           & (have == parts - 1))),
            words.i.payload.eq(Mux(from_local, self.local.data, whole)),
        ]

        # Write.
        writing, row = Signal(), Signal(self._number)
        before, have_before = Signal(shape.width, reset_less=True), Signal()
        aligned = extent.offset == 0
        final = row == extent.last_word     # no further word
        low = named(m, "low", shape.width, Mux(aligned, words.o.payload, before))
        moved = named(m, "moved", shape.width,
                      Cat(low, words.o.payload) >> (extent.offset << 3))
        m.d.comb += [
            self.number.eq(row),
            self.write.valid.eq(writing & Mux(aligned, words.o.valid,
                                              have_before & (final | words.o.valid))),
            self.write.p.row.eq((request.vd << shape.row_shift) + row),
            self.write.p.strobe.eq(self.strobe), self.write.p.data.eq(moved),
            self.write.p.tag.eq(request.tag),
        ]
        written = self.write.valid & self.write.ready
        m.d.comb += words.o.ready.eq(writing & Mux(
            aligned, written, ~have_before | (written & ~final)))
        with m.If(popped):
            m.d.sync += [before.eq(words.o.payload), have_before.eq(1)]
        with m.If(written):
            m.d.sync += row.eq(row + 1)
        with m.If(self.start):
            m.d.sync += [writing.eq(~extent.none), row.eq(extent.first), have_before.eq(0)]
        with m.Elif(written & (row == extent.last_row)):
            m.d.sync += writing.eq(0)
        m.d.comb += self.done.eq((self.start & extent.none)
                                 | (written & (row == extent.last_row)))
        return m


class RowStores(wiring.Component):
    """Rows of registers, shifted into place, become words of LM or SM.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    start, request, done : In(1), In(VectorRequest(config)), Out(1)
        Begin; the instruction, which stays; its end: all is written.
    row, data, wait : Out(row_bits), In(simd_width), In(1)
        Row to read, and whether it is not there yet.
    number, strobe : Out(range), In(simd_width // 8)
        Its number in the group, and its active bytes.
    local, sm : Out(LocalPort(config)), Out(ScratchpadPort(config))
        Memories.

    Timing
    ------
    Latency: 2 cycles from ``start`` to the first access. Throughput: a word of LM or of SM per
    cycle. Backpressure: full. Combinational paths: none. Reset: idle.
    """

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        self._number = shape.row_shift + 5
        super().__init__({
            "start": In(1), "request": In(VectorRequest(config)), "done": Out(1),
            "row": Out(shape.row_bits), "data": In(shape.width), "wait": In(1),
            "number": Out(self._number), "strobe": In(shape.bytes),
            "local": Out(LocalPort(config)), "sm": Out(ScratchpadPort(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, shape, request = self._config, self._shape, self.request
        extent = _Extent(m, config, request, self._number)
        parts = shape.width // config.word_width

        # Read rows; the last word may hold nothing but the rest of the last row.
        reading, row = Signal(), Signal(self._number)
        here, last, number = Signal(), Signal(), Signal(self._number)
        data, before = (Signal(shape.width, name=name, reset_less=True)
                        for name in ("data_now", "data_before"))
        strobe, strobe_before = (Signal(shape.bytes, name=name) for name in (
            "strobe_now", "strobe_before"))
        leaves = Signal()
        beyond = row > extent.last_row
        reads = named(m, "reads", 1, reading & (beyond | ~self.wait) & (~here | leaves))
        m.d.comb += [self.row.eq((request.vd << shape.row_shift) + row), self.number.eq(row)]
        with m.If(reads):
            m.d.sync += [
                data.eq(self.data), strobe.eq(Mux(beyond, 0, self.strobe)), before.eq(data),
                strobe_before.eq(strobe), number.eq(row), here.eq(1),
                last.eq(row == extent.last_word), row.eq(row + 1),
            ]
            with m.If(row == extent.last_word):
                m.d.sync += reading.eq(0)
        with m.Elif(leaves):
            m.d.sync += here.eq(0)
        with m.If(self.start & ~extent.none):
            m.d.sync += [reading.eq(1), row.eq(extent.first), strobe.eq(0)]

        # Write words.
        part = Signal(range(max(2, parts)))
        outstanding = Signal(8)
        word = named(m, "word", CORE_SM_LSB, extent.word + number)
        shifted = named(m, "shifted", shape.width, (Cat(before, data) << (extent.offset << 3))
                        [shape.width:2 * shape.width])
        strobes = named(m, "strobes", shape.bytes, (Cat(strobe_before, strobe) << extent.offset)
                        [shape.bytes:2 * shape.bytes])
        last_part = named(m, "last_part", 1, part == parts - 1)
        sm_goes = named(m, "sm_goes", 1, self.sm.req.valid & self.sm.req.ready)
        m.d.comb += [
            self.local.req.valid.eq(here & ~request.shared), self.local.req.p.address.eq(word),
            self.local.req.p.write.eq(1), self.local.req.p.data.eq(shifted),
            self.local.req.p.strobe.eq(strobes),
            self.sm.req.valid.eq(here & request.shared & ~outstanding[-1]),
            self.sm.req.p.address.eq(Cat(part[:ceil_log2(parts)], word) if parts > 1 else word),
            self.sm.req.p.write.eq(1),
            self.sm.req.p.data.eq(shifted.word_select(part[:max(1, ceil_log2(parts))],
                                                      config.word_width)
                                  if parts > 1 else shifted),
            self.sm.req.p.strobe.eq(strobes.word_select(part[:max(1, ceil_log2(parts))],
                                                        config.word_bytes)
                                    if parts > 1 else strobes),
            leaves.eq(Mux(request.shared, sm_goes & last_part,
                          self.local.req.valid & self.local.req.ready)),
        ]
        with m.If(sm_goes):
            m.d.sync += part.eq(Mux(last_part, 0, part + 1))
        m.d.sync += outstanding.eq(outstanding + sm_goes
                                   - (self.sm.rsp.valid & (outstanding != 0)))
        finishing = Signal()
        with m.If(leaves & last):
            m.d.sync += finishing.eq(1)
        with m.Elif(self.done):
            m.d.sync += finishing.eq(0)
        m.d.comb += self.done.eq((self.start & extent.none)
                                 | (finishing & (outstanding == 0)))
        return m
