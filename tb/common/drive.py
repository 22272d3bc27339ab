"""Clock, reset, streams and packing for testbenches."""

import os
import random
from collections import deque

import cocotb
from amaranth.lib import data
from cocotb.clock import Clock
from cocotb.handle import Immediate
from cocotb.triggers import ClockCycles, Event, RisingEdge

from xpu_rtl.configs import get_config

__all__ = ["CONFIG", "EFFORT", "Sink", "Source", "packer", "power_up", "release", "scaled",
           "seeded", "unpacker", "until"]

CONFIG = get_config(os.environ.get("XPU_CONFIG", "tiny"))
EFFORT = float(os.environ.get("XPU_TB_EFFORT", "1"))


def scaled(count):
    """``count``, or a part or multiple of it, as ``tb/run.py --effort`` says."""
    return max(1, round(count * EFFORT))


def seeded(name):
    """A generator that depends on the run's seed and ``name``."""
    return random.Random(f"{cocotb.RANDOM_SEED}-{name}")


def power_up(dut, *, period_ns=10):
    """Start the clock with the reset given: before sources and sinks are made."""
    dut.rst.value = Immediate(1)
    cocotb.start_soon(Clock(dut.clk, period_ns, unit="ns").start())


async def release(dut):
    """Hold the reset for some cycles, then end it."""
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def until(dut, condition, what, *, cycles=20_000):
    """Wait for ``condition()``, looked at before every clock edge. Return the cycles it took."""
    edge = RisingEdge(dut.clk)
    for cycle in range(cycles):
        await edge
        if condition():
            return cycle
    raise AssertionError(f"not within {cycles} cycles: {what}")


def packer(layout):
    """Return a function from fields, given by name, to the bits of a flat ``StructLayout``."""
    places = {name: (field.offset, (1 << field.width) - 1) for name, field in layout}

    def pack(**fields):
        bits = 0
        for name, value in fields.items():
            lsb, mask = places[name]
            bits |= (int(value) & mask) << lsb
        return bits

    return pack


def unpacker(layout):
    """Return a function from bits to ``{name: unsigned value}``, nested for nested layouts."""
    places = [(name, field.offset, (1 << field.width) - 1,
               unpacker(field.shape) if isinstance(field.shape, data.Layout) else int)
              for name, field in layout]
    return lambda bits: {name: inner(bits >> lsb & mask) for name, lsb, mask, inner in places}


class Source:
    """Drive a stream from a queue of packed payloads.

    While ``valid`` is low the payload is random, so that nobody relies on it.

    Parameters
    ----------
    dut, name : cocotb handle, str
        Ports ``{name}_valid``, ``{name}_payload``, ``{name}_ready``.
    valid_p : float
        Chance per cycle to offer a payload that is due.

    Attributes
    ----------
    queue : deque
        What to send.
    sent : int
        Transfers so far.
    """

    def __init__(self, dut, name, *, rng, valid_p=1.0):
        self.queue, self.sent, self.valid_p, self._rng = deque(), 0, valid_p, rng
        self._clk, self._rst, self._wake = dut.clk, dut.rst, Event()
        self._valid = getattr(dut, f"{name}_valid")
        self._payload = getattr(dut, f"{name}_payload")
        self._ready = getattr(dut, f"{name}_ready")
        self._valid.value = 0
        self._task = cocotb.start_soon(self._run())

    def send(self, *payloads):
        self.queue.extend(payloads)
        self._wake.set()

    @property
    def idle(self):
        return not self.queue

    def flush(self):
        """Forget everything, also what is offered; for a reset."""
        self.queue.clear()
        self._valid.value = 0
        self._task.cancel()
        self._task = cocotb.start_soon(self._run())

    async def _run(self):
        rng, edge, width = self._rng, RisingEdge(self._clk), len(self._payload)
        while True:
            while int(self._rst.value):
                await edge
            if not self.queue:
                self._wake.clear()
                await self._wake.wait()
            while rng.random() >= self.valid_p:
                self._payload.value = rng.getrandbits(width)
                await edge
            self._valid.value, self._payload.value = 1, self.queue[0]
            await edge
            while not int(self._ready.value):
                await edge
            self.queue.popleft()
            self.sent += 1
            self._valid.value, self._payload.value = 0, rng.getrandbits(width)


class Sink:
    """Take a stream; check that it is stable while stalled.

    Parameters
    ----------
    dut, name : cocotb handle, str
        Ports ``{name}_valid``, ``{name}_payload`` and, if not always ready, ``{name}_ready``.
    ready_p : float
        Chance per cycle to be ready.
    take : callable
        Called with every payload; default: append to ``taken``.

    Attributes
    ----------
    taken : list
        Payloads.
    """

    def __init__(self, dut, name, *, rng, ready_p=1.0, take=None):
        self.taken, self.ready_p, self._rng, self._name = [], ready_p, rng, name
        self._take = take or self.taken.append
        self._dut, self._clk = dut, dut.clk
        self._valid = getattr(dut, f"{name}_valid")
        self._payload = getattr(dut, f"{name}_payload")
        self._ready = getattr(dut, f"{name}_ready", None)
        cocotb.start_soon(self._run())

    async def _run(self):
        edge, ready, stalled = RisingEdge(self._clk), self._ready is None, None
        if self._ready is not None:
            self._ready.value = 0
        while True:
            await edge
            valid = int(self._valid.value) and not int(self._dut.rst.value)
            if valid:
                payload = int(self._payload.value)
                assert stalled in (None, payload), f"{self._name}: payload changed while stalled"
            if ready and valid:
                self._take(payload)
            if self._ready is not None:
                assert valid or stalled is None, f"{self._name}: valid fell while stalled"
                stalled = payload if valid and not ready else None
                ready = self._rng.random() < self.ready_p
                self._ready.value = ready
