"""Global memory of a cocotb testbench: an array behind cocotbext-axi's AXI4 subordinate."""

import logging
import random

import numpy as np
from cocotbext.axi import AxiBus, AxiReadBus, AxiResp, AxiSlaveRead, AxiSlaveWrite

__all__ = ["CocotbMemory"]


class CocotbMemory:
    """Answer the AXI4 manager of a design. Bursts are answered in order.

    An access beyond the end is answered with DECERR, one to an injected fault with SLVERR; neither
    reads nor writes. The subordinate asserts that no burst crosses a 4 KiB boundary and that
    ``wlast`` marks the last beat.

    Parameters
    ----------
    dut : cocotb handle
        Module with ports ``m_axi_*``, ``clk`` and ``rst``.
    size : int
        Bytes.
    base : int
        Address of the first byte.
    stall : float
        Chance per cycle that a channel pauses.
    seed : int
        Of the stalls.
    outstanding : int
        Addresses accepted ahead of their data, per direction.
    prefix : str
        Of the ports; without ``{prefix}_awvalid`` the memory is read only.

    Attributes
    ----------
    data : numpy.ndarray
        The bytes; may be changed at any time.
    faults : list
        (first, last, kind) of each injected fault, ``kind`` being "read" or "write".
    reads, writes : list
        Address of every word read and of every run of bytes written.
    channels : dict
        cocotbext-axi's objects by "aw", "w", "b", "ar", "r".
    """

    def __init__(self, dut, size, *, base=0, stall=0.0, seed=0, outstanding=64, prefix="m_axi"):
        self.size, self.base = size, base
        self.data = np.zeros(size, np.uint8)
        self.faults, self.reads, self.writes = [], [], []
        self._answers = {"read": AxiResp.OKAY, "write": AxiResp.OKAY}
        self.channels = {}
        logging.getLogger(f"cocotb.{dut._name}.{prefix}").setLevel(logging.ERROR)
        if hasattr(dut, f"{prefix}_awvalid"):
            bus = AxiBus.from_prefix(dut, prefix)
            write = AxiSlaveWrite(bus.write, dut.clk, dut.rst, target=self)
            read = AxiSlaveRead(bus.read, dut.clk, dut.rst, target=self)
            self.channels |= {"aw": write.aw_channel, "w": write.w_channel, "b": write.b_channel}
            self._answer(write.b_channel, "bresp", "write")
            write.aw_channel.queue_occupancy_limit = outstanding
            write.b_channel.queue_occupancy_limit = outstanding
        else:
            read = AxiSlaveRead(AxiReadBus.from_prefix(dut, prefix), dut.clk, dut.rst, target=self)
        self.channels |= {"ar": read.ar_channel, "r": read.r_channel}
        self._answer(read.r_channel, "rresp", "read")
        read.ar_channel.queue_occupancy_limit = outstanding
        if stall:
            self.stall(stall, seed)

    def stall(self, chance, seed=0, names=None):
        """Pause the named channels (default: all) with a chance per cycle, 0 (never) to 1."""
        for name in names or self.channels:
            rng, channel = random.Random(f"{seed}-{name}"), self.channels[name]
            channel.set_pause_generator(
                iter(lambda rng=rng: rng.random() < chance, None) if chance else None)
            channel.pause = chance > 0

    def _answer(self, channel, field, kind):
        """Turn SLVERR, all that the subordinate knows, into the response of the last access."""
        send = channel.send

        async def send_response(beat):
            if getattr(beat, field) == AxiResp.SLVERR:
                setattr(beat, field, self._answers[kind])
            await send(beat)

        channel.send = send_response

    def _check(self, address, length, kind):
        """Return the offset, or raise ``ValueError`` and note the response."""
        offset = address - self.base
        if not 0 <= offset <= self.size - length:
            self._answers[kind] = AxiResp.DECERR
            raise ValueError(f"{kind} at {address:#x} outside the memory")
        for first, last, fault_kind in self.faults:
            if fault_kind == kind and address <= last and address + length > first:
                self._answers[kind] = AxiResp.SLVERR
                raise ValueError(f"injected {kind} fault at {address:#x}")
        return offset

    async def read(self, address, length):
        """For the subordinate: one word."""
        offset = self._check(address, length, "read")
        self.reads.append(address)
        return self.data[offset:offset + length].tobytes()

    async def write(self, address, data):
        """For the subordinate: bytes of one word that follow each other."""
        offset = self._check(address, len(data), "write")
        self.writes.append(address)
        self.data[offset:offset + len(data)] = np.frombuffer(data, np.uint8)
