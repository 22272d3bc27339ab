"""One stream of the DMA: commands in order, from either memory to one."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..command import formats
from ..command.types import Activity, EnginePort, FaultReport, SemaphoreView
from ..command.windows import ring_windows
from ..common.axi import AxiReadPort, AxiWritePort
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .former import Former
from .gate import GateRow, ProgressGate
from .gm_sink import GmSink
from .index_list import IndexReader
from .odometer import Odometer
from .runs import RunSplitter
from .sm_sink import SmSink
from .source import Source
from .stages import DestinationRun, FormRow, PlaceRun

__all__ = ["DmaStream"]


class DmaStream(wiring.Component):
    """Execute DMA commands in order: a load stream writes SM, a store stream GM.

    ``docs/dma.md`` shows the stages and the rules they keep. Rows of a store are read once ``view``
    says that the progress semaphore has reached ``progress_value`` plus the number of the row (at
    once without semaphore); reads of later rows and commands overlap the writes of earlier ones. A
    command is done when all its writes are acknowledged and, for a load, its adds accepted.

    A fault stops the stream at the row or burst it is about: what is before it moves, it and what
    follows does not (of a write error: what is not under way when it is answered). Reads under way
    are drained and dropped, a write burst under way gets its remaining beats without strobes,
    outstanding responses are awaited; then the command is done with the fault, and nothing is
    accepted until reset. ``abort`` stops the stream in the same way without a completion.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    load : bool
        Whether it writes SM.

    Members
    -------
    port : Out(EnginePort(DMA_ND))
        Commands and their completions. ``quiet`` also says that no scratchpad access is in flight,
        so that the stream may be reset.
    windows : In(ring_windows(config))
        What the rings may access. Constant while a command of the ring is under way.
    read, index : Out(AxiReadPort(bus_width))
        Data and index lists from GM. ``r.ready`` is high whenever data are due.
    sm_read, sm_index : Out(ScratchpadPort(config))
        Data and index lists from SM.
    sm_write : Out(ScratchpadPort(config))
        Load streams only.
    write : Out(AxiWritePort(bus_width))
        Store streams only. Responses must come in the order of the bursts.
    view : Out(SemaphoreView(config))
        Store streams only: progress semaphore of the row to be read next.
    awake : Out(1)
        A command is under way. While it is low and no command is offered, the clock may stop.
    bytes_read, bytes_written : Out(range(bus_bytes + 1))
        Payload bytes read from GM, written to GM, in this cycle.

    Timing
    ------
    Latency: from a transfer on ``port.cmd`` to ``read.ar.valid`` or ``sm_read.req.valid`` of a
    plain copy ``READ_LATENCY`` cycles (a CLIP, GATHER or SCATTER takes longer, see ``Odometer``);
    from the arrival of a word to ``sm_write.req.valid`` ``LOAD_LATENCY``, to ``write.w.valid``
    ``STORE_LATENCY``, 1 less for a word that needs nothing of the one before.
    Throughput: no bubble between rows or commands while ``max_bursts`` bursts and ``read_beats``
    beats cover the latency of the memory.
    Backpressure: full.
    Combinational paths: ``port.abort`` to ``port.cmd.ready``; handshakes to ``port.activity``.
    Reset: valid flags and counters. Reset only when ``port.quiet``.
    """

    READ_LATENCY = Odometer.LATENCY + RunSplitter.SOURCE_LATENCY + Source.GM_LATENCY
    LOAD_LATENCY = Source.DATA_LATENCY + Former.LATENCY + SmSink.DATA_LATENCY
    STORE_LATENCY = Source.DATA_LATENCY + Former.LATENCY + GmSink.DATA_LATENCY
    GATE_ROWS = 8       #: rows within the splitter that may wait for semaphores

    def __init__(self, config: XpuConfig, *, load):
        self._config, self._load = config, load
        sides = ({"sm_write": Out(ScratchpadPort(config))} if load else
                 {"write": Out(AxiWritePort(config.bus_width)), "view": Out(SemaphoreView(config))})
        super().__init__({
            "port": Out(EnginePort(formats.DMA_ND)), "windows": In(ring_windows(config)),
            "read": Out(AxiReadPort(config.bus_width)),
            "index": Out(AxiReadPort(config.bus_width)),
            "sm_read": Out(ScratchpadPort(config)), "sm_index": Out(ScratchpadPort(config)),
            "awake": Out(1), "bytes_read": Out(range(config.bus_bytes + 1)),
            "bytes_written": Out(range(config.bus_bytes + 1)), **sides,
        })

    def elaborate(self, platform):
        m = Module()
        config, port, load = self._config, self.port, self._load

        source_failed = Signal()    # no more words; those before the fault are on their way
        finished = Signal()         # the faulted command has been completed
        read_halt = Signal()        # nothing new is read
        m.submodules.odometer = odometer = Odometer(config, load=load)
        m.submodules.indices = indices = IndexReader(config)
        m.submodules.splitter = splitter = RunSplitter(config, load=load)
        m.submodules.source = source = Source(config)
        m.submodules.former = former = Former(config)
        m.submodules.sink = sink = SmSink(config) if load else GmSink(config)
        m.d.comb += read_halt.eq(port.abort | source_failed | sink.failed)

        # A copy of the windows that changes only while the stream is awake. They are looked at two
        # cycles after a command is accepted at the earliest.
        windows = Signal(ring_windows(config), reset_less=True)
        m.d.sync += windows.eq(self.windows)

        # Commands to rows to runs.
        connect(m, flipped(port.cmd), odometer.cmd)
        connect(m, odometer.job, indices.job)
        connect(m, indices.o, odometer.entry)
        m.d.comb += [
            odometer.stop.eq(read_halt), odometer.windows.eq(self.windows),
            odometer.entry_fault.eq(indices.fault),
            indices.halt.eq(read_halt), indices.windows.eq(windows),
            splitter.windows.eq(windows), splitter.row_fault.eq(odometer.fault),
        ]
        connect(m, flipped(self.index), indices.axi)
        connect(m, flipped(self.sm_index), indices.sm)
        rows, take = odometer.o, Signal()       # take: nothing holds a row back
        m.d.comb += [
            splitter.i.valid.eq(rows.valid & take), splitter.i.payload.eq(rows.payload),
            rows.ready.eq(splitter.i.ready & take),
        ]
        if load:
            m.d.comb += take.eq(~read_halt)
            connect(m, splitter.source, source.run)
        else:
            m.submodules.gate = gate = ProgressGate(config)
            m.submodules.gate_rows = gate_rows = StreamFifo(GateRow(config), self.GATE_ROWS)
            connect(m, gate_rows.o, gate.row)
            connect(m, splitter.source, gate.i)
            connect(m, gate.o, source.run)
            connect(m, flipped(self.view), gate.view)
            waits = gate_rows.i.p
            m.d.comb += [
                take.eq(gate_rows.i.ready & ~read_halt),
                gate_rows.i.valid.eq(rows.valid & splitter.i.ready & ~read_halt),
                waits.semaphore.eq(rows.p.semaphore), waits.threshold.eq(rows.p.threshold),
                waits.last.eq(rows.p.last),
            ]

        # Runs to words.
        m.submodules.form_rows = form_rows = StreamFifo(FormRow(config), config.max_bursts)
        m.submodules.places = places = StreamFifo(PlaceRun(config), 2)
        m.submodules.runs = runs = StreamFifo(DestinationRun(config), config.max_bursts)
        connect(m, splitter.form, form_rows.i)
        connect(m, splitter.place, places.i)
        connect(m, splitter.destination, runs.i)
        connect(m, flipped(self.read), source.axi)
        connect(m, flipped(self.sm_read), source.sm)
        word = source.o
        m.d.comb += [
            source.run_fault.eq(splitter.source_fault), source.windows.eq(windows),
            source.halt.eq(read_halt), self.bytes_read.eq(source.payload_bytes),
            former.i.valid.eq(word.valid & ~word.p.fault), former.i.payload.eq(word.p.data),
            word.ready.eq(former.i.ready & ~word.p.fault),
        ]
        source_fault = Signal(FaultReport(), reset_less=True)
        with m.If(word.valid & word.p.fault & ~read_halt):
            m.d.sync += [source_failed.eq(1), source_fault.eq(source.fault)]
        connect(m, form_rows.o, former.row)
        connect(m, places.o, former.place)

        # Words to memory.
        connect(m, former.o, sink.i)
        connect(m, runs.o, sink.run)
        m.d.comb += [sink.run_fault.eq(splitter.destination_fault), sink.halt.eq(port.abort)]
        if load:
            connect(m, flipped(self.sm_write), sink.sm)
            connect(m, sink.add, flipped(port.add))
        else:
            connect(m, flipped(self.write), sink.axi)
            m.d.comb += [sink.windows.eq(windows), self.bytes_written.eq(sink.payload_bytes)]

        # Completion. Of two faults that of the sink is about the earlier row.
        reading = Signal()
        drained = Signal()
        failed = Signal()
        finish = Signal()
        m.d.comb += [
            reading.eq(source.busy | indices.busy),
            drained.eq(~reading & ~sink.busy & ~(former.busy & ~sink.failed)),
            failed.eq(source_failed | sink.failed),
            finish.eq(failed & drained & ~finished),
            port.quiet.eq(~reading & ~sink.busy),
            port.done.valid.eq(sink.completed | finish),
            port.begin.eq(source.begin), port.begin_index.eq(source.begin_index),
        ]
        with m.If(finish):
            m.d.sync += finished.eq(1)
            m.d.comb += port.done.p.fault.eq(Mux(sink.failed, sink.fault, source_fault))

        self._activity(m, reading, finished, gate.blocked if not load else 0, sink.busy)
        return m

    def _activity(self, m, reading, finished, blocked, writing):
        """What the stream does. Commands in flight each hold a place in some buffer."""
        port = self.port
        commands = Signal(range(self._config.max_bursts + 64))
        m.d.sync += commands.eq(commands + (port.cmd.valid & port.cmd.ready) - port.done.valid)
        write_moves = ((self.sm_write.req.valid & self.sm_write.req.ready) if self._load else
                       (self.write.w.valid & self.write.w.ready))
        moves, refused = Signal(), Signal()
        m.d.comb += [
            moves.eq((self.read.r.valid & self.read.r.ready) | write_moves
                     | (self.sm_read.req.valid & self.sm_read.req.ready) | self.sm_read.rsp.valid),
            refused.eq(self.sm_read.waiting
                       | (self.sm_write.waiting if self._load else 0)),
        ]
        m.d.comb += self.awake.eq((commands != 0) | reading | writing)
        with m.If((commands == 0) | finished):
            m.d.comb += port.activity.eq(Activity.IDLE)
        with m.Elif(moves):
            m.d.comb += port.activity.eq(Activity.BUSY)
        with m.Elif(refused):
            m.d.comb += port.activity.eq(Activity.BANK_CONFLICT)
        with m.Elif(reading):
            m.d.comb += port.activity.eq(Activity.MEMORY)
        with m.Elif(blocked & ~writing):
            m.d.comb += port.activity.eq(Activity.SEMAPHORE)
        with m.Elif(writing):
            m.d.comb += port.activity.eq(Activity.OUTPUT)
        with m.Else():
            m.d.comb += port.activity.eq(Activity.MEMORY)
