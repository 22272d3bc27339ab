"""Prove properties of the design.

Usage: python tb/formal/run.py [PROOF ...] [--slow] [--mutants | --no-mutants] [--list]

Without names, all proofs of the quick set and their mutants. A failed proof leaves its trace in
build/formal/PROOF/trace.vcd.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "rtl"), str(ROOT / "tb")]

from formal.engine import collect, prove, refute, warm_up  # noqa: E402

BUILDS = ROOT / "build" / "formal"


def _report(result, name, method):
    print(f"{'ok    ' if result.passed else 'FAILED'} {name:<44} {method:<16} "
          f"{result.seconds:6.1f} s", flush=True)
    if not result.passed:
        print(result.log, flush=True)
    return result.passed


def _folder(*names):
    folder = BUILDS.joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.*"):
        old.unlink()
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proofs", nargs="*", help="names, or beginnings of names")
    parser.add_argument("--slow", action="store_true", help="slow ones as well")
    parser.add_argument("--no-mutants", action="store_true", help="proofs only")
    parser.add_argument("--mutants", action="store_true", help="seeded bugs only")
    parser.add_argument("--list", action="store_true", help="show what is proved, and stop")
    arguments = parser.parse_args()

    chosen = {name: entry for name, entry in collect().items()
              if not arguments.proofs or any(name.startswith(p) for p in arguments.proofs)}
    if not chosen:
        parser.error("no such proof")
    if arguments.list:
        for name, (_, proof) in chosen.items():
            print(f"{name}: {proof.claim} Assumes: {proof.assumes} ({proof.method} {proof.depth})")
        return 0

    begin = time.monotonic()
    warm_up()
    passed = []
    for name, (module, proof) in chosen.items():
        if proof.slow and not arguments.slow and not arguments.proofs:
            continue
        if not arguments.mutants:
            passed.append(_report(prove(module, proof, _folder(name), trace=True), name,
                                  f"{proof.method} {proof.depth}"))
        for mutant in () if arguments.no_mutants else proof.mutants:
            if not mutant.slow or arguments.slow:
                passed.append(_report(
                    refute(module, proof, mutant, _folder(name, mutant.name)),
                    f"{name}, {mutant.name}", f"refuted {proof.mutant_depth}"))
    print(f"{sum(passed)} of {len(passed)} in {time.monotonic() - begin:.0f} s")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
