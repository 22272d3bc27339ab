import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator

from support.epilogue import check, make_command, run
from xpu_rtl.command.formats import ElementType
from xpu_rtl.configs import CONFIGS, get_config
from xpu_rtl.tensor.epilogue import Epilogue
from xpu_rtl.tensor.types import TileDescriptor

NAMES = list(CONFIGS)
OUT_TYPES = (ElementType.INT32, ElementType.INT8, ElementType.UINT8)
BYTES = [ElementType.INT8, ElementType.UINT8]


def variant(lanes, epilogue_lanes):
    return dataclasses.replace(get_config("slice"), name=f"{lanes}by{epilogue_lanes}", lanes=lanes,
                               epilogue_lanes=epilogue_lanes, acc_rows=64, tile_blocks=4)


def random_commands(config, rng, memory, count, out_types=OUT_TYPES, most_rows=9):
    tiles = []
    for n in range(count):
        silent = rng.random() < 0.15
        tile_blocks = int(rng.integers(1, min(config.tile_blocks, 4) + 1))
        tile_rows = int(rng.integers(1, min(most_rows, config.acc_rows // tile_blocks) + 1))
        rows = int(rng.integers(1, (tile_rows if silent else most_rows) + 1))
        blocks = int(rng.integers(1, (tile_blocks if silent else 4) + 1))
        out_type = out_types[n % len(out_types)]
        tiles += make_command(
            config, rng, memory, rows=rows, blocks=blocks, tile_rows=tile_rows,
            tile_blocks=tile_blocks, out_type=out_type, silent=silent,
            out_address=int(rng.integers(0, config.sm_words // 4)),
            pitch=blocks * (4 if out_type == ElementType.INT32 else 1) + int(rng.integers(0, 4)),
            parameters=config.sm_words // 2 + 64 * n,
            has_bias=bool(rng.integers(2)), scale_vector=bool(rng.integers(2)),
            use_relu=bool(rng.integers(2)), column_order=int(rng.integers(2)),
            semaphore=int(rng.integers(0, 3)))
    return tiles


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("out_type", OUT_TYPES)
def test_one_tile(name, out_type):
    config, memory = get_config(name), {}
    tiles = make_command(
        config, np.random.default_rng(1), memory, rows=3, blocks=2, tile_rows=3, tile_blocks=2,
        out_type=out_type, out_address=16, pitch=11, parameters=100, has_bias=True,
        scale_vector=out_type != ElementType.INT32, use_relu=True, semaphore=3)
    log = run(Epilogue(config), config, tiles, memory, compute=(60, 60))
    check(log, tiles)
    assert len(tiles) == len(log.dones) == 1
    assert len(log.adds) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("ready_p", "latency", "add_p", "compute"), [
    (1.0, (1, 1), 1.0, (0, 0)), (0.5, (1, 9), 0.3, (0, 30)), (0.15, (3, 30), 0.1, (0, 10))])
def test_random_commands(name, ready_p, latency, add_p, compute):
    config, memory = get_config(name), {}
    tiles = random_commands(config, np.random.default_rng(len(name)), memory, 8)
    log = run(Epilogue(config), config, tiles, memory, ready_p=ready_p, latency=latency,
              add_p=add_p, compute=compute)
    check(log, tiles)


@pytest.mark.parametrize(("lanes", "epilogue_lanes"), [
    (4, 1), (4, 4), (8, 1), (8, 8), (16, 1), (16, 2), (16, 4), (16, 16), (32, 2)])
def test_lane_ratios(lanes, epilogue_lanes):
    config, memory = variant(lanes, epilogue_lanes), {}
    tiles = random_commands(config, np.random.default_rng(lanes + epilogue_lanes), memory, 6,
                            most_rows=5)
    log = run(Epilogue(config), config, tiles, memory, ready_p=0.7, latency=(1, 5), compute=(0, 9))
    check(log, tiles)


def gaps(cycles):
    return set(np.diff(cycles).tolist())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("out_type", OUT_TYPES)
def test_throughput_as_documented(name, out_type):
    """Four row tiles by two column tiles, parameters changing with each tile: no gap."""
    config, memory = get_config(name), {}
    tiles = make_command(
        config, np.random.default_rng(2), memory, rows=28, blocks=2, tile_rows=14, tile_blocks=1,
        out_type=out_type, out_address=0, pitch=8, parameters=512, has_bias=True,
        scale_vector=True, column_order=1)
    log = run(Epilogue(config), config, tiles, memory, latency=(2, 2))
    check(log, tiles)
    per_row = config.lanes // config.epilogue_lanes
    if out_type == ElementType.INT32:
        per_row = max(per_row, 4)
    assert log.computed[-1] < log.rows[-14][0]  # no tile was computed too late
    assert gaps([row[0] for row in log.rows]) == {per_row}
    assert len(log.rows) == 56


@pytest.mark.parametrize("epilogue_lanes", [1, 4, 16])
@pytest.mark.parametrize("out_type", OUT_TYPES)
def test_throughput_of_other_ratios(epilogue_lanes, out_type):
    config, memory = variant(16, epilogue_lanes), {}
    tiles = make_command(config, np.random.default_rng(3), memory, rows=40, blocks=1, tile_rows=20,
                         tile_blocks=1, out_type=out_type, out_address=0, pitch=4)
    log = run(Epilogue(config), config, tiles, memory, latency=(2, 2))
    check(log, tiles)
    per_row = max(16 // epilogue_lanes, 4 if out_type == ElementType.INT32 else 1)
    assert gaps([row[0] for row in log.rows]) == {per_row}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("out_type", OUT_TYPES)
def test_latency_as_documented(name, out_type):
    config, memory = get_config(name), {}
    tiles = make_command(config, np.random.default_rng(4), memory, rows=1, blocks=1, tile_rows=1,
                         tile_blocks=1, out_type=out_type, out_address=0, pitch=4, semaphore=1)
    log = run(Epilogue(config), config, tiles, memory, compute=(10, 10))
    check(log, tiles)
    first_row, groups = log.rows[0][0], config.lanes // config.epilogue_lanes
    assert first_row == log.computed[0] + 1
    int32 = out_type == ElementType.INT32
    last_step = first_row + (max(groups, 4) if int32 else groups) - 1
    assert log.offers[-1] - last_step == (
        Epilogue.RAW_LATENCY if int32 else Epilogue.WORD_LATENCY)
    assert log.released[0] == last_step + 1
    assert log.adds[-1][0] == log.responses[-1] + 2
    assert log.dones[0] == log.adds[-1][0] + 1


def test_a_change_of_the_way_waits_for_the_pipeline():
    """As ``DrainSequencer`` says: whichever of the two ways is the shorter one."""
    config, memory = get_config("slice"), {}
    rng = np.random.default_rng(5)
    tiles = []
    for n, out_type in enumerate([ElementType.INT8, ElementType.INT32, ElementType.UINT8] * 2):
        tiles += make_command(config, rng, memory, rows=6, blocks=1, tile_rows=6, tile_blocks=1,
                              out_type=out_type, out_address=32 * n, pitch=4)
    log = run(Epilogue(config), config, tiles, memory)
    check(log, tiles)
    starts = [row[0] for row in log.rows if row[2] == 0]
    ends = [row[0] for row in log.rows if row[2] == 5]
    assert starts[1] - ends[0] <= 2 + Epilogue.WORD_LATENCY + 1
    assert starts[2] - ends[1] == 4 + Epilogue.RAW_LATENCY


@pytest.mark.parametrize("out_type", OUT_TYPES)
def test_output_outside_scratchpad(out_type):
    """Rows 0 to 2 of the second command fit; row 3 does not."""
    config, memory = get_config("tiny"), {}
    rng = np.random.default_rng(6)
    good = make_command(config, rng, memory, rows=4, blocks=1, tile_rows=4, tile_blocks=1,
                        out_type=ElementType.INT8, out_address=0, pitch=1, semaphore=1)
    words = 4 if out_type == ElementType.INT32 else 1
    base = config.sm_words - 16 * 3 + (16 - words)
    bad = make_command(config, rng, memory, rows=5, blocks=1, tile_rows=5, tile_blocks=1,
                       out_type=out_type, out_address=base, pitch=16, semaphore=2)
    late = make_command(config, rng, memory, rows=1, blocks=1, tile_rows=1, tile_blocks=1,
                        out_type=ElementType.INT8, out_address=0, pitch=1, parameters=64,
                        has_bias=True)
    log = run(Epilogue(config), config, good + bad + late, memory, ready_p=0.3, latency=(1, 20),
              add_p=0.2)
    expected = good[0].words + bad[0].words[:3 * words]
    assert log.fault is not None
    assert log.fault[1] == (base + 3 * 16) * config.word_bytes
    assert [(address, data) for _, address, data in log.writes] == expected
    assert len(log.dones) == 1
    assert len([add for add in log.adds if add[1] == 2]) == 3


@pytest.mark.parametrize(("last_word", "has_bias", "scale_vector"), [
    (0, True, True), (7, True, True), (3, True, False), (0, False, True), (-5, True, True)])
def test_parameters_outside_scratchpad(last_word, has_bias, scale_vector):
    """The second command's parameters end too early; the first still finishes."""
    config, memory = get_config("tiny"), {}
    rng = np.random.default_rng(7)
    good = make_command(config, rng, memory, rows=8, blocks=2, tile_rows=8, tile_blocks=2,
                        out_type=ElementType.INT8, out_address=0, pitch=2, semaphore=1)
    bad = make_command(config, rng, memory, rows=1, blocks=1, tile_rows=1, tile_blocks=1,
                       out_type=ElementType.INT8, out_address=64, pitch=1,
                       parameters=config.sm_words - last_word, has_bias=has_bias,
                       scale_vector=scale_vector, semaphore=2)
    bad[0].fields["scale_address"] = bad[0].fields["bias_address"] + 4 * has_bias
    log = run(Epilogue(config), config, good + bad, memory, ready_p=0.3, latency=(1, 20), add_p=0.2)
    assert log.fault is not None
    assert log.fault[1] == max(config.sm_words, config.sm_words - last_word) * config.word_bytes
    assert len(log.reads) == max(last_word, 0)
    assert [(address, data) for _, address, data in log.writes] == good[0].words
    assert len(log.dones) == 1
    assert [add[1:] for add in log.adds] == [(1, 1)] * 8


def test_streams_do_not_wait_for_ready():
    """With nothing ever accepted, requests are still offered."""
    config = get_config("tiny")
    dut = Epilogue(config)
    fields = {"rows": 1, "blocks": 1, "first": 1, "last": 1, "out_type": int(ElementType.INT8),
              "scale": 0x3F800000, "has_bias": 1}

    async def bench(ctx):
        ctx.set(dut.last_word, config.sm_words - 1)
        ctx.set(dut.tile.payload, TileDescriptor(config).const(fields))
        ctx.set(dut.tile.valid, 1)
        assert ctx.get(dut.tile.ready)
        await ctx.tick()
        ctx.set(dut.tile.payload, TileDescriptor(config).const({**fields, "has_bias": 0}))
        ctx.set(dut.computed, 1)
        await ctx.tick()
        ctx.set(dut.tile.valid, 0)
        await ctx.tick()
        ctx.set(dut.computed, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.param.req.valid)
        ctx.set(dut.param.req.ready, 1)
        await ctx.tick().repeat(4)
        ctx.set(dut.param.rsp.valid, 1)
        await ctx.tick().repeat(4)
        ctx.set(dut.param.rsp.valid, 0)
        await ctx.tick().repeat(4 + Epilogue.WORD_LATENCY + 2)
        assert ctx.get(dut.output.req.valid)
        ctx.set(dut.output.req.ready, 1)
        await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


def test_conflict_is_either_port_waiting():
    dut = Epilogue(get_config("tiny"))

    async def bench(ctx):
        for param in (0, 1):
            for output in (0, 1):
                ctx.set(dut.param.waiting, param)
                ctx.set(dut.output.waiting, output)
                assert ctx.get(dut.conflict) == (param or output)

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
