"""What ``make coverage`` makes of Verilator's coverage files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
sys.path.insert(0, {tb!r})
from coverage import parse, summary
for module, kinds in summary(parse(sys.stdin.read())).items():
    print(module, *kinds["line"], *kinds["toggle"])
"""


def point(page, name, count):
    keys = {"f": "top.sv", "l": "10", "n": "3", "page": page, "o": name, "h": "top.part"}
    return "C '" + "".join(f"\x01{key}\x02{value}" for key, value in keys.items()) + f"' {count}\n"


def summarise(text):
    return subprocess.run([sys.executable, "-c", PROGRAM.format(tb=str(ROOT / "tb"))], input=text,
                          capture_output=True, text=True, check=False)


def test_points_are_counted_by_module_and_kind():
    text = "# SystemC::Coverage-3\n" + "".join((
        point("v_toggle/top.b", "x:0->1", 7), point("v_toggle/top.b", "x:1->0", 0),
        point("v_line/top.b", "block", 1), point("v_branch/top.a", "if", 0),
        point("v_branch/top.a", "else", 123456)))
    assert summarise(text).stdout.splitlines() == [
        "top.a 1 2 0 0", "top.b 1 1 1 2", "total 2 3 1 2"]


@pytest.mark.parametrize("text", ["nonsense\n", point("v_other/top", "x", 1)])
def test_other_files_are_refused(text):
    result = summarise(text)
    assert result.returncode
    assert "ValueError" in result.stderr
