"""Layouts and interfaces between the command processor and the engines."""

from amaranth import signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from . import formats

__all__ = ["Activity", "CommandBeat", "Completion", "EnginePort", "FaultReport", "IssuedCommand",
           "SemaphoreAdd", "SemaphoreView", "command_layout"]


def command_layout(fmt):
    """``FlexibleLayout`` of a command: header and body fields at their bit positions."""
    members = {}
    for part in (formats.HEADER, fmt):
        for field in part.fields:
            shape = signed(field.width) if field.signed else unsigned(field.width)
            members[field.name] = data.Field(shape, part.lsb[field.name])
    return data.FlexibleLayout(fmt.bits, members)


class Activity(enum.Enum, shape=3):
    """What an engine does in a cycle. Exactly one holds; the performance counters count them."""

    IDLE = 0            #: no command
    BUSY = 1            #: moves or computes data in this cycle
    SEMAPHORE = 2       #: waits for a semaphore
    MEMORY = 3          #: waits for GM, or the tensor unit for weights
    BANK_CONFLICT = 4   #: waits for a scratchpad bank
    OUTPUT = 5          #: waits for its output side (accumulators being drained, write responses)


class CommandBeat(data.StructLayout):
    """Part of a command on its way to a queue. Fields: ``data``; ``last`` (of its command)."""

    def __init__(self, config: XpuConfig):
        super().__init__({"data": unsigned(config.bus_width), "last": unsigned(1)})


class IssuedCommand(data.StructLayout):
    """A command whose header waits are over.

    Fields: ``command`` (as its format), ``ring`` (the ring it came from), ``index`` (its number in
    that ring since the ring was reset).
    """

    def __init__(self, fmt):
        super().__init__({"command": command_layout(fmt), "ring": unsigned(3),
                          "index": unsigned(32)})


class FaultReport(data.StructLayout):
    """Why a command failed. ``cause`` FaultCause, ``address``, ``info``, ``row`` (DMA: number of
    the row within its command, loop 1 running fastest; else 0); meaningless if cause 0."""

    def __init__(self):
        super().__init__({"cause": unsigned(4), "address": unsigned(64), "info": unsigned(32),
                          "row": unsigned(32)})


class Completion(data.StructLayout):
    """End of a command. Engines complete in the order of issue, so no tag is needed."""

    def __init__(self):
        super().__init__({"fault": FaultReport()})


class SemaphoreAdd(data.StructLayout):
    """Addition to a semaphore. Fields: ``semaphore`` (0 is ignored), ``amount``."""

    def __init__(self):
        super().__init__({"semaphore": unsigned(8), "amount": unsigned(16)})


class SemaphoreView(wiring.Signature):
    """One waiter's view of the semaphores, seen from the waiter.

    Members
    -------
    semaphore : Out(8)
        Number to look at; 0 reads as always reached.
    threshold : Out(semaphore_width)
        Value waited for.
    reached : In(1)
        ``semaphore - threshold`` is not negative modulo 2**semaphore_width. Registered: belongs to
        the number and threshold of the cycle before, so a waiter that has just changed either
        ignores it for one cycle (``LATENCY``). Once true for a pair it stays true.
    """

    LATENCY = 1

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "semaphore": Out(8),
            "threshold": Out(config.semaphore_width),
            "reached": In(1),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._config == self._config

    def __repr__(self):
        return f"SemaphoreView({self._config.name!r})"


class EnginePort(wiring.Signature):
    """Everything between the command processor and one engine, seen from the engine.

    Members
    -------
    cmd : In(stream.Signature(IssuedCommand(fmt)))
        Commands to execute, in order. An engine accepts the next while one runs. All that are
        accepted and not done are of one ring.
    done : Out(stream.Signature(Completion(), always_ready=True))
        One per accepted command, in order, when all its writes are acknowledged or it has failed.
        After a fault the engine accepts nothing more until reset.
    add : Out(stream.Signature(SemaphoreAdd()))
        Progress and release signals of running commands (header signals are the command
        processor's work). All of a command's are accepted before its ``done``.
    abort : In(1)
        Stop: start no new bus burst, finish those begun (writes without strobes), then raise
        ``quiet``. Stays high until the engine is reset.
    quiet : Out(1)
        No AXI transaction and no access to the scratchpad is outstanding: those are not reset with
        the engine. Does not fall while ``abort`` is high, except in its first cycles.
    activity : Out(Activity)
        What the engine does in this cycle.
    begin, begin_index : Out(1), Out(32)
        Trace: a command begins to execute in this cycle (one pulse per command), and its index.
    """

    def __init__(self, fmt):
        self._fmt = fmt
        super().__init__({
            "cmd": In(stream.Signature(IssuedCommand(fmt))),
            "done": Out(stream.Signature(Completion(), always_ready=True)),
            "add": Out(stream.Signature(SemaphoreAdd())),
            "abort": In(1),
            "quiet": Out(1),
            "activity": Out(Activity),
            "begin": Out(1),
            "begin_index": Out(32),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._fmt is self._fmt

    def __repr__(self):
        return f"EnginePort({self._fmt.name})"
