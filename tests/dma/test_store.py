"""A store stream alone: progress gate, write channels, write errors."""

import dataclasses

import numpy as np
import pytest

from support.dma_rig import copy, gm, make_rig, sm
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.command.types import Activity
from xpu_rtl.common.axi import Resp
from xpu_rtl.configs import get_config


def reached_after(schedule, width):
    """A view on counters; ``schedule(number, cycle)`` is a semaphore's value."""
    def reached(number, threshold, cycle):
        return (schedule(number, cycle) - threshold) % (1 << width) < 1 << (width - 1)
    return reached


@pytest.mark.parametrize("base", [0, 7, (1 << 24) - 3])
@pytest.mark.parametrize("step", [1, 5, 16])
def test_rows_wait_for_their_progress(base, step):
    """Row r is not read before the semaphore has reached progress_value + r."""
    config = get_config("slice")
    rows = 12

    def value(number, cycle):
        return base + (0 if number != 3 else max(0, cycle - 60) // step)
    rig = make_rig(config, load=False,
                   semaphore=reached_after(value, config.semaphore_width))
    rig.run([copy(sm(0x100), gm(0), 32, rows=1),
             copy(sm(0x200), gm(0x200), 32, rows=rows, source_pitch=32, destination_pitch=32,
                  progress_semaphore=3, progress_value=base + 1),
             copy(sm(0x100), gm(0x1000), 16, rows=3, destination_pitch=16)])
    expected, now = rig.moved
    np.testing.assert_array_equal(now, expected)
    reads = rig.sm_cycles[2:]
    for row in range(rows):
        assert reads[2 * row] >= 60 + step * (row + 1)
        if step > 4:        # a prompt reader
            assert reads[2 * row] <= 60 + step * (row + 1) + 6
    assert rig.activities.count(Activity.SEMAPHORE) >= 30


def test_gated_rows_follow_each_other_without_a_gap():
    config = dataclasses.replace(get_config("slice"), max_bursts=128)
    rows = 100
    rig = make_rig(config, load=False, memory={"latency": 100},
                   semaphore=lambda number, threshold, cycle: threshold < 1000)
    rig.run([copy(sm(0), gm(0), 16, rows=rows, source_pitch=16, destination_pitch=16,
                  progress_semaphore=2, progress_value=10)])
    cycles = rig.memory.write_cycles
    assert cycles[-1] - cycles[0] == rows - 1


def test_random_gates():
    config = get_config("tiny")
    rng = np.random.default_rng(5)
    commands, value, target = [], 0, {1: 0, 2: 0}
    for n in range(8):
        rows = int(rng.integers(1, 8))
        number = int(rng.integers(0, 3))
        value = target.get(number, 0)
        commands.append(copy(sm(512 * n + int(rng.integers(0, 4))), gm(1024 * n + n), 5 + 3 * n,
                             rows=rows, source_pitch=21, destination_pitch=40,
                             progress_semaphore=number, progress_value=value + 1))
        if number:
            target[number] += rows
    rig = make_rig(config, load=False, memory={"ready_p": 0.7, "valid_p": 0.7}, sm_ready_p=0.7,
                   semaphore=reached_after(lambda number, cycle: cycle // 9,
                                           config.semaphore_width))
    rig.run(commands)
    expected, now = rig.moved
    np.testing.assert_array_equal(now, expected)


@pytest.mark.parametrize("need", ["aw", "w"])
@pytest.mark.parametrize("ready_p", [1.0, 0.5])
def test_either_write_channel_may_be_served_first(need, ready_p):
    config = get_config("slice")
    rig = make_rig(config, load=False, memory={"need": need, "ready_p": ready_p}, seed=2)
    rig.run([copy(sm(8), gm(0x1005), 1500, rows=2, destination_pitch=1600),
             copy(sm(8), gm(0x2000), 16, rows=20, source_pitch=16, destination_pitch=16)])
    expected, now = rig.moved
    np.testing.assert_array_equal(now, expected)


@pytest.mark.parametrize("resp", [Resp.SLVERR, Resp.DECERR])
@pytest.mark.parametrize("burst", range(4))
def test_write_error_on_each_burst(burst, resp):
    config = get_config("slice")
    bursts = [0x100, 0x400, 0x700, 0xA00]
    commands = [copy(sm(0), gm(0x3000), 40),
                copy(sm(0x100), gm(0x10C), 64, rows=4, source_pitch=64, destination_pitch=0x300),
                copy(sm(0), gm(0x5000), 4096)]
    rig = make_rig(config, load=False, memory={"latency": 25, "jitter": 9}, seed=burst)
    rig.memory.write_errors[gm(bursts[burst]) + 0x20] = resp      # its third beat
    rig.run(commands, expected=2, extra=30)
    assert rig.done[0][1] == FaultCause.NONE
    assert rig.done[1][1:] == (FaultCause.BUS_WRITE, gm(bursts[burst]), resp)
    expected, now = rig.moved
    assert np.all((now == expected) | (now == rig.gm_before))


def test_a_burst_under_way_ends_without_strobes_after_an_error():
    config = get_config("slice")
    rig = make_rig(config, load=False, memory={"latency": 10})
    rig.memory.write_errors[gm(0)] = Resp.SLVERR
    rig.run([copy(sm(0), gm(0), 16), copy(sm(0), gm(0x1000), 4096)], expected=1, extra=30)
    assert rig.done[0][1:] == (FaultCause.BUS_WRITE, gm(0), Resp.SLVERR)
    assert [beats for _, _, beats in rig.memory.writes] == [1, 64]
    assert len(rig.memory.write_cycles) == 65
    assert rig.memory.strobes_written < 400
    assert rig.payload_bytes == rig.memory.strobes_written


def test_the_error_of_an_earlier_command_wins():
    config = get_config("slice")
    rig = make_rig(config, load=False, memory={"latency": 60})
    rig.memory.write_errors[gm(0)] = Resp.DECERR
    rig.run([copy(sm(0), gm(0), 256), copy(sm(0), gm(0), 16, rows=0)], expected=1, extra=40)
    assert rig.done[0][1:] == (FaultCause.BUS_WRITE, gm(0), Resp.DECERR)


def test_done_after_the_last_response():
    config = get_config("slice")
    rig = make_rig(config, load=False, memory={"latency": 70})
    rig.run([copy(sm(0), gm(0), 16, rows=3, destination_pitch=16), copy(sm(0), gm(64), 16)])
    assert [cycle for cycle, *_ in rig.done] == [
        cycle + 1 for cycle in rig.memory.response_cycles[2:]]
