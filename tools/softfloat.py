"""The floating-point unit against Berkeley SoftFloat at volume.

Usage: PYTHONPATH=tests python tools/softfloat.py [--count N] [--seed S]

Every operation of RISC-V's F and Zfh that SoftFloat has, in both formats and five rounding modes,
on special and random operands, through the Verilated unit: values and flags must be equal.
"""

import argparse
import sys

from support import softfloat


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, metavar="N",
                        help="operations of each kind, format and mode (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    total, wrong = 0, 0
    for fmt in "sh":
        for rounding in softfloat.MODES:
            count, differences = softfloat.check(fmt, rounding, args.count, args.seed)
            total, wrong = total + count, wrong + len(differences)
            print("\n".join(differences[:10]), end="\n" * bool(differences))
    print(f"{total:,} operations, {wrong} differ")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
