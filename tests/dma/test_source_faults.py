"""The source: read errors, closed pages, FAULT runs, halt."""

import random

import pytest

from support.dma_source import SourceRig
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
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.common.axi import Resp
from xpu_rtl.configs import get_config
from xpu_rtl.params import XpuConfig

CONFIGS = ["tiny", "slice"]
GM_PAGE = GM_BASE // 4096


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
