"""Ends commands in order: release signals, completions, faults."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import Space
from ..command.decode import WRITE
from ..command.formats import FaultCause
from ..command.types import Completion, FaultReport, SemaphoreAdd
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .types import SEQUENCE_WIDTH, wide_address

__all__ = ["Retire"]


class Retire(wiring.Component):
    """Report the end of every command once, in order, after its semaphore additions.

    A command is released when both its last weight and its last activation row have been read: 1
    is added to its release semaphore. It is complete when the epilogue says so and the release has
    been accepted.

    A fault is reported when its command is the oldest. Then nothing more enters the array, tiles
    already complete are drained, and only then is the fault reported: nothing is written after it.
    A fault of the epilogue is always the oldest command's, and goes first.

    Parameters
    ----------
    config : XpuConfig
        Widths.

    Members
    -------
    room : Out(1)
        A command may be accepted; at most ``LIMIT`` are unfinished.
    accepted, release_semaphore : In(1), In(8)
        A command is accepted in this cycle; its semaphore.
    sequence : Out(SEQUENCE_WIDTH)
        Number of the command accepted in this cycle.
    a_read, b_read : In(1)
        Pulses: all activations, all weights of the next command have been read.
    refused, refused_report, refused_sequence : In
        Fault of the sequencer. Sticky, like the next two.
    b_fault, b_address, b_protected, b_sequence, a_fault, a_address, a_protected, a_sequence : In
        Faults of weight and activation reads, with word addresses; whether they are in the
        scratchpad, but outside the window.
    epilogue_done : In(1)
        Pulse: the next command has been drained.
    epilogue_fault, epilogue_address, epilogue_protected, epilogue_write : In
        Fault of the epilogue (byte address), sticky; likewise; whether it is a write.
    draining, settled : In(1)
        A complete tile has not been read out; none that has been is still being written.
    epilogue_add : In(stream.Signature(SemaphoreAdd()))
        Additions of the epilogue.
    add : Out(stream.Signature(SemaphoreAdd()))
        All additions.
    done : Out(stream.Signature(Completion(), always_ready=True))
        Ends of commands.
    stop : Out(1)
        A fault is about to be reported or has been: nothing may enter the array.
    unfinished : Out(1)
        A command is accepted and not done.

    Timing
    ------
    Latency: 1 cycle from ``epilogue_done`` to ``done`` if the release has been accepted
    (``LATENCY``); 1 from the later of ``a_read``, ``b_read`` to ``add``.
    Throughput: one addition per cycle. Backpressure: full on ``epilogue_add``.
    Combinational paths: ``epilogue_add`` to ``add``, ``add.ready`` to ``epilogue_add.ready``.
    Reset: no command, no fault.
    """

    LATENCY = 1
    LIMIT = 1 << (SEQUENCE_WIDTH - 1)

    def __init__(self, config: XpuConfig):
        self._config = config
        number, address = SEQUENCE_WIDTH, wide_address(config)
        super().__init__({
            "room": Out(1), "accepted": In(1), "release_semaphore": In(8), "sequence": Out(number),
            "a_read": In(1), "b_read": In(1),
            "refused": In(1), "refused_report": In(FaultReport()), "refused_sequence": In(number),
            "b_fault": In(1), "b_address": In(address), "b_sequence": In(number),
            "a_fault": In(1), "a_address": In(address), "a_sequence": In(number),
            "b_protected": In(1), "a_protected": In(1),
            "epilogue_done": In(1), "epilogue_fault": In(1), "epilogue_address": In(32),
            "epilogue_protected": In(1), "epilogue_write": In(1),
            "draining": In(1), "settled": In(1),
            "epilogue_add": In(stream.Signature(SemaphoreAdd())),
            "add": Out(stream.Signature(SemaphoreAdd())),
            "done": Out(stream.Signature(Completion(), always_ready=True)),
            "stop": Out(1), "unfinished": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        shift = self._config.word_shift

        # Commands that have passed each event, modulo 2**SEQUENCE_WIDTH.
        def count(name, event):
            counter = Signal(SEQUENCE_WIDTH, name=name)
            with m.If(event):
                m.d.sync += counter.eq(counter + 1)
            return counter

        release_ends, done_ends = Signal(), Signal()
        accepted = count("accepted_count", self.accepted)
        a_read = count("a_read_count", self.a_read)
        b_read = count("b_read_count", self.b_read)
        released = count("released_count", release_ends)
        drained = count("drained_count", self.epilogue_done)
        done = count("done_count", done_ends)
        dead = Signal()
        outstanding = Signal(SEQUENCE_WIDTH)
        m.d.comb += [
            outstanding.eq(accepted - done),
            self.unfinished.eq(outstanding != 0),
            self.room.eq((outstanding < self.LIMIT) & ~dead),
            self.sequence.eq(accepted),
        ]

        # Additions: the release of the oldest command read, or the epilogue's.
        m.submodules.semaphores = semaphores = StreamFifo(unsigned(8), self.LIMIT)
        m.d.comb += [semaphores.i.valid.eq(self.accepted),
                     semaphores.i.payload.eq(self.release_semaphore)]
        due, offers = Signal(), Signal()
        locked, locked_release, release = Signal(), Signal(), Signal()
        m.d.comb += [
            due.eq((a_read != released) & (b_read != released) & ~dead),
            offers.eq(due & (semaphores.o.payload != 0)),
            release.eq(Mux(locked, locked_release, offers)),
            self.add.valid.eq(Mux(release, offers, self.epilogue_add.valid & ~dead)),
            self.add.payload.eq(self.epilogue_add.payload),
            self.epilogue_add.ready.eq(self.add.ready & ~release & ~dead),
            release_ends.eq(due & ((semaphores.o.payload == 0) | (release & self.add.ready))),
            semaphores.o.ready.eq(release_ends),
        ]
        with m.If(release):
            m.d.comb += [self.add.p.semaphore.eq(semaphores.o.payload), self.add.p.amount.eq(1)]
        m.d.sync += [locked.eq(self.add.valid & ~self.add.ready), locked_release.eq(release)]

        # Faults of the oldest command. All that is drained has been reported before.
        report = self.done.p.fault
        oldest = Signal()
        faults = []
        for name, fault, number in (("refused", self.refused, self.refused_sequence),
                                    ("b", self.b_fault, self.b_sequence),
                                    ("a", self.a_fault, self.a_sequence)):
            mine = Signal(name=f"{name}_is_oldest")
            m.d.comb += mine.eq(fault & (number == done) & oldest)
            faults.append(mine)
        stopped = Signal()
        drained_out = Signal()
        protected, write = Signal(), Signal()
        m.d.comb += drained_out.eq(~self.draining & self.settled)
        refused, b_fault, a_fault = faults
        m.d.comb += [
            oldest.eq(drained == done),
            self.stop.eq(stopped),
        ]
        with m.If(refused | b_fault | a_fault | self.epilogue_fault):
            m.d.sync += stopped.eq(1)

        m.d.comb += report.cause.eq(FaultCause.NONE)
        with m.If(~dead & ~oldest & (released != done)):
            m.d.comb += [self.done.valid.eq(1), done_ends.eq(1)]
        with m.Elif(~dead & stopped & oldest & (self.epilogue_fault | drained_out)):
            m.d.comb += [self.done.valid.eq(1), done_ends.eq(1)]
            with m.If(self.epilogue_fault):
                m.d.comb += [report.address.eq(self.epilogue_address),
                             protected.eq(self.epilogue_protected), write.eq(self.epilogue_write)]
            with m.Elif(b_fault):
                m.d.comb += [report.address.eq(self.b_address << shift),
                             protected.eq(self.b_protected)]
            with m.Else():
                m.d.comb += [report.address.eq(self.a_address << shift),
                             protected.eq(self.a_protected)]
            m.d.comb += report.cause.eq(FaultCause.BAD_ADDRESS)
            with m.If(protected):
                m.d.comb += [report.cause.eq(FaultCause.PROTECTION),
                             report.info.eq(Space.SM + WRITE * write)]
            with m.If(refused & ~self.epilogue_fault):
                m.d.comb += report.eq(self.refused_report)
            m.d.sync += dead.eq(1)
        return m
