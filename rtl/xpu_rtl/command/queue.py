"""The in-order queue of one ring before one engine."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .beat_fifo import BeatFifo
from .formats import SLOT_BYTES
from .types import CommandBeat, SemaphoreView, command_layout
from .waits import HeaderWaits

__all__ = ["EngineQueue"]


class EngineQueue(wiring.Component):
    """Store commands beat by beat; assemble the oldest, wait for its semaphores and offer it.

    A command of fewer slots than the format has its bytes in place; the others are undefined.

    Parameters
    ----------
    config : XpuConfig
        ``engine_queue_slots`` slots are stored, besides the command assembled.
    fmt : Format
        Longest format of the commands.

    Members
    -------
    i : In(stream.Signature(CommandBeat(config)))
        Beats of whole slots; ``last`` ends a command.
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
    Throughput: one beat per cycle in; a command every ``slots * slot_beats + 2`` cycles out, more
    by what its waits take.
    Backpressure: full.
    Combinational paths: none.
    Reset: emptied.
    """

    latency = BeatFifo.LATENCY + 2

    def __init__(self, config: XpuConfig, fmt):
        self._config, self._fmt = config, fmt
        super().__init__({
            "i": In(stream.Signature(CommandBeat(config))),
            "o": Out(stream.Signature(command_layout(fmt))),
            "halt": In(1),
            "view": Out(SemaphoreView(config)),
            "waiting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, fmt = self._config, self._fmt
        beat_shape = CommandBeat(cfg)
        m.submodules.fifo = fifo = BeatFifo(width=beat_shape.size,
                                            depth=cfg.engine_queue_slots * cfg.slot_beats)
        m.submodules.waits = waits = HeaderWaits(cfg)
        wiring.connect(m, waits.view, wiring.flipped(self.view))

        arriving = Signal(beat_shape)
        slots = [Signal(8 * SLOT_BYTES, name=f"slot_{n}", reset_less=True)
                 for n in range(fmt.slots)]
        command = Signal(command_layout(fmt))
        beat, slot = Signal(range(cfg.slot_beats)), Signal(range(fmt.slots))
        full, offered = Signal(), Signal()
        m.d.comb += [
            fifo.i.valid.eq(self.i.valid), fifo.i.payload.eq(self.i.payload),
            self.i.ready.eq(fifo.i.ready),
            arriving.eq(fifo.o.payload), command.eq(Cat(slots)),
            fifo.o.ready.eq(~full),
            waits.enable.eq(full & ~offered), self.waiting.eq(waits.blocked),
            waits.wait0_semaphore.eq(command.wait0_semaphore),
            waits.wait0_value.eq(command.wait0_value),
            waits.wait1_semaphore.eq(command.wait1_semaphore),
            waits.wait1_value.eq(command.wait1_value),
            self.o.valid.eq(offered), self.o.payload.eq(command),
        ]
        with m.If(fifo.o.valid & ~full):
            for n, content in enumerate(slots):
                with m.If(slot == n):
                    m.d.sync += content.eq(Cat(content[cfg.bus_width:], arriving.data))
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == cfg.slot_beats - 1):
                m.d.sync += [slot.eq(slot + 1), full.eq(arriving.last)]
        with m.If(waits.satisfied & ~self.halt):
            m.d.sync += offered.eq(1)
        with m.If(offered & self.o.ready):
            m.d.sync += [offered.eq(0), full.eq(0), slot.eq(0)]
        return m
