"""Rows of a store wait for the progress of their producer."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.types import SemaphoreView
from ..params import XpuConfig
from .stages import NdRow

__all__ = ["ProgressGate"]


class ProgressGate(wiring.Component):
    """Let a row pass once its progress semaphore has reached its threshold.

    While a row is known to be reached the threshold of the next row of its command is asked for,
    so that rows can follow each other without a gap. A row with ``fault`` passes at once.

    Parameters
    ----------
    config : XpuConfig
        Width of the semaphores.

    Members
    -------
    i, o : In, Out(stream.Signature(NdRow(config)))
        Rows.
    view : Out(SemaphoreView(config))
        Semaphore of the row offered.
    blocked : Out(1)
        A row waits for its semaphore.

    Timing
    ------
    Latency: 0 without semaphore; else 1 cycle for the first row of a command, if it is reached.
    Throughput: one row per cycle.
    Backpressure: full.
    Combinational paths: ``i`` to ``o``, ``o.ready`` to ``i.ready``; ``view.reached`` to
    ``o.valid`` and ``view.threshold``.
    Reset: nothing is known.
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "i": In(stream.Signature(NdRow(config))), "o": Out(stream.Signature(NdRow(config))),
            "view": Out(SemaphoreView(config)), "blocked": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        row = self.i.p
        asked = Signal()    # the answer in this cycle belongs to the row offered now
        known = Signal()    # remembers the answer for a row that has to wait for something else
        reached = Signal()
        move = Signal()
        m.d.comb += [
            reached.eq((row.semaphore == 0) | known | (asked & self.view.reached)),
            self.view.semaphore.eq(row.semaphore),
            self.view.threshold.eq(row.threshold + reached),
            self.o.payload.eq(row), self.o.valid.eq(self.i.valid & (reached | row.fault)),
            move.eq(self.o.valid & self.o.ready), self.i.ready.eq(move),
            self.blocked.eq(self.i.valid & ~reached & ~row.fault),
        ]
        m.d.sync += [
            known.eq(self.i.valid & reached & ~move),
            asked.eq(self.i.valid & Mux(move, ~row.last, ~reached)),
        ]
        return m
