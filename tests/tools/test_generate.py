import importlib.util
import subprocess
from pathlib import Path

import pytest

from xpu.sim.toolchain import find_toolchain

ROOT = Path(__file__).parents[2]
HEADERS = sorted((ROOT / "sw" / "include").glob("*.h"))


def _generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "tools" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_current():
    assert _generate().main(["--check"]) == 0


def test_a_stale_file_is_reported(tmp_path, capsys, monkeypatch):
    generate = _generate()
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "stale: docs/generated/commands.md" in capsys.readouterr().err


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_header_compiles(header):
    flags = ["-std=c99", "-Wall", "-Werror", "-pedantic", "-fsyntax-only", "-xc"]
    text = f'#include "{header}"\nint unused;\n'
    subprocess.run([find_toolchain().compiler, *flags, "-"], input=text, text=True, check=True)
