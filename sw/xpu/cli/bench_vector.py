"""``python -m xpu bench vector``: what the vector units reach in local memory and scratchpad."""

from importlib import resources

import numpy as np

from ..errors import ArgumentError
from ..kernel import Kernel
from ..opening import open_device
from .figures import add_device_arguments, report

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "measure multiply-adds, saxpy and a matrix product of the vector units"

_SIZE, _ROUNDS, _LENGTH = 128, 64, 16384     # as in kernels/bench_vector.c


def add_arguments(parser):
    add_device_arguments(parser, platforms=False)


def measure(args):
    """Return the figures by name.

    ``fma_float32``, ``fma_float16``: share of one operation per lane and cycle that independent
    multiply-adds reach on every core; ``saxpy_sm``: bytes per cycle, of what the cores' port to SM
    can carry; ``gemm_cycles``, ``gemm_utilization``: of a product of 128 x 128 x 128 in SM, FP32,
    of one multiply-add per lane, core and cycle.
    """
    with open_device(args.config, memory_latency=args.memory_latency) as dev:
        config = dev.config
        if config.sm_bytes < 3 * 4 * _SIZE ** 2 or not config.simd_cores:
            raise ArgumentError(f"the benchmark needs cores and {3 * 4 * _SIZE ** 2} bytes of "
                                f"scratchpad, which configuration {config.name!r} has not")
        rng = np.random.default_rng(0)
        a, b = (rng.integers(-8, 9, (_SIZE, _SIZE)).astype(np.float32) for _ in range(2))
        axpy, product = np.zeros_like(a), np.zeros_like(a)
        cycles = np.zeros(4, np.uint32)
        source = resources.files("xpu") / "kernels" / "bench_vector.c"
        kernel = Kernel.from_source(source.read_text(encoding="utf-8"), "bench_vector",
                                    path=str(source))
        dev.launch(kernel, [a, b, axpy, product, cycles])
        single, half, saxpy, gemm = (int(value) for value in cycles)
        lanes = config.simd_width // 32
        fmas = _ROUNDS * 4 * 4 * config.vlen // 32      # in m4, of 32 bits
        return {
            "op": "vector", "config": config.name, "cores": config.simd_cores,
            "fma_float32": fmas / lanes / single, "fma_float16": fmas / lanes / half,
            "saxpy_sm": 3 * 4 * _LENGTH / config.word_bytes / saxpy,
            "gemm_cycles": gemm,
            "gemm_utilization": _SIZE ** 3 / (lanes * config.simd_cores * gemm),
            "exact": bool((axpy == 0.5 * a + b).all() and (product == a @ b).all()),
        }


def run(args):
    return report(args, measure)
