"""``python -m xpu profile`` and the record it is made of."""

import itertools
import json
import re

import numpy as np
import pytest

import xpu
from xpu.cli import main
from xpu.cli.profile import sentence
from xpu.recorder import Operation, Recorder

SCRIPT = """import sys
import numpy as np, xpu
dev = xpu.open({config})
a = dev.tensor(np.ones((32, 32), np.int8))
for _ in range(2):
    xpu.ops.matmul(a, a)
xpu.ops.copy(a)
{end}
"""


@pytest.mark.cosim
def test_activity_adds_up_and_costs_nothing():
    rng = np.random.default_rng(1)
    cycles = []
    for recorded in (False, True):
        with xpu.open("tiny", memory_stall=0.2) as dev:
            a = dev.tensor(rng.integers(-128, 128, (40, 40), np.int8))
            recorder = Recorder(dev) if recorded else None
            with dev.profile() as p:
                product = xpu.ops.matmul(a, a)
                xpu.ops.transpose(product)
                xpu.ops.copy(a)
            cycles.append(p.cycles)
            if not recorded:
                continue
            operations = recorder.finish()
            assert [record.name.split()[0] for record in operations] == ["matmul", "transpose",
                                                                         "copy"]
            for before, record in itertools.pairwise(operations):
                assert before.end <= record.begin
            for record in operations:
                assert 0 < record.cycles < p.cycles
                for counts in record.activity.values():
                    assert sum(counts.values()) == record.cycles
                    assert min(counts.values()) >= 0
            for engine in ("tensor", "load", "store"):
                within = sum(record.activity[engine]["busy"] for record in operations)
                assert within == p.busy[engine]
            assert operations[0].busiest[0] == "tensor"
            assert operations[0].macs == 40 ** 3
            assert operations[2].bytes == 2 * 40 * 40
            xpu.ops.copy(a).numpy()             # not recorded any more
            assert len(operations) == 3
    assert cycles[0] == cycles[1]


@pytest.mark.cosim
def test_the_command_shows_a_script(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(config='"tiny"', end="sys.exit(len(sys.argv))"))
    assert main(["profile", str(script), "x", "--output", str(tmp_path / "out")]) == 2
    text = capsys.readouterr().out
    assert "tiny: 3 operations" in text
    assert re.search(r"^matmul 32x32x32 to int32 +2 ", text, re.MULTILINE)
    assert re.search(r"^- matmul 32x32x32 to int32: [\d,]+ cycles, .* is tensor, busy in", text,
                     re.MULTILINE)
    trace = json.loads((tmp_path / "out" / "trace.json").read_text())["traceEvents"]
    spans = [event for event in trace if event["ph"] == "X" and event["tid"] == 0]
    assert [event["name"].split()[0] for event in spans] == ["matmul", "matmul", "copy"]
    assert "<svg" in (tmp_path / "out" / "roofline.svg").read_text()[:500]
    assert xpu.opening.observers == []


def test_scripts_that_fail_or_use_no_hardware(tmp_path, capsys):
    assert main(["profile", str(tmp_path / "none.py")]) == 1
    assert "SCRIPT.py must be a file" in capsys.readouterr().err
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(config='"tiny", platform="model"', end=""))
    assert main(["profile", str(script), "--output", str(tmp_path / "out")]) == 1
    assert "has opened no device with time" in capsys.readouterr().err
    script.write_text("raise KeyError('mine')")
    with pytest.raises(KeyError, match="mine"):
        main(["profile", str(script)])
    assert xpu.opening.observers == []


def test_sentences():
    record = Operation("matmul", 2560, 256, 99, 0, 20, [], {
        "tensor": {"busy": 17, "semaphore": 3, "memory": 0, "bank_conflict": 0, "output": 0,
                   "idle": 0},
        "load": {"busy": 4, "semaphore": 0, "memory": 16, "bank_conflict": 0, "output": 0,
                 "idle": 0}})
    assert sentence(record) == ("matmul: 20 cycles, bound by tensor, busy in 85% of them, 50% of "
                                "its peak, which waited for other engines in 15%.")
