"""The tensor unit against NumPy: shapes, orders, types, chains, waits, stalls, faults."""

import random

import numpy as np
import pytest

from support.tensor_rig import Matrices, check_results, run_commands
from xpu_rtl.command.formats import GEMM, ElementType, FaultCause
from xpu_rtl.command.types import Activity
from xpu_rtl.configs import get_config
from xpu_rtl.tensor.unit import TensorUnit

OUT_TYPES = (ElementType.INT32, ElementType.INT8, ElementType.UINT8)
TINY = get_config("tiny")
ECP5 = get_config("ecp5")


def run(matrices, commands, **options):
    options.setdefault("timeout", 4000)
    return run_commands(matrices, commands, **options)


def random_command(matrices, rng, *, size):
    config = matrices.config
    tile_blocks = rng.choice([1, 1, 2, config.tile_blocks])
    return matrices.gemm(
        rng.randint(1, size), rng.randint(1, size), rng.randint(1, size),
        tile_rows=rng.randint(1, config.acc_rows // tile_blocks), tile_blocks=tile_blocks,
        a_signed=rng.random() < 0.5, b_signed=rng.random() < 0.5,
        zero_points=rng.random() < 0.5, vector=rng.random() < 0.4,
        column_order=rng.randint(0, 1), out_type=rng.choice(OUT_TYPES),
        has_bias=rng.random() < 0.4, scale_vector=rng.random() < 0.4,
        use_relu=rng.random() < 0.3, spread=rng.choice([0, 0, 1, 3]),
        release_semaphore=rng.choice([0, 1]), out_semaphore=rng.choice([0, 2]))


def test_one_block():
    """4 x 4 x 4: one pass, one tile."""
    matrices = Matrices(TINY)
    result = run(matrices, [matrices.gemm(4, 4, 4, out_semaphore=2, release_semaphore=3)])
    assert len(result.busy()) == 4
    assert sorted((number, amount) for _, number, amount in result.adds) == [(2, 1)] * 4 + [(3, 1)]


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(8))
def test_random_shapes(seed, stall):
    rng = random.Random(seed)
    matrices = Matrices(TINY, seed)
    commands = [random_command(matrices, rng, size=13) for _ in range(4)]
    run(matrices, commands, seed=seed, accept_p=1 - stall, delay_p=stall, add_p=1 - stall,
        timeout=8000)


@pytest.mark.parametrize("seed", range(2))
def test_random_shapes_ecp5(seed):
    rng = random.Random(seed)
    matrices = Matrices(ECP5, seed)
    commands = [random_command(matrices, rng, size=30) for _ in range(2)]
    run(matrices, commands, seed=seed, accept_p=0.9, delay_p=0.1)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_hold_and_accumulate(stall):
    """Chains of commands add up in the accumulators, whatever their tile shapes."""
    matrices = Matrices(TINY, 5)
    commands = [
        matrices.gemm(4, 4, 4, hold=True),
        matrices.gemm(4, 4, 3, hold=True, accumulate=True),
        matrices.gemm(4, 4, 9, accumulate=True, out_semaphore=2),
        matrices.gemm(3, 5, 6),
        matrices.gemm(5, 7, 5, hold=True, tile_blocks=2, zero_points=True, release_semaphore=1),
        matrices.gemm(5, 7, 1, accumulate=True, tile_blocks=2, a_signed=False),
        matrices.gemm(1, 1, 1, hold=True),
        matrices.gemm(1, 1, 1, hold=True, accumulate=True),
        matrices.gemm(1, 1, 1, accumulate=True),
    ]
    run(matrices, commands, accept_p=1 - stall, delay_p=stall)


def test_extreme_values():
    """Sums beyond 32 bits wrap; operands at both ends of their ranges with opposite zero points."""
    matrices = Matrices(TINY, 6)
    matrices.memory[:] = 0x80
    commands = [matrices.gemm(4, 4, 300, a_zero_point=127, b_zero_point=127)]
    result = run(matrices, commands)
    at = commands[0]["out_address"]
    assert result.memory[at:at + 4].view(np.int32)[0] == 300 * 255 * 255


@pytest.mark.parametrize("config", [TINY, ECP5], ids=lambda config: config.name)
def test_no_idle_cycle(config):
    """Passes, tiles and commands of different shapes follow each other without a gap."""
    matrices = Matrices(config, 7)
    lanes = config.lanes
    commands = [        # deep enough for the output to keep up
        matrices.gemm(lanes, lanes, 7 * lanes, out_type=ElementType.INT8),
        matrices.gemm(lanes, lanes, 7 * lanes - 1, out_type=ElementType.INT8, zero_points=True),
        matrices.gemm(2 * lanes, 2 * lanes, 6 * lanes, tile_blocks=2, tile_rows=lanes),
        matrices.gemm(lanes + 1, lanes, 5 * lanes, hold=True),
        matrices.gemm(lanes + 1, lanes, 9 * lanes, accumulate=True, out_type=ElementType.UINT8),
        matrices.gemm(2 * lanes, 2 * lanes, 7 * lanes, tile_rows=lanes, column_order=1,
                      out_type=ElementType.UINT8, a_semaphore=1, b_semaphore=2),
        matrices.gemm(2 * lanes, lanes, 9 * lanes, a_semaphore=1, b_semaphore=2),
    ]
    result = run(matrices, commands, semaphores=lambda _: {1: 1000, 2: 1000})
    busy = result.busy()
    rows = sum(c["rows"] * -(-c["columns"] // lanes) * -(-c["depth"] // lanes) for c in commands)
    assert len(busy) == rows
    assert busy == list(range(busy[0], busy[0] + rows))


def test_start_latency():
    """From acceptance to the first row: the weights, the scratchpad and a few stages."""
    for config in (TINY, ECP5):
        for latency in (1, 3):
            matrices = Matrices(config, 8)
            result = run(matrices, [matrices.gemm(config.lanes, config.lanes, config.lanes)],
                         latency=latency)
            first = result.busy()[0] - 1    # activity is reported one cycle late
            assert first - result.accepted[0] == TensorUnit.start_latency(config) + latency


def test_short_passes():
    """A pass of fewer rows than lanes lasts as many cycles as its weights take."""
    matrices = Matrices(TINY, 9)
    result = run(matrices, [matrices.gemm(1, 4, 64)])
    busy = result.busy()
    assert busy == list(range(busy[0], busy[0] + 64, 4))


@pytest.mark.parametrize(("a_rate", "b_rate"), [(20, 0), (0, 150), (20, 150), (60, 150)])
def test_waits(a_rate, b_rate):
    """Rows and columns are read only when their semaphores allow it."""
    matrices = Matrices(TINY, 10)
    values = matrices.gemm(10, 10, 7, tile_rows=4, a_semaphore=a_rate and 3, a_value=5,
                           b_semaphore=b_rate and 4, b_value=(1 << 24) - 1)
    a_words = {values["a_address"] // 4 + n: n // 2 for n in range(20)}
    b_words = {values["b_address"] // 4 + n: n // 7 for n in range(21)}

    def semaphores(cycle):      # a row of A every a_rate cycles, a column tile of B every b_rate
        return {3: 5 + cycle // (a_rate or 1),
                4: ((1 << 24) - 2 + cycle // (b_rate or 1)) % (1 << 24)}

    result = run(matrices, [values], semaphores=semaphores)
    for cycle, word in result.reads["activation"]:
        assert cycle >= a_rate * min(a_words[word] // 4 * 4 + 4, 10)
    for cycle, word in result.reads["weight"]:
        assert cycle >= b_rate * (1 + b_words[word])
    waits = [cycle for cycle, what in enumerate(result.activity) if what == Activity.SEMAPHORE]
    assert len(waits) > (300 if b_rate else 100)


@pytest.mark.parametrize("slow", ["activation", "weight"])
def test_release(slow):
    """A command releases its operands when the last of either has been read, not before."""
    matrices = Matrices(TINY, 16)
    values = matrices.gemm(4, 4, 32, release_semaphore=5)
    result = run(matrices, [values], delay_p={slow: 0.8})
    last = max(cycle for name in ("activation", "weight") for cycle in result.answers[name])
    (cycle, number, amount), = result.adds
    assert (number, amount) == (5, 1)
    assert last < cycle <= last + 2


@pytest.mark.parametrize("column_order", [0, 1])
def test_zero_points_of_tiles(column_order):
    """Zero points of each column tile, in either order, read no more often than needed."""
    matrices = Matrices(TINY, 17)
    values = matrices.gemm(9, 15, 10, tile_rows=4, tile_blocks=2, vector=True,
                           column_order=column_order)
    result = run(matrices, [values])
    first = values["b_zero_point_address"] // 4
    reads = [word - first for _, word in result.reads["weight"] if first <= word < first + 4]
    assert reads == ([0, 1, 2, 3] * 3 if column_order else [0, 1, 2, 3])


def test_activity_adds_up():
    """Every cycle of a stalled run has one state, and each is seen."""
    matrices = Matrices(TINY, 11)
    commands = [matrices.gemm(16, 16, 4, tile_rows=4, out_semaphore=1),
                matrices.gemm(16, 4, 16, tile_rows=4)]
    result = run(matrices, commands, accept_p=0.5, delay_p=0.5, add_p=0.2, seed=3)
    seen = set(result.activity)
    assert {Activity.IDLE, Activity.BUSY, Activity.MEMORY, Activity.BANK_CONFLICT,
            Activity.OUTPUT} <= seen
    rows = 16 * 4 + 16 * 4
    assert len(result.busy()) == rows


FAULTS = [
    ("rows", {"rows": 0}, FaultCause.BAD_FIELD),
    ("columns", {"columns": 0}, FaultCause.BAD_FIELD),
    ("depth", {"depth": 0}, FaultCause.BAD_FIELD),
    ("tile_rows", {"tile_rows": 0}, FaultCause.BAD_FIELD),
    ("tile_rows", {"tile_rows": 17}, FaultCause.BAD_FIELD),
    ("tile_rows", {"tile_rows": 9, "tile_blocks": 2}, FaultCause.BAD_FIELD),
    ("tile_blocks", {"tile_blocks": 0}, FaultCause.BAD_FIELD),
    ("tile_blocks", {"tile_blocks": 5}, FaultCause.BAD_FIELD),
    ("a_type", {"a_type": 0}, FaultCause.BAD_FIELD),
    ("b_type", {"b_type": 3}, FaultCause.BAD_FIELD),
    ("out_type", {"out_type": 4}, FaultCause.BAD_FIELD),
    ("residual_type", {"residual_type": 1}, FaultCause.BAD_FIELD),
    ("residual_type", {"has_residual": 1, "out_type": 5, "residual_type": 4},
     FaultCause.BAD_FIELD),
    ("activation", {"activation": 2}, FaultCause.BAD_FIELD),
    ("float_bias", {"float_bias": 1, "out_type": 1}, FaultCause.BAD_FIELD),
    ("has_bias", {"a_type": 6, "b_type": 6, "out_type": 5, "has_bias": 1}, FaultCause.BAD_FIELD),
    ("scale_vector", {"scale_vector": 1}, FaultCause.BAD_FIELD),
    ("has_residual", {"has_residual": 1, "residual_type": 1}, FaultCause.BAD_FIELD),
    ("has_table", {"has_table": 1, "out_type": 3}, FaultCause.BAD_FIELD),
    ("has_max", {"has_max": 1}, FaultCause.BAD_FIELD),
    ("a_zero_point", {"a_type": 3, "b_type": 3, "out_type": 4, "a_zero_point": 1},
     FaultCause.BAD_FIELD),
    ("out_zero_point", {"out_zero_point": -1}, FaultCause.BAD_FIELD),
    ("reserved2", {"reserved2": 1}, FaultCause.BAD_FIELD),
    ("reserved11", {"reserved11": 16}, FaultCause.BAD_FIELD),
    ("accumulate", {"accumulate": 1, "rows": 5, "tile_rows": 4}, FaultCause.BAD_FIELD),
    ("hold", {"hold": 1, "columns": 5}, FaultCause.BAD_FIELD),
    ("a_semaphore", {"a_semaphore": 16}, FaultCause.BAD_SEMAPHORE),
    ("b_semaphore", {"b_semaphore": 255}, FaultCause.BAD_SEMAPHORE),
    ("a_address", {"a_address": 2}, FaultCause.BAD_ADDRESS),
    ("a_address", {"a_address": 1 << 14}, FaultCause.BAD_ADDRESS),
    ("b_address", {"b_address": 1 << 23}, FaultCause.BAD_ADDRESS),
    ("out_address", {"out_address": 1 << 14}, FaultCause.BAD_ADDRESS),
    ("a_pitch", {"a_pitch": 5}, FaultCause.BAD_ADDRESS),
    ("b_pitch", {"b_pitch": 6}, FaultCause.BAD_ADDRESS),
    ("out_pitch", {"out_pitch": 1 << 14}, FaultCause.BAD_ADDRESS),
]


@pytest.mark.parametrize(("field", "fields", "cause"), FAULTS,
                         ids=[f"{field}-{n}" for n, (field, _, _) in enumerate(FAULTS)])
def test_refused_commands(field, fields, cause):
    """The command before ends as usual, the one behind is never accepted."""
    matrices = Matrices(TINY, 12)
    commands = [matrices.gemm(4, 4, 4), matrices.gemm(4, 4, 4) | fields, matrices.gemm(4, 4, 4)]
    result = run(matrices, commands, expect_fault=True)
    info = 0 if cause == FaultCause.BAD_ADDRESS else GEMM.lsb[field]
    address = fields[field] if cause == FaultCause.BAD_ADDRESS else 0
    assert [entry[1:] for entry in result.done] == [(FaultCause.NONE, 0, 0), (cause, address, info)]
    assert len(result.accepted) == 2
    check_first(matrices, commands[0], result)


def check_first(matrices, values, result):
    """The first command's output is right, and nothing is written after the fault."""
    check_results(matrices, [values], result)
    assert all(cycle < result.done[-1][0] for cycle, _ in result.writes)


@pytest.mark.parametrize(("fields", "address"), [
    ({"a_pitch": 8192}, 16384 + 4),
    ({"a_pitch": 1 << 23}, None),
    ({"a_address": 16380}, 16380 + 12),
    ({"b_pitch": 4096}, 16384),
    ({"b_block_pitch": 16380}, None),
    ({"b_zero_point_vector": 1, "b_zero_point_address": 16380}, 16384),
    ({"out_pitch": 8192}, None),
    ({"has_bias": 1, "bias_address": 16380}, 16384),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_accesses_beyond_the_scratchpad(fields, address):
    """The offending access is not made; earlier commands are complete; nothing follows."""
    matrices = Matrices(TINY, 13)
    first = matrices.gemm(4, 4, 4, out_semaphore=1, release_semaphore=2)
    second = matrices.gemm(12, 12, 12, tile_rows=4)
    if "a_pitch" in fields:
        second["a_address"] = 4
    if "b_pitch" in fields:
        second["b_address"] = 0
    result = run(matrices, [first, second | fields, first], expect_fault=True, accept_p=0.8)
    assert [entry[1] for entry in result.done] == [FaultCause.NONE, FaultCause.BAD_ADDRESS]
    assert result.done[1][3] == 0
    if address is not None:
        assert result.done[1][2] == address
    assert result.done[1][2] >= TINY.sm_bytes
    check_first(matrices, first, result)
    assert [add[1:] for add in result.adds[:5]] == [(2, 1)] + [(1, 1)] * 4


def test_fault_drains_complete_tiles_first():
    """Tiles of the faulting command that were complete are written before its end, never after."""
    matrices = Matrices(TINY, 14)
    values = matrices.gemm(40, 4, 4, tile_rows=4)
    values["a_address"] = TINY.sm_bytes - 30 * 4    # rows 30 to 39 are outside
    result = run(matrices, [values], expect_fault=True, accept_p=0.7, after=100)
    assert [entry[1:3] for entry in result.done] == [(FaultCause.BAD_ADDRESS, TINY.sm_bytes)]
    assert result.writes
    assert result.writes[-1][0] < result.done[0][0]


@pytest.mark.parametrize(("at", "accept_p"), [(60, 1), (61, 1), (140, 1), (60, 0.4), (150, 0.3)])
def test_abort(at, accept_p):
    """After an abort no access is offered but those that were, and no command is accepted."""
    matrices = Matrices(TINY, 15)
    commands = [matrices.gemm(16, 16, 16, tile_rows=4), matrices.gemm(4, 4, 4)]
    result = run(matrices, commands, abort_at=at, after=120, seed=at, accept_p=accept_p,
                 delay_p=1 - accept_p)
    assert not result.done
    assert result.quiet_at is not None
    accesses = [cycle for reads in result.reads.values() for cycle, _ in reads]
    accesses += [cycle for cycle, _ in result.writes]       # answered, not asked for
    answers = [cycle for answers in result.answers.values() for cycle in answers]
    assert max(accesses) < result.quiet_at
    assert max(answers) < result.quiet_at
    if accept_p == 1:
        assert result.quiet_at <= at + 10
        assert all(cycle < at for reads in result.reads.values() for cycle, _ in reads)
