"""The array and its accumulators against NumPy, and the serial multiplication of pitches."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from xpu_rtl.configs import get_config
from xpu_rtl.tensor.accumulator import Accumulator
from xpu_rtl.tensor.array import DotArray
from xpu_rtl.tensor.steps import Steps

TINY = get_config("tiny")


@pytest.mark.parametrize("config", [TINY, get_config("ecp5")], ids=lambda config: config.name)
@pytest.mark.parametrize("seed", range(3))
def test_dot_products(config, seed):
    """Passes of random length with pauses; the next weights are loaded meanwhile."""
    dut, lanes = DotArray(config), config.lanes
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    expected, seen = [], {}

    async def bench(ctx):
        ctx.set(dut.terms, lanes)
        weights = None                  # shadow block
        loaded, rows = 0, lanes         # k rows of the shadow block, and how many it gets
        block = left = None             # block in use, rows left in its pass
        cycle, drain = 0, 0
        while drain < DotArray.LATENCY + 1:
            assert cycle < 2000
            full = loaded == rows
            enter = drain == 0 and rng.random() < 0.8 and bool(left or full)
            swap = enter and not left
            ctx.set(dut.valid, enter)
            ctx.set(dut.swap, swap)
            if swap:
                block, left = weights, rng.randint(1, 2 * lanes)
                loaded, rows = 0, rng.randint(1, lanes)
            if enter:
                left -= 1
                signed = rng.random() < 0.5
                zero = rng.randint(-128, 127) if signed else rng.randint(0, 255)
                row = draw.integers(0, 256, lanes, np.uint8)
                values = row.view(np.int8) if signed else row
                expected.append((cycle, (values.astype(int) - zero) @ block))
                ctx.set(dut.word, int.from_bytes(row.tobytes(), "little"))
                ctx.set(dut.a_signed, signed)
                ctx.set(dut.zero_point, zero)
            load = loaded < rows and rng.random() < 0.9
            ctx.set(dut.load, load)
            if load:
                new = draw.integers(-255, 256, lanes)
                weights = np.zeros((lanes, lanes), int) if loaded == 0 else weights
                weights[loaded] = new
                ctx.set(dut.load_row, loaded)
                ctx.set(dut.load_last, loaded == rows - 1)
                for n in range(lanes):
                    ctx.set(dut.load_data[n], int(new[n]))
                loaded += 1
            _, _, *sums = await ctx.tick().sample(*dut.sums)
            seen[cycle] = np.array(sums)
            cycle += 1
            drain += cycle > 300

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    assert len(expected) > 100
    for entered, right in expected:
        assert (right == seen[entered + DotArray.LATENCY]).all()


@pytest.mark.parametrize("seed", range(3))
def test_accumulator(seed):
    """Sums of both signs add up modulo 2**32 at the smallest distance; the other bank is read."""
    dut, lanes = Accumulator(TINY), TINY.lanes
    rng = random.Random(seed)
    memory = [[None] * TINY.acc_rows for _ in range(2)]
    half = 1 << 19

    async def bench(ctx):
        pipe = [None] * DotArray.LATENCY
        computed = []
        recent = []
        for bank in (0, 1, 0, 1):
            checks = [n for n in range(TINY.acc_rows) if memory[1 - bank][n]]
            for cycle in range(120):
                address = rng.randrange(6)
                last = cycle == 110
                enter = cycle < 110 and rng.random() < 0.9 and address not in recent
                enter = enter or last
                if last:
                    address = 15
                recent = [*recent, address if enter else None][1 - Accumulator.MIN_DISTANCE:]
                old = memory[bank][address]
                overwrite = old is None or rng.random() < 0.2
                ctx.set(dut.valid, enter)
                ctx.set(dut.tag, {"address": address, "bank": bank, "overwrite": overwrite,
                                  "last": last})
                sums = [rng.choice([-half, half - 1, rng.randint(-9, 9)]) for _ in range(lanes)]
                pipe.append(sums)
                for n, value in enumerate(pipe.pop(0) or [0] * lanes):
                    ctx.set(dut.sums[n], value)
                if enter:
                    memory[bank][address] = [
                        (value + (0 if overwrite else before)) % (1 << 32)
                        for value, before in zip(sums, old or [0] * lanes, strict=True)]
                asked = rng.choice(checks) if checks and rng.random() < 0.7 else None
                ctx.set(dut.port.en, asked is not None)
                ctx.set(dut.port.bank, 1 - bank)
                ctx.set(dut.port.addr, asked or 0)
                _, _, pulse = await ctx.tick().sample(dut.computed)
                if pulse:
                    computed.append(cycle)
                if asked is not None:
                    word = ctx.get(dut.port.data)
                    assert [word >> TINY.acc_width * n & 0xFFFFFFFF for n in range(lanes)] \
                        == memory[1 - bank][asked]
        assert computed == [110 + Accumulator.LATENCY] * 4

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


def test_steps():
    """Products with their guard bit, within the documented time."""
    dut = Steps(TINY.sm_addr_width + 1, TINY.acc_rows, guarded=True)
    limit = TINY.sm_words
    rng = random.Random(1)
    cases = [(rows, rng.choice([0, 1, 3, limit // 16, limit // 3, limit - 1, limit]),
              rng.randrange(2 * limit)) for rows in range(TINY.acc_rows + 1)]

    async def bench(ctx):
        for rows, *pitches in cases:
            ctx.set(dut.start, 1)
            ctx.set(dut.count, rows)
            ctx.set(dut.factor[0], pitches[0])
            ctx.set(dut.factor[1], pitches[1])
            await ctx.tick()
            ctx.set(dut.start, 0)
            for _ in range(dut.latency):
                await ctx.tick()
            assert ctx.get(dut.ready)
            for n, pitch in enumerate(pitches):
                product = rows * pitch
                got = ctx.get(dut.product[n])
                assert got >> TINY.sm_addr_width == (product >= limit)
                if product < limit:
                    assert got == product

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
