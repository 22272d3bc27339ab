"""Random GEMM commands against NumPy: shapes, types, order, waits, faults, stopping."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from common.drive import scaled, until
from support.tensor_rig import Matrices
from tensor.support import CONFIG, Rig, output_bytes
from xpu_rtl.command.formats import GEMM, ElementType, FaultCause
from xpu_rtl.command.types import Activity

OUT_TYPES = (ElementType.INT32, ElementType.INT8, ElementType.UINT8)

LANES, WORD = CONFIG.lanes, CONFIG.word_bytes
FULL = CONFIG.sm_bytes // 4         # a command that finds less free scratchpad may not fit


def random_command(matrices, rng, *, size=3 * LANES + 1, **fields):
    tile_blocks = rng.choice([1, 1, 2, CONFIG.tile_blocks])
    return matrices.gemm(
        rng.randint(1, size), rng.randint(1, size), rng.randint(1, size),
        tile_rows=rng.randint(1, CONFIG.acc_rows // tile_blocks), tile_blocks=tile_blocks,
        a_signed=rng.random() < 0.5, b_signed=rng.random() < 0.5,
        zero_points=rng.random() < 0.5, vector=rng.random() < 0.4,
        column_order=rng.randint(0, 1), out_type=rng.choice(OUT_TYPES),
        has_bias=rng.random() < 0.4, scale_vector=rng.random() < 0.4,
        use_relu=rng.random() < 0.3, spread=rng.choice([0, 0, 1, 3]),
        release_semaphore=rng.choice([0, 1]), out_semaphore=rng.choice([0, 2]), **fields)


def random_program(rng, make=random_command):
    """Fill the scratchpad with commands and their operands."""
    matrices = Matrices(CONFIG, rng.getrandbits(32))
    commands = []
    while CONFIG.sm_bytes - matrices.free * WORD > FULL:
        commands.append(make(matrices, rng))
    return matrices, commands


async def program(rig, **kwargs):
    matrices, commands = random_program(rig.rng, **kwargs)
    await rig.fill(matrices.memory)
    rig.issue(commands)
    await rig.finish()
    await rig.check(matrices.expected)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_products(dut):
    rig = await Rig.create(dut, "products")
    for _ in range(scaled(3)):
        await program(rig)
        await rig.restart()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_products_with_disturbance(dut):
    """Another requester takes banks, additions and commands stall."""
    rig = await Rig.create(dut, "disturbed", rough=0.5)
    for _ in range(scaled(3)):
        await program(rig)
        await rig.restart()


def chain(matrices, rng):
    """Commands that leave their sums in the accumulators, and one that takes them out."""
    m, n = rng.randint(1, LANES + 1), rng.randint(1, 2 * LANES)
    blocks, parts = -(-n // LANES), rng.randint(2, 4)
    return [matrices.gemm(m, n, rng.randint(1, 2 * LANES + 1), tile_blocks=blocks,
                          hold=part < parts - 1, accumulate=part > 0,
                          zero_points=rng.random() < 0.5, a_signed=rng.random() < 0.5,
                          release_semaphore=1, out_semaphore=2)
            for part in range(parts)]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def sums_kept_between_commands(dut):
    rig = await Rig.create(dut, "chains", rough=0.2)
    matrices, commands = Matrices(CONFIG, rig.rng.getrandbits(32)), []
    while CONFIG.sm_bytes - matrices.free * WORD > FULL:
        commands += chain(matrices, rig.rng)
    await rig.fill(matrices.memory)
    rig.issue(commands)
    await rig.finish()
    await rig.check(matrices.expected)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def operands_arrive_while_it_runs(dut):
    """Rows of A and column tiles of B are written just before their semaphores say so."""
    rig = await Rig.create(dut, "arrive", rough=0.2)
    rng, modulus = rig.rng, 1 << CONFIG.semaphore_width
    a_base, b_base = modulus - 3, 17
    for tile_blocks, order in ((1, 0), (2, 0), (1, 1)):
        matrices = Matrices(CONFIG, rng.getrandbits(32))
        rig.semaphores[6] = rig.semaphores[7] = 0
        rows, columns = 5 * LANES // 2, 5 * LANES - 1
        values = matrices.gemm(
            rows, columns, 2 * LANES + 1, tile_rows=LANES - 1, tile_blocks=tile_blocks,
            column_order=order, a_semaphore=6, a_value=a_base, b_semaphore=7, b_value=b_base,
            out_semaphore=2)
        hidden = matrices.memory.copy()
        a_rows = [slice(at, at + 3 * WORD) for at in
                  range(values["a_address"], values["a_address"] + rows * values["a_pitch"],
                        values["a_pitch"])]
        tile = tile_blocks * values["b_block_pitch"]
        end = values["b_address"] + -(-columns // LANES) * values["b_block_pitch"]
        b_tiles = [slice(at, min(at + tile, end))
                   for at in range(values["b_address"], end, tile)]
        for part in a_rows + b_tiles:
            hidden[part] ^= 0xA5
        rig.semaphores[6], rig.semaphores[7] = a_base - 1, b_base - 1
        await rig.fill(hidden)
        rig.issue([values])
        # A waits for `a_value + rows` of a tile's end, B for `b_value` + number of the tile.
        arrivals = ([(6, a_base + n + 1, part) for n, part in enumerate(a_rows)],
                    [(7, b_base + n, part) for n, part in enumerate(b_tiles)])
        rig.semaphores[6] = a_base
        while any(arrivals):
            number, value, part = rng.choice([one for one in arrivals if one]).pop(0)
            await rig.host.write(part.start, matrices.memory[part])
            rig.semaphores[number] = value % modulus
            await ClockCycles(dut.clk, rng.randint(1, 30))
        rig.memory = matrices.memory
        await rig.finish()
        await rig.check(matrices.expected)
        await rig.restart()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def released_operands_are_not_read_again(dut):
    """The operands of a command are overwritten as soon as it releases them."""
    rig = await Rig.create(dut, "release", rough=0.3)
    rng, commands, tasks = rig.rng, [], []
    matrices = Matrices(CONFIG, rng.getrandbits(32))
    while CONFIG.sm_bytes - matrices.free * WORD > FULL:
        blocks = rng.choice((1, 2))
        commands.append(matrices.gemm(
            rng.randint(1, 12), rng.randint(1, 12), rng.randint(1, 20), tile_blocks=blocks,
            tile_rows=rng.randint(1, CONFIG.acc_rows // blocks), release_semaphore=5,
            column_order=rng.randint(0, 1)))
    free = matrices.memory.copy()
    waiting = list(commands)

    def released(semaphore, _):
        values = waiting.pop(0)
        depth_words = -(-values["depth"] // LANES)
        parts = [(values["a_address"], values["rows"] * depth_words * WORD),
                 (values["b_address"], -(-values["columns"] // LANES) * values["b_block_pitch"])]
        for at, size in parts:
            free[at:at + size] = 0x33
            tasks.append(cocotb.start_soon(rig.host.write(at, bytes([0x33]) * size)))

    rig.on_add = released
    await rig.fill(matrices.memory)
    rig.issue(commands)
    await rig.finish()
    for task in tasks:
        await task
    rig.memory = free
    await rig.check(matrices.expected)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def output_is_written_when_it_says_so(dut):
    """Rows added to the output semaphore are in the scratchpad, for any reader."""
    rig = await Rig.create(dut, "output")
    rng, tasks = rig.rng, []
    matrices = Matrices(CONFIG, rng.getrandbits(32))
    rows, columns = 60, 2 * LANES - 1
    values = matrices.gemm(rows, columns, 6 * LANES, tile_blocks=2, tile_rows=3, out_semaphore=8,
                           out_type=ElementType.UINT8, has_bias=True)
    done = 0

    async def look(at):
        """The row's last word first: it is the last to be written."""
        for part in (range(LANES, columns), range(LANES)):
            found = await rig.host.read(at + part.start, len(part))
            assert found.tolist() == [matrices.expected[at + n] for n in part], hex(at)

    def written(semaphore, amount):
        nonlocal done
        for row in range(done, done + amount):
            at = values["out_address"] + row * values["out_pitch"]
            tasks.append(cocotb.start_soon(look(at)))
        done += amount

    rig.on_add = written
    await rig.fill(matrices.memory)
    rig.noise.disturb = 0.8         # holds up the unit's writes
    rig.issue([values])
    await rig.finish()
    assert done == rows
    for task in tasks:
        await task
    await rig.check(matrices.expected)


async def gaps_of(rig, matrices, commands):
    """Run commands; return the activity of the cycles in which no row entered the array."""
    await rig.fill(matrices.memory)
    rig.semaphores[1] = rig.semaphores[2] = 1000
    rig.activity.clear()
    rig.issue(commands)
    await rig.finish()
    await rig.check(matrices.expected)
    busy = rig.busy()
    rows = sum(c["rows"] * -(-c["columns"] // LANES) * -(-c["depth"] // LANES) for c in commands)
    assert len(busy) == rows
    return rows, [Activity(what) for what in rig.activity[busy[0]:busy[-1] + 1]
                  if what != Activity.BUSY.value]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def no_idle_cycle(dut):
    """Passes, tiles and commands of different shapes follow each other without a gap."""
    rig = await Rig.create(dut, "idle")
    matrices, tall = Matrices(CONFIG, 7), CONFIG.acc_rows
    deep = 7 * LANES                # so that the output keeps up
    rows, gaps = await gaps_of(rig, matrices, [
        matrices.gemm(tall, LANES, deep, out_type=ElementType.INT8),
        matrices.gemm(tall, LANES, deep - 1, out_type=ElementType.INT8, zero_points=True),
        matrices.gemm(2 * tall, LANES, deep, tile_rows=tall, out_type=ElementType.UINT8),
        matrices.gemm(tall, LANES, 5 * LANES, hold=True),
        matrices.gemm(tall, LANES, 9 * LANES, accumulate=True, out_type=ElementType.UINT8),
        matrices.gemm(tall, 2 * LANES, deep, tile_blocks=2, tile_rows=tall // 2, column_order=1,
                      out_type=ElementType.UINT8, a_semaphore=1, b_semaphore=2),
    ])
    assert not gaps, f"{len(gaps)} in {rows}: {set(gaps)}"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def short_passes(dut):
    """Passes as short as possible need a weight word per cycle: only their reads may lag."""
    rig = await Rig.create(dut, "short")
    matrices = Matrices(CONFIG, 7)
    rows, gaps = await gaps_of(rig, matrices, [
        matrices.gemm(2 * LANES, 2 * LANES, 7 * LANES, tile_rows=LANES, column_order=order,
                      out_type=ElementType.UINT8, a_semaphore=1, b_semaphore=2)
        for order in (0, 1)])
    assert set(gaps) <= {Activity.MEMORY, Activity.BANK_CONFLICT}, set(gaps)
    assert len(gaps) < rows / CONFIG.sm_banks, f"{len(gaps)} gaps in {rows} rows"


FAULTS = (
    ("rows", {"rows": 0}), ("columns", {"columns": 0}), ("depth", {"depth": 0}),
    ("tile_rows", {"tile_rows": CONFIG.acc_rows + 1}),
    ("tile_blocks", {"tile_blocks": CONFIG.tile_blocks + 1}), ("out_type", {"out_type": 3}),
    ("reserved2", {"reserved2": 1}), ("reserved3", {"reserved3": 16}),
    ("hold", {"hold": 1, "columns": 5 * LANES}),
    ("a_semaphore", {"a_semaphore": CONFIG.semaphores}),
    ("b_semaphore", {"b_semaphore": 255}),
    ("a_address", {"a_address": 2}), ("a_address", {"a_address": CONFIG.sm_bytes}),
    ("b_address", {"b_address": 1 << 31}), ("b_pitch", {"b_pitch": WORD + 1}),
    ("out_address", {"out_address": CONFIG.sm_bytes}),
)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def refused_commands(dut):
    """The exact report; the command before is complete, the one behind is not accepted."""
    rig = await Rig.create(dut, "refused", rough=0.2)
    matrices = Matrices(CONFIG, rig.rng.getrandbits(32))
    good = matrices.gemm(LANES, LANES, LANES)
    await rig.fill(matrices.memory)
    for name, fields in FAULTS:
        cause = (FaultCause.BAD_SEMAPHORE if "semaphore" in name else FaultCause.BAD_ADDRESS
                 if "address" in name or "pitch" in name else FaultCause.BAD_FIELD)
        report = ((cause, fields[name], 0) if cause is FaultCause.BAD_ADDRESS else
                  (cause, 0, GEMM.lsb[name]))
        rig.issue([good, good | fields, good])
        await until(dut, lambda: len(rig.reports) == 2, f"{fields} ends", cycles=2000)
        await ClockCycles(dut.clk, 100)
        assert rig.reports == [(FaultCause.NONE, 0, 0), report], fields
        assert rig.source.sent == 2, fields
        await rig.restart()
    rig.commands = [good]
    await rig.check(matrices.expected)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def accesses_beyond_the_scratchpad(dut):
    """Rows or blocks that leave the scratchpad: a fault, and nothing outside the output changes."""
    rig = await Rig.create(dut, "beyond", rough=0.2)
    for fields in ({"a_pitch": CONFIG.sm_bytes // 2}, {"b_block_pitch": CONFIG.sm_bytes - WORD},
                   {"out_pitch": CONFIG.sm_bytes // 2},
                   {"has_bias": 1, "bias_address": CONFIG.sm_bytes - WORD}):
        matrices = Matrices(CONFIG, rig.rng.getrandbits(32))
        good = matrices.gemm(LANES, LANES, LANES)
        values = matrices.gemm(3 * LANES, 3 * LANES, 3 * LANES, tile_rows=LANES)
        await rig.fill(matrices.memory)
        rig.issue([good, values | fields, good])
        await until(dut, lambda: len(rig.reports) == 2, f"{fields} ends", cycles=5000)
        await ClockCycles(dut.clk, 100)
        assert rig.reports[0][0] is FaultCause.NONE
        cause, address, info = rig.reports[1]
        assert (cause, info) == (FaultCause.BAD_ADDRESS, 0), fields
        assert address >= CONFIG.sm_bytes, fields
        found = await rig.contents()
        free = ~(output_bytes(good) | output_bytes(values | fields))
        assert np.array_equal(found[free], matrices.memory[free]), fields
        good_only = [at for at in matrices.expected if output_bytes(good)[at]]
        assert all(found[at] == matrices.expected[at] for at in good_only), fields
        await rig.restart()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def stop_at_any_time(dut):
    """After an abort and reset at a random moment the next commands are exact."""
    rig = await Rig.create(dut, "abort", rough=0.3)
    for _ in range(scaled(3)):
        matrices, commands = random_program(rig.rng)
        await rig.fill(matrices.memory)
        rig.issue(commands)
        await ClockCycles(dut.clk, rig.rng.randint(1, 700))
        dut.tensor_abort.value = 1
        await RisingEdge(dut.clk)
        await until(dut, lambda: int(dut.tensor_quiet.value), "quiet", cycles=500)
        await ClockCycles(dut.clk, rig.rng.randint(1, 10))
        await rig.restart()
    await program(rig)
