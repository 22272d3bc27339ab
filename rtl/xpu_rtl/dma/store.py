"""The DMA engine that copies from the scratchpad to global memory."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from ..address_map import Space
from ..command import formats
from ..command.formats import FaultCause
from ..command.types import Activity, EnginePort, FaultReport, SemaphoreView
from ..common.axi import AXI_ID_WIDTH, AxiAddress, AxiWriteBeat, AxiWritePort
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .align import Aligner, count_ones
from .bursts import BurstSplitter
from .reader import RowReader
from .types import AlignRow, SplitRow, beat_address
from .walk import RowWalker

__all__ = ["StoreEngine"]


class StoreEngine(wiring.Component):
    """Execute DMA_STORE commands: rows of bytes, SM to GM, at any byte alignment.

    Row r is read once ``view`` says that the progress semaphore has reached ``progress_value + r``
    (at once without semaphore). Reads of later rows and commands overlap the writes of earlier
    ones. A command is done when all its write responses have come.

    A burst begins (AW and first W beat are offered in the same cycle, neither waits for the other)
    only when its first beat is at hand and the AW before it is taken. All its other beats are then
    under way from the scratchpad, which answers whatever AXI does, into a buffer where they have
    reserved places; so a begun burst always ends, and nothing can deadlock, whichever channel the
    other side takes first.

    A row outside its memory stops the engine before a byte of it is read; rows before it are
    written. A write error stops it too, and the report names the burst. A burst under way gets its
    remaining beats without strobes, outstanding responses are awaited, then the command is done
    with the fault, and nothing is accepted until reset. ``abort`` stops the engine in the same way
    without a completion.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    axi_id : int
        ID of all bursts, 0 to 15.

    Members
    -------
    port : Out(EnginePort(DMA_COPY))
        Commands and their completions. ``add`` is not used. ``quiet`` also says that no scratchpad
        read is in flight, so that the engine may be reset; ``begin`` marks a command's first
        scratchpad read.
    axi : Out(AxiWritePort(bus_width))
        Write channels. Responses must come in the order of the bursts.
    sm : Out(ScratchpadPort(config))
        Scratchpad; reads only.
    view : Out(SemaphoreView(config))
        Progress semaphore of the row to be read next.
    payload_bytes : Out(range(bus_bytes + 1))
        Bytes handed to the write channel, registered.

    Timing
    ------
    Latency: 4 cycles from a transfer on ``port.cmd`` to ``sm.req.valid`` without semaphore
    (``ISSUE_LATENCY``). 3 cycles from a transfer on ``sm.rsp`` to ``axi.w.valid`` of the word it
    completes, 4 for the carried last word of a row (``DATA_LATENCY`` is the greater). 1 cycle from
    the last ``axi.b`` to ``port.done``.
    Throughput: one burst per cycle; one beat per cycle, see ``Aligner``. No bubble between rows or
    commands while ``max_bursts`` bursts cover the latency of the memory.
    Backpressure: full.
    Combinational paths: ``port.abort`` to ``port.cmd.ready``; ``view.reached`` to
    ``view.threshold``; from ``axi`` and ``sm`` handshakes to ``port.activity``.
    Reset: valid flags and counters. Reset only when ``port.quiet``.
    """

    ISSUE_LATENCY = RowWalker.LATENCY + RowReader.LATENCY
    DATA_LATENCY = 1 + Aligner.LATENCY + 1

    def __init__(self, config: XpuConfig, axi_id=0):
        if not 0 <= axi_id < 1 << AXI_ID_WIDTH:
            raise ValueError(f"axi_id must lie in 0..{(1 << AXI_ID_WIDTH) - 1}, not {axi_id!r}")
        self._config, self._axi_id = config, axi_id
        super().__init__({
            "port": Out(EnginePort(formats.DMA_COPY)),
            "axi": Out(AxiWritePort(config.bus_width)),
            "sm": Out(ScratchpadPort(config)),
            "view": Out(SemaphoreView(config)),
            "payload_bytes": Out(range(config.bus_bytes + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        config, port, axi, sm = self._config, self.port, self.axi, self.sm

        halt = Signal()         # no new bursts, reads or commands
        failed = Signal()       # a command is to be completed with a fault
        bus_failed = Signal()   # ... that of `bus_report`, else the walker's
        finished = Signal()     # it has been
        m.d.comb += halt.eq(port.abort | failed)

        # Rows, past the progress gate, each to the reader, the aligner and the splitter. A bad one
        # only to the splitter, where it arrives when all data before it have left.
        m.submodules.walker = walker = RowWalker(config, source=Space.SM)
        wiring.connect(m, wiring.flipped(port.cmd), walker.cmd)
        m.submodules.reader = reader = RowReader(config)
        wiring.connect(m, reader.sm, wiring.flipped(sm))
        m.submodules.align_rows = align_rows = StreamFifo(AlignRow(config, 0), RowReader.DEPTH)
        context = data.StructLayout({"last": 1, "fault": 1})
        m.submodules.split_rows = split_rows = StreamFifo(SplitRow(config, context),
                                                          RowReader.DEPTH)
        row = walker.o.p
        reached = Signal()
        move = Signal()
        m.d.comb += [
            walker.stop.eq(halt),
            move.eq(walker.o.valid & (reached | row.fault) & reader.row.ready
                    & align_rows.i.ready & split_rows.i.ready & ~halt),
            walker.o.ready.eq(move),
            reader.stop.eq(halt), reader.row.valid.eq(move & ~row.fault),
            reader.row.p.word.eq(row.sm_word), reader.row.p.words.eq(row.sm_words),
            align_rows.i.valid.eq(move & ~row.fault),
            align_rows.i.p.lane.eq(row.lane), align_rows.i.p.end.eq(row.end),
            align_rows.i.p.shift.eq(row.shift), align_rows.i.p.wrap.eq(row.wrap),
            align_rows.i.p.beats.eq(row.sm_words),
            split_rows.i.valid.eq(move),
            split_rows.i.p.beat.eq(row.gm_beat), split_rows.i.p.beats.eq(row.gm_beats),
            split_rows.i.p.context.last.eq(row.last), split_rows.i.p.context.fault.eq(row.fault),
            port.begin.eq(move & row.first & ~row.fault), port.begin_index.eq(row.index),
        ]

        # Progress gate. `asked`: the answer in this cycle belongs to the row offered now. While
        # a row is known to be reached the next threshold is asked for, so that rows can follow
        # each other without a gap; `known` remembers the answer for a row that has to wait.
        asked = Signal()
        known = Signal()
        m.d.comb += [
            reached.eq((row.semaphore == 0) | known | (asked & self.view.reached)),
            self.view.semaphore.eq(row.semaphore),
            self.view.threshold.eq(row.threshold + reached),
        ]
        m.d.sync += [
            known.eq(walker.o.valid & reached & ~move),
            asked.eq(walker.o.valid & Mux(move, ~row.last, ~reached)),
        ]

        # Data and bursts.
        m.submodules.aligner = aligner = Aligner(config, 0)
        wiring.connect(m, align_rows.o, aligner.row)
        wiring.connect(m, reader.o, aligner.i)
        m.submodules.splitter = splitter = BurstSplitter(config, context)
        wiring.connect(m, split_rows.o, splitter.i)

        # Writes. `owed` holds the bursts whose responses are awaited.
        m.submodules.beats = beats = StreamFifo(AxiWriteBeat(config.bus_width), 2)
        owed_burst = data.StructLayout({"beat": beat_address(config), "last": 1})
        m.submodules.owed = owed = StreamFifo(owed_burst, config.max_bursts)
        burst, word = splitter.o.p, aligner.o.p
        aw_valid = Signal()
        aw = Signal(AxiAddress(), reset_less=True)
        in_burst = Signal()
        left = Signal(8, reset_less=True)       # beats after this one
        start = Signal()
        follow = Signal()
        last = Signal()
        can_start = Signal()
        m.d.comb += [
            can_start.eq(splitter.o.valid & ~in_burst & ~halt),
            start.eq(can_start & ~burst.context.fault & aligner.o.valid
                     & (~aw_valid | axi.aw.ready) & beats.i.ready & owed.i.ready),
            follow.eq(in_burst & (aligner.o.valid | halt) & beats.i.ready),
            last.eq(Mux(in_burst, left, burst.len) == 0),
            splitter.o.ready.eq(start), owed.i.valid.eq(start),
            aligner.o.ready.eq(start | follow), beats.i.valid.eq(start | follow),
            axi.aw.valid.eq(aw_valid), axi.aw.payload.eq(aw),
            beats.i.p.data.eq(word.data), beats.i.p.last.eq(last),
            beats.i.p.strb.eq(word.strobe & (~halt).replicate(config.bus_bytes)),
            owed.i.p.beat.eq(burst.beat), owed.i.p.last.eq(burst.last & burst.context.last),
        ]
        with m.If(axi.aw.ready):
            m.d.sync += aw_valid.eq(0)
        with m.If(start):
            m.d.sync += [aw_valid.eq(1), aw.addr.eq(burst.beat << config.word_shift),
                         aw.len.eq(burst.len), aw.id.eq(self._axi_id)]
        with m.If(start | follow):
            m.d.sync += [in_burst.eq(~last), left.eq(Mux(in_burst, left, burst.len) - 1)]
        m.d.sync += self.payload_bytes.eq(
            Mux(start | follow, count_ones(m, beats.i.p.strb), 0))
        wiring.connect(m, beats.o, wiring.flipped(axi.w))

        # Responses and completion.
        answer = Signal()
        error = Signal()
        drained = Signal()
        finish = Signal()
        done = Signal()
        fault = Signal(FaultReport(), reset_less=True)
        bus_report = Signal(FaultReport(), reset_less=True)
        m.d.comb += [
            axi.b.ready.eq(owed.o.valid), owed.o.ready.eq(axi.b.valid),
            answer.eq(axi.b.valid & owed.o.valid & ~bus_failed), error.eq(axi.b.p.resp[1]),
            drained.eq(~in_burst & (owed.level == 0) & ~reader.busy),
            finish.eq(failed & ~finished & drained),
            port.quiet.eq(drained),
            port.done.valid.eq(done), port.done.p.fault.eq(fault),
        ]
        m.d.sync += [done.eq((answer & ~error & owed.o.p.last) | finish), fault.eq(0)]
        with m.If(answer & error):
            m.d.sync += [
                failed.eq(1), bus_failed.eq(1), bus_report.cause.eq(FaultCause.BUS_WRITE),
                bus_report.address.eq(owed.o.p.beat << config.word_shift),
                bus_report.info.eq(axi.b.p.resp),
            ]
        with m.Elif(can_start & burst.context.fault):
            m.d.sync += failed.eq(1)
        with m.If(finish):
            m.d.sync += [finished.eq(1), fault.eq(Mux(bus_failed, bus_report, walker.fault))]

        # Activity. Commands in flight each hold a place in some buffer.
        commands = Signal(range(config.max_bursts + 64))
        to_write = Signal()
        m.d.sync += commands.eq(commands + (port.cmd.valid & port.cmd.ready) - port.done.valid)
        m.d.comb += to_write.eq(reader.busy | splitter.o.valid | split_rows.o.valid | in_burst
                                | axi.aw.valid | axi.w.valid)
        with m.If((commands == 0) | finished):
            m.d.comb += port.activity.eq(Activity.IDLE)
        with m.Elif((axi.w.valid & axi.w.ready) | (sm.req.valid & sm.req.ready) | sm.rsp.valid):
            m.d.comb += port.activity.eq(Activity.BUSY)
        with m.Elif(sm.waiting):
            m.d.comb += port.activity.eq(Activity.BANK_CONFLICT)
        with m.Elif(~to_write & walker.o.valid & ~reached):
            m.d.comb += port.activity.eq(Activity.SEMAPHORE)
        with m.Elif(~to_write & ~walker.o.valid & (owed.level != 0)):
            m.d.comb += port.activity.eq(Activity.OUTPUT)
        with m.Else():
            m.d.comb += port.activity.eq(Activity.MEMORY)
        return m
