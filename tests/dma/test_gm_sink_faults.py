"""The sink that writes GM: bad runs, windows, write errors."""

import dataclasses
import random

import pytest

from support.dma_sinks import (
    GM_BASE,
    OPEN_WINDOWS,
    GmSinkRig,
    Run,
    rows_of_words,
    window,
)
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.common.axi import Resp
from xpu_rtl.configs import get_config
from xpu_rtl.dma.gm_sink import GmSink

PAGE = GM_BASE // 4096
WRITE_GM = 16
MARK = {"cause": FaultCause.BAD_ADDRESS, "address": 0x123456789, "info": 0xABCDE, "row": 99}


def make(config, **options):
    return GmSinkRig(GmSink(config), config, **options)


def bad_runs(config, bad, *, fault, ring=0):
    """Three commands of four rows of two runs; run ``bad`` is bad. Also rows of its command before
    it."""
    runs = []
    for n in range(24):
        row, piece = n // 2, n % 2
        runs.append(Run(0x200 * n + 5, random.Random(n).randbytes(90), direct=n % 3 == 0,
                        row_last=piece == 1, last=row % 4 == 3 and piece == 1,
                        fault=fault and n == bad, ring=ring if n == bad else 0))
    return runs, bad // 2 % 4


@pytest.mark.parametrize("kind", ["marker", "window"])
@pytest.mark.parametrize("bad", [0, 7, 8, 13, 23])
@pytest.mark.parametrize("stalled", [False, True])
def test_what_is_before_a_bad_run_is_written(kind, bad, stalled):
    config = dataclasses.replace(get_config("slice"), rings=4)
    windows = [OPEN_WINDOWS, OPEN_WINDOWS, window(PAGE + 3, PAGE + 2), OPEN_WINDOWS]
    memory = {"latency": 60, "jitter": 10, "ready_p": 0.5} if stalled else {"latency": 60}
    rig = make(config, memory=memory, windows=windows, seed=bad, word_p=0.7 if stalled else 1)
    runs, row = bad_runs(config, bad, fault=kind == "marker", ring=2)
    rig.run(runs, run_fault=MARK)
    expected = (MARK["cause"], MARK["address"], MARK["info"], row) if kind == "marker" else (
        FaultCause.PROTECTION, GM_BASE + 0x200 * bad + 5, WRITE_GM, row)
    assert rig.fault == expected
    assert len(rig.completed) == bad // 8
    assert bytes(rig.memory.data) == rig.expected(runs[:bad])


@pytest.mark.parametrize("kind", ["marker", "window"])
def test_a_bad_run_is_looked_at_with_its_first_word(kind):
    config = get_config("slice")
    rig = make(config, windows=[window(PAGE, PAGE)])
    runs = [Run(0, bytes(64)), Run(4096, bytes(64), fault=kind == "marker", last=True)]
    rig.run(runs, run_fault=MARK, words_at=lambda n: 0 if n < 4 else 100)
    assert rig.word_cycles[4] >= 100
    assert rig.failed_at == rig.word_cycles[4] + GmSink.FAULT_LATENCY
    rig = make(config, windows=[window(PAGE, PAGE)])
    rig.run(runs, run_fault=MARK, words_at=lambda n: 0 if n < 4 else None, cycles=150)
    assert rig.failed_at is None
    assert not rig.busy


def test_nothing_is_taken_after_a_fault():
    config = get_config("slice")
    rig = make(config)
    runs = [Run(0, bytes(16), fault=True), *rows_of_words(config, 50)]
    rig.run(runs, run_fault=MARK, words_at=lambda n: 20 * n, cycles=150)
    assert len(rig.word_cycles) == 1
    assert len(rig.run_cycles) <= 5
    assert not rig.offers


@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_the_window_is_tested_for_each_burst(name):
    """A run that leaves its window: the bursts before are written, the address is a beat's."""
    config = get_config(name)
    rig = make(config, windows=[window(PAGE + 1, PAGE + 1, gm1_first=0, gm1_last=2**32 - 1,
                                       gm1_read=1)])
    run = Run(2 * 4096 - 1040, random.Random(3).randbytes(1200), last=True)
    rig.run([run])
    assert rig.fault == (FaultCause.PROTECTION, GM_BASE + 2 * 4096, WRITE_GM, 0)
    cut = Run(run.address, run.data[:1040])
    assert len(rig.offers) == 2
    assert bytes(rig.memory.data) == rig.expected([cut])


@pytest.mark.parametrize("lane", [0, 1, 7, 14, 15])
def test_the_address_is_that_of_the_first_byte(lane):
    config = get_config("slice")
    rig = make(config, windows=[{}])
    rig.run([Run(4096 - 16 + lane, bytes(100), last=True)])
    assert rig.fault == (FaultCause.PROTECTION, GM_BASE + 4096 - 16 + lane, WRITE_GM, 0)


@pytest.mark.parametrize("rings", [1, 5])
def test_each_ring_has_its_windows(rings):
    config = dataclasses.replace(get_config("tiny"), rings=rings)
    windows = [window(PAGE + ring, PAGE + ring) if ring % 2 else
               {"gm1_first": PAGE + ring, "gm1_last": PAGE + ring, "gm1_write": 1,
                "gm0_last": 2**32 - 1, "gm0_read": 1} for ring in range(rings)]
    good = [Run(4096 * ring + 40, bytes([ring + 1] * 50), ring=ring, last=True)
            for ring in range(rings)]
    rig = make(config, windows=windows)
    rig.run(good)
    assert rig.failed_at is None
    assert bytes(rig.memory.data) == rig.expected(good)
    for ring in range(rings):
        for page in (ring - 1, ring + 1):
            address = 4096 * page + 40
            if address < 0:
                continue
            rig = make(config, windows=windows)
            rig.run([*good[:ring], Run(address, bytes(5), ring=ring, last=True)])
            assert rig.fault == (FaultCause.PROTECTION, GM_BASE + address, WRITE_GM, 0)
            assert len(rig.completed) == ring


@pytest.mark.parametrize("resp", [Resp.SLVERR, Resp.DECERR])
@pytest.mark.parametrize("bad", [0, 6, 7, 8, 23])
def test_write_error(bad, resp):
    config = get_config("slice")
    rig = make(config, memory={"latency": 25, "jitter": 9}, seed=bad, word_p=0.5)
    runs, row = bad_runs(config, bad, fault=False)
    rig.memory.write_errors[GM_BASE + 0x200 * bad + 0x20] = resp      # its third beat
    rig.run(runs)
    assert rig.fault == (FaultCause.BUS_WRITE, GM_BASE + 0x200 * bad, resp, row)
    assert len(rig.completed) == bad // 8
    now, after = bytes(rig.memory.data), rig.expected(runs)
    end = 0x200 * (bad + 1)
    assert now[:end] == after[:end]
    assert all(byte in (new, old) for byte, new, old in zip(now, after, rig.before, strict=True))


@pytest.mark.parametrize("kind", ["marker", "window"])
@pytest.mark.parametrize("error", [0, 9, 10])
@pytest.mark.parametrize("latency", [1, 2, 4, 80])
def test_an_error_of_an_earlier_burst_wins(kind, error, latency):
    config = dataclasses.replace(get_config("slice"), rings=2)
    bad = 11
    rig = make(config, memory={"latency": latency}, windows=[OPEN_WINDOWS, {}])
    runs, _ = bad_runs(config, bad, fault=kind == "marker", ring=1)
    rig.memory.write_errors[GM_BASE + 0x200 * error] = Resp.DECERR
    rig.run(runs, run_fault=MARK)
    assert rig.fault == (FaultCause.BUS_WRITE, GM_BASE + 0x200 * error, Resp.DECERR,
                         error // 2 % 4)
    assert len(rig.completed) == error // 8


@pytest.mark.parametrize("kind", ["marker", "window"])
@pytest.mark.parametrize("gap", range(4, 9))
def test_an_error_while_a_bad_run_is_met(kind, gap):
    """Its first word comes ``gap`` cycles after that of the burst with the error."""
    config = get_config("tiny")
    rig = make(config, memory={"latency": 5}, windows=[window(PAGE, PAGE)])
    rig.memory.write_errors[GM_BASE] = Resp.SLVERR
    runs = [Run(0, bytes(4)), Run(4096, bytes(4), fault=kind == "marker", last=True)]
    rig.run(runs, run_fault=MARK, words_at=lambda n: 10 + gap * n)
    assert rig.fault == (FaultCause.BUS_WRITE, GM_BASE, Resp.SLVERR, 0)


@pytest.mark.parametrize("direct", [False, True])
def test_a_burst_under_way_ends_without_strobes_after_an_error(direct):
    """If it is direct, even without its words."""
    config = get_config("slice")
    rig = make(config, memory={"latency": 6})
    rig.memory.write_errors[GM_BASE] = Resp.SLVERR
    runs = [Run(0, bytes(16), last=True), Run(1024, bytes(1024), direct=direct, last=True),
            Run(4096, bytes(16), last=True)]
    rig.run(runs, words_at=lambda n: 0 if n < 40 or not direct else None if n == 40 else 0)
    assert rig.fault == (FaultCause.BUS_WRITE, GM_BASE, Resp.SLVERR, 0)
    if direct:
        assert [beats for _, _, beats in rig.memory.writes] == [1, 64]
        assert len(rig.memory.write_cycles) == 65
        assert 16 < rig.memory.strobes_written < 16 * 40
    else:       # its words had not all come before the error
        assert [beats for _, _, beats in rig.memory.writes] == [1]
    assert rig.payload_bytes == rig.memory.strobes_written
