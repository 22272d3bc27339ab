"""The source: words of runs from either memory, patterns and faults, in order."""

import random

import pytest

from support.dma_source import (
    GM_BASE,
    GM_BYTES,
    SourceRig,
    commands,
    fault,
    fill,
    gm,
    read_all,
    sm,
)
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.common.axi import Resp
from xpu_rtl.configs import get_config
from xpu_rtl.dma.source import Source
from xpu_rtl.params import XpuConfig

CONFIGS = ["tiny", "slice"]
GM_PAGE = GM_BASE // 4096


def random_commands(config, rng, count, *, kinds=(gm, sm, fill), rings=1):
    """Commands of one to four rows of one to three runs; most are short, some of many bursts."""
    size = config.word_bytes
    made = []
    for _ in range(count):
        rows = []
        for _ in range(rng.randrange(1, 5)):
            row = []
            for _ in range(rng.randrange(1, 4)):
                kind = rng.choice(kinds)
                length = rng.choice([rng.randrange(1, 3 * size), rng.randrange(1, 40 * size),
                                     rng.randrange(1, 150 * size)] if rng.random() < 0.2 else
                                    [1, size, rng.randrange(1, 5 * size)])
                if kind is gm:
                    row.append(gm(config, rng.randrange(GM_BYTES - length), length))
                elif kind is sm:
                    row.append(sm(config, rng.randrange(config.sm_bytes - length), length))
                else:
                    row.append(fill(config, rng.randrange(size), length, rng.getrandbits(32)))
            rows.append(row)
        made.append(rows)
    return commands(*made, ring=[rng.randrange(rings) for _ in made])


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


STALLS = {
    "free": {},
    "sink": {"ready_p": 0.5},
    "memory": {"memory": {"latency": 30, "jitter": 40, "ready_p": 0.5, "valid_p": 0.6}},
    "scratchpad": {"sm_ready_p": 0.4, "sm_jitter": 9},
    "runs": {"run_p": 0.2},
    "all": {"run_p": 0.7, "ready_p": 0.7, "sm_ready_p": 0.6, "sm_jitter": 5, "sm_latency": 1,
            "memory": {"latency": 12, "jitter": 20, "ready_p": 0.6, "valid_p": 0.7}},
}


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


# Faults ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("resp", [Resp.SLVERR, Resp.DECERR])
@pytest.mark.parametrize("beat", range(9))
@pytest.mark.parametrize("name", CONFIGS)
def test_read_error_on_each_beat(name, beat, resp):
    """Three rows of three beats, in two commands; the row counts from the second command's."""
    config = get_config(name)
    size = config.word_bytes
    rig = SourceRig(config, memory={"latency": 9})
    rows = [[gm(config, 0x1000 + 8 * size * n, 3 * size)] for n in range(3)]
    address = GM_BASE + 0x1000 + 8 * size * (beat // 3) + size * (beat % 3)
    rig.memory.read_errors[address] = resp
    rig.play(commands([[fill(config, 0, size, 7)], rows[0]], rows[1:]))
    assert rig.fault == (FaultCause.BUS_READ, address, resp, [1, 0, 1][beat // 3])
    assert len(rig.words) == 1 + beat


def test_exclusive_okay_is_no_error():
    config = get_config("slice")
    rig = SourceRig(config)
    rig.memory.read_errors[GM_BASE] = Resp.EXOKAY
    rig.play(commands([[gm(config, 0, 16)]]))
    assert rig.fault is None


@pytest.mark.parametrize("lead", ["none", "sm", "gm", "fill"])
@pytest.mark.parametrize("name", CONFIGS)
def test_refused_at_a_page_boundary(name, lead):
    """Rows from three pages, of which the last is closed: all up to the boundary comes."""
    config = get_config(name)
    size = config.word_bytes
    windows = [{"gm0_first": GM_PAGE, "gm0_last": GM_PAGE + 1, "gm0_read": 1}]
    rows = {"none": [], "sm": [[sm(config, 5, 30 * size)]], "gm": [[gm(config, 17, 9)]],
            "fill": [[fill(config, 0, 30 * size, 5)]]}[lead]
    rows = [*rows, [gm(config, 0x0FF0 + 3, 0x1020)], [gm(config, 0, 100)]]
    rig = SourceRig(config, windows=windows, memory={"latency": 20})
    rig.play(commands(rows))
    assert rig.fault == (FaultCause.PROTECTION, GM_BASE + 0x2000, Space.GM, len(rows) - 2)
    assert all(address < GM_BASE + 0x2000 for _, address, _ in rig.memory.reads)


@pytest.mark.parametrize("name", CONFIGS)
def test_refused_first_burst_names_its_byte(name):
    config = get_config(name)
    windows = [{"gm1_first": GM_PAGE, "gm1_last": GM_PAGE, "gm1_read": 1}]
    rig = SourceRig(config, windows=windows)
    rig.play(commands([[gm(config, 0, 1)], [gm(config, 0x3003, 100)], [gm(config, 0, 5)]]))
    assert rig.fault == (FaultCause.PROTECTION, GM_BASE + 0x3003, Space.GM, 1)
    assert len(rig.memory.reads) == 1


def test_either_window_of_the_right_ring():
    """Eight rings with a page of their own in one window and a common one in the other."""
    config = XpuConfig(name="rings", rings=8)
    windows = [{"gm0_first": GM_PAGE + r, "gm0_last": GM_PAGE + r, "gm0_read": 1,
                "gm1_first": GM_PAGE + 9, "gm1_last": GM_PAGE + 10, "gm1_read": r % 2}
               for r in range(8)]
    good = [[[gm(config, 4096 * r + 9, 3000)]] for r in range(8)]
    common = [[[gm(config, 9 * 4096 + 4090, 40)]] for r in (1, 3, 5, 7)]
    rig = SourceRig(config, windows=windows)
    rig.play(commands(*good, *common, ring=[*range(8), 1, 3, 5, 7]))
    assert rig.fault is None
    for ring, page in ((2, 3), (6, 9), (7, 11), (0, 1)):
        rig = SourceRig(config, windows=windows)
        rig.play(commands(*good, [[gm(config, 4096 * page, 1)]], ring=[*range(8), ring]))
        assert rig.fault == (FaultCause.PROTECTION, GM_BASE + 4096 * page, Space.GM, 0)


def test_a_write_window_does_not_let_read():
    config = get_config("tiny")
    rig = SourceRig(config, windows=[{"gm0_first": 0, "gm0_last": 0xFFFFFFFF, "gm0_write": 1}])
    rig.play(commands([[gm(config, 0x100, 4)]]))
    assert rig.fault[0] == FaultCause.PROTECTION
    assert rig.memory.reads == []


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_fault_counts(name):
    """A read error before a refused burst before a FAULT run, and each pair without the first."""
    config = get_config(name)
    size = config.word_bytes
    windows = [{"gm0_first": GM_PAGE, "gm0_last": GM_PAGE, "gm0_read": 1}]
    rows = [[gm(config, 8 * size, 4 * size)], [sm(config, 0, size)], [gm(config, 0x1000, size)],
            [fault()]]
    for error, skip, cause in ((True, None, FaultCause.BUS_READ),
                               (False, None, FaultCause.PROTECTION),
                               (True, 2, FaultCause.BUS_READ),
                               (False, 2, FaultCause.BAD_INDEX)):
        rig = SourceRig(config, windows=windows, memory={"latency": 40},
                        run_fault=(FaultCause.BAD_INDEX, 0xABCDEF, 0x12345678))
        if error:
            rig.memory.read_errors[GM_BASE + 10 * size] = Resp.SLVERR
        rig.play(commands([row for n, row in enumerate(rows) if n != skip]))
        assert rig.fault[0] == cause
        assert rig.fault[3] == {FaultCause.BUS_READ: 0}.get(cause, 2)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", CONFIGS)
def test_random_faults(name, seed):
    """Random runs with closed pages, bad beats, and a FAULT run at the end."""
    config = get_config(name)
    rng = random.Random(f"{name}-{seed}-faults")
    lowest = GM_PAGE if seed % 3 else GM_PAGE + rng.randrange(3)
    windows = [{"gm0_first": lowest, "gm0_last": GM_PAGE + 12, "gm0_read": 1,
                "gm1_first": GM_PAGE + 13, "gm1_last": 0xFFFFFFFF, "gm1_read": seed % 2}]
    stalls = STALLS[rng.choice(list(STALLS))]
    rig = SourceRig(config, seed=seed, windows=windows, **stalls)
    for _ in range(seed % 4):
        address = GM_BASE + rng.randrange(GM_BYTES // config.word_bytes) * config.word_bytes
        for n in range(300):
            rig.memory.read_errors[address + n * config.word_bytes] = rng.choice([1, 2, 3])
    rig.play(random_commands(config, rng, 8) + commands(
        [[gm(config, 0x4000, 99)], [sm(config, 0, 5), fault()]], index=500))
    assert rig.fault is not None


# Halt --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 8, 13, 30, 60, 150])
@pytest.mark.parametrize("name", CONFIGS)
def test_halt(name, at):
    """Nothing begins after ``halt``; what is outstanding is drained, whatever the sink does."""
    config = get_config(name)
    size = config.word_bytes
    rig = SourceRig(config, sm_ready_p=0.5, seed=at, stall_until=at + 20 if at % 2 else 0,
                    memory={"latency": 40, "jitter": 9, "ready_p": 0.3})
    rows = [[gm(config, 64 * size * n, (5 + n) * size), sm(config, 0, 3 * size)] for n in range(15)]

    async def bench(ctx):
        await ctx.tick().repeat(at)
        ctx.set(rig.dut.halt, 1)
        await ctx.tick()
        now = rig.cycle
        words = len(rig.words)
        for _ in range(3000):
            if not ctx.get(rig.dut.busy):
                break
            await ctx.tick()
        assert not ctx.get(rig.dut.busy)
        assert rig.memory.outstanding == rig.sm_outstanding == 0
        await ctx.tick().repeat(30)
        assert not ctx.get(rig.dut.busy)
        assert all(cycle <= now for cycle in rig.ar_cycles + rig.request_cycles)
        assert len(rig.words) == words

    rig.simulate(commands(rows), bench)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("axi_id", [-1, 16])
def test_refuses_id(axi_id):
    with pytest.raises(ValueError, match="axi_id must lie in"):
        Source(get_config("tiny"), axi_id=axi_id)
