"""Loads and stores of a core's scalar pipeline, and its local memory."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import CORE_GM_LSB, CORE_SM_LSB
from ..command.windows import LINE_BYTES, RingWindows, sm_allowed
from ..params import XpuConfig
from ..prims.sram import Sram1RW
from ..scratchpad.types import ScratchpadPort
from .types import GmPort, LateResult, LocalPort, MemoryRequest

__all__ = ["LoadStore"]

LINE_SHIFT = LINE_BYTES.bit_length() - 1


class LoadStore(wiring.Component):
    """Loads and stores in LM and, one at a time, in SM and GM.

    A request outside them or outside the ring's window onto SM is refused, and so is one that GM
    refuses or fails: ``fault`` comes with ``ready``, nothing is written and no result follows. A
    request to SM or GM stays at the input until it is done, so that faults are precise.

    Parameters
    ----------
    config : XpuConfig
        Sizes and widths.

    Members
    -------
    flat : In(1)
        All addresses are GM's: there is no LM and no SM.
    allowed : In(RingWindows())
        What of SM may be used.
    i : In(stream.Signature(MemoryRequest))
        Requests.
    fault : Out(1)
        The request that is taken in this cycle has failed.
    o : Out(stream.Signature(LateResult))
        Results of loads.
    gm, sm : Out(GmPort(config)), Out(ScratchpadPort(config))
        Global memory, scratchpad.
    rows : In(LocalPort(config))
        Accesses of the vector unit to LM, in cycles in which there is no other.
    busy : Out(1)
        A result or an answer is awaited.

    Timing
    ------
    Latency: 1 cycle from a transfer on ``i`` to ``o.valid``.
    Throughput: one access to LM per cycle; one to SM or GM at a time.
    Backpressure: full.
    Combinational paths: ``o.ready``, ``gm.rsp`` and ``sm.rsp`` to ``i.ready``, ``fault``.
    Reset: nothing is under way. LM is undefined until written.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "flat": In(1), "allowed": In(RingWindows()),
            "i": In(stream.Signature(MemoryRequest)), "fault": Out(1),
            "o": Out(stream.Signature(LateResult)), "gm": Out(GmPort(config)),
            "sm": Out(ScratchpadPort(config)), "rows": In(LocalPort(config)), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, request = self._config, self.i.p
        m.submodules.local = local = Sram1RW(depth=config.lm_bytes * 8 // config.simd_width,
                                             width=config.simd_width)
        is_local, is_shared, is_gm = Signal(), Signal(), Signal()
        in_local, in_shared = Signal(), Signal()
        line = request.address[LINE_SHIFT:CORE_SM_LSB]
        free, asked, answered = Signal(), Signal(), Signal()
        m.d.comb += [
            is_gm.eq(self.flat | (request.address[CORE_GM_LSB:] != 0)),
            is_shared.eq(~is_gm & (request.address[CORE_SM_LSB:CORE_GM_LSB] == 1)),
            is_local.eq(~is_gm & ~is_shared),
            in_local.eq(request.address[:CORE_GM_LSB] < config.lm_bytes),
            in_shared.eq((request.address[:CORE_SM_LSB] < config.sm_bytes) & Mux(
                request.write, sm_allowed(self.allowed, line, line, write=True),
                sm_allowed(self.allowed, line, line, write=False))),
        ]
        strobe = Signal(4)      # within 32 bits
        spread = Signal(32)
        with m.Switch(request.size):
            with m.Case(0):
                m.d.comb += [strobe.eq(1 << request.address[:2]),
                             spread.eq(request.data[:8].replicate(4))]
            with m.Case(1):
                m.d.comb += [strobe.eq(Mux(request.address[1], 0b1100, 0b0011)),
                             spread.eq(request.data[:16].replicate(2))]
            with m.Default():
                m.d.comb += [strobe.eq(0b1111), spread.eq(request.data)]

        def placed(bits):
            """Strobes of the word of so many bits that holds the address, and its offset bits."""
            offset = request.address[2:(bits // 8).bit_length() - 1]
            return (strobe << (offset * 4))[:bits // 8] if len(offset) else strobe

        local_shift = (config.simd_width // 8).bit_length() - 1
        ours = Signal()
        rows = self.rows.req
        m.d.comb += [
            ours.eq(self.i.valid & is_local & in_local & free),
            rows.ready.eq(~ours & free), self.rows.data.eq(local.r_data),
            local.en.eq(ours | (rows.valid & rows.ready)),
            local.write.eq(Mux(ours, request.write, rows.p.write)),
            local.addr.eq(Mux(ours, request.address[local_shift:], rows.p.address)),
            local.w_data.eq(Mux(ours, spread.replicate(config.simd_width // 32), rows.p.data)),
            local.w_strobe.eq(Mux(ours, placed(config.simd_width), rows.p.strobe)),
        ]
        bus_shift = config.bus_bytes.bit_length() - 1
        m.d.comb += [
            self.gm.req.valid.eq(self.i.valid & is_gm & free & ~asked),
            self.gm.req.p.address.eq(Cat(Const(0, bus_shift), request.address[bus_shift:])),
            self.gm.req.p.write.eq(request.write), self.gm.req.p.strobe.eq(placed(
                config.bus_width)),
            self.gm.req.p.data.eq(spread.replicate(config.bus_width // 32)),
            self.sm.req.valid.eq(self.i.valid & is_shared & in_shared & free & ~asked),
            self.sm.req.p.address.eq(request.address[bus_shift:]),
            self.sm.req.p.write.eq(request.write),
            self.sm.req.p.strobe.eq(self.gm.req.p.strobe),
            self.sm.req.p.data.eq(self.gm.req.p.data),
            answered.eq(asked & Mux(is_gm, self.gm.rsp.valid, self.sm.rsp.valid)),
        ]
        with m.If(answered):
            m.d.sync += asked.eq(0)
        with m.Elif((self.gm.req.valid & self.gm.req.ready)
                    | (self.sm.req.valid & self.sm.req.ready)):
            m.d.sync += asked.eq(1)
        with m.If(is_local):
            m.d.comb += [self.i.ready.eq(free), self.fault.eq(~in_local)]
        with m.Elif(is_shared):
            m.d.comb += [self.i.ready.eq(Mux(in_shared, answered, free)),
                         self.fault.eq(~in_shared)]
        with m.Else():
            m.d.comb += [self.i.ready.eq(answered), self.fault.eq(self.gm.rsp.p.fault)]

        # The load whose data is here.
        loaded, remote = Signal(), Signal(reset_less=True)
        word_read = Signal(config.bus_width)        # of SM or GM
        m.d.comb += word_read.eq(Mux(is_gm, self.gm.rsp.p.data, self.sm.rsp.payload))
        held = Signal(32, reset_less=True)
        offset = Signal(local_shift, reset_less=True)
        size, extend = Signal(2, reset_less=True), Signal(reset_less=True)
        m.d.comb += [free.eq(~loaded | self.o.ready), self.o.valid.eq(loaded),
                     self.busy.eq(
                         loaded | asked | self.gm.req.valid | self.sm.req.valid)]
        with m.If(free):
            m.d.sync += loaded.eq(self.i.valid & self.i.ready & ~self.fault & ~request.write)
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += [
                    remote.eq(~is_local), offset.eq(request.address[:local_shift]),
                    size.eq(request.size), extend.eq(request.extend),
                    self.o.p.rd.eq(request.rd), self.o.p.floating.eq(request.floating),
                    self.o.p.vector.eq(request.vector),
                    held.eq(word_read.word_select(request.address[2:bus_shift], 32)
                            if bus_shift > 2 else word_read),
                ]
        word, half, byte = Signal(32), Signal(16), Signal(8)
        m.d.comb += [
            word.eq(Mux(remote, held, local.r_data.word_select(offset[2:], 32))),
            half.eq(word.word_select(offset[1], 16)), byte.eq(word.word_select(offset[:2], 8)),
        ]
        with m.Switch(size):
            with m.Case(0):
                m.d.comb += self.o.p.value.eq(Cat(byte, (byte[7] & extend).replicate(24)))
            with m.Case(1):
                m.d.comb += self.o.p.value.eq(Cat(
                    half, ((half[15] & extend) | self.o.p.floating).replicate(16)))
            with m.Default():
                m.d.comb += self.o.p.value.eq(word)
        return m
