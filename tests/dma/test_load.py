"""A load stream alone: progress, read errors."""

import numpy as np
import pytest

from support.dma_rig import copy, gm, make_rig, sm
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.common.axi import Resp
from xpu_rtl.configs import get_config


@pytest.mark.parametrize("add_ready_p", [1.0, 0.5, 0.05])
def test_progress_counts_landed_rows(add_ready_p):
    """Never more rows than have landed, all of them before ``done``, in the order of commands."""
    config = get_config("slice")
    commands = [copy(gm(0), sm(0x100), 32, rows=20, source_pitch=32, destination_pitch=32,
                     progress_semaphore=5),
                copy(gm(0x800), sm(0x1000), 16, rows=1, progress_semaphore=7),
                copy(gm(0x800), sm(0x1080), 8, rows=7, destination_pitch=8),
                copy(gm(0x801), sm(0x2003), 16, rows=12, source_pitch=16, destination_pitch=16,
                     progress_semaphore=5)]
    rig = make_rig(config, load=True, add_ready_p=add_ready_p, seed=3)
    rig.run(commands, extra=3)
    expected, now = rig.moved
    np.testing.assert_array_equal(now, expected)
    done = [cycle for cycle, *_ in rig.done]
    windows = [(0, done[0]), (done[0], done[1]), (done[1], done[2]), (done[2], done[3])]
    for command, (begin, end) in zip(commands, windows, strict=True):
        adds = [(s, n) for cycle, s, n in rig.adds if begin <= cycle < end]
        semaphore = command.get("progress_semaphore", 0)
        assert {s for s, _ in adds} == ({semaphore} if semaphore else set())
        assert sum(n for _, n in adds) == (command["rows"] if semaphore else 0)
    # Row r of the first command is two words: it has landed with response 2 r + 1.
    total = 0
    for cycle, semaphore, amount in rig.adds:
        if semaphore == 5 and cycle < done[0]:
            total += amount
            assert cycle > rig.sm_rsp_cycles[2 * total - 1]


def test_a_slow_add_stream_does_not_slow_the_data():
    config = get_config("slice")
    command = copy(gm(0), sm(0), 16, rows=200, source_pitch=16, destination_pitch=16,
                   progress_semaphore=3)
    rig = make_rig(config, load=True, add_ready_p=0.02, seed=1)
    rig.run([command])
    assert rig.sm_cycles[-1] - rig.sm_cycles[0] == 199
    assert sum(amount for _, _, amount in rig.adds) == 200
    assert len(rig.adds) < 20


def test_short_commands_follow_each_other():
    """One-row commands with progress complete in step with their arrival."""
    config = get_config("slice")
    commands = [copy(gm(64 * n), sm(64 * n), 64, progress_semaphore=1 + n % 2) for n in range(40)]
    rig = make_rig(config, load=True, memory={"latency": 100})
    rig.run(commands)
    assert rig.memory.read_cycles[-1] - rig.memory.read_cycles[0] == 159


@pytest.mark.parametrize("resp", [Resp.SLVERR, Resp.DECERR])
@pytest.mark.parametrize("beat", range(7))
def test_read_error_on_each_beat(beat, resp):
    """Two rows, of three and four beats: what comes before the bad beat may be written."""
    config = get_config("slice")
    before = copy(gm(0x3000), sm(0x7004), 100)
    job = copy(gm(0x108), sm(0x400), 40, rows=2, source_pitch=0x100 - 4, destination_pitch=64)
    beats = [0x100, 0x110, 0x120, 0x200, 0x210, 0x220]
    address = gm(beats[beat] if beat < len(beats) else 0x3010)
    rig = make_rig(config, load=True, memory={"latency": 20, "jitter": 5, "valid_p": 0.7},
                   seed=beat)
    rig.memory.read_errors[address] = resp
    first_bad = beat >= len(beats)
    rig.run([before, job, job], expected=1 if first_bad else 2, extra=30)
    assert rig.done[-1][1:] == (FaultCause.BUS_READ, address, resp)
    if not first_bad:
        assert rig.done[0][1] == FaultCause.NONE
    # Bytes of the failing beat and of all later ones are untouched.
    expected, now = rig.moved
    untouched = rig.sm_before.copy()
    row, offset = divmod(beat, 3)
    start = 0x108 + row * 0xFC
    good = 0 if offset == 0 else (start & ~15) + 16 * offset - start
    allowed = expected.copy()
    allowed[0x400:0x480] = untouched[0x400:0x480]
    if first_bad:
        allowed[0x7004:0x7070] = untouched[0x7004:0x7070]
        allowed[0x7004:0x7014] = expected[0x7004:0x7014]
    else:
        for r in range(row):
            allowed[0x400 + 64 * r:0x428 + 64 * r] = expected[0x400 + 64 * r:0x428 + 64 * r]
        at = 0x400 + 64 * row
        allowed[at:at + good] = expected[at:at + good]
    assert np.all((now == allowed) | (now == untouched))


def test_exclusive_okay_is_no_error():
    config = get_config("slice")
    rig = make_rig(config, load=True)
    rig.memory.read_errors[gm(0)] = Resp.EXOKAY
    rig.run([copy(gm(0), sm(0), 16)])
    assert rig.done[0][1] == FaultCause.NONE


def test_a_read_error_comes_before_a_later_bad_command():
    """The bad command is found first, but faults are reported in the order of commands."""
    config = get_config("slice")
    rig = make_rig(config, load=True, memory={"latency": 60})
    rig.memory.read_errors[gm(0x50)] = Resp.SLVERR
    rig.run([copy(gm(0), sm(0), 256), copy(gm(0), sm(0), 0)], expected=1, extra=40)
    assert rig.done[0][1:] == (FaultCause.BUS_READ, gm(0x50), Resp.SLVERR)


def test_data_stall_only_for_the_scratchpad():
    """With a scratchpad that always accepts, every beat is taken when offered."""
    config = get_config("slice")
    rig = make_rig(config, load=True, memory={"latency": 10})
    rig.run([copy(gm(16 * n), sm(0x100 * n), 48, rows=3, source_pitch=48, destination_pitch=48)
             for n in range(5)])
    assert rig.memory.read_cycles[-1] - rig.memory.read_cycles[0] == 44
