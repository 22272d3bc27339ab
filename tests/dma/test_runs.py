"""Rows to runs: segments, strips, checks."""

import dataclasses
import random

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from support.dma_runs import gm, moved_by_rows, moved_by_runs, nd_row, open_windows, sm, split
from support.dma_runs_rig import STREAMS, payload, random_command, run_splitter
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.configs import get_config
from xpu_rtl.dma.runs import RunSplitter
from xpu_rtl.dma.stages import RunKind
from xpu_rtl.params import XpuConfig

LOAD = pytest.mark.parametrize("load", [True, False], ids=["load", "store"])
TINY, SLICE = get_config("tiny"), get_config("slice")
BOTH = pytest.mark.parametrize("config", [TINY, SLICE], ids=lambda config: config.name)


def wide(lanes, **fields):
    return XpuConfig(name="wide", lanes=lanes, acc_rows=256, epilogue_lanes=4, **fields)


def assert_alike(offered, plan, *, exact=True):
    """Compare the fields that mean something; after a fault more than the least may be offered."""
    for name in STREAMS:
        expected = getattr(plan, name)
        if exact:
            assert len(offered[name]) == len(expected), name
        assert plan.least[name] <= len(offered[name]) <= len(expected), name
        for n, (actual, wanted) in enumerate(zip(offered[name], expected, strict=False)):
            assert {key: actual[key] for key in wanted} == wanted, f"{name} {n}"


def assert_fault(offered, plan):
    assert_alike(offered, plan, exact=False)
    for side in ("source", "destination"):
        report = offered.reports.get(side)
        if report:
            cause, address, info = getattr(plan, f"{side}_report")
            assert report == {"cause": cause, "address": address, "info": info, "row": 0}


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


# Faults -----------------------------------------------------------------------------------------

NARROW = {"sm_first": 4, "sm_last": 8, "sm_read": 1, "sm_write": 1}     # bytes 0x100 to 0x23F


@pytest.mark.parametrize(("address", "size", "cause"), [
    (gm((1 << 44) - 8), 8, None), (gm((1 << 44) - 8), 9, FaultCause.BAD_ADDRESS),
    (gm(0), 1 << 23, None), (2 << 44, 1, FaultCause.BAD_ADDRESS),
    (15 << 44, 1, FaultCause.BAD_ADDRESS), (sm(TINY.sm_bytes), 1, FaultCause.BAD_ADDRESS),
    (sm(TINY.sm_bytes - 1), 2, FaultCause.BAD_ADDRESS),
    (sm(0x100), (1 << 24) - 2, FaultCause.BAD_ADDRESS),
    (sm(1 << 40), 1, FaultCause.BAD_ADDRESS), (sm((1 << 44) - 1), 2, FaultCause.BAD_ADDRESS),
    (sm(0x100), 0x140, None), (sm(0xFF), 2, FaultCause.PROTECTION),
    (sm(0x23F), 2, FaultCause.PROTECTION), (sm(0), 16, FaultCause.PROTECTION),
])
@pytest.mark.parametrize("side", ["source", "load", "store"])
def test_edges_of_memories(address, size, cause, side):
    """A run up to the last byte is good, a byte more is not; in the copied part and filled ones."""
    info = Space.SM if cause == FaultCause.PROTECTION else 0
    if side == "source":
        config = TINY
        row = nd_row(address - 1, gm(0x500), size + 1, left=1, copied=size)
    else:
        config = TINY
        right = (Space.SM,) if side == "load" else (Space.GM,)
        if address >> 44 not in right:
            cause, info = FaultCause.BAD_ADDRESS, 0
        elif cause == FaultCause.PROTECTION:
            info = Space.SM | 16
        row = nd_row(0, address, size, left=size, copied=0)
    good = nd_row(gm(0), sm(0x100) if side == "load" else gm(0x80), 4, index=1)
    windows = [NARROW]
    offered = run_splitter(config, [row, good], load=side == "load", windows=windows)
    kinds = [run["kind"] for run in offered["source"]]
    faults = [run["fault"] for run in offered["destination"]]
    if cause is None:
        assert offered.reports == {}
        assert not any(faults)
        assert RunKind.FAULT not in kinds
        assert len(offered.accepted) == 2
        return
    expected = {"cause": cause, "address": address, "info": info, "row": 0}
    if side == "source":
        assert kinds == [RunKind.FILL, RunKind.FAULT]
        assert faults == [0]
        assert offered.reports == {"source": expected}
    else:
        assert kinds[0] is RunKind.FILL
        assert faults == [1]
        assert offered.reports == {"destination": expected}
    plan = split(config, [row, good], load=side == "load", windows=windows)
    assert_fault(offered, plan)


@pytest.mark.parametrize("permission", ["sm_read", "sm_write"])
def test_permissions_of_rings(permission):
    config = dataclasses.replace(TINY, rings=3)
    windows = open_windows(config)
    windows[1][permission] = 0
    for ring in range(3):
        row = nd_row(sm(0x40), sm(0x80), 8, ring=ring)
        offered = run_splitter(config, [row], load=True, windows=windows)
        assert_fault(offered, split(config, [row], load=True, windows=windows))
        side = "source" if permission == "sm_read" else "destination"
        assert set(offered.reports) == ({side} if ring == 1 else set())


def test_fault_of_the_odometer():
    report = {"cause": FaultCause.BAD_INDEX, "address": 0x1234, "info": 99, "row": 7}
    rows = [nd_row(gm(0), sm(0), 8, last=0), nd_row(gm(0), sm(0), 8, first=0, fault=1, index=3),
            nd_row(gm(0), sm(0), 8)]
    for transpose in (0, 1):
        rows[1]["transpose"] = transpose
        offered = run_splitter(TINY, rows, load=True, windows=open_windows(TINY), row_fault=report)
        assert_alike(offered, split(TINY, rows, load=True, windows=open_windows(TINY)))
        assert len(offered.accepted) == 2
        assert offered.reports == {"source": report}


@LOAD
@BOTH
@pytest.mark.parametrize("seed", range(12))
def test_random_faults(config, seed, load):
    """One or two bad rows among good ones of all kinds: what is before a fault is complete, and
    nothing is offered behind its marker."""
    rng = random.Random(f"{seed}-{config.lanes}-{load}-faults")
    rows = []
    for index in range(6):
        rows += random_command(rng, config, load=load, index=index)
    windows = open_windows(config)
    bad = False
    while not bad:
        row = rng.choice(rows)
        sides = ("source", "destination") if rng.random() < 0.3 else (
            rng.choice(("source", "destination")),)
        for side in sides:
            span = max(1, row["copied"] if side == "source" and not row["transpose"]
                       else row["bytes"])
            part = rng.randint(0, span)
            limit = config.sm_bytes if row[side] >> 44 == Space.SM else 1 << 44
            row[side] = rng.choice((
                2 << 44, (row[side] >> 44 << 44) + limit - part,
                (row[side] >> 44 << 44) + (0 if row["transpose"] else limit)))
        windows[0]["sm_last"] = rng.choice(((1 << 18) - 1, config.sm_bytes // 64 - 2))
        plan = split(config, rows, load=load, windows=windows)
        bad = plan.source_report or plan.destination_report
    offered = run_splitter(config, rows, load=load, windows=windows, seed=seed,
                           ready_p=rng.choice((0.4, 1.0)), valid_p=rng.choice((0.5, 1.0)))
    assert_fault(offered, plan)
    assert offered.reports
    assert len(offered.accepted) < len(rows) or row in rows[-6:]


@pytest.mark.parametrize(("bad_strip", "offset", "pitch"), [
    (0, 0, 0x100), (1, 16, 0), (2, 4 * 0x100, 0x100)])
def test_bad_source_in_a_matrix(bad_strip, offset, pitch):
    """Columns of the strips before are still offered: 8 x 32 bytes in words of 4."""
    row = nd_row(sm(TINY.sm_bytes - offset), sm(0), 32, transpose=1, rows=8, source_pitch=pitch,
                 destination_pitch=8)
    offered = run_splitter(TINY, [row], load=True, windows=open_windows(TINY))
    assert_fault(offered, split(TINY, [row], load=True, windows=open_windows(TINY)))
    assert len(offered["source"]) == 4 * bad_strip + 1
    assert len(offered["destination"]) >= 16 * bad_strip
    assert offered.reports["source"]["address"] == sm(TINY.sm_bytes)


def test_bad_destination_in_a_matrix():
    """Its strip is read to the end, so that the fault is seen."""
    row = nd_row(gm(0), sm(TINY.sm_bytes - 24), 16, transpose=1, rows=4, source_pitch=16,
                 destination_pitch=8)
    rows = [row, nd_row(gm(0), sm(0), 4, index=1)]
    offered = run_splitter(TINY, rows, load=True, windows=open_windows(TINY))
    assert_fault(offered, split(TINY, rows, load=True, windows=open_windows(TINY)))
    assert [run["row_last"] for run in offered["source"]][:4] == [0, 0, 0, 1]
    assert [run["fault"] for run in offered["destination"]] == [0, 0, 0, 1]
    assert len(offered["place"]) == 3


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
