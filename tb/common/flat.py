"""Blocks with their interfaces flattened to plain ports, so that a testbench can bind to them.

A stream ``cmd`` of an interface exposed as ``load`` becomes ``load_cmd_valid``, ``load_cmd_ready``
and ``load_cmd_payload`` (packed; see ``common.drive.packer``).
"""

from amaranth import Const, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xpu_rtl.common.axi import AXI_ADDR_WIDTH, AXI_ID_WIDTH

__all__ = ["FlatBench"]

_BURST_INCR = 0b01


def _leaves(name, port):
    """``(flat name, member, value)`` of an interface; what is constant is left out."""
    for path, member, value in port.signature.flatten(port):
        if not isinstance(value, Const):
            yield "_".join((name, *map(str, path))), member, value


def _address_members(channel):
    return {f"m_axi_{channel}{name}": flow for name, flow in {
        "id": Out(AXI_ID_WIDTH), "addr": Out(AXI_ADDR_WIDTH), "len": Out(8), "size": Out(3),
        "burst": Out(2), "lock": Out(1), "cache": Out(4), "prot": Out(3), "valid": Out(1),
        "ready": In(1)}.items()}


def _axi_members(width, write):
    members = _address_members("ar") | {
        "m_axi_rdata": In(width), "m_axi_rresp": In(2), "m_axi_rlast": In(1),
        "m_axi_rid": In(AXI_ID_WIDTH), "m_axi_rvalid": In(1), "m_axi_rready": Out(1)}
    if not write:
        return members
    return members | _address_members("aw") | {
        "m_axi_wdata": Out(width), "m_axi_wstrb": Out(width // 8), "m_axi_wlast": Out(1),
        "m_axi_wvalid": Out(1), "m_axi_wready": In(1),
        "m_axi_bresp": In(2), "m_axi_bid": In(AXI_ID_WIDTH), "m_axi_bvalid": In(1),
        "m_axi_bready": Out(1)}


class FlatBench(wiring.Component):
    """Base of a bench: make the parts, call this with what stays open, connect the rest.

    Parameters
    ----------
    exposed : dict
        Interfaces of the parts by the name their ports get.
    extra : dict
        Further ports, driven by ``elaborate``.
    axi_width : int
        Data bits of the ports ``m_axi_*``, which ``connect_axi`` drives; 0 for none.
    axi_write : bool
        ``m_axi_*`` has write channels.
    """

    def __init__(self, exposed, *, extra=None, axi_width=0, axi_write=True):
        self._exposed, self._axi_width = exposed, axi_width
        members = {name: member.flow(Shape.cast(member.shape).width)
                   for prefix, port in exposed.items() for name, member, _ in _leaves(prefix, port)}
        if axi_width:
            members |= _axi_members(axi_width, axi_write)
        super().__init__(members | (extra or {}))

    def connect_exposed(self, m):
        """Connect every exposed interface to its ports."""
        for prefix, port in self._exposed.items():
            for name, member, value in _leaves(prefix, port):
                outside, inside = getattr(self, name), Value.cast(value)
                m.d.comb += outside.eq(inside) if member.flow is Out else inside.eq(outside)

    def connect_axi(self, m, read, write=None):
        """Connect ``m_axi_*`` to an ``AxiReadPort`` and, if it writes, an ``AxiWritePort``."""
        for channel, stream in (("ar", read.ar), ("aw", write and write.aw)):
            if stream is None:
                continue

            def port(name, channel=channel):
                return getattr(self, f"m_axi_{channel}{name}")

            m.d.comb += [
                port("id").eq(stream.p.id), port("addr").eq(stream.p.addr),
                port("len").eq(stream.p.len), port("burst").eq(_BURST_INCR),
                port("size").eq((self._axi_width // 8).bit_length() - 1),
                port("valid").eq(stream.valid), stream.ready.eq(port("ready"))]
        m.d.comb += [
            read.r.p.data.eq(self.m_axi_rdata), read.r.p.resp.eq(self.m_axi_rresp),
            read.r.p.last.eq(self.m_axi_rlast), read.r.p.id.eq(self.m_axi_rid),
            read.r.valid.eq(self.m_axi_rvalid), self.m_axi_rready.eq(read.r.ready)]
        if write is not None:
            m.d.comb += [
                self.m_axi_wdata.eq(write.w.p.data), self.m_axi_wstrb.eq(write.w.p.strb),
                self.m_axi_wlast.eq(write.w.p.last), self.m_axi_wvalid.eq(write.w.valid),
                write.w.ready.eq(self.m_axi_wready),
                write.b.p.resp.eq(self.m_axi_bresp), write.b.p.id.eq(self.m_axi_bid),
                write.b.valid.eq(self.m_axi_bvalid), self.m_axi_bready.eq(write.b.ready)]
