"""Compare predicted with measured cycles of many plans of matrix products, on the simulated RTL.

Usage: python tools/plan_accuracy.py [MxNxK ...] [--latency 20 100] [--plans 24] [--config slice]

For each product it runs the plans that look best and a random choice of the others, and prints the
plan the driver would choose, the best of those measured, and the range of predicted / measured.
"""

import argparse
import math
import random
import sys

import numpy as np

import xpu
from xpu.ops.gemm_cost import estimate
from xpu.ops.tiling import GemmProblem, bind_plan, candidate_plans
from xpu_rtl.command.formats import ElementType

SHAPES = ("16x16x16", "30x33x17", "64x64x64", "128x128x64", "128x64x128", "64x256x256",
          "128x128x128", "100x100x300", "256x256x256")


def measure(dev, shape, count, latency):
    """Return ``[(predicted, measured)]``, the driver's own choice first."""
    m, n, k = (int(size) for size in shape.split("x"))
    rng = np.random.default_rng(0)
    a = dev.tensor(rng.integers(-128, 128, (m, k), dtype=np.int8))
    b = dev.tensor(rng.integers(-128, 128, (k, n), dtype=np.int8))
    scale, out = dev.tensor(np.full(n, 0.001, np.float32)), dev.empty((m, n), np.int8)
    problem = GemmProblem(m, n, k, a.address, b.address, out.address, scale_address=scale.address,
                          out_type=ElementType.INT8)
    different = {repr((plan.buffers, plan.steps)): plan
                 for plan in candidate_plans(dev.config, problem.shape)}
    plans = sorted(different.values(), key=lambda plan: estimate(dev.config, plan, latency))
    rest = plans[count // 2:]
    plans = plans[:count // 2] + random.sample(rest, min(count // 2, len(rest)))
    figures = []
    for plan in plans:
        commands = bind_plan(dev.config, problem, plan, dev.semaphores)
        with dev.profile() as p:
            dev.submit(commands, reads=[a, b, scale], writes=[out])
        figures.append((estimate(dev.config, plan, latency), p.cycles))
    return figures


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="MxNxK")
    parser.add_argument("--latency", type=int, nargs="+", default=(20, 100))
    parser.add_argument("--plans", type=int, default=24, help="per product (default: %(default)s)")
    parser.add_argument("--config", default="slice")
    args = parser.parse_args(argv)
    random.seed(0)
    errors = []
    print("       product latency plans predicted measured     best   predicted / measured")
    for latency in args.latency:
        with xpu.open(args.config, memory_latency=latency) as dev:
            for shape in args.shapes:
                figures = measure(dev, shape, args.plans, latency)
                ratios = [predicted / measured for predicted, measured in figures]
                errors += [math.log(ratio) ** 2 for ratio in ratios]
                print(f"{shape:>14} {latency:>7} {len(figures):>5} {figures[0][0]:>9.0f} "
                      f"{figures[0][1]:>8} {min(cycles for _, cycles in figures):>8}   "
                      f"{min(ratios):.3f} to {max(ratios):.3f}", flush=True)
    print(f"{len(errors)} plans, root mean square error {math.sqrt(np.mean(errors)):.1%}")


if __name__ == "__main__":
    sys.exit(main())
