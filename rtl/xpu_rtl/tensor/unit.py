"""The tensor unit: products and convolutions from the scratchpad to the scratchpad."""

from amaranth import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..command.formats import CONV
from ..command.types import EnginePort, SemaphoreView
from ..command.windows import ring_windows
from ..common.interfaces import connect_stream
from ..params import XpuConfig
from ..scratchpad.share import PortShare
from ..scratchpad.types import ScratchpadPort
from .compute import TensorCompute
from .epilogue import Epilogue
from .gate import PortGate

__all__ = ["TensorUnit"]


class TensorUnit(wiring.Component):
    """Execute GEMM and CONV commands: sums (``TensorCompute``), and their way out (``Epilogue``).

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    port : Out(EnginePort(formats.CONV))
        Commands, their ends, their semaphore additions. ``quiet``: no access to the scratchpad is
        outstanding. A BAD_ADDRESS or PROTECTION fault carries a byte offset in the scratchpad.
    activation, weight, output : Out(ScratchpadPort(config))
        Reads of A; reads of B, its zero points and, before them, the epilogue's parameters and
        residuals; writes of C.
    a_view, b_view : Out(SemaphoreView(config))
        Waits for A and B.
    windows : In(ring_windows(config))
        What the rings may use. All unfinished commands are of one ring.

    Timing
    ------
    Latency: as ``TensorCompute`` and ``Epilogue``.
    Throughput: one activation row per cycle; see ``TensorCompute``.
    Backpressure: full.
    Combinational paths: ``weight.req.ready`` into state, and ``weight.rsp`` into buffers, through
    ``PortShare``; ``port.add.ready`` into the epilogue; ``port.abort`` to ``req.valid``.
    Reset: idle. To be given while ``port.abort`` and ``port.quiet`` are high, or to the scratchpad
    as well.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "port": Out(EnginePort(CONV)),
            "activation": Out(ScratchpadPort(config)), "weight": Out(ScratchpadPort(config)),
            "output": Out(ScratchpadPort(config)),
            "a_view": Out(SemaphoreView(config)), "b_view": Out(SemaphoreView(config)),
            "windows": In(ring_windows(config)),
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
        m.submodules.epilogue_share = reads = PortShare(self._config)

        connect(m, compute.port, flipped(self.port))
        connect(m, compute.a_view, flipped(self.a_view))
        connect(m, compute.b_view, flipped(self.b_view))
        gates = {name: PortGate(self._config) for name in ("activation", "weight", "output")}
        for name, gate in gates.items():
            m.submodules[f"{name}_gate"] = gate
            connect(m, gate.outer, flipped(getattr(self, name)))
            m.d.comb += gate.stop.eq(self.port.abort)
        m.d.comb += compute.quiet.eq(Cat(gate.quiet for gate in gates.values()).all())
        connect(m, compute.activation, gates["activation"].inner)
        connect(m, epilogue.param, reads.high)
        connect(m, epilogue.residual, reads.low)
        connect(m, reads.port, share.high)
        connect(m, compute.weight, share.low)
        connect(m, share.port, gates["weight"].inner)
        connect(m, epilogue.output, gates["output"].inner)

        connect_stream(m, compute.tile, epilogue.tile)
        connect(m, epilogue.acc, compute.acc)
        connect_stream(m, epilogue.add, compute.add)
        m.d.comb += [
            epilogue.computed.eq(compute.computed), compute.released.eq(epilogue.released),
            compute.done.eq(epilogue.done), compute.fault.eq(epilogue.fault),
            compute.fault_address.eq(epilogue.fault_address), compute.settled.eq(epilogue.settled),
            compute.protected.eq(epilogue.protected), compute.fault_write.eq(epilogue.fault_write),
            compute.windows.eq(self.windows), epilogue.last_word.eq(compute.last_word),
        ]
        return m
