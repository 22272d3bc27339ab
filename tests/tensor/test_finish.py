"""``FinishLanes`` against the golden model: every kind of sum, step and output type."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from xpu_rtl.command.formats import Activation, ElementType
from xpu_rtl.configs import get_config
from xpu_rtl.numerics import dtype_of, finish, wrap_int32, wrap_int48
from xpu_rtl.tensor.finish import FinishLanes
from xpu_rtl.tensor.types import Kind

TINY = get_config("tiny")
OUTPUTS = (ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.FP32,
           ElementType.FP16, ElementType.BF16)
SPECIAL = np.array([0, 1, 0x7F_FFFF, 0x80_0000, 0x3F80_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7FC0_0000,
                    0x4EFF_FFFF, 0x3F00_0000, 0x42FE_0000, 0x42FF_0000], np.uint32)


def floats(rng, size):
    """Ordinary numbers, any bit patterns, and corners."""
    ordinary = (rng.normal(size=size) * np.exp2(rng.integers(-4, 12, size))).astype(np.float32)
    anything = rng.integers(0, 1 << 32, size, np.uint32).view(np.float32)
    corner = (rng.choice(SPECIAL, size) | rng.integers(0, 2, size).astype(np.uint32) << 31).view(
        np.float32)
    kind = rng.integers(0, 6, size)
    return np.where(kind == 0, anything, np.where(kind == 1, corner, ordinary))


def draw(rng, kind, lanes, count):
    """Settings as ``finish`` takes them, and groups of operands."""
    if kind in (Kind.FP16, Kind.BF16):
        sums = floats(rng, (count, lanes))
    else:
        width = 32 if kind == Kind.INT8 else 48
        sums = rng.integers(-1 << width - 1, 1 << width - 1, (count, lanes)) >> rng.integers(
            0, width - 1, (count, lanes))
        sums = wrap_int32(sums) if kind == Kind.INT8 else wrap_int48(sums)
    out = OUTPUTS[rng.integers(len(OUTPUTS))]
    settings = {"out_type": out, "activation": Activation(int(rng.integers(4))),
                "low": np.float32(rng.uniform(-2, 1)), "high": np.float32(rng.uniform(1, 99))}
    settings["scale"] = np.exp2(rng.uniform(-30, 4, lanes)).astype(np.float32)
    bias = rng.integers(3)
    if bias == 1:
        settings["float_bias"] = floats(rng, lanes)
    elif bias == 2 and sums.dtype != np.float32:
        settings["bias"] = rng.integers(-1 << 31, 1 << 31, lanes).astype(np.int32)
    if dtype_of(out).kind in "iu":
        limits = np.iinfo(dtype_of(out))
        settings["out_zero_point"] = int(rng.integers(limits.min, limits.max + 1))
    if rng.random() < 0.6:
        element = OUTPUTS[rng.integers(len(OUTPUTS))]
        dtype = dtype_of(element)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            settings["residual"] = rng.integers(limits.min, limits.max + 1,
                                                sums.shape).astype(dtype)
            settings["residual_zero_point"] = int(rng.integers(limits.min, limits.max + 1))
        else:
            with np.errstate(over="ignore"):
                settings["residual"] = floats(rng, sums.shape).astype(dtype)
        settings["residual_scale"] = np.float32(np.exp2(rng.uniform(-5, 5)))
        settings["residual_type"] = element
    return sums, settings


def bare(activation, out_type):
    """Corners of FP32 sums and nothing but an activation: signs of zeros, infinities, NaN."""
    sums = np.concatenate([SPECIAL, SPECIAL | np.uint32(1 << 31)]).view(np.float32)
    return sums.reshape(-1, TINY.epilogue_lanes), {
        "out_type": out_type, "activation": activation, "low": np.float32(-0.5),
        "high": np.float32(2), "scale": np.ones(TINY.epilogue_lanes, np.float32)}


def bits(value):
    return int(np.asarray(value).reshape(1).view(f"u{np.asarray(value).dtype.itemsize}")[0])


@pytest.mark.parametrize("kind", list(Kind))
def test_results(kind):
    rng = np.random.default_rng(kind.value)
    dut, lanes = FinishLanes(TINY), TINY.epilogue_lanes
    tiles = [draw(rng, kind, lanes, 6) for _ in range(60)]
    if kind in (Kind.FP16, Kind.BF16):
        tiles += [bare(activation, out) for activation in Activation for out in OUTPUTS]

    async def bench(ctx):
        for sums, settings in tiles:
            which = int(rng.integers(2))
            target = dut.settings[which]
            ctx.set(target.kind, kind)
            for name in ("float_bias", "has_residual"):
                ctx.set(target[name], name.removeprefix("has_") in settings)
            for name in ("residual_type", "residual_zero_point", "out_zero_point"):
                ctx.set(target[name], int(settings.get(name, 0)))
            for name in ("residual_scale", "low", "high"):
                ctx.set(target[name], bits(np.float32(settings.get(name, 0))))
            ctx.set(target.activation, settings["activation"].value)
            ctx.set(target.out_type, settings["out_type"].value)
            results, magnitudes = [], []
            for step in range(len(sums) + FinishLanes.LATENCY):
                ctx.set(dut.i.valid, step < len(sums))
                ctx.set(dut.i.p.setting, which)
                ctx.set(dut.i.p.tag, step)
                for n in range(lanes if step < len(sums) else 0):
                    acc = sums[step, n]
                    ctx.set(dut.i.p.acc[n], int(acc.view(np.int32)) if sums.dtype == np.float32
                            else int(acc))
                    bias = settings.get("float_bias", settings.get("bias"))
                    ctx.set(dut.i.p.bias[n], 0 if bias is None else bits(bias[n]))
                    ctx.set(dut.i.p.scale[n], bits(settings["scale"][n]))
                    ctx.set(dut.i.p.residual[n], bits(settings["residual"][step, n])
                            if "residual" in settings else 0)
                await ctx.tick()
                assert ctx.get(dut.o.valid) == (step >= FinishLanes.LATENCY - 1 and len(
                    results) < len(sums))
                if ctx.get(dut.o.valid):
                    assert ctx.get(dut.o.p.tag) == len(results)
                    results.append([ctx.get(dut.o.p.elements[n]) for n in range(lanes)])
                    magnitudes.append([ctx.get(dut.o.p.magnitude[n]) for n in range(lanes)])
            arguments = {name: value for name, value in settings.items() if name != "residual_type"}
            expected, largest = finish(sums, **arguments)
            size = expected.dtype.itemsize
            found = np.array(results, np.uint32) & np.uint32((1 << 8 * size) - 1)
            np.testing.assert_array_equal(found, expected.view(f"u{size}"), err_msg=str(settings))
            assert np.max(magnitudes) == bits(largest)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
