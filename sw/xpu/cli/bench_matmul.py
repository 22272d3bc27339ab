"""``python -m xpu bench matmul``."""

import argparse
import re

import numpy as np

from ..errors import ArgumentError
from ..opening import open_device
from ..ops import matmul
from . import bench_gemm, products
from .figures import report

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "measure a matrix product with seeded operands, and check its result"


def _shape(text):
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"must be MxNxK, like 512x768x768, not {text!r}")
    return text


def add_arguments(parser):
    parser.add_argument("shape", type=_shape, metavar="MxNxK",
                        help="[M, K] times [K, N]")
    products.add_common_arguments(parser, more=("float32",))
    parser.add_argument("--engine", choices=("tensor", "simd"), default=None,
                        help="who multiplies float32: the SIMD cores (default), or the tensor "
                             "unit, as int16; others are always the tensor unit's")
    parser.add_argument("--resident", action="store_true",
                        help="float32 with A, B and C in the scratchpad")


def operands(args, m, n, k):
    """Return a, b, and the scale per column or ``None``."""
    rng = np.random.default_rng(args.seed)
    return (products.operand(rng, (m, k), args.dtype), products.operand(rng, (k, n), args.dtype),
            products.scale_vector(rng, args, n, k))


def expected(a, b, scale, out_dtype, terms=1):
    """The result by NumPy alone."""
    return products.results(products.sums(a, b, terms), out_dtype, scale)


def measure(args):
    """Return the figures by name."""
    if args.dtype == "float32":
        return bench_gemm.measure(args)
    if args.resident or args.engine == "simd":
        raise ArgumentError(f"--resident and --engine simd are for float32, not {args.dtype}")
    m, n, k = (int(size) for size in args.shape.split("x"))
    a, b, scale = operands(args, m, n, k)
    with open_device(args.config, args.platform, memory_latency=args.memory_latency,
                     memory_bytes=products.memory_bytes(
                         2 * (m * k + k * n) + 8 * m * n + 8 * n)) as dev:
        on_device = dev.tensor(a), dev.tensor(b)
        vector = None if scale is None else dev.tensor(scale)
        with dev.profile() as p:
            result = matmul(*on_device, scale=vector, out_dtype=args.out_dtype)
        exact = np.array_equal(result.numpy(), expected(a, b, scale, args.out_dtype,
                                                        dev.config.wide_lanes))
    return products.figures(args, "matmul", p, exact)


def run(args):
    return report(args, measure)
