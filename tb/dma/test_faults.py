"""Bus errors, refused commands, and stopping in the middle."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from common.drive import scaled, until
from dma.engine import GOOD
from dma.support import CONFIG, Memories, Rig, copy, gm, random_copy, same, sm
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import DMA_ND, FaultCause

BUS, HALF = CONFIG.bus_bytes, CONFIG.sm_bytes // 2
SLVERR, DECERR = 2, 3


async def fails(rig, engine, commands, report):
    """Run commands of which the second fails; the third never ends."""
    engine.issue(commands)
    await until(rig.dut, lambda: len(engine.reports) == 2, "the failing command ends", cycles=5000)
    await ClockCycles(rig.dut.clk, 60)
    assert engine.reports == [GOOD, report]
    assert int(engine.quiet.value)


def memories(rig, engine, count):
    """Both memories after the first ``count`` commands of one stream."""
    result = Memories(rig.gm_before, rig.sm_before)
    for rows, _ in engine.rows[:count]:
        result.move(rows)
    return result.data[Space.SM if engine.load else Space.GM]


async def serves(rig):
    """After the reset of the streams everything works again."""
    await rig.restart()
    for engine in rig.engines.values():
        if engine.name in ("load", "store"):
            engine.issue([random_copy(rig.rng, load=engine.load, budget=60)])
    await rig.finish()
    await rig.check_memories()
    await rig.restart()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def read_error_at_every_beat(dut):
    """What was read before the beat is written, the beat and all after it are not."""
    rig = await Rig.create(dut, "read-error", stall=0.2, rough=0.2)
    first, size, target = 0x0FE6, 45, 777       # across a page
    for beat in range(first // BUS, (first + size - 1) // BUS + 1):
        address = gm(beat * BUS)
        rig.memory.faults.append((address, address, "read"))
        before = copy(gm(0x200), sm(100), 33, 2, 50, 40)
        failing = copy(gm(first), sm(target), size, 2, 700, 90, progress_semaphore=1)
        after = copy(gm(0x600), sm(1500), 33, 2, 50, 40)
        await fails(rig, rig.load, [before, failing, after],
                    (FaultCause.BUS_READ, address, SLVERR, 0))
        good, whole = memories(rig, rig.load, 1), memories(rig, rig.load, 2)
        found = await rig.scratchpad()
        moved = max(0, beat * BUS - first)
        assert np.all((found == good) | (found == whole)), "a byte of neither"
        same(found[target + moved:], good[target + moved:], "from the failing beat on")
        whole_words = max(0, (target + moved) // BUS * BUS - target)
        same(found[:target + whole_words], whole[:target + whole_words], "before the beat")
        assert not rig.load.adds
        await serves(rig)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def write_error_at_every_burst(dut):
    """The report names the burst; nothing outside the requests is written. What is behind the
    burst may be written, until the answer comes."""
    rig = await Rig.create(dut, "write-error", stall=0.2, rough=0.2)
    source, target, size, rows, pitch = HALF + 9, 0x9FD3, 90, 3, 0x1000 - 30
    starts = sorted({(start // BUS * BUS, row) for row in range(rows)
                     for first in (target + row * pitch,)
                     for start in (first, (first + size - 1) // 4096 * 4096)
                     if start >= first // BUS * BUS})
    for start, row in starts:
        rig.memory.faults.append((gm(start), gm(start + BUS - 1), "write"))
        before = copy(sm(HALF + 300), gm(0xF000), 33, 2, 50, 40)
        failing = copy(sm(source), gm(target), size, rows, 100, pitch)
        first_burst = len(rig.check.bursts["aw"])
        after = copy(sm(HALF + 500), gm(0xE000), 33, 2, 50, 40)
        await fails(rig, rig.store, [before, failing, after],
                    (FaultCause.BUS_WRITE, gm(start), SLVERR, row))
        assert gm(start) in [address for address, _, _ in rig.check.bursts["aw"][first_burst:]]
        good, whole = memories(rig, rig.store, 1), memories(rig, rig.store, 3)
        found = rig.memory.data
        assert np.all((found == good) | (found == whole)), "a byte of neither"
        same(found[start:start + BUS], good[start:start + BUS], "the failing beat")
        await serves(rig)


def refused(load):
    """``(changed fields, report)`` by the specification of the command."""
    source, destination = (gm(0x100), sm(0x100)) if load else (sm(0x100), gm(0x100))
    fine = copy(source, destination, 16, 2)

    def field(name, value):
        return fine | {name: value}, (FaultCause.BAD_FIELD, 0, DMA_ND.lsb[name], 0)

    yield field("row_bytes", 0)
    yield field("row_bytes", 1 << 24)
    yield field("rows", 0)
    yield field("reserved1", 0x80)

    def address(a, b, bad, size=16):
        return copy(a, b, size), (FaultCause.BAD_ADDRESS, bad, 0, 0)

    yield address(destination, source, source)
    for bit in (45, 48, 63):
        yield address(source ^ 1 << bit, destination, source ^ 1 << bit)
        yield address(source, destination ^ 1 << bit, destination ^ 1 << bit)
    end = sm(CONFIG.sm_bytes - 15)
    yield address(*((source, end) if load else (end, destination)), end)
    top = (1 << 44) - 15
    yield address(*((top, destination) if load else (source, top)), top)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def bad_commands(dut):
    """Refused with the exact report, and nothing of them moves."""
    rig = await Rig.create(dut, "bad")
    expected = Memories(rig.gm_before, rig.sm_before)
    for engine in (rig.load, rig.store):
        for command, report in refused(engine.load):
            good = random_copy(rig.rng, load=engine.load, budget=30)
            await fails(rig, engine, [good, command, good], report)
            expected.move(engine.rows[0][0])
            await rig.stop([engine.name])
            engine.forget()
    expected.check(rig.memory.data, await rig.scratchpad())


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def beyond_global_memory(dut):
    """An address nobody answers for: DECERR becomes a fault."""
    rig = await Rig.create(dut, "beyond")
    outside = gm(0) - 4096
    await fails(rig, rig.load, [copy(gm(0), sm(0), 9), copy(outside, sm(64), 9)],
                (FaultCause.BUS_READ, outside, DECERR, 0))
    await serves(rig)
    await fails(rig, rig.store, [copy(sm(900), gm(0x8000), 9), copy(sm(0), outside, 9)],
                (FaultCause.BUS_WRITE, outside, DECERR, 0))
    await serves(rig)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def stop_at_any_time(dut):
    """An abort ends in quiet with every burst ended, and only requested bytes written."""
    rig = await Rig.create(dut, "abort", stall=0.4, rough=0.3, fetches=True)
    for _ in range(scaled(12)):
        for engine in (rig.load, rig.store):
            engine.issue(random_copy(rig.rng, load=engine.load) for _ in range(3))
        # A byte may be as before, or as any of the commands leaves it.
        legal = rig.expected(legal=True)
        await ClockCycles(dut.clk, rig.rng.randint(1, 600))
        await rig.restart()
        legal.check_legal(rig.gm_before, rig.sm_before)
    await serves(rig)
