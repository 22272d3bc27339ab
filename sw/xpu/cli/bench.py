"""``python -m xpu bench``."""

from . import (
    bench_conv2d,
    bench_dma,
    bench_dma_faults,
    bench_launch,
    bench_matmul,
    bench_op,
    bench_resnet50,
    bench_scratchpad,
    bench_table,
)

__all__ = ["HELP", "add_arguments", "run"]

HELP = "measure an operator, or render the table of measurements"


def add_arguments(parser):
    benches = parser.add_subparsers(dest="bench", required=True, metavar="BENCH")
    for name, bench in (("matmul", bench_matmul), ("conv2d", bench_conv2d),
                        ("resnet50", bench_resnet50), ("dma", bench_dma),
                        ("dma-faults", bench_dma_faults),
                        ("scratchpad", bench_scratchpad), ("launch", bench_launch),
                        ("op", bench_op), ("table", bench_table)):
        child = benches.add_parser(name, help=bench.HELP, description=bench.HELP + ".")
        bench.add_arguments(child)
        child.set_defaults(bench_run=bench.run)


def run(args):
    return args.bench_run(args)
