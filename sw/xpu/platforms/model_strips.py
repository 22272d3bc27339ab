"""Transpositions of the functional model."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = ["move_matrices", "strip_runs"]

STRIP_WORDS = 4    #: words of each matrix row in a strip, as in ``xpu_rtl.dma.stages``
_SMALL = 4096      #: elements of a matrix that is moved together with others


def _blocks(total, size):
    """Return begins and sizes of the blocks something is cut into."""
    begins = np.arange(0, total, size)
    return begins, np.minimum(size, total - begins)


def strip_runs(config, dma, checker, source, destination, writes):
    """Return those runs of a matrix that are not good at a glance, in the order of execution.

    A strip is ``word_bytes / element`` matrix rows of ``STRIP_WORDS`` words; strips follow each
    other along the matrix rows. Its rows are read, then its columns are written.
    """
    height, source_pitch, destination_pitch = dma.loops[0]
    element = dma.element
    strip_rows, strip_bytes = config.word_bytes // element, STRIP_WORDS * config.word_bytes
    across, sizes = _blocks(dma.bytes, strip_bytes)
    row = np.arange(height)[:, None]
    reads = (source + row * source_pitch + across & (1 << 48) - 1, sizes,
             row // strip_rows * len(across) + across // strip_bytes, row % strip_rows)
    down, rows = _blocks(height, strip_rows)
    column = np.arange(dma.bytes // element)[:, None]
    writings = (destination + column * destination_pitch + down * element & (1 << 48) - 1,
                rows * element,
                down // strip_rows * len(across) + column * element // strip_bytes, column)
    doubtful = []
    for write, runs in enumerate((reads, writings)):
        address, size, strip, place = (part.reshape(-1) for part in np.broadcast_arrays(*runs))
        good = checker.surely_good(address, size, write, writes if write else None)
        doubtful += [(int(strip[n]), write, int(place[n]), int(address[n]), int(size[n]))
                     for n in np.flatnonzero(~good)]
    return [(address, size, bool(write)) for _, write, _, address, size in sorted(doubtful)]


def move_matrices(dma, source, destination, reads, writings):
    """Transpose the matrices that begin at bytes ``reads`` to ``writings``."""
    height, source_pitch, destination_pitch = dma.loops[0]
    element = dma.element
    width = dma.bytes // element
    if height * width <= _SMALL and len(reads) > 2:
        row, column = np.arange(height), np.arange(width)[:, None]
        places = (writings[:, None, None] + column * destination_pitch + row * element)
        _elements(destination, element)[places] = _elements(source, element)[
            reads[:, None, None] + row * source_pitch + column * element]
        return
    for read, writing in zip(reads.tolist(), writings.tolist(), strict=True):
        matrix = as_strided(source[read:], (width, height, element),
                            (element, source_pitch, 1))
        as_strided(destination[writing:], (width, height, element),
                   (destination_pitch, element, 1))[...] = matrix


def _elements(memory, size):
    return as_strided(memory, (len(memory) - size + 1, size), (1, 1))
