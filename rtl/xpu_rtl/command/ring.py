"""A command ring: fetch, decode, completion and fault."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import Space
from ..common.axi import AxiReadPort
from ..params import XpuConfig
from .beat_fifo import BeatFifo
from .decode import Decoder
from .engines import engine_formats
from .fetch import RingFetcher
from .formats import Engine, FaultCause
from .types import CommandBeat, FaultReport, SemaphoreAdd, SemaphoreView
from .windows import RingWindows

__all__ = ["Ring"]


class Ring(wiring.Component):
    """Bring the commands of a ring to the engine queues and keep the ring's state.

    The first fault stops the ring; of several in one cycle that of the first engine. Engines are
    in the order of ``engine_formats``.

    Parameters
    ----------
    config : XpuConfig
        Bus width, depths, streams, semaphores.

    Members
    -------
    base, log2_slots, tail : In(58), In(5), In(16)
        Registers: first slot in units of 64 bytes, size, doorbell.
    windows : In(RingWindows())
        What the ring may use.
    stop : In(1)
        Begin nothing more, and report no fault (a reset is under way).
    bus : Out(AxiReadPort(config.bus_width))
        To fetch from GM.
    queue : Out(stream.Signature(CommandBeat(config))).array(engines)
        To the queues of the engines.
    view, signal : Out(SemaphoreView(config)), Out(stream.Signature(SemaphoreAdd()))
        Waits and signals of NOP.
    complete : In(engines)
        Per engine: a command of this ring is complete.
    failed, failed_index, failed_report : In(engines), In(32).array(engines), In(FaultReport())
        .array(engines)
        Per engine: a command of this ring has failed; its index and report.
    halt : Out(1)
        Issue nothing more: the ring has a fault or stops.
    active : Out(1)
        The doorbell is ahead of the decoder or a command is not complete, and there is no fault.
    quiet : Out(1)
        No bus transaction is outstanding.
    head, issued, completed : Out(16), Out(32), Out(32)
        Registers.
    fault, fault_engine, fault_index : Out(FaultReport()), Out(3), Out(32)
        Registers; ``fault.cause`` is 0 while the ring works. ``fault_engine`` is an ``Engine``.
    irq_completion, irq_fault : Out(1)
        Pulses.

    Timing
    ------
    Latency: ``RingFetcher.LATENCY`` plus 1 from the registers to ``bus.ar.valid`` if ``log2_slots``
    changes too; ``BeatFifo.LATENCY + Decoder.LATENCY`` from a beat to its queue.
    Throughput: one beat per cycle.
    Backpressure: full.
    Combinational paths: ``complete`` and ``failed`` to the pulses; none between streams.
    Reset: empty, no fault.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        self._engines = tuple(engine_formats(config))
        engines = len(self._engines)
        super().__init__({
            "base": In(58), "log2_slots": In(5), "tail": In(16), "stop": In(1),
            "windows": In(RingWindows()),
            "bus": Out(AxiReadPort(config.bus_width)),
            "queue": Out(stream.Signature(CommandBeat(config))).array(engines),
            "view": Out(SemaphoreView(config)), "signal": Out(stream.Signature(SemaphoreAdd())),
            "complete": In(engines),
            "failed": In(engines), "failed_index": In(32).array(engines),
            "failed_report": In(FaultReport()).array(engines),
            "halt": Out(1), "active": Out(1), "quiet": Out(1),
            "head": Out(16), "issued": Out(32), "completed": Out(32),
            "fault": Out(FaultReport()), "fault_engine": Out(3), "fault_index": Out(32),
            "irq_completion": Out(1), "irq_fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        m.submodules.fetcher = fetcher = RingFetcher(cfg)
        m.submodules.fifo = fifo = BeatFifo(width=cfg.bus_width + 2,
                                            depth=cfg.fetch_slots * cfg.slot_beats)
        m.submodules.decoder = decoder = Decoder(cfg)
        wiring.connect(m, fetcher.bus, wiring.flipped(self.bus))
        wiring.connect(m, fetcher.beats, fifo.i)
        wiring.connect(m, fifo.o, decoder.beats)
        wiring.connect(m, decoder.view, wiring.flipped(self.view))
        wiring.connect(m, decoder.signal, wiring.flipped(self.signal))
        for inner, outer in zip(decoder.queue, self.queue, strict=True):
            wiring.connect(m, inner, wiring.flipped(outer))

        mask = Signal(16)
        with m.Switch(self.log2_slots):
            for n in range(1, 17):
                with m.Case(n):
                    m.d.sync += mask.eq((1 << n) - 1)
            with m.Default():   # no size: nothing is ever ahead
                m.d.sync += mask.eq(0)
        faulted = Signal()
        m.d.comb += [
            faulted.eq(self.fault.cause != 0), self.halt.eq(faulted | self.stop),
            fetcher.base.eq(self.base), fetcher.mask.eq(mask), fetcher.tail.eq(self.tail),
            fetcher.windows.eq(self.windows), decoder.windows.eq(self.windows),
            fetcher.slot_done.eq(decoder.slot_done), fetcher.stop.eq(self.halt),
            self.quiet.eq(fetcher.quiet), decoder.halt.eq(self.halt),
            self.issued.eq(decoder.issued),
        ]

        # Progress and completion.
        engines = len(self._engines)
        outstanding = Signal(range(engines * (cfg.engine_queue_slots + 8)))
        finished = Signal(range(engines + 1))
        m.d.comb += [
            finished.eq(sum(self.complete[n] for n in range(engines))),
            decoder.drained.eq(outstanding == 0),
            self.active.eq(~faulted & ((((self.tail ^ self.head) & mask) != 0) | decoder.busy
                                       | (outstanding != 0))),
            self.irq_completion.eq(decoder.completed & decoder.interrupt),
        ]
        with m.If(decoder.queued | self.complete.any()):
            m.d.sync += outstanding.eq(outstanding + decoder.queued - finished)
        with m.If(decoder.slot_done):
            m.d.sync += self.head.eq((self.head + 1) & mask)
        with m.If(decoder.completed):
            m.d.sync += self.completed.eq(decoder.sequence)

        # Faults.
        fault = Signal(FaultReport(), reset_less=True)
        cause = Signal(4)
        m.d.comb += [self.fault.eq(fault), self.fault.cause.eq(cause)]
        slot = Signal(58)
        refused, fetching = Signal(), Signal()     # fault with a semaphore, with an address in GM
        m.d.comb += [
            slot.eq(self.base + self.head),
            refused.eq((decoder.fault_cause == FaultCause.PROTECTION)
                       & (decoder.fault_info != Space.GM)),
            fetching.eq((decoder.fault_cause == FaultCause.FETCH)
                        | ((decoder.fault_cause == FaultCause.PROTECTION) & ~refused)),
        ]
        with m.If(~self.halt):
            with m.If(self.failed.any()):
                m.d.comb += self.irq_fault.eq(1)
            with m.If(decoder.fault):
                m.d.comb += self.irq_fault.eq(1)
                m.d.sync += [
                    cause.eq(decoder.fault_cause), self.fault_engine.eq(Engine.CONTROL),
                    self.fault_index.eq(self.issued), fault.info.eq(decoder.fault_info),
                    fault.address.eq(0), fault.row.eq(0),
                ]
                with m.If(refused):
                    m.d.sync += fault.address.eq(decoder.fault_number)
                with m.If(fetching):
                    shift = cfg.bus_bytes.bit_length() - 1
                    m.d.sync += fault.address.eq(Cat(
                        Const(0, shift), decoder.fault_offset, slot))
            for n, engine in reversed(list(enumerate(self._engines))):
                with m.If(self.failed[n]):
                    m.d.sync += [
                        fault.eq(self.failed_report[n]), cause.eq(self.failed_report[n].cause),
                        self.fault_engine.eq(engine), self.fault_index.eq(self.failed_index[n]),
                    ]
        return m
