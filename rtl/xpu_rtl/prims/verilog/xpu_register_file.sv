// One write port with byte enables and READS ports that read at once. Contents undefined until written.
module xpu_register_file #(
    parameter int DEPTH = 32,
    parameter int WIDTH = 256,
    parameter int READS = 4
) (
    input  logic                             clk,
    input  logic [WIDTH/8-1:0]               w_strobe,
    input  logic [$clog2(DEPTH)-1:0]         w_addr,
    input  logic [WIDTH-1:0]                 w_data,
    input  logic [READS*$clog2(DEPTH)-1:0]   r_addr,
    output logic [READS*WIDTH-1:0]           r_data
);
  logic [WIDTH-1:0] mem[DEPTH];
`ifdef XPU_RANDOM_INIT
  // For four-state simulators: they make padding nobody wrote, times zero, unknown instead of zero.
  initial for (int i = 0; i < DEPTH; i++) mem[i] = {(WIDTH + 31) / 32{$urandom}};
`endif
  for (genvar n = 0; n < READS; n++) begin : port
    assign r_data[n*WIDTH+:WIDTH] = mem[r_addr[n*$clog2(DEPTH)+:$clog2(DEPTH)]];
  end
`ifdef VERILATOR
  // One pending write, and not one for every byte.
  logic [WIDTH-1:0] merged;
  always_comb begin
    merged = mem[w_addr];
    for (int i = 0; i < WIDTH / 8; i++) if (w_strobe[i]) merged[8*i+:8] = w_data[8*i+:8];
  end
  always_ff @(posedge clk) if (|w_strobe) mem[w_addr] <= merged;
`else
  always_ff @(posedge clk)
    for (int i = 0; i < WIDTH / 8; i++) if (w_strobe[i]) mem[w_addr][8*i+:8] <= w_data[8*i+:8];
`endif
endmodule
