// Clock of a part that may rest: `en` of the cycle before the rising edge decides.
module xpu_clock_gate (input logic clk, input logic en, output logic gated);
  logic held;
  always_latch if (!clk) held = en;
  assign gated = clk & held;
endmodule
