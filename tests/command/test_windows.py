"""Protection windows: command fetch and header semaphores."""

import dataclasses
import random

import pytest
from amaranth.sim import Simulator

from support.command_faults import fault_of
from support.command_rig import CommandRig, encode
from support.command_windows import CLOSED, OPEN, protect
from support.fetch_memory import FetchMemory
from xpu_rtl.address_map import Space
from xpu_rtl.command.fetch import REFUSED, RingFetcher
from xpu_rtl.command.formats import Engine, FaultCause, Opcode
from xpu_rtl.configs import get_config

TINY = get_config("tiny")
WIDE = dataclasses.replace(TINY, lanes=64, acc_rows=64, sm_bytes=64 * 1024)
WRITE = 16
GOOD = {"rows": 1, "row_bytes": 4}


async def set_windows(ctx, rig, ring=0, **fields):
    for name, value in protect(**fields):
        await rig.registers.write(ctx, name, value, ring)


def test_registers_reach_the_engines():
    """Every field of every ring, at reset and after random writes."""
    config = dataclasses.replace(TINY, rings=3)
    rng = random.Random(3)

    async def host(ctx, rig):
        def seen(ring, name):
            return ctx.get(getattr(rig.dut.windows[ring], name))

        for ring in range(3):
            assert {name: seen(ring, name) for name in OPEN} == OPEN
        for _ in range(4):
            expected = [{name: rng.getrandbits(32) & (0xFFFF_FFFF if name.startswith("gm") else
                                                      value | 1 if value > 1 else 1)
                         for name, value in OPEN.items()} for _ in range(3)]
            for fields in expected:
                fields |= {f"gm{n}_{kind}": rng.getrandbits(1) for n in (0, 1)
                           for kind in ("read", "write")}
                fields |= {"sm_first": rng.getrandbits(18), "semaphore_first": rng.getrandbits(8)}
            for ring, fields in enumerate(expected):
                await set_windows(ctx, rig, ring, **fields)
            await ctx.tick()
            for ring, fields in enumerate(expected):
                assert {name: seen(ring, name) for name in OPEN} == fields

    CommandRig(config).run(host)


@pytest.mark.parametrize(("windows", "good"), [
    ({}, 9),
    ({"gm0_read": 0}, 0),
    ({"gm0_first": 1, "gm0_last": 1}, 5),
    ({"gm0_first": 2, "gm0_last": 1}, 0),
    ({"gm0_last": 0}, 0),
    ({"gm0_first": 1, "gm0_last": 1, "gm1_first": 2, "gm1_last": 2, "gm1_read": 1}, 9),
    ({"gm0_first": 1, "gm0_last": 1, "gm1_first": 2, "gm1_last": 2, "gm1_write": 1}, 5),
    ({"gm0_read": 0, "gm1_first": 1, "gm1_last": 1, "gm1_read": 1}, 5),
    ({"gm0_last": 2, "gm0_write": 0}, 9),
], ids=range(9))
@pytest.mark.parametrize("config", [TINY, WIDE], ids=["bus32", "bus512"])
def test_fetch(config, windows, good):
    """The ring has its first 5 slots in one page, 4 in the next. What is outside is never asked
    for; the commands before it are executed."""
    offset = 0x1000 - 5 * 64
    rig = CommandRig(config, latency=(1, 9))
    first_page = rig.BASE >> 12

    async def host(ctx, rig):
        fields = {name: first_page + value - 1 if name.startswith("gm") and value > 0
                  and name[4:] in ("first", "last") else value for name, value in windows.items()}
        await set_windows(ctx, rig, **fields)
        await rig.open_ring(ctx, log2_slots=4, offset=offset)
        for _ in range(8):
            rig.put(encode(Opcode.DMA_LOAD, **GOOD), offset=offset)
        rig.put(encode(Opcode.FENCE, sequence=5), offset=offset)
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        fault = await fault_of(ctx, rig)
        if good == 9:
            assert fault["cause"] is FaultCause.NONE
            assert await rig.registers.read(ctx, "ring_completed") == 5
        else:
            assert fault == {"cause": FaultCause.PROTECTION, "engine": Engine.CONTROL,
                             "index": good, "address": rig.BASE + offset + 64 * good,
                             "info": Space.GM, "row": 0}
            assert all(address < rig.BASE + 0x1000 and good for address, _ in rig.memory.bursts)
            assert rig.memory.outstanding == 0
        assert len(rig.engines["load"].log) == min(good, 8)
        assert all(one.done is not None for one in rig.engines["load"].log)

    rig.run(host)


@pytest.mark.parametrize("high", [1 << 12, 1 << 31], ids=["2**44", "2**63"])
def test_fetch_beyond_gm(high):
    """An address no window can name is in none."""
    async def host(ctx, rig):
        await rig.open_ring(ctx)
        await rig.registers.write(ctx, "ring_base_high", high | rig.BASE >> 32)
        rig.put(encode(Opcode.NOP))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        assert await fault_of(ctx, rig) == {
            "cause": FaultCause.PROTECTION, "engine": Engine.CONTROL, "index": 0,
            "address": rig.BASE | high << 32, "info": Space.GM, "row": 0}
        assert not rig.memory.bursts

    CommandRig(TINY).run(host)


def test_fetcher_says_so_once():
    """After the burst refused nothing is read, and the fetcher is quiet."""
    dut = RingFetcher(TINY)
    memory = FetchMemory(dut.bus, 32, random.Random(1))
    beats = []

    async def testbench(ctx):
        ctx.set(dut.windows, OPEN | {"gm0_last": 4})
        ctx.set(dut.base, 0x5000 - 0x40 >> 6)
        ctx.set(dut.mask, 7)
        ctx.set(dut.tail, 6)
        ctx.set(dut.beats.ready, 0)
        for cycle in range(200):
            ctx.set(dut.beats.ready, cycle > 40 or cycle % 3 == 0)
            _, _, valid, payload, ready = await ctx.tick().sample(
                dut.beats.valid, dut.beats.payload, dut.beats.ready)
            if valid and ready:
                beats.append(payload >> 32)
        assert beats == [0] * 16 + [REFUSED]
        assert memory.bursts == [(0x4FC0, 16)]
        assert ctx.get(dut.quiet)

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(memory.run, background=True)
    sim.add_testbench(testbench)
    sim.run()


HEADERS = [
    # windows, header fields, offending semaphore and info (None: allowed)
    ({"semaphore_first": 4, "semaphore_last": 7},
     {"signal0_semaphore": 4, "signal1_semaphore": 7}, None),
    ({"semaphore_first": 4, "semaphore_last": 7}, {}, None),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"wait0_semaphore": 3}, (3, Space.SEMAPHORE)),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"wait1_semaphore": 8}, (8, Space.SEMAPHORE)),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"signal0_semaphore": 8},
     (8, Space.SEMAPHORE + WRITE)),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"signal1_semaphore": 1, "wait1_semaphore": 9},
     (9, Space.SEMAPHORE)),
    ({"wait": 0}, {"signal0_semaphore": 5, "wait0_semaphore": 5}, (5, Space.SEMAPHORE)),
    ({"signal": 0}, {"wait0_semaphore": 5, "signal1_semaphore": 6},
     (6, Space.SEMAPHORE + WRITE)),
    ({"signal": 0, "wait": 0}, {}, None),
    ({"wait": 0}, {"signal0_semaphore": 1}, None),
    ({"semaphore_first": 7, "semaphore_last": 4}, {"wait0_semaphore": 5}, (5, Space.SEMAPHORE)),
]


@pytest.mark.parametrize("config", [TINY, WIDE], ids=["bus32", "bus512"])
@pytest.mark.parametrize(("windows", "header", "report"), HEADERS, ids=range(len(HEADERS)))
def test_header_semaphores(windows, header, report, config):
    async def host(ctx, rig):
        await set_windows(ctx, rig, **windows)
        await rig.open_ring(ctx)
        rig.put(encode(Opcode.DMA_STORE, **GOOD))
        rig.put(encode(Opcode.GEMM, rows=1, **header))
        rig.put(encode(Opcode.FENCE, sequence=1))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        expected = {"cause": FaultCause.NONE, "engine": Engine.LOAD, "index": 0, "address": 0,
                    "info": 0, "row": 0}
        if report:
            expected |= {"cause": FaultCause.PROTECTION, "engine": Engine.CONTROL, "index": 1,
                         "address": report[0], "info": report[1]}
        fault = await fault_of(ctx, rig)
        assert fault == expected if report else fault["cause"] is FaultCause.NONE
        assert len(rig.engines["store"].log) == 1
        assert len(rig.engines["tensor"].log) == (report is None)

    CommandRig(config).run(host)


def test_bad_semaphores_come_before_windows():
    async def host(ctx, rig):
        await set_windows(ctx, rig, **CLOSED | {"gm0_read": 1})
        await rig.open_ring(ctx)
        rig.put(encode(Opcode.NOP, wait0_semaphore=3, signal1_semaphore=16))
        await rig.doorbell(ctx)
        await rig.until_idle(ctx)
        assert (await fault_of(ctx, rig))["cause"] is FaultCause.BAD_SEMAPHORE

    CommandRig(TINY).run(host)


def test_windows_are_those_of_the_ring():
    """What one ring may not do, another may."""
    config = dataclasses.replace(TINY, rings=2)

    async def host(ctx, rig):
        await set_windows(ctx, rig, 0, **{"semaphore_first": 8})
        await set_windows(ctx, rig, 1, **{"semaphore_last": 7})
        for ring in range(2):
            await rig.open_ring(ctx, ring)
            for number in (1 + 7 * ring, 8 - 7 * ring):
                rig.put(encode(Opcode.NOP, signal0_semaphore=number, signal0_add=1), ring)
            await rig.doorbell(ctx, ring)
        await rig.until_idle(ctx)
        assert (await fault_of(ctx, rig, 0))["address"] == 1
        assert (await fault_of(ctx, rig, 1))["address"] == 8
        assert (await fault_of(ctx, rig, 0))["index"] == 0
        for number in range(1, 16):
            assert await rig.registers.read(ctx, "semaphore", number) == 0

    CommandRig(config).run(host)
