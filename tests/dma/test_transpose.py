"""The transposer alone, against NumPy's transposition."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from support.dma_transpose import Strip, TransposeRig, cut, random_strip
from xpu_rtl.build.emit import to_systemverilog
from xpu_rtl.build.platforms import VerilogPlatform
from xpu_rtl.configs import get_config
from xpu_rtl.dma.stages import STRIP_WORDS
from xpu_rtl.dma.transpose import Transposer
from xpu_rtl.params import XpuConfig

CONFIGS = {"tiny": get_config("tiny"), "slice": get_config("slice"),
           **{str(lanes): XpuConfig(name="x", lanes=lanes) for lanes in (8, 32, 64)}}


def run(config, strips, **options):
    return TransposeRig(Transposer(config), config).run(strips, **options)


def matrix(seed, rows, row_bytes):
    return np.random.default_rng(seed).integers(0, 256, (rows, row_bytes), dtype=np.uint8)


def test_a_matrix_of_two_rows():
    """Three columns of 16 bits, from lane 1 to lane 0 and, across words, lane 2."""
    dut, seen = Transposer(get_config("tiny")), []

    async def rows(ctx):
        ctx.set(dut.row.valid, 1)
        for number, words in enumerate(([0x03020199, 0x99060504], [0x13121199, 0x99161514])):
            ctx.set(dut.row.payload, {"lane": 1, "end": 2, "beats": 1, "transpose": 1,
                                      "element_log2": 1, "strip_row": number,
                                      "strip_last": number == 1})
            for word in words:
                ctx.set(dut.i.payload, word)
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
        ctx.set(dut.i.valid, 0)

    async def places(ctx):
        ctx.set(dut.place.valid, 1)
        for lane in (0, 2, 0):
            ctx.set(dut.place.payload, {"lane": lane, "bytes": 3})
            for _ in range(20):
                _, _, ready = await ctx.tick().sample(dut.place.ready)
                if ready:
                    break

    async def sink(ctx):
        ctx.set(dut.o.ready, 1)
        for _ in range(30):
            _, _, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                mask = sum(0xFF << 8 * n for n in range(4) if word.strobe >> n & 1)
                seen.append((hex(word.data & mask), word.strobe, word.first, word.last))

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    for bench in (rows, places, sink):
        sim.add_testbench(bench)
    sim.run()
    assert seen == [("0x12110201", 15, 1, 1),
                    ("0x4030000", 12, 1, 0), ("0x1413", 3, 0, 1),
                    ("0x16150605", 15, 1, 1)]


@pytest.mark.parametrize("element_log2", [0, 1, 2])
@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_matrices_of_every_shape(name, element_log2):
    """1x1, ragged edges, several strips in both directions; any addresses and pitches."""
    config = CONFIGS[name]
    size, element = config.word_bytes, 1 << element_log2
    rng = np.random.default_rng(element_log2)
    height, length = size // element, STRIP_WORDS * size // element
    strips = []
    for rows, columns in [(1, 1), (1, 2 * length + 1), (height + 1, 1), (height, length),
                          (3 * height, 2), (2 * height + 1, length + 1), (3, 5),
                          (height + 1, 2 * length - 1)]:
        for _ in range(2):
            start, target = rng.integers(0, 64, 2).tolist()
            pitch = columns * element + int(rng.integers(0, 9))
            strips += cut(matrix(int(rng.integers(1 << 30)), rows, columns * element),
                          element_log2, size, source=(start, pitch),
                          destination=(target, rows * element + int(rng.integers(0, 9))))
    run(config, strips)


@pytest.mark.parametrize("element_log2", [0, 1, 2])
@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_every_lane(name, element_log2):
    """Each source lane with short and full runs, each destination lane with each row count."""
    config = CONFIGS[name]
    size, element = config.word_bytes, 1 << element_log2
    height = size // element
    strips, source, destination = [], set(), set()
    for lane in range(size):
        for rows in range(1, height + 1):
            row_bytes = STRIP_WORDS * size if rows == 1 + lane % height else \
                max(element, size // 2)
            columns = row_bytes // element
            lanes = [(lane + 5 * r) % size for r in range(rows)]
            places = [(lane + c) % size for c in range(columns)]
            strips.append(Strip(element_log2, matrix(lane * size + rows, rows, row_bytes), lanes,
                                places))
            source |= {(r, at, row_bytes) for r, at in enumerate(lanes)}
            destination |= {(rows, at) for at in places}
    assert {(r, at) for r, at, _ in source} == {(r, at) for r in range(height)
                                                for at in range(size)}
    assert {at for _, at, count in source if count == STRIP_WORDS * size} == set(range(size))
    assert destination == {(r, at) for r in range(1, height + 1) for at in range(size)}
    run(config, strips)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("chances", [
    {}, {"row_p": 0.3}, {"word_p": 0.3}, {"place_p": 0.3}, {"ready_p": 0.3},
    {"row_p": 0.7, "word_p": 0.7, "place_p": 0.7, "ready_p": 0.7},
    {"row_p": 0.5, "word_p": 0.9, "place_p": 0.4, "ready_p": 0.6}],
    ids=["full", "row", "word", "place", "ready", "all", "mixed"])
def test_random_strips(name, chances):
    """Strips of different elements and sizes back to back, gaps on any stream."""
    config = CONFIGS[name]
    rng = np.random.default_rng(config.word_bytes)
    count = {4: 60, 8: 40, 16: 25}.get(config.word_bytes, 4)
    run(config, [random_strip(rng, config.word_bytes) for _ in range(count)], seed=3, **chances)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_random_strips_and_gaps(name, seed):
    config = CONFIGS[name]
    rng = np.random.default_rng(100 + seed)
    row_p, word_p, place_p, ready_p = rng.choice([0.2, 0.5, 0.8, 1.0], 4).tolist()
    run(config, [random_strip(rng, config.word_bytes) for _ in range(30)], seed=seed,
        row_p=row_p, word_p=word_p, place_p=place_p, ready_p=ready_p)


def test_valid_does_not_wait_for_ready():
    """A sink that is ready only after it has seen a word for three cycles gets all of them."""
    rng = np.random.default_rng(8)
    run(CONFIGS["tiny"], [random_strip(rng, 4) for _ in range(20)], patient=3)


@pytest.mark.parametrize("seed", range(8))
def test_reset_forgets_everything(seed):
    """In the middle of a row, a strip, a destination run: as if nothing had been."""
    rng = np.random.default_rng(seed)
    run(CONFIGS["tiny"], [random_strip(rng, 4) for _ in range(10)], seed=seed, ready_p=0.5,
        reset_at=int(rng.integers(5, 60)))


@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_latency(name):
    config = CONFIGS[name]
    for element_log2 in range(3):
        for columns in (1, 3):
            rows = config.word_bytes >> element_log2
            strip = Strip(element_log2, matrix(5, rows, columns << element_log2),
                          [0] * rows, [0] * columns)
            rig = run(config, [strip])
            assert rig.valid_cycles[0] - rig.strip_ends[0] == Transposer.LATENCY


@pytest.mark.parametrize(("name", "element_log2", "rows", "columns"), [
    ("tiny", 0, 64, 64), ("tiny", 1, 64, 32), ("tiny", 2, 32, 32),
    ("slice", 0, 256, 256), ("slice", 1, 128, 256), ("slice", 2, 64, 256)])
def test_aligned_matrices_take_a_cycle_per_word(name, element_log2, rows, columns):
    """Not a bubble: all of a matrix, and the latency of its first strip."""
    config = CONFIGS[name]
    size = config.word_bytes
    rig = run(config, cut(matrix(1, rows, columns << element_log2), element_log2, size))
    words = (rows * columns << element_log2) // size
    strip_words = STRIP_WORDS * (size >> element_log2)
    assert len(rig.in_cycles) == len(rig.out_cycles) == words
    assert rig.in_cycles[-1] - rig.in_cycles[0] == words - 1
    assert rig.out_cycles[-1] - rig.in_cycles[0] == words + strip_words + Transposer.LATENCY - 2


@pytest.mark.parametrize(("source", "destination"), [(1, 0), (0, 1), (3, 5)])
def test_the_side_with_more_words_sets_the_pace(source, destination):
    """Misaligned, a run of 4 words comes in 5, a run of one word goes to 2."""
    config = CONFIGS["slice"]
    strips = cut(matrix(2, 64, 256), 0, 16, source=(source, None), destination=(destination, None))
    rig = run(config, strips)
    ins, outs = 64 * 16 * (5 if source else 4) // 4, 64 * 16 * (2 if destination else 1)
    assert (len(rig.in_cycles), len(rig.out_cycles)) == (ins, outs)
    if ins >= outs:
        assert rig.in_cycles[-1] - rig.in_cycles[0] == ins - 1
    else:
        assert rig.out_cycles[-1] - rig.out_cycles[0] == outs - 1


@pytest.mark.parametrize("name", CONFIGS)
def test_becomes_systemverilog(name):
    config = CONFIGS[name]
    text = to_systemverilog(Transposer(config), name="transposer_top", platform=VerilogPlatform())
    assert text.count("xpu_sram_1r1w") == config.word_bytes
