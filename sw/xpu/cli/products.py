"""What the benches of products share: arguments, operands, expected results, figures."""

import numpy as np

from xpu_rtl.numerics import dtype_of, finish, gemm_float, gemm_int, gemm_int16

from ..ops.epilogue import ELEMENT_TYPES
from ..tensor import DTYPES
from .figures import add_device_arguments

__all__ = ["DTYPE_NAMES", "add_common_arguments", "figures", "memory_bytes", "operand", "results",
           "scale_vector", "sums"]

DTYPE_NAMES = ("int8", "uint8", "int16", "float16", "bfloat16")
_MEMORY = 256 << 20


def add_common_arguments(parser, more=()):
    parser.add_argument("--dtype", choices=(*DTYPE_NAMES, *more), default="int8",
                        help="of both operands (default: %(default)s)")
    parser.add_argument("--out-dtype", choices=tuple(ELEMENT_TYPES), default=None,
                        help="of the result; 8 and 16 bits of integers go through a scale per "
                             "column (default: int8 for 8-bit operands, else that of the "
                             "operands)")
    add_device_arguments(parser, seed="the operands")


def memory_bytes(needed):
    """Device memory for so many bytes of tensors."""
    return max(_MEMORY, -(-(needed + (1 << 20)) // 4096) * 4096)


def operand(rng, shape, dtype):
    """Seeded values: integers of the full range; floating-point ones of 8 bits in [-2, 2)."""
    dtype = DTYPES[dtype]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return (rng.integers(-128, 128, shape) / 64).astype(dtype)


def scale_vector(rng, args, columns, depth):
    """A scale per column that spreads sums over most of an integer result's range, or None."""
    out = args.out_dtype or {"uint8": "int8"}.get(args.dtype, args.dtype)
    args.out_dtype = out
    if out in ("int32", "int64") or DTYPES[out].kind not in "iu":
        return None
    # Signed sums have a standard deviation of about 74 * 74 * sqrt(K), unsigned ones a mean of
    # 128 * 128 * K.
    one = {"int8": 74, "uint8": 74, "int16": 18_919}.get(args.dtype, 1.15)
    middle = (64 / (128 * 128 * depth) if args.dtype == "uint8"
              else 60 / (one * one * np.sqrt(depth)))
    middle *= 256 if out == "int16" else 1
    return (middle * rng.uniform(0.5, 1.5, columns)).astype(np.float32)


def sums(a, b, terms):
    """Sums of a product, as the array makes them: [M, K] times [K, N]."""
    if a.dtype.itemsize == 1:
        return gemm_int(a, b)
    return gemm_int16(a, b) if a.dtype == np.int16 else gemm_float(a, b, terms)


def results(total, out_dtype, scale):
    """What becomes of the sums."""
    element = ELEMENT_TYPES[out_dtype]
    if dtype_of(element) == total.dtype and total.dtype != np.float32:
        return total
    return finish(total, out_type=element, scale=1 if scale is None else scale)[0]


def figures(args, op, profile, exact):
    """The figures by name."""
    return {
        "op": op, "shape": args.shape, "dtype": args.dtype, "cycles": profile.cycles,
        "macs": profile.macs, "utilization": profile.utilization,
        "bus_utilization": profile.bus_utilization, "bytes_read": profile.bytes_read,
        "bytes_written": profile.bytes_written, "sim_seconds": profile.seconds,
        "sim_khz": None if profile.cycles is None else profile.cycles / profile.seconds / 1000,
        "exact": bool(exact),
    }
