"""From a copy command to its rows."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import CLUSTER_LSB
from ..command.formats import DMA_LOOPS, DMA_ND, DmaAxis, DmaMode, FaultCause
from ..command.types import FaultReport, IssuedCommand
from ..command.windows import ring_windows
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .checks import command_checks
from .loops import COUNT_WIDTH, LoopCounters, LoopSum, select_one
from .row_math import RowMath
from .stages import IndexEntry, IndexJob, NdRow
from .types import BYTES_WIDTH

__all__ = ["Odometer"]

_LOOPS = range(1, DMA_LOOPS + 1)


class Odometer(wiring.Component):
    """Walk the loops of copy commands: one ``NdRow`` per row, or in TRANSPOSE per matrix.

    Of a short command (DMA_COPY) only the fields of its format are looked at. A command with a bad
    field, semaphore or address becomes one row with ``fault``. If it has several, the one reported
    is the first of: BAD_FIELD row_bytes, rows, reserved1, mode, element_log2, reserved2, reserved3,
    count2 to count5, reserved4, x_limit; BAD_SEMAPHORE, then PROTECTION of progress_semaphore;
    BAD_ADDRESS source, destination, index, if their cluster or card is not 0; BAD_FIELD index_low.
    An index entry that could not be read or is not below its limit makes the row that needs it one
    with ``fault``. Nothing follows such a row until reset.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    load : bool
        A load signals its progress semaphore; a store waits for it.

    Members
    -------
    cmd : In(stream.Signature(IssuedCommand(DMA_ND)))
        Commands, long and short.
    stop : In(1)
        Accept no more commands.
    windows : In(ring_windows(config))
        What the rings may use.
    job : Out(stream.Signature(IndexJob()))
        GATHER, SCATTER: the list, once for each iteration of loops 2 to 5, while room is there.
        After a fault a job may stay offered.
    entry : In(stream.Signature(IndexEntry()))
        Entries of the jobs.
    entry_fault : In(FaultReport())
        Why the entry offered with ``fault`` could not be read.
    o : Out(stream.Signature(NdRow(config)))
        Rows, in order.
    fault : Out(FaultReport())
        Why the row offered with ``fault`` is bad. Valid from the cycle in which it is offered.

    Timing
    ------
    Latency: 2 cycles from a transfer on ``cmd`` to ``o.valid`` of row 0 (``LATENCY``); in CLIP, and
    in other modes while rows of CLIP, GATHER or SCATTER are inside, 3 more (``MATH_LATENCY``). From
    a transfer on ``cmd`` to ``job.valid`` 1 cycle (``JOB_LATENCY``), from one on ``entry`` to
    ``o.valid`` of its row 5 (``ENTRY_LATENCY``).
    Throughput: one row per cycle, without a gap between commands (other than that latency when
    rows with and without the 3 cycles follow each other); in GATHER and SCATTER while entries are
    there.
    Backpressure: full.
    Combinational paths: ``stop`` to ``cmd.ready``.
    Reset: valid flags only.
    """

    LATENCY = 2
    JOB_LATENCY = 1
    MATH_LATENCY = RowMath.LATENCY
    ENTRY_LATENCY = 2 + MATH_LATENCY

    def __init__(self, config: XpuConfig, *, load):
        self._config, self._load = config, bool(load)
        super().__init__({
            "cmd": In(stream.Signature(IssuedCommand(DMA_ND))),
            "stop": In(1),
            "windows": In(ring_windows(config)),
            "job": Out(stream.Signature(IndexJob())),
            "entry": In(stream.Signature(IndexEntry())),
            "entry_fault": In(FaultReport()),
            "o": Out(stream.Signature(NdRow(config))),
            "fault": Out(FaultReport()),
        })

    def elaborate(self, platform):
        m = Module()
        config, command = self._config, self.cmd.p.command
        active = Signal()       # a command has rows left
        load = Signal()
        step = Signal()

        # What is kept of a command. `long`: it has the fields of DMA_ND beyond those of DMA_COPY.
        long = Signal()
        mode_is = {mode: Signal(name=f"mode_is_{mode.name.lower()}") for mode in DmaMode}
        m.d.comb += long.eq(command.opcode[1])
        m.d.comb += [is_it.eq((long & (command.mode == mode)) | (~long if mode == DmaMode.COPY
                                                                 else 0))
                     for mode, is_it in mode_is.items()]
        kept = {name: Signal(shape, reset_less=True, name=name) for name, shape in {
            "bytes": BYTES_WIDTH, "rows": COUNT_WIDTH, "fill": 32, "element_log2": 2,
            "semaphore": 8, "ring": 3, "index": 32, "transposed": 1, "filled": 1, "clipped": 1,
            "listed": 1, "scattered": 1, "pitch": signed(32), "x_limit": 31, "u_limit": 16,
            "v_limit": 16, "index_limit": 32, "list_address": 64,
            "source_high": 16, "destination_high": 16}.items()}
        bytes_, rows, transposed = kept["bytes"], kept["rows"], kept["transposed"]
        listed, clipped, filled = kept["listed"], kept["clipped"], kept["filled"]
        high = CLUSTER_LSB - 32
        with m.If(load):
            m.d.sync += [kept[name].eq(value) for name, value in {
                "bytes": command.row_bytes, "rows": command.rows, "fill": command.fill,
                "element_log2": command.element_log2, "semaphore": command.progress_semaphore,
                "ring": self.cmd.p.ring, "index": self.cmd.p.index,
                "transposed": mode_is[DmaMode.TRANSPOSE], "filled": mode_is[DmaMode.FILL],
                "clipped": mode_is[DmaMode.CLIP],
                "listed": mode_is[DmaMode.GATHER] | mode_is[DmaMode.SCATTER],
                "scattered": mode_is[DmaMode.SCATTER],
                "pitch": Mux(mode_is[DmaMode.SCATTER], command.destination_pitch,
                             command.source_pitch),
                "x_limit": command.x_limit, "u_limit": command.u_limit,
                "v_limit": command.v_limit, "index_limit": command.index_limit,
                "list_address": Cat(command.index_low, command.index_high),
                "source_high": command.source_high[high:],
                "destination_high": command.destination_high[high:]}.items()]
        checks = command_checks(m, config, self.cmd.p, self.windows, mode_is, long=long,
                                signal=self._load)
        flags = Signal(len(checks))
        bad = Signal(len(checks), reset_less=True)
        bad_any = Signal(4, reset_less=True)        # any of a quarter of `bad`
        refused = Signal()
        refused_later = Signal()        # a cycle later; nothing follows, so it stays
        m.d.comb += [flags.eq(Cat(flag for *_, flag in checks)), refused.eq(bad_any.any())]
        m.d.sync += refused_later.eq(refused & active)
        with m.If(load):
            m.d.sync += [bad.eq(flags), bad_any.eq(Cat(flags[n::4].any() for n in range(4)))]

        # Loops. The stride of an axis that an index replaces is 0 here.
        m.submodules.counters = counters = LoopCounters(DMA_LOOPS)
        m.d.comb += [
            counters.load.eq(load), counters.step.eq(step),
            counters.counts[0].eq(Mux(mode_is[DmaMode.TRANSPOSE], 1, command.rows)),
            *(counters.counts[n - 1].eq(Mux(long, command[f"count{n}"], 1)) for n in _LOOPS[1:]),
        ]
        sums = {}
        replaced = {"source": DmaMode.GATHER, "destination": DmaMode.SCATTER}
        strides = {side: [Signal(signed(32), reset_less=True, name=f"{side}_stride{n}")
                          for n in _LOOPS] for side in replaced}
        for side, mode in replaced.items():
            m.submodules[side] = sums[side] = LoopSum(CLUSTER_LSB, DMA_LOOPS)
            given = [Mux(mode_is[mode], 0, command[f"{side}_pitch"]),
                     *(command[f"{side}_stride{n}"] for n in _LOOPS[1:])]
            with m.If(load):
                m.d.sync += [stride.eq(value) for stride, value in
                             zip(strides[side], given, strict=True)]
            m.d.comb += [
                sums[side].start.eq(Cat(command[f"{side}_low"], command[f"{side}_high"])),
                sums[side].step.eq(step), sums[side].addend.eq(select_one(
                    m, counters.advance, strides[side], signed(32), f"{side}_addend")),
            ]
        steps = [Signal(signed(16), reset_less=True, name=f"step{n}") for n in _LOOPS]
        axes = [Signal(2, reset_less=True, name=f"axis{n}") for n in _LOOPS]
        with m.If(load):
            m.d.sync += [steps[n - 1].eq(command[f"step{n}"]) for n in _LOOPS]
            m.d.sync += [axes[n - 1].eq(command[f"axis{n}"]) for n in _LOOPS]
        move = select_one(m, counters.advance, steps, signed(16), "move")
        axis = select_one(m, counters.advance, axes, 2, "axis")
        for name in ("x", "u", "v"):
            m.submodules[name] = sums[name] = LoopSum(32, DMA_LOOPS)
            m.d.comb += [
                sums[name].start.eq(command[f"{name}_start"]), sums[name].step.eq(step & clipped),
                sums[name].addend.eq(Mux(axis == DmaAxis[name.upper()], move, 0)),
            ]
        m.d.comb += [part.load.eq(load) for part in sums.values()]
        m.d.comb += [part.fresh.eq(~active | counters.last) for part in sums.values()]
        m.d.comb += [part.advance.eq(counters.advance) for part in sums.values()]

        # Counts of rows. `entry_offset`: bytes of the list before the entry of this row.
        first = Signal(reset_less=True)
        row_number = Signal(32, reset_less=True)
        entry_offset = Signal(COUNT_WIDTH + 2, reset_less=True)
        threshold = Signal(config.semaphore_width, reset_less=True)
        with m.If(load):
            m.d.sync += [first.eq(1), row_number.eq(0), entry_offset.eq(0),
                         threshold.eq(command.progress_value)]
        with m.Elif(step):
            m.d.sync += [first.eq(0), row_number.eq(row_number + 1), threshold.eq(threshold + 1)]
            with m.If(listed):
                m.d.sync += entry_offset.eq(Mux(counters.advance[0], entry_offset + 4, 0))

        # Index lists. A command is left only with its last entry, so every entry is of this one.
        m.submodules.lists = lists = LoopCounters(DMA_LOOPS - 1)
        job_due = Signal()
        entry_valid = Signal()
        entry = Signal(32, reset_less=True)
        entry_unread = Signal(reset_less=True)
        entry_bad = Signal(reset_less=True)
        stopped = Signal()
        m.d.comb += [
            self.job.valid.eq(job_due & ~refused), self.job.p.count.eq(rows),
            self.job.p.address.eq(kept["list_address"]), self.job.p.ring.eq(kept["ring"]),
            lists.load.eq(load), lists.counts.eq(counters.counts.as_value()[COUNT_WIDTH:]),
            lists.step.eq(self.job.valid & self.job.ready),
            self.entry.ready.eq(~stopped & (~entry_valid | step)),
        ]
        with m.If(load):
            m.d.sync += job_due.eq(mode_is[DmaMode.GATHER] | mode_is[DmaMode.SCATTER])
        with m.Elif(lists.step & lists.last):
            m.d.sync += job_due.eq(0)
        with m.If(self.entry.valid & self.entry.ready):
            m.d.sync += [entry_valid.eq(1), entry.eq(self.entry.p.value),
                         entry_unread.eq(self.entry.p.fault),
                         entry_bad.eq(self.entry.p.fault
                                      | (self.entry.p.value >= kept["index_limit"]))]
        with m.Elif(step):
            m.d.sync += entry_valid.eq(0)

        # Rows that need no arithmetic go past it while none is inside.
        context = data.StructLayout({
            "fill": 32, "first": 1, "last": 1, "fault": 1, "semaphore": 8,
            "threshold": config.semaphore_width, "ring": 3, "index": 32})
        m.submodules.math = math = RowMath(context)
        m.submodules.rows = queue = StreamFifo(NdRow(config), 2)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        offered = Signal()
        past = Signal()
        fault = Signal()
        m.d.comb += [
            offered.eq(active & (~listed | entry_valid | refused_later)
                       & ~(transposed & math.busy)),
            past.eq(~listed & ~clipped & ~math.busy),
            fault.eq(refused | (listed & entry_bad)),
            math.i.valid.eq(offered & ~past), math.o.ready.eq(queue.i.ready),
            queue.i.valid.eq(math.o.valid | (offered & past)),
            step.eq(offered & queue.i.ready),
            self.cmd.ready.eq(~self.stop & ~stopped & (~active | (step & counters.last & ~fault))),
            load.eq(self.cmd.valid & self.cmd.ready),
        ]
        with m.If(load):
            m.d.sync += active.eq(1)
        with m.Elif(step):
            m.d.sync += [active.eq(~fault & ~counters.last), stopped.eq(fault)]

        here = Signal(context)
        row, place, sent = math.i.p, math.o.p, queue.i.p
        m.d.comb += [here[name].eq(kept[name]) for name in ("fill", "semaphore", "ring", "index")]
        m.d.comb += [
            here.first.eq(first), here.last.eq(counters.last), here.fault.eq(fault),
            here.threshold.eq(threshold), row.context.eq(here),
            row.source.eq(sums["source"].value), row.destination.eq(sums["destination"].value),
            row.indexed.eq(listed), row.scatter.eq(kept["scattered"]), row.entry.eq(entry),
            row.pitch.eq(kept["pitch"]), row.fill.eq(filled), row.clip.eq(clipped),
            row.bytes.eq(bytes_),
        ]
        m.d.comb += [row[name].eq(sums[name].value) for name in ("x", "u", "v")]
        m.d.comb += [row[name].eq(kept[name]) for name in ("x_limit", "u_limit", "v_limit")]
        m.d.comb += [
            sent.transpose.eq(past & transposed), sent.rows.eq(rows),
            sent.source_pitch.eq(strides["source"][0]),
            sent.destination_pitch.eq(strides["destination"][0]),
            sent.element_log2.eq(kept["element_log2"]),
        ]
        with m.If(past):
            m.d.comb += [
                sent.source.eq(sums["source"].value),
                sent.destination.eq(sums["destination"].value), sent.bytes.eq(bytes_),
                sent.left.eq(Mux(filled, bytes_, 0)), sent.copied.eq(Mux(filled, 0, bytes_)),
                *(sent[name].eq(here[name]) for name, _ in context),
            ]
        with m.Else():
            m.d.comb += [
                *(sent[name].eq(place[name])
                  for name in ("source", "destination", "bytes", "left", "copied")),
                *(sent[name].eq(place.context[name]) for name, _ in context),
            ]

        # The fault; there is only one.
        report = Signal(FaultReport(), reset_less=True)
        m.d.comb += self.fault.eq(report)
        addresses = {
            None: 0, "semaphore": kept["semaphore"], "index": kept["list_address"],
            **{side: Cat(sums[side].value, kept[f"{side}_high"]) for side in replaced}}
        with m.If(step & fault):
            m.d.sync += report.row.eq(row_number)
            for n, (cause, info, address, _) in enumerate(checks):
                with m.If(bad[n]) if n == 0 else m.Elif(bad[n]):
                    m.d.sync += [report.cause.eq(cause), report.info.eq(info),
                                 report.address.eq(addresses[address])]
            with m.Elif(entry_unread):
                m.d.sync += [report[name].eq(self.entry_fault[name])
                             for name in ("cause", "info", "address")]
            with m.Else():
                m.d.sync += [report.cause.eq(FaultCause.BAD_INDEX), report.info.eq(entry),
                             report.address.eq(kept["list_address"] + entry_offset)]
        return m
