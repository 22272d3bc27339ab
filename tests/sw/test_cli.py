import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpu
from xpu import cli
from xpu.cli.bench_table import render

ROOT = Path(__file__).parents[2]
KEYS = {"op", "shape", "dtype", "cycles", "macs", "utilization", "bus_utilization", "bytes_read",
        "bytes_written", "sim_seconds", "sim_khz", "exact"}
TINY = ("--config", "tiny", "--platform", "model")


def xpu_process(*arguments):
    """Run ``python -m xpu`` as a user does."""
    path = f"{ROOT / 'rtl'}:{ROOT / 'sw'}"
    return subprocess.run([sys.executable, "-m", "xpu", *arguments], capture_output=True, text=True,
                          env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"}, timeout=120,
                          check=False)


def test_bench_prints_one_object_on_one_line():
    done = xpu_process("bench", "matmul", "9x20x33", *TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    figures = json.loads(done.stdout)
    assert set(figures) == KEYS
    assert (figures["op"], figures["shape"], figures["dtype"]) == ("matmul", "9x20x33", "int8")
    assert figures["macs"] == 9 * 20 * 33
    assert figures["bytes_read"] == 9 * 33 + 33 * 20 + 4 * 20
    assert figures["bytes_written"] == 9 * 20
    assert figures["exact"] is True
    assert figures["cycles"] is figures["utilization"] is figures["sim_khz"] is None
    assert figures["sim_seconds"] > 0


def test_errors_go_to_stderr():
    done = xpu_process("bench", "matmul", "3x4", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "must be MxNxK, like 512x768x768, not '3x4'" in done.stderr
    assert xpu_process().returncode == 2


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("out_dtype", ["int8", "uint8", "int32"])
def test_bench_checks_the_result(dtype, out_dtype, capsys, monkeypatch):
    arguments = ["bench", "matmul", "12x10x40", *TINY, "--dtype", dtype, "--out-dtype", out_dtype,
                 "--json"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["exact"] is True

    numpy = xpu.Tensor.numpy

    def wrong(self):
        values = numpy(self)
        if values.shape == (12, 10):
            values[3, 4] ^= 1
        return values
    monkeypatch.setattr(xpu.Tensor, "numpy", wrong)
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exact"] is False
    assert "differs from NumPy's" in captured.err


def test_bench_results_fill_their_range():
    parser = cli._parser()
    for dtype in ("int8", "uint8"):
        args = parser.parse_args(["bench", "matmul", "64x64x256", "--dtype", dtype])
        a, b, scale = cli.bench_matmul.operands(args, 64, 64, 256)
        result = cli.bench_matmul.expected(a, b, scale, args.out_dtype)
        assert a.min() == np.iinfo(dtype).min
        assert a.max() == np.iinfo(dtype).max
        assert np.ptp(result.astype(int)) > 60
        assert (result == 127).mean() < 0.1


def test_errors_become_messages(capsys, monkeypatch):
    def fails(args):
        raise xpu.OutOfMemoryError("no space")
    monkeypatch.setattr("xpu.cli.bench_matmul.measure", fails)
    assert cli.main(["bench", "matmul", "1x1x1"]) == 1
    assert capsys.readouterr().err == "xpu bench: no space\n"

    def interrupted(args):
        raise KeyboardInterrupt
    monkeypatch.setattr("xpu.cli.bench_matmul.measure", interrupted)
    assert cli.main(["bench", "matmul", "1x1x1"]) == 130


def test_info(capsys):
    assert cli.main(["info"]) == 0
    assert "slice       256 INT8 MACs per cycle" in capsys.readouterr().out
    assert cli.main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["xpu"] == xpu.__version__
    assert set(facts["configurations"]) == {"tiny", "ecp5", "slice"}


def test_cache(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XPU_CACHE", str(tmp_path))
    assert cli.main(["cache", "info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(tmp_path)
    model = tmp_path / "models" / ("5" * 40)
    model.mkdir(parents=True)
    (model / "info.json").write_text('{"name": "tiny", "traced": true}')
    assert cli.main(["cache", "info"]) == 0
    assert "tiny with waves" in capsys.readouterr().out
    assert cli.main(["cache", "clear"]) == 0
    assert "0.0 MiB freed" in capsys.readouterr().out


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for name, shape in (("small", "4x5x6"), ("large", "40x5x6")):
        command = ["bench", "matmul", shape, *TINY, "--json"]
        (folder / f"{name}.json").write_text(json.dumps({"command": command}))
    return folder


def test_table_measures_renders_and_checks(results, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'rtl'}:{ROOT / 'sw'}")
    table = ["bench", "table", "--results", str(results)]
    assert cli.main([*table, "--check"]) == 1                     # not there
    assert cli.main([*table, "--run", "small"]) == 0
    entry = json.loads((results / "small.json").read_text())
    assert entry["result"]["exact"] is True
    assert "result" not in json.loads((results / "large.json").read_text())
    text = results.with_suffix(".md").read_text()
    assert "| `bench matmul 4x5x6 --config tiny --platform model` | - | - | - | 74 | 20 | - | yes" \
        in text
    assert text.index("40x5x6") < text.index("4x5x6 ")            # the larger first
    assert cli.main([*table, "--check"]) == 0
    results.with_suffix(".md").write_text("edited")
    assert cli.main([*table, "--check"]) == 1
    assert cli.main([*table]) == 0
    assert results.with_suffix(".md").read_text() == text


def test_table_refusals(results, capsys):
    table = ["bench", "table", "--results", str(results)]
    assert cli.main([*table, "--run", "nothing"]) == 1
    assert "NAME must be one of large, small, not nothing" in capsys.readouterr().err
    (results / "bad.json").write_text('{"result": {}}')
    assert cli.main(table) == 1
    assert "bad.json must hold an object with a command" in capsys.readouterr().err
    assert cli.main(["bench", "table", "--results", str(results / "none")]) == 1
    assert "--results must be a folder of measurements" in capsys.readouterr().err


def test_table_of_other_commands():
    text = render({"demo": {"command": ["demo", "--json"],
                            "result": {"ok": True, "cycles": 1234567, "khz": 100.26, "layers": []}},
                   "later": {"command": ["demo", "--json"]}})
    assert "## demo\n\n`demo`\n" in text
    for line in ("| ok | yes |", "| cycles | 1,234,567 |", "| khz | 100.3 |",
                 "| result | not measured yet |"):
        assert line in text
    assert "layers" not in text


def test_the_projects_own_measurements_are_well_formed():
    for path in (ROOT / "docs/results").glob("*.json"):
        entry = json.loads(path.read_text())
        assert entry["command"][-1] == "--json"
        cli._parser().parse_args(entry["command"])
