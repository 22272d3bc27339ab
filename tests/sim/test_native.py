"""The native platform around a small stand-in for the cluster."""

import concurrent.futures
import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest

from support import copier
from support.copier import BEAT, copy, random_bytes
from xpu.platforms import (
    ActivityRun,
    PlatformError,
    RegisterAccessError,
    TraceEvent,
    engine_names,
)
from xpu.platforms.native import MemoryStall

pytestmark = pytest.mark.cosim


def test_a_copy(open_copier):
    platform = open_copier()
    data = random_bytes(1, 256)
    platform.write_memory(0x1000, data)
    assert copy(platform) == (0, 0)
    np.testing.assert_array_equal(platform.read_memory(0x2000, 256), data)


@pytest.mark.parametrize("latency", [1, 2, 20, 100])
def test_latency_is_counted_from_handshake_to_beat(open_copier, latency):
    platform = open_copier(memory_latency=latency)
    copy(platform)
    assert platform.read_register(copier.READ_WAIT) == latency
    assert platform.read_register(copier.WRITE_WAIT) == latency


def test_a_beat_moves_per_direction_and_cycle(open_copier):
    platform = open_copier(memory_latency=20)
    copier.start(platform, beats=64, reads=4)
    cycles, irq = platform.run(1000)
    # Read latency, 256 beats, one register on the way, write latency, and a few cycles of control.
    assert irq
    assert 20 + 256 + 20 <= cycles <= 20 + 256 + 20 + 4
    counters = platform.bus_counters
    assert (counters["read_beats"], counters["write_beats"]) == (256, 256)
    assert (counters["read_bursts"], counters["write_bursts"]) == (4, 1)


@pytest.mark.parametrize("strobe", [0x0001, 0x8000, 0xA5C3, 0x0000])
def test_only_strobed_bytes_change(open_copier, strobe):
    platform = open_copier()
    before = random_bytes(2, platform.memory_bytes)
    platform.memory[:] = before
    copy(platform, strobe=strobe)
    expected = before.copy()
    for offset in range(256):
        if strobe >> offset % BEAT & 1:
            expected[0x2000 + offset] = before[0x1000 + offset]
    np.testing.assert_array_equal(platform.memory, expected)


def test_data_may_come_before_its_address(open_copier):
    platform = open_copier()
    data = random_bytes(3, 256)
    platform.write_memory(0x1000, data)
    assert copy(platform, flags=copier.DATA_FIRST) == (0, 0)
    np.testing.assert_array_equal(platform.read_memory(0x2000, 256), data)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("channel", ["ar", "r", "aw", "w", "b", "all"])
def test_stalls_change_time_but_not_data(open_copier, channel, seed):
    probability = 0.5 + 0.1 * seed
    names = ("ar", "r", "aw", "w", "b") if channel == "all" else (channel,)
    stall = dict.fromkeys(names, probability) | {"seed": seed}
    data = random_bytes(seed, 512)
    cycles = []
    for options in ({}, {"memory_stall": stall}, {"memory_stall": stall}):
        platform = open_copier(**options)
        platform.write_memory(0x1000, data)
        assert copy(platform, beats=8, reads=4) == (0, 0)
        np.testing.assert_array_equal(platform.read_memory(0x2000, 512), data)
        cycles.append(platform.cycle_count)
    assert cycles[1] == cycles[2]
    if channel in ("r", "w", "all"):
        assert cycles[1] > cycles[0] + 16


@pytest.mark.parametrize("order", ["in_order", "reorder", "interleave"])
def test_order_of_reads(open_copier, order):
    orders = set()
    for seed in range(6):
        platform = open_copier(memory_order=order, memory_stall={"seed": seed})
        data = random_bytes(seed, 4 * 8 * BEAT).reshape(4, 8, BEAT)
        platform.write_memory(0x1000, data)
        copy(platform, beats=8, reads=4, flags=copier.TAG)
        out = platform.read_memory(0x2000, data.size).reshape(32, BEAT)
        ids = out[:, 0]
        for number in range(4):      # each ID has its beats, in order
            np.testing.assert_array_equal(out[ids == number][:, 1:], data[number, :, 1:])
        orders.add(tuple(ids.tolist()))
    switches = {sum(a != b for a, b in itertools.pairwise(ids)) for ids in orders}
    if order == "in_order":
        assert orders == {tuple(np.repeat(range(4), 8).tolist())}
    elif order == "reorder":
        assert len(orders) > 1
        assert switches == {3}
    else:
        assert min(switches) > 3


def test_addresses_outside_memory_answer_decerr(open_copier):
    platform = open_copier()
    before = random_bytes(5, platform.memory_bytes)
    platform.memory[:] = before
    end = platform.memory_bytes
    assert copy(platform, source=end, strobe=0) == (3, 0)
    assert copy(platform, target=end) == (0, 3)
    np.testing.assert_array_equal(platform.memory, before)
    assert copy(platform, source=end - 256) == (0, 0)


def test_injected_errors(open_copier):
    platform = open_copier()
    before = random_bytes(6, platform.memory_bytes)
    platform.memory[:] = before
    platform.inject_error(0x1080, 1, kind="read", response="SLVERR", count=1)
    assert copy(platform, strobe=0) == (2, 0)
    assert copy(platform, strobe=0) == (0, 0)          # it hit its one beat
    platform.inject_error(0x2010, 16, kind="write", response="DECERR")
    assert copy(platform) == (0, 3)
    assert copy(platform) == (0, 3)
    expected = before.copy()
    expected[0x2000:0x2100] = before[0x1000:0x1100]
    expected[0x2010:0x2020] = before[0x2010:0x2020]    # the beat that failed is not written
    np.testing.assert_array_equal(platform.memory, expected)
    platform.clear_errors()
    assert copy(platform) == (0, 0)


@pytest.mark.parametrize(("options", "message"), [
    ({"flags": copier.WRONG_SIZE}, "size other than the bus"),
    ({"source": 0x1F10}, "4 KiB"),
    ({"target": 0x2F80}, "4 KiB"),
])
def test_bursts_against_the_rules_end_the_run(open_copier, options, message):
    platform = open_copier()
    with pytest.raises(PlatformError, match=message):
        copy(platform, **options)
    platform.hard_reset()
    assert copy(platform) == (0, 0)


def test_a_withdrawn_request_ends_the_run(open_copier):
    platform = open_copier(memory_stall={"ar": 0.9, "seed": 3})
    with pytest.raises(PlatformError, match="AR was withdrawn"):
        copy(platform, flags=copier.WITHDRAW)


def test_stop_in_the_model_is_an_exception(open_copier):
    platform = open_copier()
    with pytest.raises(PlatformError, match=r"\$stop"):
        platform.write_register(copier.CONTROL, copier.STOP)
    platform.hard_reset()
    assert copy(platform) == (0, 0)


def test_register_errors(open_copier):
    platform = open_copier()
    with pytest.raises(RegisterAccessError, match="read at offset 0x100 was answered with SLVERR"):
        platform.read_register(0x100)
    with pytest.raises(RegisterAccessError) as caught:
        platform.write_register(0x100, 1)
    assert (caught.value.offset, caught.value.kind, caught.value.response) == (0x100, "write", 2)
    platform.write_register(copier.SOURCE, 0xDEADBEEF)
    assert platform.read_register(copier.SOURCE) == 0xDEADBEEF


def test_initial_state_is_zero_or_random(open_copier):
    def idle_word(**options):
        return open_copier(**options).read_register(copier.IDLE)

    assert idle_word() == 0
    words = [idle_word(randomize=seed) for seed in (0, 1, 2)]
    assert len(set(words)) == 3
    assert 0 not in words
    assert words[1] == idle_word(randomize=1)


def test_run_counts_cycles_and_stops_at_the_interrupt(open_copier):
    platform = open_copier()
    before = platform.cycle_count
    assert platform.run(100) == (100, False)
    assert platform.cycle_count == before + 100
    assert platform.run(0) == (0, False)
    copier.start(platform)
    cycles, irq = platform.run(1000)
    assert irq
    assert cycles < 100
    assert platform.run(1000) == (0, True)


def test_trace_and_activity(open_copier):
    platform = open_copier(memory_latency=30)
    for index in (1, 2):
        copier.start(platform)
        begin = platform.cycle_count
        copier.finish(platform)
        events = platform.take_trace()
        assert [event[:2] for event in events] == [("load", index), ("store", index)]
        assert all(isinstance(event, TraceEvent) for event in events)
        load, store = events
        assert begin - 3 <= load.begin == store.begin <= begin
        assert load.end == load.begin + 30 + 16 - 1
        assert store.end == load.end + 1 + 30
        runs = platform.take_activity()
        assert all(isinstance(run, ActivityRun) for run in runs)
        # What every engine does is known from the first cycle after the previous call.
        names = set(engine_names(platform.config))
        assert {run.engine for run in runs[:len(names)]} == names
        waiting, moving = (next(run for run in runs if run.engine == "load" and
                                run.activity == activity and run.begin > load.begin)
                           for activity in (3, 1))
        assert moving.begin - waiting.begin == 30
    assert platform.take_trace() == []
    assert platform.bus_counters["dropped"] == 0


def test_a_command_lost_in_a_reset_is_not_traced(open_copier):
    platform = open_copier()
    copier.start(platform)
    platform.run(5)
    platform.hard_reset()
    copy(platform)
    assert [event.engine for event in platform.take_trace()] == ["load", "store"]


def test_memory_access(open_copier):
    platform = open_copier()
    words = np.arange(6, dtype=np.int32).reshape(2, 3)
    platform.write_memory(8, words)
    np.testing.assert_array_equal(platform.read_memory(8, 24).view(np.int32), words.ravel())
    platform.write_memory(8, b"abc")
    assert bytes(platform.read_memory(7, 5)) == b"\0abc\0"
    copied = platform.read_memory(8, 1)
    copied[0] = 0
    assert platform.memory[8] == ord("a")
    for address, size in ((-1, 1), (platform.memory_bytes, 1), (0, platform.memory_bytes + 1)):
        with pytest.raises(IndexError, match="leaves"):
            platform.read_memory(address, size)
    with pytest.raises(IndexError, match="leaves"):
        platform.write_memory(platform.memory_bytes - 1, b"ab")


def test_instances_are_independent_and_release_the_lock(open_copier):
    platforms = [open_copier(memory_latency=latency) for latency in (5, 50)]
    data = [random_bytes(n, 256) for n in range(2)]
    for platform, mine in zip(platforms, data, strict=True):
        platform.write_memory(0x1000, mine)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(copy, platforms)) == [(0, 0)] * 2
        runs = [pool.submit(platform.run, 2_000_000) for platform in platforms]
        count = 0
        while not all(run.done() for run in runs):
            count += 1       # this thread goes on meanwhile
            time.sleep(0.001)
    assert count > 5
    for platform, mine in zip(platforms, data, strict=True):
        np.testing.assert_array_equal(platform.read_memory(0x2000, 256), mine)


def test_control_c_returns_soon_and_leaves_the_device_usable(open_copier):
    platform = open_copier()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        platform.run(10 ** 12)
    assert time.monotonic() - begin < 1.3
    timer.join()
    assert copy(platform) == (0, 0)


def test_closing(open_copier):
    platform = open_copier()
    memory = platform.memory
    platform.close()
    platform.close()
    memory[:] = 1            # the memory outlives the device
    with pytest.raises(PlatformError, match="closed"):
        platform.run(1)


def test_waves_need_a_model_that_can_write_them(open_copier, tmp_path):
    with pytest.raises(PlatformError, match="built without"):
        open_copier().start_waves(tmp_path / "a.fst")


@pytest.mark.parametrize(("options", "message"), [
    ({"memory_latency": 0}, "latency must be at least 1"),
    ({"memory_stall": 1.0}, r"must lie in \[0, 1\)"),
    ({"memory_stall": {"q": 0.5}}, "not 'q'"),
    ({"memory_order": "random"}, "memory order must be one of"),
    ({"memory_bytes": 1000}, "multiple of 4096"),
])
def test_refused_options(open_copier, options, message):
    with pytest.raises(ValueError, match=message):
        open_copier(**options)


def test_ways_to_ask_for_stalls():
    assert MemoryStall.of(None) == MemoryStall()
    assert MemoryStall.of(0.25) == MemoryStall(ar=0.25, r=0.25, aw=0.25, w=0.25, b=0.25)
    assert MemoryStall.of({"r": 0.5, "seed": 7}) == MemoryStall(r=0.5, seed=7)
    with pytest.raises(TypeError, match="memory_stall"):
        MemoryStall.of("often")
