"""Rows of a store wait for the progress of their producer."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.types import SemaphoreView
from ..params import XpuConfig
from .stages import RunKind, SourceRun

__all__ = ["GateRow", "ProgressGate"]


class GateRow(data.StructLayout):
    """What a row waits for. Fields: ``semaphore``, ``threshold``; ``last`` (row of its command)."""

    def __init__(self, config: XpuConfig):
        super().__init__({"semaphore": unsigned(8), "threshold": unsigned(config.semaphore_width),
                          "last": unsigned(1)})


class ProgressGate(wiring.Component):
    """Let the source runs of a row pass once its progress semaphore has reached its threshold.

    While a row is known to be reached the threshold of the next row of its command is asked for,
    so that rows can follow each other without a gap. FAULT runs pass at once.

    Parameters
    ----------
    config : XpuConfig
        Width of the semaphores.

    Members
    -------
    row : In(stream.Signature(GateRow(config)))
        Rows; transferred with their last run.
    i, o : In, Out(stream.Signature(SourceRun(config)))
        Runs.
    view : Out(SemaphoreView(config))
        Semaphore of the row offered.
    blocked : Out(1)
        A run waits for the semaphore of its row.

    Timing
    ------
    Latency: 0 without semaphore; else 1 cycle for the first row of a command, if it is reached.
    Throughput: one run per cycle.
    Backpressure: full.
    Combinational paths: ``i``, ``row`` to ``o``; ``o.ready`` to ``i.ready`` and ``row.ready``;
    ``view.reached`` to ``o.valid`` and ``view.threshold``.
    Reset: nothing is known.
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "row": In(stream.Signature(GateRow(config))),
            "i": In(stream.Signature(SourceRun(config))),
            "o": Out(stream.Signature(SourceRun(config))),
            "view": Out(SemaphoreView(config)), "blocked": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        row, run = self.row.p, self.i.p
        asked = Signal()    # the answer in this cycle belongs to the row offered now
        known = Signal()    # remembers the answer for a row that has to wait for something else
        reached = Signal()
        offered = Signal()
        passes = Signal()
        leave = Signal()    # the row's last run moves
        m.d.comb += [
            reached.eq((row.semaphore == 0) | known | (asked & self.view.reached)),
            self.view.semaphore.eq(row.semaphore),
            self.view.threshold.eq(row.threshold + reached),
            offered.eq(self.i.valid & self.row.valid),
            passes.eq(reached | (run.kind == RunKind.FAULT)),
            self.o.payload.eq(run), self.o.valid.eq(offered & passes),
            self.i.ready.eq(self.o.ready & self.row.valid & passes),
            leave.eq(self.o.valid & self.o.ready & run.row_last), self.row.ready.eq(leave),
            self.blocked.eq(offered & ~passes),
        ]
        m.d.sync += [
            known.eq(self.row.valid & reached & ~leave),
            asked.eq(self.row.valid & Mux(leave, ~row.last, ~reached)),
        ]
        return m
