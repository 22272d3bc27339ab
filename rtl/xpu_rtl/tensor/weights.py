"""Reads weights ahead and loads them into the array."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .array import OPERAND_WIDTH
from .reader import WordReader
from .types import SEQUENCE_WIDTH, FillPass, Kind, WeightPass, advance, retreat, wide_address

__all__ = ["WeightLoader"]


class WeightLoader(wiring.Component):
    """Fill the shadow block of the array with the weights of one pass after the other.

    For every pass: read its word of zero points if it has one, and keep it for the later passes of
    its block; read the words of its k rows and load them, 8-bit weights less the zero point of
    their column, 16-bit ones as bytes. Reads run ahead of the loads. An access beyond the
    scratchpad or the ring's window stops the reads until reset.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(WeightPass(config)))
        Passes; two are buffered.
    port : Out(ScratchpadPort(config))
        Reads.
    last_word : In(sm_addr_width)
        Last word of the ring's window.
    halt : In(1)
        Ask for nothing more.
    load, load_row, load_last, load_data : Out
        To ``DotArray``.
    full : Out(1)
        The shadow block holds the weights of a whole pass.
    swap : In(1)
        The shadow block is taken over at the end of this cycle; only if ``full``.
    got_last : Out(1)
        Pulse: the last weight of a command has been read.
    busy : Out(1)
        A pass or a word is still to be loaded.
    fault, fault_address, fault_sequence : Out(1), Out(wide_address), Out(SEQUENCE_WIDTH)
        An access left the scratchpad or the window (sticky), at which word, and its command's
        number.
    protected : Out(1)
        It was in the scratchpad.

    Timing
    ------
    Latency: 2 cycles from ``i`` to the first request (``REQUEST_LATENCY``), 1 more if that is for
    zero points; 3 cycles from the last
    response to ``full`` (``FULL_LATENCY``) if the shadow block is free.
    Throughput: one word per cycle; a pass of L words every L cycles.
    Backpressure: full.
    Combinational paths: ``swap`` to ``load``; ``port.req.ready`` and ``halt`` into state only.
    Reset: empty, shadow block free.
    """

    REQUEST_LATENCY = 2
    FULL_LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "i": In(stream.Signature(WeightPass(config))),
            "port": Out(ScratchpadPort(config)),
            "last_word": In(config.sm_addr_width), "halt": In(1),
            "load": Out(1), "load_row": Out(range(config.lanes)), "load_last": Out(1),
            "load_data": Out(signed(OPERAND_WIDTH)).array(config.lanes),
            "full": Out(1), "swap": In(1), "got_last": Out(1), "busy": Out(1),
            "fault": Out(1), "fault_address": Out(wide_address(config)),
            "fault_sequence": Out(SEQUENCE_WIDTH), "protected": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        sm_bits = config.sm_addr_width

        entry = data.StructLayout({"job": WeightPass(config), "room": wide_address(config)})
        m.submodules.passes = passes = StreamFifo(entry, 2)
        m.submodules.fills = fills = StreamFifo(FillPass(config), 4)
        m.submodules.reader = reader = WordReader(config)
        m.d.comb += [
            passes.i.valid.eq(self.i.valid), self.i.ready.eq(passes.i.ready),
            passes.i.p.job.eq(self.i.payload),
            passes.i.p.room.eq(retreat(m, "first_room", self.last_word, self.i.p.address)),
        ]
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        m.d.comb += self.got_last.eq(reader.got_last)

        # Requests: zero points, then rows.
        head = passes.o.p.job
        row = Signal(range(config.lanes))
        begun = Signal()                # the pass has been handed to the fill side
        zero_point_asked = Signal()
        row_address = Signal(wide_address(config), reset_less=True)
        row_room = Signal(wide_address(config), reset_less=True)
        room = Signal(wide_address(config))
        zero_point_looked = Signal()    # the answer below belongs to this pass
        zero_point_beyond = Signal(reset_less=True)
        wants_zero_point, last_row, beyond = Signal(), Signal(), Signal()
        address = Signal(wide_address(config))
        base = Signal(wide_address(config))
        # The second word of a 16-bit row follows the first; a row begins at its `row_start`.
        half, row_start, row_start_room = Signal(), Signal.like(base), Signal.like(room)
        kept_start = Signal.like(base, reset_less=True)
        kept_room = Signal.like(room, reset_less=True)
        to_half = Signal()
        step = Signal.like(head.pitch)
        m.d.comb += [
            half.eq((head.fill.kind != Kind.INT8) & row[0]),
            to_half.eq((head.fill.kind != Kind.INT8) & ~row[0]),
            row_start.eq(Mux(half, kept_start, base)),
            row_start_room.eq(Mux(half, kept_room, room)),
            step.eq(Mux(to_half, 1, head.pitch)),
        ]
        next_address = advance(m, "next_address", row_start, step)
        next_room = retreat(m, "next_room", row_start_room, step)
        zero_point_room = retreat(m, "zero_point_room", self.last_word, head.zero_point_address)
        m.d.sync += [zero_point_looked.eq(passes.o.valid & wants_zero_point),
                     zero_point_beyond.eq(zero_point_room[sm_bits])]
        m.d.comb += [
            wants_zero_point.eq(head.fill.zero_point_read & ~zero_point_asked),
            last_row.eq(row + 1 == head.fill.words),
            base.eq(Mux(row == 0, head.address, row_address)),
            address.eq(Mux(wants_zero_point, head.zero_point_address, base)),
            room.eq(Mux(row == 0, passes.o.p.room, row_room)),
            beyond.eq(Mux(wants_zero_point, zero_point_beyond, room[sm_bits])),
            fills.i.payload.eq(head.fill),
            reader.address.eq(address),
            reader.last.eq(head.last & last_row & ~wants_zero_point),
        ]
        able = Signal()
        m.d.comb += able.eq(passes.o.valid & reader.ready & (begun | fills.i.ready)
                            & (~wants_zero_point | zero_point_looked) & ~self.halt & ~self.fault)
        with m.If(able & beyond):
            m.d.sync += [self.fault.eq(1), self.fault_address.eq(address),
                         self.protected.eq(~address[sm_bits]),
                         self.fault_sequence.eq(head.sequence)]
        with m.Elif(able):
            m.d.comb += [reader.ask.eq(1), fills.i.valid.eq(~begun)]
            m.d.sync += begun.eq(1)
            with m.If(wants_zero_point):
                m.d.sync += zero_point_asked.eq(1)
            with m.Else():
                m.d.sync += [row.eq(row + 1), row_address.eq(next_address), row_room.eq(next_room),
                             kept_start.eq(base), kept_room.eq(room)]
                with m.If(last_row):
                    m.d.comb += passes.o.ready.eq(1)
                    m.d.sync += [row.eq(0), begun.eq(0), zero_point_asked.eq(0)]

        # Loads: words become zero points or operands.
        fill, word = fills.o.payload, reader.o.p.data
        filled = Signal(range(config.lanes))
        zero_point_held = Signal()
        stores, loads = Signal(), Signal()
        available = Signal()
        m.d.comb += [
            available.eq(fills.o.valid & reader.o.valid),
            stores.eq(available & fill.zero_point_read & ~zero_point_held),
            loads.eq(available & (~fill.zero_point_read | zero_point_held)
                     & (~self.full | self.swap)),
            reader.o.ready.eq(stores | loads),
            self.load.eq(loads),
            self.load_row.eq(filled),
            self.load_last.eq(filled + 1 == fill.words),
            fills.o.ready.eq(loads & self.load_last),
            self.busy.eq(passes.o.valid | fills.o.valid),
        ]
        with m.If(stores):
            m.d.sync += zero_point_held.eq(1)
        with m.If(self.swap):
            m.d.sync += self.full.eq(0)
        with m.If(loads):
            m.d.sync += filled.eq(filled + 1)
            with m.If(self.load_last):
                m.d.sync += [filled.eq(0), zero_point_held.eq(0), self.full.eq(1)]

        # Zero points of the tile's blocks.
        m.submodules.zero_points = memory = Memory(
            shape=unsigned(config.word_width), depth=config.tile_blocks, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [write.en.eq(stores), write.addr.eq(fill.block), write.data.eq(word),
                     read.addr.eq(fill.block)]

        def operand(byte):
            return Cat(byte, byte[7] & fill.b_signed).as_signed()

        zero_points = Signal(config.word_width)
        m.d.comb += zero_points.eq(read.data)
        for n in range(config.lanes):
            byte = slice(8 * n, 8 * n + 8)
            zero_point = Signal(signed(OPERAND_WIDTH), name=f"zero_point_{n}")
            m.d.comb += [
                zero_point.eq(Mux(fill.zero_point_vector, operand(zero_points[byte]),
                                  fill.zero_point)),
                # Exact: both are of B's type, so the difference has 9 bits.
                self.load_data[n].eq(Mux(fill.kind == Kind.INT8,
                                         operand(word[byte]) - zero_point, word[byte])),
            ]
        return m
