"""N-dimensional commands on a stream: every mode, from either memory, against the golden model."""

import random

import numpy as np
import pytest

from support.dma_nd import nd
from support.dma_random import Region, random_command
from support.dma_rig import GM_BYTES, WIDE_OPEN, copy, gm, make_rig, sm
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import DmaAxis, DmaMode, FaultCause
from xpu_rtl.common.axi import Resp
from xpu_rtl.configs import get_config
from xpu_rtl.params import XpuConfig

BOTH = pytest.mark.parametrize("load", [True, False], ids=["load", "store"])
SMOOTH = {"latency": 8}
ROUGH = {"latency": 5, "jitter": 30, "ready_p": 0.5, "valid_p": 0.6}
LIST_BYTES = 256
CONFIGS = {name: get_config(name) for name in ("tiny", "slice")} | {
    f"bus{8 * lanes}": XpuConfig(name=f"bus{8 * lanes}", lanes=lanes, acc_rows=64, tile_blocks=1,
                                 epilogue_lanes=2, sm_bytes=64 * 1024, sm_banks=4)
    for lanes in (8, 32, 64)}


def check_moved(rig):
    expected, now = rig.moved
    np.testing.assert_array_equal(now, expected)
    assert [fault for _, fault, _, _ in rig.done] == [FaultCause.NONE] * len(rig.commands)
    assert [index for _, index in rig.begins] == [100 + n for n in range(len(rig.commands))]


def target(load, offset):
    return sm(offset) if load else gm(offset)


def random_rig(config, seed, *, load, count, memory, stall, modes=tuple(DmaMode)):
    """A rig and ``count`` random commands; their lists are in place."""
    rng = random.Random(f"{config.name}-{seed}-{load}")
    lists = count * LIST_BYTES
    half = (sm(lists), sm(config.sm_bytes // 2)), (gm(lists), gm(GM_BYTES // 2))
    destination = (Region(sm(config.sm_bytes // 2), sm(config.sm_bytes - 1) + 1) if load else
                   Region(gm(GM_BYTES // 2), gm(GM_BYTES - 1) + 1))
    rig = make_rig(config, load=load, memory=memory, sm_ready_p=stall, add_ready_p=stall,
                   sm_jitter=9 if stall < 1 else 0, seed=seed)
    commands, listed = [], []
    for n in range(count):
        place = rng.choice((sm, gm))(n * LIST_BYTES)
        _, fields, entries = random_command(
            rng, Region(*rng.choice(half)), destination, word=config.word_bytes, load=load,
            index=Region(place, place + LIST_BYTES), modes=modes, most_rows=20, most_bytes=150)
        if entries is not None:
            listed.append((fields["index_low"] | fields["index_high"] << 32, entries))
        commands.append(fields)
    for address, entries in listed:
        rig.put_list(address, entries)
    return rig, commands


@BOTH
@pytest.mark.parametrize("name", ["tiny", "slice"])
@pytest.mark.parametrize(("seed", "memory"), [(n, ROUGH if n % 2 else SMOOTH) for n in range(6)])
def test_random_commands(load, name, seed, memory):
    rig, commands = random_rig(CONFIGS[name], seed, load=load, count=8, memory=memory,
                               stall=0.5 if memory is ROUGH else 1.0)
    rig.run(commands, extra=3, timeout=60_000)
    check_moved(rig)


@BOTH
@pytest.mark.parametrize("name", ["bus64", "bus256", "bus512"])
def test_bus_widths(load, name):
    rig, commands = random_rig(CONFIGS[name], 1, load=load, count=8, memory=ROUGH, stall=0.6)
    rig.run(commands, extra=3, timeout=60_000)
    check_moved(rig)


@BOTH
@pytest.mark.parametrize("mode", DmaMode)
def test_each_mode(load, mode):
    rig, commands = random_rig(CONFIGS["slice"], 7, load=load, count=4, memory=SMOOTH, stall=1.0,
                               modes=(mode,))
    rig.run(commands, extra=3, timeout=60_000)
    check_moved(rig)


def test_convolution_padding_by_hand():
    """A 3 x 4 image of 2-byte pixels with a border of one pixel of 0xAB 0xCD."""
    height, width, pixel = 3, 4, 2
    command = nd(gm(0x100 - (width + 1) * pixel), sm(0x40), (width + 2) * pixel, height + 2,
                 mode=DmaMode.CLIP, source_pitch=width * pixel,
                 destination_pitch=(width + 2) * pixel, axis1=DmaAxis.U, step1=1, u_start=-1,
                 u_limit=height, v_limit=1, x_start=-pixel, x_limit=width * pixel,
                 fill=0xCDABCDAB)
    rig = make_rig(get_config("slice"), load=True)
    rig.run([command])
    image = rig.gm_before[0x100:0x100 + height * width * pixel].reshape(height, width, pixel)
    expected = np.tile(np.array([0xAB, 0xCD], np.uint8), (height + 2, width + 2, 1))
    expected[1:-1, 1:-1] = image
    size = expected.size
    np.testing.assert_array_equal(rig.sm_now[0x40:0x40 + size], expected.reshape(-1))
    check_moved(rig)


def test_transpose_by_hand():
    rows, columns = 21, 19
    command = nd(gm(0x103), sm(0x45), columns * 2, rows, mode=DmaMode.TRANSPOSE, element_log2=1,
                 source_pitch=columns * 2, destination_pitch=rows * 2)
    rig = make_rig(get_config("slice"), load=True)
    rig.run([command])
    matrix = rig.gm_before[0x103:0x103 + rows * columns * 2].reshape(rows, columns, 2)
    size = matrix.size
    np.testing.assert_array_equal(rig.sm_now[0x45:0x45 + size],
                                  matrix.swapaxes(0, 1).reshape(-1))
    check_moved(rig)


@BOTH
def test_both_memories_to_either(load):
    """SM to SM and GM to GM, between ordinary commands."""
    rows = dict(rows=5, source_pitch=100, destination_pitch=70)
    rig = make_rig(get_config("slice"), load=load, memory=ROUGH, sm_ready_p=0.7, seed=3)
    rig.run([copy(gm(0x11), target(load, 0x8005), 60, **rows),
             copy(sm(0x13), target(load, 0x8305), 60, **rows),
             copy(gm(0x1011), target(load, 0x8605), 60, **rows),
             copy(sm(0x1013), target(load, 0x8905), 60, **rows)])
    check_moved(rig)


def test_global_memory_to_global_memory_uses_both_directions():
    size = 16 * 1024
    rig = make_rig(get_config("slice"), load=False, memory={"latency": 20})
    rig.run([copy(gm(0), gm(0x8000), size // 4, rows=4, source_pitch=size // 4,
                  destination_pitch=size // 4)])
    check_moved(rig)
    for cycles in (rig.memory.read_cycles, rig.memory.write_cycles):
        assert len(cycles) == size // 16
        assert cycles[-1] - cycles[0] + 1 <= len(cycles) * 1.01


# Faults -------------------------------------------------------------------------------------------
def nd_rows(load, *, row_bytes=40, source=0x1000, destination=0x8000):
    """3 x 2 x 2 rows."""
    return nd(gm(source), target(load, destination), row_bytes, 3, mode=DmaMode.COPY,
              source_pitch=64, destination_pitch=48, count2=2, source_stride2=0x400,
              destination_stride2=0x200, count4=2, source_stride4=0x2000,
              destination_stride4=0x800)


@BOTH
@pytest.mark.parametrize("number", range(12))
def test_a_read_error_in_each_row(load, number):
    command = nd_rows(load)
    rig = make_rig(get_config("slice"), load=load, memory={"latency": 20})
    rows, _ = rig.rows(command)
    rig.memory.read_errors[rows[number]["source"] + 32] = Resp.SLVERR
    rig.run([copy(gm(0), target(load, 0x100), 16), command, command], expected=2, extra=20)
    assert rig.done[1][1:] == (FaultCause.BUS_READ, rows[number]["source"] + 32, Resp.SLVERR)
    assert rig.fault_row == number
    check_partly_moved(rig, rows, number)


def check_partly_moved(rig, rows, number):
    """Rows before the faulted one of the second command are complete, those behind untouched."""
    expected, now = rig.moved
    before = rig.sm_before if rig.load else rig.gm_before
    base = sm(0) if rig.load else gm(0)
    allowed = expected.copy()
    for n, row in enumerate(rows):
        at = slice(row["destination"] - base, row["destination"] - base + row["bytes"])
        if n >= number:
            allowed[at] = before[at]
        if n == number:
            assert np.all((now[at] == expected[at]) | (now[at] == before[at]))
            allowed[at] = now[at]
    np.testing.assert_array_equal(now, allowed)


@BOTH
@pytest.mark.parametrize("number", range(0, 12, 3))
@pytest.mark.parametrize("side", ["read", "write"])
def test_window_closed_to_a_row(load, side, number):
    """Every row has a page (GM) or line (SM) of its own; the windows end just before it."""
    pitch = {Space.GM: 4096, Space.SM: 64}
    spaces = (Space.GM, Space.SM) if load else (Space.SM, Space.GM)
    space = spaces[side == "write"]
    a, b = (pitch[end] for end in spaces)
    command = nd((gm if load else sm)(0), target(load, 0), 40, 3, mode=DmaMode.COPY,
                 source_pitch=a, destination_pitch=b, count2=2, source_stride2=3 * a,
                 destination_stride2=3 * b, count4=2, source_stride4=6 * a,
                 destination_stride4=6 * b)
    rig = make_rig(get_config("slice"), load=load, memory={"latency": 20})
    rows, _ = rig.rows(command)
    place = rows[number]["source" if side == "read" else "destination"]
    if space is Space.GM:
        closed = {"gm0_last": (place >> 12) - 1}
    else:
        line = (place & (1 << 44) - 1) // 64
        closed = {"sm_last": line - 1} if line else {"sm_first": 1}
    rig.windows = WIDE_OPEN | closed
    rig.run([command], expected=1, extra=20)
    info = int(space) | (16 if side == "write" else 0)
    assert rig.done[0][1:] == (FaultCause.PROTECTION, place, info)
    assert rig.fault_row == number


def test_bad_index():
    command = nd(gm(0x2000), sm(0), 20, 6, mode=DmaMode.GATHER, source_pitch=64,
                 destination_pitch=32, index=gm(0x104), index_limit=50)
    rig = make_rig(get_config("slice"), load=True)
    rig.put_list(gm(0x104), [3, 49, 0, 50, 1, 2])
    rig.run([command], extra=20)
    assert rig.done[0][1:] == (FaultCause.BAD_INDEX, gm(0x104) + 12, 50)
    assert rig.fault_row == 3


def test_read_error_in_an_index_list():
    command = nd(gm(0x2000), sm(0), 20, 12, mode=DmaMode.GATHER, source_pitch=64,
                 destination_pitch=32, index=gm(0x104), index_limit=50)
    rig = make_rig(get_config("slice"), load=True)
    rig.put_list(gm(0x104), range(12))
    rig.memory.read_errors[gm(0x110)] = Resp.DECERR
    rig.run([command], extra=20)
    assert rig.done[0][1:] == (FaultCause.BUS_READ, gm(0x110), Resp.DECERR)
    assert rig.fault_row == 3


@BOTH
@pytest.mark.parametrize("seed", range(6))
def test_abort_ends_quiet(load, seed):
    rig, commands = random_rig(CONFIGS["slice" if seed % 2 else "tiny"], seed, load=load, count=6,
                               memory=ROUGH | {"latency": 40}, stall=0.6)
    rig.run(commands, expected=99, abort_at=random.Random(seed).randrange(5, 900), extra=20,
            timeout=9000)
    assert not rig.memory.outstanding
