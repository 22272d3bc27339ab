"""From rows to runs of consecutive bytes on either side, checked."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import SPACE_LSB, Space
from ..command.formats import FaultCause
from ..command.types import FaultReport
from ..command.windows import ring_windows
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .columns import DestinationPiece, DestinationRow, DestinationWalker
from .run_check import RunCheck
from .stages import DestinationRun, FormRow, NdRow, PlaceRun, RunKind, SourceRun
from .strips import SourcePiece, SourceWalker

__all__ = ["RunSplitter"]


class RunSplitter(wiring.Component):
    """Split rows into runs of consecutive bytes on either side, and check where they lie.

    A plain row is up to three segments: left fill, copy, right fill. Each is one run of ``source``,
    ``form`` and ``destination``. Filled words come from the source at the lanes of the destination.
    A matrix to be transposed is read in strips of word_bytes / element matrix rows (fewer at the
    end) by ``STRIP_WORDS`` words of each: one run of ``source`` and ``form`` per row of a strip;
    and written by columns: one run of ``destination`` and ``place`` per column of a strip. The
    sides advance on their own: the source side up to ``AHEAD`` rows or matrices.

    A run must lie in GM (44 bits of offset) or in the scratchpad: source runs in either,
    destination runs of loads in the scratchpad, those of stores in GM. Else BAD_ADDRESS; outside of
    the SM window of its ring PROTECTION. The address is that of the run's first byte. GM windows
    are checked per burst by later stages.

    A bad source run, and a row with ``fault``, is a source run of kind FAULT without form, followed
    by no source run; a plain segment then has no destination run, and none follows. A bad
    destination run is one with ``fault``, followed by none; that of a plain segment has its source
    and form run, and ends the source side too, where it is; that of a matrix leaves the source side
    run on through the rows accepted, as its strip has to be read for the fault to be seen. In the
    same way the destination side runs on after a bad source run of a matrix. After a bad run no row
    is accepted until reset.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    load : bool
        Whether the destination is the scratchpad (else it is GM).

    Members
    -------
    i : In(stream.Signature(NdRow(config)))
        Rows.
    row_fault : In(FaultReport())
        What a row with ``fault`` means; valid from when it is offered, until reset.
    windows : In(ring_windows(config))
        Windows of the rings.
    source : Out(stream.Signature(SourceRun(config)))
        Source runs. ``beat`` of a filled run and all but kind, flags and ``index`` of a FAULT are
        void.
    form : Out(stream.Signature(FormRow(config)))
        One for each source run that is not FAULT. Of a matrix ``shift`` and ``wrap`` are void.
    place : Out(stream.Signature(PlaceRun(config)))
        One for each destination run of a matrix, but a bad one.
    destination : Out(stream.Signature(DestinationRun(config)))
        Destination runs. ``direct`` is never set for those of a matrix. Of a bad one only
        ``row_last``, ``last`` and ``ring`` hold.
    source_fault, destination_fault : Out(FaultReport())
        Why the run offered as bad is so; valid from when it is offered. ``row`` is 0, but copied
        from ``row_fault``.

    Timing
    ------
    Latency: 4 cycles from a transfer on ``i`` to ``source.valid`` and ``form.valid``
    (``SOURCE_LATENCY``), 5 to ``destination.valid`` and ``place.valid`` (``LATENCY``).
    Throughput: one run per cycle on each side, without a gap between rows.
    Backpressure: full; a stream that is not ready holds up the other of its side after one run.
    Combinational paths: ``source.ready`` and ``form.ready`` to ``i.ready``.
    Reset: valid flags and counters.
    """

    SOURCE_LATENCY = 4
    LATENCY = 5
    AHEAD = 4

    def __init__(self, config: XpuConfig, *, load):
        self._config, self._load = config, load
        super().__init__({
            "i": In(stream.Signature(NdRow(config))), "row_fault": In(FaultReport()),
            "windows": In(ring_windows(config)),
            "source": Out(stream.Signature(SourceRun(config))),
            "form": Out(stream.Signature(FormRow(config))),
            "place": Out(stream.Signature(PlaceRun(config))),
            "destination": Out(stream.Signature(DestinationRun(config))),
            "source_fault": Out(FaultReport()), "destination_fault": Out(FaultReport()),
        })

    def elaborate(self, platform):
        m = Module()
        config, row = self._config, self.i.p
        m.submodules.source_walker = source_walker = SourceWalker(config)
        m.submodules.destination_rows = rows = StreamFifo(DestinationRow(), self.AHEAD)
        m.submodules.destination_walker = destination_walker = DestinationWalker(config)
        wiring.connect(m, rows.o, destination_walker.i)

        # Rows go to both sides; one with a fault to the source side alone.
        accepting = Signal(init=1)
        copy_address = Signal(48)
        accept = Signal()
        kept = rows.i.p
        m.d.comb += [
            copy_address.eq(row.source + row.left),
            accept.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(accepting & source_walker.i.ready & rows.i.ready),
            source_walker.i.valid.eq(self.i.valid & accepting & rows.i.ready),
            source_walker.i.payload.eq(row), source_walker.i.p.source.eq(copy_address),
            rows.i.valid.eq(accept & ~row.fault),
            kept.direct.eq(copy_address[SPACE_LSB:] != Space.GM),
        ]
        m.d.comb += [kept[name].eq(row[name]) for name in (
            "destination", "bytes", "left", "copied", "transpose", "rows", "destination_pitch",
            "element_log2", "last", "semaphore", "ring")]

        # A plain segment's destination run needs a good source run: `good` less those used.
        good = Signal(range(3 * (self.AHEAD + 3)))
        good_source = Signal()
        used_destination = Signal()
        m.d.sync += good.eq(good + good_source - used_destination)

        halted = Signal()       # the source side, by a bad destination
        source_bad = self._source_side(m, source_walker.o, good_source, halted)
        destination_bad = self._destination_side(m, destination_walker.o, good, used_destination)
        with m.If(source_bad | destination_bad | (accept & row.fault)):
            m.d.sync += accepting.eq(0)
        with m.If(destination_bad & used_destination):
            m.d.sync += halted.eq(1)
        return m

    def _source_side(self, m, pieces, good, halted):
        """Source and form runs. Returns a signal: a bad run becomes the one offered."""
        config, lanes = self._config, self._config.word_shift
        check = RunCheck(m, config, self.windows, SourcePiece(config), "source", write=False)
        s3 = check.s3

        valid = Signal(name="source_valid")
        source_sent = Signal()
        form_sent = Signal()
        ended = Signal(name="source_ended")
        run = Signal(SourceRun(config), reset_less=True)
        form = Signal(FormRow(config), reset_less=True)
        space = Signal(4, reset_less=True, name="source_run_space")
        refused = Signal(reset_less=True, name="source_refused")    # by the windows, if it is bad
        given = Signal(reset_less=True)     # the fault is the odometer's
        report = Signal(FaultReport(), name="source_report")
        done = Signal(name="source_done")
        advance = Signal(name="source_advance")
        take = Signal(name="source_take")
        bad = Signal(name="source_bad")
        m.d.comb += [
            self.source.valid.eq(valid & ~source_sent), self.source.payload.eq(run),
            self.form.valid.eq(valid & ~form_sent), self.form.payload.eq(form),
            report.cause.eq(Mux(refused, FaultCause.PROTECTION, FaultCause.BAD_ADDRESS)),
            report.address.eq(Cat(run.lane, run.beat, space)),
            report.info.eq(Mux(refused, Space.SM, 0)),
            self.source_fault.eq(Mux(given, self.row_fault, report)),
            done.eq((source_sent | self.source.ready) & (form_sent | self.form.ready)),
            advance.eq((~valid | done) & ~ended & ~halted), pieces.ready.eq(advance),
            take.eq(advance & check.s3_valid),
            bad.eq(s3.fault | ~(s3.filled | check.in_gm | (check.in_sm & check.allowed))),
            good.eq(take & ~bad & ~s3.transpose),
        ]
        with m.If(self.source.valid & self.source.ready):
            m.d.sync += source_sent.eq(1)
        with m.If(self.form.valid & self.form.ready):
            m.d.sync += form_sent.eq(1)
        with m.If(done):
            m.d.sync += valid.eq(0)
        with m.If(advance):
            check.advance(pieces)
        difference = Signal(lanes + 1)
        m.d.comb += difference.eq(s3.lane - s3.address[:lanes])
        with m.If(take):
            m.d.sync += [
                valid.eq(1), source_sent.eq(0), form_sent.eq(bad), ended.eq(bad),
                run.beat.eq(s3.address[lanes:]), run.beats.eq(check.beats),
                run.lane.eq(s3.address[:lanes]), run.end.eq(check.last[:lanes]),
                run.fill.eq(s3.pattern), run.first.eq(s3.first), run.row_last.eq(s3.row_last),
                run.last.eq(s3.last), run.ring.eq(s3.ring), run.index.eq(s3.index),
                space.eq(s3.address[SPACE_LSB:]), refused.eq(check.in_sm), given.eq(s3.fault),
                form.lane.eq(s3.address[:lanes]), form.end.eq(check.last[:lanes]),
                form.beats.eq(check.beats),
                form.shift.eq(difference[:lanes]), form.wrap.eq(difference[-1]),
                form.transpose.eq(s3.transpose), form.element_log2.eq(s3.element_log2),
                form.strip_row.eq(s3.strip_row), form.strip_last.eq(s3.strip_last),
            ]
            with m.If(bad):
                m.d.sync += run.kind.eq(RunKind.FAULT)
            with m.Elif(s3.filled):
                m.d.sync += run.kind.eq(RunKind.FILL)
            with m.Else():
                m.d.sync += run.kind.eq(Mux(s3.address[SPACE_LSB], RunKind.SM, RunKind.GM))
        started = Signal(name="source_fault_taken")
        m.d.comb += started.eq(take & bad)
        return started

    def _destination_side(self, m, pieces, good, used):
        """Destination runs and places. Returns a signal: a bad run becomes the one offered."""
        config, lanes = self._config, self._config.word_shift
        windows = self.windows if self._load else None      # of GM the sink looks at them
        check = RunCheck(m, config, windows, DestinationPiece(), "destination", write=True)
        s3 = check.s3

        valid = Signal(name="destination_valid")
        destination_sent = Signal()
        place_sent = Signal()
        ended = Signal(name="destination_ended")
        run = Signal(DestinationRun(config), reset_less=True)
        place = Signal(PlaceRun(config), reset_less=True)
        space = Signal(4, reset_less=True, name="destination_run_space")
        refused = Signal(reset_less=True, name="destination_refused")   # by windows, if it is bad
        report = self.destination_fault
        done = Signal(name="destination_done")
        blocked = Signal()
        advance = Signal(name="destination_advance")
        take = Signal(name="destination_take")
        bad = Signal(name="destination_bad")
        m.d.comb += [
            self.destination.valid.eq(valid & ~destination_sent), self.destination.payload.eq(run),
            self.place.valid.eq(valid & ~place_sent), self.place.payload.eq(place),
            report.cause.eq(Mux(refused, FaultCause.PROTECTION, FaultCause.BAD_ADDRESS)),
            report.address.eq(Cat(place.lane, run.beat, space)),
            report.info.eq(Mux(refused, Space.SM | 16, 0)),
            done.eq((destination_sent | self.destination.ready) & (place_sent | self.place.ready)),
            blocked.eq(check.s3_valid & ~s3.transpose & (good == 0)),
            advance.eq((~valid | done) & ~blocked & ~ended), pieces.ready.eq(advance),
            take.eq(advance & check.s3_valid), used.eq(take & ~s3.transpose),
            bad.eq(~(check.in_sm & check.allowed) if self._load else ~check.in_gm),
        ]
        with m.If(self.destination.valid & self.destination.ready):
            m.d.sync += destination_sent.eq(1)
        with m.If(self.place.valid & self.place.ready):
            m.d.sync += place_sent.eq(1)
        with m.If(done):
            m.d.sync += valid.eq(0)
        with m.If(advance):
            check.advance(pieces)
        with m.If(take):
            m.d.sync += [
                valid.eq(1), destination_sent.eq(0), place_sent.eq(bad | ~s3.transpose),
                ended.eq(bad),
                run.beat.eq(s3.address[lanes:]), run.beats.eq(check.beats),
                run.direct.eq(s3.direct), run.fault.eq(bad), run.row_last.eq(s3.row_last),
                run.last.eq(s3.last), run.semaphore.eq(s3.semaphore), run.ring.eq(s3.ring),
                space.eq(s3.address[SPACE_LSB:]),
                refused.eq(check.in_sm if self._load else 0),
                place.lane.eq(s3.address[:lanes]), place.bytes.eq(s3.span[:lanes]),
            ]
        started = Signal(name="destination_fault_taken")
        m.d.comb += started.eq(take & bad)
        return started
