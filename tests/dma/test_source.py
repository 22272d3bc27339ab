"""The source: words of runs from either memory, patterns and faults, in order."""

import random

import pytest

from support.dma_source import SourceRig, read_all
from support.dma_source_runs import (
    GM_BASE,
    GM_BYTES,
    STALLS,
    commands,
    fault,
    fill,
    gm,
    random_commands,
    sm,
)
from xpu_rtl.configs import get_config
from xpu_rtl.dma.source import Source
from xpu_rtl.params import XpuConfig

CONFIGS = ["tiny", "slice"]


@pytest.mark.parametrize("name", CONFIGS)
def test_each_kind_in_order(name):
    """One command: a row with a fill on either side of a copy, a row from SM, and its read-back."""
    config = get_config(name)
    size = config.word_bytes
    rig = SourceRig(config)
    rig.play(commands([[fill(config, 1, 5, 0x44332211), gm(config, 3, 4 * size),
                        fill(config, 2, 2 * size, 0xDDCCBBAA)],
                       [sm(config, size + 1, 2 * size)]],
                      [[gm(config, 4096 - size, 2 * size)]]))
    assert rig.words[0] == int.from_bytes(b"\x11\x22\x33\x44" * (size // 4), "little")
    assert rig.memory.reads[-2:] == [(rig.memory.reads[-2][0], GM_BASE + 4096 - size, 1),
                                     (rig.memory.reads[-1][0], GM_BASE + 4096, 1)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("name", CONFIGS)
def test_random_runs(name, stalls, seed):
    config = get_config(name)
    rng = random.Random(f"{name}-{stalls}-{seed}")
    rig = SourceRig(config, seed=seed, **STALLS[stalls])
    rig.play(random_commands(config, rng, 10))


@pytest.mark.parametrize("lanes", [8, 32, 64])
def test_other_words(lanes):
    config = XpuConfig(name="other", lanes=lanes, rings=8, max_bursts=4)
    rng = random.Random(lanes)
    windows = read_all(8)
    rig = SourceRig(config, seed=lanes, windows=windows, memory={"latency": 20, "jitter": 10})
    rig.play(random_commands(config, rng, 10, rings=8))


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_reads_reserve(name, single):
    """While the sink takes nothing, as many whole bursts are read as there is room for.

    With ``single`` the first burst is one beat, so that in the end one place is missing.
    """
    config = get_config(name)
    size, full = config.word_bytes, config.burst_beats
    stall = 2 * config.read_beats
    rig = SourceRig(config, stall_until=stall, memory={"latency": 5})
    rig.play(commands([[gm(config, (full - 1) * size if single else 0,
                           (config.read_beats + 2 * full) * size)]]))
    before = sum(beats for cycle, _, beats in rig.memory.reads if cycle < stall)
    assert before == config.read_beats - (full - 1 if single else 0)


@pytest.mark.parametrize("name", CONFIGS)
def test_as_many_bursts_as_allowed(name):
    """One-beat runs: ``max_bursts`` are under way before the first answer, and no more ever."""
    config = get_config(name)
    rig = SourceRig(config, memory={"latency": 200})
    size = config.word_bytes
    rig.play(commands([[gm(config, 3 * size * n, size)] for n in range(3 * config.max_bursts)]))
    first = rig.memory.read_cycles[0]
    assert sum(cycle < first for cycle, _, _ in rig.memory.reads) == config.max_bursts
    assert rig.ar_cycles[config.max_bursts - 1] - rig.ar_cycles[0] == config.max_bursts - 1


@pytest.mark.parametrize("kind", ["sm", "fill"])
@pytest.mark.parametrize("name", CONFIGS)
def test_as_many_commands_as_room(name, kind):
    """Commands of one word fill the queues while the sink takes nothing; each begins once."""
    config = get_config(name)
    size, room = config.word_bytes, Source.RUNS_PER_BURST * config.max_bursts
    runs = [sm(config, size * n, size) if kind == "sm" else fill(config, 0, size, n)
            for n in range(room + 40)]
    rig = SourceRig(config, stall_until=room + 60)
    rig.play(commands(*[[[run]] for run in runs]))
    assert sum(cycle < rig.stall_until for cycle in rig.run_cycles) == room


# Timing ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CONFIGS)
def test_latency(name):
    config = get_config(name)
    size = config.word_bytes
    rig = SourceRig(config)
    rig.play(commands([[gm(config, 0, 2 * size)]]))
    assert rig.ar_cycles[0] - rig.run_cycles[0] == Source.GM_LATENCY <= 3
    assert [w - r for w, r in zip(rig.word_cycles, rig.memory.read_cycles, strict=True)] == [
        Source.DATA_LATENCY] * 2
    rig = SourceRig(config)
    rig.play(commands([[sm(config, 0, 2 * size)]]))
    assert rig.request_cycles[0] - rig.run_cycles[0] == Source.SM_LATENCY
    assert [w - r for w, r in zip(rig.word_cycles, rig.answer_cycles, strict=True)] == [
        Source.DATA_LATENCY] * 2
    rig = SourceRig(config)
    rig.play(commands([[fill(config, 0, size, 1)]]))
    assert rig.word_cycles[0] - rig.run_cycles[0] == Source.FILL_LATENCY
    rig = SourceRig(config)
    rig.play(commands([[fault()]]))
    assert rig.word_cycles[0] - rig.run_cycles[0] == Source.FAULT_LATENCY


def gapless(rig):
    return rig.word_cycles[-1] - rig.word_cycles[0] == len(rig.word_cycles) - 1


@pytest.mark.parametrize("lanes", [8, 16, 64])
def test_long_bursts_at_full_rate(lanes):
    """100 cycles of memory latency: after the first beat no cycle is lost."""
    config = XpuConfig(name="full", lanes=lanes)
    rig = SourceRig(config, memory={"latency": 100})
    rig.play(commands([[gm(config, 0, min(GM_BYTES, 700 * config.word_bytes))]]))
    assert gapless(rig)


@pytest.mark.parametrize("name", CONFIGS)
def test_one_run_per_cycle(name):
    """Runs of one word: one run accepted, one burst issued, one word handed on in every cycle."""
    config = get_config(name)
    size, count = config.word_bytes, 120
    rig = SourceRig(config, memory={"latency": config.max_bursts - 3})
    rig.play(commands(*[[[gm(config, 5 * size * n, size)]] for n in range(count)]))
    assert rig.run_cycles[-1] - rig.run_cycles[0] == count - 1
    assert rig.ar_cycles[-1] - rig.ar_cycles[0] == count - 1
    assert gapless(rig)
    for runs in ([sm(config, 3 * size * n, size) for n in range(count)],
                 [fill(config, n % size, 1, n) for n in range(count)]):
        rig = SourceRig(config)
        rig.play(commands(*[[[run]] for run in runs]))
        assert rig.run_cycles[-1] - rig.run_cycles[0] == count - 1
        assert gapless(rig)


@pytest.mark.parametrize("name", CONFIGS)
def test_kinds_do_not_wait_for_each_other(name):
    """GM, SM and FILL runs in turn: the memory's latency is seen once."""
    config = get_config(name)
    size = config.word_bytes
    rows = [[gm(config, 64 * n * size, 8 * size)] if n % 3 == 0 else
            [sm(config, 8 * n * size, 8 * size)] if n % 3 == 1 else
            [fill(config, 0, 8 * size, n)] for n in range(36)]
    rig = SourceRig(config, memory={"latency": 100})
    rig.play(commands(*[[row] for row in rows]))
    assert gapless(rig)


@pytest.mark.parametrize("name", CONFIGS)
def test_gm_is_read_ahead_of_sm_runs(name):
    """Bursts behind as many scratchpad runs as bursts are allowed are issued at once."""
    config = get_config(name)
    size = config.word_bytes
    rows = [[sm(config, 0, 40 * size)]] + [[sm(config, size * n, size)]
                                           for n in range(config.max_bursts)]
    rig = SourceRig(config, stall_until=300)
    rig.play(commands([*rows, [gm(config, 0, size)]]))
    assert rig.ar_cycles[0] - rig.run_cycles[0] == len(rows) + Source.GM_LATENCY


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("axi_id", [-1, 16])
def test_refuses_id(axi_id):
    with pytest.raises(ValueError, match="axi_id must lie in"):
        Source(get_config("tiny"), axi_id=axi_id)
