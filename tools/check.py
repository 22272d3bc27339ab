"""Static checks: style, stale generated files, and every configuration emitted and linted.

Usage: python tools/check.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xpu.sim.toolchain import find_toolchain
from xpu_rtl import CONFIGS
from xpu_rtl.build.__main__ import write
from xpu_rtl.build.verilog import LINT

ROOT = Path(__file__).parent.parent


def run(name, command, **kwargs):
    """Run one check; print its output if it fails, and return whether it passed."""
    begin = time.monotonic()
    result = subprocess.run([str(word) for word in command], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
    seconds = time.monotonic() - begin
    verdict = "FAILED" if result.returncode else "ok    "
    print(f"{verdict} {name} ({seconds:.1f} s)", flush=True)
    if result.returncode:
        print(result.stdout, flush=True)
    return result.returncode == 0


def lint(toolchain, config, folder):
    """Emit a configuration and let Verilator look at it; every warning not waived is an error."""
    begin = time.monotonic()
    source, _ = write(config, folder)
    print(f"ok     emit {config} ({time.monotonic() - begin:.1f} s)", flush=True)
    return run(f"lint {config}", [
        toolchain.verilator, "--lint-only", "-Wall", "--top-module", "xpu", LINT, source],
        env=toolchain.environment())


def main():
    folders = [name for name in ("rtl", "sw", "tb", "tests", "tools") if (ROOT / name).is_dir()]
    passed = [run("ruff", [sys.executable, "-m", "ruff", "check", *folders]),
              run("generated files", [sys.executable, "tools/generate.py", "--check"])]
    toolchain = find_toolchain()
    with tempfile.TemporaryDirectory() as folder:
        passed += [lint(toolchain, config, folder) for config in CONFIGS]
    return not all(passed)


if __name__ == "__main__":
    sys.exit(main())
