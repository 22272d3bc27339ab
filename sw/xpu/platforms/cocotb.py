"""The platform inside a cocotb testbench: the same driver, the same RTL, an independent bus model.

Use it from a blocking function that runs under ``cocotb.task.bridge``::

    @cocotb.test()
    async def products(dut):
        platform = xpu.CocotbPlatform(dut, config="tiny")
        await cocotb.task.bridge(my_driver_code)(platform)

``my_driver_code(platform)`` is ordinary driver code: ``with xpu.open(platform=platform) as dev:``.
"""

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import resume
from cocotb.triggers import ClockCycles, First, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from xpu_rtl import get_config
from xpu_rtl.command.formats import Engine

from .base import Platform, RegisterAccessError, TraceEvent, engine_names
from .cocotb_memory import CocotbMemory

__all__ = ["CocotbPlatform"]

_RESET_CYCLES = 4


class CocotbPlatform(Platform):
    """Registers through an AXI4-Lite manager, memory behind an AXI4 subordinate (cocotbext-axi).

    Parameters
    ----------
    dut : cocotb handle
        The module ``xpu``, or any with its ports.
    config : str or XpuConfig
        What ``dut`` was made from; ``xpu.open`` checks it against the contract hash.
    memory_bytes : int
        Size of global memory.
    stall : float
        Chance per cycle that a channel of the memory pauses.
    seed : int
        Of the stalls.
    period_ns : int
        Clock period.

    Attributes
    ----------
    memory : CocotbMemory
        Global memory.
    """

    name = "cocotb"
    timed = True

    def __init__(self, dut, config="slice", *, memory_bytes=16 << 20, stall=0.0, seed=0,
                 period_ns=10):
        self.config = get_config(config)
        self.memory_bytes = memory_bytes
        self._dut, self._cycles, self._open_commands, self._trace = dut, 0, {}, []
        dut.rst.value = 1
        self._csr = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.memory = CocotbMemory(dut, memory_bytes, stall=stall, seed=seed)
        cocotb.start_soon(Clock(dut.clk, period_ns, unit="ns").start())
        cocotb.start_soon(self._watch())
        self._reset_done = False

    async def _watch(self):
        """Count cycles and record begin and end of every command."""
        dut = self._dut
        engines = [(name, Engine[name.upper()]) for name in engine_names(self.config)]
        edge = RisingEdge(dut.clk)
        while True:
            await edge      # what is read now is the value in the cycle that ends
            self._cycles += 1
            if not int(dut.obs_active.value):
                self._open_commands.clear()     # what has not ended was reset
                continue
            begin, done = int(dut.obs_begin.value), int(dut.obs_done.value)
            if not begin | done:
                continue
            index = int(dut.obs_index.value)
            for name, engine in engines:
                pending = self._open_commands.setdefault(name, [])
                if begin >> engine & 1:
                    pending.append((index >> 32 * engine & 0xFFFF_FFFF, self._cycles))
                if done >> engine & 1 and pending:
                    number, start = pending.pop(0)
                    self._trace.append(TraceEvent(name, number, start, self._cycles))

    async def _settle(self):
        if not self._reset_done:
            for _ in range(_RESET_CYCLES):
                await RisingEdge(self._dut.clk)
            self._dut.rst.value = 0
            await RisingEdge(self._dut.clk)
            self._reset_done = True

    @property
    def cycle_count(self):
        return self._cycles

    def inject_fault(self, first, last, kind):
        """Answer accesses to bytes ``first`` .. ``last`` with SLVERR; kind "read" or "write"."""
        self.memory.faults.append((first, last, kind))

    def clear_faults(self):
        """Answer normally again."""
        self.memory.faults.clear()

    def read_register(self, offset):
        return resume(self._read_register)(offset)

    async def _read_register(self, offset):
        await self._settle()
        response = await self._csr.read(offset, 4)
        if response.resp != AxiResp.OKAY:
            raise RegisterAccessError(offset, "read", int(response.resp))
        return int.from_bytes(response.data, "little")

    def write_register(self, offset, value):
        resume(self._write_register)(offset, value)

    async def _write_register(self, offset, value):
        await self._settle()
        response = await self._csr.write(offset, int(value).to_bytes(4, "little"))
        if response.resp != AxiResp.OKAY:
            raise RegisterAccessError(offset, "write", int(response.resp))

    def read_memory(self, address, size):
        self.check_range(address, size)
        return self.memory.data[address:address + size].copy()

    def write_memory(self, address, data):
        if isinstance(data, np.ndarray):
            data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        else:
            data = np.frombuffer(data, np.uint8)
        self.check_range(address, data.size)
        self.memory.data[address:address + data.size] = data

    def run(self, max_cycles):
        return resume(self._run)(max_cycles)

    async def _run(self, max_cycles):
        await self._settle()
        start = self._cycles
        if not int(self._dut.irq.value):
            await First(RisingEdge(self._dut.irq), ClockCycles(self._dut.clk, max_cycles))
        return self._cycles - start, bool(int(self._dut.irq.value))

    def take_trace(self):
        trace, self._trace = self._trace, []
        return trace

    def hard_reset(self):
        resume(self._hard_reset)()

    async def _hard_reset(self):
        self._dut.rst.value = 1
        self._reset_done = False
        self._open_commands = {}
        await self._settle()

    def close(self):
        self._open_commands = {}
