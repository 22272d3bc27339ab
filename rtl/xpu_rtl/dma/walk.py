"""From a copy command to its rows."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import OFFSET_WIDTH, SPACE_LSB, Space
from ..command import formats
from ..command.formats import DMA_COPY, FaultCause
from ..command.types import FaultReport, IssuedCommand
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .types import DmaRow

__all__ = ["RowWalker"]


class RowWalker(wiring.Component):
    """Split copy commands into rows, check each, and work out how it is realigned.

    Row r starts at ``source + r * source_pitch`` and goes to ``destination + r *
    destination_pitch``, both modulo 2**64. A row is good if its GM bytes lie in the 44-bit GM
    space of card 0, cluster 0 and its SM bytes in the scratchpad. The first bad row is offered with
    ``fault`` set, and nothing follows it until reset. If a row has several faults, the one reported
    is the first of: BAD_FIELD row_bytes, rows, reserved1, BAD_SEMAPHORE progress_semaphore,
    BAD_ADDRESS source, destination. The address of BAD_ADDRESS is that of the row's first byte,
    even if only its end is outside.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    source : Space
        Memory the commands must read: ``Space.GM`` (and write SM) or ``Space.SM`` (and write GM).

    Members
    -------
    cmd : In(stream.Signature(IssuedCommand(DMA_COPY)))
        Commands.
    stop : In(1)
        Accept no more commands.
    o : Out(stream.Signature(DmaRow(config)))
        Rows, in order.
    fault : Out(FaultReport())
        Why the row offered with ``fault`` is bad. Valid from the cycle in which it is offered.

    Timing
    ------
    Latency: 2 cycles from a transfer on ``cmd`` to ``o.valid`` of row 0 (``LATENCY``).
    Throughput: one row per cycle, without a gap between commands.
    Backpressure: full.
    Combinational paths: ``stop`` to ``cmd.ready``.
    Reset: valid flags only.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig, *, source):
        if source not in (Space.GM, Space.SM):
            raise ValueError(f"source must be Space.GM or Space.SM, not {source!r}")
        self._config, self._source = config, source
        super().__init__({
            "cmd": In(stream.Signature(IssuedCommand(formats.DMA_COPY))),
            "stop": In(1),
            "o": Out(stream.Signature(DmaRow(config))),
            "fault": Out(FaultReport()),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.rows = rows = StreamFifo(DmaRow(config), 2)
        wiring.connect(m, rows.o, wiring.flipped(self.o))

        active = Signal()
        stopped = Signal()
        source = Signal(64, reset_less=True)
        destination = Signal(64, reset_less=True)
        source_pitch = Signal(signed(32), reset_less=True)
        destination_pitch = Signal(signed(32), reset_less=True)
        span = Signal(24, reset_less=True)          # row_bytes - 1
        left = Signal(16, reset_less=True)          # rows after this one
        first = Signal(reset_less=True)
        semaphore = Signal(8, reset_less=True)
        threshold = Signal(config.semaphore_width, reset_less=True)
        index = Signal(32, reset_less=True)
        bad_semaphore = Signal(reset_less=True)
        bad_row_bytes = Signal(reset_less=True)
        bad_rows = Signal(reset_less=True)
        bad_reserved = Signal(reset_less=True)

        step = Signal()
        last = Signal()
        load = Signal()
        command = self.cmd.p.command
        m.d.comb += [
            last.eq(left == 0),
            rows.i.valid.eq(active & ~stopped),
            step.eq(rows.i.valid & rows.i.ready),
            self.cmd.ready.eq(~self.stop & ~stopped & (~active | (step & last))),
            load.eq(self.cmd.valid & self.cmd.ready),
        ]
        with m.If(step):
            m.d.sync += [
                source.eq(source + source_pitch),
                destination.eq(destination + destination_pitch),
                left.eq(left - 1), first.eq(0), threshold.eq(threshold + 1), active.eq(~last),
            ]
        with m.If(load):
            m.d.sync += [
                active.eq(1), first.eq(1),
                source[:32].eq(command.source_low), source[32:].eq(command.source_high),
                destination[:32].eq(command.destination_low),
                destination[32:].eq(command.destination_high),
                source_pitch.eq(command.source_pitch),
                destination_pitch.eq(command.destination_pitch),
                span.eq(command.row_bytes - 1), left.eq(command.rows - 1),
                semaphore.eq(command.progress_semaphore), threshold.eq(command.progress_value),
                index.eq(self.cmd.p.index),
                bad_semaphore.eq(command.progress_semaphore >= config.semaphores),
                bad_row_bytes.eq((command.row_bytes == 0) | (command.row_bytes[24:] != 0)),
                bad_rows.eq(command.rows == 0), bad_reserved.eq(command.reserved1 != 0),
            ]

        gm, sm = source, destination
        if self._source is Space.SM:
            gm, sm = destination, source
        sm_space = Space.SM << (SPACE_LSB - config.sm_byte_width)
        gm_end = Signal(OFFSET_WIDTH + 1)           # last byte
        sm_end = Signal(25)
        bad_gm = Signal()
        bad_sm = Signal()
        m.d.comb += [
            gm_end.eq(gm[:OFFSET_WIDTH] + span),
            sm_end.eq(sm[:config.sm_byte_width] + span),
            bad_gm.eq((gm[OFFSET_WIDTH:] != 0) | gm_end[-1]),
            bad_sm.eq((sm[config.sm_byte_width:] != sm_space)
                      | (sm_end[config.sm_byte_width:] != 0)),
        ]
        bad_source = bad_gm if self._source is Space.GM else bad_sm

        # Counts hold for a good row: it fits in the scratchpad, so the cut bits are zero.
        lanes = config.word_shift
        difference = Signal(signed(lanes + 1))
        gm_span = Signal(25)
        sm_span = Signal(25)
        fault = Signal()
        row = rows.i.p
        source_end = gm_span if self._source is Space.GM else sm_span
        m.d.comb += [
            gm_span.eq(gm[:lanes] + span),
            sm_span.eq(sm[:lanes] + span),
            difference.eq(destination[:lanes] - source[:lanes]),
            fault.eq(bad_semaphore | bad_row_bytes | bad_rows | bad_reserved | bad_gm | bad_sm),
            row.gm_beat.eq(gm[lanes:OFFSET_WIDTH]), row.gm_beats.eq(gm_span[lanes:]),
            row.sm_word.eq(sm[lanes:config.sm_byte_width]), row.sm_words.eq(sm_span[lanes:]),
            row.lane.eq(source[:lanes]), row.end.eq(source_end[:lanes]),
            row.shift.eq(difference[:lanes]), row.wrap.eq(difference[-1]),
            row.first.eq(first), row.last.eq(last), row.fault.eq(fault),
            row.semaphore.eq(semaphore), row.threshold.eq(threshold), row.index.eq(index),
        ]

        report = Signal(FaultReport(), reset_less=True)
        m.d.comb += self.fault.eq(report)
        with m.If(step & fault):
            m.d.sync += [stopped.eq(1), report.address.eq(0), report.info.eq(0),
                         report.cause.eq(FaultCause.BAD_FIELD)]
            with m.If(bad_row_bytes):
                m.d.sync += report.info.eq(DMA_COPY.lsb["row_bytes"])
            with m.Elif(bad_rows):
                m.d.sync += report.info.eq(DMA_COPY.lsb["rows"])
            with m.Elif(bad_reserved):
                m.d.sync += report.info.eq(DMA_COPY.lsb["reserved1"])
            with m.Elif(bad_semaphore):
                m.d.sync += [report.cause.eq(FaultCause.BAD_SEMAPHORE),
                             report.info.eq(DMA_COPY.lsb["progress_semaphore"])]
            with m.Else():
                m.d.sync += [report.cause.eq(FaultCause.BAD_ADDRESS),
                             report.address.eq(Mux(bad_source, source, destination))]
        return m
