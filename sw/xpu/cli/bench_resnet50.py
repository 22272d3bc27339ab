"""``python -m xpu bench resnet50``: all convolutions of ResNet-50, one by one."""

import argparse
from collections import Counter

from ..opening import open_device
from . import products
from .bench_conv2d import measure_on
from .figures import positive, report

__all__ = ["HELP", "add_arguments", "layers", "measure", "run"]

HELP = "measure the 53 convolutions of ResNet-50, each from memory to memory, and check them"


def layers(batch=1):
    """Return the shapes of the convolutions in the notation of ``bench conv2d``, in order.

    ResNet-50 v1.5 (stride in the 3 x 3 convolutions), images of 224 x 224.
    """
    shapes = [f"{batch}x224x224x3:64x7x7:s2:p3"]
    size, channels = 56, 64
    for blocks, width, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for block in range(blocks):
            step = stride if block == 0 else 1
            image = f"{batch}x{size}x{size}"
            shapes.append(f"{image}x{channels}:{width}x1x1:s1:p0")
            shapes.append(f"{image}x{width}:{width}x3x3:s{step}:p1")
            if block == 0:
                shapes.append(f"{image}x{channels}:{4 * width}x1x1:s{step}:p0")
            size //= step
            shapes.append(f"{batch}x{size}x{size}x{width}:{4 * width}x1x1:s1:p0")
            channels = 4 * width
    return shapes


def add_arguments(parser):
    parser.add_argument("--batch", type=positive, default=1, help="images (default: %(default)s)")
    products.add_common_arguments(parser)


def measure(args):
    """Return the figures by name, with a ``table`` of the different layers."""
    counts, table = Counter(layers(args.batch)), []
    totals = dict.fromkeys(("cycles", "macs", "sim_seconds", "ideal"), 0)
    exact = True
    with open_device(args.config, args.platform, memory_latency=args.memory_latency,
                     memory_bytes=products.memory_bytes(args.batch << 23)) as dev:
        rate = dev.config.macs_per_cycle // (2 if args.dtype not in ("int8", "uint8") else 1)
        for shape, count in counts.items():
            one = measure_on(dev, argparse.Namespace(**vars(args) | {"shape": shape}))
            exact &= one["exact"]
            table.append({"layer": shape, "count": count} | {
                name: one[name] for name in ("cycles", "utilization", "bus_utilization", "exact")})
            for name in ("cycles", "macs", "sim_seconds"):
                totals[name] += count * (one[name] or 0)
    cycles = totals["cycles"] or None
    return {
        "op": "resnet50", "layers": sum(counts.values()), "batch": args.batch, "dtype": args.dtype,
        "cycles": cycles, "macs": totals["macs"],
        "utilization": cycles and totals["macs"] / rate / cycles,
        "sim_seconds": totals["sim_seconds"],
        "sim_khz": cycles and cycles / totals["sim_seconds"] / 1000, "exact": bool(exact),
        "table": table,
    }


def run(args):
    return report(args, measure)
