"""The semaphores of a cluster."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from ..csr.bank import CsrBus
from ..csr.maps import CLUSTER
from ..params import XpuConfig
from .types import SemaphoreAdd, SemaphoreView

__all__ = ["Semaphores"]


class Semaphores(wiring.Component):
    """Counters that many add to and many look at.

    ``value = (value + amount) mod 2**semaphore_width``. Number 0 takes no addition, reads 0 and
    counts as reached. Additions are taken in turns. Numbers beyond the configuration wrap; the
    decoder refuses them before.

    After a reset the counters are cleared one by one: for ``semaphores`` cycles no addition is
    taken, nothing is reached and all read 0.

    Parameters
    ----------
    config : XpuConfig
        Number and width.
    sources, views : int
        Number of adders and of waiters.

    Members
    -------
    add : In(stream.Signature(SemaphoreAdd())).array(sources)
        Additions.
    view : In(SemaphoreView(config)).array(views)
        Waiters.
    bus : In(CsrBus)
        Reads of the ``semaphore`` registers.

    Timing
    ------
    Latency: 3 cycles from a transfer on ``add`` to ``reached`` (``LATENCY``), 1 from a change of a
    view's number or threshold (``SemaphoreView.LATENCY``), 1 for the bus.
    Throughput: one addition per cycle.
    Backpressure: full.
    Combinational paths: ``add[*].valid`` to ``add[*].ready``.
    Reset: all counters become 0, see above.
    """

    LATENCY = 3

    def __init__(self, config: XpuConfig, *, sources, views):
        self._config = config
        super().__init__({
            "add": In(stream.Signature(SemaphoreAdd())).array(sources),
            "view": In(SemaphoreView(config)).array(views),
            "bus": In(CsrBus(CLUSTER.addr_width)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        bits = cfg.semaphore_bits
        sources = len(self.add)
        # Read by all waiters in every cycle: lookup-table memory, one copy per reader.
        m.submodules.memory = memory = Memory(shape=unsigned(cfg.semaphore_width),
                                              depth=cfg.semaphores, init=[])
        clearing = Signal(init=1)
        clear = Signal(bits)
        with m.If(clearing):
            m.d.sync += clear.eq(clear + 1)
            with m.If(clear == cfg.semaphores - 1):
                m.d.sync += clearing.eq(0)

        # Turns: the first source above the last one served, else the first of all.
        requests, above, grant = (Signal(sources, name=name)
                                  for name in ("requests", "above", "grant"))
        fair, mask = Signal(sources), Signal(sources)
        for n, add in enumerate(self.add):
            m.d.comb += [requests[n].eq(add.valid), add.ready.eq(grant[n])]
        m.d.comb += fair.eq(requests & mask)
        eligible = Signal(sources)
        m.d.comb += eligible.eq(Mux(fair.any(), fair, requests))
        for n in range(sources):    # a few gates per bit; as arithmetic, a carry chain each
            m.d.comb += [grant[n].eq(eligible[n] & ~eligible[:n].any() & ~clearing),
                         above[n].eq(eligible[:n].any())]
        with m.If(grant.any()):
            m.d.sync += mask.eq(above)

        picked = Signal(SemaphoreAdd())
        for n, add in enumerate(self.add):
            with m.If(grant[n]):
                m.d.comb += picked.eq(add.payload)
        s1_valid = Signal()
        s1_number = Signal(bits, reset_less=True)
        s1_amount = Signal(16, reset_less=True)
        m.d.sync += s1_valid.eq(grant.any() & (picked.semaphore != 0))
        with m.If(grant.any()):
            m.d.sync += [s1_number.eq(picked.semaphore), s1_amount.eq(picked.amount)]

        old = memory.read_port(domain="comb")
        write = memory.write_port()
        m.d.comb += [old.addr.eq(s1_number), write.addr.eq(s1_number),
                     write.data.eq(old.data + s1_amount), write.en.eq(s1_valid)]
        with m.If(clearing):
            m.d.comb += [write.addr.eq(clear), write.data.eq(0), write.en.eq(1)]

        for n, view in enumerate(self.view):
            port = memory.read_port(domain="comb")
            difference = Signal(cfg.semaphore_width, name=f"difference_{n}")
            m.d.comb += [port.addr.eq(view.semaphore),
                         difference.eq(port.data - view.threshold)]
            m.d.sync += view.reached.eq((view.semaphore == 0) | (~difference[-1] & ~clearing))

        register = CLUSTER["semaphore"]
        port = memory.read_port(domain="comb")
        r_data = Signal(32, reset_less=True)
        m.d.comb += [port.addr.eq(self.bus.addr[2:]), self.bus.r_data.eq(r_data)]
        with m.If(self.bus.r_en):
            m.d.sync += r_data.eq(0)
            with m.If((self.bus.addr[2 + bits:] == register.offset >> (2 + bits)) & ~clearing):
                m.d.sync += r_data.eq(port.data)
        return m
