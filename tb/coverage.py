"""Line and toggle coverage of a bench's design.

Usage: python tb/coverage.py [BENCH] [--config NAME] [--effort X] [--seed N] [--out FOLDER]

Builds the bench (default: tensor) with Verilator's coverage, runs all its tests, and prints for
every module of the design how many of its points were reached: lines (every branch and every
conditional expression, both ways) and toggles (every bit of every signal, both edges). What was not
reached is listed in ``build/coverage/<bench>.txt``.
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "rtl"), str(ROOT / "sw"), str(ROOT / "tb"), str(ROOT / "tests")]

from benches import BENCHES  # noqa: E402
from run import BUILDS, run  # noqa: E402

__all__ = ["FLAGS", "Point", "module_of", "parse", "summary"]

FLAGS = ("--coverage-line", "--coverage-toggle")

#: Kind of a point, by the first part of its ``page``.
_KINDS = {"v_line": "line", "v_branch": "line", "v_expr": "line", "v_toggle": "toggle"}


class Point:
    """One thing that can happen. ``kind`` (line, toggle), ``module``, ``name``, ``count``."""

    def __init__(self, kind, module, name, count):
        self.kind, self.module, self.name, self.count = kind, module, name, count


def module_of(page):
    """Module named in the ``page`` of a coverage point, for example ``v_toggle/tensor_bench``."""
    return page.partition("/")[2] or "?"


def parse(text):
    """Return the points of a ``coverage.dat``.

    A point is a line ``C '<key><value>...' count``, in which every key is the character 1, its
    name and the character 2. Raises ``ValueError`` for anything else.
    """
    points = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        match = re.fullmatch(r"C '(.*)' (\d+)", line)
        if not match:
            raise ValueError(f"no coverage point: {line[:80]!r}")
        keys = dict(re.findall(r"\x01([^\x02]*)\x02([^\x01]*)", match[1]))
        page = keys.get("page", "")
        kind = _KINDS.get(page.partition("/")[0])
        if kind is None:
            raise ValueError(f"unknown kind of point: {page!r}")
        name = f"{keys.get('h', '')}:{keys.get('l', '?')} {keys.get('o', '')}".strip()
        points.append(Point(kind, module_of(page), name, int(match[2])))
    return points


def summary(points):
    """Return ``{module: {kind: (reached, all)}}``, modules in order, ``total`` last."""
    reached, total = defaultdict(Counter), defaultdict(Counter)
    for point in points:
        for module in (point.module, "total"):
            total[module][point.kind] += 1
            reached[module][point.kind] += point.count > 0
    modules = [*sorted(name for name in total if name != "total"), "total"]
    return {module: {kind: (reached[module][kind], total[module][kind])
                     for kind in ("line", "toggle")} for module in modules if module in total}


def _share(reached, total):
    return f"{reached:7} / {total:7} {100 * reached / total:6.1f} %" if total else f"{'-':>26}"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", nargs="?", default="tensor", choices=BENCHES)
    parser.add_argument("--config", help="configuration, instead of the bench's own")
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "coverage")
    args = parser.parse_args(argv)
    BUILDS.mkdir(parents=True, exist_ok=True)
    passed, failed, folder = run(BENCHES[args.bench], config=args.config, seed=args.seed,
                                 effort=args.effort, flags=FLAGS)
    data = folder / "coverage.dat"     # written when the simulation ends
    if failed or not passed or not data.exists():
        print(f"{args.bench}: {passed} passed, {failed} failed; no coverage")
        return 1
    points = parse(data.read_text(encoding="latin-1"))
    print(f"{args.bench}: {passed} tests passed\n\n{'module':44} {'lines':>26} {'toggles':>26}")
    for module, kinds in summary(points).items():
        print(f"{module[-44:]:44} {_share(*kinds['line'])} {_share(*kinds['toggle'])}")
    args.out.mkdir(parents=True, exist_ok=True)
    missed = args.out / f"{args.bench}.txt"
    missed.write_text("".join(f"{point.kind:6} {point.module} {point.name}\n"
                              for point in points if not point.count), encoding="utf-8")
    print(f"\nnot reached: {missed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
