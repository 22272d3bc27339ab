// Single-port memory with byte enables. Reads hold their value; contents undefined until written.
module xpu_sram_1rw #(
    parameter int DEPTH = 1024,
    parameter int WIDTH = 128
) (
    input  logic                     clk,
    input  logic                     en,
    input  logic                     write,
    input  logic [$clog2(DEPTH)-1:0] addr,
    input  logic [WIDTH-1:0]         w_data,
    input  logic [WIDTH/8-1:0]       w_strobe,
    output logic [WIDTH-1:0]         r_data
);
  logic [WIDTH-1:0] mem[DEPTH];
`ifdef XPU_RANDOM_INIT
  // For four-state simulators: they make padding nobody wrote, times zero, unknown instead of zero.
  initial for (int i = 0; i < DEPTH; i++) mem[i] = {(WIDTH + 31) / 32{$urandom}};
`endif
  always_ff @(posedge clk) begin
    if (en) begin
      if (write) begin
`ifdef VERILATOR
        // No other process sees the memory, so a blocking write means the same, and Verilator need
        // not keep a pending write for every byte (the scratchpad simulates three times as fast).
        // verilator lint_off BLKSEQ
        for (int i = 0; i < WIDTH / 8; i++) if (w_strobe[i]) mem[addr][8*i+:8] = w_data[8*i+:8];
        // verilator lint_on BLKSEQ
`else
        for (int i = 0; i < WIDTH / 8; i++) if (w_strobe[i]) mem[addr][8*i+:8] <= w_data[8*i+:8];
`endif
      end else begin
        r_data <= mem[addr];
      end
    end
  end
endmodule
