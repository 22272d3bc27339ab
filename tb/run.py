"""Build and run cocotb testbenches under Verilator.

Usage: python tb/run.py [BENCH ...] [--waves] [--seed N] [--test REGEX] [--effort X] [--quick]

Builds are kept in build/tb, keyed by their SystemVerilog, so that an unchanged design is not built
again. With --waves an FST of the whole run lies beside the results (dump.fst).
"""

import argparse
import fcntl
import importlib
import logging
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "rtl"), str(ROOT / "sw"), str(ROOT / "tb"), str(ROOT / "tests")]

from cocotb_tools.runner import get_runner  # noqa: E402

from benches import BENCHES  # noqa: E402
from simulator import build_simulator  # noqa: E402
from xpu_rtl import get_config  # noqa: E402
from xpu_rtl.build.emit import to_systemverilog  # noqa: E402
from xpu_rtl.build.platforms import VerilogPlatform  # noqa: E402
from xpu_rtl.build.verilog import TOP_NAME, emit  # noqa: E402

BUILDS = ROOT / "build" / "tb"
TIMESCALE = ("1ns", "1ps")


def _systemverilog(bench, config):
    if bench.top is None:
        return TOP_NAME, emit(config)
    platform = VerilogPlatform()
    name = f"{bench.name}_bench"
    module, component = bench.top.split(":")
    top = getattr(importlib.import_module(module), component)(config)
    return name, f"{platform.primitives()}\n{to_systemverilog(top, name=name, platform=platform)}"


def _cases(results):
    """``(all cases, those that failed)`` of a results file; none if there is no such file."""
    if not results.exists():
        return [], []
    cases = list(ElementTree.parse(results).iter("testcase"))
    return cases, [case for case in cases
                   if case.find("failure") is not None or case.find("error") is not None]


def run(bench, *, config=None, waves=False, seed=1, test=None, effort=1.0, flags=()):
    """Build and run one bench. Returns ``(passed, failed, folder)``; what failed is printed."""
    config = get_config(config or bench.config)
    top, text = _systemverilog(bench, config)
    name = f"{bench.name}-{config.name}" + "-coverage" * bool(flags)
    folder = build_simulator(text, top=top, root=BUILDS, name=name, waves=waves, flags=flags)
    results, log = folder / "results.xml", folder / "run.log"
    results.unlink(missing_ok=True)     # a crash must not look like the last run
    runner = get_runner("verilator")
    runner.log.setLevel(logging.WARNING)
    crash = None
    try:
        runner.test(
            test_module=list(bench.modules), hdl_toplevel=top, hdl_toplevel_lang="verilog",
            build_dir=folder, test_dir=folder, seed=seed, waves=waves, test_filter=test,
            timescale=TIMESCALE, results_xml=str(results), log_file=log,
            extra_env={"XPU_CONFIG": config.name, "XPU_TB_EFFORT": str(effort),
                       "COCOTB_LOG_LEVEL": "WARNING", "GPI_LOG_LEVEL": "WARNING",
                       # of cocotbext-axi under cocotb 2
                       "PYTHONWARNINGS": "ignore::DeprecationWarning"})
    except RuntimeError as error:       # the simulator itself failed
        crash = error
    cases, failed = _cases(results)
    if crash or failed:
        print(log.read_text(encoding="utf-8", errors="replace"))
    for case in failed:
        print(f"FAILED {bench.name}: {case.get('classname')}.{case.get('name')} (seed {seed})")
    if crash:
        print(f"FAILED {bench.name}: {crash}")
    if waves:
        print(f"waves: {folder / 'dump.fst'}")
    return len(cases) - len(failed), len(failed) + bool(crash), folder


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", nargs="*", help="names; all if none is given")
    parser.add_argument("--waves", action="store_true", help="write an FST")
    parser.add_argument("--seed", type=int, default=1, help="of everything random; default 1")
    parser.add_argument("--test", help="regular expression of the tests to run")
    parser.add_argument("--effort", type=float, default=1.0,
                        help="length of the random runs; default 1")
    parser.add_argument("--quick", action="store_true",
                        help="a few short tests of each bench")
    parser.add_argument("--config", help="configuration, instead of the bench's own")
    parser.add_argument("--list", action="store_true", help="list the benches and stop")
    args = parser.parse_args(argv)
    BUILDS.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING)
    if args.list:
        for bench in BENCHES.values():
            print(f"{bench.name:12} {bench.doc}")
        return 0
    unknown = [name for name in args.bench if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    lock = (BUILDS / "lock").open("w")      # one run at a time
    fcntl.flock(lock, fcntl.LOCK_EX)
    passed = failed = 0
    for name in args.bench or BENCHES:
        bench, begin = BENCHES[name], time.monotonic()
        options = {"test": bench.quick, "effort": 0.3} if args.quick else {
            "test": args.test, "effort": args.effort}
        good, bad, _ = run(bench, config=args.config, waves=args.waves, seed=args.seed, **options)
        print(f"{name}: {good} passed, {bad} failed, {time.monotonic() - begin:.0f} s, "
              f"seed {args.seed}", flush=True)
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
