"""A command processor with behavioural engines and a memory, for tests."""

import random

from amaranth.sim import Simulator

from support.axi_lite import AxiLiteManager
from support.engines import FORMATS, BehaviouralEngine
from support.fetch_memory import FetchMemory
from xpu_rtl.command.engines import engine_formats, engine_names
from xpu_rtl.command.formats import HEADER, Engine
from xpu_rtl.command.processor import CommandProcessor
from xpu_rtl.csr.maps import CLUSTER

__all__ = ["CommandRig", "encode"]


def encode(opcode, **fields):
    """Return the 64-byte slots of a command; ``slots`` is filled in unless given."""
    fmt = FORMATS.get(opcode)
    body = dict(fields)
    header = {"opcode": opcode, "slots": fmt.slots if fmt else 1}
    header |= {name: body.pop(name) for name in list(body) if name in HEADER.lsb}
    word = HEADER.pack(header) | (fmt.pack(body) if fmt else 0)
    return [word >> 512 * n & ((1 << 512) - 1) for n in range(fmt.slots if fmt else 1)]


class CommandRig:
    """The device under test and what surrounds it.

    ``run(host)`` simulates until the coroutine function ``host(ctx, rig)`` returns.
    """

    BASE = 0x1_2345_6000

    def __init__(self, config, *, seed=0, latency=(1, 20), accept_p=1.0, memory=None, limit=20_000):
        self.config, self.limit = config, limit
        self.dut = CommandProcessor(config)
        self.registers = AxiLiteManager(self.dut.csr, CLUSTER)
        self.memory = FetchMemory(self.dut.fetch, config.bus_width, random.Random(f"{seed}-mem"),
                                  **(memory or {}))
        self.engines = {
            name: BehaviouralEngine(getattr(self.dut, name), fmt,
                                    getattr(self.dut, f"{name}_reset"),
                                    random.Random(f"{seed}-{name}"), latency=latency,
                                    accept_p=accept_p)
            for name, fmt in zip(engine_names(config), engine_formats(config).values(),
                                 strict=True)
        }
        self.numbers = [*engine_formats(config), Engine.SIMD]    #: engines with counters
        self.tails = [0] * config.rings
        self.slots = [0] * config.rings
        self.cycle = 0
        self.active_cycles = 0

    def base(self, ring):
        return self.BASE + 0x10_0000 * ring

    async def open_ring(self, ctx, ring=0, *, log2_slots=6, offset=0):
        base = self.base(ring) + offset
        self.slots[ring] = 1 << log2_slots
        await self.registers.write(ctx, "ring_base_low", base & 0xFFFF_FFFF, ring)
        await self.registers.write(ctx, "ring_base_high", base >> 32, ring)
        await self.registers.write(ctx, "ring_size", log2_slots, ring)

    def put(self, slots, ring=0, *, offset=0):
        """Write slots at the tail, without the doorbell."""
        for slot in slots:
            self.memory.contents[self.base(ring) + offset + 64 * self.tails[ring]] = slot
            self.tails[ring] = (self.tails[ring] + 1) % self.slots[ring]

    async def doorbell(self, ctx, ring=0):
        await self.registers.write(ctx, "ring_tail", self.tails[ring], ring)

    async def submit(self, ctx, commands, ring=0):
        """Write encoded commands, as many per doorbell as there is room for."""
        waiting = list(commands)
        for _ in range(3000):
            if not waiting:
                return
            head = await self.registers.read(ctx, "ring_head", ring)
            rung = self.tails[ring]
            while waiting and ((self.tails[ring] - head) % self.slots[ring] + len(waiting[0])
                               < self.slots[ring]):
                self.put(waiting.pop(0), ring)
            if self.tails[ring] != rung:
                await self.doorbell(ctx, ring)
        raise AssertionError("no room in the ring")

    async def until(self, ctx, condition, what, *, limit=None):
        """Step until ``condition()`` holds."""
        for _ in range(limit or self.limit):
            if condition():
                return
            await ctx.tick()
        raise AssertionError(f"never: {what}")

    async def until_idle(self, ctx):
        await self.until(ctx, lambda: not ctx.get(self.dut.active), "idle")
        for _ in range(4):      # the counters lag behind
            await ctx.tick()

    async def counters(self, ctx):
        """Return perf_cycles and, per engine of ``numbers``, the six categories."""
        cycles = await self.registers.read(ctx, "perf_cycles")
        names = ("idle", "busy", "semaphore", "memory", "bank_conflict", "output")
        return cycles, [[await self.registers.read(ctx, f"perf_{name}", engine) for name in names]
                        for engine in self.numbers]

    def run(self, host):
        sim = Simulator(self.dut)
        sim.add_clock(1e-9)

        async def count(ctx):
            async for _, _, active in ctx.tick().sample(self.dut.active):
                self.cycle += 1
                self.active_cycles += active
                assert self.cycle < self.limit, "the simulation takes too long"

        async def bound(ctx):
            await host(ctx, self)

        sim.add_testbench(count, background=True)
        sim.add_testbench(self.memory.run, background=True)
        for engine in self.engines.values():
            sim.add_testbench(engine.run, background=True)
        sim.add_testbench(bound)
        sim.run()


