"""When drained rows are finished."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..command.types import SemaphoreAdd
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .drain import RowEnd

__all__ = ["RowCompletion"]

_ROWS = 16  #: rows whose writes may be under way: the pipeline and the scratchpad hold fewer


class RowCompletion(wiring.Component):
    """Signal rows when all their words are written, in order.

    Words are counted when they begin and when their response arrives. A row that ends notes how
    many words had begun; once as many responses have arrived it is finished: 1 is added to its
    semaphore (nothing if that is 0), then, if it is the last of its command, ``done`` is raised.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    word : In(1)
        A word begins.
    written : In(1)
        A word's write has been responded.
    end : In(stream.Signature(RowEnd()))
        The word beginning in this cycle, or else the one before, is the last of a row.
    add : Out(stream.Signature(SemaphoreAdd()))
        Rows written.
    done : Out(1)
        Pulse: a command's rows are all finished.
    quiet : Out(1)
        Every word is written and every row finished.

    Timing
    ------
    Latency: 2 cycles from the last ``written`` to ``add.valid``; to ``done`` as well if there is
    no semaphore, else ``done`` follows the acceptance by 1.
    Throughput: a row per cycle, one per 2 cycles with a semaphore. Backpressure: ``end`` when 16
    rows are unfinished. Combinational paths: none.
    Reset: nothing counted.
    """

    def __init__(self, config: XpuConfig):
        # Counts are compared by their difference. Responses lead the oldest row by the words of the
        # rows behind it (4 each), begun words by those of a whole tile's other blocks as well.
        self._width = ceil_log2(config.acc_rows * 4 + _ROWS * 4) + 2
        super().__init__({
            "word": In(1), "written": In(1),
            "end": In(stream.Signature(RowEnd())),
            "add": Out(stream.Signature(SemaphoreAdd())),
            "done": Out(1), "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        entry = data.StructLayout({"row": RowEnd(), "target": unsigned(self._width)})
        m.submodules.rows = rows = StreamFifo(entry, _ROWS)

        begun, written, lead = (Signal(self._width, name=name)
                                for name in ("begun", "written", "lead"))
        begun_now = Signal(self._width)
        m.d.comb += [
            begun_now.eq(begun + self.word),
            rows.i.valid.eq(self.end.valid), self.end.ready.eq(rows.i.ready),
            rows.i.p.row.eq(self.end.payload), rows.i.p.target.eq(begun_now),
            lead.eq(written - rows.o.p.target),
        ]
        with m.If(self.word):
            m.d.sync += begun.eq(begun_now)
        with m.If(self.written):
            m.d.sync += written.eq(written + 1)

        adding = Signal()
        row = rows.o.p.row
        m.d.comb += [
            self.add.valid.eq(adding),
            self.add.p.semaphore.eq(row.semaphore), self.add.p.amount.eq(1),
            self.quiet.eq(~rows.o.valid & (begun == written)),
        ]
        with m.If(adding):
            m.d.comb += rows.o.ready.eq(self.add.ready)
            m.d.sync += adding.eq(~self.add.ready)
        with m.Elif(rows.o.valid & ~lead[-1]):
            m.d.comb += rows.o.ready.eq(row.semaphore == 0)
            m.d.sync += adding.eq(row.semaphore != 0)
        m.d.sync += self.done.eq(rows.o.valid & rows.o.ready & row.last)
        return m
