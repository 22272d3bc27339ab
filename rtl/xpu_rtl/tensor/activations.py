"""Reads activation words ahead of the array."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.types import SemaphoreView
from ..common.fifo import StreamFifo
from ..common.interfaces import connect_stream
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .reader import WordReader
from .types import (
    SEQUENCE_WIDTH,
    ActivationPass,
    ActivationWord,
    FeedPass,
    offset_width,
    wide_address,
)

__all__ = ["ActivationReader"]


class ActivationReader(wiring.Component):
    """Read the pixels of one pass after the other, each as soon as its tile's wait is over.

    A pass is a rectangle of pixels, walked through row by row; for those that do not exist the word
    at ``base`` is read, and marked as zero. The wait of the next pass is looked at while the
    current one is read. An access before ``base``, or beyond the scratchpad or the ring's window,
    stops the reads until reset.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(ActivationPass(config)))
        Passes; ``PASSES`` are buffered.
    port : Out(ScratchpadPort(config))
        Reads.
    a_view : Out(SemaphoreView(config))
        The wait for activations.
    last_word : In(sm_addr_width)
        Last word of the ring's window.
    halt : In(1)
        Ask for nothing more.
    feed : Out(stream.Signature(FeedPass(config)))
        Passes being read, one for as many words of ``word`` as it has pixels.
    word : Out(stream.Signature(ActivationWord(config)))
        Pixels.
    begin : Out(1)
        Pulse: the first word of a command is asked for.
    got_last : Out(1)
        Pulse: the last word of a command has been read.
    busy : Out(1)
        Words are still to be asked for.
    waiting : Out(1)
        Waits for ``a_semaphore``.
    held_back : Out(1)
        The scratchpad holds a request back in this cycle.
    fault, fault_address, fault_sequence : Out(1), Out(wide_address), Out(SEQUENCE_WIDTH)
        An access left its bounds (sticky), at which word, and its command's
        number.
    protected : Out(1)
        It was in the scratchpad.

    Timing
    ------
    Latency: 4 cycles from ``i`` to the first request if it has to look at its wait
    (``REQUEST_LATENCY``); 1 cycle from a response to ``word``.
    Throughput: one word per cycle, also from row to row and from pass to pass.
    Backpressure: full.
    Combinational paths: ``port.req.ready`` and ``halt`` into state and ``begin`` only.
    Reset: empty.
    """

    PASSES = 4
    REQUEST_LATENCY = 4

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "i": In(stream.Signature(ActivationPass(config))),
            "port": Out(ScratchpadPort(config)),
            "a_view": Out(SemaphoreView(config)),
            "last_word": In(config.sm_addr_width), "halt": In(1),
            "feed": Out(stream.Signature(FeedPass(config))),
            "word": Out(stream.Signature(ActivationWord(config))),
            "begin": Out(1), "got_last": Out(1), "busy": Out(1), "waiting": Out(1),
            "held_back": Out(1),
            "fault": Out(1), "fault_address": Out(wide_address(config)),
            "fault_sequence": Out(SEQUENCE_WIDTH), "protected": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        far = signed(offset_width(config) + 1)
        entry = data.StructLayout({"job": ActivationPass(config), "address": far})
        m.submodules.passes = passes = StreamFifo(entry, self.PASSES)
        m.submodules.feeds = feeds = StreamFifo(FeedPass(config), 4)
        m.submodules.reader = reader = WordReader(config)
        m.d.comb += [
            passes.i.valid.eq(self.i.valid), self.i.ready.eq(passes.i.ready),
            passes.i.p.job.eq(self.i.payload),
            passes.i.p.address.eq(self.i.p.base + self.i.p.offset),
        ]
        connect_stream(m, feeds.o, wiring.flipped(self.feed))
        connect_stream(m, reader.o, wiring.flipped(self.word))
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        m.d.comb += [self.got_last.eq(reader.got_last), self.held_back.eq(reader.held_back)]

        # The pass being read. Three numbers walk through the pixels side by side: the word
        # address, its distance from the base, and what is left to the end of the window.
        head = passes.o.p.job
        active = Signal()
        job = Signal(ActivationPass(config), reset_less=True)
        row, column = (Signal.like(job.feed.rows, name=name, reset_less=True)
                       for name in ("row", "column"))
        row_end, ends, inside, beyond = Signal(), Signal(), Signal(), Signal()
        able, step = Signal(), Signal(far)
        m.d.comb += [
            row_end.eq(column + 1 == job.feed.columns),
            ends.eq(row_end & (row + 1 == job.feed.rows)),
            inside.eq((row >= job.row_begin) & (row < job.row_end)
                      & (column >= job.column_begin) & (column < job.column_end)),
            step.eq(Mux(row_end, job.row_pitch, job.column_pitch)),
        ]
        starts = {"address": passes.o.p.address, "distance": head.offset,
                  "room": self.last_word - passes.o.p.address}
        place = {}
        take = Signal()
        for name, start in starts.items():
            now, of_row, following = (Signal(far, name=f"{name}{what}", reset_less=True)
                                      for what in ("", "_of_row", "_next"))
            base = Mux(row_end, of_row, now)
            m.d.comb += following.eq(base - step if name == "room" else base + step)
            with m.If(reader.ask):
                m.d.sync += now.eq(following)
                with m.If(row_end):
                    m.d.sync += of_row.eq(following)
            with m.If(take):
                m.d.sync += [now.eq(start), of_row.eq(start)]
            place[name] = now
        sm_bits = config.sm_addr_width
        address = Signal(wide_address(config))
        m.d.comb += [
            able.eq(active & reader.ready & ~self.halt & ~self.fault),
            beyond.eq(inside & ((place["distance"] < 0) | (place["room"] < 0))),
            address.eq(Cat(place["address"][:sm_bits], place["address"][sm_bits:].any())),
            reader.ask.eq(able & ~beyond),
            reader.address.eq(Mux(inside, place["address"], job.base)),
            reader.zero.eq(~inside),
            reader.last.eq(job.last & ends),
            self.begin.eq(reader.ask & job.first & (row == 0) & (column == 0)),
        ]
        with m.If(able & beyond):
            m.d.sync += [self.fault.eq(1), self.fault_address.eq(address),
                         self.fault_sequence.eq(job.sequence),
                         self.protected.eq(~address[sm_bits])]
        with m.If(reader.ask):
            m.d.sync += column.eq(column + 1)
            with m.If(row_end):
                m.d.sync += [column.eq(0), row.eq(row + 1)]

        # The next pass: a semaphore is looked at for one cycle before its answer counts.
        looked, allowed = Signal(), Signal()
        m.d.comb += [
            self.a_view.semaphore.eq(head.semaphore),
            self.a_view.threshold.eq(head.threshold),
            allowed.eq(~head.feed.tile_first | (looked & self.a_view.reached)),
            take.eq(passes.o.valid & allowed & feeds.i.ready
                    & (~active | (reader.ask & ends))),
            passes.o.ready.eq(take),
            feeds.i.valid.eq(take),
            feeds.i.payload.eq(head.feed),
            self.busy.eq(active | passes.o.valid),
            self.waiting.eq(~active & passes.o.valid & ~allowed & looked),
        ]
        m.d.sync += looked.eq(passes.o.valid & ~take)
        with m.If(take):
            m.d.sync += [active.eq(1), job.eq(head), row.eq(0), column.eq(0)]
        with m.Elif(reader.ask & ends):
            m.d.sync += active.eq(0)
        return m
