"""Latencies and throughput of the command processor, and the registers for hang reports."""

import dataclasses
import statistics
from itertools import pairwise

import pytest

from support.command_rig import CommandRig, encode
from xpu_rtl.command.dispatch import EngineDispatch
from xpu_rtl.command.formats import Engine, Opcode
from xpu_rtl.command.types import Activity
from xpu_rtl.configs import CONFIGS, get_config

TINY = get_config("tiny")
FAST = {"latency": (1, 1)}
#: Cycles from the last beat of a burst of commands to the first of the next, with FAST memory.
BURST_GAP = 6


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_doorbell_to_read_address(config):
    async def host(ctx, rig):
        csr, dut = rig.dut.csr, rig.dut
        await rig.open_ring(ctx)
        rig.put(encode(Opcode.FENCE, sequence=1))
        ctx.set(csr.awaddr, 0x40C)
        ctx.set(csr.wdata, 1)
        ctx.set(csr.wstrb, 0xF)
        ctx.set(csr.bready, 1)
        ctx.set(csr.awvalid, 1)
        ctx.set(csr.wvalid, 1)
        await ctx.tick()
        ctx.set(csr.awvalid, 0)
        ctx.set(csr.wvalid, 0)
        for _ in range(dut.doorbell_latency - 1):
            assert not ctx.get(dut.fetch.ar.valid)
            await ctx.tick()
        assert ctx.get(dut.fetch.ar.valid)
        await rig.until_idle(ctx)
        assert await rig.registers.read(ctx, "ring_completed") == 1

    CommandRig(config, memory=FAST).run(host)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_cycles_per_nop(config):
    """A long row of NOPs takes ``slot_beats + 1`` cycles each, plus the start and burst gaps."""
    count = 60
    bursts = count // (config.fetch_slots // 2)

    async def host(ctx, rig):
        await rig.open_ring(ctx)
        for _ in range(count):
            rig.put(encode(Opcode.NOP))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        assert await rig.registers.read(ctx, "ring_issued") == count
        cycles, _ = await rig.counters(ctx)
        assert cycles <= count * (config.slot_beats + 2) + bursts * BURST_GAP

    CommandRig(config, memory=FAST).run(host)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_commands_follow_each_other(config):
    """An engine that takes commands at once gets one every ``slots * slot_beats + 2`` cycles,
    those whose slots come with the next burst a little later."""
    async def host(ctx, rig):
        await rig.open_ring(ctx)
        for _ in range(12):
            rig.put(encode(Opcode.GEMM, rows=1))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        log = rig.engines["tensor"].log
        gaps = [b.accepted - a.accepted for a, b in pairwise(log[6:])]
        assert min(gaps) >= 2 * config.slot_beats
        assert statistics.median(gaps) == 2 * config.slot_beats + 2
        assert max(gaps) <= 2 * config.slot_beats + 2 + BURST_GAP

    CommandRig(config, memory=FAST, latency=(1, 1)).run(host)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_satisfied_command_waits_for_few_cycles(config):
    """From the completion of the signalling command to the acceptance of the waiting one."""
    async def host(ctx, rig):
        await rig.open_ring(ctx)
        rig.put(encode(Opcode.DMA_LOAD, rows=1, signal0_semaphore=1, signal0_add=1))
        rig.put(encode(Opcode.GEMM, rows=1, wait0_semaphore=1, wait0_value=1))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        load, = rig.engines["load"].log
        gemm, = rig.engines["tensor"].log
        # done, signal, sum, comparison, offer: one register each
        assert gemm.accepted - load.done == 5

    CommandRig(config, memory=FAST, latency=(60, 60)).run(host)


def test_commands_in_flight():
    """An engine that accepts without end is given ``IN_FLIGHT`` commands, then one per done."""
    async def host(ctx, rig):
        engine = rig.engines["store"]
        engine.DEPTH = 100
        await rig.open_ring(ctx)
        for _ in range(12):
            rig.put(encode(Opcode.DMA_STORE, rows=1, signal0_semaphore=2, signal0_add=1))
        await rig.doorbell(ctx)
        for _ in range(2000):
            await ctx.tick()
            done = sum(one.done is not None for one in engine.log)
            assert len(engine.log) - done <= EngineDispatch.IN_FLIGHT
        assert [one.index for one in engine.log] == list(range(12))
        assert max(b.accepted - a.accepted for a, b in pairwise(engine.log[:4])) < 25
        assert await rig.registers.read(ctx, "semaphore", 2) == 12

    CommandRig(TINY, latency=(120, 120), memory=FAST).run(host)


def test_streams_run_side_by_side():
    """The second stream's commands do not queue behind the first's, and keep their order."""
    async def host(ctx, rig):
        rig.engines["load"].latency = rig.engines["store"].latency = (400, 400)
        await rig.open_ring(ctx)
        for opcode in (Opcode.DMA_LOAD, Opcode.DMA_STORE_ND):
            for stream in (0, 1, 1):
                rig.put(encode(opcode, rows=1, stream=stream))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        logs = {name: [one.index for one in engine.log] for name, engine in rig.engines.items()}
        assert logs == {"load": [0], "load1": [1, 2], "store": [3], "store1": [4, 5], "tensor": [],
                        "simd": []}
        first, second = (rig.engines[name].log[-1].done for name in ("load", "load1"))
        assert second < first
        assert await rig.registers.read(ctx, "engine_index", Engine.STORE1) == 5
        assert await rig.registers.read(ctx, "perf_busy", Engine.LOAD1) > 0

    CommandRig(TINY, latency=(20, 20)).run(host)


def test_a_waiting_command_blocks_nobody_else():
    async def host(ctx, rig):
        await rig.open_ring(ctx)
        rig.put(encode(Opcode.GEMM, rows=1, wait0_semaphore=3, wait0_value=0x1_0001))
        for _ in range(3):
            rig.put(encode(Opcode.DMA_STORE, rows=1))
        await rig.doorbell(ctx)
        for _ in range(400):
            await ctx.tick()
        assert len(rig.engines["store"].log) == 3
        assert not rig.engines["tensor"].log
        read = rig.registers.read
        assert await read(ctx, "engine_state", Engine.TENSOR) == {
            "activity": Activity.IDLE.value, "waiting": 1, "semaphore": 3}
        assert await read(ctx, "engine_threshold", Engine.TENSOR) == 0x1_0001
        assert await read(ctx, "engine_state", Engine.STORE) == {
            "activity": Activity.IDLE.value, "waiting": 0, "semaphore": 0}
        assert await read(ctx, "engine_index", Engine.STORE) == 3
        assert (await read(ctx, "status"))["active"] == 1
        before, engines = await rig.counters(ctx)
        later = await read(ctx, "perf_semaphore", Engine.TENSOR)
        assert later > engines[Engine.TENSOR][2] > before - 150
        assert await read(ctx, "perf_idle", Engine.SIMD) > 0

    CommandRig(TINY, latency=(3, 9)).run(host)


def test_bytes_and_stalls_count_while_active():
    """The wait keeps the ring active until the host's second ring signals."""
    config = dataclasses.replace(TINY, rings=2)
    reference = {"read": 0, "written": 0, "stalls": [0] * 8}

    async def host(ctx, rig):
        dut = rig.dut
        read = rig.registers.read

        async def traffic(cycles):
            for n in range(cycles):
                moved, waiting = (0xFFFF, n % 3, n * 37 % 256)[n % 3], n * 29 % 256
                ctx.set(dut.bytes_read, moved)
                ctx.set(dut.bytes_written, n * 300 % 65536)
                ctx.set(dut.sm_waiting, waiting)
                _, _, active = await ctx.tick().sample(dut.active)
                if active:
                    reference["read"] += moved
                    reference["written"] += n * 300 % 65536
                    for bit in range(8):
                        reference["stalls"][bit] += waiting >> bit & 1
            for port in (dut.bytes_read, dut.bytes_written, dut.sm_waiting):
                ctx.set(port, 0)

        for ring in range(2):
            await rig.open_ring(ctx, ring)
        await traffic(50)
        assert await read(ctx, "bytes_read_low") == 0
        rig.put(encode(Opcode.NOP, wait0_semaphore=1, wait0_value=2), 0)
        await rig.doorbell(ctx, 0)
        await traffic(300)
        rig.put(encode(Opcode.NOP, signal1_semaphore=1, signal1_add=2), 1)
        await rig.doorbell(ctx, 1)
        await rig.until_idle(ctx)
        await traffic(50)
        assert await read(ctx, "bytes_read_low") == reference["read"] > 0
        assert await read(ctx, "bytes_written_low") == reference["written"] > 0
        assert await read(ctx, "bytes_read_high") == 0
        stalls = [await read(ctx, "sm_stalls", n) for n in range(8)]
        assert stalls == reference["stalls"]

    CommandRig(config).run(host)


def test_register_errors_at_the_top():
    async def host(ctx, rig):
        manager = rig.registers
        assert await manager.read_address(ctx, 0x020) == (0, 2)
        assert await manager.read_address(ctx, 0xC00) == (0, 2)
        assert await manager.write_address(ctx, 0x000, 1) == 2
        assert await manager.write_address(ctx, 0x804, 1) == 2
        assert await manager.read_address(ctx, 0x800 + 4 * 255) == (0, 0)   # not implemented
        assert await manager.write_address(ctx, 0x440, 0x40) == 0           # ring 1: not there
        assert await manager.read_address(ctx, 0x440) == (0, 0)

    CommandRig(TINY).run(host)
