"""The command processor of two rings, alone."""

import dataclasses

from amaranth import Module

from common.flat import FlatBench
from xpu_rtl.command.processor import VIEWS, CommandProcessor

__all__ = ["ENGINES", "CommandBench", "bench_config"]

ENGINES = ("load", "store", "tensor")
_PLAIN = ("bytes_read", "bytes_written", "sm_waiting", "core_reset", "active", "irq")


def bench_config(config):
    """The configuration with two rings."""
    return dataclasses.replace(config, rings=2)


class CommandBench(FlatBench):
    """Ports: ``s_axil_*``, ``m_axi_*`` (reads), ``load_*``, ``store_*``, ``tensor_*``
    (``EnginePort``, the bench being the engine), ``*_view_*``, and the plain ports under the names
    they have in ``CommandProcessor``."""

    def __init__(self, config):
        config = bench_config(config)
        self._processor = processor = CommandProcessor(config)
        members = processor.signature.members
        super().__init__(
            {"s_axil": processor.csr} | {name: getattr(processor, name)
                                         for name in (*ENGINES, *VIEWS)},
            extra={name: members[name] for name in _PLAIN},
            axi_width=config.bus_width, axi_write=False)

    def elaborate(self, platform):
        m = Module()
        m.submodules.processor = processor = self._processor
        self.connect_exposed(m)
        self.connect_axi(m, processor.fetch)
        for name in ("bytes_read", "bytes_written", "sm_waiting"):
            m.d.comb += getattr(processor, name).eq(getattr(self, name))
        for name in ("core_reset", "active", "irq"):
            m.d.comb += getattr(self, name).eq(getattr(processor, name))
        return m
