"""Products of float32 for ``python -m xpu bench matmul``: on the SIMD cores, or scaled to int16."""

import numpy as np

from ..errors import ArgumentError
from ..opening import open_device
from ..ops import matmul
from ..ops.simd.gemm import resident_commands
from . import products

__all__ = ["measure"]


def measure(args):
    """Return the figures by name.

    With ``args.resident`` A and B lie in the scratchpad before the launch, and C behind it: the
    cycles are those of the launch alone. ``exact`` compares with float64; with the tensor unit,
    which scales operands to int16, it says whether the error is below 1/4096 of the largest result.
    """
    m, n, k = (int(size) for size in args.shape.split("x"))
    rng = np.random.default_rng(args.seed)
    a, b = (products.operand(rng, shape, "float32") for shape in ((m, k), (k, n)))
    tensor_unit = args.engine == "tensor"
    if tensor_unit and args.resident:
        raise ArgumentError("--resident measures the SIMD cores: --engine must be simd")
    with open_device(args.config, memory_latency=args.memory_latency,
                     memory_bytes=products.memory_bytes(8 * (m * k + k * n + m * n))) as dev:
        on_device = dev.tensor(a), dev.tensor(b)

        def run():
            if not args.resident:
                return matmul(*on_device, compute_dtype="int16" if tensor_unit else None)
            result = dev.empty((m, n), np.float32)
            made = resident_commands(dev, *on_device, result, m, n, k)
            if made is None:
                raise ArgumentError(f"{args.shape} does not fit the scratchpad of {args.config!r} "
                                    "in one piece")
            dev.submit(made[0], name="resident matmul", reads=made[1], writes=[result])
            return result

        run().numpy()           # the kernel is in memory and in the cache afterwards
        with dev.profile() as p:
            result = run()
        error = np.abs(result.numpy() - a.astype(np.float64) @ b).max()
        figures = products.figures(args, "matmul", p, error == 0 if not tensor_unit else
                                   error < np.abs(a.astype(np.float64) @ b).max() / 4096)
        if args.resident:
            figures["cycles"] = next(event.end - event.begin for event in p.events
                                     if event.engine == "simd")
        config = dev.config
        peak = (config.lanes * config.word_bytes // 2 if tensor_unit
                else config.simd_cores * config.simd_width // 32)
        return figures | {
            "macs": m * n * k, "utilization": m * n * k / peak / figures["cycles"],
            "engine": args.engine or "simd", "resident": args.resident,
            "vector_utilization": p.vector_utilization, "max_error": float(error)}
