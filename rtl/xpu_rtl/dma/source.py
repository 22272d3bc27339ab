"""Words of source runs, whichever memory they come from."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import Space
from ..command.formats import FaultCause
from ..command.types import FaultReport
from ..command.windows import ring_windows
from ..common.axi import AXI_ID_WIDTH, AxiReadPort
from ..common.deep_fifo import DeepFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .gm_reader import GmReader
from .reader import ReadRow, RowReader
from .stages import RunKind, SourceRun, SourceWord
from .types import beat_address, beat_count

__all__ = ["Source"]


class Source(wiring.Component):
    """Turn runs into their words: ``beats + 1`` for each, in the order of the runs.

    GM runs and SM runs are each read in order, and as far ahead as their buffers allow, whatever
    the words before them are; a queue of all runs says whose word is next.

    Instead of the first word that cannot be had comes one with ``fault``, and nothing follows:

    - a FAULT run: ``run_fault``.
    - the first word of a burst in a page that the ring may not read: PROTECTION, address of the
      first byte wanted from that burst, info ``Space.GM``. Of GM, neither the burst nor anything
      behind it is read; SM runs behind it may be.
    - a beat whose RRESP is an error: BUS_READ, address of the beat, info RRESP.

    The fault's row is the number of rows of its command that are complete.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    axi_id : int
        ID of all bursts, 0 to 15.

    Members
    -------
    run : In(stream.Signature(SourceRun(config)))
        Runs. SM runs lie in the scratchpad and in the windows of their ring.
    run_fault : In(FaultReport())
        What a FAULT run means while such a run is offered; ``row`` is ignored.
    windows : In(ring_windows(config))
        What each ring may read of GM, looked at when a run is cut into bursts.
    halt : In(1)
        Issue no burst, request no word, offer nothing; stays high until reset. What is outstanding
        still arrives and is dropped.
    o : Out(stream.Signature(SourceWord(config)))
        Words.
    fault : Out(FaultReport())
        What the word with ``fault`` means, while it is offered and from then on.
    axi : Out(AxiReadPort(bus_width))
        Read channels. Data must come in the order of the bursts. ``r.ready`` is 1.
    sm : Out(ScratchpadPort(config))
        Scratchpad; reads only.
    payload_bytes : Out(range(bus_bytes + 1))
        Bytes of a run in the GM beat handed on in the cycle before.
    begin, begin_index : Out(1), Out(32)
        A command begins, and its index: one pulse for each command, in order, some cycles after its
        first burst is issued or refused, its first SM run is begun, the first word of its FILL run
        is handed on, or its FAULT run is reached.
    busy : Out(1)
        A burst is offered or outstanding, or a scratchpad request.

    Timing
    ------
    Latency: from a transfer on ``run`` 3 cycles to ``axi.ar.valid`` (``GM_LATENCY``), 3 to
    ``sm.req.valid`` (``SM_LATENCY``), 1 to ``o.valid`` of a FILL run (``FILL_LATENCY``), 2 of a
    FAULT run (``FAULT_LATENCY``). 1 cycle from ``axi.r`` or ``sm.rsp`` to ``o.valid``
    (``DATA_LATENCY``); one more for a word with ``fault``.
    Throughput: one run, one burst, and one word per cycle.
    Backpressure: full on ``run`` and ``o``; up to ``RUNS_PER_BURST * max_bursts`` runs wait inside.
    Combinational paths: ``halt`` to ``o.valid``; ``run.p.kind`` to ``run.ready``.
    Reset: valid flags and counters; only while not ``busy``.
    """

    GM_LATENCY = GmReader.LATENCY
    SM_LATENCY = DeepFifo.LATENCY + RowReader.LATENCY
    FILL_LATENCY = DeepFifo.LATENCY
    FAULT_LATENCY = DeepFifo.LATENCY + 1
    DATA_LATENCY = 1
    RUNS_PER_BURST = 2

    def __init__(self, config: XpuConfig, *, axi_id=0):
        if not 0 <= axi_id < 1 << AXI_ID_WIDTH:
            raise ValueError(f"axi_id must lie in 0..{(1 << AXI_ID_WIDTH) - 1}, not {axi_id!r}")
        self._config, self._axi_id = config, axi_id
        super().__init__({
            "run": In(stream.Signature(SourceRun(config))), "run_fault": In(FaultReport()),
            "windows": In(ring_windows(config)), "halt": In(1),
            "o": Out(stream.Signature(SourceWord(config))), "fault": Out(FaultReport()),
            "axi": Out(AxiReadPort(config.bus_width)), "sm": Out(ScratchpadPort(config)),
            "payload_bytes": Out(range(config.bus_bytes + 1)),
            "begin": Out(1), "begin_index": Out(32), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, run = self._config, self.run
        depth = self.RUNS_PER_BURST * config.max_bursts

        failed = Signal()       # the word with `fault` is the next
        told = Signal()         # it has been handed on
        stop = Signal()
        m.d.comb += stop.eq(self.halt | failed)

        # All runs, in order. `value` is the first beat of a GM run, the pattern of a FILL run.
        m.submodules.order = order = DeepFifo(data.StructLayout({
            "kind": RunKind, "beats": beat_count(config), "single": 1,
            "lane": config.word_shift, "end": config.word_shift,
            "first": 1, "row_last": 1, "last": 1, "value": beat_address(config)}), depth)
        # SM runs.
        m.submodules.sm_runs = sm_runs = DeepFifo(data.StructLayout({
            "row": ReadRow(config), "first": 1}), depth)
        m.submodules.sm_reader = sm_reader = RowReader(config)
        wiring.connect(m, sm_reader.sm, wiring.flipped(self.sm))
        # GM runs.
        m.submodules.gm_reader = gm_reader = GmReader(config, self._axi_id)
        wiring.connect(m, gm_reader.axi, wiring.flipped(self.axi))
        # Commands that have not begun.
        m.submodules.starts = starts = DeepFifo(data.StructLayout({
            "kind": RunKind, "index": 32}), depth)

        takes = Signal()        # the reader of the run has room for it
        accept = Signal()
        room = Signal()
        m.d.comb += [
            room.eq(order.i.ready & starts.i.ready), run.ready.eq(room & takes),
            accept.eq(run.valid & run.ready),
            order.i.valid.eq(accept), starts.i.valid.eq(accept & run.p.first),
            *(order.i.p[name].eq(run.p[name])
              for name in ("kind", "beats", "lane", "end", "first", "row_last", "last")),
            order.i.p.single.eq(run.p.beats == 0),
            order.i.p.value.eq(Mux(run.p.kind == RunKind.FILL, run.p.fill, run.p.beat)),
            starts.i.p.kind.eq(run.p.kind), starts.i.p.index.eq(run.p.index),
            sm_runs.i.p.row.word.eq(run.p.beat), sm_runs.i.p.row.words.eq(run.p.beats),
            sm_runs.i.p.first.eq(run.p.first),
            sm_reader.row.valid.eq(sm_runs.o.valid), sm_reader.row.p.eq(sm_runs.o.p.row),
            sm_runs.o.ready.eq(sm_reader.row.ready), sm_reader.stop.eq(stop),
            *(gm_reader.run.p[name].eq(run.p[name])
              for name in ("beat", "beats", "lane", "first", "ring")),
            gm_reader.windows.eq(self.windows), gm_reader.stop.eq(stop),
            self.busy.eq(gm_reader.busy | sm_reader.busy),
        ]
        with m.Switch(run.p.kind):
            with m.Case(RunKind.GM):
                m.d.comb += [takes.eq(gm_reader.run.ready),
                             gm_reader.run.valid.eq(run.valid & room)]
            with m.Case(RunKind.SM):
                m.d.comb += [takes.eq(sm_runs.i.ready), sm_runs.i.valid.eq(run.valid & room)]
            with m.Default():
                m.d.comb += takes.eq(1)

        # The next word. `bad`: it cannot be had.
        head, beat = order.o.p, gm_reader.o.p
        at_first = Signal(init=1)                                   # first word of its run
        at_last = Signal(reset_less=True)                           # last word, if not the first
        number = Signal(beat_count(config))                         # within its run
        following = Signal(beat_count(config), init=1)              # number + 1
        gm_head = Signal()
        here = Signal()
        bad = Signal()
        step = Signal()
        last = Signal()
        with m.If(order.o.valid & ~failed):
            with m.Switch(head.kind):
                with m.Case(RunKind.GM):
                    m.d.comb += [
                        gm_head.eq(1), here.eq(gm_reader.o.valid & ~beat.resp[1]),
                        bad.eq((gm_reader.o.valid & beat.resp[1]) | gm_reader.ended),
                        gm_reader.o.ready.eq(step),
                    ]
                with m.Case(RunKind.SM):
                    m.d.comb += [here.eq(sm_reader.o.valid), sm_reader.o.ready.eq(step)]
                with m.Case(RunKind.FILL):
                    m.d.comb += here.eq(1)
                with m.Case(RunKind.FAULT):
                    m.d.comb += bad.eq(1)
        with m.Switch(head.kind):
            with m.Case(RunKind.SM):
                m.d.comb += self.o.p.data.eq(sm_reader.o.payload)
            with m.Case(RunKind.FILL):
                m.d.comb += self.o.p.data.eq(head.value[:32].replicate(config.word_bytes // 4))
            with m.Default():
                m.d.comb += self.o.p.data.eq(beat.data)
        m.d.comb += [
            self.o.valid.eq((here | (failed & ~told)) & ~self.halt), self.o.p.fault.eq(failed),
            step.eq(here & self.o.ready & ~self.halt),
            last.eq(Mux(at_first, head.single, at_last)), order.o.ready.eq(step & last),
        ]
        with m.If(self.o.valid & self.o.ready & failed):
            m.d.sync += told.eq(1)
        with m.If(step):
            m.d.sync += [
                at_first.eq(last), at_last.eq(following == head.beats),
                number.eq(Mux(last, 0, following)), following.eq(Mux(last, 1, following + 1)),
            ]

        # Payload of GM beats. The first byte of a run is at `lane`, its last at `end`.
        upto = Signal(range(config.bus_bytes + 1))
        m.d.comb += upto.eq(Mux(last, head.end + 1, config.bus_bytes))
        m.d.sync += self.payload_bytes.eq(
            Mux(step & gm_head, upto - Mux(at_first, head.lane, 0), 0))

        # Faults. A FAULT run's is kept from when the run is accepted, lest an earlier one comes.
        row = Signal(32)
        report = Signal(FaultReport(), reset_less=True)
        m.d.comb += self.fault.eq(report)
        with m.If(step & last):
            m.d.sync += row.eq(Mux(head.last, 0, row + head.row_last))
        with m.If(accept & (run.p.kind == RunKind.FAULT) & ~failed):
            m.d.sync += report.eq(self.run_fault)
        with m.If(bad):
            m.d.sync += [failed.eq(1), report.row.eq(row)]
            with m.If(gm_head & gm_reader.o.valid):
                m.d.sync += [
                    report.cause.eq(FaultCause.BUS_READ), report.info.eq(beat.resp),
                    report.address.eq((head.value + number) << config.word_shift),
                ]
            with m.Elif(gm_head):
                m.d.sync += [report.cause.eq(FaultCause.PROTECTION), report.info.eq(Space.GM),
                             report.address.eq(gm_reader.refused)]

        # Commands begin in order; their first runs of each kind do. `due`: begun, not yet told.
        begun = {
            RunKind.GM: gm_reader.begun,
            RunKind.SM: sm_runs.o.valid & sm_reader.row.ready & sm_runs.o.p.first,
            RunKind.FILL: step & at_first & head.first & (head.kind == RunKind.FILL),
            RunKind.FAULT: bad & ~gm_head & head.first,
        }
        m.d.comb += [self.begin_index.eq(starts.o.p.index), starts.o.ready.eq(self.begin)]
        for kind, event in begun.items():
            due = Signal(range(depth + 1), name=f"due_{kind.name.lower()}")
            tell = Signal(name=f"tell_{kind.name.lower()}")
            m.d.comb += tell.eq(starts.o.valid & (starts.o.p.kind == kind) & (due != 0))
            m.d.sync += due.eq(due + event - tell)
            with m.If(tell):
                m.d.comb += self.begin.eq(1)
        return m
