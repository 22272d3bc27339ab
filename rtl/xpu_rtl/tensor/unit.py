"""The tensor unit: matrix products from the scratchpad to the scratchpad."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..command.formats import GEMM
from ..command.types import EnginePort, SemaphoreView
from ..common.interfaces import connect_stream
from ..params import XpuConfig
from ..scratchpad.share import PortShare
from ..scratchpad.types import ScratchpadPort
from .compute import TensorCompute
from .epilogue import Epilogue

__all__ = ["TensorUnit"]


class TensorUnit(wiring.Component):
    """Execute GEMM commands: the sums (``TensorCompute``) and their way out (``Epilogue``).

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    port : Out(EnginePort(formats.GEMM))
        Commands, their ends, their semaphore additions. ``quiet`` is constant 1: the unit has no
        bus. A BAD_ADDRESS fault carries a byte offset in the scratchpad.
    activation, weight, output : Out(ScratchpadPort(config))
        Reads of A; reads of B, its zero points and (first) the epilogue's parameters; writes of C.
    a_view, b_view : Out(SemaphoreView(config))
        Waits for A and B.

    Timing
    ------
    Latency: as ``TensorCompute`` and ``Epilogue``.
    Throughput: one activation row per cycle; see ``TensorCompute``.
    Backpressure: full.
    Combinational paths: ``weight.req.ready`` into state, and ``weight.rsp`` into buffers, through
    ``PortShare``; ``port.add.ready`` into the epilogue.
    Reset: idle. The scratchpad is reset with it, or answers nothing older.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "port": Out(EnginePort(GEMM)),
            "activation": Out(ScratchpadPort(config)), "weight": Out(ScratchpadPort(config)),
            "output": Out(ScratchpadPort(config)),
            "a_view": Out(SemaphoreView(config)), "b_view": Out(SemaphoreView(config)),
        })

    @staticmethod
    def start_latency(config):
        """See ``TensorCompute``."""
        return TensorCompute.start_latency(config)

    def elaborate(self, platform):
        m = Module()
        flipped, connect = wiring.flipped, wiring.connect
        m.submodules.compute = compute = TensorCompute(self._config)
        m.submodules.epilogue = epilogue = Epilogue(self._config)
        m.submodules.share = share = PortShare(self._config)

        connect(m, compute.port, flipped(self.port))
        connect(m, compute.a_view, flipped(self.a_view))
        connect(m, compute.b_view, flipped(self.b_view))
        connect(m, compute.activation, flipped(self.activation))
        connect(m, epilogue.param, share.high)
        connect(m, compute.weight, share.low)
        connect(m, share.port, flipped(self.weight))
        connect(m, epilogue.output, flipped(self.output))

        connect_stream(m, compute.tile, epilogue.tile)
        connect(m, epilogue.acc, compute.acc)
        connect_stream(m, epilogue.add, compute.add)
        m.d.comb += [
            epilogue.computed.eq(compute.computed), compute.released.eq(epilogue.released),
            compute.done.eq(epilogue.done), compute.fault.eq(epilogue.fault),
            compute.fault_address.eq(epilogue.fault_address), compute.settled.eq(epilogue.settled),
        ]
        return m
