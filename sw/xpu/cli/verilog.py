"""``python -m xpu verilog``."""

from xpu_rtl import CONFIGS

__all__ = ["HELP", "add_arguments", "run"]

HELP = "write SystemVerilog and JSON of a configuration"


def add_arguments(parser):
    parser.add_argument("--config", choices=[*CONFIGS, "all"], default="slice",
                        help="configuration (default: %(default)s)")
    parser.add_argument("--out", default="build", metavar="FOLDER",
                        help="folder to write to (default: %(default)s)")


def run(args):
    from xpu_rtl.build.__main__ import write

    for name in CONFIGS if args.config == "all" else (args.config,):
        for path in write(name, args.out):
            print(path)
