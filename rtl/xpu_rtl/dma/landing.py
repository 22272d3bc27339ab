"""Bookkeeping of scratchpad writes: progress, completion, payload bytes."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.types import SemaphoreAdd
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .types import LandingTag

__all__ = ["LandingTracker"]


class LandingTracker(wiring.Component):
    """Turn write responses into semaphore adds and completed commands.

    Every write's tag waits for its response. A row whose last word has landed adds 1 to the
    command's progress semaphore. While the ``add`` stream is stalled, rows accumulate and leave as
    one larger add. A command completes when its last word has landed and its adds are accepted;
    until then the next command's rows wait (in the tag buffer, not on the scratchpad).

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(LandingTag(config)))
        Tags, in the order of the writes, each transferred no later than its write.
    landed : In(1)
        A write has been performed.
    add : Out(stream.Signature(SemaphoreAdd()))
        Progress.
    completed : Out(1)
        A command is complete; one pulse each.
    payload_bytes : Out(range(word_bytes + 1))
        Bytes landed in this cycle.
    idle : Out(1)
        Nothing is in flight, pending or being completed.

    Timing
    ------
    Latency: 2 cycles from ``landed`` to the row's add and (without progress semaphore) to
    ``completed`` (``LATENCY``).
    Throughput: one word per cycle; one command of a single word that adds per 2 cycles.
    Backpressure: full; ``DEPTH`` tags.
    Combinational paths: none.
    Reset: emptied.
    """

    DEPTH = 32
    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "i": In(stream.Signature(LandingTag(config))),
            "landed": In(1),
            "add": Out(stream.Signature(SemaphoreAdd())),
            "completed": Out(1),
            "payload_bytes": Out(range(config.word_bytes + 1)),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.tags = tags = StreamFifo(LandingTag(config), self.DEPTH)
        wiring.connect(m, wiring.flipped(self.i), tags.i)

        ready_tags = Signal(range(self.DEPTH + 1))      # landed, not yet retired
        retire = Signal()
        counted = Signal()
        closing = Signal()      # the last word has retired; its adds may be under way
        add_valid = Signal()
        add = Signal(SemaphoreAdd(), reset_less=True)
        pending = Signal(16)    # an add is accepted within some cycles, so it cannot overflow
        tag = tags.o.p
        m.d.comb += [
            self.completed.eq(closing & ~add_valid),
            retire.eq((ready_tags != 0) & (~closing | self.completed | ~tag.row_last)),
            tags.o.ready.eq(retire),
            counted.eq(retire & tag.row_last & (tag.semaphore != 0)),
            self.payload_bytes.eq(Mux(retire, tag.bytes, 0)),
            self.idle.eq((tags.level == 0) & ~closing & ~add_valid),
            self.add.valid.eq(add_valid), self.add.payload.eq(add),
        ]
        m.d.sync += ready_tags.eq(ready_tags + self.landed - retire)
        with m.If(retire & tag.command_last):
            m.d.sync += closing.eq(1)
        with m.Elif(self.completed):
            m.d.sync += closing.eq(0)

        # All that is pending belongs to `semaphore`: the next command waits in `closing`. Rows are
        # pending only while an add is offered.
        semaphore = Signal(8, reset_less=True)
        with m.If(counted):
            m.d.sync += semaphore.eq(tag.semaphore)
        with m.If(~add_valid | self.add.ready):
            m.d.sync += [
                add_valid.eq((pending != 0) | counted), pending.eq((pending != 0) & counted),
                add.semaphore.eq(Mux(pending != 0, semaphore, tag.semaphore)),
                add.amount.eq(Mux(pending != 0, pending, 1)),
            ]
        with m.Elif(counted):
            m.d.sync += pending.eq(pending + 1)
        return m
