"""What an engine does: its cycle counters and the registers for hang reports."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..csr.bank import CsrBank, CsrBus
from ..csr.maps import CLUSTER
from ..params import XpuConfig
from .types import Activity

__all__ = ["EngineMonitor"]

COUNTERS = {activity: f"perf_{activity.name.lower()}" for activity in Activity}


class EngineMonitor(wiring.Component):
    """Count an engine's cycles by activity and show its state.

    A cycle in which the engine is IDLE while a command at the head of one of its queues waits for a
    semaphore counts as SEMAPHORE. Exactly one counter advances per counted cycle.

    Parameters
    ----------
    config : XpuConfig
        Number of rings, width of the semaphores.
    engine : int
        Number of the engine: which elements of the registers to implement.

    Members
    -------
    bus : In(CsrBus)
        Registers perf_idle to perf_output, engine_index, engine_state, engine_threshold.
    counting : In(1)
        The cycle before is counted.
    activity, begin, begin_index : In
        From the engine.
    waiting : In(config.rings)
        Per ring: the head of its queue waits for a semaphore.
    semaphore, threshold : In(8).array(config.rings), In(semaphore_width).array(config.rings)
        What it waits for. The lowest ring that waits is shown.

    Timing
    ------
    Latency: 2 cycles from an activity to its counter (``LATENCY``).
    Throughput: every cycle. Backpressure, combinational paths: none.
    Reset: all zero. A reset by software leaves the counters alone.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig, engine):
        self._config, self._engine = config, engine
        super().__init__({
            "bus": In(CsrBus(CLUSTER.addr_width)), "counting": In(1),
            "activity": In(Activity), "begin": In(1), "begin_index": In(32),
            "waiting": In(config.rings), "semaphore": In(8).array(config.rings),
            "threshold": In(config.semaphore_width).array(config.rings),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = CsrBank(
            CLUSTER, (*COUNTERS.values(), "engine_index", "engine_state", "engine_threshold"),
            index=self._engine)
        wiring.connect(m, wiring.flipped(self.bus), bank.bus)

        activity = Signal(Activity)
        with m.If((self.activity == Activity.IDLE) & self.waiting.any()):
            m.d.sync += activity.eq(Activity.SEMAPHORE)
        with m.Else():
            m.d.sync += activity.eq(self.activity)
        counters = {kind: Signal(32, name=name) for kind, name in COUNTERS.items()}
        with m.If(self.counting):
            with m.Switch(activity):
                for kind, counter in counters.items():
                    with m.Case(kind):
                        m.d.sync += counter.eq(counter + 1)
        for kind, name in COUNTERS.items():
            m.d.comb += getattr(bank, f"{name}_value").eq(counters[kind])

        index = Signal(32)
        with m.If(self.begin):
            m.d.sync += index.eq(self.begin_index)
        m.d.comb += [bank.engine_index_value.eq(index),
                     bank.engine_state_activity.eq(self.activity),
                     bank.engine_state_waiting.eq(self.waiting.any())]
        for n in reversed(range(self._config.rings)):   # the last assignment wins
            with m.If(self.waiting[n]):
                m.d.comb += [bank.engine_state_semaphore.eq(self.semaphore[n]),
                             bank.engine_threshold_value.eq(self.threshold[n])]
        return m
