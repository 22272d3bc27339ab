"""Issue of commands to one engine, and their completion."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.fifo import StreamFifo
from ..common.turns import next_in_turn
from ..params import XpuConfig
from .types import Completion, FaultReport, IssuedCommand, SemaphoreAdd, command_layout

__all__ = ["EngineDispatch"]


class _InFlight(data.StructLayout):
    """What a completion needs. Fields: ``ring``, ``index``, and of the header
    ``signal0_semaphore``, ``signal1_semaphore``, ``signal0_add``, ``signal1_add``."""

    def __init__(self):
        super().__init__({"ring": 3, "index": 32, "signal0_semaphore": 8, "signal1_semaphore": 8,
                          "signal0_add": 16, "signal1_add": 16})


class EngineDispatch(wiring.Component):
    """Offer the heads of the rings' queues to an engine in turns, and finish what it completes.

    A command is complete when its signals are taken. The signals of a command that fails are not
    sent; nothing completes after it.

    The engine serves one ring at a time: a command of another ring is offered when all those
    accepted are complete. A ring that others wait for has its turn for ``TURN`` commands, or until
    it has none.

    Parameters
    ----------
    config : XpuConfig
        Number of rings.
    fmt : Format
        Format of the engine's commands.

    Members
    -------
    heads : In(stream.Signature(command_layout(fmt))).array(config.rings)
        Commands whose waits are over; the tag holds the index.
    dying : In(config.rings)
        Rings that are given up: no command of theirs is offered, except one offered already.
    abort : In(1)
        The engine is about to be reset, and this with it: nothing is offered.
    serving : Out(config.rings)
        The ring of which a command is offered, or accepted and not complete.
    cmd : Out(stream.Signature(IssuedCommand(fmt)))
        To the engine. At most ``IN_FLIGHT`` commands are accepted and not complete.
    done : In(stream.Signature(Completion(), always_ready=True))
        From the engine.
    signal : Out(stream.Signature(SemaphoreAdd()))
        Header signals of completed commands.
    complete : Out(config.rings)
        Pulse: a command of the ring is complete.
    failed, failed_index, failed_report : Out(config.rings), Out(32), Out(FaultReport())
        Pulse: a command of the ring has failed; its index and report.

    Timing
    ------
    Latency: none from ``heads`` to ``cmd`` with one ring, else 1 cycle. 1 cycle from ``done`` to
    ``signal.valid``, or to ``complete`` if there is no signal (``LATENCY``).
    Throughput: one command per cycle, less 1 cycle per signal beyond the first.
    Backpressure: full.
    Combinational paths: ``heads``, ``abort`` and ``dying`` to ``cmd`` and ``cmd.ready`` back.
    Reset: nothing in flight.
    """

    LATENCY = 1
    IN_FLIGHT = 4
    TURN = 8

    def __init__(self, config: XpuConfig, fmt):
        self._config, self._fmt = config, fmt
        super().__init__({
            "heads": In(stream.Signature(command_layout(fmt))).array(config.rings),
            "dying": In(config.rings), "abort": In(1), "serving": Out(config.rings),
            "cmd": Out(stream.Signature(IssuedCommand(fmt))),
            "done": In(stream.Signature(Completion(), always_ready=True)),
            "signal": Out(stream.Signature(SemaphoreAdd())),
            "complete": Out(config.rings), "failed": Out(config.rings),
            "failed_index": Out(32), "failed_report": Out(FaultReport()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.flight = flight = StreamFifo(_InFlight(), self.IN_FLIGHT)

        # Issue.
        room = Signal()     # does not fall while a command is offered
        m.d.comb += [room.eq(flight.i.ready), flight.i.valid.eq(self.cmd.valid & self.cmd.ready)]
        command = self.cmd.p.command
        if self._config.rings == 1:
            head, standing, able = self.heads[0], Signal(), Signal()
            m.d.comb += [able.eq(room & (standing | ~self.dying[0]) & ~self.abort),
                         self.cmd.valid.eq(head.valid & able), command.eq(head.payload),
                         head.ready.eq(self.cmd.ready & able),
                         self.serving.eq(self.cmd.valid | flight.o.valid)]
            m.d.sync += standing.eq(self.cmd.valid & ~self.cmd.ready)
        else:
            self._arbitrate(m, room, flight.o.valid)
        m.d.comb += [self.cmd.p.index.eq(command.tag), flight.i.p.ring.eq(self.cmd.p.ring),
                     flight.i.p.index.eq(command.tag)]
        for name in ("signal0_semaphore", "signal1_semaphore", "signal0_add", "signal1_add"):
            m.d.comb += flight.i.p[name].eq(command[name])

        # Completion, in order. ``done`` cannot wait, so it is counted.
        oldest = flight.o.p
        pending = Signal(range(self.IN_FLIGHT + 1))
        good, failing, finish, second = Signal(), Signal(), Signal(), Signal()
        report = Signal(FaultReport(), reset_less=True)
        none0, none1, present = Signal(), Signal(), Signal()
        m.d.comb += [
            good.eq(self.done.valid & (self.done.p.fault.cause == 0)),
            none0.eq(oldest.signal0_semaphore == 0), none1.eq(oldest.signal1_semaphore == 0),
            present.eq((pending != 0) & flight.o.valid),
            self.signal.p.semaphore.eq(Mux(second, oldest.signal1_semaphore,
                                           oldest.signal0_semaphore)),
            self.signal.p.amount.eq(Mux(second, oldest.signal1_add, oldest.signal0_add)),
            self.signal.valid.eq(present & (second | ~none0)),
            flight.o.ready.eq(finish), self.failed_index.eq(oldest.index),
            self.failed_report.eq(report),
        ]
        with m.If(good ^ finish):
            m.d.sync += pending.eq(Mux(good, pending + 1, pending - 1))
        with m.If(present & (self.signal.ready | ~self.signal.valid)):
            m.d.comb += finish.eq(second | none1)
            m.d.sync += second.eq(~second & ~none1)
        with m.If(self.done.valid & ~good):
            m.d.sync += [failing.eq(1), report.eq(self.done.p.fault)]
        for n in range(self._config.rings):
            m.d.comb += self.complete[n].eq(finish & (oldest.ring == n))
            with m.If(failing & (pending == 0) & flight.o.valid):
                m.d.comb += self.failed[n].eq(oldest.ring == n)
                m.d.sync += failing.eq(0)
        return m

    def _arbitrate(self, m, room, busy):
        """Take turns among the rings; a choice stands until its command is accepted."""
        rings = self._config.rings
        requests, others = Signal(rings), Signal(rings)     # others than the owner's
        owner, next_owner = Signal(3), Signal(3)
        chosen, offers, choose = Signal(), Signal(), Signal()
        turn = Signal(range(self.TURN + 1))                 # commands accepted of the owner's
        for n, head in enumerate(self.heads):
            m.d.comb += [requests[n].eq(head.valid & ~self.dying[n]),
                         others[n].eq(requests[n] & (owner != n)),
                         self.serving[n].eq((chosen | busy) & (owner == n))]
        next_in_turn(m, requests, owner, next_owner)
        with m.If(busy):
            m.d.comb += [next_owner.eq(owner),
                         choose.eq((requests & ~others).any()
                                   & ~((turn == self.TURN) & others.any()))]
        with m.Else():
            m.d.comb += choose.eq(requests.any())
        with m.If(choose & ~chosen & ~self.abort):
            m.d.sync += [owner.eq(next_owner), chosen.eq(1)]
            with m.If(owner != next_owner):
                m.d.sync += turn.eq(0)
        m.d.comb += [offers.eq(chosen & room & ~self.abort), self.cmd.valid.eq(offers),
                     self.cmd.p.ring.eq(owner)]
        with m.If(offers & self.cmd.ready):
            m.d.sync += chosen.eq(0)
            with m.If(turn != self.TURN):
                m.d.sync += turn.eq(turn + 1)
        for n, head in enumerate(self.heads):
            with m.If(owner == n):
                m.d.comb += [self.cmd.p.command.eq(head.payload),
                             head.ready.eq(offers & self.cmd.ready)]
