"""The command processor of two rings, alone."""

import dataclasses

from amaranth import Module

from common.flat import FlatBench
from xpu_rtl.command.engines import engine_names, view_names
from xpu_rtl.command.processor import CommandProcessor

__all__ = ["CommandBench", "bench_config"]

_INPUTS = ("bytes_read", "bytes_written", "sm_waiting")
_OUTPUTS = ("core_reset", "active", "irq")


def bench_config(config):
    """The configuration with two rings."""
    return dataclasses.replace(config, rings=2)


class CommandBench(FlatBench):
    """Ports: ``s_axil_*``, ``m_axi_*`` (reads), ``<engine>_*`` (``EnginePort``, the bench being the
    engine), ``<engine>_reset``, ``*_view_*``, and the plain ports under the names they have in
    ``CommandProcessor``."""

    def __init__(self, config):
        config = bench_config(config)
        self._processor = processor = CommandProcessor(config)
        members = processor.signature.members
        engines = engine_names(config)
        self._outputs = (*_OUTPUTS, *(f"{name}_reset" for name in engines))
        super().__init__(
            {"s_axil": processor.csr} | {name: getattr(processor, name)
                                         for name in (*engines, *view_names(config))},
            extra={name: members[name] for name in (*_INPUTS, *self._outputs)},
            axi_width=config.bus_width, axi_write=False)

    def elaborate(self, platform):
        m = Module()
        m.submodules.processor = processor = self._processor
        self.connect_exposed(m)
        self.connect_axi(m, processor.fetch)
        for name in _INPUTS:
            m.d.comb += getattr(processor, name).eq(getattr(self, name))
        for name in self._outputs:
            m.d.comb += getattr(self, name).eq(getattr(processor, name))
        return m
