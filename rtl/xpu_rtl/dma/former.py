"""Aligner and transposer as one stage."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .align import Aligner
from .stages import FormRow, PlaceRun
from .transpose import Transposer
from .types import AlignedWord

__all__ = ["Former"]


class Former(wiring.Component):
    """Move the bytes of source runs to their destination lanes, as each run's ``FormRow`` says.

    Rows with ``transpose`` go through a ``Transposer``, the others through an ``Aligner``. Output
    words have the order of the rows: the one is used only when the other is empty.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    row : In(stream.Signature(FormRow(config)))
        Rows; transferred with their last source word.
    place : In(stream.Signature(PlaceRun(config)))
        Destination of transposed runs.
    i : In(stream.Signature(unsigned(word_width)))
        Source words, each row ``beats + 1`` of them.
    o : Out(stream.Signature(AlignedWord(config, 0)))
        Destination words with exact strobes.
    busy : Out(1)
        A word is inside that leaves without further input.

    Timing
    ------
    Latency: that of the part used.
    Throughput: one word in and out per cycle; between a transposed and a plain row the part used
    before runs empty.
    Backpressure: full.
    Combinational paths: those of ``Aligner`` and ``Transposer``.
    Reset: valid flags.
    """

    LATENCY = Aligner.LATENCY

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "row": In(stream.Signature(FormRow(config))),
            "place": In(stream.Signature(PlaceRun(config))),
            "i": In(stream.Signature(config.word_width)),
            "o": Out(stream.Signature(AlignedWord(config, 0))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, row = self._config, self.row.p
        m.submodules.aligner = aligner = Aligner(config, 0)
        m.submodules.transposer = transposer = Transposer(config)
        wiring.connect(m, wiring.flipped(self.place), transposer.place)

        transposing = Signal()      # the part in use
        idle = Signal()             # it holds nothing
        agree = Signal()            # and it is the one the row wants
        m.d.comb += [
            self.busy.eq(aligner.busy | transposer.busy),
            idle.eq(~self.busy & ~self.o.valid),
            agree.eq(row.transpose == transposing),
        ]
        with m.If(self.row.valid & idle):
            m.d.sync += transposing.eq(row.transpose)
        for wanted, part in ((~transposing, aligner), (transposing, transposer)):
            m.d.comb += [
                part.row.valid.eq(self.row.valid & agree & wanted),
                part.i.valid.eq(self.i.valid & self.row.valid & agree & wanted),
                part.i.payload.eq(self.i.payload),
                part.o.ready.eq(self.o.ready & wanted),
            ]
        align = aligner.row.p
        m.d.comb += [
            align.lane.eq(row.lane), align.end.eq(row.end), align.beats.eq(row.beats),
            align.shift.eq(row.shift), align.wrap.eq(row.wrap),
            transposer.row.payload.eq(self.row.payload),
            self.i.ready.eq(self.row.valid & agree
                            & Mux(transposing, transposer.i.ready, aligner.i.ready)),
            self.row.ready.eq(agree & Mux(transposing, transposer.row.ready, aligner.row.ready)),
            self.o.valid.eq(Mux(transposing, transposer.o.valid, aligner.o.valid)),
            self.o.payload.eq(Mux(transposing, transposer.o.payload, aligner.o.payload)),
        ]
        return m
