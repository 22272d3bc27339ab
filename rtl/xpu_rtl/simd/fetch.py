"""Instruction fetch: runs ahead of the pipeline until it is redirected."""

from amaranth import Cat, Const, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .types import FetchedInstruction, InstructionPort

__all__ = ["Fetch"]


class Fetch(wiring.Component):
    """Read instructions one after the other, from the target of the last redirection on.

    Parameters
    ----------
    config : XpuConfig
        Width of a bus word: how many instructions come at a time.

    Members
    -------
    redirect, target : In(1), In(32)
        Go on at ``target``, a multiple of 4. What was fetched and not taken is forgotten.
    enable : In(1)
        Ask for instructions.
    port : Out(InstructionPort(config))
        Where they come from.
    o : Out(stream.Signature(FetchedInstruction))
        Instructions. ``valid`` falls on a redirection.
    busy : Out(1)
        Answers are awaited.

    Timing
    ------
    Latency: 1 cycle from ``redirect`` to ``port.req``, 1 from ``port.rsp`` to ``o``.
    Throughput: one instruction per cycle, if answers take at most ``DEPTH - 1`` cycles.
    Backpressure: full on ``o``; never more than ``DEPTH`` words are asked for ahead.
    Combinational paths: ``enable`` to ``port.req.valid``, ``redirect`` to ``o.valid``.
    Reset: nothing is fetched or awaited.
    """

    DEPTH = 4

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "redirect": In(1), "target": In(32), "enable": In(1),
            "port": Out(InstructionPort(config)),
            "o": Out(stream.Signature(FetchedInstruction)), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        shift = self._config.bus_bytes.bit_length() - 1
        m.submodules.words = words = ResetInserter(self.redirect)(
            SyncFIFO(width=self._config.bus_width + 1, depth=self.DEPTH))
        request, answer = self.port.req, self.port.rsp
        next_word, pc = Signal(32 - shift), Signal(32)
        awaited = Signal(range(self.DEPTH + 1))     # answers to come, ...
        dropped = Signal(range(self.DEPTH + 1))     # ... the first of which nobody wants
        asked = Signal()
        m.d.comb += [
            request.valid.eq(self.enable & (awaited + words.level < self.DEPTH)),
            request.payload.eq(Cat(Const(0, shift), next_word)),
            asked.eq(request.valid & request.ready),
            words.w_data.eq(answer.payload), words.w_en.eq(answer.valid & (dropped == 0)),
            self.busy.eq(awaited != 0),
        ]
        left = Signal.like(awaited)
        m.d.comb += left.eq(awaited - answer.valid)
        m.d.sync += awaited.eq(left + asked)
        with m.If(self.redirect):
            m.d.sync += [dropped.eq(left + asked), next_word.eq(self.target[shift:]),
                         pc.eq(self.target)]
        with m.Else():
            with m.If(asked):
                m.d.sync += next_word.eq(next_word + 1)
            with m.If(answer.valid & (dropped != 0)):
                m.d.sync += dropped.eq(dropped - 1)
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += pc.eq(pc + 4)

        last = pc[2:shift].all() if shift > 2 else Const(1)
        m.d.comb += [
            self.o.valid.eq(words.r_rdy & ~self.redirect), self.o.p.pc.eq(pc),
            self.o.p.word.eq(words.r_data[:-1].word_select(pc[2:shift], 32) if shift > 2
                             else words.r_data[:-1]),
            self.o.p.fault.eq(words.r_data[-1]),
            words.r_en.eq(self.o.valid & self.o.ready & last),
        ]
        return m
