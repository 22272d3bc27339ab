"""Scratchpad words of rows, read ahead into a buffer."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort, ScratchpadRequest
from .types import beat_count

__all__ = ["ReadRow", "RowReader"]


class ReadRow(data.StructLayout):
    """Words to read. Fields: ``word`` (first address), ``words`` (less one)."""

    def __init__(self, config: XpuConfig):
        super().__init__({"word": config.sm_addr_width, "words": beat_count(config)})


class RowReader(wiring.Component):
    """Read the scratchpad words of each row, in order.

    Responses cannot be stalled, so a word is requested only when a place of the buffer is reserved
    for it.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    row : In(stream.Signature(ReadRow(config)))
        Rows.
    stop : In(1)
        Request nothing more. What is requested still arrives.
    o : Out(stream.Signature(unsigned(word_width)))
        Words.
    busy : Out(1)
        A request or its response is outstanding.
    sm : Out(ScratchpadPort(config))
        Scratchpad.

    Timing
    ------
    Latency: 2 cycles from a transfer on ``row`` to ``sm.req.valid`` (``LATENCY``), 1 from
    ``sm.rsp`` to ``o``.
    Throughput: one word per cycle, also if every row is one word, while the scratchpad answers
    within ``DEPTH`` - 3 cycles.
    Backpressure: full.
    Combinational paths: ``sm.req.ready`` to ``row.ready``.
    Reset: valid flags and counters; only while not ``busy``.
    """

    DEPTH = 16
    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "row": In(stream.Signature(ReadRow(config))), "stop": In(1),
            "o": Out(stream.Signature(config.word_width)), "busy": Out(1),
            "sm": Out(ScratchpadPort(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, sm = self._config, self.sm
        m.submodules.words = words = StreamFifo(config.word_width, self.DEPTH)
        wiring.connect(m, words.o, wiring.flipped(self.o))
        m.d.comb += [words.i.valid.eq(sm.rsp.valid), words.i.payload.eq(sm.rsp.payload)]

        active = Signal()
        word = Signal(config.sm_addr_width, reset_less=True)
        left = Signal(beat_count(config), reset_less=True)      # words after this one
        req_valid = Signal()
        request = Signal(ScratchpadRequest(config), reset_less=True)
        places = Signal(range(self.DEPTH + 1), init=self.DEPTH)
        flying = Signal(range(self.DEPTH + 1))
        step = Signal()
        last = Signal()
        m.d.comb += [
            last.eq(left == 0),
            step.eq(active & (~req_valid | sm.req.ready) & (places != 0) & ~self.stop),
            self.row.ready.eq(~active | (step & last)),
            self.busy.eq(flying != 0),
            sm.req.valid.eq(req_valid), sm.req.payload.eq(request),
        ]
        m.d.sync += [
            places.eq(places - step + (self.o.valid & self.o.ready)),
            flying.eq(flying + step - sm.rsp.valid),
        ]
        with m.If(sm.req.ready):
            m.d.sync += req_valid.eq(0)
        with m.If(step):
            m.d.sync += [req_valid.eq(1), request.address.eq(word), word.eq(word + 1),
                         left.eq(left - 1), active.eq(~last)]
        with m.If(self.row.valid & self.row.ready):
            m.d.sync += [active.eq(1), word.eq(self.row.p.word), left.eq(self.row.p.words)]
        return m
