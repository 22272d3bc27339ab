"""The tensor unit on its scratchpad."""

from amaranth import Module, ResetInserter, Signal
from amaranth.lib.wiring import In, connect

from common.flat import FlatBench
from support.command_windows import OPEN
from xpu_rtl.command.windows import RingWindows
from xpu_rtl.scratchpad.requesters import REQUESTERS, Requester
from xpu_rtl.scratchpad.scratchpad import Scratchpad
from xpu_rtl.tensor.unit import TensorUnit

__all__ = ["TensorBench"]

PORTS = (*REQUESTERS[:3], Requester("host", reads=True, writes=True),
         Requester("noise", reads=True, writes=False, priority=True))


class TensorBench(FlatBench):
    """Ports: ``tensor_*`` (``EnginePort``), ``a_view_*``, ``b_view_*``, ``host_*`` and ``noise_*``
    (scratchpad ports; the latter has priority), ``core_rst`` (resets everything, as the command
    processor does). The windows are open."""

    def __init__(self, config):
        self._core_reset = Signal()
        self._tensor, self._scratchpad = TensorUnit(config), Scratchpad(config, PORTS)
        super().__init__({"tensor": self._tensor.port, "a_view": self._tensor.a_view,
                          "b_view": self._tensor.b_view, "host": self._scratchpad.ports[3],
                          "noise": self._scratchpad.ports[4]},
                         extra={"core_rst": In(1)})

    def elaborate(self, platform):
        m = Module()
        tensor, scratchpad = self._tensor, self._scratchpad
        m.submodules.tensor = ResetInserter(self._core_reset)(tensor)
        m.submodules.scratchpad = ResetInserter(self._core_reset)(scratchpad)
        m.d.comb += [self._core_reset.eq(self.core_rst),
                     *(windows.eq(RingWindows().const(OPEN)) for windows in tensor.windows)]
        for n, port in enumerate((tensor.activation, tensor.weight, tensor.output)):
            connect(m, port, scratchpad.ports[n])
        self.connect_exposed(m)
        return m
