"""The in-order queue of one ring before one engine."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .beat_fifo import BeatFifo
from .formats import SLOT_BYTES
from .types import SemaphoreView, command_layout
from .waits import HeaderWaits

__all__ = ["EngineQueue"]


class EngineQueue(wiring.Component):
    """Store commands beat by beat; assemble the oldest, wait for its semaphores and offer it.

    Parameters
    ----------
    config : XpuConfig
        ``engine_queue_slots`` slots are stored, besides the command assembled.
    fmt : Format
        Format of the commands.

    Members
    -------
    i : In(stream.Signature(unsigned(config.bus_width)))
        Beats of whole commands.
    o : Out(stream.Signature(command_layout(fmt)))
        Commands whose header waits are over.
    halt : In(1)
        Offer no further command. One already offered stays.
    view : Out(SemaphoreView(config))
        For the header waits.
    waiting : Out(1)
        The command assembled waits for the semaphore in ``view``.

    Timing
    ------
    Latency: ``latency`` cycles from the last beat to ``o.valid`` if the queue is empty and there is
    no wait.
    Throughput: one beat per cycle in; a command every ``fmt.slots * slot_beats + 2`` cycles out,
    more by what its waits take.
    Backpressure: full.
    Combinational paths: none.
    Reset: emptied.
    """

    latency = BeatFifo.LATENCY + 2

    def __init__(self, config: XpuConfig, fmt):
        self._config, self._fmt = config, fmt
        super().__init__({
            "i": In(stream.Signature(unsigned(config.bus_width))),
            "o": Out(stream.Signature(command_layout(fmt))),
            "halt": In(1),
            "view": Out(SemaphoreView(config)),
            "waiting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, fmt = self._config, self._fmt
        beats = fmt.slots * SLOT_BYTES // cfg.bus_bytes
        m.submodules.fifo = fifo = BeatFifo(width=cfg.bus_width,
                                            depth=cfg.engine_queue_slots * cfg.slot_beats)
        m.submodules.waits = waits = HeaderWaits(cfg)
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        wiring.connect(m, waits.view, wiring.flipped(self.view))

        command = Signal(command_layout(fmt), reset_less=True)
        beat = Signal(range(beats))
        full, offered = Signal(), Signal()
        m.d.comb += [
            fifo.o.ready.eq(~full),
            waits.enable.eq(full & ~offered), self.waiting.eq(waits.blocked),
            waits.wait0_semaphore.eq(command.wait0_semaphore),
            waits.wait0_value.eq(command.wait0_value),
            waits.wait1_semaphore.eq(command.wait1_semaphore),
            waits.wait1_value.eq(command.wait1_value),
            self.o.valid.eq(offered), self.o.payload.eq(command),
        ]
        with m.If(fifo.o.valid & ~full):
            m.d.sync += command.eq(Cat(command.as_value()[cfg.bus_width:], fifo.o.payload))
            with m.If(beat == beats - 1):
                m.d.sync += [beat.eq(0), full.eq(1)]
            with m.Else():
                m.d.sync += beat.eq(beat + 1)
        with m.If(waits.satisfied & ~self.halt):
            m.d.sync += offered.eq(1)
        with m.If(offered & self.o.ready):
            m.d.sync += [offered.eq(0), full.eq(0)]
        return m
