// A small stand-in with the ports of the cluster: copies beats of memory. Registers:
//   00 control: bit 0 start, bit 1 raise irq at the end, bit 2 W before AW, bit 3 wrong ARSIZE,
//               bit 4 low byte of each written beat = RID, bit 5 drop ARVALID while stalled,
//               bit 6 $stop
//   04 source   08 destination   0c beats per read burst   10 read bursts, with IDs 0, 1, ...
//   14 strobe   18 status: bit 0 done, 3:2 worst RRESP, 5:4 BRESP; a write clears it
//   1c never written: its initial value
//   20 cycles from first AR to first R   24 cycles from last W to B
// Anything else answers SLVERR.
module xpu #(
    parameter int BYTES = 16
) (
    input logic clk,
    input logic rst,
    input  logic [11:0] s_axil_awaddr, input logic s_axil_awvalid, output logic s_axil_awready,
    input  logic [31:0] s_axil_wdata, input logic [3:0] s_axil_wstrb, input logic s_axil_wvalid,
    output logic s_axil_wready, output logic [1:0] s_axil_bresp, output logic s_axil_bvalid,
    input  logic s_axil_bready,
    input  logic [11:0] s_axil_araddr, input logic s_axil_arvalid, output logic s_axil_arready,
    output logic [31:0] s_axil_rdata, output logic [1:0] s_axil_rresp, output logic s_axil_rvalid,
    input  logic s_axil_rready,
    output logic [3:0] m_axi_awid, output logic [63:0] m_axi_awaddr, output logic [7:0] m_axi_awlen,
    output logic [2:0] m_axi_awsize, output logic [1:0] m_axi_awburst, output logic m_axi_awlock,
    output logic [3:0] m_axi_awcache, output logic [2:0] m_axi_awprot, output logic [3:0] m_axi_awqos,
    output logic m_axi_awvalid, input logic m_axi_awready,
    output logic [8*BYTES-1:0] m_axi_wdata, output logic [BYTES-1:0] m_axi_wstrb,
    output logic m_axi_wlast, output logic m_axi_wvalid, input logic m_axi_wready,
    input  logic [3:0] m_axi_bid, input logic [1:0] m_axi_bresp, input logic m_axi_bvalid,
    output logic m_axi_bready,
    output logic [3:0] m_axi_arid, output logic [63:0] m_axi_araddr, output logic [7:0] m_axi_arlen,
    output logic [2:0] m_axi_arsize, output logic [1:0] m_axi_arburst, output logic m_axi_arlock,
    output logic [3:0] m_axi_arcache, output logic [2:0] m_axi_arprot, output logic [3:0] m_axi_arqos,
    output logic m_axi_arvalid, input logic m_axi_arready,
    input  logic [3:0] m_axi_rid, input logic [8*BYTES-1:0] m_axi_rdata, input logic [1:0] m_axi_rresp,
    input  logic m_axi_rlast, input logic m_axi_rvalid, output logic m_axi_rready,
    output logic irq,
    output logic obs_active,
    output logic [63:0] obs_activity, output logic [7:0] obs_begin,
    output logic [255:0] obs_index, output logic [7:0] obs_done
);
  localparam logic [2:0] SIZE = 3'($clog2(BYTES));
  logic [6:0] control;
  logic [31:0] source, target, status, read_wait, write_wait, index;
  // Never written: it shows the state at power-up.
  /* verilator lint_off UNDRIVEN */
  logic [31:0] idle_word;
  /* verilator lint_on UNDRIVEN */
  logic [8:0] beats, reads, reads_asked, beats_left;
  logic [BYTES-1:0] strobe;
  logic active, aw_pending, w_blocked, waiting_r, waiting_b;

  // Registers: one access at a time.
  logic [11:0] w_addr;
  logic [31:0] w_word;
  logic have_addr, have_word, write_now;
  assign s_axil_awready = !have_addr;
  assign s_axil_wready = !have_word;
  assign write_now = have_addr && have_word && !s_axil_bvalid;
  assign s_axil_arready = !s_axil_rvalid;
  always_ff @(posedge clk) begin
    if (s_axil_awvalid && s_axil_awready) begin have_addr <= 1; w_addr <= s_axil_awaddr; end
    if (s_axil_wvalid && s_axil_wready) begin have_word <= 1; w_word <= s_axil_wdata; end
    if (s_axil_bvalid && s_axil_bready) begin s_axil_bvalid <= 0; have_addr <= 0; have_word <= 0; end
    if (write_now) begin
      s_axil_bvalid <= 1;
      s_axil_bresp <= w_addr > 12'h24 || w_addr == 12'h1c ? 2'd2 : 2'd0;
    end
    if (s_axil_rvalid && s_axil_rready) s_axil_rvalid <= 0;
    if (s_axil_arvalid && s_axil_arready) begin
      s_axil_rvalid <= 1;
      s_axil_rresp <= 0;
      case (s_axil_araddr)
        12'h00: s_axil_rdata <= 32'(control);
        12'h04: s_axil_rdata <= source;
        12'h08: s_axil_rdata <= target;
        12'h0c: s_axil_rdata <= 32'(beats);
        12'h10: s_axil_rdata <= 32'(reads);
        12'h18: s_axil_rdata <= status;
        12'h1c: s_axil_rdata <= idle_word;
        12'h20: s_axil_rdata <= read_wait;
        12'h24: s_axil_rdata <= write_wait;
        default: begin s_axil_rdata <= 0; s_axil_rresp <= 2'd2; end
      endcase
    end
    if (rst) begin s_axil_bvalid <= 0; s_axil_rvalid <= 0; have_addr <= 0; have_word <= 0; end
  end

  // The copy.
  logic last_beat, pass;
  assign last_beat = beats_left == 1;
  assign w_blocked = aw_pending && !control[2];
  assign pass = m_axi_rvalid && m_axi_rready;
  assign m_axi_rready = active && !w_blocked && (!m_axi_wvalid || m_axi_wready);
  assign {m_axi_arid, m_axi_arlen} = {4'(reads_asked), 8'(beats - 9'd1)};
  assign m_axi_araddr = 64'(source) + 64'(reads_asked) * 64'(beats) * BYTES;
  assign m_axi_arsize = control[3] ? 3'd0 : SIZE;
  assign m_axi_awaddr = 64'(target);
  assign m_axi_awlen = 8'(reads * beats - 9'd1);
  assign m_axi_awsize = SIZE;
  assign {m_axi_awburst, m_axi_arburst} = 4'b0101;
  assign {m_axi_awid, m_axi_awlock, m_axi_awcache, m_axi_awprot, m_axi_awqos} = '0;
  assign {m_axi_arlock, m_axi_arcache, m_axi_arprot, m_axi_arqos} = '0;
  assign m_axi_awvalid = aw_pending && (!control[2] || waiting_b);
  assign m_axi_bready = 1;
  assign m_axi_wstrb = strobe;
  assign irq = status[0] && control[1];
  assign obs_active = active;
  // Engine 0 loads, engine 1 stores.
  logic begins;
  assign obs_activity = {48'd0, 7'd0, active, 6'd0, waiting_r, active};
  assign obs_begin = {6'd0, begins, begins};
  assign obs_index = {192'd0, index, index};
  assign obs_done = {6'd0, m_axi_bvalid, pass && last_beat};
  always_ff @(posedge clk) begin
    begins <= 0;
    if (write_now)
      case (w_addr)
        12'h00: begin
          control <= w_word[6:0];
          if (w_word[6]) $stop;
          if (w_word[0]) begin
            {active, aw_pending, m_axi_arvalid} <= 3'b111;
            begins <= 1;
            index <= index + 1;
            reads_asked <= 0;
            beats_left <= 9'(reads * beats);
            {read_wait, write_wait} <= '0;
          end
        end
        12'h04: source <= w_word;
        12'h08: target <= w_word;
        12'h0c: beats <= w_word[8:0];
        12'h10: reads <= w_word[8:0];
        12'h14: strobe <= w_word[BYTES-1:0];
        12'h18: status <= 0;
        default: ;
      endcase
    if (m_axi_arvalid && !m_axi_arready && control[5]) m_axi_arvalid <= 0;
    if (m_axi_arvalid && m_axi_arready) begin
      reads_asked <= reads_asked + 1;
      if (reads_asked + 9'd1 == reads) m_axi_arvalid <= 0;
      if (reads_asked == 0) waiting_r <= 1;
    end
    if (m_axi_rvalid) waiting_r <= 0;
    if (waiting_r || (m_axi_arvalid && m_axi_arready && reads_asked == 0))
      if (!m_axi_rvalid) read_wait <= read_wait + 1;
    if (m_axi_awvalid && m_axi_awready) aw_pending <= 0;
    if (m_axi_wvalid && m_axi_wready) m_axi_wvalid <= 0;
    if (m_axi_wvalid && m_axi_wready && m_axi_wlast) waiting_b <= 1;
    if (waiting_b || (m_axi_wvalid && m_axi_wready && m_axi_wlast))
      if (!m_axi_bvalid) write_wait <= write_wait + 1;
    if (pass) begin
      m_axi_wvalid <= 1;
      m_axi_wdata <= m_axi_rdata;
      if (control[4]) m_axi_wdata[7:0] <= 8'(m_axi_rid);
      m_axi_wlast <= last_beat;
      beats_left <= beats_left - 1;
      if (m_axi_rresp > status[3:2]) status[3:2] <= m_axi_rresp;
    end
    if (m_axi_bvalid) begin
      waiting_b <= 0;
      active <= 0;
      status[0] <= 1;
      status[5:4] <= m_axi_bresp;
    end
    if (rst) begin
      {control, status, index, strobe} <= '0;
      {active, aw_pending, waiting_r, waiting_b, m_axi_arvalid, m_axi_wvalid} <= '0;
      {begins, read_wait, write_wait, reads, beats} <= '0;
    end
  end
endmodule
