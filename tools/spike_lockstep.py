"""A core in lock step with Spike, at volume: random programs with seeds of their own.

Usage: PYTHONPATH=tests python tools/spike_lockstep.py [--count N] [--first SEED] [--length WORDS]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from simd.test_lockstep import compare
from support.random_programs import random_program
from support.random_vectors import random_vectors


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, metavar="N",
                        help="programs (default: %(default)s)")
    parser.add_argument("--first", type=int, default=1000, metavar="SEED",
                        help="seed of the first (default: %(default)s)")
    parser.add_argument("--length", type=int, default=1000, metavar="WORDS",
                        help="of a program (default: %(default)s)")
    args = parser.parse_args(argv)
    instructions = failed = 0
    for seed in range(args.first, args.first + args.count):
        with tempfile.TemporaryDirectory() as folder:
            stall = (0, 0, 0.2)[seed % 3]
            try:
                make = (random_program, random_vectors)[seed % 2]
                instructions += compare(make(seed, args.length), Path(folder),
                                        memory_stall=stall)
            except AssertionError as error:
                failed += 1
                print(f"seed {seed}: {error}", flush=True)
    print(f"{args.count} programs, {instructions:,} instructions, {failed} programs differ")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
