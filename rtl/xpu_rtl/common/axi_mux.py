"""Several AXI read managers on one port."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import AXI_ID_WIDTH, AxiAddress, AxiReadPort

__all__ = ["AxiReadMux"]


class AxiReadMux(wiring.Component):
    """Share one AXI read port among managers; manager i uses ID i.

    Among managers that offer an address, the one of lowest index is taken, unless one has been
    passed over ``patience`` times: that one goes first (the lowest of several). The choice is made
    when the output register is free, so an address once offered is never exchanged. Data go to the
    manager their ID names; other IDs are dropped. Order within a manager is that of the port below.

    Parameters
    ----------
    width : int
        Data bits.
    managers : int
        Number of managers, 1 to 16.
    patience : int
        Addresses of others a manager lets pass at the most before it goes first, at least 1.

    Members
    -------
    managers : In(AxiReadPort(width)).array(managers)
        Managers. Their ``ar.payload.id`` is ignored.
    axi : Out(AxiReadPort(width))
        The shared port.

    Timing
    ------
    Latency: 1 cycle from ``managers[i].ar`` to ``axi.ar`` (``ADDRESS_LATENCY``); data in the same
    cycle.
    Throughput: one address and one beat per cycle.
    Backpressure: full. A manager that does not take its data holds up the others' behind them.
    Combinational paths: ``axi.ar.ready`` and every ``managers[j].ar.valid`` to
    ``managers[i].ar.ready``; ``axi.r`` to ``managers[i].r``; ``managers[i].r.ready`` and
    ``axi.r.payload.id`` to ``axi.r.ready``.
    Reset: the valid flag of the address register, the counts of addresses let pass.
    """

    ADDRESS_LATENCY = 1

    def __init__(self, width, managers, *, patience=128):
        if not 1 <= managers <= 1 << AXI_ID_WIDTH:
            raise ValueError(f"managers must lie in 1..{1 << AXI_ID_WIDTH}, not {managers!r}")
        if patience < 1:
            raise ValueError(f"patience must be at least 1, not {patience!r}")
        self._patience = patience
        super().__init__({"managers": In(AxiReadPort(width)).array(managers),
                          "axi": Out(AxiReadPort(width))})

    def elaborate(self, platform):
        m = Module()
        axi = self.axi

        valid = Signal()
        address = Signal(AxiAddress(), reset_less=True)
        free = Signal()
        m.d.comb += [
            free.eq(~valid | axi.ar.ready), axi.ar.valid.eq(valid), axi.ar.payload.eq(address),
        ]
        with m.If(free):
            m.d.sync += valid.eq(0)
        passed = [Signal(range(self._patience + 1), name=f"passed_{n}")
                  for n in range(len(self.managers))]
        late = Signal(len(self.managers))       # has let enough pass and offers
        m.d.comb += late.eq(Cat(manager.ar.valid & (count == self._patience)
                                for manager, count in zip(self.managers, passed, strict=True)))
        chain = m.If
        for n, manager in enumerate(self.managers):
            with chain(Mux(late.any(), late[n], manager.ar.valid)):
                m.d.comb += manager.ar.ready.eq(free)
                with m.If(free):
                    m.d.sync += [valid.eq(1), address.eq(manager.ar.payload), address.id.eq(n)]
            chain = m.Elif
        for manager, count in zip(self.managers, passed, strict=True):
            with m.If(manager.ar.ready):
                m.d.sync += count.eq(0)
            with m.Elif(free & manager.ar.valid & (count != self._patience)):
                m.d.sync += count.eq(count + 1)

        m.d.comb += [manager.r.payload.eq(axi.r.payload) for manager in self.managers]
        with m.Switch(axi.r.p.id):
            for n, manager in enumerate(self.managers):
                with m.Case(n):
                    m.d.comb += [manager.r.valid.eq(axi.r.valid),
                                 axi.r.ready.eq(manager.r.ready)]
            with m.Default():
                m.d.comb += axi.r.ready.eq(1)
        return m
