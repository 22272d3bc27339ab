"""The DMA engine that copies from global memory to the scratchpad."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from ..address_map import Space
from ..command import formats
from ..command.formats import FaultCause
from ..command.types import Activity, EnginePort, FaultReport
from ..common.axi import AXI_ID_WIDTH, AxiAddress, AxiReadPort
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort, ScratchpadRequest
from .align import Aligner, count_ones
from .bursts import BurstSplitter
from .landing import LandingTracker
from .types import AlignRow, beat_address
from .walk import RowWalker

__all__ = ["LoadEngine"]


class LoadEngine(wiring.Component):
    """Execute DMA_LOAD commands: rows of bytes, GM to SM, at any byte alignment.

    Bursts are issued as far ahead of the data as ``max_bursts`` allows, across rows and commands.
    Data are written to SM as they arrive: ``r.ready`` is low only while no data are expected or the
    scratchpad does not take what is already here. Row r has landed when the scratchpad has answered
    its last write; then 1 is added to the progress semaphore. A command is done when all its rows
    have landed and its adds are accepted.

    A row outside its memory stops the engine before a byte of it is read; rows before it land
    first. A read error stops it at the failing beat: neither that beat nor anything later is
    written, and the report names the beat. Reads under way are drained and dropped in both cases,
    then the command is done with the fault, and nothing is accepted until reset. ``abort`` stops
    the engine in the same way without a completion.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    axi_id : int
        ID of all bursts, 0 to 15.

    Members
    -------
    port : Out(EnginePort(DMA_COPY))
        Commands and their completions. ``quiet`` also says that no scratchpad write is in flight,
        so that the engine may be reset; ``begin`` marks a command's first burst.
    axi : Out(AxiReadPort(bus_width))
        Read channels. Data must come in the order of the bursts.
    sm : Out(ScratchpadPort(config))
        Scratchpad; writes only.
    payload_bytes : Out(range(bus_bytes + 1))
        Bytes landed in SM in this cycle.

    Timing
    ------
    Latency: 4 cycles from a transfer on ``port.cmd`` to ``axi.ar.valid`` (``ISSUE_LATENCY``). From
    a transfer on ``axi.r`` to ``sm.req.valid`` of the word it completes: 2 cycles, 3 for the
    carried last word of a row (``DATA_LATENCY`` is the greater).
    Throughput: one burst per cycle; one beat per cycle, see ``Aligner``. No bubble between rows or
    commands while ``max_bursts`` bursts cover the latency of the memory.
    Backpressure: full.
    Combinational paths: ``port.abort`` to ``port.cmd.ready`` and ``axi.r.ready``; from ``axi.r``
    and ``sm`` handshakes to ``port.activity``.
    Reset: valid flags and counters. Reset only when ``port.quiet``.
    """

    ISSUE_LATENCY = RowWalker.LATENCY + BurstSplitter.LATENCY + 1
    DATA_LATENCY = Aligner.LATENCY + 1

    def __init__(self, config: XpuConfig, axi_id=0):
        if not 0 <= axi_id < 1 << AXI_ID_WIDTH:
            raise ValueError(f"axi_id must lie in 0..{(1 << AXI_ID_WIDTH) - 1}, not {axi_id!r}")
        self._config, self._axi_id = config, axi_id
        super().__init__({
            "port": Out(EnginePort(formats.DMA_COPY)),
            "axi": Out(AxiReadPort(config.bus_width)),
            "sm": Out(ScratchpadPort(config)),
            "payload_bytes": Out(range(config.bus_bytes + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        config, port, axi, sm = self._config, self.port, self.axi, self.sm

        halt = Signal()         # no new bursts, no new commands; arriving data are dropped
        failed = Signal()       # a command is to be completed with a fault
        bus_failed = Signal()   # ... that of `bus_report`, else the walker's
        finished = Signal()     # it has been
        m.d.comb += halt.eq(port.abort | failed)

        # Rows, each to the splitter and to the data side. A bad one only to the data side, where it
        # arrives when all data before it have.
        m.submodules.walker = walker = RowWalker(config, source=Space.GM)
        wiring.connect(m, wiring.flipped(port.cmd), walker.cmd)
        burst_context = data.StructLayout({"first": 1, "index": 32})
        m.submodules.splitter = splitter = BurstSplitter(config, burst_context)
        word_context = data.StructLayout({"word": config.sm_addr_width, "semaphore": 8, "last": 1})
        data_row = data.StructLayout({"align": AlignRow(config, word_context),
                                      "gm_beat": beat_address(config), "fault": 1})
        m.submodules.data_rows = data_rows = StreamFifo(data_row, config.max_bursts)
        row = walker.o.p
        move = Signal()
        m.d.comb += [
            walker.stop.eq(halt),
            move.eq(walker.o.valid & splitter.i.ready & data_rows.i.ready & ~halt),
            walker.o.ready.eq(move),
            splitter.i.valid.eq(move & ~row.fault), data_rows.i.valid.eq(move),
            splitter.i.p.beat.eq(row.gm_beat), splitter.i.p.beats.eq(row.gm_beats),
            splitter.i.p.context.first.eq(row.first), splitter.i.p.context.index.eq(row.index),
            data_rows.i.p.gm_beat.eq(row.gm_beat), data_rows.i.p.fault.eq(row.fault),
        ]
        align = data_rows.i.p.align
        m.d.comb += [
            align.lane.eq(row.lane), align.end.eq(row.end), align.shift.eq(row.shift),
            align.wrap.eq(row.wrap), align.beats.eq(row.gm_beats),
            align.context.word.eq(row.sm_word), align.context.last.eq(row.last),
            align.context.semaphore.eq(row.semaphore),
        ]

        # Addresses.
        ar_valid = Signal()
        ar = Signal(AxiAddress(), reset_less=True)
        outstanding = Signal(range(config.max_bursts + 1))
        issue = Signal()
        burst = splitter.o.p
        m.d.comb += [
            issue.eq(splitter.o.valid & (~ar_valid | axi.ar.ready) & ~halt
                     & (outstanding != config.max_bursts)),
            splitter.o.ready.eq(issue),
            axi.ar.valid.eq(ar_valid), axi.ar.payload.eq(ar),
            port.begin.eq(issue & burst.first & burst.context.first),
            port.begin_index.eq(burst.context.index),
        ]
        with m.If(axi.ar.ready):
            m.d.sync += ar_valid.eq(0)
        with m.If(issue):
            m.d.sync += [ar_valid.eq(1), ar.addr.eq(burst.beat << config.word_shift),
                         ar.len.eq(burst.len), ar.id.eq(self._axi_id)]
        beat_moves = Signal()
        m.d.comb += beat_moves.eq(axi.r.valid & axi.r.ready)
        m.d.sync += outstanding.eq(outstanding + issue - (beat_moves & axi.r.p.last))

        # Data.
        m.submodules.aligner = aligner = Aligner(config, word_context)
        head = data_rows.o.p
        error = Signal()
        m.d.comb += [
            error.eq(axi.r.p.resp[1]),
            aligner.row.valid.eq(data_rows.o.valid & ~head.fault),
            aligner.row.payload.eq(head.align), data_rows.o.ready.eq(aligner.row.ready),
            aligner.i.valid.eq(axi.r.valid & ~error & ~halt),
            aligner.i.payload.eq(axi.r.p.data),
            axi.r.ready.eq(aligner.i.ready | halt),
        ]
        bus_report = Signal(FaultReport(), reset_less=True)
        with m.If(beat_moves & error & ~halt):
            m.d.sync += [
                failed.eq(1), bus_failed.eq(1), bus_report.cause.eq(FaultCause.BUS_READ),
                bus_report.address.eq((head.gm_beat + aligner.index) << config.word_shift),
                bus_report.info.eq(axi.r.p.resp),
            ]
        with m.Elif(data_rows.o.valid & head.fault):
            m.d.sync += failed.eq(1)

        # Scratchpad.
        m.submodules.requests = requests = StreamFifo(ScratchpadRequest(config), 2)
        m.submodules.landing = landing = LandingTracker(config)
        word = aligner.o.p
        next_address = Signal(config.sm_addr_width, reset_less=True)
        request = requests.i.p
        push = Signal()
        m.d.comb += [
            aligner.o.ready.eq(requests.i.ready & landing.i.ready),
            push.eq(aligner.o.valid & aligner.o.ready),
            requests.i.valid.eq(push), landing.i.valid.eq(push),
            request.address.eq(Mux(word.first, word.context.word, next_address)),
            request.write.eq(1), request.strobe.eq(word.strobe), request.data.eq(word.data),
            landing.i.p.bytes.eq(count_ones(m, word.strobe)),
            landing.i.p.row_last.eq(word.last),
            landing.i.p.command_last.eq(word.last & word.context.last),
            landing.i.p.semaphore.eq(word.context.semaphore),
            landing.landed.eq(sm.rsp.valid), self.payload_bytes.eq(landing.payload_bytes),
        ]
        with m.If(push):
            m.d.sync += next_address.eq(request.address + 1)
        wiring.connect(m, requests.o, wiring.flipped(sm.req))
        wiring.connect(m, landing.add, wiring.flipped(port.add))

        # Completion.
        finish = Signal()
        drained = Signal()
        m.d.comb += [
            drained.eq((outstanding == 0) & ~aligner.busy & landing.idle),
            finish.eq(failed & ~finished & drained),
            port.done.valid.eq(landing.completed | finish),
            port.quiet.eq(drained),
        ]
        with m.If(finish):
            m.d.sync += finished.eq(1)
            m.d.comb += port.done.p.fault.eq(Mux(bus_failed, bus_report, walker.fault))

        # Activity. Commands in flight each hold a place in some buffer.
        commands = Signal(range(config.max_bursts + 64))
        m.d.sync += commands.eq(commands + (port.cmd.valid & port.cmd.ready) - port.done.valid)
        with m.If((commands == 0) | finished):
            m.d.comb += port.activity.eq(Activity.IDLE)
        with m.Elif(beat_moves | (sm.req.valid & sm.req.ready)):
            m.d.comb += port.activity.eq(Activity.BUSY)
        with m.Elif(sm.waiting):
            m.d.comb += port.activity.eq(Activity.BANK_CONFLICT)
        with m.Elif((outstanding != 0) | walker.o.valid | splitter.o.valid):
            m.d.comb += port.activity.eq(Activity.MEMORY)
        with m.Else():
            m.d.comb += port.activity.eq(Activity.OUTPUT)
        return m
