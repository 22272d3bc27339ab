"""No output of a core depends on its inputs in the same cycle, but on those that change at rest."""

import json

import pytest
from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil

from xpu_rtl.build.platforms import SimulationPlatform
from xpu_rtl.configs import get_config
from xpu_rtl.prims.shared import port_widths, ports_of
from xpu_rtl.simd.core import Core

AT_REST = {"allowed", "flat"}


def inputs_of_outputs(module):
    """Inputs that each output depends on combinationally, from Yosys' JSON of a flat module."""
    drivers = {}
    for name, cell in module["cells"].items():
        kind, connections = cell["type"], cell["connections"]
        directions = cell.get("port_directions") or {
            port: "output" if port in ("r_data", "gated") else "input" for port in connections}
        registered = "dff" in kind or kind.startswith(("xpu_sram", "xpu_clock_gate"))
        sources = [] if registered else [
            bit for port, direction in directions.items() if direction != "output"
            for bit in connections[port] if isinstance(bit, int)]
        for port, direction in directions.items():
            if direction == "output":
                drivers |= {bit: (name, sources) for bit in connections[port]}
    inputs = {bit: name for name, port in module["ports"].items()
              if port["direction"] == "input" for bit in port["bits"]}
    result = {}
    for output, port in module["ports"].items():
        if port["direction"] != "output":
            continue
        stack, seen, found = [bit for bit in port["bits"] if isinstance(bit, int)], set(), set()
        while stack:
            bit = stack.pop()
            if bit in inputs:
                found.add(inputs[bit])
            elif bit in drivers and drivers[bit][0] not in seen:
                seen.add(drivers[bit][0])
                stack += drivers[bit][1]
        result[output] = found
    return result


@pytest.mark.slow
def test_a_core_has_no_combinational_paths():
    """So ``sim/part.py`` may call its library once per clock."""
    core = Core(get_config("tiny"))
    text = rtlil.convert(core, name="core", platform=SimulationPlatform(), emit_src=False,
                         ports=ports_of(core))
    yosys = find_yosys(lambda version: version >= (0, 40))
    described = yosys.run(["-q", "-"], f"read_rtlil <<rtlil\n{text}\nrtlil\nproc\nflatten\n"
                          "opt_clean\nwrite_json\n", ignore_warnings=True)
    module = json.loads(described)["modules"]["core"]
    paths = inputs_of_outputs(module)
    assert set(paths) == set(port_widths(core)[1])
    assert {output: found - AT_REST for output, found in paths.items() if found - AT_REST} == {}
