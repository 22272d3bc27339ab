"""The SIMD cluster: cores, their instruction cache, their way to GM, and launches."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..command.formats import LAUNCH, FaultCause
from ..command.types import Activity, EnginePort
from ..command.windows import PAGE_BYTES, RingWindows, ring_windows
from ..common.axi import AxiReadPort, AxiWritePort
from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from ..prims.shared import shared as shared_module
from ..scratchpad.port_mux import PortMux
from ..scratchpad.requesters import simd_ports
from ..scratchpad.types import ScratchpadPort
from .core import Core
from .gm_bridge import GmBridge
from .icache import InstructionCache
from .observed import Observed
from .types import CoreState

__all__ = ["SimdCluster"]


class SimdCluster(wiring.Component):
    """Execute LAUNCH commands: run a kernel on the first cores until all have ended.

    If a core traps the others are stopped, and the command fails with KERNEL_TRAP: ``info`` is the
    cause (bits 7:0) and the core (15:8), ``address`` the instruction's, ``row`` ``mtval``.

    Parameters
    ----------
    config : XpuConfig
        ``simd_cores``, at least 1.

    Members
    -------
    port : Out(EnginePort(LAUNCH))
        Commands.
    windows : In(ring_windows(config))
        What the rings may use.
    fetch : Out(AxiReadPort(config.bus_width))
        Instructions.
    read, write : Out(AxiReadPort(config.bus_width)), Out(AxiWritePort(config.bus_width))
        Plain loads and stores.
    sm : Out(ScratchpadPort(config)).array(len(simd_ports(config)))
        Scratchpad. Core n uses port n modulo their number, in turns with others.
    reset : In(1)
        Reset of the cores, with that of the component: their clocks are gated.
    observed : Out(ArrayLayout(Observed(config), simd_cores))
        For logs.

    Timing
    ------
    Latency: 3 cycles from a transfer on ``port.cmd`` to the cores' ``start``.
    Throughput: one kernel at a time.
    Backpressure: full.
    Combinational paths: those of the parts.
    Reset: idle; given while the port is quiet.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "port": Out(EnginePort(LAUNCH)), "windows": In(ring_windows(config)),
            "fetch": Out(AxiReadPort(config.bus_width)), "read": Out(AxiReadPort(config.bus_width)),
            "write": Out(AxiWritePort(config.bus_width)),
            "sm": Out(ScratchpadPort(config)).array(len(simd_ports(config))), "reset": In(1),
            "observed": Out(data.ArrayLayout(Observed(config), config.simd_cores)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        count = config.simd_cores
        port, issued = self.port, self.port.cmd.p
        command = Signal.like(issued)
        body = command.command
        window = Cat(body.window_low, body.window_high)
        allowed = Signal(RingWindows(), reset_less=True)

        m.submodules.icache = icache = InstructionCache(config)
        m.submodules.bridge = bridge = GmBridge(config)
        ways = []       # to SM, by core
        for n, way in enumerate(self.sm):
            users = range(n, count, len(self.sm))
            m.submodules[f"shared_{n}"] = shared = PortMux(config, len(users))
            connect(m, shared.port, flipped(way))
            ways.append(iter(shared.requesters))
        connect(m, icache.bus, flipped(self.fetch))
        connect(m, bridge.read, flipped(self.read))
        connect(m, bridge.write, flipped(self.write))
        start, stop, started = Signal(), Signal(), Signal(count)
        argument = Signal(32, reset_less=True)
        m.d.sync += argument.eq(body.argument_low - body.window_low)
        for part in (icache, bridge):
            m.d.comb += [part.window.eq(window), part.allowed.eq(allowed)]
        cores = []
        for n in range(count):
            core = Core(config)
            running = core.state == CoreState.RUNNING
            add_gated(m, platform, f"core_{n}",
                      shared_module(core, "xpu_core", platform, reset=self.reset),
                      awake=start | running | ~core.quiet | self.reset)
            connect(m, core.instruction, icache.cores[n])
            connect(m, core.gm, bridge.cores[n])
            connect(m, core.sm, next(ways[n % len(ways)]))
            m.d.comb += [
                started[n].eq(body.cores > n), core.start.eq(start & started[n]),
                core.entry.eq(body.entry), core.stop.eq(stop), core.flat.eq(body.flat),
                core.allowed.eq(allowed), core.hart.eq(n), core.cores.eq(body.cores),
                core.argument.eq(argument),
            ]
            m.d.comb += self.observed[n].eq(core.observed)
            cores.append(core)
        busy, trapped, quiet = (Signal(count, name=name) for name in ("busy", "trapped", "quiet"))
        m.d.comb += [
            busy.eq(Cat(core.state == CoreState.RUNNING for core in cores)),
            trapped.eq(Cat(core.state == CoreState.TRAPPED for core in cores) & started),
            quiet.eq(Cat(core.quiet for core in cores)),
            icache.stop.eq(port.abort),
            icache.invalidate.eq((start & body.invalidate)
                                 | Cat(core.flush for core in cores).any()),
        ]

        # The barrier opens for one cycle when every core that runs has come to it.
        release, arrived = Signal(), Signal(count)
        m.d.comb += arrived.eq(Cat(core.at_barrier for core in cores))
        m.d.sync += release.eq(~release & arrived.any() & (arrived | ~busy).all())
        for core in cores:
            m.d.comb += core.resume.eq(release)

        fault = port.done.p.fault
        bad, bad_lsb = Signal(), Signal(32)
        for name, wrong in (                        # the last assignment wins: the lowest field
                ("reserved17", body.reserved17 != 0),
                ("cores", (body.cores == 0) | (body.cores > count)),
                ("clusters", body.clusters != 1),
                ("window_low", body.window_low[:PAGE_BYTES.bit_length() - 1] != 0),
                ("entry", body.entry[:2] != 0)):
            with m.If(wrong):
                m.d.comb += [bad.eq(1), bad_lsb.eq(LAUNCH.lsb[name])]
        still = Signal()
        m.d.comb += still.eq(~busy.any() & quiet.all() & icache.quiet & bridge.quiet)
        with m.FSM(name="launch") as fsm:
            with m.State("idle"):
                m.d.comb += port.cmd.ready.eq(~port.abort)
                with m.If(port.cmd.valid & port.cmd.ready):
                    m.d.sync += command.eq(issued)
                    m.next = "check"
            with m.State("check"):
                with m.Switch(command.ring):
                    for ring in range(config.rings):
                        with m.Case(ring):
                            m.d.sync += allowed.eq(self.windows[ring])
                with m.If(bad):
                    m.d.comb += [port.done.valid.eq(1), fault.cause.eq(FaultCause.BAD_FIELD),
                                 fault.info.eq(bad_lsb)]
                    m.next = "failed"
                with m.Else():
                    m.next = "start"
            with m.State("start"):
                m.d.comb += [start.eq(1), port.begin.eq(1)]
                m.next = "begun"
            with m.State("begun"):
                m.next = "run"
            with m.State("run"):
                m.d.comb += stop.eq(trapped.any() | port.abort)
                with m.If(still):
                    with m.If(trapped.any()):
                        m.next = "trap"
                    with m.Elif(port.abort):
                        m.next = "failed"
                    with m.Else():
                        m.next = "done"
            with m.State("done"):
                m.d.comb += port.done.valid.eq(1)
                m.next = "idle"
            with m.State("trap"):
                m.d.comb += [port.done.valid.eq(1), fault.cause.eq(FaultCause.KERNEL_TRAP)]
                for n, core in reversed(list(enumerate(cores))):    # the last assignment wins
                    with m.If(trapped[n]):
                        m.d.comb += [
                            fault.info.eq(Cat(core.cause, Const(0, 3), Const(n, 8))),
                            fault.address.eq(core.trap_pc), fault.row.eq(core.trap_value),
                        ]
                m.next = "failed"
            with m.State("failed"):         # left by reset only
                pass
            active = fsm.ongoing("start") | fsm.ongoing("begun") | fsm.ongoing("run")
            m.d.comb += [
                port.quiet.eq(~active & icache.quiet & bridge.quiet),
                port.activity.eq(active),       # BUSY or IDLE
                port.begin_index.eq(command.index),
            ]
        assert (Activity.IDLE.value, Activity.BUSY.value) == (0, 1)
        return m
