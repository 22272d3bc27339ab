"""``FloatAdd`` against the host's IEEE arithmetic."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from xpu_rtl.float.add import FloatAdd
from xpu_rtl.numerics import canonical

LANES = 16


def corners():
    bits = [0, 1, 2, 0x007F_FFFF, 0x0080_0000, 0x0080_0001, 0x3F80_0000, 0x3F80_0001, 0x3F7F_FFFF,
            0x4000_0000, 0x7F7F_FFFF, 0x7F7F_FFFE, 0x7F00_0000, 0x7F80_0000, 0x7FC0_0000,
            0x7F80_0001, 0x7FFF_FFFF, 0x3380_0000, 0x3400_0000, 0x33FF_FFFF, 0x4B80_0000,
            0x4B7F_FFFF, 0x0100_0000, 0x00FF_FFFF]
    return np.array(bits + [value | 1 << 31 for value in bits], np.uint32)


def near(rng, count):
    """Pairs of exponents close to each other and opposite signs: cancellation and ties."""
    a = rng.integers(0, 1 << 32, count, np.uint32)
    exponent = np.clip((a >> 23 & 255).astype(np.int64) + rng.integers(-26, 27, count), 0, 254)
    fraction = np.where(rng.random(count) < 0.5, rng.integers(0, 1 << 23, count),
                        (1 << rng.integers(0, 24, count)) - 1)
    b = (rng.integers(0, 2, count) << 31 | exponent << 23 | fraction).astype(np.uint32)
    return a, b


def pairs(rng, count):
    some = corners()
    a, b = (side.ravel() for side in np.meshgrid(some, some))
    c, d = near(rng, count)
    return np.concatenate([a, c]), np.concatenate([b, d])


@pytest.mark.parametrize("seed", range(2))
def test_sums(seed):
    rng = np.random.default_rng(seed)
    a, b = pairs(rng, 6000)
    count = len(a) // LANES * LANES
    a, b = a[:count].reshape(-1, LANES), b[:count].reshape(-1, LANES)
    with np.errstate(all="ignore"):
        expected = canonical(a.view(np.float32) + b.view(np.float32)).view(np.uint32)
    dut, results = FloatAdd(LANES), []

    async def bench(ctx):
        sent = 0
        while len(results) < len(a):
            enter = sent < len(a) and rng.random() < 0.9
            ctx.set(dut.i.valid, enter)
            if enter:
                for n in range(LANES):
                    ctx.set(dut.i.p.a[n], int(a[sent, n]))
                    ctx.set(dut.i.p.b[n], int(b[sent, n]))
                sent += 1
            await ctx.tick()
            if ctx.get(dut.o.valid):
                results.append([ctx.get(dut.o.p[n]) for n in range(LANES)])

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    results = np.array(results, np.uint32)
    wrong = np.argwhere(results != expected)
    assert not len(wrong), [(hex(a[*w]), hex(b[*w]), hex(results[*w]), hex(expected[*w]))
                            for w in wrong[:5]]


def test_latency():
    dut = FloatAdd(1)

    async def bench(ctx):
        ctx.set(dut.i.p.a[0], 0x3F80_0000)
        ctx.set(dut.i.p.b[0], 0x3F80_0000)
        ctx.set(dut.i.valid, 1)
        for cycle in range(FloatAdd.LATENCY):
            assert not ctx.get(dut.o.valid), cycle
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
        assert ctx.get(dut.o.valid)
        assert ctx.get(dut.o.p[0]) == 0x4000_0000
        await ctx.tick()
        assert not ctx.get(dut.busy)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
