"""The command processor: registers, rings, issue, semaphores, counters, reset."""

from amaranth import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, flipped

from ..common.axi import AxiLite, AxiReadPort
from ..common.interfaces import connect_stream
from ..contract import contract_hash
from ..csr.axil import AxiLiteTarget
from ..csr.bank import CsrBank
from ..csr.maps import CLUSTER, ID, VERSION
from ..params import XpuConfig
from .dispatch import EngineDispatch
from .engines import engine_formats, engine_names, view_names
from .fetch import RingFetcher
from .fetch_arbiter import FetchArbiter
from .formats import Engine
from .monitor import EngineMonitor
from .perf import PerfCounters
from .queue import EngineQueue
from .recovery import EngineRecovery
from .reset import ResetSequencer
from .ring import Ring
from .semaphores import Semaphores
from .types import EnginePort, SemaphoreView
from .windows import RingWindows, ring_windows

__all__ = ["CommandProcessor"]

RING_REGISTERS = (*(f"ring_{name}" for name in (
    "base_low", "base_high", "size", "head", "completed", "issued", "fault", "fault_index",
    "fault_address_low", "fault_address_high", "fault_info", "fault_row", "control")),
    *(register.name for register in CLUSTER.registers if register.name.startswith("window_")))


class CommandProcessor(wiring.Component):
    """Fetch commands from the rings and have the engines execute them.

    Each pair of ring and engine has a queue, in order; header waits are tested at its head, so that
    a waiting command holds up only the commands behind it in the same queue. A ring stops at its
    first fault: nothing more is decoded or offered; a command an engine has been offered already
    may still execute.

    An engine that has failed, or is stuck with commands of a ring that has stopped, is reset and
    then serves other rings. Reset by its register, a ring stops as well; when no engine serves it
    any more, the ring and its queues are reset.

    Parameters
    ----------
    config : XpuConfig
        Rings, depths, semaphores, bus width; also what the contract hash is made of.

    Members
    -------
    csr : In(AxiLite(CLUSTER.addr_width))
        The registers of ``csr/maps.py``. Elements of arrays that the configuration lacks read 0.
    irq : Out(1)
        An enabled bit of irq_status is set.
    fetch : Out(AxiReadPort(config.bus_width))
        Reads of command slots, ``id`` 0.
    load, store, tensor : In(EnginePort(DMA_ND)), In(EnginePort(DMA_ND)), In(EnginePort(CONV))
        The engines. The index of a command stands in its ``tag``, too. A DMA_COPY comes in the
        first slot of a DMA_ND, the rest of which is undefined; so does a GEMM in those of a CONV.
    simd : In(EnginePort(LAUNCH)), if config.simd_cores
        The SIMD cluster.
    load1, store1 : In(EnginePort(DMA_ND)), In(EnginePort(DMA_ND)), if config.dma_streams is 2
        The second streams.
    tensor_a_view, tensor_b_view, store_view, store1_view : In(SemaphoreView(config))
        Waits within commands; the last with the second streams only.
    load_reset, store_reset, tensor_reset, simd_reset, load1_reset, store1_reset : Out(1)
        Reset of an engine, given when it is quiet; also during ``core_reset``.
    windows : Out(ring_windows(config))
        What each ring may use, as its registers say.
    bytes_read, bytes_written : In(16)
        Payload bytes moved in this cycle.
    sm_waiting : In(8)
        Scratchpad requesters held back in this cycle.
    core_reset : Out(1)
        Reset of scratchpad control, given when all engines are quiet.
    active : Out(1)
        A ring has commands that are not complete.

    Timing
    ------
    Latency: see the parts; ``doorbell_latency`` cycles from the transfer of a doorbell's data on W
    to ``fetch.ar.valid`` with one ring.
    Throughput: a command that executes here every ``slot_beats + 1`` cycles.
    Backpressure: full.
    Combinational paths: none, except ``add[*].valid`` to ``add[*].ready``.
    Reset: everything; semaphores take ``config.semaphores`` cycles more.
    """

    doorbell_latency = AxiLiteTarget.WRITE_LATENCY + RingFetcher.LATENCY

    def __init__(self, config: XpuConfig):
        self._config = config
        engines = dict(zip(engine_names(config), engine_formats(config).values(), strict=True))
        super().__init__({
            "csr": In(AxiLite(CLUSTER.addr_width)), "irq": Out(1),
            "fetch": Out(AxiReadPort(config.bus_width)),
            **{name: In(EnginePort(fmt)) for name, fmt in engines.items()},
            **{f"{name}_reset": Out(1) for name in engines},
            **{name: In(SemaphoreView(config)) for name in view_names(config)},
            "bytes_read": In(16), "bytes_written": In(16), "sm_waiting": In(8),
            "windows": Out(ring_windows(config)), "core_reset": Out(1), "active": Out(1),
        })

    @staticmethod
    def _windows(registers):
        """The windows in a ring's registers, as a value of ``RingWindows``."""
        fields = {name: getattr(registers, f"window_{name}_{unit}")
                  for unit, names in (("page", ("gm0_first", "gm0_last", "gm1_first", "gm1_last")),
                                      ("line", ("sm_first", "sm_last"))) for name in names}
        fields |= {f"semaphore_{end}": getattr(registers, f"window_semaphores_{end}")
                   for end in ("first", "last")}
        return Cat(fields[name] if name in fields
                   else getattr(registers, f"window_permissions_{name}")
                   for name, _ in RingWindows())

    def elaborate(self, platform):
        m = Module()
        cfg = self._config
        engines = engine_formats(cfg)
        names = engine_names(cfg)
        ports = [getattr(self, name) for name in names]
        m.submodules.axil = axil = AxiLiteTarget(CLUSTER)
        wiring.connect(m, flipped(self.csr), axil.axi)
        banks = []
        windows = Signal(ring_windows(cfg))
        m.d.comb += self.windows.eq(windows)

        def bank(name, component):
            m.submodules[name] = component
            banks.append(component.bus)
            return component

        m.submodules.reset = reset = ResetSequencer()
        m.d.comb += self.core_reset.eq(reset.core_reset)

        def resettable(name, component, by=reset.core_reset):
            component = ResetInserter(by)(component)
            m.submodules[name] = component
            return component

        # Structure: rings, queues, engines, semaphores.
        ring_resets, engine_resets = Signal(cfg.rings), Signal(len(engines))
        sequences = [resettable(f"ring_{r}_reset", ResetSequencer()) for r in range(cfg.rings)]
        recoveries = [resettable(f"recovery_{name}", EngineRecovery(
            cfg, endless=engine is Engine.SIMD))
            for name, engine in zip(names, engines, strict=True)]
        for bits, parts in ((ring_resets, [one.core_reset for one in sequences]),
                            (engine_resets, [one.reset for one in recoveries])):
            m.d.comb += bits.eq(Cat(parts) | reset.core_reset.replicate(len(parts)))
        rings = [resettable(f"ring_{r}", Ring(cfg), ring_resets[r]) for r in range(cfg.rings)]
        queues = [[resettable(f"queue_{r}_{name}", EngineQueue(cfg, fmt), ring_resets[r])
                   for name, fmt in zip(names, engines.values(), strict=True)]
                  for r in range(cfg.rings)]
        dispatches = [resettable(f"dispatch_{name}", EngineDispatch(cfg, fmt), engine_resets[n])
                      for n, (name, fmt) in enumerate(zip(names, engines.values(), strict=True))]
        adders = [*(flipped(port.add) for port in ports), *(one.signal for one in dispatches),
                  *(ring.signal for ring in rings)]
        waiters = [*(flipped(getattr(self, name)) for name in view_names(cfg)),
                   *(ring.view for ring in rings), *(queue.view for row in queues for queue in row)]
        semaphores = resettable("semaphores", Semaphores(cfg, sources=len(adders),
                                                         views=len(waiters)))
        banks.append(semaphores.bus)
        for source, sink in zip(adders, semaphores.add, strict=True):
            connect_stream(m, source, sink)
        for waiter, view in zip(waiters, semaphores.view, strict=True):
            wiring.connect(m, waiter, view)

        if cfg.rings == 1:
            wiring.connect(m, rings[0].bus, flipped(self.fetch))
        else:
            arbiter = resettable("fetch_arbiter", FetchArbiter(cfg))
            for ring, port in zip(rings, arbiter.rings, strict=True):
                wiring.connect(m, ring.bus, port)
            wiring.connect(m, arbiter.bus, flipped(self.fetch))

        dying = Signal(cfg.rings)
        for r, (ring, row) in enumerate(zip(rings, queues, strict=True)):
            unserved = Signal(name=f"unserved_{r}")
            m.d.comb += [
                ring.stop.eq(reset.abort | sequences[r].resetting), ring.windows.eq(windows[r]),
                dying[r].eq((ring.fault.cause != 0) | sequences[r].resetting),
                unserved.eq(~Cat(dispatch.serving[r] for dispatch in dispatches).any()),
                sequences[r].quiet.eq(ring.quiet & unserved),
            ]
            for n, (queue, dispatch) in enumerate(zip(row, dispatches, strict=True)):
                connect_stream(m, ring.queue[n], queue.i)
                connect_stream(m, queue.o, dispatch.heads[r])
                m.d.comb += [
                    queue.halt.eq(ring.halt), ring.complete[n].eq(dispatch.complete[r]),
                    ring.failed[n].eq(dispatch.failed[r]),
                    ring.failed_index[n].eq(dispatch.failed_index),
                    ring.failed_report[n].eq(dispatch.failed_report),
                ]
        for n, (name, port, dispatch, recovery) in enumerate(
                zip(names, ports, dispatches, recoveries, strict=True)):
            connect_stream(m, dispatch.cmd, flipped(port.cmd))
            connect_stream(m, flipped(port.done), dispatch.done)
            m.d.comb += [
                dispatch.dying.eq(dying), dispatch.abort.eq(recovery.abort),
                recovery.dying.eq(dying), recovery.serving.eq(dispatch.serving),
                recovery.failed.eq(dispatch.failed.any()), recovery.activity.eq(port.activity),
                recovery.quiet.eq(port.quiet), port.abort.eq(reset.abort | recovery.abort),
                getattr(self, f"{name}_reset").eq(engine_resets[n]),
            ]
        m.d.comb += [
            reset.quiet.eq(Cat(ring.quiet for ring in rings).all()
                           & Cat(port.quiet for port in ports).all()),
            self.active.eq(Cat(ring.active for ring in rings).any()),
        ]

        # Registers and counters, which a reset by software leaves alone.
        general = bank("general", CsrBank(CLUSTER, (
            "id", "version", "contract_low", "contract_high", "control", "status", "irq_status",
            "irq_enable")))
        digest = contract_hash(cfg)
        m.d.comb += [
            general.id_value.eq(ID), general.version_value.eq(VERSION),
            general.contract_low_value.eq(digest & 0xFFFF_FFFF),
            general.contract_high_value.eq(digest >> 32),
            reset.request.eq(general.control_reset), general.status_active.eq(self.active),
            general.status_resetting.eq(reset.resetting),
            general.status_faulted.eq(Cat(ring.fault.cause != 0 for ring in rings).any()),
            general.irq_status_completion_set.eq(Cat(ring.irq_completion for ring in rings)),
            general.irq_status_fault_set.eq(Cat(ring.irq_fault for ring in rings)),
        ]
        m.d.sync += self.irq.eq(
            (general.irq_status_completion & general.irq_enable_completion).any()
            | (general.irq_status_fault & general.irq_enable_fault).any())
        for r, ring in enumerate(rings):
            registers = bank(f"ring_{r}_registers", CsrBank(CLUSTER, RING_REGISTERS, index=r))
            tail = resettable(f"ring_{r}_tail", CsrBank(CLUSTER, ("ring_tail",), index=r),
                              ring_resets[r])
            banks.append(tail.bus)
            m.d.comb += [
                ring.base.eq(Cat(registers.ring_base_low_value[6:],
                                 registers.ring_base_high_value)),
                ring.log2_slots.eq(registers.ring_size_log2_slots),
                ring.tail.eq(tail.ring_tail_slot), registers.ring_head_slot.eq(ring.head),
                registers.ring_completed_sequence.eq(ring.completed),
                registers.ring_issued_count.eq(ring.issued),
                registers.ring_fault_cause.eq(ring.fault.cause),
                registers.ring_fault_engine.eq(ring.fault_engine),
                registers.ring_fault_index_value.eq(ring.fault_index),
                registers.ring_fault_address_low_value.eq(ring.fault.address[:32]),
                registers.ring_fault_address_high_value.eq(ring.fault.address[32:]),
                registers.ring_fault_info_value.eq(ring.fault.info),
                registers.ring_fault_row_value.eq(ring.fault.row),
                sequences[r].request.eq(registers.ring_control_reset),
                registers.ring_control_resetting.eq(sequences[r].resetting),
                windows[r].eq(self._windows(registers)),
            ]

        perf = bank("perf", PerfCounters())
        m.d.comb += [perf.active.eq(self.active), perf.bytes_read.eq(self.bytes_read),
                     perf.bytes_written.eq(self.bytes_written),
                     perf.sm_waiting.eq(self.sm_waiting)]
        for n, (engine, port) in enumerate(zip(engines, ports, strict=True)):
            monitor = bank(f"monitor_{engine.name.lower()}", EngineMonitor(cfg, int(engine)))
            m.d.comb += [
                monitor.counting.eq(perf.counting), monitor.activity.eq(port.activity),
                monitor.begin.eq(port.begin), monitor.begin_index.eq(port.begin_index),
                monitor.waiting.eq(Cat(row[n].waiting for row in queues)),
            ]
            for r, row in enumerate(queues):
                m.d.comb += [monitor.semaphore[r].eq(row[n].view.semaphore),
                             monitor.threshold[r].eq(row[n].view.threshold)]

        for bus in banks:
            m.d.comb += [bus.addr.eq(axil.bus.addr), bus.w_en.eq(axil.bus.w_en),
                         bus.w_data.eq(axil.bus.w_data), bus.r_en.eq(axil.bus.r_en)]
        combined = 0
        for bus in banks:
            combined = combined | bus.r_data
        m.d.comb += axil.bus.r_data.eq(combined)
        return m
