"""What all benches share: arguments of the device, and how a measurement prints its figures."""

import argparse
import contextlib
import json
import sys

from xpu_rtl import CONFIGS

__all__ = ["add_device_arguments", "positive", "report"]


def positive(text):
    """Type of an argument that counts."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)


def add_device_arguments(parser, *, seed=None, platforms=True):
    """Add ``--config``, ``--memory-latency``, ``--json``.

    Also ``--platform`` if there is a choice, and ``--seed`` if ``seed`` says of what.
    """
    parser.add_argument("--config", choices=tuple(CONFIGS), default="slice",
                        help="configuration of the hardware (default: %(default)s)")
    if platforms:
        parser.add_argument("--platform", choices=("native", "model"), default="native",
                            help="native: the RTL, simulated; model: NumPy, without time "
                                 "(default: %(default)s)")
    parser.add_argument("--memory-latency", type=positive, default=20, metavar="CYCLES",
                        help="(default: %(default)s)")
    if seed:
        parser.add_argument("--seed", type=int, default=1, help=f"of {seed}")
    parser.add_argument("--json", action="store_true",
                        help="print exactly one JSON object on one line of standard output")


def report(args, measure, *, inexact="the result differs from NumPy's"):
    """Measure, print the figures, and return the exit status: 1 if they say ``exact`` is false.

    With ``args.json`` standard output is one JSON object on one line and nothing else.
    """
    with contextlib.redirect_stdout(sys.stderr):
        figures = measure(args)
    if args.json:
        print(json.dumps(figures))
    else:
        width = max(16, *(len(name) + 2 for name in figures))
        for name, value in figures.items():
            print(f"{name:<{width}}{'-' if value is None else value}")
    if not figures.get("exact", True):
        print(f"xpu bench: {inexact}", file=sys.stderr)
        return 1
    return 0
