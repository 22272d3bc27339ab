// Replays register writes from a file on the module `xpu`, answers its memory bus, waits for the
// interrupt and writes the memory to a file. All files are hexadecimal.
`timescale 1ns / 1ps
module icarus_bench #(
    parameter WIDTH = 32,
    parameter WORDS = 1 << 18,
    parameter WRITES = 8
);
  localparam BYTES = WIDTH / 8;
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;

  reg [WIDTH-1:0] memory[0:WORDS-1];
  reg [43:0] script[0:WRITES-1];  // offset, value

  reg [11:0] awaddr;
  reg [31:0] wdata;
  reg awvalid = 0, wvalid = 0;
  wire awready, wready, bvalid, irq;

  wire arvalid, rready, awvalid_m, wvalid_m, wlast_m, bready;
  wire [63:0] araddr, awaddr_m;
  wire [7:0] arlen, awlen;
  wire [3:0] arid, awid;
  wire [WIDTH-1:0] wdata_m;
  wire [BYTES-1:0] wstrb_m;
  reg rvalid = 0, rlast = 0, bvalid_m = 0;
  reg [WIDTH-1:0] rdata;
  reg [3:0] rid, bid;

  xpu dut (
      .clk(clk), .rst(rst), .irq(irq),
      .s_axil_awaddr(awaddr), .s_axil_awvalid(awvalid), .s_axil_awready(awready),
      .s_axil_wdata(wdata), .s_axil_wstrb(4'hf), .s_axil_wvalid(wvalid), .s_axil_wready(wready),
      .s_axil_bvalid(bvalid), .s_axil_bready(1'b1),
      .s_axil_araddr(12'h0), .s_axil_arvalid(1'b0), .s_axil_rready(1'b1),
      .m_axi_arvalid(arvalid), .m_axi_arready(!rvalid), .m_axi_araddr(araddr),
      .m_axi_arlen(arlen), .m_axi_arid(arid), .m_axi_rvalid(rvalid), .m_axi_rready(rready),
      .m_axi_rdata(rdata), .m_axi_rresp(2'b00), .m_axi_rlast(rlast), .m_axi_rid(rid),
      .m_axi_awvalid(awvalid_m), .m_axi_awready(!writing && !bvalid_m), .m_axi_awaddr(awaddr_m),
      .m_axi_awlen(awlen), .m_axi_awid(awid), .m_axi_wvalid(wvalid_m), .m_axi_wready(writing),
      .m_axi_wdata(wdata_m), .m_axi_wstrb(wstrb_m), .m_axi_wlast(wlast_m),
      .m_axi_bvalid(bvalid_m), .m_axi_bready(bready), .m_axi_bresp(2'b00), .m_axi_bid(bid)
  );

  // One read burst and one write burst at a time.
  reg [63:0] read_word, write_word;
  reg [7:0] read_left;
  reg writing = 0;
  integer lane;
  always @(posedge clk) begin
    if (rst) begin
      rvalid <= 0;
      writing <= 0;
      bvalid_m <= 0;
    end else begin
      if (arvalid && !rvalid) begin
        rvalid <= 1;
        rid <= arid;
        rdata <= memory[araddr/BYTES];
        rlast <= arlen == 0;
        read_word <= araddr / BYTES + 1;
        read_left <= arlen;
      end else if (rvalid && rready) begin
        rvalid <= read_left != 0;
        rdata <= memory[read_word];
        rlast <= read_left == 1;
        read_word <= read_word + 1;
        read_left <= read_left - 1;
      end
      if (awvalid_m && !writing && !bvalid_m) begin
        writing <= 1;
        bid <= awid;
        write_word <= awaddr_m / BYTES;
      end else if (writing && wvalid_m) begin
        for (lane = 0; lane < BYTES; lane = lane + 1)
          if (wstrb_m[lane]) memory[write_word][8*lane+:8] <= wdata_m[8*lane+:8];
        write_word <= write_word + 1;
        writing <= !wlast_m;
        bvalid_m <= wlast_m;
      end else if (bvalid_m && bready) begin
        bvalid_m <= 0;
      end
    end
  end

  integer index, cycles;
  initial begin
    $readmemh("memory.hex", memory);
    $readmemh("script.hex", script);
    repeat (4) @(posedge clk);
    rst <= 0;
    for (index = 0; index < WRITES; index = index + 1) begin
      @(posedge clk);
      awaddr <= script[index][43:32];
      wdata <= script[index][31:0];
      awvalid <= 1;
      wvalid <= 1;
      cycles = 0;
      @(posedge clk);
      while (!bvalid && cycles < 100) begin
        if (awready) awvalid <= 0;
        if (wready) wvalid <= 0;
        cycles = cycles + 1;
        @(posedge clk);
      end
    end
    cycles = 0;
    while (!irq && cycles < 200000) begin
      cycles = cycles + 1;
      @(posedge clk);
    end
    if (!irq) $display("FAILED: no interrupt");
    else begin
      $writememh("result.hex", memory);
      $display("PASSED after %0d cycles", cycles);
    end
    $finish;
  end
endmodule
