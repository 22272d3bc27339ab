"""Modules translated once for all their instances do in every cycle what one model does."""

import dataclasses

import numpy as np
import pytest

import xpu
import xpu_rtl.build.verilog as verilog
from xpu.platforms.native import NativePlatform
from xpu.sim.model_build import build_model
from xpu.sim.part import Part
from xpu_rtl.configs import get_config

PAIR = dataclasses.replace(get_config("tiny"), name="pair", simd_cores=2, vector=False,
                           types=("int8",))

KERNEL = """#include "xpu_kernel.h"
__shared__ int meeting[64];
__local__ int mine[64];
__global__ void work(const int *x, float *out, int rounds) {
  for (int n = 0; n < 64; ++n) mine[n] = x[n] + core_id();
  for (int n = 0; n < rounds; ++n) {
    meeting[2 * n % 64 + core_id()] = mine[n % 64];
    sync_cluster();
    out[2 * n + core_id()] = 1.0f / (1 + meeting[(2 * n + 1 - core_id()) % 64] + core_id());
    sync_cluster();
  }
}"""


def test_the_wrapper_has_the_ports_in_their_widths():
    part = Part("thing", "", {"rst": 1, "wide__in": 70}, {"q": 33})
    assert "input logic [69:0] wide__in" in part.wrapper
    assert "output logic [32:0] q" in part.wrapper
    assert "take(top.wide___05Fin, wide___05Fin);" in part.bridge
    assert "give(q, top.q);" in part.bridge


def test_only_what_is_there_several_times_is_apart(monkeypatch):
    design = verilog.Design("// p", {"xpu": "// top", "core": "// core"}, {"core": ({}, {})})
    assert design.text() == "// p\n// top\n// core"
    assert design.text(but=["core"]) == "// p\n// top"
    assert design.text("core") == "// p\n// core"


def run(library):
    platform = NativePlatform(PAIR, 4 << 20, 5, {"r": 0.2, "b": 0.2, "seed": 3}, library=library)
    with xpu.open(config=PAIR, platform=platform) as dev:
        x = np.arange(64, dtype=np.int32)
        out = np.zeros(80, np.float32)
        dev.launch(xpu.Kernel.from_source(KERNEL, "work"), [x, out, 40])
        trap = xpu.Kernel.from_source('#include "xpu_kernel.h"\n__global__ void stop(void) {'
                                      "if (core_id()) xpu_abort(); for (;;); }", "stop")
        dev.launch(trap)
        with pytest.raises(xpu.DeviceFault, match="BREAKPOINT"):
            dev.synchronize()
        dev.reset()
        again = np.zeros(80, np.float32)
        dev.launch(xpu.Kernel.from_source(KERNEL, "work"), [x, again, 40])
        return (out.tobytes(), again.tobytes(), platform.take_trace(), platform.take_activity(),
                platform.cycle_count, platform.bus_counters)


@pytest.mark.slow
@pytest.mark.cosim
def test_a_model_in_parts_agrees_in_every_cycle():
    design = verilog.design(PAIR, gated=True)
    assert set(design.shared) == {"xpu_core"}
    options = {"name": "pair", "bus_bytes": PAIR.bus_bytes,
               "cores": (PAIR.simd_cores, PAIR.vlen, PAIR.simd_width)}
    whole = build_model(design.text(), **options)
    parts = [Part(name, design.text(name), *ports) for name, ports in design.shared.items()]
    apart = build_model(design.text(but=design.shared), parts=parts, **options)
    assert apart != whole
    results = [run(library) for library in (whole, apart)]
    assert results[0] == results[1]
    assert np.frombuffer(results[0][0], np.float32).all()
