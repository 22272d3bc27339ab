"""The demonstration from its command line, on the functional model and, slowly, on the RTL."""

import argparse
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import xpu
from xpu.demo import add_arguments, main
from xpu.demo.data import load_digits
from xpu.demo.network import Network, QuantizedLayer
from xpu.demo.picture import draw
from xpu.demo.run import run_network
from xpu.platforms import TraceEvent


def _demo(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return main(parser.parse_args(["--platform", "model", *arguments]))


def _is_png(path):
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 20_000


def test_default_arguments():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([])
    assert (args.platform, args.config, args.json) == ("native", "slice", False)


def test_json_is_one_line_and_complete(tmp_path, capsys):
    assert _demo("--json", "--output", str(tmp_path / "demo.png")) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    figures = json.loads(out)
    assert figures["ok"] is True
    assert figures["images"] == 500
    assert figures["accuracy_float"] >= 0.97
    assert figures["accuracy_int8"] >= figures["accuracy_float"] - 0.005
    assert figures["differing_bits"] == 0
    assert figures["cycles"] is figures["utilization"] is figures["sim_khz"] is None
    assert [layer["shape"] for layer in figures["layers"]] == [
        "500x256x64", "500x128x256", "500x10x128"]
    assert figures["macs"] == 500 * (256 * 64 + 128 * 256 + 10 * 128)
    assert "held-out" in err
    assert _is_png(tmp_path / "demo.png")


def test_report_names_the_figures(tmp_path, capsys):
    assert _demo("--config", "tiny", "--output", str(tmp_path / "demo.png")) == 0
    out = capsys.readouterr().out
    for text in ("500x128x256", "accuracy", "0 bits differ", "none on platform 'model'"):
        assert text in out


def test_a_single_differing_bit_fails(tmp_path, capsys, monkeypatch):
    original = QuantizedLayer.reference

    def wrong(self, x):
        y = original(self, x)
        if not self.relu:
            y[123, 4] ^= 1
        return y

    monkeypatch.setattr(QuantizedLayer, "reference", wrong)
    assert _demo("--json", "--output", str(tmp_path / "demo.png")) == 1
    out, err = capsys.readouterr()
    assert "1 bits differ from the NumPy model" in err
    figures = json.loads(out)
    assert figures["ok"] is False
    assert [layer["differing_bits"] for layer in figures["layers"]] == [0, 0, 1]


def test_low_accuracy_fails(tmp_path, capsys, monkeypatch):
    network = Network.load()
    network.biases[-1][3] += 100
    monkeypatch.setattr(Network, "load", lambda: network)
    assert _demo("--output", str(tmp_path / "demo.png")) == 1
    assert "float accuracy must be at least 97.0%" in capsys.readouterr().err


def test_int8_loss_fails(tmp_path, capsys, monkeypatch):
    original = Network.quantize

    def coarse(self):
        *layers, last = original(self)
        return [*layers, dataclasses.replace(last, scale=last.scale / np.float32(1024))]

    monkeypatch.setattr(Network, "quantize", coarse)
    assert _demo("--output", str(tmp_path / "demo.png")) == 1
    assert "INT8 accuracy must be within 0.5 points" in capsys.readouterr().err


def test_missing_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    assert _demo() == 0, "without --output the picture is a bonus"
    assert "no picture; the picture needs matplotlib: pip install matplotlib" in \
        capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert _demo("--output", "demo.png") == 1
    assert "needs matplotlib" in capsys.readouterr().err


def test_missing_scikit_learn(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert _demo() == 1
    assert "pip install scikit-learn" in capsys.readouterr().err


def test_folder_of_output_must_exist(tmp_path, capsys):
    assert _demo("--output", str(tmp_path / "no" / "demo.png")) == 1
    out, err = capsys.readouterr()
    assert "folder of --output does not exist" in err
    assert not out, "refused before anything runs"


def test_unwritable_picture_keeps_the_figures(tmp_path, capsys):
    (tmp_path / "demo.png").mkdir()
    assert _demo("--json", "--output", str(tmp_path / "demo.png")) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["differing_bits"] == 0
    assert "no picture" in err


def test_importing_the_demo_loads_no_heavy_package():
    program = ("import sys, xpu.demo; "
               "sys.exit(any(name in sys.modules for name in ('matplotlib', 'sklearn')))")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False,
                          timeout=60).returncode == 0


def test_picture_with_a_timeline_needs_no_display(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    digits = load_digits()
    images, labels = digits.test_images[:40], digits.test_labels[:40].copy()
    labels[:9] = (labels[:9] + 1) % 10
    with xpu.open("tiny", platform="model") as device:
        run = run_network(device, Network.load().quantize(), images)
    untimed = tmp_path / "untimed.png"
    draw(untimed, run, images, labels, 0.99)
    events = [TraceEvent("load", 0, 3, 50), TraceEvent("tensor", 1, 20, 90),
              TraceEvent("store", 2, 30, 99), TraceEvent("later", 3, 30, 99)]
    timed = dataclasses.replace(run, layers=tuple(dataclasses.replace(
        layer, cycles=100, utilization=0.5, events=events,
        busy={"load": 50, "tensor": 60, "store": 70}) for layer in run.layers))
    assert timed.cycles == 300
    assert timed.utilization == pytest.approx(0.5)
    draw(tmp_path / "timed.png", timed, images, labels, 0.99)
    assert _is_png(untimed)
    assert _is_png(tmp_path / "timed.png")
    assert (tmp_path / "timed.png").read_bytes() != untimed.read_bytes()


@pytest.mark.slow
@pytest.mark.cosim
def test_on_the_rtl(tmp_path, capsys):
    assert _demo("--platform", "native", "--json", "--output", str(tmp_path / "demo.png")) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["ok"] is True
    assert figures["cycles"] > 0
    assert 0.5 < figures["utilization"] < 1
    assert _is_png(tmp_path / "demo.png")
