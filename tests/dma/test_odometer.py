"""The odometer: rows, faults and index lists of copy commands, against the golden model."""

import itertools
import random

import pytest

from support.dma_nd import nd
from support.dma_odometer import (
    UNREADABLE,
    OdometerRig,
    first_reports,
    open_windows,
    random_command,
)
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import DMA_ND, DmaAxis, DmaMode, FaultCause, Opcode
from xpu_rtl.configs import get_config
from xpu_rtl.dma.odometer import Odometer
from xpu_rtl.params import XpuConfig

SM = 1 << 44
RINGS = XpuConfig(name="rings", lanes=8, rings=3)
LISTED = (DmaMode.GATHER, DmaMode.SCATTER)
LOAD, STORE = Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND


def gaps(cycles):
    return [b - a for a, b in itertools.pairwise(cycles)]


def test_two_loops_of_a_copy():
    """Three rows of two blocks, readable in one minute."""
    command = nd(0x1000, SM, 10, 3, source_pitch=0x100, destination_pitch=16, count2=2,
                 source_stride2=-8, destination_stride2=0x800, progress_semaphore=5,
                 progress_value=7)
    rig = OdometerRig(get_config("slice"), load=True).run([(LOAD, command, None)])
    assert [row["source"] for row in rig.rows] == [
        0x1000, 0x1100, 0x1200, 0x0FF8, 0x10F8, 0x11F8]
    assert [row["destination"] - SM for row in rig.rows] == [0, 16, 32, 0x800, 0x810, 0x820]
    assert [row["threshold"] for row in rig.rows] == [7, 8, 9, 10, 11, 12]
    assert [row["first"] for row in rig.rows] == [1, 0, 0, 0, 0, 0]
    assert [row["last"] for row in rig.rows] == [0, 0, 0, 0, 0, 1]


def test_padding_of_an_image_row():
    """x from -5 on in steps of 6, 9 bytes wide: cut on the left, whole, cut on the right, out."""
    command = nd(0, SM, 6, 4, mode=DmaMode.CLIP, axis1=DmaAxis.X, step1=6, x_start=-4,
                 x_limit=12, u_limit=1, v_limit=1)
    rig = OdometerRig(get_config("tiny"), load=True).run([(LOAD, command, None)])
    assert [(row["left"], row["copied"]) for row in rig.rows] == [(4, 2), (0, 6), (0, 4), (6, 0)]


@pytest.mark.parametrize("load", [True, False])
@pytest.mark.parametrize("name", ["tiny", "slice"])
@pytest.mark.parametrize("seed", range(4))
def test_random_commands(name, load, seed):
    rng = random.Random(f"{name}-{load}-{seed}")
    config = get_config(name)
    chances = [{}, {"ready_p": 0.5}, {"cmd_p": 0.2, "entry_p": 0.3},
               {"cmd_p": 0.5, "entry_p": 0.7, "ready_p": 0.8}][seed]
    commands = [random_command(rng, config, load=load) for _ in range(30)]
    OdometerRig(config, load=load, seed=seed, **chances).run(commands)


@pytest.mark.parametrize("mode", list(DmaMode))
def test_random_commands_of_a_mode(mode):
    """Single rows and few rows, many commands, several rings."""
    rng = random.Random(f"mode-{mode}")
    commands = [random_command(rng, RINGS, load=True, modes=(mode,), most=rng.choice([1, 2, 20]))
                for _ in range(40)]
    OdometerRig(RINGS, load=True, ready_p=0.9, seed=int(mode)).run(commands)


def test_long_loops():
    """Counts beyond a byte, and a carry through all five loops."""
    command = nd(0xFFFF_FFFF_FF00, SM, 3, 1, count2=300, count3=1, count4=2, count5=2,
                 source_stride2=0x7FFFFFFF, source_stride4=-0x80000000, source_stride5=5,
                 destination_stride2=1, destination_stride4=-3, destination_stride5=77)
    more = nd(0, SM, 3, 2, count2=2, count3=2, count4=2, count5=2, source_pitch=1,
              source_stride2=10, source_stride3=100, source_stride4=1000, source_stride5=10_000)
    rig = OdometerRig(get_config("tiny"), load=True).run(
        [(LOAD, command, None), (LOAD, more, None), (Opcode.DMA_LOAD, more | {"rows": 700}, None)])
    assert rig.row_cycles[-1] - rig.row_cycles[0] == 1200 + 32 + 700 - 1


@pytest.mark.parametrize("limit", [0, 1, 7, 0x7FFFFFFF])
@pytest.mark.parametrize("row_bytes", [1, 7, (1 << 24) - 1])
def test_corners_of_clipping(row_bytes, limit):
    """x at every corner of its range and around its bounds; u and v around theirs."""
    n, most = row_bytes, (1 << 31) - 1
    starts = {value for near in (0, -n, limit, limit - n, most, -most, 1 << 24, -(1 << 24))
              for value in range(near - 2, near + 3)} | {-(1 << 31)}
    commands = [(LOAD, nd(0, SM, n, 1, mode=DmaMode.CLIP, x_start=x, x_limit=limit, u_limit=1,
                          v_limit=1), None)
                for x in sorted(starts) if -(1 << 31) <= x <= most]
    for axis in "uv":
        other = "v" if axis == "u" else "u"
        commands += [(LOAD, nd(0, SM, n, 1, mode=DmaMode.CLIP, x_limit=limit, **{
            f"{axis}_start": at, f"{axis}_limit": bound, f"{other}_limit": 0xFFFF,
            f"{other}_start": 0x7FFF}), None)
            for bound in (0, 1, 0xFFFF) for at in (-0x8000, -1, 0, 1, 0x7FFF)]
    OdometerRig(get_config("tiny"), load=True).run(commands)


def test_coordinates_wrap():
    """Two's complement of 32 bits: steps carry x beyond either end of its range."""
    command = nd(0, SM, 4, 1, mode=DmaMode.CLIP, x_limit=4, u_limit=0xFFFF, v_limit=1,
                 count2=3, axis2=DmaAxis.U, step2=-0x8000, axis3=DmaAxis.X, x_start=0x7FFFFFFF,
                 step3=0x7FFF, count3=2)
    rows = [(LOAD, command, None)]
    wide = nd(0, SM, 4, 1, mode=DmaMode.CLIP, x_limit=0x7FFFFFFF, u_limit=1, v_limit=1, count2=5,
              axis2=DmaAxis.X, x_start=-(1 << 31) + 3, step2=-1, count3=2, axis3=DmaAxis.V,
              step3=0x7FFF)
    OdometerRig(get_config("tiny"), load=True).run([*rows, (LOAD, wide, None)])


def test_latency_and_throughput():
    """Row 0 of each mode alone; then all but TRANSPOSE and the list modes without a gap."""
    config = get_config("slice")
    plain = (LOAD, nd(0, SM, 4, 5), None)
    clip = (LOAD, nd(0, SM, 4, 5, mode=DmaMode.CLIP, x_limit=3, u_limit=1, v_limit=1), None)
    matrix = (LOAD, nd(0, SM, 4, 5, mode=DmaMode.TRANSPOSE), None)
    fill = (LOAD, nd(0, SM, 4, 3, mode=DmaMode.FILL), None)
    short = (Opcode.DMA_LOAD, nd(0, SM, 4, 1), None)
    for command, latency in ((plain, Odometer.LATENCY), (fill, Odometer.LATENCY),
                             (matrix, Odometer.LATENCY), (short, Odometer.LATENCY),
                             (clip, Odometer.LATENCY + Odometer.MATH_LATENCY)):
        rig = OdometerRig(config, load=True).run([command])
        assert rig.row_cycles[0] - rig.cmd_cycles[0] == latency
    rig = OdometerRig(config, load=True).run(
        [short, short, plain, clip, clip, plain, fill, short, clip, fill, short])
    assert rig.row_cycles[-1] - rig.cmd_cycles[0] == (
        len(rig.rows) - 1 + Odometer.LATENCY + Odometer.MATH_LATENCY)
    assert gaps(rig.row_cycles).count(1) == len(rig.rows) - 2     # one pause, before the first clip
    rig = OdometerRig(config, load=True).run([clip, matrix, short])
    assert set(gaps(rig.row_cycles)) == {1}


@pytest.mark.parametrize("mode", LISTED)
def test_latency_and_throughput_of_lists(mode):
    command = (STORE, nd(0, 0, 4, 40, mode=mode, count2=3, index_limit=9), lambda _: [8] * 40)
    rig = OdometerRig(get_config("slice"), load=False).run([command])
    assert rig.job_cycles[0] - rig.cmd_cycles[0] == Odometer.JOB_LATENCY
    assert rig.row_cycles[0] - rig.entry_cycles[0] == Odometer.ENTRY_LATENCY
    assert rig.row_cycles[-1] - rig.row_cycles[0] == 119
    assert gaps(rig.job_cycles) == [1, rig.job_cycles[2] - rig.job_cycles[1]]   # issued ahead
    assert rig.jobs == [(0, 40, 0)] * 3


@pytest.mark.parametrize("mode", LISTED)
def test_index_products(mode):
    """Corners of 32 x 32 bits, signed pitch."""
    corners = [0, 1, 2, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE]
    pitches = [1, -1, 0x7FFF, -0x8000, 0xFFFF, 0x10000, -0x10000, 0x7FFFFFFF, -0x80000000, 0x12345]
    commands = [(LOAD, nd(0x123456789ABC, SM + 0xFFF, 4, len(corners), mode=mode,
                          source_pitch=pitch, destination_pitch=-pitch - 1, count2=2,
                          source_stride2=-77, destination_stride2=0x10001,
                          index_limit=0xFFFFFFFF), corners) for pitch in pitches]
    OdometerRig(get_config("slice"), load=True).run(commands)


BAD = {
    "row_bytes": [("row_bytes", 0), ("row_bytes", 1 << 24), ("row_bytes", 1 << 31)],
    "rows": [("rows", 0)],
    "reserved1": [("reserved1", 1), ("reserved1", 128)],
    "mode": [("mode", 6), ("mode", 15)],
    "element_log2": [("element_log2", 1), ("element_log2", 2), ("element_log2", 3)],
    "reserved2": [("reserved2", 1), ("reserved2", 2)],
    "reserved3": [("reserved3", 1), ("reserved3", 1 << 13)],
    **{f"count{n}": [(f"count{n}", 0)] for n in range(2, 6)},
    "reserved4": [("reserved4", 1), ("reserved4", 1 << 15)],
    "x_limit": [("x_limit", 1 << 31)],
    "progress_semaphore": [("progress_semaphore", 16), ("progress_semaphore", 255)],
    "protection": [("progress_semaphore", 3), ("progress_semaphore", 7)],
    "source": [("source_high", 0x10000), ("source_high", 0x80000000)],
    "destination": [("destination_high", 0x10000), ("destination_high", 0x80000000)],
    "index": [("index_high", 0x10000), ("index_high", 0x80000000)],
    "index_low": [("index_low", 1), ("index_low", 2)],
}


def bad_command(mode, *changes):
    fields = nd(0x100, SM, 8, 2, mode=mode, index=0x2000, index_limit=4, progress_semaphore=5,
                x_limit=5, u_limit=1, v_limit=1)
    return fields | dict(changes), [1, 2]


def limited(config):
    """Semaphores 4 to 6 only."""
    return [open_windows() | {"semaphore_first": 4, "semaphore_last": 6}
            for _ in range(config.rings)]


@pytest.mark.parametrize("load", [True, False])
def test_each_fault_in_each_mode(load):
    """In modes without the field it must not matter."""
    config = get_config("tiny")
    opcode = LOAD if load else STORE
    cases = [(what, mode, bad_command(mode, change)) for what, changes in BAD.items()
             for change in changes for mode in DmaMode]
    found = first_reports(config, [(opcode, *command) for *_, command in cases], load=load,
                          windows=limited(config))
    for what in BAD:
        modes = set(DmaMode)
        if what in ("index", "index_low"):
            modes = set(LISTED)
        elif what == "x_limit":
            modes = {DmaMode.CLIP}
        elif what == "source":
            modes -= {DmaMode.FILL}
        seen = {mode for (name, mode, _), report in zip(cases, found, strict=True)
                if name == what and report is not None}
        assert seen == modes, what


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("what", ["reserved4", "progress_semaphore", "index"])
def test_a_fault_ends_everything(what, rows):
    """Rows before it come out, nothing after it is accepted, no list is read."""
    config = get_config("tiny")
    fields, entries = bad_command(DmaMode.GATHER, BAD[what][0], ("rows", rows))
    good = (LOAD, nd(0, SM, 8, 3), None)
    rig = OdometerRig(config, load=True).run([good, (LOAD, fields, entries), good])
    assert rig.fault is not None
    assert len(rig.rows) == 3
    assert len(rig.cmd_cycles) == 2
    assert not rig.jobs


def test_what_a_short_command_lacks_is_ignored():
    rng = random.Random("short")
    config = get_config("tiny")
    for what in ("mode", "count2", "reserved3", "index_low"):
        fields, _ = bad_command(DmaMode.COPY, BAD[what][0])
        OdometerRig(config, load=True, seed=rng.random()).run([(Opcode.DMA_LOAD, fields, None)])
    fields, _ = bad_command(DmaMode.COPY, ("reserved1", 1))
    rig = OdometerRig(config, load=True).run([(Opcode.DMA_LOAD, fields, None)])
    assert rig.fault["info"] == DMA_ND.lsb["reserved1"]


@pytest.mark.parametrize("mode", [DmaMode.TRANSPOSE, DmaMode.CLIP, DmaMode.SCATTER])
def test_precedence_of_faults(mode):
    """Every pair of faults at once."""
    config = get_config("tiny")
    pairs = [pair for pair in itertools.combinations(BAD, 2)
             if pair != ("progress_semaphore", "protection")]     # one field
    commands = [(STORE, *bad_command(mode, *(BAD[what][0] for what in pair))) for pair in pairs]
    first_reports(config, commands, load=False, windows=limited(config))


def test_semaphore_permissions():
    """A load needs `signal`, a store `wait`; semaphore 0 neither. Each ring has its own windows."""
    windows = [open_windows(), open_windows() | {"signal": 0},
               open_windows() | {"wait": 0, "semaphore_last": 9}]
    fields = nd(0, SM, 4, 1, progress_semaphore=9)
    none = fields | {"progress_semaphore": 0}
    for load, culprit in ((True, 1), (False, 2)):
        opcode = LOAD if load else STORE
        for use in (1 << culprit, 7 - (1 << culprit)):
            commands = [(opcode, fields if use >> ring & 1 else none, None) for ring in range(3)]
            rig = OdometerRig(RINGS, load=load, windows=windows).run(commands)
            assert (rig.fault is not None) == bool(use >> culprit & 1)
            if rig.fault:
                assert rig.fault["cause"] == FaultCause.PROTECTION
                assert rig.fault["address"] == 9
                assert rig.fault["info"] == Space.SEMAPHORE + (16 if load else 0)


@pytest.mark.parametrize("ready_p", [1.0, 0.3])
@pytest.mark.parametrize("mode", LISTED)
@pytest.mark.parametrize("kind", ["limit", "bus"])
def test_bad_entries(kind, mode, ready_p):
    """At each place of a list read twice; the command after it is bad as well, and not reported."""
    config = get_config("slice")
    fields = nd(0x100, SM, 8, 4, mode=mode, index=SM + 0x2004, index_limit=10, count2=2,
                source_pitch=8, destination_pitch=16)
    after = (LOAD, nd(0, SM, 0, 1), None)
    for place in (0, 3, 5, 7):
        def entries(job, place=place):
            values = [9, 0, 5, 1]
            if place // 4 == job:
                values[place % 4] = 10 if kind == "limit" else UNREADABLE
            return values

        rig = OdometerRig(config, load=True, ready_p=ready_p, seed=place).run(
            [(LOAD, fields, entries), after])
        assert rig.fault["row"] == place
        assert rig.fault["address"] == (
            SM + 0x2004 + 4 * (place % 4) if kind == "limit" else UNREADABLE["address"])
        assert len(rig.cmd_cycles) == 1


def test_a_limit_of_zero_allows_no_entry():
    fields = nd(0, SM, 8, 1, mode=DmaMode.GATHER, index_limit=0)
    rig = OdometerRig(get_config("tiny"), load=True).run([(LOAD, fields, [0])])
    assert rig.fault["cause"] == FaultCause.BAD_INDEX


def test_stop_accepts_no_more_commands():
    """The command under way goes on to its end."""
    commands = [(LOAD, nd(0, SM, 8, 40), None), (LOAD, nd(0, SM, 8, 4), None)]
    rig = OdometerRig(get_config("tiny"), load=True)
    rig.run(commands, stop_at=20, extra=80)
    assert len(rig.cmd_cycles) == 1
    assert len(rig.rows) == 40
