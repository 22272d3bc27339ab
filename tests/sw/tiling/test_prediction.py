"""The cost model against the RTL: the cycles it predicts of the plan the driver chooses."""

import argparse
import sys

import pytest

import xpu
from xpu.cli import bench_conv2d, bench_matmul
from xpu.cli.bench import add_arguments
from xpu.tiling import choose_plan

pytestmark = pytest.mark.cosim

SHAPES = [
    "16x16x16", "64x64x64", "128x128x64", "128x64x128", "128x128x128", "100x100x300", "197x64x197",
    "1x512x512", "256x256x256", "64x64x64 float16", "100x128x128 float16", "128x256x64 int16",
    "1x14x14x64:64x3x3:s1:p1", "1x28x28x32:32x3x3:s1:p1", "1x7x7x128:128x3x3:s1:p1",
    "1x28x28x64:64x3x3:s2:p1", "1x10x10x16:24x5x5:s1:p2", "1x8x8x100:50x3x3:s1:p0",
    "1x64x64x3:32x7x7:s2:p3", "1x28x28x64:64x1x1:s2:p0", "1x14x14x64:64x3x3:s1:p1:g2",
    "1x14x14x32:32x3x3:s1:p1 float16", "1x7x7x256:128x1x1:s1:p0",
]


@pytest.mark.parametrize("latency", [20, 100])
def test_predictions_are_within_five_percent(latency, monkeypatch):
    """All shapes, so that one open device serves them; each that misses is named."""
    predicted = []

    def spy(config, problem, semaphores, latency):
        predicted.append(choose_plan(config, problem.shape, latency)[1])
        return xpu.tiling.plan_product(config, problem, semaphores, latency)
    for operator in ("matmul", "convolution"):
        monkeypatch.setattr(sys.modules[f"xpu.ops.{operator}"], "plan_product", spy)
    wrong = []
    for text in SHAPES:
        shape, _, dtype = text.partition(" ")
        bench, name = (bench_conv2d, "conv2d") if ":" in shape else (bench_matmul, "matmul")
        figures = bench.measure(_arguments(name, shape, "--dtype", dtype or "int8",
                                           "--memory-latency", str(latency)))
        assert figures["exact"]
        ratio = predicted[-1] / figures["cycles"]
        if not 0.95 <= ratio <= 1.05:
            wrong.append(f"{text}: {predicted[-1]} of {figures['cycles']} cycles, {ratio:.3f}")
    assert not wrong, "; ".join(wrong)


def _arguments(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)
