"""AXI4-Lite in front of register banks."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.axi import AxiLite, Resp
from .bank import CsrBus
from .spec import Access, RegisterBlock

__all__ = ["AxiLiteTarget"]


def _cover(numbers, width, prefix=""):
    """Bit patterns (``"10--"``) that match exactly ``numbers``, few by halving the range."""
    rest = width - len(prefix)
    low = int(prefix or "0", 2) << rest
    inside = [n for n in numbers if low <= n < low + (1 << rest)]
    if not inside:
        return []
    if len(inside) == 1 << rest:
        return [prefix + "-" * rest]
    return _cover(inside, width, prefix + "0") + _cover(inside, width, prefix + "1")


class AxiLiteTarget(wiring.Component):
    """Turn AXI4-Lite transfers into accesses on a ``CsrBus``, one at a time.

    Reads of addresses without a register answer SLVERR and 0; so do writes there, to registers
    without a writable field, and writes whose strobes are not all ones: nothing is written then.
    The two low address bits are ignored. AW and W may come in any order. When a read and a write
    wait, they take turns.

    Parameters
    ----------
    block : RegisterBlock
        Says which addresses exist and which are writable.

    Members
    -------
    axi : In(AxiLite(block.addr_width))
        From the host.
    bus : Out(CsrBus(block.addr_width))
        To the banks; their ``r_data`` are ORed.

    Timing
    ------
    Latency: ``READ_LATENCY`` cycles from the transfer on AR to RVALID, ``WRITE_LATENCY`` from the
    later of AW and W to BVALID; the write takes effect with BVALID.
    Throughput: one access at a time.
    Backpressure: full.
    Combinational paths: none.
    Reset: handshakes; data are undefined until valid.
    """

    READ_LATENCY = 5
    WRITE_LATENCY = 4

    def __init__(self, block: RegisterBlock):
        self._block = block
        super().__init__({"axi": In(AxiLite(block.addr_width)),
                          "bus": Out(CsrBus(block.addr_width))})

    def elaborate(self, platform):
        m = Module()
        axi, bus = self.axi, self.bus
        width = self._block.addr_width

        # One-entry registers on AW, W and AR.
        aw_held, w_held, ar_held = Signal(), Signal(), Signal()
        aw_addr = Signal(width, reset_less=True)
        ar_addr = Signal(width, reset_less=True)
        w_whole = Signal(reset_less=True)
        m.d.comb += [axi.awready.eq(~aw_held), axi.wready.eq(~w_held), axi.arready.eq(~ar_held)]
        with m.If(axi.awvalid & ~aw_held):
            m.d.sync += [aw_held.eq(1), aw_addr.eq(axi.awaddr)]
        with m.If(axi.wvalid & ~w_held):
            m.d.sync += [w_held.eq(1), bus.w_data.eq(axi.wdata), w_whole.eq(axi.wstrb.all())]
        with m.If(axi.arvalid & ~ar_held):
            m.d.sync += [ar_held.eq(1), ar_addr.eq(axi.araddr)]

        writing = Signal()  # kind of the current access, and of the last when idle
        legal = Signal(reset_less=True)
        with m.FSM(name="access"):
            with m.State("idle"):
                can_write, do_write = Signal(), Signal()
                m.d.comb += [can_write.eq(aw_held & w_held),
                             do_write.eq(can_write & ~(ar_held & writing))]
                with m.If(can_write | ar_held):
                    m.d.sync += [writing.eq(do_write),
                                 bus.addr.eq(Mux(do_write, aw_addr, ar_addr))]
                    m.next = "decode"
            with m.State("decode"):
                m.d.sync += legal.eq(0)
                with m.Switch(bus.addr[2:]):
                    with m.Case(*self._patterns(writable=True)):
                        m.d.sync += legal.eq(~writing | w_whole)
                    with m.Case(*self._patterns(writable=False)):
                        m.d.sync += legal.eq(~writing)
                m.next = "access"
            with m.State("access"):
                m.d.comb += [bus.w_en.eq(writing & legal), bus.r_en.eq(~writing & legal)]
                with m.If(writing):
                    m.d.sync += [axi.bvalid.eq(1), axi.bresp.eq(Mux(legal, Resp.OKAY, Resp.SLVERR))]
                    m.next = "respond"
                with m.Else():
                    m.next = "data"
            with m.State("data"):
                m.d.sync += [axi.rvalid.eq(1), axi.rdata.eq(Mux(legal, bus.r_data, 0)),
                             axi.rresp.eq(Mux(legal, Resp.OKAY, Resp.SLVERR))]
                m.next = "respond"
            with m.State("respond"):
                with m.If(axi.bvalid & axi.bready):
                    m.d.sync += [axi.bvalid.eq(0), aw_held.eq(0), w_held.eq(0)]
                    m.next = "idle"
                with m.If(axi.rvalid & axi.rready):
                    m.d.sync += [axi.rvalid.eq(0), ar_held.eq(0)]
                    m.next = "idle"
        return m

    def _patterns(self, *, writable):
        words = {reg.address(n) >> 2 for reg in self._block.registers for n in range(reg.count)
                 if any(field.access is not Access.RO for field in reg.fields) == writable}
        return _cover(sorted(words), self._block.addr_width - 2)
