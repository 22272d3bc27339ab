"""Several AXI write managers on one port."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import AXI_ID_WIDTH, AxiAddress, AxiWritePort
from .fifo import StreamFifo

__all__ = ["AxiWriteMux"]


class AxiWriteMux(wiring.Component):
    """Share one AXI write port among managers; manager i uses ID i.

    Managers take turns, burst by burst: the next after the one taken last that offers an address.
    The choice is made when the address register is free, so an address once offered is never
    exchanged. The beats of a burst pass whole, bursts in the order of their addresses, and none is
    offered before its address. Up to ``AHEAD`` addresses are taken before the last beats of their
    bursts. Responses go to the manager their ID names; other IDs are dropped.

    Parameters
    ----------
    width : int
        Data bits.
    managers : int
        Number of managers, 1 to 16.

    Members
    -------
    managers : In(AxiWritePort(width)).array(managers)
        Managers. Their ``aw.payload.id`` is ignored. A beat waits until the address of its burst is
        taken. A burst whose address is taken must get its beats whatever happens to other bursts.
    axi : Out(AxiWritePort(width))
        The shared port.

    Timing
    ------
    Latency: 1 cycle from ``managers[i].aw`` to ``axi.aw`` and to its burst's first beat on
    ``axi.w`` (``ADDRESS_LATENCY``); beats after an address taken, and responses, in the same cycle.
    A manager lets at most ``managers - 1`` bursts pass.
    Throughput: one address, one beat and one response per cycle, also if every burst is one beat.
    Backpressure: full. A manager that does not take its response holds up the others' behind it.
    Combinational paths: ``axi.aw.ready`` and every ``managers[j].aw.valid`` to
    ``managers[i].aw.ready``; ``managers[i].w`` to ``axi.w``; ``axi.w.ready`` to
    ``managers[i].w.ready``; ``axi.b`` to ``managers[i].b``; ``managers[i].b.ready`` and
    ``axi.b.payload.id`` to ``axi.b.ready``.
    Reset: turns, the address offered, order of the bursts (only while none is outstanding).
    """

    ADDRESS_LATENCY = 1
    AHEAD = 4

    def __init__(self, width, managers):
        if not 1 <= managers <= 1 << AXI_ID_WIDTH:
            raise ValueError(f"managers must lie in 1..{1 << AXI_ID_WIDTH}, not {managers!r}")
        super().__init__({"managers": In(AxiWritePort(width)).array(managers),
                          "axi": Out(AxiWritePort(width))})

    def elaborate(self, platform):
        m = Module()
        axi, managers = self.axi, self.managers
        count = len(managers)

        # Turns: of those above the one taken last the lowest, else the lowest of all.
        wanted = Signal(count)
        above = Signal(count)       # the managers above the one taken last
        ahead = Signal(count)
        first_ahead = Signal(count)
        first_wanted = Signal(count)
        chosen = Signal(count)
        m.d.comb += [
            wanted.eq(Cat(manager.aw.valid for manager in managers)),
            ahead.eq(wanted & above),
            *(first_ahead[n].eq(ahead[n] & ~ahead[:n].any()) for n in range(count)),
            *(first_wanted[n].eq(wanted[n] & ~wanted[:n].any()) for n in range(count)),
            chosen.eq(Mux(ahead.any(), first_ahead, first_wanted)),
        ]

        # Addresses, and whose beats follow in which order.
        m.submodules.order = order = StreamFifo(range(max(2, count)), self.AHEAD)
        valid = Signal()
        address = Signal(AxiAddress(), reset_less=True)
        free = Signal()
        m.d.comb += [
            axi.aw.valid.eq(valid), axi.aw.payload.eq(address),
            free.eq((~valid | axi.aw.ready) & order.i.ready),
            order.i.valid.eq(free & wanted.any()),
        ]
        with m.If(axi.aw.ready):
            m.d.sync += valid.eq(0)
        for n, manager in enumerate(managers):
            m.d.comb += manager.aw.ready.eq(free & chosen[n])
            with m.If(chosen[n]):
                m.d.comb += order.i.payload.eq(n)
            with m.If(free & chosen[n]):
                m.d.sync += [valid.eq(1), address.eq(manager.aw.payload), address.id.eq(n),
                             above.eq((-2 << n) & ((1 << count) - 1))]

        # Beats.
        m.d.comb += order.o.ready.eq(axi.w.valid & axi.w.ready & axi.w.p.last)
        with m.Switch(order.o.payload):
            for n, manager in enumerate(managers):
                with m.Case(n):
                    m.d.comb += [
                        axi.w.valid.eq(manager.w.valid & order.o.valid),
                        axi.w.payload.eq(manager.w.payload),
                        manager.w.ready.eq(axi.w.ready & order.o.valid),
                    ]

        # Responses.
        m.d.comb += [manager.b.payload.eq(axi.b.payload) for manager in managers]
        with m.Switch(axi.b.p.id):
            for n, manager in enumerate(managers):
                with m.Case(n):
                    m.d.comb += [manager.b.valid.eq(axi.b.valid),
                                 axi.b.ready.eq(manager.b.ready)]
            with m.Default():
                m.d.comb += axi.b.ready.eq(1)
        return m
