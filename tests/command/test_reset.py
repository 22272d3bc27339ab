"""Reset by software: the sequencer alone, and the processor with work under way."""

import random

import pytest
from amaranth.sim import Simulator

from support.command_rig import CommandRig, encode
from support.command_stream import random_stream
from xpu_rtl.command.formats import Opcode
from xpu_rtl.command.reset import ResetSequencer
from xpu_rtl.configs import get_config

TINY = get_config("tiny")


@pytest.mark.parametrize("busy", [0, 5, 20])
def test_sequence(busy):
    """Abort at once, reset when quiet but not before the settling time, then back."""
    dut = ResetSequencer()
    trace = []

    async def testbench(ctx):
        ctx.set(dut.request, 1)
        await ctx.tick()
        ctx.set(dut.request, 0)
        for cycle in range(busy + 20):
            ctx.set(dut.quiet, cycle >= busy)
            trace.append((ctx.get(dut.abort), ctx.get(dut.core_reset)))
            assert ctx.get(dut.resetting) == trace[-1][0]
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(testbench)
    sim.run()
    begin = max(dut.SETTLE_CYCLES, busy + 1)
    end = begin + dut.RESET_CYCLES
    expected = [(cycle < end, begin <= cycle < end) for cycle in range(len(trace))]
    assert trace == expected


@pytest.mark.parametrize(("seed", "moment"), [(0, 12), (1, 40), (2, 90), (3, 170)])
def test_in_the_middle(seed, moment):
    """Reset with reads outstanding and engines at work, then run a whole stream from scratch."""
    rng = random.Random(seed)
    first, second = (random_stream(rng, TINY, 25) for _ in range(2))

    async def host(ctx, rig):
        read, dut = rig.registers.read, rig.dut
        for engine in rig.engines.values():
            engine.quiet_after = rng.randrange(60)
        await rig.registers.write(ctx, "irq_enable", 0x0101)
        await rig.open_ring(ctx, log2_slots=6)
        for slots in first.encoded():
            rig.put(slots)
        await rig.doorbell(ctx)
        for _ in range(moment):
            await ctx.tick()
        before = await rig.counters(ctx)
        await rig.registers.write(ctx, "control", 1)
        assert (await read(ctx, "status"))["resetting"] == 1
        await rig.until(ctx, lambda: ctx.get(dut.core_reset), "core reset", limit=400)
        assert rig.memory.outstanding == 0
        assert not ctx.get(dut.fetch.ar.valid)
        assert all(ctx.get(getattr(dut, name).quiet) for name in rig.engines)
        await ctx.tick()
        await rig.until(ctx, lambda: not ctx.get(dut.core_reset), "end of reset", limit=4)
        assert await read(ctx, "status") == {"active": 0, "resetting": 0, "faulted": 0}
        for name in ("head", "tail", "completed", "issued", "fault_index"):
            assert await read(ctx, f"ring_{name}") == 0, name
        for number in range(TINY.semaphores):
            assert await read(ctx, "semaphore", number) == 0
        assert await read(ctx, "ring_base_low") == rig.BASE & 0xFFFF_FFFF
        assert await read(ctx, "ring_size") == 6
        assert await read(ctx, "irq_enable") == {"completion": 1, "fault": 1}
        after = await rig.counters(ctx)
        assert after[0] >= before[0] > 0
        assert after[0] == rig.active_cycles

        rig.tails[0] = 0
        for engine in rig.engines.values():
            engine.log.clear()
            engine.added.clear()
        await rig.submit(ctx, second.encoded())
        await rig.until_idle(ctx)
        second.check(rig.engines)
        assert await read(ctx, "ring_completed") == second.last_sequence
        for number in range(TINY.semaphores):
            expected = second.totals.get(number, 0) % (1 << TINY.semaphore_width)
            assert await read(ctx, "semaphore", number) == expected

    CommandRig(TINY, seed=seed, latency=(5, 60),
               memory={"latency": (20, 50), "ready_p": 0.5, "valid_p": 0.5}).run(host)


def test_after_a_fault():
    """A reset clears the fault; the interrupt cause stays until the host clears it."""
    async def host(ctx, rig):
        read = rig.registers.read
        await rig.open_ring(ctx, log2_slots=3)
        rig.put(encode(0))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        assert (await read(ctx, "ring_fault"))["cause"] != 0
        await rig.registers.write(ctx, "control", 1)
        for _ in range(30):
            await ctx.tick()
        assert await read(ctx, "ring_fault") == {"cause": 0, "engine": 0}
        assert await read(ctx, "irq_status") == {"completion": 0, "fault": 1}
        await rig.registers.write(ctx, "irq_status", 0x100)
        assert await read(ctx, "irq_status") == {"completion": 0, "fault": 0}
        rig.tails[0] = 0
        rig.put(encode(Opcode.FENCE, sequence=3))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        assert await read(ctx, "ring_completed") == 3

    CommandRig(TINY).run(host)
