"""Commands of every mode on all streams at once; no stream waits for another."""

import cocotb
from cocotb.triggers import ClockCycles

from common.drive import scaled, until
from dma.commands import LISTS, Commands, destination
from dma.support import CONFIG, NAMES, Rig, copy, gm, sm
from support.dma_nd import nd
from xpu_rtl.command.formats import DmaMode

WORD, HALF = CONFIG.word_bytes, CONFIG.sm_bytes // 2


async def random_rounds(rig, rounds, count):
    commands = Commands(rig)
    for _ in range(rounds):
        await commands.issue(NAMES, count)
        await rig.finish()
        await rig.check_memories()
        await rig.restart()
        commands.restart()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def random_commands_on_all_streams(dut):
    """Every bus channel and everything else stalls."""
    rig = await Rig.create(dut, "nd-stalls", stall=0.4, rough=0.4, fetches=True)
    await random_rounds(rig, scaled(5), 4)
    assert rig.fetched


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def random_commands_at_full_speed(dut):
    """Nothing stalls, but reads take a while."""
    rig = await Rig.create(dut, "nd-smooth", latency=40)
    await random_rounds(rig, scaled(5), 5)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def random_commands_with_slow_writes(dut):
    rig = await Rig.create(dut, "nd-writes")
    rig.memory.stall(0.8, rig.rng.random(), ["aw", "w", "b"])
    await random_rounds(rig, scaled(3), 4)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_waiting_store_blocks_nobody(dut):
    """It waits for progress that comes only after all other streams are done."""
    rig = await Rig.create(dut, "waiting", stall=0.2, rough=0.2)
    commands = Commands(rig)
    rig.semaphores[3] = 0
    for name in [name for name in NAMES if name.startswith("store")]:
        engine, others = rig.engines[name], [other for other in NAMES if other != name]
        await commands.issue(others, 3)
        region = destination(name)
        engine.issue([copy(sm(HALF), region.begin, 20, 5, 20, 24, progress_semaphore=3,
                           progress_value=1), copy(gm(5), region.begin + 200, 99)])
        await rig.finish(names=others)
        await ClockCycles(dut.clk, 100)
        assert not engine.reports
        rig.semaphores[3] = 5
        await rig.finish()
        await rig.check_memories()
        rig.semaphores[3] = 0
        await rig.restart()
        commands.restart()


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=CONFIG.dma_streams < 2)
async def a_latency_bound_stream(dut):
    """A gather of single words beside long copies on the other load stream.

    The bus never idles for it: the copies take longer only by the beats of the gather. And of the
    gather, ``max_bursts`` rows come within the latency and the beats that the copies may ask for.
    """
    latency, size, count = 100, HALF - 128, 6
    rig = await Rig.create(dut, "latency", latency=latency)
    rows, limit = size // WORD, 0x6000 // WORD
    entries = [rig.rng.randrange(limit) for _ in range(rows)]
    await rig.put_list(LISTS[0], entries)
    gather = nd(gm(0), sm(HALF), WORD, rows, mode=DmaMode.GATHER, source_pitch=WORD,
                destination_pitch=WORD, index=LISTS[0], index_limit=limit)
    copies = [copy(gm(0x1000 * n), sm(0), size) for n in range(count)]
    beside = rig.engines["load1"]
    spans, beats = {}, {}
    for name in ("alone", "beside"):
        begin, before = rig.cycle, rig.read_beats.copy()
        if name == "beside":
            beside.issue([gather])
        rig.load.issue(copies)
        await until(dut, lambda: len(rig.load.reports) == count, "the copies", cycles=20_000)
        spans[name] = rig.cycle - begin
        beats[name] = rig.read_beats - before
        if name == "alone":
            await rig.restart()
    own, other = beats["beside"][0], beats["beside"].total() - beats["beside"][0]
    assert own == beats["alone"][0] == count * size // WORD
    assert spans["alone"] <= own + latency + 40
    assert spans["beside"] <= spans["alone"] + other + 40
    first_data = 2 * NAMES.index("load1")
    turn = latency + CONFIG.read_beats + 2 * CONFIG.max_bursts
    least = min(rows, 0.8 * CONFIG.max_bursts * spans["beside"] / turn)
    assert beats["beside"][first_data] >= least
    cocotb.log.info("copies: %d cycles alone, %d beside %d beats of a gather", spans["alone"],
                    spans["beside"], other)
    await rig.finish()
    await rig.check_memories()
