"""The scratchpad with the ports of a cluster and one that both reads and writes."""

from amaranth import Module

from common.flat import FlatBench
from xpu_rtl.scratchpad.requesters import REQUESTERS, Requester
from xpu_rtl.scratchpad.scratchpad import Scratchpad

__all__ = ["PORTS", "ScratchpadBench"]

PORTS = (*REQUESTERS, Requester("simd", reads=True, writes=True))


class ScratchpadBench(FlatBench):
    """Ports: ``{requester}_req_*``, ``{requester}_rsp_*``, ``{requester}_waiting``."""

    def __init__(self, config):
        self._scratchpad = Scratchpad(config, PORTS)
        super().__init__({who.name: self._scratchpad.ports[n] for n, who in enumerate(PORTS)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.scratchpad = self._scratchpad
        self.connect_exposed(m)
        return m
