"""The end of a DMA stream that writes the scratchpad."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.types import FaultReport, SemaphoreAdd
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .align import count_ones
from .landing import LandingTracker
from .stages import DestinationRun
from .types import AlignedWord

__all__ = ["SmSink"]


class SmSink(wiring.Component):
    """Write the words of each run to consecutive scratchpad words, and report what has landed.

    A row has landed when the scratchpad has answered the last write of its ``row_last`` run; then 1
    is added to the run's semaphore. A command is complete when its last row has landed and all its
    adds are accepted.

    A run is looked at when its first word is offered. A run with ``fault`` raises ``failed``:
    neither it nor anything later is taken; what has been taken lands.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    run : In(stream.Signature(DestinationRun(config)))
        Runs; transferred with their last word. ``beats``, ``direct`` and ``ring`` are not used.
    run_fault : In(FaultReport())
        Meaning of the run with ``fault``, while that is offered.
    i : In(stream.Signature(AlignedWord(config, 0)))
        Words; ``first`` and ``last`` mark those of a run.
    halt : In(1)
        Runs and words offered are dropped. What has been taken lands. Stays high until reset.
    sm : Out(ScratchpadPort(config))
        Scratchpad; writes only.
    add : Out(stream.Signature(SemaphoreAdd()))
        Progress.
    completed : Out(1)
        A command is complete; one pulse each.
    failed : Out(1)
        A run with ``fault`` has been met. Stays high until reset.
    fault : Out(FaultReport())
        If ``failed``: why. ``row`` is the number of rows of the command before it.
    busy : Out(1)
        A write, an add or a completion is pending, not counting words offered.
    payload_bytes : Out(range(word_bytes + 1))
        Bytes landed in this cycle.

    Timing
    ------
    Latency: 1 cycle from a transfer on ``i`` to ``sm.req.valid`` (``DATA_LATENCY``); 2 from
    ``sm.rsp`` to the row's add and (without semaphore) to ``completed`` (``LANDING_LATENCY``); 1
    from a word of a run with ``fault`` to ``failed`` (``FAULT_LATENCY``).
    Throughput: one word per cycle, also if each is a run of its own, while the scratchpad answers
    within ``LandingTracker.DEPTH`` - 3 cycles; else see ``LandingTracker``.
    Backpressure: full.
    Combinational paths: ``halt``, ``run.valid``, ``i.valid``, ``i.payload.last`` and
    ``run.payload.fault`` to ``i.ready`` and ``run.ready``.
    Reset: valid flags and counters; only while not ``busy``.
    """

    DATA_LATENCY = 1
    LANDING_LATENCY = LandingTracker.LATENCY
    FAULT_LATENCY = 1

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "run": In(stream.Signature(DestinationRun(config))),
            "run_fault": In(FaultReport()),
            "i": In(stream.Signature(AlignedWord(config, 0))),
            "halt": In(1),
            "sm": Out(ScratchpadPort(config)),
            "add": Out(stream.Signature(SemaphoreAdd())),
            "completed": Out(1), "failed": Out(1), "fault": Out(FaultReport()), "busy": Out(1),
            "payload_bytes": Out(range(config.word_bytes + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        config, sm = self._config, self.sm
        run, word = self.run.p, self.i.p

        # Writes to be made.
        write_layout = data.StructLayout({
            "address": config.sm_addr_width, "strobe": config.word_bytes,
            "data": config.word_width, "row_last": 1, "command_last": 1, "semaphore": 8})
        m.submodules.writes = writes = StreamFifo(write_layout, 2)
        next_address = Signal(config.sm_addr_width, reset_less=True)
        offered = Signal()      # a run with its first or a later word
        take = Signal()
        m.d.comb += [
            offered.eq(self.run.valid & self.i.valid & ~self.halt & ~self.failed),
            take.eq(offered & ~run.fault & writes.i.ready),
            self.i.ready.eq(take | self.halt),
            self.run.ready.eq((take & word.last) | self.halt),
            writes.i.valid.eq(take),
            writes.i.p.address.eq(Mux(word.first, run.beat, next_address)),
            writes.i.p.strobe.eq(word.strobe), writes.i.p.data.eq(word.data),
            writes.i.p.row_last.eq(word.last & run.row_last),
            writes.i.p.command_last.eq(word.last & run.last),
            writes.i.p.semaphore.eq(run.semaphore),
        ]
        with m.If(take):
            m.d.sync += next_address.eq(writes.i.p.address + 1)

        # A write and its tag leave together. The tracker's ready waits for nothing, and once high
        # stays so until then.
        m.submodules.landing = landing = LandingTracker(config)
        write = writes.o.p
        leave = Signal()
        m.d.comb += [
            sm.req.valid.eq(writes.o.valid & landing.i.ready),
            sm.req.p.address.eq(write.address), sm.req.p.write.eq(1),
            sm.req.p.strobe.eq(write.strobe), sm.req.p.data.eq(write.data),
            leave.eq(sm.req.valid & sm.req.ready),
            writes.o.ready.eq(leave), landing.i.valid.eq(leave),
            landing.i.p.bytes.eq(count_ones(m, write.strobe)),
            landing.i.p.row_last.eq(write.row_last),
            landing.i.p.command_last.eq(write.command_last),
            landing.i.p.semaphore.eq(write.semaphore),
            landing.landed.eq(sm.rsp.valid),
            self.payload_bytes.eq(landing.payload_bytes), self.completed.eq(landing.completed),
            self.busy.eq(writes.o.valid | ~landing.idle),
        ]
        wiring.connect(m, landing.add, wiring.flipped(self.add))

        # Faults. Everything taken lands, so rows taken are rows complete.
        rows = Signal(32)
        fault = Signal(FaultReport(), reset_less=True)
        m.d.comb += self.fault.eq(fault)
        with m.If(take & word.last & run.row_last):
            m.d.sync += rows.eq(Mux(run.last, 0, rows + 1))
        with m.If(offered & run.fault):
            m.d.sync += [self.failed.eq(1), fault.eq(self.run_fault), fault.row.eq(rows)]
        return m
