"""Reads activation rows ahead of the array."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.types import SemaphoreView
from ..common.fifo import StreamFifo
from ..common.interfaces import connect_stream
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .reader import WordReader
from .types import SEQUENCE_WIDTH, ActivationPass, FeedPass, advance, retreat, wide_address

__all__ = ["ActivationReader"]


class ActivationReader(wiring.Component):
    """Read the rows of one pass after the other, each as soon as its tile's wait is over.

    The wait of the next pass is looked at while the current one is read. An access beyond the
    scratchpad or the ring's window stops the reads until reset.

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
        Passes being read, one for as many words of ``word`` as it has rows.
    word : Out(stream.Signature(unsigned(word_width)))
        Rows.
    begin : Out(1)
        Pulse: the first row of a command is asked for.
    got_last : Out(1)
        Pulse: the last row of a command has been read.
    busy : Out(1)
        Rows are still to be asked for.
    waiting : Out(1)
        Waits for ``a_semaphore``.
    held_back : Out(1)
        The scratchpad holds a request back in this cycle.
    fault, fault_address, fault_sequence : Out(1), Out(wide_address), Out(SEQUENCE_WIDTH)
        An access left the scratchpad or the window (sticky), at which word, and its command's
        number.
    protected : Out(1)
        It was in the scratchpad.

    Timing
    ------
    Latency: 4 cycles from ``i`` to the first request if it has to look at its wait
    (``REQUEST_LATENCY``); 1 cycle from a response to ``word``.
    Throughput: one row per cycle, also from pass to pass.
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
            "word": Out(stream.Signature(unsigned(config.word_width))),
            "begin": Out(1), "got_last": Out(1), "busy": Out(1), "waiting": Out(1),
            "held_back": Out(1),
            "fault": Out(1), "fault_address": Out(wide_address(config)),
            "fault_sequence": Out(SEQUENCE_WIDTH), "protected": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        entry = data.StructLayout({"job": ActivationPass(config), "room": wide_address(config)})
        m.submodules.passes = passes = StreamFifo(entry, self.PASSES)
        m.submodules.feeds = feeds = StreamFifo(FeedPass(config), 4)
        m.submodules.reader = reader = WordReader(config)
        m.d.comb += [
            passes.i.valid.eq(self.i.valid), self.i.ready.eq(passes.i.ready),
            passes.i.p.job.eq(self.i.payload),
            passes.i.p.room.eq(retreat(m, "first_room", self.last_word, self.i.p.address)),
        ]
        connect_stream(m, feeds.o, wiring.flipped(self.feed))
        connect_stream(m, reader.o, wiring.flipped(self.word))
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        m.d.comb += [self.got_last.eq(reader.got_last), self.held_back.eq(reader.held_back)]

        # The pass being read.
        active = Signal()
        rows_left = Signal(range(config.acc_rows + 1), reset_less=True)
        address = Signal(wide_address(config), reset_less=True)
        pitch = Signal(wide_address(config), reset_less=True)
        room = Signal(wide_address(config), reset_less=True)
        first, last = Signal(reset_less=True), Signal(reset_less=True)
        sequence = Signal(SEQUENCE_WIDTH, reset_less=True)
        next_address = advance(m, "next_address", address, pitch)
        next_room = retreat(m, "next_room", room, pitch)
        able, beyond, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            able.eq(active & reader.ready & ~self.halt & ~self.fault),
            beyond.eq(room[config.sm_addr_width]),
            ends.eq(rows_left == 1),
            reader.ask.eq(able & ~beyond),
            reader.address.eq(address),
            reader.last.eq(last & ends),
            self.begin.eq(reader.ask & first),
        ]
        with m.If(able & beyond):
            m.d.sync += [self.fault.eq(1), self.fault_address.eq(address),
                         self.fault_sequence.eq(sequence),
                         self.protected.eq(~address[config.sm_addr_width])]
        with m.If(reader.ask):
            m.d.sync += [address.eq(next_address), room.eq(next_room),
                         rows_left.eq(rows_left - 1), first.eq(0)]

        # The next pass: a semaphore is looked at for one cycle before its answer counts.
        head = passes.o.p.job
        looked, allowed, take = Signal(), Signal(), Signal()
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
            m.d.sync += [
                active.eq(1), rows_left.eq(head.feed.rows), address.eq(head.address),
                pitch.eq(head.pitch), room.eq(passes.o.p.room), first.eq(head.first),
                last.eq(head.last), sequence.eq(head.sequence),
            ]
        with m.Elif(reader.ask & ends):
            m.d.sync += active.eq(0)
        return m
