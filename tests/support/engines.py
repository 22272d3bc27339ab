"""Behavioural engines: they execute nothing, but signal as the real ones do."""

from collections import deque
from dataclasses import dataclass

from xpu_rtl.command.formats import ALL_FORMATS, HEADER
from xpu_rtl.command.types import Activity

__all__ = ["FORMATS", "BehaviouralEngine", "Executed"]

FORMATS = {opcode: fmt for fmt in ALL_FORMATS for opcode in fmt.opcodes}


@dataclass
class Executed:
    """A command an engine has accepted. ``done`` is None until it is complete."""

    ring: int
    index: int
    command: dict
    accepted: int
    done: int | None = None


class BehaviouralEngine:
    """Accept commands, take a random time for each, then complete or fail it.

    Adds 1 per row to ``progress_semaphore``; ``rows`` to ``out_semaphore`` and 1 to
    ``release_semaphore``. After a fault it accepts nothing more until it is reset. That is only
    when it is told to stop and quiet; and all commands it has are of one ring.

    Parameters
    ----------
    port : EnginePort
        Of the command processor.
    fmt : Format
        Longest of the commands; a shorter one is looked at as its opcode says.
    reset : Signal
        The engine is reset while it is high.
    rng : random.Random
        For times and activities.
    latency : tuple
        Fewest and most cycles of a command.
    accept_p : float
        Chance per cycle to accept a command.
    faults : dict
        ``FaultReport`` fields by command index, or by ``(ring, index)``.

    Attributes
    ----------
    log : list of Executed
        Accepted commands in order.
    added : list
        (cycle, semaphore, amount) of every addition accepted.
    stuck : set
        ``(ring, index)`` of commands that wait for a semaphore for ever.
    resets : int
        How often it was reset.
    quiet_after : int
        Cycles from ``abort`` to ``quiet``.
    """

    DEPTH = 2   #: commands accepted and not complete

    def __init__(self, port, fmt, reset, rng, *, latency=(1, 20), accept_p=1.0, faults=None):
        self.port, self.fmt, self.reset, self.rng = port, fmt, reset, rng
        self.latency, self.accept_p, self.faults = latency, accept_p, faults or {}
        self.stuck, self.resets = set(), 0
        self.log, self.added, self.quiet_after, self.cycle = [], [], 0, 0

    def _additions(self, command):
        if command.get("progress_semaphore"):
            yield from [(command["progress_semaphore"], 1)] * command["rows"]
        if command.get("out_semaphore"):
            yield command["out_semaphore"], command["rows"]
        if command.get("release_semaphore"):
            yield command["release_semaphore"], 1

    async def run(self, ctx):
        port, rng = self.port, self.rng
        waiting, adds = deque(), deque()
        running, left, dead, aborted = None, 0, False, 0
        quiet, was_reset = False, False
        while True:
            reset = ctx.get(self.reset)
            self.resets += reset and not was_reset
            was_reset = reset
            if reset:
                assert quiet, "reset while it is not quiet"
                assert ctx.get(port.abort), "reset without being told to stop"
                waiting.clear()
                adds.clear()
                running, dead = None, False
            abort = ctx.get(port.abort)
            aborted = aborted + 1 if abort else 0
            quiet = not running or aborted > self.quiet_after
            ctx.set(port.quiet, quiet)

            held = len(waiting) + (running is not None)
            ready = not dead and not abort and held < self.DEPTH and rng.random() < self.accept_p
            ctx.set(port.cmd.ready, ready)
            ctx.set(port.begin, 0)
            ctx.set(port.done.valid, 0)
            if abort and quiet:
                running = None
            if running is None and waiting and not abort:
                running, left = waiting.popleft(), rng.randint(*self.latency)
                adds.extend(self._additions(running.command))
                ctx.set(port.begin, 1)
                ctx.set(port.begin_index, running.index)
            activity = Activity.IDLE
            if running is not None:
                activity = rng.choice([kind for kind in Activity if kind is not Activity.IDLE])
                left -= 1
                key = running.ring, running.index
                if key in self.stuck:
                    activity = Activity.SEMAPHORE
                elif left <= 0 and not adds and not abort:
                    fault = self.faults.get(key, self.faults.get(running.index, {}))
                    ctx.set(port.done.payload, {"fault": fault})
                    ctx.set(port.done.valid, 1)
                    running.done = self.cycle
                    dead, running = bool(fault), None
            ctx.set(port.activity, activity)
            if adds:
                ctx.set(port.add.payload, {"semaphore": adds[0][0], "amount": adds[0][1]})
            ctx.set(port.add.valid, bool(adds))
            if dead:
                waiting.clear()

            _, _, valid, payload, taken = await ctx.tick().sample(
                port.cmd.valid, port.cmd.payload.as_value(), port.add.ready)
            if adds and taken:
                self.added.append((self.cycle, *adds.popleft()))
            if valid and ready:
                command, ring, index = self._split(payload)
                held = [*waiting, *([running] if running else [])]
                assert all(one.ring == ring for one in held), "commands of two rings"
                waiting.append(Executed(ring, index, command, self.cycle))
                self.log.append(waiting[-1])
            self.cycle += 1

    def _split(self, payload):
        """Fields of the command, ring and index; the tag holds the index."""
        bits = self.fmt.bits
        command = HEADER.unpack(payload)
        command |= FORMATS[command["opcode"]].unpack(payload & ((1 << bits) - 1))
        ring, index = payload >> bits & 7, payload >> (bits + 3)
        assert command.pop("tag") == index
        return command, ring, index
