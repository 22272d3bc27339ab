"""``python -m xpu bench launch``: what starting a kernel and meeting at a barrier cost."""

import time

import numpy as np

from ..errors import ArgumentError
from ..kernel import Kernel
from ..opening import open_device
from .figures import add_device_arguments, report

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "measure the launch of a kernel and the barrier of the cores"

_SOURCE = """#include "xpu_kernel.h"
__global__ void launch(uint32_t *out, int rounds) {
  const uint32_t first = xpu_cycles();
  sync_cluster();
  const uint32_t begin = xpu_cycles();
  sync_cluster();
  const uint32_t barrier = xpu_cycles() - begin;
  uint32_t sum = 0;
  for (int i = 0; i < rounds; ++i) sum = sum * 5 + i;
  uint32_t *mine = out + 4 * core_id();
  mine[0] = first;
  mine[1] = barrier;
  mine[2] = xpu_instructions();
  mine[3] = sum;
}
"""

#: Cycles from the start of a core until its first instruction executes (``simd/core.py``).
_PIPELINE = 6


def add_arguments(parser):
    add_device_arguments(parser, platforms=False)


def measure(args):
    """Return the figures by name.

    ``first_instruction_cycles``: from the doorbell until the cores execute their first instruction;
    ``first_statement_cycles``: from the start of the cores until the slowest of them is in the
    kernel's first statement, behind the start-up code, with a warm instruction cache;
    ``cold_cycles``: likewise with an empty one; ``launch_cycles``: of a whole launch of an empty
    kernel, from the doorbell to the completion; ``barrier_cycles``: of the barrier.
    """
    with open_device(args.config, memory_latency=args.memory_latency) as dev:
        if not dev.config.simd_cores:
            raise ArgumentError(f"configuration {args.config!r} has no SIMD cores")
        kernel = Kernel.from_source(_SOURCE, "launch")
        empty = Kernel.from_source('#include "xpu_kernel.h"\n__global__ void empty(void) {}',
                                   "empty")
        firsts, rounds = [], 20_000
        for count in (10, 10, rounds):
            out = np.zeros((dev.config.simd_cores, 4), np.uint32)
            begin, before = time.monotonic(), dev.platform.cycle_count
            dev.launch(kernel, [out, count])
            seconds = time.monotonic() - begin
            firsts.append(int(out[:, 0].max()))
        busy = dev.platform.cycle_count - before
        total = 0
        for i in range(rounds):
            total = (total * 5 + i) & 0xFFFF_FFFF
        dev.launch(empty)
        with dev.profile() as profile:
            dev.launch(empty)
        return {
            "op": "launch", "config": dev.config.name, "cores": dev.config.simd_cores,
            "memory_latency": args.memory_latency,
            "first_instruction_cycles": profile.events[0].begin + _PIPELINE,
            "first_statement_cycles": firsts[1],
            "cold_cycles": firsts[0], "launch_cycles": profile.cycles,
            "barrier_cycles": int(out[:, 1].max()), "sim_khz": busy / seconds / 1000,
            "exact": bool((out[:, 3] == total).all()),
        }


def run(args):
    return report(args, measure)
