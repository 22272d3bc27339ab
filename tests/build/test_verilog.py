"""Whole configurations as SystemVerilog."""

import json
import os
import re
import subprocess
import sys

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xpu_rtl import CONFIGS
from xpu_rtl.build import verilog
from xpu_rtl.build.__main__ import main
from xpu_rtl.build.emit import to_systemverilog
from xpu_rtl.contract import contract_hash
from xpu_rtl.csr.maps import CLUSTER


class Constants(wiring.Component):
    """Drives some bits with constants, and has a signal of no bits."""

    def __init__(self):
        super().__init__({"i": In(4), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        nothing = Signal(0, name="nothing")
        m.d.comb += [self.o[:4].eq(self.i), self.o[4:].eq(8), nothing.eq(self.i)]
        return m


def test_the_text_is_safe_to_simulate_and_holds_no_paths():
    text = to_systemverilog(Constants(), name="constants")
    assert "always @*" not in text
    assert "[-1:0]" not in text
    assert "nothing" not in text
    assert os.sep + "tests" not in text


@pytest.fixture(scope="module")
def tiny():
    return verilog.emit("tiny")


def test_a_configuration_has_the_standard_ports(tiny):
    [ports] = re.findall(r"^module xpu\((.*?)\);", tiny, re.MULTILINE | re.DOTALL)
    assert {"clk", "rst", "irq", "s_axil_awaddr", "s_axil_rresp", "m_axi_araddr", "m_axi_wstrb",
            "m_axi_bid", "obs_active", "obs_index"} <= set(re.split(r"\s*,\s*", ports.strip()))
    assert tiny.count("module xpu_sram_1rw ") == 1
    assert tiny.count("module xpu_sram_1r1w ") == 1


def test_the_text_is_the_same_from_run_to_run(tiny):
    program = "import sys, xpu_rtl.build.verilog as v; sys.stdout.write(v.emit('tiny'))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"}
    again = subprocess.run([sys.executable, "-c", program], check=True, text=True, env=environment,
                           stdout=subprocess.PIPE).stdout
    assert again == tiny


@pytest.mark.parametrize("name", CONFIGS)
def test_metadata(name):
    data = json.loads(verilog.metadata_text(name))
    assert data["contract_hash"] == f"{contract_hash(name):016x}"
    assert data["config"]["name"] == name
    assert data["derived"]["bus_width"] == 8 * CONFIGS[name].lanes
    assert data["registers"]["status"]["offset"] == CLUSTER["status"].offset
    assert data["registers"]["status"]["fields"]["faulted"]["doc"]
    assert data["formats"]["gemm"]["fields"]["rows"]["doc"]
    assert data["address_map"]["spaces"]["SM"] == 1


def test_source_digest():
    digest = verilog.source_digest("tiny")
    assert digest == verilog.source_digest(CONFIGS["tiny"])
    assert digest != verilog.source_digest("ecp5")


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("xpu_rtl.build.__main__.emit", lambda name: f"// {name}\n")
    assert main(["--config", "all", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(path) for name in CONFIGS for path in
                       (tmp_path / "out" / f"xpu_{name}.sv", tmp_path / "out" / f"xpu_{name}.json")]
    assert (tmp_path / "out" / "xpu_tiny.sv").read_text() == "// tiny\n"
