"""Prefetch of a ring's command slots."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import OFFSET_WIDTH
from ..common.axi import AxiReadPort
from ..params import XpuConfig
from .formats import SLOT_BYTES
from .windows import PAGE_BYTES, RingWindows, gm_allowed

__all__ = ["REFUSED", "RingFetcher"]

PAGE_SLOTS = PAGE_BYTES // SLOT_BYTES
PAGE_SHIFT = PAGE_SLOTS.bit_length() - 1
PAGE_BITS = OFFSET_WIDTH - (PAGE_BYTES.bit_length() - 1)
REFUSED = 1     #: in place of RRESP: the slot must not be read


class RingFetcher(wiring.Component):
    """Read the slots between its own head and ``tail``, ahead of the decoder.

    A burst is as long as the host's slots, half of the room downstream, the end of the ring and
    the 4 KiB rule allow. Only one is outstanding: the data that the first commands ask for must not
    queue behind commands that are not needed yet. To keep bursts long, none begins while less than
    half of the room is free and the host has more slots than that.

    A burst outside the windows of the ring, or beyond GM, is not begun. A beat that says so follows
    those before it, and nothing more is read until reset.

    Parameters
    ----------
    config : XpuConfig
        ``fetch_slots`` is the room downstream, ``bus_width`` the width of a beat.

    Members
    -------
    base : In(58)
        First slot of the ring in GM, in units of 64 bytes.
    mask : In(16)
        Slots of the ring less one.
    tail : In(16)
        One past the last slot to read, modulo the slots of the ring.
    slot_done : In(1)
        A slot has left the buffer downstream.
    stop : In(1)
        Begin no burst.
    windows : In(RingWindows())
        What may be read; looked at when a burst is made up.
    bus : Out(AxiReadPort(config.bus_width))
        Read channels; ``id`` is 0.
    beats : Out(stream.Signature(unsigned(config.bus_width + 2)))
        Beats in order, with RRESP above the data: 0 if good, 2 or 3 if bad, ``REFUSED``. The
        consumer has room for ``fetch_slots`` slots, so that ``ready`` is high.
    quiet : Out(1)
        No burst is outstanding or about to begin.

    Timing
    ------
    Latency: 2 cycles from a change of ``tail`` to ``bus.ar.valid`` (``LATENCY``) when idle; none
    from ``bus.r`` to ``beats``.
    Throughput: one beat per cycle within a burst; half the room per memory round trip.
    Backpressure: full.
    Combinational paths: ``bus.r`` to ``beats`` and its ready back.
    Reset: everything but the address; refused while ``quiet`` is low.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "base": In(58), "mask": In(16), "tail": In(16), "slot_done": In(1), "stop": In(1),
            "windows": In(RingWindows()), "bus": Out(AxiReadPort(config.bus_width)),
            "beats": Out(stream.Signature(unsigned(config.bus_width + 2))),
            "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        most = min(cfg.fetch_slots // 2, cfg.burst_beats // cfg.slot_beats, PAGE_SLOTS)

        head = Signal(16)                                      # next slot to ask for
        free = Signal(range(cfg.fetch_slots + 1), init=cfg.fetch_slots)
        outstanding = Signal()                                 # a burst is not answered completely

        # Slots that each limit allows, up to ``most``.
        available, to_wrap, to_page = Signal(16), Signal(17), Signal(range(PAGE_SLOTS + 1))
        position = Signal(58)                                  # of ``head``, in slots of memory
        first = Signal(58, reset_less=True)                    # ``position`` of the cycle before
        page, allowed = Signal(58 - PAGE_SHIFT), Signal()
        m.d.comb += [
            position.eq(self.base + head),
            available.eq((self.tail - head) & self.mask),
            to_wrap.eq(((self.mask - head) & self.mask) + 1),
            to_page.eq(PAGE_SLOTS - position[:PAGE_SHIFT]),
            page.eq(first[PAGE_SHIFT:]),
        ]
        m.d.sync += first.eq(position)
        limits = []
        for name, value in (("available", available), ("wrap", to_wrap), ("page", to_page),
                            ("free", free)):
            limits.append((value, Signal(range(most + 1), name=f"limit_{name}", reset_less=True)))
        slots = Signal(range(most + 1), reset_less=True)
        low, high = (Signal(range(most + 1), name=name) for name in ("low", "high"))
        (_, a), (_, b), (_, c), (_, d) = limits
        m.d.comb += [low.eq(Mux(a < b, a, b)), high.eq(Mux(c < d, c, d))]

        addr = Signal(64, reset_less=True)
        taken, answered, refusing = Signal(), Signal(), Signal()
        with m.FSM(name="fetch") as fsm:
            with m.State("idle"):
                with m.If((available != 0) & ~self.stop & ~outstanding
                          & ((free >= cfg.fetch_slots // 2) | (free >= available))):
                    for value, limit in limits:
                        m.d.sync += limit.eq(Mux(value < most, value, most))
                    m.next = "size"
            with m.State("size"):
                m.d.sync += [slots.eq(Mux(low < high, low, high)),
                             addr.eq(Cat(Const(0, 6), first)),
                             allowed.eq(~page[PAGE_BITS:].any()
                                        & gm_allowed(self.windows, page[:PAGE_BITS], write=False))]
                m.next = "ask"
            with m.State("ask"):
                m.d.comb += [self.bus.ar.valid.eq(allowed), refusing.eq(~allowed)]
                with m.If(refusing & self.beats.ready):
                    m.next = "refused"
                with m.Elif(allowed & self.bus.ar.ready):
                    m.d.comb += taken.eq(1)
                    m.d.sync += head.eq((head + slots) & self.mask)
                    m.next = "idle"
            with m.State("refused"):    # until reset
                pass
        data, resp = self.bus.r.p.data, Signal(2)
        beats_shift = cfg.slot_beats.bit_length() - 1
        slots_less_one = Signal(range(most))                   # ``slots`` is never 0 in "ask"
        m.d.comb += [
            slots_less_one.eq(slots - 1),
            self.bus.ar.p.addr.eq(addr),
            self.bus.ar.p.len.eq(Cat(Const(cfg.slot_beats - 1, beats_shift), slots_less_one)),
            self.beats.valid.eq(self.bus.r.valid | refusing),
            self.bus.r.ready.eq(self.beats.ready),
            resp.eq(Mux(self.bus.r.p.resp[1], self.bus.r.p.resp, 0)),
            self.beats.payload.eq(Cat(data, Mux(refusing, REFUSED, resp))),
            answered.eq(self.bus.r.valid & self.bus.r.ready & self.bus.r.p.last),
            self.quiet.eq((fsm.ongoing("idle") | fsm.ongoing("refused")) & ~outstanding),
        ]
        with m.If(taken | self.slot_done):
            m.d.sync += free.eq(free - Mux(taken, slots, 0) + self.slot_done)
        with m.If(taken | answered):
            m.d.sync += outstanding.eq(taken)
        return m
