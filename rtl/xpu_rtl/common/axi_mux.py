"""Several AXI read managers on one port."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import AXI_ID_WIDTH, AxiAddress, AxiReadPort

__all__ = ["AxiReadMux"]


class AxiReadMux(wiring.Component):
    """Share one AXI read port among managers; manager i uses ID i.

    Among managers that offer an address, the one of lowest index is taken. The choice is made when
    the output register is free, so an address once offered is never exchanged. A manager that
    always offers starves those of higher index: give low indices to managers with few reads. Data
    go to the manager their ID names; other IDs are dropped. Order within a manager is that of the
    port below.

    Parameters
    ----------
    width : int
        Data bits.
    managers : int
        Number of managers, 1 to 16.

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
    Combinational paths: ``axi.ar.ready`` and every ``managers[j].ar.valid`` with j < i to
    ``managers[i].ar.ready``; ``axi.r`` to ``managers[i].r``; ``managers[i].r.ready`` and
    ``axi.r.payload.id`` to ``axi.r.ready``.
    Reset: the valid flag of the address register.
    """

    ADDRESS_LATENCY = 1

    def __init__(self, width, managers):
        if not 1 <= managers <= 1 << AXI_ID_WIDTH:
            raise ValueError(f"managers must lie in 1..{1 << AXI_ID_WIDTH}, not {managers!r}")
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
        chain = m.If
        for n, manager in enumerate(self.managers):
            with chain(manager.ar.valid):
                m.d.comb += manager.ar.ready.eq(free)
                with m.If(free):
                    m.d.sync += [valid.eq(1), address.eq(manager.ar.payload), address.id.eq(n)]
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
