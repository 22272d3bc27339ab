"""FP16 and BF16 dot products of the array against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from amaranth.sim import Simulator

from xpu.tensor import DTYPES
from xpu_rtl.configs import get_config
from xpu_rtl.numerics import dot_float
from xpu_rtl.params import XpuConfig
from xpu_rtl.tensor.float_dot import FloatDot

CONFIGS = [get_config("tiny"), XpuConfig(name="dot", lanes=16, epilogue_lanes=4)]
SPECIAL = {"float16": [0, 1, 0x3FF, 0x400, 0x3C00, 0x7BFF, 0x7C00, 0x7E00, 0x7C01],
           "bfloat16": [0, 1, 0x7F, 0x80, 0x3F80, 0x7F7F, 0x7F80, 0x7FC0, 0x7F81]}


def values(rng, dtype, shape, kind):
    """Bit patterns: any; corners; or numbers of similar size, whose sums round and cancel."""
    if kind == "any":
        bits = rng.integers(0, 1 << 16, shape)
    elif kind == "corners":
        bits = rng.choice(SPECIAL[dtype], shape) | rng.integers(0, 2, shape) << 15
    else:
        bits = (rng.normal(size=shape) * np.exp2(rng.integers(-3, 4, shape))).astype(
            DTYPES[dtype]).view(np.uint16)
    return bits.astype(np.uint16).view(DTYPES[dtype])


def exact(a, b):
    """The definition in fractions, for finite operands: window of 56 bits, one rounding."""
    products = [Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True)]
    exponents = [_exponent(x) + _exponent(y) for x, y, p in zip(a, b, products, strict=True) if p]
    if not exponents:
        return np.float32(0)
    last = Fraction(2) ** (max(exponents) - 34)
    total = sum((int(abs(p) / last) * (1 if p > 0 else -1) for p in products), 0) * last
    return _to_float32(total)


def _exponent(value):
    """Exponent of the last of 11 significand bits, as the type's field has it."""
    bits = int(value.view(np.uint16))
    if value.dtype == np.float16:
        return max(bits >> 10 & 31, 1) - 15 - 10
    return max(bits >> 7 & 255, 1) - 127 - 10


def _to_float32(total):
    """Round a fraction to nearest, ties to even."""
    if not total:
        return np.float32(0)
    magnitude, exponent = abs(total), -149
    while magnitude / Fraction(2) ** exponent >= 1 << 24:
        exponent += 1
    units = magnitude / Fraction(2) ** exponent
    whole = units.numerator // units.denominator
    rest = units - whole
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole & 1)
    result = Fraction(whole) * Fraction(2) ** exponent
    value = np.float32(np.inf) if result >= Fraction(2) ** 128 else np.float32(float(result))
    return -value if total < 0 else value


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_golden_model_is_the_definition(dtype):
    rng = np.random.default_rng(1)
    for kind in ("any", "near", "corners"):
        a, b = (values(rng, dtype, (300, 8), kind) for _ in range(2))
        found = dot_float(a, b)
        for n in range(len(a)):
            if np.isfinite(a[n].astype(np.float32)).all() and np.isfinite(
                    b[n].astype(np.float32)).all():
                assert found[n].view(np.uint32) == exact(a[n], b[n]).view(np.uint32), (a[n], b[n])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dot_products(config, dtype):
    rng = np.random.default_rng(2)
    dut, terms, lanes = FloatDot(config), config.wide_lanes, config.lanes
    count = 120 if lanes > 4 else 600
    expected, results = [], []

    async def bench(ctx):
        weights, left = None, 0
        ctx.set(dut.bfloat, dtype == "bfloat16")
        while len(results) < count:
            await ctx.delay(0)
            enter = len(expected) < count and rng.random() < 0.9
            ctx.set(dut.valid, enter)
            ctx.set(dut.swap, enter and not left)
            if enter:
                kind = ("any", "near", "corners")[len(expected) % 3]
                if not left:
                    left = int(rng.integers(1, 6))
                    weights = values(rng, dtype, (terms, lanes), kind)
                    for k in range(terms):
                        for n in range(lanes):
                            ctx.set(dut.weights[k * lanes + n], int(weights[k, n].view(np.uint16)))
                left -= 1
                word, there = values(rng, dtype, terms, kind), int(rng.integers(0, terms + 1))
                word[there:] = 0
                ctx.set(dut.word, int.from_bytes(word.tobytes(), "little"))
                ctx.set(dut.counts, (1 << there) - 1)
                expected.append(dot_float(word[:there], weights[:there].T) if there
                                else np.zeros(lanes, np.float32))
            arrived.append(enter)
            await ctx.tick()
            if len(arrived) >= FloatDot.LATENCY and arrived[-FloatDot.LATENCY]:
                results.append([ctx.get(dut.sums[n]) for n in range(lanes)])

    arrived = []
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    np.testing.assert_array_equal(np.array(results, np.uint32),
                                  np.array(expected).view(np.uint32))
