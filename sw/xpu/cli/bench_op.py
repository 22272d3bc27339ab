"""``python -m xpu bench op``: an operator of the SIMD cores."""

import argparse
import re

import numpy as np

from ..opening import open_device
from ..tensor import DTYPES
from . import products
from .figures import add_device_arguments, report
from .op_cases import CASES, relative_error

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "measure an operator of the SIMD cores from GM to GM, and its error against float64"


def _shape(text):
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"must be sizes, like 256x1024, not {text!r}")
    return tuple(int(size) for size in text.split("x"))


def add_arguments(parser):
    parser.add_argument("op", choices=tuple(CASES), metavar="OP", help=", ".join(CASES))
    parser.add_argument("shape", type=_shape, metavar="SHAPE", help="of x, like 256x1024")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32",
                        help="(default: %(default)s)")
    add_device_arguments(parser, seed="the operands", platforms=False)


def measure(args):
    """Return the figures by name.

    The kernel is in memory and in the cache, as it is for all but the first use. ``bound``: what
    is nearer to its limit, the bus or the issue slots of the vector units.
    """
    case, rng = CASES[args.op], np.random.default_rng(args.seed)
    shapes = [args.shape] + [args.shape[-1:] if case.rows else args.shape] * (
        len(case.operands) - 1)
    arrays = [make(rng, shape).astype(np.float32).astype(DTYPES[args.dtype])
              for make, shape in zip(case.operands, shapes, strict=True)]
    with open_device(args.config, memory_latency=args.memory_latency,
                     memory_bytes=products.memory_bytes(
                         8 * sum(array.nbytes for array in arrays))) as dev:
        tensors = [dev.tensor(array) for array in arrays]
        case.run(*tensors).numpy()
        with dev.profile() as p:
            result = case.run(*tensors)
        error = relative_error(result.numpy(), case.reference(
            *(array.astype(np.float64) for array in arrays)))
    size = arrays[0].size
    return {
        "op": args.op, "shape": "x".join(map(str, args.shape)), "dtype": args.dtype,
        "config": args.config, "memory_latency": args.memory_latency, "cycles": p.cycles,
        "cycles_per_element": p.cycles / size, "bus_utilization": p.bus_utilization,
        "vector_utilization": p.vector_utilization,
        "bound": "bus" if p.bus_utilization > p.vector_utilization else "vector",
        "bytes_read": p.bytes_read, "bytes_written": p.bytes_written, "max_error": error,
        "sim_khz": p.cycles / p.seconds / 1000,
    }


def run(args):
    return report(args, measure)
