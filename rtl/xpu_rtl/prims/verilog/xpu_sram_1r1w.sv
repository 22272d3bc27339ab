// One read and one write port. A read of the word being written returns the old contents.
module xpu_sram_1r1w #(
    parameter int DEPTH = 256,
    parameter int WIDTH = 512,
    parameter int GRANULARITY = WIDTH
) (
    input  logic                         clk,
    input  logic                         r_en,
    input  logic [$clog2(DEPTH)-1:0]     r_addr,
    output logic [WIDTH-1:0]             r_data,
    input  logic [WIDTH/GRANULARITY-1:0] w_en,
    input  logic [$clog2(DEPTH)-1:0]     w_addr,
    input  logic [WIDTH-1:0]             w_data
);
  logic [WIDTH-1:0] mem[DEPTH];
`ifdef XPU_RANDOM_INIT
  // For four-state simulators: they make padding nobody wrote, times zero, unknown instead of zero.
  initial for (int i = 0; i < DEPTH; i++) mem[i] = {(WIDTH + 31) / 32{$urandom}};
`endif
  always_ff @(posedge clk) begin
    if (r_en) r_data <= mem[r_addr];
    for (int i = 0; i < WIDTH / GRANULARITY; i++)
      if (w_en[i]) mem[w_addr][i*GRANULARITY+:GRANULARITY] <= w_data[i*GRANULARITY+:GRANULARITY];
  end
endmodule
