"""The reader of index lists."""

import itertools
import random

import pytest

from support.dma_index_list import GM_BASE, GM_BYTES, SM, IndexRig, OdometerWithLists
from support.dma_nd import nd
from support.dma_odometer import open_windows
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import DmaMode, FaultCause
from xpu_rtl.common.axi import Resp
from xpu_rtl.configs import get_config
from xpu_rtl.dma.index_list import IndexReader
from xpu_rtl.params import XpuConfig

CONFIGS = [get_config("tiny"), get_config("slice"), *(
    XpuConfig(name=f"lanes{lanes}", lanes=lanes, rings=3, acc_rows=64) for lanes in (8, 32, 64))]
NAMES = [config.name for config in CONFIGS]


def config_of(name):
    return CONFIGS[NAMES.index(name)]


def every(n):
    """An entry is taken each ``n`` cycles."""
    return lambda cycle: cycle % n == 0


def random_jobs(rng, config, n):
    jobs = []
    for _ in range(n):
        count = rng.choice([1, 1, rng.randint(1, 20), rng.randint(1, 150)])
        size = GM_BYTES if (gm := rng.random() < 0.6) else config.sm_bytes
        place = rng.choice([0, size // 4 - count, rng.randint(0, size // 4 - count),
                            1024 * rng.randint(1, size // 4096 - 1) - rng.randint(0, count)])
        place = max(0, min(place, size // 4 - count))
        jobs.append(((GM_BASE if gm else SM) + 4 * place, count, rng.randrange(config.rings)))
    return jobs


@pytest.mark.parametrize("name", NAMES)
def test_one_list(name):
    """Twenty entries from the second entry of a beat on: the right ones, from the right beats."""
    config = config_of(name)
    rig = IndexRig(config).run([(GM_BASE + 0x1004, 20, 0)])
    assert [burst[1:] for burst in rig.memory.reads] == rig.bursts(GM_BASE + 0x1004, 20)
    assert rig.ar_cycle - rig.job_cycles[0] == IndexReader.ISSUE_LATENCY
    assert rig.entry_cycles[0] - rig.memory.read_cycles[0] == IndexReader.DATA_LATENCY
    rig = IndexRig(config).run([(SM + 0x1004, 20, 0)])
    first, last = 0x1004 // config.word_bytes, 0x1053 // config.word_bytes
    assert [word for _, word in rig.sm_reads] == list(range(first, last + 1))
    assert rig.sm_reads[0][0] - rig.job_cycles[0] == IndexReader.ISSUE_LATENCY


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_random_lists(name, seed):
    """Lists of both memories, at random alignment, with random delays everywhere."""
    config, rng = config_of(name), random.Random(f"{name}-{seed}")
    memory = [{"latency": 20}, {"latency": 1, "jitter": 9, "valid_p": 0.6, "ready_p": 0.5},
              {"latency": 40, "ready_p": 0.7}][seed]
    draw = random.Random(f"{name}-{seed}-ready")
    ready_p = [1.0, 0.8, 0.4][seed]
    rig = IndexRig(config, memory=memory, sm_p=[1.0, 0.6, 0.8][seed], job_p=[1.0, 0.3, 0.9][seed],
                   ready=lambda cycle: draw.random() < ready_p, seed=seed)
    jobs = random_jobs(rng, config, 30)
    rig.run(jobs)
    assert [burst[1:] for burst in rig.memory.reads] == [
        burst for address, count, _ in jobs if address >> 44 == Space.GM
        for burst in rig.bursts(address, count)]


def test_bursts():
    """Of 64 bytes where a beat is not larger; never across a multiple of their size."""
    assert [IndexReader.burst_beats(config) * config.bus_bytes for config in CONFIGS] == [
        32, 64, 64, 128, 256]


@pytest.mark.slow
def test_the_longest_list():
    config, count = config_of("lanes64"), 65_535
    rig = IndexRig(config).run([(SM + 4, count, 0)], timeout=count + 40)
    assert rig.entry_cycles[-1] - rig.entry_cycles[0] == count - 1


@pytest.mark.parametrize("name", ["tiny", "slice", "lanes64"])
def test_rows_of_256_bytes_never_wait(name):
    """Memory latency of 100 cycles; also across lists of 9 entries."""
    config = config_of(name)
    period = 256 // config.bus_bytes
    rig = IndexRig(config, memory={"latency": 100}, ready=every(period))
    rig.run([(GM_BASE + 0x40 * n, 9, 0) for n in range(6)])
    waits = [b - a for a, b in itertools.pairwise(rig.entry_cycles)]
    assert waits == [period] * 53


@pytest.mark.parametrize(("name", "most"), [("tiny", 1.05), ("slice", 1.10)])
def test_rows_of_16_bytes_lose_little(name, most):
    config = config_of(name)
    period = max(1, 16 // config.bus_bytes)
    rig = IndexRig(config, memory={"latency": 100}, ready=every(period))
    rig.run([(GM_BASE, 500, 0)])
    cycles = rig.entry_cycles[-1] - rig.entry_cycles[0]
    assert cycles <= most * 499 * period


def test_short_lists_follow_each_other():
    """One entry each: one per cycle while the memory answers in time."""
    config = config_of("slice")
    rig = IndexRig(config, memory={"latency": 10})
    rig.run([(GM_BASE + 52 * n, 1, 0) for n in range(60)])
    assert rig.entry_cycles[-1] - rig.entry_cycles[0] == 59
    rig = IndexRig(config).run([(SM + 52 * n, 1, 0) for n in range(60)])
    assert rig.entry_cycles[-1] - rig.entry_cycles[0] == 59


def test_a_full_buffer_refuses_no_data():
    """Nobody takes entries: what was asked for arrives, nothing more is asked for."""
    config = config_of("slice")
    rig = IndexRig(config, ready=lambda cycle: cycle >= 300, memory={"latency": 5})
    rig.run([(GM_BASE, 400, 0)])
    early = [beats for cycle, _, beats in rig.memory.reads if cycle < 300]
    assert sum(early) == IndexReader.BEATS


@pytest.mark.parametrize("resp", [Resp.SLVERR, Resp.DECERR])
@pytest.mark.parametrize("name", ["tiny", "slice", "lanes64"])
def test_read_errors(name, resp):
    """On each beat of a list; the next list is bad too."""
    config = config_of(name)
    size, start, count = config.bus_bytes, GM_BASE + 0xFDC, 30
    for beat in range(start // size * size, start + 4 * count, size):
        rig = IndexRig(config, memory={"latency": 9, "valid_p": 0.8}, seed=beat)
        rig.memory.read_errors[beat] = resp
        rig.run([(GM_BASE, 3, 0), (start, count, 0), (1 << 46, 1, 0)], extra=60)
        assert rig.fault == {"cause": FaultCause.BUS_READ, "address": beat, "info": resp, "row": 0}
        assert len(rig.entries) == 3 + max(0, beat - start) // 4


def test_exclusive_okay_is_no_error():
    rig = IndexRig(config_of("slice"))
    rig.memory.read_errors[GM_BASE] = Resp.EXOKAY
    rig.run([(GM_BASE, 3, 0)])
    assert rig.fault is None


@pytest.mark.parametrize("name", ["tiny", "lanes64"])
def test_lists_outside_their_memory(name):
    """After two good lists, of which the second comes last; nothing of a bad list is read."""
    config = config_of(name)
    good = [(SM, 5, 0), (GM_BASE, 5, 0)]
    bad = [(SM + config.sm_bytes - 4, 2, 0), (SM + config.sm_bytes, 1, 0), (SM | 1 << 43, 1, 0),
           ((1 << 44) - 4, 2, 0), ((1 << 44) - 0x2000, 65_535, 0), (SM + (1 << 44) - 4, 2, 0),
           *((space << 44 | 0x108, 1, 0) for space in range(2, 16))]
    for job in bad:
        rig = IndexRig(config, memory={"latency": 30})
        rig.run([*good, job, (GM_BASE, 4, 0)], extra=60)
        assert rig.fault == {"cause": FaultCause.BAD_ADDRESS, "address": job[0], "info": 0,
                             "row": 0}
        assert len(rig.entries) == 10
        assert len(rig.memory.reads) == len(rig.bursts(GM_BASE, 5))


def test_the_last_entries_of_the_scratchpad():
    for name in NAMES:
        config = config_of(name)
        IndexRig(config).run([(SM + config.sm_bytes - 12, 3, 0)])


def closed():
    """Windows of a ring that allow nothing."""
    return dict.fromkeys(open_windows(), 0)


def test_windows_of_global_memory():
    """A list of three pages of which the last is closed; two windows; each ring has its own."""
    config = config_of("lanes8")
    page = GM_BASE // 4096
    pages = [open_windows(), closed() | {
        "gm0_first": page, "gm0_last": page, "gm0_read": 1,
        "gm1_first": page + 1, "gm1_last": page + 1, "gm1_read": 1},
        open_windows() | {"gm0_read": 0, "gm1_read": 0}]
    start = GM_BASE + 0xFF8
    for ring, entries in ((0, 1030), (1, 1026), (2, 0)):
        rig = IndexRig(config, windows=pages, memory={"latency": 20})
        rig.run([(start, 1030, ring)])
        assert len(rig.entries) == entries
        assert (rig.fault is None) == (ring == 0)
        if ring:
            assert rig.fault == {"cause": FaultCause.PROTECTION, "address": start + 4 * entries,
                                 "info": Space.GM, "row": 0}
    for window in ("gm0", "gm1"):
        one = [closed() | {f"{window}_first": page, f"{window}_last": page,
                           f"{window}_read": 1}] * 3
        rig = IndexRig(config, windows=one).run([(start, 5, 1)])
        assert rig.fault["address"] == start + 8
        shut = [one[0] | {f"{window}_read": 0, f"{window}_write": 1}] * 3
        rig = IndexRig(config, windows=shut).run([(start, 5, 1)])
        assert rig.fault["address"] == start


def test_windows_of_the_scratchpad():
    """Whole lists; lines of 64 bytes."""
    config = config_of("lanes8")
    windows = [closed() | {"sm_first": 2, "sm_last": 3, "sm_read": 1, "sm_write": 0}] * 2
    windows.append(windows[0] | {"sm_read": 0, "sm_write": 1})
    for start, count, ring, good in (
            (128, 32, 0, True), (128, 33, 0, False), (124, 2, 1, False), (252, 1, 1, True),
            (256, 1, 0, False), (124, 1, 0, False), (128, 1, 2, False)):
        rig = IndexRig(config, windows=windows).run([(SM + start, count, ring)])
        assert (rig.fault is None) == good
        if not good:
            assert rig.fault == {"cause": FaultCause.PROTECTION, "address": SM + start,
                                 "info": Space.SM, "row": 0}
            assert not rig.sm_reads


@pytest.mark.parametrize("space", ["gm", "sm"])
def test_halt(space):
    """At any cycle: nothing new begins, what is begun ends, then it is not busy."""
    config = config_of("slice")
    start = GM_BASE if space == "gm" else SM
    for cycle in range(0, 40, 3):
        rig = IndexRig(config, memory={"latency": 30, "ready_p": 0.5}, sm_latency=20, sm_p=0.7,
                       seed=cycle)
        rig.run([(start, 60, 0), (start, 400, 0)], halt_at=cycle, extra=40)
        assert rig.quiet_at <= cycle + 80
        begun = [c for c, *_ in (rig.memory.reads if space == "gm" else rig.sm_reads)]
        assert all(c < cycle + 12 for c in begun)       # one may still be offered
        assert not rig.memory.outstanding
        assert not rig.sm_flying


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refused_parameters():
    with pytest.raises(ValueError, match="axi_id must"):
        IndexReader(get_config("tiny"), axi_id=16)


@pytest.mark.parametrize("name", ["tiny", "slice"])
@pytest.mark.parametrize("mode", [DmaMode.GATHER, DmaMode.SCATTER])
def test_with_the_odometer(name, mode):
    """Rows whose entries come from memory, of both memories, up to one beyond its limit."""
    config = config_of(name)
    pair = OdometerWithLists(config, memory={"latency": 30}, seed=3)
    commands = []
    for n, start in enumerate((GM_BASE + 0x104, SM + 0x3FC, GM_BASE + 0xFFC)):
        commands.append(nd(0x1000, SM, 8, 50, mode=mode, index=start, index_limit=0xFFFFFFFF,
                           source_pitch=-24, destination_pitch=40, count2=n + 1,
                           source_stride2=1 << 20, destination_stride2=0x100))
    entries = [pair.memory_entry(commands[-1], i) for i in range(50)]
    commands.append(commands[-1] | {"index_limit": max(entries)})
    rows, fault = pair.run(commands)
    assert rows == 50 * (1 + 2 + 3) + entries.index(max(entries))
    assert fault["cause"] == FaultCause.BAD_INDEX
