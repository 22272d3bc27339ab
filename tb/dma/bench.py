"""The DMA with scratchpad and bus."""

import dataclasses

from amaranth import Module, Value
from amaranth.lib.wiring import In, Out, connect

from common.flat import FlatBench
from xpu_rtl.command.windows import ring_windows
from xpu_rtl.dma.engine import DmaEngine, stream_names
from xpu_rtl.scratchpad.requesters import Requester
from xpu_rtl.scratchpad.scratchpad import Scratchpad

__all__ = ["DmaBench", "bench_config"]

PORTS = (Requester("dma_write", reads=False, writes=True),
         Requester("dma_read", reads=True, writes=False),
         Requester("host", reads=True, writes=True),
         Requester("noise", reads=True, writes=False, priority=True))


def bench_config(config):
    """Two rings, and a scratchpad that a test can fill and read in a short time."""
    smallest = 16 * config.sm_banks * config.word_bytes
    return dataclasses.replace(config, sm_bytes=max(4096, smallest), rings=2)


class DmaBench(FlatBench):
    """``DmaEngine`` on a scratchpad.

    Ports: ``load_*``, ``store_*``, ``load1_*``, ``store1_*`` (``EnginePort``, and the reset
    ``{name}_reset``), ``store_view_*``, ``store1_view_*``, ``host_*`` and ``noise_*`` (scratchpad
    ports; the latter has priority, as activations have), ``fetch_*`` (``AxiReadPort`` of command
    fetch), ``m_axi_*``, ``windows`` (of all rings), ``bytes_read``, ``bytes_written``.
    """

    def __init__(self, config):
        config = bench_config(config)
        names = stream_names(config)
        self._engine = engine = DmaEngine(config)
        self._scratchpad = scratchpad = Scratchpad(config, PORTS)
        self._resets = [f"{name}_reset" for name in names]
        super().__init__(
            {**{name: getattr(engine, name) for name in names},
             **{f"{name}_view": getattr(engine, f"{name}_view") for name in names
                if name.startswith("store")},
             "fetch": engine.fetch, "host": scratchpad.ports[2], "noise": scratchpad.ports[3]},
            extra={**{name: In(1) for name in self._resets},
                   "windows": In(ring_windows(config).size),
                   "bytes_read": Out(16), "bytes_written": Out(16)},
            axi_width=config.bus_width)

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self._engine
        m.submodules.scratchpad = scratchpad = self._scratchpad
        connect(m, engine.sm_write, scratchpad.ports[0])
        connect(m, engine.sm_read, scratchpad.ports[1])
        m.d.comb += [Value.cast(engine.windows).eq(self.windows),
                     self.bytes_read.eq(engine.bytes_read),
                     self.bytes_written.eq(engine.bytes_written)]
        m.d.comb += [getattr(engine, name).eq(getattr(self, name)) for name in self._resets]
        self.connect_exposed(m)
        self.connect_axi(m, engine.read, engine.write)
        return m
