"""The compute cluster: wiring of its blocks, and the flat bus names of the outside world."""

from amaranth import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from .command.formats import Engine
from .command.processor import CommandProcessor
from .common.axi import AXI_ADDR_WIDTH, AXI_ID_WIDTH, AxiLite
from .dma.engine import DmaEngine, stream_names
from .params import XpuConfig
from .scratchpad.requesters import requesters_of, simd_ports
from .scratchpad.scratchpad import Scratchpad
from .simd.cluster import SimdCluster
from .simd.observed import Observed
from .tensor.unit import TensorUnit

__all__ = ["CSR_ADDR_WIDTH", "Xpu"]

CSR_ADDR_WIDTH = 12
OBSERVED = 8    #: places of engines in the ``obs_*`` ports

_BURST_INCR = 0b01
_CACHE_NORMAL = 0b0011   # normal, non-cacheable, bufferable


def _manager_members(width):
    """Flat AXI4 manager ports without the prefix: ``{name: direction and shape}``."""
    members = {}
    for channel in ("aw", "ar"):
        members |= {
            f"{channel}id": Out(AXI_ID_WIDTH), f"{channel}addr": Out(AXI_ADDR_WIDTH),
            f"{channel}len": Out(8), f"{channel}size": Out(3), f"{channel}burst": Out(2),
            f"{channel}lock": Out(1), f"{channel}cache": Out(4), f"{channel}prot": Out(3),
            f"{channel}qos": Out(4), f"{channel}valid": Out(1), f"{channel}ready": In(1),
        }
    return members | {
        "wdata": Out(width), "wstrb": Out(width // 8), "wlast": Out(1),
        "wvalid": Out(1), "wready": In(1),
        "bid": In(AXI_ID_WIDTH), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        "rid": In(AXI_ID_WIDTH), "rdata": In(width), "rresp": In(2), "rlast": In(1),
        "rvalid": In(1), "rready": Out(1),
    }


class Xpu(wiring.Component):
    """One compute cluster behind AXI4-Lite (control) and AXI4 (global memory).

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    s_axil_* : AXI4-Lite subordinate, 32 data bits
        The registers of ``csr/maps.py``.
    m_axi_* : AXI4 manager, ``config.bus_width`` data bits
        Global memory. INCR bursts of full-width beats; IDs are those of ``DmaEngine``.
    irq : Out(1)
        High while an enabled interrupt is pending.
    obs_* : Out
        Observation for simulation and debug probes, left open on an FPGA: ``obs_active`` (a ring
        has work), and for engine n, numbered as ``Engine``: bits 8n+7:8n of ``obs_activity``
        (``Activity`` in this cycle), bit n of ``obs_begin`` (a command begins) with bits 32n+31:32n
        of ``obs_index`` (its index), bit n of ``obs_done`` (its oldest command ends). Of the SIMD
        cores, if there are any: ``obs_cores``, an ``Observed`` each.

    Timing
    ------
    Latency, throughput: those of the blocks.
    Backpressure: full on every AXI channel.
    Combinational paths: none from the outside to the outside but those of ``DmaEngine``.
    Reset: ``rst``, synchronous, active high; the scratchpad's contents are undefined until written.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        members = {f"s_axil_{name}": In(member.shape) if member.flow is Out else Out(member.shape)
                   for name, member in AxiLite(CSR_ADDR_WIDTH).members.items()}
        members |= {f"m_axi_{name}": member
                    for name, member in _manager_members(config.bus_width).items()}
        super().__init__(members | {
            "irq": Out(1), "obs_active": Out(1), "obs_activity": Out(8 * OBSERVED),
            "obs_begin": Out(OBSERVED), "obs_index": Out(32 * OBSERVED), "obs_done": Out(OBSERVED),
            **({"obs_cores": Out(Observed(config).size * config.simd_cores)} if config.simd_cores
               else {}),
        })

    @property
    def config(self):
        return self._config

    def elaborate(self, platform):
        m = Module()
        config = self._config
        core_reset = Signal()

        def resettable(component, *resets):
            for reset in resets:
                component = ResetInserter(reset)(component)
            return component

        m.submodules.processor = processor = CommandProcessor(config)
        m.submodules.scratchpad = scratchpad = resettable(
            Scratchpad(config, requesters_of(config)), core_reset)
        m.submodules.dma = dma = resettable(DmaEngine(config), core_reset)
        m.submodules.tensor = tensor = resettable(TensorUnit(config), core_reset,
                                                  processor.tensor_reset)
        m.d.comb += [core_reset.eq(processor.core_reset), dma.windows.eq(processor.windows),
                     tensor.windows.eq(processor.windows)]

        streams = stream_names(config)
        for name in streams:
            connect(m, getattr(processor, name), getattr(dma, name))
            m.d.comb += getattr(dma, f"{name}_reset").eq(getattr(processor, f"{name}_reset"))
            if name.startswith("store"):
                connect(m, getattr(processor, f"{name}_view"), getattr(dma, f"{name}_view"))
        connect(m, processor.tensor, tensor.port)
        connect(m, processor.tensor_a_view, tensor.a_view)
        connect(m, processor.tensor_b_view, tensor.b_view)
        connect(m, processor.fetch, dma.fetch)
        m.d.comb += [processor.bytes_read.eq(dma.bytes_read),
                     processor.bytes_written.eq(dma.bytes_written)]

        requesters = {"activation": tensor.activation, "weight": tensor.weight,
                      "output": tensor.output, "dma_write": dma.sm_write, "dma_read": dma.sm_read}
        ports = {"tensor": tensor.port, **{name: getattr(dma, name) for name in streams}}
        if config.simd_cores:
            m.submodules.simd = simd = resettable(SimdCluster(config), core_reset,
                                                  processor.simd_reset)
            connect(m, processor.simd, simd.port)
            connect(m, simd.fetch, dma.simd_fetch)
            connect(m, simd.read, dma.simd_read)
            connect(m, simd.write, dma.simd_write)
            requesters |= dict(zip(simd_ports(config), simd.sm, strict=True))
            m.d.comb += [simd.windows.eq(processor.windows),
                         simd.reset.eq(core_reset | processor.simd_reset),
                         self.obs_cores.eq(simd.observed)]
            ports["simd"] = simd.port
        for index, requester in enumerate(requesters_of(config)):
            connect(m, requesters[requester.name], scratchpad.ports[index])
            m.d.comb += processor.sm_waiting[index].eq(scratchpad.ports[index].waiting)

        self._connect_outside(m, processor, dma.read, dma.write)
        for name, port in ports.items():
            number = Engine[name.upper()]
            m.d.comb += [
                self.obs_activity[8 * number:8 * number + 8].eq(port.activity),
                self.obs_begin[number].eq(port.begin),
                self.obs_index[32 * number:32 * number + 32].eq(port.begin_index),
                self.obs_done[number].eq(port.done.valid),
            ]
        m.d.comb += [self.irq.eq(processor.irq), self.obs_active.eq(processor.active)]
        return m

    def _connect_outside(self, m, processor, read, write):
        for name, member in AxiLite(CSR_ADDR_WIDTH).members.items():
            port, outside = getattr(processor.csr, name), getattr(self, f"s_axil_{name}")
            m.d.comb += port.eq(outside) if member.flow is Out else outside.eq(port)

        size = self._config.bus_bytes.bit_length() - 1
        for prefix, channel in (("m_axi_ar", read.ar), ("m_axi_aw", write.aw)):
            def port(name, prefix=prefix):
                return getattr(self, prefix + name)
            m.d.comb += [
                port("id").eq(channel.p.id), port("addr").eq(channel.p.addr),
                port("len").eq(channel.p.len), port("size").eq(size),
                port("burst").eq(_BURST_INCR), port("cache").eq(_CACHE_NORMAL),
                port("valid").eq(channel.valid), channel.ready.eq(port("ready")),
            ]
        m.d.comb += [
            read.r.p.data.eq(self.m_axi_rdata), read.r.p.resp.eq(self.m_axi_rresp),
            read.r.p.last.eq(self.m_axi_rlast), read.r.p.id.eq(self.m_axi_rid),
            read.r.valid.eq(self.m_axi_rvalid), self.m_axi_rready.eq(read.r.ready),
            self.m_axi_wdata.eq(write.w.p.data), self.m_axi_wstrb.eq(write.w.p.strb),
            self.m_axi_wlast.eq(write.w.p.last), self.m_axi_wvalid.eq(write.w.valid),
            write.w.ready.eq(self.m_axi_wready),
            write.b.p.resp.eq(self.m_axi_bresp), write.b.p.id.eq(self.m_axi_bid),
            write.b.valid.eq(self.m_axi_bvalid), self.m_axi_bready.eq(write.b.ready),
        ]
