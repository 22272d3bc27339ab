"""Both DMA engines with scratchpad and bus."""

import dataclasses

from amaranth import Module, ResetInserter, Signal
from amaranth.lib.wiring import In, Out, connect

from common.flat import FlatBench
from xpu_rtl.common.axi_mux import AxiReadMux
from xpu_rtl.dma.load import LoadEngine
from xpu_rtl.dma.store import StoreEngine
from xpu_rtl.scratchpad.requesters import Requester
from xpu_rtl.scratchpad.scratchpad import Scratchpad

__all__ = ["DmaBench", "bench_config"]

PORTS = (Requester("load", reads=False, writes=True), Requester("store", reads=True, writes=False),
         Requester("host", reads=True, writes=True),
         Requester("noise", reads=True, writes=False, priority=True))


def bench_config(config):
    """The configuration with a scratchpad that a test can fill and read in a short time."""
    smallest = 16 * config.sm_banks * config.word_bytes
    return dataclasses.replace(config, sm_bytes=max(4096, smallest))


class DmaBench(FlatBench):
    """Load and store engine on one scratchpad, and a second reader beside the load engine.

    Ports: ``load_*``, ``store_*`` (``EnginePort``), ``store_view_*``, ``host_*`` and ``noise_*``
    (scratchpad ports; the latter has priority, as activations have), ``fetch_*`` (``AxiReadPort``
    of the second reader), ``m_axi_*``, ``load_bytes``, ``store_bytes``, ``core_rst`` (resets all
    but the read multiplexer).
    """

    def __init__(self, config):
        config = bench_config(config)
        self._core_reset = Signal()
        self._parts = {
            "load": LoadEngine(config), "store": StoreEngine(config),
            "scratchpad": Scratchpad(config, PORTS),
        }
        self._mux = AxiReadMux(config.bus_width, 2)
        parts = self._parts
        count = (config.bus_bytes).bit_length()
        super().__init__(
            {"load": parts["load"].port, "store": parts["store"].port,
             "store_view": parts["store"].view, "host": parts["scratchpad"].ports[2],
             "noise": parts["scratchpad"].ports[3], "fetch": self._mux.managers[1]},
            extra={"core_rst": In(1), "load_bytes": Out(count), "store_bytes": Out(count)},
            axi_width=config.bus_width)

    def elaborate(self, platform):
        m = Module()
        for name, part in self._parts.items():
            m.submodules[name] = ResetInserter(self._core_reset)(part)
        m.submodules.mux = mux = self._mux
        load, store, scratchpad = self._parts.values()
        connect(m, load.axi, mux.managers[0])
        connect(m, load.sm, scratchpad.ports[0])
        connect(m, store.sm, scratchpad.ports[1])
        m.d.comb += [self._core_reset.eq(self.core_rst), self.load_bytes.eq(load.payload_bytes),
                     self.store_bytes.eq(store.payload_bytes)]
        self.connect_exposed(m)
        self.connect_axi(m, mux.axi, store.axi)
        return m
