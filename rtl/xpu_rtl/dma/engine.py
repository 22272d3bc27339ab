"""The DMA: all its streams, and their shares of buses and scratchpad ports."""

from amaranth import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..command import formats
from ..command.types import EnginePort, SemaphoreView
from ..command.windows import ring_windows
from ..common.axi import AxiReadPort, AxiWritePort
from ..common.axi_mux import AxiReadMux
from ..common.axi_write_mux import AxiWriteMux
from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from ..scratchpad.port_mux import PortMux
from ..scratchpad.types import ScratchpadPort
from .stream import DmaStream

__all__ = ["DmaEngine", "stream_names"]


def stream_names(config: XpuConfig):
    """Names of the streams: ``load``, ``store``, and with two per side ``load1``, ``store1``."""
    return tuple(f"{side}{n or ''}" for n in range(config.dma_streams)
                 for side in ("load", "store"))


class DmaEngine(wiring.Component):
    """Load and store streams behind one AXI port and two scratchpad ports.

    Streams share the AXI read channels address by address, the write channels burst by burst, and
    the scratchpad ports access by access, in turns. Command fetch reads in the background.

    Parameters
    ----------
    config : XpuConfig
        ``dma_streams`` per side.

    Members
    -------
    load, store, load1, store1 : Out(EnginePort(DMA_ND))
        One per stream; the second ones only with two streams.
    load_reset, ... : In(1)
        Reset of one stream, given only while its port is ``quiet``.
    store_view, store1_view : Out(SemaphoreView(config))
        Progress semaphores of the store streams.
    windows : In(ring_windows(config))
        What the rings may access.
    fetch : In(AxiReadPort(bus_width))
        Command fetch.
    simd_fetch, simd_read, simd_write : In(AxiReadPort), In(AxiReadPort), In(AxiWritePort)
        The SIMD cluster, if there is one.
    read, write : Out(AxiReadPort(bus_width)), Out(AxiWritePort(bus_width))
        Global memory. Read IDs: two per stream in the order of ``stream_names``, data and index
        lists; then those of the SIMD cluster, and command fetch. Write IDs: 0 ``store``, 1
        ``store1``, then the SIMD cluster.
    sm_read, sm_write : Out(ScratchpadPort(config))
        Scratchpad.
    bytes_read, bytes_written : Out(16)
        Payload bytes read from and written to GM in this cycle.

    Timing
    ------
    Latency, throughput: those of ``DmaStream``, one cycle more to the AXI address channels.
    Backpressure: full.
    Combinational paths: those of the multiplexers.
    Reset: everything; a stream alone by its reset.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        names = stream_names(config)
        super().__init__({
            **{name: Out(EnginePort(formats.DMA_ND)) for name in names},
            **{f"{name}_reset": In(1) for name in names},
            **{f"{name}_view": Out(SemaphoreView(config)) for name in names
               if name.startswith("store")},
            "windows": In(ring_windows(config)),
            "fetch": In(AxiReadPort(config.bus_width)),
            **({"simd_fetch": In(AxiReadPort(config.bus_width)),
                "simd_read": In(AxiReadPort(config.bus_width)),
                "simd_write": In(AxiWritePort(config.bus_width))} if config.simd_cores else {}),
            "read": Out(AxiReadPort(config.bus_width)),
            "write": Out(AxiWritePort(config.bus_width)),
            "sm_read": Out(ScratchpadPort(config)), "sm_write": Out(ScratchpadPort(config)),
            "bytes_read": Out(16), "bytes_written": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        names = stream_names(config)
        streams = {}
        for name in names:
            streams[name] = stream = DmaStream(config, load=name.startswith("load"))
            reset, port = getattr(self, f"{name}_reset"), getattr(self, name)
            add_gated(m, platform, name, ResetInserter(reset)(stream),
                      awake=stream.awake | port.cmd.valid | reset)
            connect(m, flipped(port), stream.port)
            m.d.comb += stream.windows.eq(self.windows)
        loads = [streams[name] for name in names if name.startswith("load")]
        stores = [streams[name] for name in names if name.startswith("store")]

        simd_reads = [self.simd_fetch, self.simd_read] if config.simd_cores else []
        simd_writes = [self.simd_write] if config.simd_cores else []
        reads = len(names) * 2 + len(simd_reads) + 1
        m.submodules.read_mux = read_mux = AxiReadMux(config.bus_width, reads, background=1)
        m.submodules.sm_reads = sm_reads = PortMux(config, len(names) * 2)
        for n, stream in enumerate(streams.values()):
            for k, (bus, sm) in enumerate(((stream.read, stream.sm_read),
                                           (stream.index, stream.sm_index))):
                connect(m, bus, read_mux.managers[2 * n + k])
                connect(m, sm, sm_reads.requesters[2 * n + k])
        for n, bus in enumerate((*simd_reads, self.fetch), len(names) * 2):
            connect(m, flipped(bus), read_mux.managers[n])
        connect(m, read_mux.axi, flipped(self.read))
        connect(m, sm_reads.port, flipped(self.sm_read))

        m.submodules.sm_writes = sm_writes = PortMux(config, len(loads))
        for stream, requester in zip(loads, sm_writes.requesters, strict=True):
            connect(m, stream.sm_write, requester)
        connect(m, sm_writes.port, flipped(self.sm_write))

        m.submodules.write_mux = write_mux = AxiWriteMux(
            config.bus_width, len(stores) + len(simd_writes))
        for n, bus in enumerate(simd_writes, len(stores)):
            connect(m, flipped(bus), write_mux.managers[n])
        for n, (stream, manager) in enumerate(zip(stores, write_mux.managers, strict=False)):
            connect(m, stream.write, manager)
            connect(m, stream.view, flipped(getattr(self, f"store{n or ''}_view")))
        connect(m, write_mux.axi, flipped(self.write))

        m.d.sync += [
            self.bytes_read.eq(sum(stream.bytes_read for stream in streams.values())),
            self.bytes_written.eq(sum(stream.bytes_written for stream in stores)),
        ]
        return m
