"""How a measurement prints its figures."""

import contextlib
import json
import sys

__all__ = ["report"]


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
