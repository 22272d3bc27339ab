"""Compare predicted with measured cycles of many plans of products, on the simulated RTL.

Usage: python tools/plan_accuracy.py [SHAPE[/DTYPE] ...] [--latency 20 100] [--plans 16]

A shape is that of `bench matmul` (MxNxK) or of `bench conv2d`. For each it runs the plans that look
best and a random choice of the others, and prints the plan the driver would choose, the best of
those measured, and the range of predicted / measured.
"""

import argparse
import math
import random
import sys
from unittest import mock

import numpy as np

import xpu
from xpu.cli import bench_conv2d, products
from xpu.tiling import bind_plan, candidate_plans, estimate

SHAPES = ("16x16x16", "30x33x17", "64x64x64", "64x64x64/float16", "128x128x64", "128x64x128",
          "64x256x256", "128x128x128", "100x100x300", "256x256x256", "8x300x70",
          "1x14x14x64:64x3x3:s1:p1", "1x28x28x64:64x3x3:s2:p1", "1x10x10x16:24x5x5:s1:p2",
          "1x8x8x100:50x3x3:s1:p0", "1x64x64x3:32x7x7:s2:p3", "1x14x14x32:32x3x3:s1:p1/float16",
          "1x28x28x64:64x1x1:s2:p0")


def capture(dev, shape, dtype):
    """Run the operator of a shape; return its ``Problem`` and what must stay alive."""
    rng = np.random.default_rng(0)
    problems = []
    conv = ":" in shape
    module = sys.modules["xpu.ops.convolution" if conv else "xpu.ops.matmul"]
    plan_product = module.plan_product

    def spy(config, problem, semaphores, latency):
        problems.append(problem)
        return plan_product(config, problem, semaphores, latency)
    if conv:
        s = bench_conv2d.Shape.parse(shape)
        operands = [products.operand(rng, size, dtype) for size in
                    (s[:4], (s.kh, s.kw, s.c // s.groups, s.o))]
        arguments = {"stride": s.stride, "padding": s.padding, "groups": s.groups,
                     "dilation": s.dilation}
    else:
        m, n, k = (int(size) for size in shape.split("x"))
        operands = [products.operand(rng, size, dtype) for size in ((m, k), (k, n))]
        arguments = {}
    if xpu.tensor.DTYPES[dtype].kind in "iu":
        arguments["scale"] = np.full(operands[1].shape[-1], 1e-3, np.float32)
    operator = xpu.ops.conv2d if conv else xpu.ops.matmul
    on_device = [dev.tensor(x) for x in operands]
    # A vector of our own would be freed with the operator.
    if "scale" in arguments:
        arguments["scale"] = dev.tensor(arguments["scale"])
    with mock.patch.object(module, "plan_product", spy):
        result = operator(*on_device, **arguments)
    return problems[-1], (on_device, arguments, result)


def measure(dev, shape, dtype, count, latency):
    """Return ``[(predicted, measured)]``, the driver's own choice first."""
    problem, alive = capture(dev, shape, dtype)
    plans = sorted(candidate_plans(dev.config, problem.shape),
                   key=lambda plan: estimate(dev.config, plan, latency))
    rest = plans[count // 2:]
    plans = plans[:count // 2] + random.sample(rest, min(count // 2, len(rest)))
    figures = []
    for plan in plans:
        commands = bind_plan(dev.config, problem, plan, dev.semaphores)
        with dev.profile() as p:
            dev.submit(commands, writes=[alive[-1]])
        figures.append((estimate(dev.config, plan, latency), p.cycles))
    return figures


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="SHAPE[/DTYPE]")
    parser.add_argument("--latency", type=int, nargs="+", default=(20, 100))
    parser.add_argument("--plans", type=int, default=16, help="per product (default: %(default)s)")
    parser.add_argument("--config", default="slice")
    args = parser.parse_args(argv)
    random.seed(0)
    errors, chosen = [], []
    print("                           product latency plans predicted measured     best   "
          "predicted / measured")
    for latency in args.latency:
        with xpu.open(args.config, memory_latency=latency) as dev:
            for text in args.shapes:
                shape, _, dtype = text.partition("/")
                figures = measure(dev, shape, dtype or "int8", args.plans, latency)
                ratios = [predicted / measured for predicted, measured in figures]
                errors += [math.log(ratio) ** 2 for ratio in ratios]
                chosen.append(abs(ratios[0] - 1))
                print(f"{text:>34} {latency:>7} {len(figures):>5} {figures[0][0]:>9.0f} "
                      f"{figures[0][1]:>8} {min(cycles for _, cycles in figures):>8}   "
                      f"{min(ratios):.3f} to {max(ratios):.3f}", flush=True)
    print(f"{len(errors)} plans, root mean square error {math.sqrt(np.mean(errors)):.1%}; "
          f"of the {len(chosen)} chosen ones at most {max(chosen):.1%}")


if __name__ == "__main__":
    sys.exit(main())
