"""Two-dimensional copies: exact to the byte, with stalls everywhere, and when they say so."""

import itertools

import cocotb
from cocotb.triggers import ClockCycles, Event

from common.drive import scaled
from dma.support import CONFIG, NAMES, Rig, copy, gm, random_copy, same, sm

WORD, HALF = CONFIG.word_bytes, CONFIG.sm_bytes // 2


async def copies(rig, count):
    rng = rig.rng
    rig.semaphores[2] = 1000
    rig.load.issue(random_copy(rng, load=True, progress_semaphore=rng.choice((0, 1, 5)))
                   for _ in range(count))
    rig.store.issue(random_copy(rng, load=False, **rng.choice(
        ({}, {"progress_semaphore": 2, "progress_value": rng.randint(0, 900)})))
        for _ in range(count))
    await rig.finish()
    await rig.check_memories()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def both_directions(dut):
    rig = await Rig.create(dut, "plain")
    await copies(rig, scaled(30))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def both_directions_with_stalls(dut):
    """Every bus channel stalls half of the time, and everything else does as well."""
    rig = await Rig.create(dut, "stalls", stall=0.5, rough=0.5, fetches=True)
    await copies(rig, scaled(30))
    assert rig.fetched


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_slow_memory(dut):
    """One channel at a time nearly stands still."""
    rig = await Rig.create(dut, "slow")
    for name in ("ar", "r", "aw", "w", "b"):
        rig.memory.stall(0.9, rig.rng.random(), [name])
        await copies(rig, scaled(3))
        rig.memory.stall(0, names=[name])
        await rig.restart()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_alignment(dut):
    """Short rows of every size from and to every lane."""
    rig = await Rig.create(dut, "alignment", stall=0.2)
    cases = list(itertools.product(range(1, 2 * WORD + 2), range(WORD), range(WORD)))
    cases = rig.rng.sample(cases, min(len(cases), HALF // (3 * WORD)))
    for number, (size, a, b) in enumerate(cases):
        offset = 3 * WORD * number
        rig.load.issue([copy(gm(offset + a), sm(offset + b), size)])
        rig.store.issue([copy(sm(HALF + offset + a), gm(0x8000 + offset + b), size)])
    await rig.finish()
    await rig.check_memories()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def long_rows_cross_pages(dut):
    rig = await Rig.create(dut, "long", stall=0.1)
    size = CONFIG.sm_bytes - 64
    rig.load.issue([copy(gm(0x0FF3), sm(5), size), copy(gm(0x2001), sm(2), size - 9)])
    await rig.finish()
    await rig.check_memories()
    await rig.restart()
    rig.store.issue([copy(sm(1), gm(0x9FFF), size)])
    await rig.finish()
    await rig.check_memories()
    for name, pages in (("ar", 3), ("aw", 2)):
        assert len({address // 4096 for address, _, _ in rig.check.bursts[name]}) >= pages, name


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def progress_means_landed(dut):
    """A row is in the scratchpad when the addition for it is accepted, for any reader."""
    rig = await Rig.create(dut, "landed")
    # Hold up the engine's writes, and leave time to look at each row's end before the next.
    rig.noise.disturb = 0.9
    rig.memory.stall(0.6, rig.rng.random(), ["r"])
    rng, tasks = rig.rng, []
    commands = [copy(gm(rng.randrange(0x4000)), sm(1000 * n + rng.randrange(50)), 37, 16, 41, 59,
                     progress_semaphore=3) for n in range(3)]
    rows = [(command, row) for command in commands for row in range(command["rows"])]

    def landed(_):
        command, row = rows.pop(0)
        target = command["destination_low"] + row * command["destination_pitch"]
        origin = command["source_low"] + (command["source_high"] << 32) - gm(0)
        origin += row * command["source_pitch"]

        async def look():
            for part in (slice(37 - WORD, 37), slice(0, 37 - WORD)):
                expected = rig.gm_before[origin:origin + 37][part]
                same(await rig.host.read(target + part.start, len(expected)), expected,
                     f"row {row}")

        tasks.append(cocotb.start_soon(look()))

    rig.load.on_add = landed
    rig.load.issue(commands)
    await rig.finish()
    assert not rows
    for task in tasks:
        await task
    await rig.check_memories()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def stores_wait_for_progress(dut):
    """Rows are written to the scratchpad just before their progress; semaphores wrap around.

    Commands that need not wait, or not any more, lie between those that do.
    """
    rig = await Rig.create(dut, "progress", stall=0.3, rough=0.2)
    rng, size, rows, pitch = rig.rng, 29, 6, 33
    modulus = 1 << CONFIG.semaphore_width
    for _ in range(scaled(3)):
        plan = []
        for number in range(9):
            base, source = rng.choice((5, modulus - 3, 0)), 1 + number * rows * pitch
            waits = rng.random() < 0.5
            semaphore = number + 1
            rig.semaphores[semaphore] = (base + (-1 if waits else rows)) % modulus
            rig.store.issue([copy(sm(source), gm(0x9000 + 0x200 * number), size, rows, pitch, 40,
                                  progress_semaphore=semaphore, progress_value=base)])
            plan += [(source, row, semaphore, (base + row) % modulus)
                     for row in range(rows if waits else 0)]
        fresh = rig.sm_before.copy()
        for source, row, semaphore, value in plan:
            await ClockCycles(dut.clk, rng.randint(0, 60))      # the engine is faster
            at, data = source + row * pitch, rng.randbytes(size)
            fresh[at:at + size] = list(data)
            await rig.host.write(at, data)
            rig.semaphores[semaphore] = value
        await rig.finish()
        rig.sm_before = fresh
        await rig.check_memories()
        await rig.restart()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def done_means_written(dut):
    """At the completion of a store its bytes are in global memory."""
    rig = await Rig.create(dut, "written", stall=0.4)
    commands = [copy(sm(HALF + 13 * n), gm(0xA000 + 300 * n), 7 * n + 1, 2, 61, 150)
                for n in range(12)]
    ended = Event()

    def done(number):
        command = commands[number]
        for row in range(2):
            a = command["source_low"] + 61 * row
            b = 0xA000 + 300 * number + 150 * row
            size = command["row_bytes"]
            same(rig.memory.data[b:b + size], rig.sm_before[a:a + size], f"command {number}")
        if number == len(commands) - 1:
            ended.set()

    rig.store.on_done = done
    rig.store.issue(commands)
    await ended.wait()
    await rig.finish()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def outstanding_bursts(dut):
    """With no answers, each stream asks for exactly ``max_bursts`` bursts; with answers all goes
    on."""
    rig = await Rig.create(dut, "outstanding")
    rig.memory.stall(1, names=["r", "b"])
    rows = min(3 * CONFIG.max_bursts, HALF // (CONFIG.dma_streams * WORD))
    offsets = {name: number // 2 * rows * WORD for number, name in enumerate(NAMES)}
    for name, engine in rig.engines.items():
        offset = offsets[name]
        ends = ((gm(offset), sm(offset)) if engine.load else
                (sm(HALF + offset), gm(0x8000 + offset)))
        engine.issue([copy(*ends, WORD, rows, WORD, WORD)])
    await rig.host.read(0, 1000 * WORD)        # some time
    loads = {2 * number: CONFIG.max_bursts for number, name in enumerate(NAMES)
             if name.startswith("load")}
    stores = dict.fromkeys(range(CONFIG.dma_streams), CONFIG.max_bursts)
    assert rig.check.most_outstanding == {"ar": loads, "aw": stores}
    assert not any(engine.reports for engine in rig.engines.values())
    rig.memory.stall(0)
    await rig.finish()
    await rig.check_memories()
