"""What load and store streams have in common."""

import dataclasses

import numpy as np
import pytest

from support.dma_rig import copy, gm, make_rig, random_command, sm
from xpu_rtl.command.formats import DMA_COPY, FaultCause
from xpu_rtl.command.types import Activity
from xpu_rtl.configs import get_config
from xpu_rtl.dma.stream import DmaStream

BOTH = pytest.mark.parametrize("load", [True, False], ids=["load", "store"])
SMOOTH = {"latency": 8}
ROUGH = {"latency": 5, "jitter": 30, "ready_p": 0.5, "valid_p": 0.6}


def ends(load, gm_offset, sm_offset):
    """Source and destination system address."""
    return (gm(gm_offset), sm(sm_offset)) if load else (sm(sm_offset), gm(gm_offset))


def span(cycles):
    return cycles[-1] - cycles[0] + 1


def check_moved(rig):
    expected, now = rig.moved
    np.testing.assert_array_equal(now, expected)
    assert [fault for _, fault, _, _ in rig.done] == [FaultCause.NONE] * len(rig.commands)
    assert rig.payload_bytes == sum(c["rows"] * c["row_bytes"] for c in rig.commands)
    assert [index for _, index in rig.begins] == [100 + n for n in range(len(rig.commands))]


@BOTH
def test_two_rows_by_hand(load):
    rig = make_rig(get_config("slice"), load=load)
    source, destination = ends(load, 0x105, 0x203)
    rig.run([copy(source, destination, 20, rows=2, source_pitch=50, destination_pitch=32)])
    before, now = (rig.gm_before, rig.sm_now) if load else (rig.sm_before, rig.gm_now)
    a, b = (0x105, 0x203) if load else (0x203, 0x105)
    assert now[b:b + 20].tolist() == before[a:a + 20].tolist()
    assert now[b + 32:b + 52].tolist() == before[a + 50:a + 70].tolist()
    check_moved(rig)


@BOTH
@pytest.mark.parametrize("name", ["tiny", "slice"])
@pytest.mark.parametrize(("seed", "memory"), [(0, SMOOTH), (1, SMOOTH), (2, ROUGH), (3, ROUGH)])
def test_random_commands(load, name, seed, memory):
    config = get_config(name)
    rng = np.random.default_rng([seed, load, config.lanes])
    commands = [random_command(rng, config, load=load) for _ in range(6)]
    stall = 0.5 if memory is ROUGH else 1.0
    rig = make_rig(config, load=load, memory=memory, sm_ready_p=stall, add_ready_p=stall,
                   sm_jitter=9 if memory is ROUGH else 0, seed=seed)
    rig.run(commands, extra=3)
    check_moved(rig)
    bursts = rig.memory.reads if load else rig.memory.writes
    assert max(beats for _, _, beats in bursts) <= config.burst_beats


@BOTH
def test_every_alignment(load):
    config = get_config("tiny")
    commands = []
    for size in range(1, 10):
        for a in range(4):
            source, destination = ends(load, 0x1000 + 256 * size + a, 0x400 + 256 * size)
            commands.append(copy(source, destination + 20 * a, size, rows=4, source_pitch=1,
                                 destination_pitch=81 + 20))
    rig = make_rig(config, load=load)
    commands = commands[::2] + commands[1::2]
    rig.run(commands)
    check_moved(rig)


@BOTH
@pytest.mark.parametrize("row_bytes", [4096, 5000, 9001])
def test_long_rows_across_pages(load, row_bytes):
    config = get_config("slice")
    rig = make_rig(config, load=load)
    source, destination = ends(load, 0x2FF3, 0x10005)
    rig.run([copy(source, destination, row_bytes, rows=2, source_pitch=-777,
                  destination_pitch=row_bytes + 3)])
    check_moved(rig)
    bursts = rig.memory.reads if load else rig.memory.writes
    touched = sorted(address + 16 * n for _, address, beats in bursts for n in range(beats))
    start = gm(0x2FF3)
    needed = []
    for row in range(2):
        first = start + row * (-777 if load else row_bytes + 3)
        needed += range(first & ~15, first + row_bytes, 16)
    assert touched == sorted(needed), "beats without a needed byte"


@BOTH
@pytest.mark.parametrize("latency", [20, 100])
@pytest.mark.parametrize(("row_bytes", "max_bursts"), [(64, 64), (16, 128), (2048, 64)])
def test_one_beat_per_cycle(load, latency, row_bytes, max_bursts):
    """Rows and commands follow each other without a bubble at any latency that bursts cover."""
    config = dataclasses.replace(get_config("slice"), max_bursts=max_bursts)
    rows = max(1, 2048 // row_bytes)
    commands = []
    for n in range(4):
        source, destination = ends(load, 0x2000 * n, 0x4000 * n)
        commands.append(copy(source, destination, row_bytes, rows=rows,
                             source_pitch=row_bytes, destination_pitch=row_bytes))
    rig = make_rig(config, load=load, memory={"latency": latency})
    rig.run(commands)
    check_moved(rig)
    cycles = rig.memory.read_cycles if load else rig.memory.write_cycles
    assert len(cycles) == 4 * rows * row_bytes // 16
    assert span(cycles) == len(cycles)
    if load:
        assert span(rig.sm_cycles) == len(cycles)
    bursts = rig.memory.reads if load else rig.memory.writes
    if row_bytes == 16 and load:
        assert span([cycle for cycle, _, _ in bursts[:100]]) == 100


@BOTH
def test_single_beat_rows_limited_only_by_outstanding_bursts(load):
    config = get_config("slice")
    source, destination = ends(load, 0, 0)
    rig = make_rig(config, load=load, memory={"latency": 100})
    rig.run([copy(source, destination, 16, rows=320, source_pitch=16, destination_pitch=16)])
    check_moved(rig)
    cycles = rig.memory.read_cycles if load else rig.memory.write_cycles
    overhead = 4    # of the round trip, in the engine and the channels' registers
    assert span(cycles) <= 320 * (100 + overhead) / config.max_bursts


@BOTH
def test_no_more_bursts_than_allowed(load):
    """The memory model counts them; short bursts first, then several bursts per row."""
    config = dataclasses.replace(get_config("slice"), max_bursts=4)
    source, destination = ends(load, 0, 0)
    rig = make_rig(config, load=load, memory={"latency": 60, "max_outstanding": 4})
    rig.run([copy(source, destination, 16, rows=12, source_pitch=16, destination_pitch=16),
             copy(source, destination, 4 * 1024 - 8, rows=2, destination_pitch=4096)])
    check_moved(rig)
    late = (rig.memory.reads if load else rig.memory.writes)[4]
    assert late[0] >= 60


@BOTH
@pytest.mark.parametrize(("source_lane", "destination_lane", "row_bytes"), [
    (0, 8, 16), (8, 0, 16), (8, 4, 16), (3, 12, 50), (12, 3, 50), (5, 5, 64), (15, 0, 33)])
def test_cycles_per_misaligned_row(load, source_lane, destination_lane, row_bytes):
    config = dataclasses.replace(get_config("slice"), max_bursts=128)
    rows = 60
    source, destination = ends(load, 0, 0)
    rig = make_rig(config, load=load, memory={"latency": 20})
    rig.run([copy(source + source_lane, destination + destination_lane, row_bytes, rows=rows,
                  source_pitch=80, destination_pitch=80)])
    check_moved(rig)
    beats = -(-(source_lane + row_bytes) // 16)
    words = -(-(destination_lane + row_bytes) // 16)
    cycles = rig.sm_cycles if load else rig.memory.write_cycles
    assert span(cycles) <= rows * max(beats, words) + 1


@BOTH
def test_changing_alignment_costs_at_most_one_cycle_per_row(load):
    config = get_config("slice")
    rows = 60
    source, destination = ends(load, 0, 0)
    rig = make_rig(config, load=load, memory={"latency": 20})
    rig.run([copy(source, destination + 2000, 40, rows=rows, source_pitch=57,
                  destination_pitch=43)])
    check_moved(rig)
    bound = 0
    for row in range(rows):
        a, b = 57 * row % 16, (2000 + 43 * row) % 16
        bound += max(-(-(a + 40) // 16), -(-(b + 40) // 16)) + 1
    assert span(rig.sm_cycles if load else rig.memory.write_cycles) <= bound


@BOTH
def test_latency_as_documented(load):
    config = get_config("slice")
    for lanes, extra in (((0, 0), -1), ((8, 4), 0)):
        source, destination = ends(load, 0x100, 0x100)
        rig = make_rig(config, load=load, memory={"latency": 20})
        rig.run([copy(source + lanes[0], destination + lanes[1], 4)])
        # The rig counts transfers: `valid` was first seen in the cycle of the transfer.
        if load:
            assert rig.memory.reads[0][0] - rig.cmd_cycles[0] == DmaStream.READ_LATENCY
            assert (rig.sm_cycles[0] - rig.memory.read_cycles[0]
                    == DmaStream.LOAD_LATENCY + extra)
        else:
            assert rig.sm_cycles[0] - rig.cmd_cycles[0] == DmaStream.READ_LATENCY
            assert (rig.memory.write_cycles[0] - rig.sm_rsp_cycles[0]
                    == DmaStream.STORE_LATENCY + extra)
            assert rig.done[0][0] - rig.memory.response_cycles[0] == 1


def bad_commands(config, load):
    """``(name, command, cause, address, info)``, by the specification."""
    source, destination = ends(load, 0x100, 0x100)

    def bad_field(name, value, **fields):
        command = copy(source, destination, 16, rows=2) | {name: value} | fields
        return name, command, FaultCause.BAD_FIELD, 0, DMA_COPY.lsb[name]

    yield bad_field("row_bytes", 0)
    yield bad_field("row_bytes", 1 << 24)
    yield bad_field("rows", 0)
    yield bad_field("reserved1", 1)
    yield bad_field("row_bytes", 0, rows=0, source_high=0xFFFFFFFF)
    yield bad_field("rows", 0, reserved1=3)
    yield ("progress_semaphore", copy(source, destination, 16) | {"progress_semaphore": 99},
           FaultCause.BAD_SEMAPHORE, 0, DMA_COPY.lsb["progress_semaphore"])

    def bad_address(name, a, b, bad, row_bytes=16, **fields):
        return (name, copy(a, b, row_bytes, **fields), FaultCause.BAD_ADDRESS, bad, 0)

    for bit in (44, 45, 48, 55, 56, 63):
        wrong = source ^ 1 << bit
        if load or bit != 44:       # GM is a legal source of a store
            yield bad_address(f"source_bit_{bit}", wrong, destination, wrong)
        wrong = destination ^ 1 << bit
        yield bad_address(f"destination_bit_{bit}", source, wrong, wrong)
    yield bad_address("swapped", destination, source, source)
    at_end = sm(config.sm_bytes - 15)
    pair = (source, at_end) if load else (at_end, destination)
    yield bad_address("sm_end", *pair, at_end)
    yield bad_address("sm_beyond", *((source, sm(config.sm_bytes)) if load
                                     else (sm(config.sm_bytes), destination)),
                      sm(config.sm_bytes))
    pair = (source, sm(0)) if load else (sm(0), destination)
    yield bad_address("sm_long", *pair, sm(0), row_bytes=config.sm_bytes + 1)
    yield bad_address("sm_longest", *pair, sm(0), row_bytes=(1 << 24) - 1)
    top = (1 << 44) - 15
    pair = (top, destination) if load else (source, top)
    yield bad_address("gm_end", *pair, top)


@BOTH
def test_bad_commands_are_refused(load):
    config = get_config("tiny")
    for name, command, cause, address, info in bad_commands(config, load):
        rig = make_rig(config, load=load)
        rig.run([command, copy(*ends(load, 0, 0), 16)], expected=1, extra=8)
        assert rig.done[0][1:] == (cause, address, info), name
        reads, writes = rig.memory.reads, rig.memory.writes
        reads, writes = (reads, rig.sm_cycles) if load else (rig.sm_cycles, writes)
        assert not writes, name
        # A good source may be read before its bad destination is met.
        target = command["destination_low"] | command["destination_high"] << 32
        assert not reads or (cause is FaultCause.BAD_ADDRESS and address == target), name


@BOTH
def test_the_last_byte_of_each_memory_is_legal(load):
    config = get_config("slice")
    pair = ends(load, 0x100, config.sm_bytes - 16)
    rig = make_rig(config, load=load)
    rig.run([copy(*pair, 16), copy(*pair, 16, rows=3, source_pitch=-16, destination_pitch=-16)])
    check_moved(rig)


@pytest.mark.parametrize(("load", "side", "downwards"), [
    # Behind GM lies SM, and GM before it: a source may go from one to the other.
    (True, "source", True), (False, "source", False),
    *((load, "destination", down) for load in (True, False) for down in (True, False))])
def test_a_bad_row_stops_after_the_good_ones(load, side, downwards):
    """Rows before it and commands before are completed; nothing of it moves."""
    config = get_config("slice")
    in_sm = (side == "destination") == load
    size = config.sm_bytes if in_sm else 1 << 44
    step = -32 if downwards else 32
    start = 64 if downwards else size - 80       # rows 0, 1 and 2 are inside
    edge = sm(start) if in_sm else start
    source, destination = ends(load, 0x100, 0x100)
    if side == "source":
        command = copy(edge, destination, 16, rows=9, source_pitch=step, destination_pitch=16)
    else:
        command = copy(source, edge, 16, rows=9, source_pitch=16, destination_pitch=step)
    rig = make_rig(config, load=load, memory={"latency": 30})
    if not in_sm:
        rig.memory._offset = lambda address: address & 0xFFF0     # alias the top of GM
    rig.run([copy(source, destination + 0x400, 100), command, command], expected=2, extra=20)
    assert [d[1] for d in rig.done] == [FaultCause.NONE, FaultCause.BAD_ADDRESS]
    bad = (edge + 3 * step) % (1 << 48)
    assert rig.done[1][2:] == (bad, 0)
    assert rig.fault_row == 3
    if not load or side == "source":
        assert rig.payload_bytes == 100 + 3 * 16
    assert [index for _, index in rig.begins] == [100, 101]
    assert rig.activities[-1] is not Activity.BUSY


@BOTH
@pytest.mark.parametrize("seed", range(6))
def test_abort_ends_quiet(load, seed):
    config = get_config("slice" if seed % 2 else "tiny")
    rng = np.random.default_rng([seed, load])
    commands = [random_command(rng, config, load=load, budget=4000) for _ in range(4)]
    rig = make_rig(config, load=load, memory=ROUGH | {"latency": 40}, sm_ready_p=0.6, sm_jitter=9,
                   seed=seed)
    rig.run(commands, expected=99, abort_at=int(rng.integers(5, 400)), extra=20, timeout=3000)
    memory = rig.memory
    assert not memory.outstanding
    after = [cycle for cycle, _, _ in memory.reads + memory.writes]
    # One address may be on its way when `abort` rises.
    assert not after or sum(cycle > rig.quiet_at for cycle in after) == 0
    # Nothing outside the requests is written.
    expected, now = rig.moved
    before = rig.sm_before if load else rig.gm_before
    assert np.all((now == expected) | (now == before))


@BOTH
def test_abort_issues_nothing_new(load):
    config = get_config("slice")
    source, destination = ends(load, 0, 0)
    rig = make_rig(config, load=load, memory={"latency": 30})
    rig.run([copy(source, destination, 4096, rows=4)], expected=99, abort_at=60, extra=10,
            timeout=2000)
    bursts = rig.memory.reads if load else rig.memory.writes
    if load:        # all begun bursts are read to their end
        assert len(rig.memory.read_cycles) == sum(beats for _, _, beats in bursts)
    else:
        assert len(bursts) == 1
        assert len(rig.memory.write_cycles) == 64
        assert rig.memory.strobes_written < 1024
    assert all(cycle <= 61 for cycle, _, _ in bursts)


@BOTH
def test_quiet_before_between_and_after(load):
    config = get_config("slice")
    rig = make_rig(config, load=load)
    rig.run([copy(*ends(load, 0, 0), 16)], extra=5)


@BOTH
def test_activity_names_the_reason(load):
    config = get_config("slice")
    command = copy(*ends(load, 0, 0), 1024)
    rig = make_rig(config, load=load, memory={"latency": 50})
    rig.run([command])
    counts = {kind: rig.activities.count(kind) for kind in Activity}
    waits = counts[Activity.MEMORY if load else Activity.OUTPUT]
    assert waits >= 45
    assert 64 <= counts[Activity.BUSY] <= 74
    assert counts[Activity.SEMAPHORE] == 0
    rig = make_rig(config, load=load, sm_ready_p=0.3)
    rig.run([command])
    assert rig.activities.count(Activity.BANK_CONFLICT) >= 20
