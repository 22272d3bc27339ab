"""``python -m xpu bench matmul``."""

import argparse
import re

import numpy as np

from xpu_rtl import CONFIGS

from ..opening import open_device
from ..ops import matmul
from .figures import report

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "measure a matrix product with seeded operands of full range, and check its result"

_MEMORY = 256 << 20


def _shape(text):
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"must be MxNxK, like 512x768x768, not {text!r}")
    return text


def add_arguments(parser):
    parser.add_argument("shape", type=_shape, metavar="MxNxK",
                        help="[M, K] times [K, N]")
    parser.add_argument("--dtype", choices=("int8", "uint8"), default="int8",
                        help="of both operands (default: %(default)s)")
    parser.add_argument("--out-dtype", choices=("int8", "uint8", "int32"), default="int8",
                        help="of the result; 8 bits go through a scale per column "
                             "(default: %(default)s)")
    parser.add_argument("--config", choices=tuple(CONFIGS), default="slice",
                        help="configuration of the hardware (default: %(default)s)")
    parser.add_argument("--platform", choices=("native", "model"), default="native",
                        help="native: the RTL, simulated; model: NumPy, without time "
                             "(default: %(default)s)")
    parser.add_argument("--memory-latency", type=int, default=20, metavar="CYCLES",
                        help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the operands")
    parser.add_argument("--json", action="store_true",
                        help="print exactly one JSON object on one line of standard output")


def _operands(args, m, n, k):
    """Return a, b, and the scale per column or ``None``."""
    rng, limits = np.random.default_rng(args.seed), np.iinfo(args.dtype)
    a, b = (rng.integers(limits.min, limits.max, shape, args.dtype, endpoint=True)
            for shape in ((m, k), (k, n)))
    if args.out_dtype == "int32":
        return a, b, None
    # Signed sums have a standard deviation of about 74 * 74 * sqrt(K), unsigned ones a mean of
    # 128 * 128 * K: scaled so that they spread over most of the 8 bits.
    middle = 60 / (74 * 74 * np.sqrt(k)) if args.dtype == "int8" else 64 / (128 * 128 * k)
    return a, b, (middle * rng.uniform(0.5, 1.5, n)).astype(np.float32)


def _expected(a, b, scale, out_dtype):
    """The result by NumPy alone. Products in float64 are exact far beyond any K that fits."""
    sums = np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)
    sums = sums.astype(np.uint32).view(np.int32)
    if scale is None:
        return sums
    limits = np.iinfo(out_dtype)
    rounded = np.rint(sums.astype(np.float32) * scale)
    return np.clip(rounded, limits.min, limits.max).astype(out_dtype)


def measure(args):
    """Return the figures by name."""
    m, n, k = (int(size) for size in args.shape.split("x"))
    needed = m * k + k * n + 4 * m * n + 8 * n + (1 << 20)
    a, b, scale = _operands(args, m, n, k)
    with open_device(args.config, args.platform, memory_latency=args.memory_latency,
                     memory_bytes=max(_MEMORY, -(-needed // 4096) * 4096)) as dev:
        operands = dev.tensor(a), dev.tensor(b)
        vector = None if scale is None else dev.tensor(scale)
        with dev.profile() as p:
            result = matmul(*operands, scale=vector, out_dtype=args.out_dtype)
        exact = np.array_equal(result.numpy(), _expected(a, b, scale, args.out_dtype))
    return {
        "op": "matmul", "shape": args.shape, "dtype": args.dtype, "cycles": p.cycles,
        "macs": p.macs, "utilization": p.utilization, "bus_utilization": p.bus_utilization,
        "bytes_read": p.bytes_read, "bytes_written": p.bytes_written, "sim_seconds": p.seconds,
        "sim_khz": None if p.cycles is None else p.cycles / p.seconds / 1000, "exact": bool(exact),
    }


def run(args):
    return report(args, measure)
