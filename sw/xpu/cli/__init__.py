"""The command line. Results go to standard output, everything else to standard error."""

import argparse
import sys

from .. import __version__
from ..errors import XpuError
from ..platforms import PlatformError
from . import bench, cache, elf, info, profile, verilog

__all__ = ["main"]


class _Demo:
    """The demonstration lives in a package of its own, imported when it is asked for."""

    HELP = "classify handwritten digits on the device"

    @staticmethod
    def add_arguments(parser):
        from .. import demo
        demo.add_arguments(parser)

    @staticmethod
    def run(args):
        from .. import demo
        return demo.main(args)


_COMMANDS = {"info": info, "demo": _Demo, "bench": bench, "verilog": verilog, "elf": elf,
              "profile": profile, "cache": cache}


def _parser():
    parser = argparse.ArgumentParser(prog="python -m xpu", description="Driver of the XPU.")
    parser.add_argument("--version", action="version", version=f"xpu {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        child = commands.add_parser(name, help=command.HELP, description=command.HELP + ".")
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser


def main(argv=None):
    """Run a command; return its exit status: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C.
    """
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except (XpuError, PlatformError, OSError) as error:
        print(f"xpu {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"xpu {args.command}: interrupted", file=sys.stderr)
        return 130
