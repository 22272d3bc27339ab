"""The bench's own ports of a scratchpad: fill it, look at it, disturb the others."""

from collections import deque

import cocotb
import numpy as np
from cocotb.triggers import Event, RisingEdge

from common.drive import packer
from xpu_rtl.scratchpad.banks import bank_of
from xpu_rtl.scratchpad.types import ScratchpadRequest

__all__ = ["ScratchpadHost"]


class ScratchpadHost:
    """Accesses through the ports ``{port}_*`` of a bench, in order.

    Parameters
    ----------
    dut, config, rng : cocotb handle, XpuConfig, random.Random
        The bench.
    port : str
        Name of the ports.

    Attributes
    ----------
    disturb : float
        Chance per cycle of a read nobody wants, while there is nothing else to do. Such reads stay
        at one bank for a while.
    """

    def __init__(self, dut, config, rng, port="host"):
        self._dut, self._config, self._rng = dut, config, rng
        self._banks = [[] for _ in range(config.sm_banks)]
        for word in range(config.sm_words):
            self._banks[bank_of(config, word)].append(word)
        self._words = self._banks[0]
        (self._req_valid, self._req_payload, self._req_ready, self._rsp_valid,
         self._rsp_payload) = (getattr(dut, f"{port}_{name}") for name in (
             "req_valid", "req_payload", "req_ready", "rsp_valid", "rsp_payload"))
        self._pack = packer(ScratchpadRequest(config))
        self._queue, self._pending, self._wake = deque(), deque(), Event()
        self._offered, self._disturb = None, 0.0
        self._req_valid.value = 0
        cocotb.start_soon(self._run())

    @property
    def disturb(self):
        return self._disturb

    @disturb.setter
    def disturb(self, chance):
        self._disturb = chance
        self._wake.set()

    async def _run(self):
        edge, rng = RisingEdge(self._dut.clk), self._rng
        while True:
            if self._offered is None:
                if self._queue:
                    self._offered = self._queue.popleft()
                elif self.disturb and rng.random() < self.disturb:
                    if rng.random() < 0.04:
                        self._words = rng.choice(self._banks)
                    self._offered = self._pack(address=rng.choice(self._words)), None
                self._req_valid.value = self._offered is not None
                if self._offered is not None:
                    self._req_payload.value = self._offered[0]
                elif not self._pending and not self._disturb:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
            await edge
            if int(self._rsp_valid.value):
                answer = self._pending.popleft()
                if answer:
                    answer(int(self._rsp_payload.value))
            if self._offered is not None and int(self._req_ready.value):
                self._pending.append(self._offered[1])
                self._offered = None

    async def settle(self):
        """Ask nothing more and wait until every answer has come: before a reset."""
        self.disturb = 0.0
        for _ in range(1000):
            await RisingEdge(self._dut.clk)
            if not self._pending and not self._offered:
                return
        raise AssertionError("the scratchpad does not answer")

    def _ask(self, answer=None, **fields):
        self._queue.append((self._pack(**fields), answer))
        self._wake.set()

    async def read(self, address, size):
        """Return bytes as an array."""
        word = self._config.word_bytes
        first, last = address // word, (address + size - 1) // word
        words, ended = [], Event()

        def answer(value):
            words.append(value.to_bytes(word, "little"))
            if len(words) == last - first + 1:
                ended.set()

        for number in range(first, last + 1):
            self._ask(answer, address=number)
        await ended.wait()
        offset = address - first * word
        return np.frombuffer(b"".join(words), np.uint8)[offset:offset + size]

    async def write(self, address, data):
        """Write bytes; returns when they are written."""
        word, data = self._config.word_bytes, bytes(bytearray(data))
        first, last = address // word, (address + len(data) - 1) // word
        left, ended = last - first + 1, Event()

        def answer(_):
            nonlocal left
            left -= 1
            if not left:
                ended.set()

        for number in range(first, last + 1):
            value = strobe = 0
            for lane in range(word):
                offset = number * word + lane - address
                if 0 <= offset < len(data):
                    value |= data[offset] << 8 * lane
                    strobe |= 1 << lane
            self._ask(answer, address=number, write=1, data=value, strobe=strobe)
        await ended.wait()
