"""The sink that writes SM: data, progress, faults."""

import random

import pytest

from support.dma_sinks import Run, SmSinkRig, random_runs, rows_of_words
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.configs import get_config
from xpu_rtl.dma.landing import LandingTracker
from xpu_rtl.dma.sm_sink import SmSink
from xpu_rtl.params import XpuConfig

MARK = {"cause": FaultCause.PROTECTION, "address": 0x1234, "info": 17, "row": 99}


def make(config, **options):
    return SmSinkRig(SmSink(config), config, **options)


def total(adds):
    """Sums of ``(cycle, semaphore, amount)`` by semaphore."""
    sums = {}
    for _, semaphore, amount in adds:
        sums[semaphore] = sums.get(semaphore, 0) + amount
    return sums


@pytest.mark.parametrize("name", ["tiny", "slice"])
@pytest.mark.parametrize(("options", "seed"), [
    ({}, 1), ({"sm_ready_p": 0.4, "sm_jitter": 9}, 2), ({"word_p": 0.4, "run_p": 0.3}, 3),
    ({"add_ready_p": 0.1, "sm_ready_p": 0.9}, 4),
    ({"add_ready_p": 0.3, "word_p": 0.8, "sm_ready_p": 0.7, "sm_jitter": 3, "sm_latency": 30}, 5)])
def test_random_runs(name, options, seed):
    config = get_config(name)
    runs = random_runs(random.Random(f"{name}-{seed}"), config, 8, size=config.sm_bytes,
                       semaphores=3, longest=25 * config.word_bytes)
    rig = make(config, seed=seed, **options)
    rig.run(runs)
    assert bytes(rig.data) == rig.expected(runs)
    rows = {}
    for run in runs:
        if run.semaphore and run.row_last:
            rows[run.semaphore] = rows.get(run.semaphore, 0) + 1
    assert total(rig.adds) == rows
    assert rig.payload_bytes == sum(len(run.data) for run in runs)
    assert rig.failed_at is None


@pytest.mark.parametrize("sm_latency", [1, 4])
def test_latency(sm_latency):
    config = get_config("slice")
    rig = make(config, sm_latency=sm_latency)
    rig.run([Run(0, bytes(16), semaphore=5, last=True), Run(0, bytes(16), last=True)],
            words_at=lambda n: 30 * n + 9)
    assert [sent - taken for sent, taken in zip(rig.sm_cycles, rig.word_cycles, strict=True)] == [
        SmSink.DATA_LATENCY] * 2
    assert rig.adds == [(rig.rsp_cycles[0] + SmSink.LANDING_LATENCY, 5, 1)]
    # The add is accepted one cycle before the completion it holds up.
    assert rig.completed == [rig.rsp_cycles[0] + SmSink.LANDING_LATENCY + 1,
                             rig.rsp_cycles[1] + SmSink.LANDING_LATENCY]


@pytest.mark.parametrize("per_run", [1, 2, 60])
def test_throughput(per_run):
    """One word per cycle, each run a row with progress or, without it, a command."""
    config = get_config("slice")
    assert LandingTracker.DEPTH - 3 >= 20
    for fields in ({"semaphore": 4}, {"per_command": 1}):
        rig = make(config, sm_latency=20)
        count = max(2, 120 // per_run)
        runs = rows_of_words(config, count, per_run=per_run, **fields)
        rig.run(runs)
        words = count * per_run
        assert rig.word_cycles[-1] - rig.word_cycles[0] == words - 1
        assert rig.sm_cycles[-1] - rig.sm_cycles[0] == words - 1
        assert bytes(rig.data) == rig.expected(runs)
        assert len(rig.completed) == (count if "per_command" in fields else 1)


def test_only_whole_rows_count():
    """The runs of a row but the last do not count, however many."""
    config = get_config("slice")
    rig = make(config)
    runs = [Run(100 * n, bytes(50), row_last=n % 3 == 2, semaphore=2, last=n == 11)
            for n in range(12)]
    rig.run(runs, words_at=lambda n: 20 * n)
    assert [amount for _, _, amount in rig.adds] == [1] * 4


def test_stalled_adds_are_merged_and_hold_the_completion():
    config = get_config("slice")
    rig = make(config, add_from=200)
    rig.run([*rows_of_words(config, 20, semaphore=3), Run(0, bytes(5), semaphore=4, last=True)])
    assert total(rig.adds) == {3: 20, 4: 1}
    assert len(rig.adds) == 3
    assert rig.completed[0] > rig.adds[1][0] >= 200
    assert rig.completed[1] > rig.adds[2][0]


@pytest.mark.parametrize("bad", [0, 1, 4, 5, 11, 12])
@pytest.mark.parametrize("options", [
    {}, {"sm_ready_p": 0.3, "sm_jitter": 20, "add_ready_p": 0.2, "word_p": 0.7}])
def test_what_is_before_a_bad_run_lands(bad, options):
    """Commands of two rows of two runs."""
    config = get_config("slice")
    runs = [Run(0x100 * n + n, random.Random(n).randbytes(70), row_last=n % 2 == 1,
                last=n % 4 == 3, semaphore=1 + n // 4, fault=n == bad) for n in range(16)]
    rig = make(config, seed=bad, **options)
    rig.run(runs, run_fault=MARK)
    assert rig.fault == (MARK["cause"], MARK["address"], MARK["info"], bad // 2 % 2)
    assert bytes(rig.data) == rig.expected(runs[:bad])
    assert len(rig.completed) == bad // 4
    expected = {}
    for n in range(1, bad, 2):
        expected[1 + n // 4] = expected.get(1 + n // 4, 0) + 1
    assert total(rig.adds) == expected


def test_a_bad_run_is_looked_at_with_its_first_word():
    config = get_config("slice")
    runs = [Run(0, bytes(40)), Run(256, bytes(40), fault=True)]
    rig = make(config)
    rig.run(runs, run_fault=MARK, words_at=lambda n: 0 if n < 3 else None, cycles=100)
    assert rig.failed_at is None
    assert not rig.busy
    assert len(rig.sm_cycles) == 3

    rig = make(config)
    rig.run(runs, run_fault=MARK, words_at=lambda n: 0 if n < 3 else 60, cycles=100)
    assert 60 <= rig.failed_at - SmSink.FAULT_LATENCY <= 62
    assert len(rig.word_cycles) == 3
    assert len(rig.run_cycles) == 1


@pytest.mark.parametrize("halt_at", [0, 1, 2, 3, 4, 7, 12, 25])
@pytest.mark.parametrize("options", [
    {}, {"sm_ready_p": 0.3, "sm_jitter": 20, "add_ready_p": 0.2, "word_p": 0.7}])
def test_halt(halt_at, options):
    config = get_config("slice")
    runs = rows_of_words(config, 30, per_run=2, per_command=5, semaphore=6)
    rig = make(config, seed=halt_at, **options)
    rig.run(runs, halt_at=halt_at)
    taken = sum(cycle < halt_at for cycle in rig.word_cycles)
    assert len(rig.sm_cycles) == len(rig.rsp_cycles) == taken
    size = 2 * config.word_bytes
    cut = [*runs[:taken // 2], *(Run(run.address, run.data[:size // 2])
                                 for run in runs[taken // 2:][:taken % 2])]
    assert bytes(rig.data) == rig.expected(cut)
    assert total(rig.adds).get(6, 0) == taken // 2
    assert len(rig.completed) == taken // 10


def test_words_and_runs_are_dropped_while_halted():
    config = get_config("slice")
    runs = rows_of_words(config, 50)
    rig = make(config)
    rig.run(runs, halt_at=0, cycles=70)
    assert rig.word_cycles == rig.run_cycles == list(range(50))
    assert not rig.sm_cycles
    assert not rig.busy


def test_a_fault_run_does_not_count_after_a_halt():
    """Once halted, a marker is dropped like any run."""
    config = get_config("slice")
    rig = make(config)
    rig.run([Run(0, bytes(16), fault=True)], run_fault=MARK, halt_at=3,
            words_at=lambda n: 10, cycles=40)
    assert rig.failed_at is None


@pytest.mark.parametrize("lanes", [8, 32, 64])
def test_other_widths(lanes):
    config = XpuConfig(name="x", lanes=lanes, acc_rows=64, epilogue_lanes=4)
    runs = random_runs(random.Random(lanes), config, 4, size=config.sm_bytes, semaphores=2)
    rig = make(config, sm_ready_p=0.7)
    rig.run(runs)
    assert bytes(rig.data) == rig.expected(runs)
    assert rig.payload_bytes == sum(len(run.data) for run in runs)
