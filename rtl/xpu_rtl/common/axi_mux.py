"""Several AXI read managers on one port."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import AXI_ID_WIDTH, AxiAddress, AxiReadPort

__all__ = ["AxiReadMux"]


class AxiReadMux(wiring.Component):
    """Share one AXI read port among managers; manager i uses ID i.

    Managers take turns, address by address: the next after the one taken last that offers one. The
    last ``background`` of them are served (lowest index first) only while no other offers, or when
    they have been passed over ``patience`` times. The choice is made when the output register is
    free, so an address once offered is never exchanged. Data go to the manager their ID names;
    other IDs are dropped. Order within a manager is that of the port below.

    Parameters
    ----------
    width : int
        Data bits.
    managers : int
        Number of managers, 1 to 16.
    background : int
        How many of them, the last ones, are served in the background; fewer than ``managers``.
    patience : int
        Addresses of others a background manager lets pass at the most before it goes first, at
        least 1 (of several such managers the lowest index is first).

    Members
    -------
    managers : In(AxiReadPort(width)).array(managers)
        Managers. Their ``ar.payload.id`` is ignored.
    axi : Out(AxiReadPort(width))
        The shared port.

    Timing
    ------
    Latency: 1 cycle from ``managers[i].ar`` to ``axi.ar`` (``ADDRESS_LATENCY``); data in the same
    cycle. A manager in the foreground lets at most ``managers - 1`` addresses pass.
    Throughput: one address and one beat per cycle.
    Backpressure: full. A manager that does not take its data holds up the others' behind them.
    Combinational paths: ``axi.ar.ready`` and every ``managers[j].ar.valid`` to
    ``managers[i].ar.ready``; ``axi.r`` to ``managers[i].r``; ``managers[i].r.ready`` and
    ``axi.r.payload.id`` to ``axi.r.ready``.
    Reset: the valid flag of the address register, turns, the counts of addresses let pass.
    """

    ADDRESS_LATENCY = 1

    def __init__(self, width, managers, *, background=0, patience=128):
        if not 1 <= managers <= 1 << AXI_ID_WIDTH:
            raise ValueError(f"managers must lie in 1..{1 << AXI_ID_WIDTH}, not {managers!r}")
        if not 0 <= background < managers:
            raise ValueError(f"background must lie in 0..{managers - 1}, not {background!r}")
        if patience < 1:
            raise ValueError(f"patience must be at least 1, not {patience!r}")
        self._foreground, self._patience = managers - background, patience
        super().__init__({"managers": In(AxiReadPort(width)).array(managers),
                          "axi": Out(AxiReadPort(width))})

    def elaborate(self, platform):
        m = Module()
        axi, front = self.axi, self._foreground

        valid = Signal()
        address = Signal(AxiAddress(), reset_less=True)
        free = Signal()
        m.d.comb += [
            free.eq(~valid | axi.ar.ready), axi.ar.valid.eq(valid), axi.ar.payload.eq(address),
        ]
        with m.If(free):
            m.d.sync += valid.eq(0)

        # Candidates, best first: late background, foreground above the last served, the rest.
        later = Signal(front)       # foreground managers above the one served last
        late = Signal(len(self.managers))
        for n in range(front, len(self.managers)):
            manager = self.managers[n]
            count = Signal(range(self._patience + 1), name=f"passed_{n}")
            m.d.comb += late[n].eq(manager.ar.valid & (count == self._patience))
            with m.If(manager.ar.ready):
                m.d.sync += count.eq(0)
            with m.Elif(free & manager.ar.valid & (count != self._patience)):
                m.d.sync += count.eq(count + 1)
        candidates = [(n, late[n]) for n in range(front, len(self.managers))]
        candidates += [(n, self.managers[n].ar.valid & later[n]) for n in range(1, front)]
        candidates += [(n, manager.ar.valid) for n, manager in enumerate(self.managers)]
        chain = m.If
        for n, wanted in candidates:
            manager = self.managers[n]
            with chain(wanted):
                m.d.comb += manager.ar.ready.eq(free)
                with m.If(free):
                    m.d.sync += [valid.eq(1), address.eq(manager.ar.payload), address.id.eq(n)]
                    if n < front:
                        m.d.sync += later.eq((-2 << n) & ((1 << front) - 1))
            chain = m.Elif

        m.d.comb += [manager.r.payload.eq(axi.r.payload) for manager in self.managers]
        with m.Switch(axi.r.p.id):
            for n, manager in enumerate(self.managers):
                with m.Case(n):
                    m.d.comb += [manager.r.valid.eq(axi.r.valid),
                                 axi.r.ready.eq(manager.r.ready)]
            with m.Default():
                m.d.comb += axi.r.ready.eq(1)
        return m
