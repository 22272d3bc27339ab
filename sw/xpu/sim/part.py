"""Modules that Verilator translates once for all their instances."""

from dataclasses import dataclass

__all__ = ["Part"]


def _cpp_name(port):
    return port.replace("__", "___05F")     # as Verilator writes it


def _listed(items, indent):
    return f",\n{' ' * indent}".join(items)


@dataclass(frozen=True)
class Part:
    """A module with one clock and no combinational path from an input to an output.

    Verilator would translate each instance by itself, and its own way of making a library of a
    module (``--lib-create``) takes every output to depend on every input. Here the design gets a
    module of the same name (``wrapper``) that calls the library (``bridge``) at each rising edge:
    with the inputs before it, for the outputs behind it.

    Attributes
    ----------
    name : str
        Of the module.
    text : str
        SystemVerilog of it and everything in it.
    inputs, outputs : dict
        Widths of the ports by name, without the clock ``clk``.
    """

    name: str
    text: str
    inputs: dict
    outputs: dict

    @property
    def wrapper(self):
        """SystemVerilog of the module that stands in its place."""
        name = self.name
        ports = [("input", port, width) for port, width in ({"clk": 1} | self.inputs).items()]
        ports += [("output", port, width) for port, width in self.outputs.items()]
        formal = [f"{direction} bit [{width - 1}:0] {port}" for direction, port, width in ports[1:]]
        return f"""\
// verilator lint_off UNUSEDSIGNAL
// verilator lint_off BLKSEQ
module {name} (
    {_listed((f"{way} logic [{width - 1}:0] {port}" for way, port, width in ports), 4)}
);
  import "DPI-C" function chandle {name}_create(input string scope);
  import "DPI-C" function void {name}_destroy(input chandle part);
  import "DPI-C" function void {name}_step(
      input chandle part,
      {_listed(formal, 6)}
  );
  chandle part;
  initial part = {name}_create($sformatf("%m"));
  final {name}_destroy(part);
  {" ".join(f"bit [{width - 1}:0] {port}_next;" for port, width in self.outputs.items())}
  always @(posedge clk) begin
    {name}_step(part, {_listed([*self.inputs, *(f"{port}_next" for port in self.outputs)], 8)});
    {" ".join(f"{port} <= {port}_next;" for port in self.outputs)}
  end
endmodule
"""

    @property
    def bridge(self):
        """C++ of what the wrapper calls."""
        name = self.name
        parameters = [*(f"const svBitVecVal* {_cpp_name(port)}" for port in self.inputs),
                      *(f"svBitVecVal* {_cpp_name(port)}" for port in self.outputs)]
        take = (f"take(top.{port}, {port});" for port in map(_cpp_name, self.inputs))
        give = (f"give({port}, top.{port});" for port in map(_cpp_name, self.outputs))
        return f"""\
#include <cstring>

#include "V{name}.h"
#include "svdpi.h"

namespace {{
// Ports are words of 32 bits, the lowest first, or a little-endian number.
template <class Port>
void take(Port& port, const svBitVecVal* words) {{ std::memcpy(&port, words, sizeof port); }}
template <class Port>
void give(svBitVecVal* words, const Port& port) {{
  if (sizeof port < sizeof *words) *words = 0;
  std::memcpy(words, &port, sizeof port);
}}
}}  // namespace

extern "C" {{
void* {name}_create(const char* scope) {{
  return new V{name}(Verilated::threadContextp(), scope);
}}
void {name}_destroy(void* part) {{
  static_cast<V{name}*>(part)->final();
  delete static_cast<V{name}*>(part);
}}
void {name}_step(void* part, {_listed(parameters, 4)}) {{
  V{name}& top = *static_cast<V{name}*>(part);
  {" ".join(take)}
  top.clk = 0;
  top.eval();
  top.clk = 1;
  top.eval();
  {" ".join(give)}
}}
}}
"""
