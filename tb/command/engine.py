"""Engines that execute nothing, but take and end commands as the real ones do."""

from collections import deque
from dataclasses import dataclass

import cocotb
from cocotb.triggers import RisingEdge

from common.drive import packer
from support.engines import FORMATS
from xpu_rtl.command.formats import HEADER
from xpu_rtl.command.types import Activity, FaultReport, IssuedCommand, SemaphoreAdd

__all__ = ["Engine", "Executed"]

_BUSY = [kind.value for kind in Activity if kind is not Activity.IDLE]


@dataclass
class Executed:
    """A command an engine has taken. ``done`` is None until it has ended."""

    ring: int
    index: int
    command: dict
    accepted: int
    done: int | None = None


class Engine:
    """One engine in Python.

    It takes at most two commands, needs a random time for each, adds to the semaphores of its body
    before the end, and says something random about its activity. After a fault it takes nothing
    until it is reset, which is only when it is told to stop and quiet. Its commands are of one
    ring.

    Attributes
    ----------
    log : list of Executed
        Commands in the order they were taken.
    added : list
        ``(cycle, semaphore, amount)`` of every addition taken by the command processor.
    faults : dict
        ``(ring, index)`` of a command that fails: fields of its ``FaultReport``.
    stuck : set
        ``(ring, index)`` of commands that wait for a semaphore for ever.
    resets : int
        How often it was reset.
    latency : tuple
        Fewest and most cycles of a command.
    unquiet : int
        Cycles from an abort to ``quiet``.
    """

    def __init__(self, dut, name, fmt, rng, clock, *, latency=(1, 20), accept_p=1.0):
        self._dut, self._name, self._fmt, self._rng, self._clock = dut, name, fmt, rng, clock
        self.latency, self.accept_p, self.unquiet = latency, accept_p, 0
        self.log, self.added, self.faults = [], [], {}
        self.stuck, self.resets = set(), 0
        layout = IssuedCommand(fmt)
        self._ring_lsb, self._index_lsb = layout["ring"].offset, layout["index"].offset
        self._fault, self._add = packer(FaultReport()), packer(SemaphoreAdd())
        for signal in ("cmd_ready", "done_valid", "add_valid", "activity", "begin"):
            self._port(signal).value = 0
        self._port("quiet").value = 1
        cocotb.start_soon(self._run())

    def _port(self, signal):
        return getattr(self._dut, f"{self._name}_{signal}")

    def _additions(self, command):
        if command.get("progress_semaphore"):
            yield from [(command["progress_semaphore"], 1)] * command["rows"]
        if command.get("out_semaphore"):
            yield command["out_semaphore"], command["rows"]
        if command.get("release_semaphore"):
            yield command["release_semaphore"], 1

    def _taken(self, bits):
        body = bits & (1 << self._fmt.bits) - 1
        command = HEADER.unpack(body)
        command |= FORMATS[command["opcode"]].unpack(body)
        index = bits >> self._index_lsb & 0xFFFF_FFFF
        assert command.pop("tag") == index, "the tag is not the index"
        return Executed(bits >> self._ring_lsb & 7, index, command, self._clock.cycle)

    async def _run(self):
        rng, edge, port = self._rng, RisingEdge(self._dut.clk), self._port
        valid, payload, ready = port("cmd_valid"), port("cmd_payload"), port("cmd_ready")
        add_ready, abort, reset = port("add_ready"), port("abort"), port("reset")
        waiting, adds = deque(), deque()
        running, left, dead, aborted, is_ready, stalled = None, 0, False, 0, False, None
        quiet, was_reset = True, False
        while True:
            await edge
            # The cycle that ends.
            if adds and int(add_ready.value):
                self.added.append((self._clock.cycle, *adds.popleft()))
            offered = int(payload.value) if int(valid.value) else None
            stopped = int(abort.value)
            assert stalled in (None, offered) or stopped, "cmd changed while stalled"
            stalled = offered if offered is not None and not is_ready else None
            if offered is not None and is_ready:
                taken = self._taken(offered)
                assert {one.ring for one in (*waiting, running) if one} <= {taken.ring}, "two rings"
                waiting.append(taken)
                self.log.append(taken)
            is_reset = int(reset.value)
            self.resets += is_reset and not was_reset
            was_reset = is_reset
            if is_reset:
                assert stopped, "reset without being told to stop"
                assert quiet, "reset while it is not quiet"
                waiting.clear()
                adds.clear()
                running, dead, stalled = None, False, None
            # The next one.
            aborted = aborted + 1 if stopped else 0
            quiet = running is None or aborted > self.unquiet
            port("quiet").value = quiet
            begins, ends = False, False
            if stopped:
                running = None
                adds.clear()
            elif running is None and waiting and not dead:
                running, left = waiting.popleft(), rng.randint(*self.latency)
                adds.extend(self._additions(running.command))
                begins = True
                port("begin_index").value = running.index
            if running is not None:
                left -= 1
                stuck = (running.ring, running.index) in self.stuck
                if left <= 0 and not adds and not begins and not stuck:
                    fault = self.faults.get((running.ring, running.index), {})
                    port("done_payload").value = self._fault(**fault)
                    running.done, running = self._clock.cycle + 1, None
                    ends, dead = True, bool(fault)
            busy = running is not None or ends
            if running is not None and (running.ring, running.index) in self.stuck:
                port("activity").value = Activity.SEMAPHORE.value
            else:
                port("activity").value = rng.choice(_BUSY) if busy else Activity.IDLE.value
            port("begin").value, port("done_valid").value = begins, ends
            if dead:
                waiting.clear()
            port("add_valid").value = bool(adds)
            if adds:
                port("add_payload").value = self._add(semaphore=adds[0][0], amount=adds[0][1])
            held = len(waiting) + (running is not None)
            is_ready = (not dead and not stopped and held < 2 and rng.random() < self.accept_p)
            ready.value = is_ready
