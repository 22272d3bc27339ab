"""The surroundings of the command processor: host, rings, engines."""

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from command.bench import bench_config
from command.engine import Engine
from common import drive
from common.axi_check import AxiCheck
from common.drive import power_up, release, seeded, until
from support.command_rig import encode
from support.command_windows import protect
from xpu.platforms.cocotb_memory import CocotbMemory
from xpu_rtl.command.engines import engine_formats, engine_names
from xpu_rtl.command.formats import Engine as EngineName
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.csr.maps import CLUSTER

__all__ = ["BASE", "CONFIG", "Rig", "encode", "raw"]

CONFIG = bench_config(drive.CONFIG)
BASE = 0x7_1234_0000
RING_BYTES = 0x2000
CATEGORIES = ("idle", "busy", "semaphore", "memory", "bank_conflict", "output")


def raw(slots):
    """Slots as bytes."""
    return b"".join(slot.to_bytes(64, "little") for slot in slots)


class Rig:
    """Everything around the bench; made by ``await Rig.create(...)``.

    Attributes
    ----------
    engines : dict
        The engines by name.
    memory : CocotbMemory
        GM with the rings.
    tails : list
        Next slot to write, by ring.
    cycle, active_cycles : int
        Clock cycles since the end of reset, and those in which ``active`` was high.
    """

    @classmethod
    async def create(cls, dut, name, *, stall=0.0, latency=(1, 20), accept_p=1.0, quiet=True):
        self = cls()
        self.dut, self.rng = dut, seeded(name)
        power_up(dut)
        self.cycle = self.active_cycles = 0
        for signal in ("bytes_read", "bytes_written", "sm_waiting"):
            getattr(dut, signal).value = 0
        self._csr = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.memory = CocotbMemory(dut, CONFIG.rings * RING_BYTES, base=BASE, stall=stall,
                                   seed=self.rng.random())
        AxiCheck(dut, CONFIG, extra_reads=64)
        formats = engine_formats(CONFIG).values()
        self.engines = {
            name: Engine(dut, name, fmt, seeded(f"{name}-{self.rng.random()}"), self,
                         latency=latency, accept_p=accept_p)
            for name, fmt in zip(engine_names(CONFIG), formats, strict=True)}
        self.tails, self.slots = [0] * CONFIG.rings, [0] * CONFIG.rings
        await release(dut)
        cocotb.start_soon(self._count())
        return self

    async def _count(self):
        edge = RisingEdge(self.dut.clk)
        while True:
            await edge
            self.cycle += 1
            self.active_cycles += int(self.dut.active.value)

    # Registers -----------------------------------------------------------------------------------
    async def read(self, name, index=0):
        """Value of a register of one field, or a dictionary of its fields."""
        response = await self._csr.read(CLUSTER[name].address(index), 4)
        assert response.resp == AxiResp.OKAY, name
        values = CLUSTER[name].unpack(int.from_bytes(response.data, "little"))
        return values if len(values) > 1 else next(iter(values.values()))

    async def write(self, name, value, index=0):
        response = await self.write_at(CLUSTER[name].address(index), value.to_bytes(4, "little"))
        assert response == AxiResp.OKAY, name

    async def read_at(self, offset):
        """``(data, response)`` of any address."""
        response = await self._csr.read(offset, 4)
        return int.from_bytes(response.data, "little"), response.resp

    async def write_at(self, offset, data):
        """Response of a write of one to four bytes anywhere."""
        return (await self._csr.write(offset, data)).resp

    async def fault(self, ring=0):
        state = await self.read("ring_fault", ring)
        return {
            "cause": FaultCause(state["cause"]), "engine": EngineName(state["engine"]),
            "index": await self.read("ring_fault_index", ring),
            "address": await self.read("ring_fault_address_low", ring)
            | await self.read("ring_fault_address_high", ring) << 32,
            "info": await self.read("ring_fault_info", ring),
            "row": await self.read("ring_fault_row", ring)}

    async def counters(self):
        """``perf_cycles`` and, per engine, the sum of its categories."""
        sums = [sum([await self.read(f"perf_{name}", engine) for name in CATEGORIES])
                for engine in (*engine_formats(CONFIG), EngineName.SIMD)]
        return await self.read("perf_cycles"), sums

    # Rings ---------------------------------------------------------------------------------------
    def address(self, ring, slot=0):
        return BASE + RING_BYTES * ring + 64 * (slot % self.slots[ring])

    async def open_ring(self, ring=0, *, log2_slots=6):
        self.slots[ring], self.tails[ring] = 1 << log2_slots, 0
        assert 64 << log2_slots <= RING_BYTES
        base = self.address(ring)
        await self.write("ring_base_low", base & 0xFFFF_FFFF, ring)
        await self.write("ring_base_high", base >> 32, ring)
        await self.write("ring_size", log2_slots, ring)

    def put(self, slots, ring=0):
        """Write slots at the tail, without the doorbell."""
        for slot in slots:
            at = self.address(ring, self.tails[ring]) - BASE
            self.memory.data[at:at + 64] = list(slot.to_bytes(64, "little"))
            self.tails[ring] = (self.tails[ring] + 1) % self.slots[ring]

    async def doorbell(self, ring=0):
        await self.write("ring_tail", self.tails[ring], ring)

    async def submit(self, commands, ring=0):
        """Write commands, as many per doorbell as there is room for."""
        waiting = list(commands)
        for _ in range(3000):
            if not waiting:
                return
            head, rung = await self.read("ring_head", ring), self.tails[ring]
            while waiting and ((self.tails[ring] - head) % self.slots[ring] + len(waiting[0])
                               < self.slots[ring]):
                self.put(waiting.pop(0), ring)
            if self.tails[ring] != rung:
                await self.doorbell(ring)
        raise AssertionError("no room in the ring")

    async def idle(self, *, cycles=40_000):
        """Wait until nothing is active."""
        await until(self.dut, lambda: not int(self.dut.active.value), "idle", cycles=cycles)
        await ClockCycles(self.dut.clk, 4)      # the counters lag behind

    async def protect(self, ring=0, **fields):
        """Open the windows but for some fields."""
        for name, value in protect(**fields):
            await self.write(name, value, ring)

    async def reset_ring(self, ring=0):
        """Reset a ring alone; wait for its end and begin anew."""
        await self.write("ring_control", CLUSTER["ring_control"].pack(reset=1), ring)
        for _ in range(200):
            if not (await self.read("ring_control", ring))["resetting"]:
                break
        else:
            raise AssertionError("the reset of the ring does not end")
        self.tails[ring] = 0
        for engine in self.engines.values():
            engine.log[:] = [one for one in engine.log if one.ring != ring]
            engine.faults = {key: report for key, report in engine.faults.items()
                             if key[0] != ring}
            engine.stuck = {key for key in engine.stuck if key[0] != ring}

    async def reset(self):
        """Reset by software; wait for its end and begin anew."""
        await self.write("control", CLUSTER["control"].pack(reset=1))
        for _ in range(200):
            if not (await self.read("status"))["resetting"]:
                break
        else:
            raise AssertionError("the reset does not end")
        irq = {field.name: (1 << field.width) - 1 for field in CLUSTER["irq_status"].fields}
        await self.write("irq_status", CLUSTER["irq_status"].pack(**irq))
        self.tails = [0] * CONFIG.rings
        for engine in self.engines.values():
            engine.log.clear()
            engine.added.clear()
            engine.faults.clear()
            engine.stuck.clear()
            engine.resets = 0
