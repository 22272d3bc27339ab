"""The instruction cache that the cores of a cluster share."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..address_map import OFFSET_WIDTH
from ..command.windows import PAGE_BYTES, RingWindows, gm_allowed
from ..common.axi import AxiReadPort
from ..common.turns import next_in_turn
from ..params import XpuConfig
from ..prims.sram import Sram1R1W
from .types import InstructionPort

__all__ = ["LINE_BYTES", "InstructionCache"]

LINE_BYTES = 64
_PAGE_SHIFT = PAGE_BYTES.bit_length() - 1


class InstructionCache(wiring.Component):
    """Direct-mapped cache of lines of ``LINE_BYTES``, one look per cycle, filled from GM.

    A miss reads its line and, if it is in the same page of 4 KiB, the next one in one burst; the
    core that missed goes on when its own line is there, and others are served while the next line
    comes. What lies outside the ring's windows or is answered with an error is a fault of the
    instructions concerned, and is not kept.

    Parameters
    ----------
    config : XpuConfig
        ``simd_cores``, ``icache_lines``, width of the bus.

    Members
    -------
    cores : In(InstructionPort(config)).array(simd_cores)
        Requests, served in turns.
    window : In(64)
        Added to a core's address: the system address. A multiple of ``PAGE_BYTES``; stable while
        requests are made.
    allowed : In(RingWindows())
        What may be read.
    invalidate : In(1)
        Forget all lines.
    bus : Out(AxiReadPort(config.bus_width))
        GM.
    stop : In(1)
        Begin no burst; misses then end as faults.
    quiet : Out(1)
        No burst is outstanding.

    Timing
    ------
    Latency: 1 cycle from a transfer on ``req`` to ``rsp`` for a hit.
    Throughput: one request per cycle of all cores together.
    Backpressure: full on ``req``.
    Combinational paths: a miss to every ``req.ready``.
    Reset: empty.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "cores": In(InstructionPort(config)).array(config.simd_cores), "window": In(64),
            "allowed": In(RingWindows()), "invalidate": In(1),
            "bus": Out(AxiReadPort(config.bus_width)), "stop": In(1), "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        beats = LINE_BYTES // config.bus_bytes
        beat_bits = beats.bit_length() - 1
        word_shift = config.bus_bytes.bit_length() - 1
        index_bits = config.icache_lines.bit_length() - 1
        line_shift = LINE_BYTES.bit_length() - 1
        tag_shift = line_shift + index_bits

        m.submodules.lines = lines = Sram1R1W(depth=config.icache_lines * beats,
                                              width=config.bus_width)
        m.submodules.tags = tags = Sram1R1W(depth=config.icache_lines, width=32 - tag_shift)
        valid = Signal(config.icache_lines)

        # Stage 0: whose turn it is.
        requests = Signal(config.simd_cores)
        m.d.comb += requests.eq(Cat(core.req.valid for core in self.cores))
        last, chosen = Signal(range(config.simd_cores)), Signal(range(config.simd_cores))
        next_in_turn(m, requests, last, chosen)
        ready = Signal()
        address = Signal(32)
        accept = Signal()
        m.d.comb += accept.eq(ready & requests.any())
        for n, core in enumerate(self.cores):
            with m.If(chosen == n):
                m.d.comb += [address.eq(core.req.payload), core.req.ready.eq(ready)]

        # Stage 1: look.
        s1_valid, s1_core = Signal(), Signal(range(config.simd_cores), reset_less=True)
        s1_address = Signal(32, reset_less=True)
        look = Signal(32)       # address read in the memories
        again = Signal()
        m.d.comb += look.eq(Mux(again, s1_address, address))
        with m.If(accept):
            m.d.sync += [s1_core.eq(chosen), last.eq(chosen), s1_address.eq(address)]
        m.d.comb += [
            lines.r_addr.eq(look[word_shift:]), lines.r_en.eq(accept | again),
            tags.r_addr.eq(look[line_shift:]), tags.r_en.eq(accept | again),
        ]
        index = s1_address[line_shift:tag_shift]
        system, bad_address = Signal(64), Signal()
        m.d.comb += [
            system.eq(self.window + Cat(Const(0, line_shift), s1_address[line_shift:])),
            bad_address.eq((system[OFFSET_WIDTH:] != 0) | ~gm_allowed(
                self.allowed, system[_PAGE_SHIFT:OFFSET_WIDTH], write=False)),
        ]
        hit, answer, fault = Signal(), Signal(), Signal()
        m.d.comb += hit.eq(valid.bit_select(index, 1) & (tags.r_data == s1_address[tag_shift:]))
        for n, core in enumerate(self.cores):
            m.d.comb += [core.rsp.valid.eq(answer & (s1_core == n)),
                         core.rsp.p.data.eq(lines.r_data), core.rsp.p.fault.eq(fault)]

        # A burst that is under way: of one or two lines.
        filling, stale, broken = Signal(), Signal(), Signal()
        fill_line = Signal(32 - line_shift, reset_less=True)
        beat, two = Signal(beat_bits), Signal(reset_less=True)
        first = Signal(reset_less=True)         # it is the first line that comes
        first_done = Signal()
        alone = Signal()        # the next line is in another page
        m.d.comb += alone.eq(s1_address[line_shift:_PAGE_SHIFT].all())
        r = self.bus.r
        end_of_line = r.valid & (beat == beats - 1)
        m.d.comb += [
            r.ready.eq(1), self.bus.ar.p.addr.eq(system),
            self.bus.ar.p.len.eq(Mux(alone, beats - 1, 2 * beats - 1)),
            lines.w_addr.eq(Cat(beat, fill_line)), lines.w_data.eq(r.p.data),
            lines.w_en.eq(r.valid & filling),
            tags.w_addr.eq(fill_line), tags.w_data.eq(fill_line[index_bits:]),
            tags.w_en.eq(r.valid & filling),
            first_done.eq(filling & first & end_of_line),
        ]
        with m.If(filling & r.valid):
            m.d.sync += [beat.eq(beat + 1), broken.eq(broken | r.p.resp[1])]
            with m.If(end_of_line):
                m.d.sync += [fill_line.eq(fill_line + 1), first.eq(0), broken.eq(0)]
                with m.If(~stale & ~broken & ~r.p.resp[1]):
                    m.d.sync += valid.bit_select(fill_line[:index_bits], 1).eq(1)
                with m.If(~first | ~two):
                    m.d.sync += filling.eq(0)

        with m.FSM(name="cache") as fsm:
            with m.State("run"):
                m.d.comb += [answer.eq(s1_valid & hit), ready.eq(~s1_valid | hit)]
                m.d.sync += s1_valid.eq(accept | (s1_valid & ~hit))
                with m.If(s1_valid & ~hit):
                    m.next = "miss"
            with m.State("miss"):               # for a burst that is under way to end
                with m.If(filling):
                    m.next = "wait"
                with m.Elif(bad_address | self.stop):
                    m.d.comb += [answer.eq(1), fault.eq(1)]
                    m.d.sync += s1_valid.eq(0)
                    m.next = "run"
                with m.Else():
                    m.d.comb += self.bus.ar.valid.eq(1)
                    with m.If(self.bus.ar.ready):
                        m.d.sync += [
                            filling.eq(1), stale.eq(0), broken.eq(0), beat.eq(0), first.eq(1),
                            two.eq(~alone), fill_line.eq(s1_address[line_shift:]),
                            valid.bit_select(index, 1).eq(0),
                        ]
                        with m.If(~alone):
                            m.d.sync += valid.bit_select((index + 1)[:index_bits], 1).eq(0)
                        m.next = "fill"
            with m.State("fill"):               # the line that was asked for
                with m.If(first_done):
                    with m.If(broken | r.p.resp[1]):
                        m.d.comb += [answer.eq(1), fault.eq(1)]
                        m.d.sync += s1_valid.eq(0)
                        m.next = "run"
                    with m.Else():
                        m.next = "again"
            with m.State("wait"):
                with m.If(~filling):
                    m.next = "again"
            with m.State("again"):
                m.d.comb += again.eq(1)
                m.next = "run"
            running = fsm.ongoing("run")
        with m.If(self.invalidate):
            m.d.sync += [valid.eq(0), stale.eq(1)]
        m.d.comb += self.quiet.eq(~filling & (running | fsm.ongoing("again") | self.stop))
        return m
