"""Build and run cocotb testbenches under Verilator.

Usage: python tb/run.py [BENCH ...] [--waves] [--seed N] [--test REGEX] [--list]

Builds are kept in build/tb, keyed by their SystemVerilog, so that an unchanged design is not built
again. With --waves an FST of the whole run lies beside the results (dump.fst).
"""

import argparse
import hashlib
import logging
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "rtl"), str(ROOT / "sw"), str(ROOT / "tb"), str(ROOT / "tests")]

from cocotb_tools.runner import get_runner  # noqa: E402

from benches import BENCHES  # noqa: E402
from xpu.sim.toolchain import find_toolchain, require_headers, verilator_environment  # noqa: E402
from xpu_rtl import get_config  # noqa: E402
from xpu_rtl.build.emit import to_systemverilog  # noqa: E402
from xpu_rtl.build.platforms import VerilogPlatform  # noqa: E402
from xpu_rtl.build.verilog import emit  # noqa: E402

TIMESCALE = ("1ns", "1ps")


def _systemverilog(bench):
    config = get_config(bench.config)
    if bench.top is None:
        return "xpu", emit(config)
    platform = VerilogPlatform()
    name = f"{bench.name}_bench"
    text = to_systemverilog(bench.top(config), name=name, platform=platform)
    return name, f"{platform.primitives()}\n{text}"


def run(bench, *, waves=False, seed=None, test=None):
    """Build and run one bench. Returns ``(passed, failed)``."""
    environment, build_args = verilator_environment()
    os.environ.update(environment)
    if waves:
        require_headers(find_toolchain(), ["lz4.h", "zlib.h"], "to write waveforms")
    top, text = _systemverilog(bench)
    flags = ["-O3", "--x-assign", "fast", "--x-initial", "unique", "-Wno-fatal", "-Wno-lint",
             "-Wno-style", "-j", "2", *build_args]
    if waves:
        flags += ["--trace-fst", "--trace-structs"]
    key = hashlib.sha256("\0".join([text, *flags]).encode()).hexdigest()[:12]
    folder = ROOT / "build" / "tb" / f"{bench.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{top}.sv"
    if not source.exists() or source.read_text(encoding="utf-8") != text:
        source.write_text(text, encoding="utf-8")
    runner = get_runner("verilator")
    runner.build(sources=[source], hdl_toplevel=top, build_dir=folder, build_args=flags,
                 timescale=TIMESCALE, waves=waves, log_file=folder / "build.log")
    path = os.pathsep.join(sys.path[:4])
    results = runner.test(
        test_module=list(bench.modules), hdl_toplevel=top, build_dir=folder, test_dir=folder,
        seed=seed, waves=waves, test_filter=test, timescale=TIMESCALE,
        extra_env={"PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")]),
                   "XPU_CONFIG": bench.config, "COCOTB_LOG_LEVEL": "WARNING"},
        results_xml=str(folder / "results.xml"))
    cases = list(ElementTree.parse(results).iter("testcase"))
    failed = [case for case in cases
              if case.find("failure") is not None or case.find("error") is not None]
    for case in failed:
        print(f"FAILED {bench.name}: {case.get('classname')}.{case.get('name')}")
    if waves:
        print(f"waves: {folder / 'dump.fst'}")
    return len(cases) - len(failed), len(failed)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", nargs="*", help="names; all if none is given")
    parser.add_argument("--waves", action="store_true", help="write an FST")
    parser.add_argument("--seed", type=int, help="random seed of cocotb")
    parser.add_argument("--test", help="regular expression of the tests to run")
    parser.add_argument("--list", action="store_true", help="list the benches and stop")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    if args.list:
        for bench in BENCHES.values():
            print(f"{bench.name:12} {bench.doc}")
        return 0
    unknown = [name for name in args.bench if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    passed = failed = 0
    for name in args.bench or BENCHES:
        good, bad = run(BENCHES[name], waves=args.waves, seed=args.seed, test=args.test)
        print(f"{name}: {good} passed, {bad} failed")
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
