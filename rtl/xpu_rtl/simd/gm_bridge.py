"""Plain loads and stores of the cores in GM, one after the other."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..address_map import OFFSET_WIDTH
from ..command.windows import PAGE_BYTES, RingWindows, gm_allowed
from ..common.axi import AxiReadPort, AxiWritePort
from ..common.turns import next_in_turn
from ..params import XpuConfig
from .types import GmPort, GmRequest

__all__ = ["GmBridge"]

_PAGE_SHIFT = PAGE_BYTES.bit_length() - 1


class GmBridge(wiring.Component):
    """Turn the cores' accesses into AXI bursts of one beat, one at a time, in turns.

    An access outside the ring's windows is refused, and nothing of it reaches the bus.

    Parameters
    ----------
    config : XpuConfig
        ``simd_cores``, width of the bus.

    Members
    -------
    cores : In(GmPort(config)).array(simd_cores)
        Accesses.
    window, allowed : In(64), In(RingWindows())
        As in ``InstructionCache``.
    read, write : Out(AxiReadPort(config.bus_width)), Out(AxiWritePort(config.bus_width))
        GM.
    quiet : Out(1)
        No access is under way.

    Timing
    ------
    Latency: 2 cycles from ``req.valid`` to the AXI address if no other access is under way, 1 from
    the AXI response to ``rsp``.
    Throughput: one access at a time.
    Backpressure: full.
    Combinational paths: ``req.valid`` to ``req.ready`` of all cores.
    Reset: no access is under way.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "cores": In(GmPort(config)).array(config.simd_cores), "window": In(64),
            "allowed": In(RingWindows()), "read": Out(AxiReadPort(config.bus_width)),
            "write": Out(AxiWritePort(config.bus_width)), "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, count = self._config, self._config.simd_cores
        offered = Signal(count)
        m.d.comb += offered.eq(Cat(core.req.valid for core in self.cores))
        owner, chosen = Signal(range(count)), Signal(range(count))
        next_in_turn(m, offered, owner, chosen)
        request = Signal(GmRequest(config), reset_less=True)
        idle = Signal()
        for n, core in enumerate(self.cores):
            with m.If(idle & (chosen == n)):
                m.d.comb += core.req.ready.eq(1)
                with m.If(core.req.valid):
                    m.d.sync += request.eq(core.req.payload)

        system, allowed = Signal(64), Signal()
        page = system[_PAGE_SHIFT:OFFSET_WIDTH]
        m.d.comb += [
            system.eq(self.window + request.address),
            allowed.eq((system[OFFSET_WIDTH:] == 0) & Mux(
                request.write, gm_allowed(self.allowed, page, write=True),
                gm_allowed(self.allowed, page, write=False))),
            self.read.ar.p.addr.eq(system), self.write.aw.p.addr.eq(system),
            self.write.w.p.data.eq(request.data), self.write.w.p.strb.eq(request.strobe),
            self.write.w.p.last.eq(1),
        ]
        done, fault = Signal(), Signal(reset_less=True)
        data = Signal(config.bus_width, reset_less=True)
        for n, core in enumerate(self.cores):
            m.d.comb += [core.rsp.valid.eq(done & (owner == n)), core.rsp.p.data.eq(data),
                         core.rsp.p.fault.eq(fault)]
        with m.FSM(name="access"):
            with m.State("idle"):
                m.d.comb += [idle.eq(1), self.quiet.eq(1)]
                with m.If(offered.any()):
                    m.d.sync += [owner.eq(chosen), fault.eq(0)]
                    m.next = "begin"
            with m.State("begin"):
                with m.If(~allowed):
                    m.d.sync += fault.eq(1)
                    m.next = "done"
                with m.Elif(request.write):
                    m.d.comb += self.write.aw.valid.eq(1)
                    with m.If(self.write.aw.ready):
                        m.next = "data"
                with m.Else():
                    m.d.comb += self.read.ar.valid.eq(1)
                    with m.If(self.read.ar.ready):
                        m.next = "read"
            with m.State("data"):
                m.d.comb += self.write.w.valid.eq(1)
                with m.If(self.write.w.ready):
                    m.next = "written"
            with m.State("read"):
                m.d.comb += self.read.r.ready.eq(1)
                with m.If(self.read.r.valid):
                    m.d.sync += [data.eq(self.read.r.p.data), fault.eq(self.read.r.p.resp[1])]
                    m.next = "done"
            with m.State("written"):
                m.d.comb += self.write.b.ready.eq(1)
                with m.If(self.write.b.valid):
                    m.d.sync += fault.eq(self.write.b.p.resp[1])
                    m.next = "done"
            with m.State("done"):
                m.d.comb += done.eq(1)
                m.next = "idle"
        return m
