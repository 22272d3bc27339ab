"""Loops around the rows of a DMA command: made few, and made to fit the command's fields."""

import math
from dataclasses import dataclass, replace

from xpu_rtl.command.formats import DmaAxis

__all__ = ["MOST_COUNT", "MOST_ROW_BYTES", "Loop", "Offsets", "dense", "fit", "merge"]

MOST_COUNT = (1 << 16) - 1        #: iterations of a loop
MOST_ROW_BYTES = 1 << 23          #: a longer row is cut; the format allows a little less than twice
_STRIDE, _STEP = 1 << 31, 1 << 15


@dataclass(frozen=True)
class Loop:
    """A loop: iterations, bytes from one to the next on either side, and what a CLIP counts."""

    count: int
    source: int
    destination: int
    axis: DmaAxis = DmaAxis.NONE
    step: int = 0

    def times(self, count):
        """The loop over blocks of ``count`` iterations."""
        return replace(self, count=self.count // count, source=self.source * count,
                       destination=self.destination * count, step=self.step * count)

    @property
    def fits(self):
        """Whether the strides fit their fields."""
        return (-_STRIDE <= self.source < _STRIDE and -_STRIDE <= self.destination < _STRIDE
                and -_STEP <= self.step < _STEP)


@dataclass(frozen=True)
class Offsets:
    """Where in the whole a command begins: bytes on either side, and coordinates by axis."""

    source: int = 0
    destination: int = 0
    position: tuple = (0, 0, 0, 0)

    def after(self, loop, count=1):
        """Move on by ``count`` iterations of a loop."""
        position = list(self.position)
        position[loop.axis] += count * loop.step
        return Offsets(self.source + count * loop.source,
                       self.destination + count * loop.destination, tuple(position))


def dense(shape, size):
    """Return the byte strides of an array of dense elements of ``size`` bytes, as NumPy does."""
    return tuple(math.prod(shape[n + 1:]) * size for n in range(len(shape)))


def merge(row_bytes, loops, *, into_row=True):
    """Return ``(row_bytes, loops)`` for the same bytes in the same order, with fewer loops.

    Parameters
    ----------
    row_bytes : int
        Bytes of a row.
    loops : sequence of Loop
        Innermost first.
    into_row : bool
        Whether a row may be made longer.
    """
    result = []
    for loop in loops:
        if loop.count == 1:
            continue
        plain = loop.axis == DmaAxis.NONE
        if (into_row and not result and plain
                and loop.source == loop.destination == row_bytes):
            row_bytes *= loop.count
        elif (result and result[-1].axis == loop.axis
              and loop.source == result[-1].source * result[-1].count
              and loop.destination == result[-1].destination * result[-1].count
              and loop.step == result[-1].step * result[-1].count):
            result[-1] = replace(result[-1], count=result[-1].count * loop.count)
        else:
            result.append(loop)
    return row_bytes, result


def fit(loops, room, begin=Offsets()):
    """Yield ``(Offsets, loops)`` of commands that together do what ``loops`` say.

    Each has at most ``room`` loops that fit the fields of a command; the order of the rows may
    change.
    """
    loops = list(loops)
    for n, loop in enumerate(loops):
        if loop.count > MOST_COUNT and loop.fits:
            inner = replace(loop, count=MOST_COUNT)
            whole = loop.times(MOST_COUNT)
            rest = loop.count % MOST_COUNT
            yield from fit([*loops[:n], inner, whole, *loops[n + 1:]], room, begin)
            if rest:
                yield from fit([*loops[:n], replace(loop, count=rest), *loops[n + 1:]], room,
                               begin.after(loop, loop.count - rest))
            return
    unrolled = next((n for n, loop in enumerate(loops) if not loop.fits), None)
    if unrolled is None and len(loops) > room:
        unrolled = len(loops) - 1
    if unrolled is None:
        yield begin, loops
        return
    loop = loops.pop(unrolled)
    for index in range(loop.count):
        yield from fit(loops, room, begin.after(loop, index))
