"""The tensor unit within the windows of a ring."""

import dataclasses
import random

import pytest

from support.command_windows import CLOSED, OPEN
from support.tensor_rig import Matrices, run_commands
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import ElementType, FaultCause
from xpu_rtl.configs import get_config

TINY = get_config("tiny")
WIDE = dataclasses.replace(TINY, lanes=16, sm_bytes=64 * 1024)
LINE = 64
WRITE = 16
READ_SM, WRITE_SM = Space.SM, Space.SM + WRITE
WAIT, SIGNAL = Space.SEMAPHORE, Space.SEMAPHORE + WRITE

SEMAPHORES = [
    ({"semaphore_first": 4, "semaphore_last": 7}, {"a_semaphore": 3}, (3, WAIT)),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"b_semaphore": 8}, (8, WAIT)),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"out_semaphore": 8}, (8, SIGNAL)),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"release_semaphore": 3}, (3, SIGNAL)),
    ({"semaphore_first": 4, "semaphore_last": 7}, {"release_semaphore": 1, "b_semaphore": 2},
     (2, WAIT)),
    ({"wait": 0}, {"a_semaphore": 5, "out_semaphore": 5}, (5, WAIT)),
    ({"signal": 0}, {"a_semaphore": 5, "release_semaphore": 6}, (6, SIGNAL)),
]


@pytest.mark.parametrize(("windows", "fields", "report"), SEMAPHORES, ids=range(len(SEMAPHORES)))
def test_semaphores(windows, fields, report):
    """Refused before anything is read."""
    matrices = Matrices(TINY, 20)
    result = run_commands(matrices, [matrices.gemm(4, 4, 4, **fields)], timeout=400,
                          windows=OPEN | windows, expect_fault=True)
    assert [entry[1:] for entry in result.done] == [(FaultCause.PROTECTION, *report)]
    assert (result.reads, result.writes, result.adds) == ({}, [], [])


def test_semaphores_at_the_ends_of_the_window():
    matrices = Matrices(TINY, 21)
    values = matrices.gemm(4, 4, 4, a_semaphore=4, b_semaphore=7, out_semaphore=7,
                           release_semaphore=4)
    run_commands(matrices, [values], timeout=400, semaphores=lambda _: {4: 100, 7: 100},
                 windows=OPEN | {"semaphore_first": 4, "semaphore_last": 7})
    matrices = Matrices(TINY, 22)
    run_commands(matrices, [matrices.gemm(4, 4, 4)], timeout=400,
                 windows=OPEN | {"wait": 0, "signal": 0})


def lines(first, last):
    return OPEN | {"sm_first": first, "sm_last": last}


@pytest.mark.parametrize(("windows", "change", "report"), [
    ({"sm_read": 0}, {}, ("a_address", READ_SM)),
    ({"sm_write": 0}, {}, ("out_address", WRITE_SM)),
    ({"sm_read": 0, "sm_write": 0}, {"a_address": TINY.sm_bytes},
     ("a_address", None)),
    ({"sm_first": 4}, {"b_address": 3 * LINE + 60, "a_address": 4 * LINE},
     ("b_address", READ_SM)),
    ({"sm_first": 4}, {"a_address": 5 * LINE, "b_address": 6 * LINE, "out_address": 0},
     ("out_address", WRITE_SM)),
    ({"sm_last": 40}, {"scale_vector": 1, "scale_address": 41 * LINE, "out_type": 1},
     ("scale_address", READ_SM)),
    ({"sm_last": 40}, {"has_bias": 1, "bias_address": 41 * LINE, "out_address": 50 * LINE},
     ("out_address", WRITE_SM)),
    ({"sm_last": 40}, {"b_zero_point_vector": 1, "b_zero_point_address": 255 * LINE},
     ("b_zero_point_address", READ_SM)),
    ({"sm_first": 2, "sm_last": 1}, {}, ("a_address", READ_SM)),
], ids=range(9))
def test_first_words(windows, change, report):
    """A command that begins outside is refused; the field that does is named."""
    matrices = Matrices(TINY, 23)
    values = matrices.gemm(4, 4, 4) | change
    result = run_commands(matrices, [values], timeout=400, windows=OPEN | windows,
                          expect_fault=True)
    field, info = report
    expected = (FaultCause.PROTECTION, values[field], info)
    if info is None:
        expected = (FaultCause.BAD_ADDRESS, values[field], 0)
    assert [entry[1:] for entry in result.done] == [expected]
    assert (result.reads, result.writes) == ({}, [])


def test_what_is_not_used_is_not_checked():
    matrices = Matrices(TINY, 24)
    values = matrices.gemm(4, 4, 4, hold=True) | {
        "out_address": 200 * LINE, "bias_address": 200 * LINE, "scale_address": 200 * LINE,
        "b_zero_point_address": 200 * LINE}
    result = run_commands(matrices, [values], timeout=400, windows=lines(0, 10) | {"sm_write": 0})
    assert result.done[0][1] is FaultCause.NONE


@pytest.mark.parametrize(("field", "info"), [
    ("a", READ_SM), ("b", READ_SM), ("out", WRITE_SM), ("bias", READ_SM), ("scale", READ_SM),
    ("b_zero_point", READ_SM)])
@pytest.mark.parametrize("inside", [True, False])
def test_last_words(field, info, inside):
    """The last word of an operand is the first behind the window, or the last in it."""
    matrices = Matrices(TINY, 25)
    first = matrices.gemm(4, 4, 4, out_semaphore=1, release_semaphore=2)
    tile = {"out": 8, "b": 12}.get(field, 16)
    second = matrices.gemm(tile, 16, 12, tile_rows=4, tile_blocks=2, out_type=ElementType.INT8,
                           has_bias=True, scale_vector=True, vector=True)
    words = {"a": tile * 3, "b": 12 * 4, "out": tile * 4, "bias": 16, "scale": 16,
             "b_zero_point": 4}[field]
    window_end = 100 * LINE         # the operand's last word stands just before or behind
    moved = window_end + (0 if inside else 4) - 4 * words
    name = f"{field}_address"
    at = second[name]
    if field != "out":
        matrices.memory[moved:moved + 4 * words] = matrices.memory[at:at + 4 * words]
    second[name] = moved
    assert matrices.free * 4 < moved
    result = run_commands(matrices, [first, second], timeout=3000, windows=lines(0, 99), seed=7,
                          accept_p=0.8, delay_p=0.2, expect_fault=not inside)
    touched = [word for reads in result.reads.values() for _, word in reads]
    touched += [word for _, word in result.writes]
    assert max(touched) == window_end // 4 - 1
    if not inside:
        assert [entry[1:] for entry in result.done] == [
            (FaultCause.NONE, 0, 0), (FaultCause.PROTECTION, window_end, info)]
        assert all(cycle < result.done[1][0] for cycle, _ in result.writes)
        assert [add[1:] for add in result.adds[:5]] == [(2, 1)] + [(1, 1)] * 4


@pytest.mark.parametrize("config", [TINY, WIDE], ids=["word4", "word16"])
@pytest.mark.parametrize("seed", range(4))
def test_random(seed, config):
    """Nothing outside is touched; a command that stays inside is not disturbed."""
    rng = random.Random(f"{config.lanes}-{seed}")
    config = dataclasses.replace(config, rings=3)
    matrices = Matrices(config, seed)
    size = 2 * config.lanes + 3
    values = matrices.gemm(
        rng.randint(1, 9), rng.randint(1, size), rng.randint(1, size), tile_rows=4,
        tile_blocks=rng.randint(1, 2), vector=rng.random() < 0.5,
        out_type=rng.choice(list(ElementType)), has_bias=rng.random() < 0.5,
        scale_vector=rng.random() < 0.5, spread=rng.choice((0, 2)), column_order=rng.randint(0, 1))
    ring = rng.randrange(3)
    whole = run_commands(matrices, [values], timeout=6000, ring=ring)
    word = config.word_bytes
    reads = {at for log in whole.reads.values() for _, at in log}
    writes = {at for _, at in whole.writes}
    last = max(reads | writes) * word // LINE
    for _ in range(4):
        first_line, last_line = rng.choice((0, 0, 1)), last - rng.choice((0, 0, 1, last // 2))
        permissions = {"sm_read": rng.random() < 0.9, "sm_write": rng.random() < 0.9}
        window = lines(first_line, last_line) | permissions

        def allowed(at, kind):
            return window[kind] and first_line <= at * word // LINE <= last_line     # noqa: B023

        outside = {(at, READ_SM) for at in reads if not allowed(at, "sm_read")}
        outside |= {(at, WRITE_SM) for at in writes if not allowed(at, "sm_write")}
        result = run_commands(matrices, [values], timeout=6000, seed=seed, accept_p=0.8,
                              delay_p=0.3, windows=window, ring=ring, expect_fault=bool(outside))
        assert all(allowed(at, "sm_read") for log in result.reads.values() for _, at in log)
        assert all(allowed(at, "sm_write") for _, at in result.writes)
        (_, cause, address, info), = result.done
        if outside:
            assert cause is FaultCause.PROTECTION
            assert (address // word, info) in outside
        else:
            assert cause is FaultCause.NONE


def test_another_ring_may_do_nothing():
    config = dataclasses.replace(TINY, rings=2)
    matrices = Matrices(config, 26)
    values = matrices.gemm(4, 4, 4)
    result = run_commands(matrices, [values], timeout=400, windows=CLOSED, ring=1,
                          expect_fault=True)
    assert [entry[1:] for entry in result.done] == [
        (FaultCause.PROTECTION, values["a_address"], READ_SM)]
