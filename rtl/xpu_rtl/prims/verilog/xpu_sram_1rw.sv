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
  always_ff @(posedge clk) begin
    if (en) begin
      if (write) begin
        for (int i = 0; i < WIDTH / 8; i++) if (w_strobe[i]) mem[addr][8*i+:8] <= w_data[8*i+:8];
      end else begin
        r_data <= mem[addr];
      end
    end
  end
endmodule
