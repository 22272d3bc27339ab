"""Faults and standstills of one ring among several: engines come back, other rings go on."""

import dataclasses
import random
from itertools import pairwise

import pytest
from amaranth.sim import Simulator

from support.command_faults import fault_of
from support.command_rig import CommandRig, encode
from support.command_stream import engine_of, random_stream
from xpu_rtl.command.dispatch import EngineDispatch
from xpu_rtl.command.formats import Engine, FaultCause, Opcode
from xpu_rtl.command.recovery import EngineRecovery
from xpu_rtl.command.reset import ResetSequencer
from xpu_rtl.command.types import Activity
from xpu_rtl.configs import get_config

TINY = get_config("tiny")
TWO = dataclasses.replace(TINY, rings=2, dma_streams=1)
THREE = dataclasses.replace(TINY, rings=3)
REPORT = {"cause": int(FaultCause.BUS_READ), "address": 0x1234_5678_9ABC, "info": 2, "row": 7}
OPCODES = {"load": Opcode.DMA_LOAD, "store": Opcode.DMA_STORE_ND, "tensor": Opcode.GEMM,
           "load1": Opcode.DMA_LOAD_ND, "store1": Opcode.DMA_STORE}


def command(engine, **fields):
    stream = {"stream": 1} if engine.endswith("1") else {}
    return encode(OPCODES[engine], rows=1, **stream, **fields)


async def reset_ring(ctx, rig, ring):
    """Acknowledge, and wait until the ring can be used again."""
    await rig.registers.write(ctx, "ring_control", 1, ring)
    for _ in range(100):
        if not (await rig.registers.read(ctx, "ring_control", ring))["resetting"]:
            break
    else:
        raise AssertionError("the reset of the ring does not end")
    rig.tails[ring] = 0
    for name in ("head", "tail", "completed", "issued"):
        assert await rig.registers.read(ctx, f"ring_{name}", ring) == 0, name
    assert (await fault_of(ctx, rig, ring))["cause"] is FaultCause.NONE
    for engine in rig.engines.values():
        engine.log[:] = [one for one in engine.log if one.ring != ring]


def start(rig, ring, commands):
    for slots in commands:
        rig.put(slots, ring)


@pytest.mark.parametrize("engine", OPCODES)
@pytest.mark.parametrize("seed", range(1))
def test_a_failing_engine_serves_other_rings(engine, seed):
    """A random command of ring 0 fails; rings 1 and 2 do not notice; ring 0 is used again."""
    rng = random.Random(f"{engine}-{seed}")
    streams = []
    for numbers in (range(1, 4), range(4, 7), range(7, 10), range(10, 13)):
        streams.append(random_stream(rng, THREE, 10, semaphores=numbers))
    streams[0].commands.insert(0, (OPCODES[engine], {
        "rows": 1, "stream": int(engine.endswith("1"))}))
    places = [n for n, one in enumerate(streams[0].commands) if engine_of(*one) == engine]
    index = rng.choice(places)

    async def host(ctx, rig):
        rig.engines[engine].faults[0, index] = REPORT
        rig.engines[engine].quiet_after = rng.choice((0, 40))
        for ring in range(3):
            await rig.open_ring(ctx, ring)
            start(rig, ring, streams[ring].encoded())
        for ring in rng.sample(range(3), 3):
            await rig.doorbell(ctx, ring)
        await rig.until_idle(ctx)
        for ring in (1, 2):
            streams[ring].check(rig.engines, ring)
            assert await rig.registers.read(ctx, "ring_completed", ring) == \
                streams[ring].last_sequence
            assert (await fault_of(ctx, rig, ring))["cause"] is FaultCause.NONE
            for number, total in streams[ring].totals.items():
                assert await rig.registers.read(ctx, "semaphore", number) == total % (1 << 24)
        assert await fault_of(ctx, rig, 0) == REPORT | {
            "cause": FaultCause.BUS_READ, "engine": Engine[engine.upper()], "index": index}
        assert rig.engines[engine].resets == 1
        assert (await rig.registers.read(ctx, "status"))["faulted"] == 1

        await reset_ring(ctx, rig, 0)
        rig.engines[engine].faults.clear()
        assert (await rig.registers.read(ctx, "status"))["faulted"] == 0
        start(rig, 0, streams[3].encoded())
        await rig.doorbell(ctx, 0)
        await rig.until_idle(ctx)
        streams[3].check(rig.engines, 0)
        assert await rig.registers.read(ctx, "ring_completed", 0) == streams[3].last_sequence
        for number, total in streams[3].totals.items():
            assert await rig.registers.read(ctx, "semaphore", number) == total % (1 << 24)

    CommandRig(THREE, seed=seed, latency=(1, 30), accept_p=0.7).run(host)


@pytest.mark.parametrize("engine", ["store", "tensor"])
def test_an_engine_stuck_with_commands_of_a_faulted_ring(engine):
    """It is taken from that ring without the host; a moving one may finish before."""
    async def host(ctx, rig):
        stuck, moving = rig.engines[engine], rig.engines["load"]
        stuck.stuck.add((0, 0))
        moving.latency = (200, 200)
        for ring in range(2):
            await rig.open_ring(ctx, ring)
        start(rig, 0, [command(engine), command(engine), command("load"), encode(0xEE)])
        start(rig, 1, [command(engine), command("load"), encode(Opcode.FENCE, sequence=4)])
        await rig.doorbell(ctx, 0)
        await rig.until(ctx, lambda: stuck.log and moving.log, "ring 0 has the engines")
        await rig.doorbell(ctx, 1)
        for _ in range(150):        # all wait: an illegal command is reported in order
            await ctx.tick()
        assert (await fault_of(ctx, rig, 0))["cause"] is FaultCause.NONE
        assert not stuck.resets
        rig.engines["load"].faults[0, 2] = REPORT
        await rig.until(ctx, lambda: moving.log[0].done, "the load fails")
        await rig.until(ctx, lambda: not ctx.get(rig.dut.active), "ring 1 goes on", limit=700)
        assert await rig.registers.read(ctx, "ring_completed", 1) == 4
        assert (stuck.resets, moving.resets) == (1, 1)
        assert [(one.ring, one.index) for one in stuck.log if one.done] == [(1, 0)]
        await reset_ring(ctx, rig, 0)
        start(rig, 0, [encode(Opcode.FENCE, sequence=9)])
        await rig.doorbell(ctx, 0)
        await rig.until_idle(ctx)
        assert await rig.registers.read(ctx, "ring_completed", 0) == 9

    CommandRig(TWO, latency=(3, 9)).run(host)


def test_a_moving_engine_finishes_what_it_has():
    """A fault elsewhere in the ring does not cut off a command under way."""
    async def host(ctx, rig):
        rig.engines["store"].latency = (150, 150)
        rig.engines["load"].faults[0, 1] = REPORT
        for ring in range(2):
            await rig.open_ring(ctx, ring)
        start(rig, 0, [command("store", signal0_semaphore=3, signal0_add=8), command("load")])
        start(rig, 1, [command("store"), encode(Opcode.FENCE, sequence=4)])
        await rig.doorbell(ctx, 0)
        await rig.until(ctx, lambda: rig.engines["load"].resets, "recovery of the load engine")
        await rig.doorbell(ctx, 1)
        await rig.until_idle(ctx)
        assert [(one.ring, one.done is not None) for one in rig.engines["store"].log] == [
            (0, True), (1, True)]
        assert rig.engines["store"].resets == 0
        assert await rig.registers.read(ctx, "semaphore", 3) == 8
        assert await rig.registers.read(ctx, "ring_completed", 1) == 4

    CommandRig(TWO, latency=(3, 9)).run(host)


@pytest.mark.parametrize("config", [dataclasses.replace(TWO, rings=1), TWO], ids=["one", "two"])
@pytest.mark.parametrize("kind", ["header", "nop", "body", "fence", "idle", "busy"])
def test_reset_of_a_ring(kind, config):
    """A ring that waits for what never comes, one that does nothing, one that moves."""
    never = {"wait0_semaphore": 5, "wait0_value": 1}
    commands = {
        "header": [command("load", **never), command("load"), command("tensor", **never)],
        "nop": [command("load"), encode(Opcode.NOP, **never), command("store")],
        "body": [command("store"), command("store"), command("tensor")],
        "fence": [command("tensor", **never), encode(Opcode.FENCE, sequence=1), command("load")],
        "idle": [],
        "busy": [command(name) for _ in range(6) for name in ("load", "store", "tensor")],
    }[kind]

    async def host(ctx, rig):
        if kind == "body":
            rig.engines["store"].stuck.add((0, 0))
        for ring in range(config.rings):
            await rig.open_ring(ctx, ring)
        start(rig, 0, commands)
        await rig.doorbell(ctx, 0)
        if config.rings == 2:
            start(rig, 1, [command("store") for _ in range(4)])
            start(rig, 1, [command("tensor"), encode(Opcode.FENCE, sequence=6)])
            await rig.doorbell(ctx, 1)
        for _ in range(120):
            await ctx.tick()
        others = {name: sum(one.ring == 1 for one in engine.log)
                  for name, engine in rig.engines.items()}
        await reset_ring(ctx, rig, 0)
        rig.engines["store"].stuck.clear()
        start(rig, 0, [command("load"), command("store"), command("tensor"),
                       encode(Opcode.FENCE, sequence=3)])
        await rig.doorbell(ctx, 0)
        await rig.until_idle(ctx)
        for name in ("load", "store", "tensor"):
            assert len([one for one in rig.engines[name].log if one.ring == 0 and one.done]) == 1
        assert await rig.registers.read(ctx, "ring_completed", 0) == 3
        assert await rig.registers.read(ctx, "ring_issued", 0) == 4
        assert await rig.registers.read(ctx, "irq_status") == {"completion": 0, "fault": 0}
        if config.rings == 2:
            log = [one for one in rig.engines["store"].log if one.ring == 1]
            assert [one.index for one in log] == [0, 1, 2, 3]
            assert all(one.done for one in log)
            assert await rig.registers.read(ctx, "ring_completed", 1) == 6
            if kind == "body":
                assert others["store"] == 0, "ring 0 has the engine"
        assert rig.engines["store"].resets == (kind == "body")

    CommandRig(config, latency=(20, 60)).run(host)


@pytest.mark.parametrize("rings", [1, 2])
def test_nothing_of_a_faulted_ring_begins_after_the_recovery(rings):
    """Not even the command that was offered when the engine failed."""
    async def host(ctx, rig):
        engine = rig.engines["load"]
        engine.faults[0, 1] = REPORT
        await rig.open_ring(ctx)
        start(rig, 0, [command("load")] * 8)
        await rig.doorbell(ctx)
        await rig.until(ctx, lambda: engine.resets, "recovery", limit=600)
        accepted = [one.index for one in engine.log]
        assert accepted[-1] < 7
        for _ in range(150):
            await ctx.tick()
        assert [one.index for one in engine.log] == accepted
        assert [one.index for one in engine.log if one.done] == [0, 1]

    CommandRig(dataclasses.replace(TWO, rings=rings), latency=(30, 30)).run(host)


@pytest.mark.parametrize("rings", [2, 3])
def test_turns(rings):
    """A ring that floods an engine lets the others through after ``TURN`` commands."""
    config = dataclasses.replace(TWO, rings=rings)

    async def host(ctx, rig):
        engine = rig.engines["load"]
        for ring in range(rings):
            await rig.open_ring(ctx, ring)
            start(rig, ring, [command("load")] * (40 if ring == 0 else 6))
        for ring in range(rings):
            await rig.doorbell(ctx, ring)
        await rig.until_idle(ctx)
        order = [one.ring for one in engine.log]
        for ring in range(1, rings):    # from its first command until its last
            places = [n for n, number in enumerate(order) if number == ring]
            for a, b in pairwise(places):
                assert b - a <= (rings - 1) * EngineDispatch.TURN + 1
        assert len(order) == 40 + 6 * (rings - 1)

    CommandRig(config, latency=(30, 60)).run(host)


@pytest.mark.parametrize("activity", [Activity.IDLE, Activity.SEMAPHORE, Activity.MEMORY])
def test_patience(activity):
    """A standstill of ``PATIENCE`` cycles, no less, and only with commands of a dying ring."""
    dut = EngineRecovery(TWO)

    async def testbench(ctx):
        async def steps(count, **values):
            for name, value in values.items():
                ctx.set(getattr(dut, name), value)
            for _ in range(count):
                await ctx.tick()
                if ctx.get(dut.abort):
                    return True
            return False

        ctx.set(dut.activity, activity)
        assert not await steps(40, serving=1, dying=2)
        assert not await steps(40, serving=0, dying=3)
        assert not await steps(dut.PATIENCE - 1, serving=2, dying=2)
        ctx.set(dut.activity, Activity.BUSY)
        assert not await steps(1)
        ctx.set(dut.activity, activity)
        assert not await steps(dut.PATIENCE - 1)
        if activity is Activity.MEMORY:
            assert not await steps(40)
            ctx.set(dut.failed, 1)
        assert await steps(1)
        ctx.set(dut.failed, 0)
        for _ in range(30):
            assert not ctx.get(dut.reset)
            await ctx.tick()
        ctx.set(dut.quiet, 1)
        await ctx.tick()
        for _ in range(ResetSequencer.RESET_CYCLES):
            assert ctx.get(dut.reset)
            assert ctx.get(dut.abort)
            await ctx.tick()
        assert not ctx.get(dut.abort)

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(testbench)
    sim.run()
