import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator

from xpu_rtl.configs import get_config
from xpu_rtl.tensor.requantize import RequantizeInput, Requantizer

INT32 = np.iinfo(np.int32)


def golden(acc, scale, zero_point, out_signed):
    """Straight from the definition, with NumPy's own binary32 arithmetic."""
    with np.errstate(over="ignore", under="ignore"):
        product = np.int32(acc).astype(np.float32) * np.float32(scale)
    value = np.rint(product).astype(np.float64) + zero_point
    return np.clip(value, -128 if out_signed else 0, 127 if out_signed else 255).astype(np.int64)


def corner_accs():
    values = {0, INT32.min, INT32.max, INT32.min + 1}
    for bit in range(32):
        for near in (-1, 0, 1):
            values |= {(1 << bit) + near, -(1 << bit) + near}
    for bit in (23, 24, 27, 30):  # halfway cases of the conversion to float32
        for odd in (0, 1, 2, 3):
            values |= {sign * ((1 << bit) + (2 * odd + 1) * (1 << bit - 24) + near)
                       for sign in (-1, 1) for near in (-1, 0, 1) if bit > 23}
    values |= {sign * value for sign in (-1, 1) for value in (5, 6, 10, 100, 300)}
    return sorted(value for value in values if INT32.min <= value <= INT32.max)


def corner_scales(rng):
    bits = {0x00000001, 0x00000002, 0x007FFFFF, 0x00400000, 0x00800000, 0x00800001, 0x7F7FFFFF,
            0x7F000000, 0x3F800000, 0x3F800001, 0x3F7FFFFF, 0x3F000000, 0x3F000001, 0x3EFFFFFF,
            0x30000000, 0x2F800000, 0x2F7FFFFF, 0x4F800000}
    bits |= {int(np.float32(2.0 ** -k).view(np.uint32)) for k in range(0, 40)}
    bits |= {int(np.float32(1 / k).view(np.uint32)) for k in (3, 5, 7, 127, 255, 1000)}
    bits |= {int(value) for value in rng.integers(1, 0x7F800000, 8)}
    return np.array(sorted(bits), dtype=np.uint32).view(np.float32)


def tie_makers(rng, count):
    """Pairs whose product lies next to n + 1/2: where the second rounding decides."""
    acc = rng.integers(1, 1 << rng.integers(1, 32, count), dtype=np.int64)
    target = rng.integers(0, 300, count) + 0.5
    scale = (target / acc).astype(np.float32)
    bits = scale.view(np.uint32).astype(np.int64) + rng.integers(-2, 3, count)
    return acc * rng.choice([-1, 1], count), bits.astype(np.uint32).view(np.float32)


def run(dut, lanes, accs, scales, zero_points, out_signed, *, gaps=0.0, seed=0):
    """Send the pairs in groups of ``lanes``; return the bytes and the cycles of both ends."""
    layout = dut.i.payload.shape()
    groups = len(accs) // lanes
    assert groups * lanes == len(accs)
    rng = np.random.default_rng(seed)
    bubbles = rng.random(groups) < gaps
    # One integer per group: setting a structured payload is slow.
    words = []
    for group in range(groups):
        part = slice(group * lanes, (group + 1) * lanes)
        word = 0
        for lane, (acc, bits) in enumerate(zip(accs[part], scales[part].view(np.uint32),
                                               strict=True)):
            word |= (int(acc) & 0xFFFFFFFF) << 32 * lane
            word |= int(bits) << 32 * (lanes + lane)
        word |= (int(zero_points[group]) & 0x1FF) << 64 * lanes
        word |= int(out_signed[group]) << (64 * lanes + 9)
        words.append(word)
    assert layout.size == 64 * lanes + 10
    outputs, in_cycles, out_cycles = [], [], []

    async def source(ctx):
        payload = dut.i.payload.as_value()
        for group in range(groups):
            if bubbles[group]:
                ctx.set(dut.i.valid, 0)
                await ctx.tick().repeat(int(rng.integers(1, 4)))
            ctx.set(payload, words[group])
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        cycle = 0
        while len(outputs) < groups:
            _, _, i_valid, o_valid, value, busy = await ctx.tick().sample(
                dut.i.valid, dut.o.valid, dut.o.payload.as_value(), dut.busy)
            assert busy == (len(in_cycles) > len(outputs))
            if i_valid:
                in_cycles.append(cycle)
            if o_valid:
                outputs.append(int(value).to_bytes(lanes, "little"))
                out_cycles.append(cycle)
            cycle += 1
            assert cycle < 6 * groups + 50

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    sim.run()
    return np.frombuffer(b"".join(outputs), dtype=np.uint8), in_cycles, out_cycles


def check(lanes, accs, scales, *, seed, **kwargs):
    rng = np.random.default_rng(seed)
    pad = -len(accs) % lanes
    accs = np.concatenate([np.asarray(accs, dtype=np.int64), np.zeros(pad, np.int64)])
    scales = np.concatenate([scales, np.ones(pad, np.float32)])
    groups = len(accs) // lanes
    out_signed = rng.integers(0, 2, groups)
    zero_points = rng.integers(0, 256, groups) - 128 * out_signed
    zero_points[rng.random(groups) < 0.3] = 0
    config = dataclasses.replace(get_config("slice"), epilogue_lanes=lanes)
    got, *cycles = run(Requantizer(config), lanes, accs, scales, zero_points, out_signed, **kwargs)
    lane_signed = out_signed.repeat(lanes).astype(bool)
    expected = np.where(lane_signed, golden(accs, scales, zero_points.repeat(lanes), True),
                        golden(accs, scales, zero_points.repeat(lanes), False))
    wrong = np.flatnonzero((got.astype(np.int64) - expected) & 0xFF)
    assert not len(wrong), [(int(accs[n]), float(scales[n]).hex(), int(expected[n]), int(got[n]))
                            for n in wrong[:5]]
    return cycles


def test_simple_values():
    accs = np.array([10, -10, 5, 7, 100, -100, 1000, -1000])
    config = get_config("slice")
    got, *_ = run(Requantizer(config), 8, accs, np.full(8, 0.5, np.float32), [3], [1])
    assert got.view(np.int8).tolist() == [8, -2, 5, 7, 53, -47, 127, -128]


def test_corner_accs_times_corner_scales():
    scales = corner_scales(np.random.default_rng(1))
    accs = corner_accs()
    pairs = np.array([(acc, n) for acc in accs for n in range(len(scales))])
    check(16, pairs[:, 0], scales[pairs[:, 1]], seed=1)


def test_random_pairs():
    rng = np.random.default_rng(2)
    count = 16_000
    accs = rng.integers(-1 << 31, 1 << 31, count) >> rng.integers(0, 32, count)
    exponents = rng.uniform(-12, 9, count) - np.log2(np.abs(accs) + 1)
    scales = np.exp2(exponents).astype(np.float32)
    check(16, accs, scales, seed=2)


def test_products_next_to_ties():
    accs, scales = tie_makers(np.random.default_rng(3), 16_000)
    once = np.rint(accs * scales.astype(np.float64))  # rounded once: must not be the same thing
    twice = np.rint(accs.astype(np.float32) * scales)
    assert (once != twice).sum() > 100
    check(16, accs, scales, seed=3)


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_gaps(lanes):
    accs, scales = tie_makers(np.random.default_rng(lanes), 60 * lanes)
    check(lanes, accs, scales, seed=4, gaps=0.5)


def test_latency_and_throughput_as_documented():
    accs, scales = tie_makers(np.random.default_rng(5), 2 * 40)
    in_cycles, out_cycles = check(2, accs, scales, seed=5)
    assert [o - i for i, o in zip(in_cycles, out_cycles, strict=True)] == 40 * [Requantizer.LATENCY]
    assert in_cycles[-1] - in_cycles[0] == 39


def test_payload_round_trips():
    layout = RequantizeInput(get_config("tiny"))
    const = layout.const({"acc": [-1, 5], "scale": [1, 2], "zero_point": -3, "out_signed": 1})
    assert list(layout.from_bits(const.as_bits()).acc) == [-1, 5]
