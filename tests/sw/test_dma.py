"""Builders of DMA commands, carried out by the functional model."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import xpu
from support.dma_model import Memories
from xpu import dma
from xpu.commands import Command
from xpu.dma_loops import Loop, fit, merge
from xpu_rtl.command.formats import DmaAxis, DmaMode, Opcode
from xpu_rtl.configs import get_config


@pytest.fixture
def memories():
    return Memories(get_config("slice"), 4 << 20)


def run(memories, commands):
    """Execute commands and return how many there were."""
    for command in commands:
        _, fault, blocked = memories.run(command)
        assert (fault, blocked) == (None, False)
    return len(commands)


HALF = 2 << 20


@pytest.mark.parametrize("direction", ["gm2sm", "sm2gm", "sm2sm", "gm2gm"])
def test_directions(memories, direction):
    """The destination chooses the side."""
    names = {"gm": (memories.gm, 100, 0), "sm": (memories.sm, 5000, dma.sm(0))}
    source, destination = (names[name] for name in direction.split("2"))
    x = source[0][1000:1060].copy()
    at = destination[1] + 100_000
    commands = dma.copy_nd(source[2] + 1000, destination[2] + at, (60,), stream=1, tag=9)
    assert run(memories, commands) == 1
    np.testing.assert_array_equal(destination[0][at:at + 60], x)
    load = direction.endswith("sm")
    assert commands[0].opcode is (Opcode.DMA_LOAD if load else Opcode.DMA_STORE)
    assert (commands[0]["stream"], commands[0]["tag"]) == (1, 9)


@pytest.mark.parametrize(("shape", "source", "destination", "count"), [
    ((3, 4, 5), None, None, 1), ((3, 4, 5), (40, 7), None, 1), ((3, 4, 5), None, (64, 11), 1),
    ((2, 3, 2, 3, 2, 7), (3000, 700, 300, 80, 30), (520, 170, 84, 28, 14), 1),
    ((2, 1, 3, 2, 3, 2, 3), (4, 9, 3000, 700, 300, 80), (9000, 9, 900, 300, 84, 28), 1),
    ((2, 2, 3, 2, 3, 2, 3), (9, 4000, 1000, 300, 90, 20), (9000, 3500, 900, 300, 84, 28), 2),
    ((70_000, 3), (7,), (4,), 2), ((131_070, 3), (7,), (4,), 1), ((140_000, 3), (0,), (3,), 2)])
def test_copies(memories, shape, source, destination, count):
    def strides(given):
        dense = tuple(int(np.prod(shape[n + 1:])) for n in range(len(shape)))
        return dense if given is None else (*given, 1)
    x = as_strided(memories.gm[5:], shape, strides(source)).copy()
    commands = dma.copy_nd(5, HALF + 3, shape, source, destination)
    assert run(memories, commands) == count
    y = as_strided(memories.gm[HALF + 3:], shape, strides(destination))
    np.testing.assert_array_equal(y, x)


def test_dense_arrays_are_one_row():
    [command] = dma.copy_nd(0, dma.sm(0), (2, 3, 4, 5))
    assert (command.opcode, command["row_bytes"], command["rows"]) == (Opcode.DMA_LOAD, 120, 1)
    [command] = dma.copy_nd(0, dma.sm(0), (2, 3, 4, 5), (1000, 20, 5))
    assert (command["row_bytes"], command["rows"], command["source_pitch"]) == (60, 2, 1000)


def test_rows_that_are_too_long_are_cut():
    config, size = get_config("slice"), (1 << 24) + 12345
    memories, to = Memories(config, 2 * size + 100), size + 77
    x = memories.gm[1:1 + size].copy()
    assert run(memories, dma.copy_nd(1, to, (size,))) == 3
    np.testing.assert_array_equal(memories.gm[to:to + size], x)
    assert run(memories, dma.fill(1, 0x04030201, (size,))) == 3
    expected = np.tile(np.arange(1, 5, dtype=np.uint8), size // 4 + 1)[:size]
    np.testing.assert_array_equal(memories.gm[1:1 + size], expected)


def test_strides_that_do_not_fit_are_unrolled():
    commands = dma.copy_nd(0, 1 << 40, (3, 2, 4), (1 << 33, 8))
    assert [command["source"] for command in commands] == [n << 33 for n in range(3)]
    assert [command["destination"] for command in commands] == [(1 << 40) + 8 * n for n in range(3)]
    assert all(command["rows"] == 2 for command in commands)


def test_merging_keeps_the_order():
    loops = [Loop(4, 10, 8), Loop(3, 40, 32), Loop(1, 7, 7), Loop(2, 500, 96)]
    assert merge(8, loops) == (8, [Loop(12, 10, 8), Loop(2, 500, 96)])
    assert merge(10, [Loop(4, 10, 10), Loop(3, 40, 40)]) == (120, [])
    x = [Loop(4, 1, 1, DmaAxis.X, 3), Loop(2, 4, 4, DmaAxis.X, 12)]
    assert merge(1, x) == (1, [Loop(8, 1, 1, DmaAxis.X, 3)])
    x[1] = Loop(2, 4, 4, DmaAxis.X, 11)
    assert merge(1, x) == (1, x)


def test_fit_covers_everything_once():
    loops = [Loop(3, 1, 100), Loop(200_000, 3, 7), Loop(2, 1 << 31, 5), Loop(2, 9, 11)]
    seen = []
    for offsets, fitting in fit(loops, 2):
        assert len(fitting) <= 2
        assert all(loop.fits and loop.count <= 65535 for loop in fitting)
        seen.append(reached(fitting, offsets.source, offsets.destination))
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.sort(reached(loops, 0, 0)))


def reached(loops, source, destination):
    """Where loops go on both sides, each pair as one number."""
    pairs = np.array([source + (destination << 36)])
    for loop in loops:
        step = loop.source + (loop.destination << 36)
        pairs = np.add.outer(pairs, np.arange(loop.count) * step)
    return pairs.reshape(-1)


@pytest.mark.parametrize(("pattern", "shape", "strides"), [
    (0x05050505, (3, 7), None), (0x04030201, (3, 7), None), (0x04030201, (3, 8), None),
    (0x04030201, (2, 3, 5), (100, 9)), (0x04030201, (2, 3, 6), (-100, 9))])
def test_fills_begin_with_each_row(memories, pattern, shape, strides):
    steps = strides or tuple(int(np.prod(shape[n + 1:])) for n in range(len(shape) - 1))
    for base, memory in ((HALF, memories.gm), (dma.sm(4000), memories.sm)):
        offset = base & (1 << 44) - 1
        expected = memory.copy()
        for index in np.ndindex(*shape[:-1]):
            begin = offset + sum(i * s for i, s in zip(index, steps, strict=True))
            expected[begin:begin + shape[-1]] = np.resize(
                np.array([pattern], "<u4").view(np.uint8), shape[-1])
        run(memories, dma.fill(base, pattern, shape, strides))
        np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize(("rows", "columns", "element", "count"), [
    (1, 1, 1, 1), (5, 7, 1, 1), (20, 3, 2, 1), (33, 65, 4, 1), (70_000, 2, 1, 2)])
def test_transpositions(memories, rows, columns, element, count):
    dtype = np.dtype(f"u{element}")
    size = rows * columns * element
    x = memories.gm[3:3 + size].copy().view(dtype).reshape(rows, columns)
    assert run(memories, dma.transpose(3, HALF + 5, rows, columns, element)) == count
    y = memories.gm[HALF + 5:HALF + 5 + size].copy().view(dtype).reshape(columns, rows)
    np.testing.assert_array_equal(y, x.T)


def test_many_matrices(memories):
    x = as_strided(memories.gm, (2, 3, 2, 2, 2, 4, 5), (9000, 2000, 800, 300, 100, 7, 1)).copy()
    outer = [(2, 9000, 5000), (3, 2000, 1000), (2, 800, 400), (2, 300, 150), (2, 100, 60)]
    commands = dma.transpose(0, HALF, 4, 5, 1, source_pitch=7, destination_pitch=6, outer=outer)
    assert run(memories, commands) == 2       # five loops around a matrix are one too many
    y = as_strided(memories.gm[HALF:], (2, 3, 2, 2, 2, 5, 4), (5000, 1000, 400, 150, 60, 6, 1))
    np.testing.assert_array_equal(y, x.swapaxes(-1, -2))


def put(memories, at, entries):
    memories.gm[at:at + 4 * len(entries)] = np.array(entries, "<u4").view(np.uint8)


@pytest.mark.parametrize(("count", "commands"), [(40, 1), (70_000, 2)])
def test_lists(memories, count, commands):
    rng = np.random.default_rng(1)
    table = memories.gm[:100 * 12].reshape(100, 12)[:, :9].copy()
    entries = rng.integers(0, 100, count)
    at, to = HALF + (1 << 20), 1 << 19
    put(memories, at, entries)
    assert run(memories, dma.gather(0, to, at, count, 9, 100, source_pitch=12)) == commands
    np.testing.assert_array_equal(memories.gm[to:to + 9 * count].reshape(count, 9), table[entries])
    x = memories.gm[to:to + 9 * count].reshape(count, 9).copy()
    entries = rng.permutation(count)
    put(memories, at, entries)
    assert run(memories, dma.scatter(to, HALF, at, count, 9, count, source_pitch=9,
                                     destination_pitch=10)) == commands
    y = as_strided(memories.gm[HALF:], (count, 9), (10, 1))
    np.testing.assert_array_equal(y[entries], x)


def test_lists_with_loops_around(memories):
    put(memories, HALF, [3, 0, 3])
    x = as_strided(memories.gm, (2, 5, 6), (100, 10, 1)).copy()
    run(memories, dma.gather(0, HALF + 64, HALF, 3, 6, 5, source_pitch=10,
                             outer=[(2, 100, 18)]))
    np.testing.assert_array_equal(memories.gm[HALF + 64:HALF + 64 + 36].reshape(2, 3, 6),
                                  x[:, [3, 0, 3]])


@pytest.mark.parametrize(("shape", "widths", "count"), [
    ((5, 6), [(1, 2), (3, 4)], 1), ((3, 5, 6), [(1, 1), (0, 2), (2, 0)], 1),
    ((2, 3, 5, 6), [(2, 1), (1, 1), (0, 2), (2, 1)], 3),
    ((2, 2, 3, 2, 6), [(1, 0), (0, 0), (1, 1), (0, 2), (2, 1)], 2),
    ((3, 4), [(33_000, 2), (1, 1)], 3), ((3, 4), [(2, 70_000), (0, 0)], 1)])
@pytest.mark.parametrize("strided", [False, True])
def test_padding(memories, shape, widths, count, strided):
    totals = [size + sum(pair) for size, pair in zip(shape, widths, strict=True)]
    gap = 3 if strided else 0
    steps, target = [1], [1]
    for n in range(len(shape) - 1, 0, -1):
        steps.insert(0, steps[0] * shape[n] + gap)
        target.insert(0, target[0] * totals[n] + gap)
    arguments = ({"source_strides": steps[:-1], "destination_strides": target[:-1]} if strided
                 else {})
    x = as_strided(memories.gm[9:], shape, steps).copy()
    before = memories.gm.copy()
    commands = dma.pad(9, HALF + 3, shape, widths, 0x07070707, **arguments)
    run(memories, commands)
    expected = before.copy()
    as_strided(expected[HALF + 3:], totals, target)[...] = np.pad(x, widths, constant_values=7)
    np.testing.assert_array_equal(memories.gm, expected)
    if not strided:
        assert len(commands) == count


@pytest.mark.parametrize(("shape", "kernel", "stride", "dilation", "to_sm"), [
    *(((2, 6, 7, 3), (3, 2), (1, 2), (1, 1), to_sm) for to_sm in (False, True)),
    *(((1, 9, 9, 2), (2, 3), (1, 1), (2, 3), to_sm) for to_sm in (False, True)),
    ((1, 3, 3, 20_000), (2, 2), (1, 2), (1, 1), False)])
def test_patches(memories, shape, kernel, stride, dilation, to_sm):
    """The channels of the last are too long a step for a coordinate in bytes."""
    n, h, w, c = shape
    padding = ((1, 0), (2, 1))
    x = memories.gm[7:7 + n * h * w * c].reshape(shape).copy()
    padded = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=3)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    expected = np.array([
        padded[i, a:a + reach[0]:dilation[0], b:b + reach[1]:dilation[1]].reshape(-1)
        for i in range(n) for a in range(0, padded.shape[1] - reach[0] + 1, stride[0])
        for b in range(0, padded.shape[2] - reach[1] + 1, stride[1])])
    pitch = expected.shape[1] + 5
    base, memory = (dma.sm(0), memories.sm) if to_sm else (HALF, memories.gm[HALF:])
    run(memories, dma.im2col(7, base, shape, kernel, stride=stride, padding=padding,
                             dilation=dilation, pitch=pitch, pattern=0x03030303))
    np.testing.assert_array_equal(as_strided(memory, expected.shape, (pitch, 1)), expected)


@pytest.mark.parametrize("window", [((0, 2), (1, 3)), ((1, 3), (0, 5)), ((4, 1), (4, 1))])
def test_some_of_the_patches(memories, window):
    """A window of the patches is what the whole would have there."""
    h, w, c, pitch = 9, 9, 2, 20
    source = 7
    x = memories.gm[source:source + h * w * c].reshape(1, h, w, c).copy()
    arguments = {"stride": (2, 2), "padding": ((1, 1), (1, 1)), "pattern": 0x05050505}
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=5)
    (row0, rows), (column0, columns) = window
    expected = np.array([padded[0, 2 * i:2 * i + 3, 2 * j:2 * j + 3].reshape(-1)
                         for i in range(row0, row0 + rows)
                         for j in range(column0, column0 + columns)])
    before = memories.sm.copy()
    run(memories, dma.im2col(source, dma.sm(64), x.shape, (3, 3), pitch=pitch, window=window,
                             **arguments))
    after = before.copy()
    place = as_strided(after[64:], expected.shape, (pitch, 1))
    place[...] = expected
    np.testing.assert_array_equal(memories.sm, after)
    with pytest.raises(xpu.ArgumentError, match="window must be in"):
        dma.im2col(source, dma.sm(64), x.shape, (3, 3), window=((4, 2), (0, 1)), **arguments)


def test_fields_of_a_whole():
    fields = {"wait0_semaphore": 1, "wait0_value": 5, "signal1_semaphore": 2, "signal1_add": 3}
    commands = dma.copy_nd(0, dma.sm(0), (70_000, 3), (7,), (4,), stream=1, **fields)
    assert [c["wait0_semaphore"] for c in commands] == [1, 0]
    assert [c["wait0_value"] for c in commands] == [5, 0]
    assert [c["signal1_add"] for c in commands] == [0, 3]
    assert [c["stream"] for c in commands] == [1, 1]
    [command] = dma.copy_nd(0, dma.sm(0), (7, 3), (7,), (4,), progress_semaphore=4, **fields)
    assert command["progress_semaphore"] == 4
    with pytest.raises(ValueError, match="progress_semaphore needs a transfer that is one command"):
        dma.copy_nd(0, dma.sm(0), (70_000, 3), (7,), (4,), progress_semaphore=4)


def test_rows_and_indices():
    command = Command(Opcode.DMA_LOAD_ND, rows=7, count2=1, count3=5, count4=1, count5=2)
    assert dma.rows_of(command) == 70
    assert dma.row_indices(command, 37) == {1: 2, 3: 0, 5: 1}
    command["mode"] = DmaMode.TRANSPOSE
    assert dma.rows_of(command) == 10
    assert dma.row_indices(command, 7) == {3: 2, 5: 1}
    assert dma.row_indices(Command(Opcode.DMA_STORE, rows=9), 4) == {1: 4}


REFUSALS = [
    (lambda: dma.copy_nd(1 << 47, 0, (1,)), "source must be an address in GM or SM of this clu"),
    (lambda: dma.copy_nd(0, 1 << 48, (1,)), "destination must be an address in GM or SM"),
    (lambda: dma.copy_nd(-1, 0, (1,)), "source must be at least 0, not -1"),
    (lambda: dma.copy_nd(0, "a", (1,)), "destination must be an integer, not 'a'"),
    (lambda: dma.copy_nd(0, 0, (0,)), r"shape\[0\] must be at least 1, not 0"),
    (lambda: dma.copy_nd(0, 0, (2, 3), (1, 2)), "source_strides must have one entry for .* 1 dim"),
    (lambda: dma.fill(0, -1, (4,)), r"pattern must be in \[0, 4294967295\], not -1"),
    (lambda: dma.transpose(0, 0, 2, 2, 3), "element must be 1, 2 or 4 bytes, not 3"),
    (lambda: dma.transpose(0, 0, 2, 0, 1), "columns must be at least 1, not 0"),
    (lambda: dma.transpose(0, 0, 2, 1, 1, source_pitch=1 << 31), "source_pitch must be in"),
    (lambda: dma.gather(0, 0, 2, 1, 1, 1), "indices must be a multiple of 4, not 0x2"),
    (lambda: dma.gather(0, 0, 4, 1, 1, 0), "limit must be in"),
    (lambda: dma.scatter(0, 0, 4, 0, 1, 1), "count must be at least 1, not 0"),
    (lambda: dma.pad(0, 0, (2, 2), [(1, 1)]), "widths must have one pair for each of the 2"),
    (lambda: dma.pad(0, 0, (2,), [1]), r"widths must be pairs \(before, after\)"),
    (lambda: dma.pad(0, 0, (2,), [(1, -1)]), r"widths\[0\] must be at least 0, not -1"),
    (lambda: dma.im2col(0, 0, (1, 2, 2), (1, 1)), "shape must have 4 entries, not 3"),
    (lambda: dma.im2col(0, 0, (1, 2, 2, 1), (3, 1)), "kernel 3x1 with dilation 1x1 is larger"),
    (lambda: dma.im2col(0, 0, (1, 2, 2, 1), (2, 2), pitch=3), "pitch must be at least 4, not 3"),
    (lambda: dma.im2col(0, 0, (1, 70_000, 2, 1), (2, 2)), r"shape\[1\] must be in \[0, 65535\]"),
    (lambda: dma.copy_nd(0, 0, (1,), wait9=1), "has no field 'wait9'"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_errors_are_the_drivers():
    with pytest.raises(xpu.XpuError, match="source must be"):
        dma.copy_nd(-1, 0, (1,))
