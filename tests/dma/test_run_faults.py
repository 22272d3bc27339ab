"""Rows to runs: what must not be read or written."""

import dataclasses
import random

import pytest

from support.dma_runs import gm, nd_row, open_windows, sm, split
from support.dma_runs_rig import assert_alike, assert_fault, random_command, run_splitter
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.configs import get_config
from xpu_rtl.dma.stages import RunKind

LOAD = pytest.mark.parametrize("load", [True, False], ids=["load", "store"])
TINY, SLICE = get_config("tiny"), get_config("slice")
BOTH = pytest.mark.parametrize("config", [TINY, SLICE], ids=lambda config: config.name)

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
