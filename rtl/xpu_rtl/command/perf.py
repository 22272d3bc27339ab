"""Performance counters of the cluster."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..csr.bank import CsrBank, CsrBus
from ..csr.maps import CLUSTER

__all__ = ["PerfCounters"]

STALLS = CLUSTER["sm_stalls"].count


class PerfCounters(wiring.Component):
    """Count cycles, bytes and scratchpad stalls while ``active``.

    SIMD has no cores yet: it is idle in every cycle.

    Parameters
    ----------
    none

    Members
    -------
    bus : In(CsrBus)
        Registers perf_cycles, bytes_*, sm_stalls and perf_idle of SIMD.
    active : In(1)
        Count in this cycle.
    bytes_read, bytes_written : In(16)
        Payload bytes moved in this cycle.
    sm_waiting : In(8)
        Requesters held back in this cycle.
    counting : Out(1)
        ``active`` of the cycle before, for other counters.

    Timing
    ------
    Latency: 2 cycles from an event to its counter (``LATENCY``); all counters alike.
    Throughput: every cycle. Backpressure, combinational paths: none.
    Reset: all zero. A reset by software leaves the counters alone.
    """

    LATENCY = 2

    def __init__(self):
        super().__init__({
            "bus": In(CsrBus(CLUSTER.addr_width)), "active": In(1), "bytes_read": In(16),
            "bytes_written": In(16), "sm_waiting": In(STALLS), "counting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = CsrBank(CLUSTER, (
            "perf_cycles", "bytes_read_low", "bytes_read_high", "bytes_written_low",
            "bytes_written_high", "sm_stalls"))
        connect(m, flipped(self.bus), bank.bus)

        # One register after the inputs cuts their paths.
        read, written = Signal(16), Signal(16)
        waiting = Signal(STALLS)
        m.d.sync += [self.counting.eq(self.active), read.eq(self.bytes_read),
                     written.eq(self.bytes_written), waiting.eq(self.sm_waiting)]

        cycles = Signal(32)
        total_read, total_written = Signal(64), Signal(64)
        m.d.comb += [
            bank.perf_cycles_value.eq(cycles),
            bank.bytes_read_low_value.eq(total_read[:32]),
            bank.bytes_read_high_value.eq(total_read[32:]),
            bank.bytes_written_low_value.eq(total_written[:32]),
            bank.bytes_written_high_value.eq(total_written[32:]),
        ]
        with m.If(self.counting):
            m.d.sync += [cycles.eq(cycles + 1), total_read.eq(total_read + read),
                         total_written.eq(total_written + written)]
        for n in range(STALLS):
            stalls = Signal(32, name=f"stalls_{n}")
            m.d.comb += bank.sm_stalls_value[n].eq(stalls)
            with m.If(self.counting & waiting[n]):
                m.d.sync += stalls.eq(stalls + 1)
        return m
