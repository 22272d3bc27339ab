"""When a drained tile is finished."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..command.types import SemaphoreAdd
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from .drain import TileEnd

__all__ = ["TileCompletion"]

_TILES = 4  #: tiles whose writes may be under way, besides the one being drained


class TileCompletion(wiring.Component):
    """Signal tiles when all their words are written, in order.

    Words are counted when they begin and when their response arrives. A tile that ends notes how
    many words had begun; once as many responses have arrived it is finished: its rows are added to
    its semaphore (none if that is 0), then, if it is the last of its command, ``done`` is raised.

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
    end : In(stream.Signature(TileEnd()))
        The word beginning in this cycle, or else the one before, is the last of a tile.
    add : Out(stream.Signature(SemaphoreAdd()))
        Rows written.
    done : Out(1)
        Pulse: a command's tiles are all finished.
    quiet : Out(1)
        Every word is written and every tile finished.

    Timing
    ------
    Latency: 2 cycles from the last ``written`` to ``add.valid``; to ``done`` as well if there is
    no semaphore, else ``done`` follows the acceptance by 1.
    Throughput: a tile per cycle, one per 2 cycles with a semaphore. Backpressure: ``end`` when 4
    tiles are unfinished. Combinational paths: none.
    Reset: nothing counted.
    """

    def __init__(self, config: XpuConfig):
        # Responses may lead the oldest tile by the words of all others, and so does the sign.
        self._width = ceil_log2(config.acc_rows * 4 * (_TILES + 2)) + 1
        super().__init__({
            "word": In(1), "written": In(1),
            "end": In(stream.Signature(TileEnd())),
            "add": Out(stream.Signature(SemaphoreAdd())),
            "done": Out(1), "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        entry = data.StructLayout({"tile": TileEnd(), "target": unsigned(self._width)})
        m.submodules.tiles = tiles = StreamFifo(entry, _TILES)

        begun, written, lead = (Signal(self._width, name=name)
                                for name in ("begun", "written", "lead"))
        begun_now = Signal(self._width)
        m.d.comb += [
            begun_now.eq(begun + self.word),
            tiles.i.valid.eq(self.end.valid), self.end.ready.eq(tiles.i.ready),
            tiles.i.p.tile.eq(self.end.payload), tiles.i.p.target.eq(begun_now),
            lead.eq(written - tiles.o.p.target),
        ]
        with m.If(self.word):
            m.d.sync += begun.eq(begun_now)
        with m.If(self.written):
            m.d.sync += written.eq(written + 1)

        adding = Signal()
        tile = tiles.o.p.tile
        m.d.comb += [
            self.add.valid.eq(adding),
            self.add.p.semaphore.eq(tile.semaphore), self.add.p.amount.eq(tile.rows),
            self.quiet.eq(~tiles.o.valid & (begun == written)),
        ]
        with m.If(adding):
            m.d.comb += tiles.o.ready.eq(self.add.ready)
            m.d.sync += adding.eq(~self.add.ready)
        with m.Elif(tiles.o.valid & ~lead[-1]):
            m.d.comb += tiles.o.ready.eq(tile.semaphore == 0)
            m.d.sync += adding.eq(tile.semaphore != 0)
        m.d.sync += self.done.eq(tiles.o.valid & tiles.o.ready & tile.last)
        return m
