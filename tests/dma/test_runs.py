"""Rows to runs: segments, strips, handshakes, speed."""

import random

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from support.dma_runs import gm, moved_by_rows, moved_by_runs, nd_row, open_windows, sm, split
from support.dma_runs_rig import STREAMS, assert_alike, payload, random_command, run_splitter
from xpu_rtl.configs import get_config
from xpu_rtl.dma.runs import RunSplitter
from xpu_rtl.dma.stages import RunKind
from xpu_rtl.params import XpuConfig

LOAD = pytest.mark.parametrize("load", [True, False], ids=["load", "store"])
TINY, SLICE = get_config("tiny"), get_config("slice")
BOTH = pytest.mark.parametrize("config", [TINY, SLICE], ids=lambda config: config.name)


def wide(lanes, **fields):
    return XpuConfig(name="wide", lanes=lanes, acc_rows=256, epilogue_lanes=4, **fields)


@LOAD
def test_clipped_row_by_hand(load):
    here, there = (sm, gm) if load else (gm, sm)
    row = nd_row(there(0x103) - 5, here(0x206), 30, left=5, copied=20, fill=0x44332211, index=7)
    offered = run_splitter(SLICE, [row], load=load, windows=open_windows(SLICE))
    left, copy, right = offered["source"]
    assert [run["kind"] for run in offered["source"]] == [
        RunKind.FILL, RunKind.GM if load else RunKind.SM, RunKind.FILL]
    assert (left["lane"], left["end"], left["beats"]) == (6, 10, 0)
    assert left["fill"] == right["fill"] == 0x22114433     # byte 6 is byte 0 of the row
    assert (copy["beat"], copy["lane"], copy["end"], copy["beats"]) == (0x10, 3, 6, 1)
    assert (right["lane"], right["end"], right["beats"]) == (15, 3, 1)
    assert [run["first"] for run in offered["source"]] == [1, 0, 0]
    assert [run["row_last"] for run in offered["source"]] == [0, 0, 1]
    assert [run["last"] for run in offered["source"]] == [0, 0, 1]
    assert [run["index"] for run in offered["source"]] == [7, 7, 7]
    assert [(row["shift"], row["wrap"]) for row in offered["form"]] == [(0, 0), (8, 0), (0, 0)]
    assert [(run["beat"], run["beats"], run["direct"]) for run in offered["destination"]] == [
        (0x20, 0, 1), (0x20, 1, int(not load)), (0x21, 1, 1)]
    assert [run["row_last"] for run in offered["destination"]] == [0, 0, 1]
    assert offered["place"] == []


def test_matrix_by_hand():
    """5 x 17 bytes, words of 4: two blocks of rows, two strips (16 and 1 columns) of each."""
    row = nd_row(gm(0x1000), sm(0x203), 17, transpose=1, rows=5, source_pitch=0x21,
                 destination_pitch=0x10)
    offered = run_splitter(TINY, [row], load=True, windows=open_windows(TINY))
    starts = [4 * run["beat"] + run["lane"] for run in offered["source"]]
    assert starts == [0x1000, 0x1021, 0x1042, 0x1063, 0x1010, 0x1031, 0x1052, 0x1073,
                      0x1084, 0x1094]
    assert [row["strip_row"] for row in offered["form"]] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 0]
    assert [row["strip_last"] for row in offered["form"]] == [0, 0, 0, 1, 0, 0, 0, 1, 1, 1]
    assert [run["first"] for run in offered["source"]] == [1] + 9 * [0]
    assert [run["row_last"] for run in offered["source"]] == 9 * [0] + [1]
    assert [run["beat"] for run in offered["destination"]] == (
        [0x80 + 4 * c for c in range(17)] + [0x81 + 4 * c for c in range(17)])
    assert [run["beats"] for run in offered["destination"]] == 17 * [1] + 17 * [0]
    assert offered["place"] == 17 * [{"lane": 3, "bytes": 3}] + 17 * [{"lane": 3, "bytes": 0}]
    assert [run["row_last"] for run in offered["destination"]] == 33 * [0] + [1]


RANDOM = [
    *((TINY, seed) for seed in range(6)), *((SLICE, seed) for seed in range(4)),
    *((wide(lanes, rings=3), 0) for lanes in (8, 32, 64)),
]


@LOAD
@pytest.mark.parametrize(("config", "seed"), RANDOM,
                         ids=lambda x: str(x) if isinstance(x, int) else f"{x.lanes}-bytes")
def test_random_rows(config, seed, load):
    rng = random.Random(f"{seed}-{config.lanes}-{load}")
    rows = []
    for index in range(14):
        rows += random_command(rng, config, load=load, index=index, small=config.lanes > 4)
    rough = seed % 2
    ready_p = {name: rng.choice((0.3, 0.6, 1.0)) if rough else 1.0 for name in STREAMS}
    windows = open_windows(config)
    offered = run_splitter(config, rows, load=load, windows=windows, seed=seed, ready_p=ready_p,
                           valid_p=0.6 if rough else 1.0)
    assert len(offered.accepted) == len(rows)
    plan = split(config, rows, load=load, windows=windows)
    assert plan.source_report is plan.destination_report is None
    assert_alike(offered, plan)
    assert sum(run["first"] for run in offered["source"]) == 14
    assert sum(run["last"] for run in offered["source"]) == 14
    assert sum(run["last"] for run in offered["destination"]) == 14
    small = [row for row in rows if row["bytes"] < 4096]
    if len(small) == len(rows):     # and else by the lists alone
        assert list(moved_by_runs(config, offered, load=load)) == list(moved_by_rows(rows))


@LOAD
@BOTH
def test_bytes_moved(config, load):
    """The runs, taken byte by byte, do what the rows say, at every alignment."""
    rows, width = [], config.word_bytes
    here, there = (sm, gm) if load else (gm, sm)
    for a in range(width):
        for b in range(0, width, 3):
            size = 2 * width + a
            left = b % 5
            rows.append(nd_row(there(0x400 + a - left), here(0x800 + b), size + left + 3, left=left,
                               copied=size, fill=0x04030201))
            rows.append(nd_row(there(0x400 + a), here(0x800 + b), 1 + b))
    for log2 in range(3):
        rows.append(nd_row(there(0x405), here(0x803), (4 * width + 4) & -4, transpose=1, rows=width,
                           element_log2=log2, source_pitch=5 * width + 1,
                           destination_pitch=width + 1))
    offered = run_splitter(config, rows, load=load, windows=open_windows(config))
    assert list(moved_by_runs(config, offered, load=load)) == list(moved_by_rows(rows))


# Handshakes and speed ---------------------------------------------------------------------------

@LOAD
@pytest.mark.parametrize("transpose", [0, 1], ids=["plain", "matrix"])
@pytest.mark.parametrize("stuck", [("source",), ("form",), ("place",), ("destination",), STREAMS])
def test_streams_do_not_wait_for_each_other(stuck, transpose, load):
    here, there = (sm, gm) if load else (gm, sm)
    rows = [nd_row(there(0x100), here(0x400), 16, transpose=transpose, rows=4, source_pitch=16,
                   destination_pitch=16)]
    offered = run_splitter(SLICE, rows, load=load, windows=open_windows(SLICE), stuck=stuck)
    for name in STREAMS:
        if name in stuck or (name == "place" and not transpose):
            assert offered[name] == []
        else:
            other = {"source": "form", "form": "source", "place": "destination",
                     "destination": "place"}[name]
            held_up = other in stuck and not (other == "place" and not transpose)
            whole = len(getattr(split(SLICE, rows, load=load, windows=open_windows(SLICE)), name))
            assert len(offered[name]) == (1 if held_up else whole)


def test_valid_without_ready():
    """All streams offer their first run while none is ever ready."""
    dut = RunSplitter(TINY, load=True)

    async def bench(ctx):
        ctx.set(dut.windows[0].sm_last, (1 << 18) - 1)
        ctx.set(dut.windows[0].sm_write, 1)
        ctx.set(dut.i.payload, payload(nd_row(gm(0), sm(0), 4, transpose=1, rows=4)))
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        for cycle in range(1, 10):
            assert ctx.get(dut.source.valid) == ctx.get(dut.form.valid) == (
                cycle >= RunSplitter.SOURCE_LATENCY)
            assert ctx.get(dut.place.valid) == ctx.get(dut.destination.valid) == (
                cycle >= RunSplitter.LATENCY)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


@LOAD
def test_latency(load):
    here, there = (sm, gm) if load else (gm, sm)
    rows = [nd_row(there(0), here(0), 8)]
    offered = run_splitter(SLICE, rows, load=load, windows=open_windows(SLICE))
    start = offered.accepted[0]
    assert offered.cycles["source"] == [start + RunSplitter.SOURCE_LATENCY]
    assert offered.cycles["form"] == [start + RunSplitter.SOURCE_LATENCY]
    assert offered.cycles["destination"] == [start + RunSplitter.LATENCY]


def dense(cycles):
    return cycles[-1] - cycles[0] + 1 == len(cycles)


@LOAD
@pytest.mark.parametrize("kind", ["copy", "fill", "clip"])
def test_one_run_per_cycle(kind, load):
    rng = random.Random(kind)
    rows = []
    for index in range(20):
        rows += random_command(rng, SLICE, load=load, index=index, kinds=(kind,))
    offered = run_splitter(SLICE, rows, load=load, windows=open_windows(SLICE))
    assert all(dense(offered.cycles[name]) for name in ("source", "form", "destination"))
    if kind != "clip":
        assert dense(offered.accepted)
        assert len(offered.accepted) == len(rows)


@LOAD
def test_one_run_per_cycle_of_matrices(load):
    """Each side walks matrix after matrix without a gap; the source side reads ahead."""
    here, there = (sm, gm) if load else (gm, sm)
    rows = [nd_row(there(0), here(0), 16, transpose=1, rows=16, source_pitch=16,
                   destination_pitch=16, index=n) for n in range(12)]
    offered = run_splitter(SLICE, rows, load=load, windows=open_windows(SLICE))
    assert all(len(offered[name]) == 12 * 16 and dense(offered.cycles[name]) for name in STREAMS)
    offered = run_splitter(SLICE, rows, load=load, windows=open_windows(SLICE),
                           stuck=("destination", "place"))
    assert len(offered["source"]) >= 16 * RunSplitter.AHEAD
    # Plain rows too are read ahead, behind a matrix whose destination is not written yet.
    rows = [rows[0], *(nd_row(there(0), here(0), 16, index=1 + n) for n in range(3))]
    offered = run_splitter(SLICE, rows, load=load, windows=open_windows(SLICE),
                           stuck=("destination", "place"))
    assert len(offered["source"]) == 16 + 3


@pytest.mark.parametrize("lanes", [8, 32, 64])
def test_elaborates(lanes):
    rtlil.convert(RunSplitter(wide(lanes, rings=8), load=lanes == 32))
