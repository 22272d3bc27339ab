"""What the stages of a DMA stream hand to each other. See ``docs/dma.md`` for the picture."""

from amaranth import unsigned
from amaranth.lib import data, enum

from ..address_map import CLUSTER_LSB
from ..params import XpuConfig
from .types import BYTES_WIDTH, beat_address, beat_count

__all__ = ["STRIP_WORDS", "DestinationRun", "FormRow", "IndexEntry", "IndexJob",
           "NdRow", "PlaceRun", "RunKind", "SourceRun", "SourceWord", "address_48"]

#: Words of each matrix row that a TRANSPOSE reads at a time (a strip is ``word_bytes / element``
#: matrix rows of this many words).
STRIP_WORDS = 4


def address_48():
    """Shape of a system address within a cluster: {space, offset}."""
    return unsigned(CLUSTER_LSB)


class NdRow(data.StructLayout):
    """One row of a command; in TRANSPOSE one whole matrix. From the odometer.

    Fields: ``source``, ``destination`` (of the row's byte 0; the source of a clipped row may lie
    outside its tensor and its memory); ``bytes`` (of the row); ``left`` (bytes filled before the
    copied ones), ``copied`` (bytes copied; 0: all are filled); the rest of ``bytes`` is filled
    behind. ``transpose``; ``rows``, ``source_pitch``, ``destination_pitch``, ``element_log2``
    (TRANSPOSE only); ``fill`` (pattern of row byte 0 to 3); ``first``, ``last`` (row of its
    command); ``fault`` (this row must not move and the command ends here; all else but ``first``
    and ``index`` is void); ``semaphore``, ``threshold`` (progress; that of this row); ``ring``,
    ``index`` (of the command).
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "source": address_48(), "destination": address_48(),
            "bytes": unsigned(BYTES_WIDTH), "left": unsigned(BYTES_WIDTH),
            "copied": unsigned(BYTES_WIDTH),
            "transpose": unsigned(1), "rows": unsigned(16),
            "source_pitch": unsigned(32), "destination_pitch": unsigned(32),
            "element_log2": unsigned(2), "fill": unsigned(32),
            "first": unsigned(1), "last": unsigned(1), "fault": unsigned(1),
            "semaphore": unsigned(8), "threshold": unsigned(config.semaphore_width),
            "ring": unsigned(3), "index": unsigned(32),
        })


class RunKind(enum.Enum, shape=2):
    """Where the words of a source run come from."""

    GM = 0
    SM = 1
    FILL = 2      #: ``beats + 1`` words of the pattern ``fill``, repeated
    FAULT = 3     #: nowhere: the command ends here with the fault the splitter reports


class SourceRun(data.StructLayout):
    """Consecutive bytes to read. From the splitter to the source.

    Fields: ``kind``; ``beat`` (first GM beat; a scratchpad word in its low bits), ``beats`` (less
    one); ``lane``, ``end`` (place of the first and last byte in the first and last word); ``fill``
    (FILL: byte i of every word is byte i % 4 of it); ``first`` (run of its command), ``row_last``
    (run of its row), ``last`` (run of its command); ``ring``, ``index``.
    """

    def __init__(self, config: XpuConfig):
        lane = unsigned(config.word_shift)
        super().__init__({
            "kind": RunKind, "beat": beat_address(config), "beats": beat_count(config),
            "lane": lane, "end": lane,
            "fill": unsigned(32), "first": unsigned(1), "row_last": unsigned(1),
            "last": unsigned(1), "ring": unsigned(3), "index": unsigned(32),
        })


class SourceWord(data.StructLayout):
    """A word of a source run, in order. Fields: ``data``; ``fault`` (no data: the command ends here
    with the fault the source reports, and nothing follows)."""

    def __init__(self, config: XpuConfig):
        super().__init__({"data": unsigned(config.word_width), "fault": unsigned(1)})


class FormRow(data.StructLayout):
    """What becomes of the words of one source run. From the splitter to aligner and transposer.

    Fields: ``lane``, ``end`` (place of the first and last byte in the first and last word),
    ``beats`` (words, less one). Without ``transpose`` the run is one destination run: ``shift``
    (destination lane less source lane, modulo the word), ``wrap`` (the destination lane is the
    lower one). With it: ``element_log2``, ``strip_row`` (number of the matrix row within its
    strip), ``strip_last`` (it is the strip's last).
    """

    def __init__(self, config: XpuConfig):
        lane = unsigned(config.word_shift)
        super().__init__({
            "lane": lane, "end": lane, "beats": beat_count(config),
            "shift": lane, "wrap": unsigned(1),
            "transpose": unsigned(1), "element_log2": unsigned(2),
            "strip_row": lane, "strip_last": unsigned(1),
        })


class PlaceRun(data.StructLayout):
    """Where a transposed run goes in its words. From the splitter to the transposer, one for each
    column of a strip. Fields: ``lane`` (of the first byte in the first destination word), ``bytes``
    (less one; at most a word's worth)."""

    def __init__(self, config: XpuConfig):
        lane = unsigned(config.word_shift)
        super().__init__({"lane": lane, "bytes": lane})


class DestinationRun(data.StructLayout):
    """Consecutive bytes to write. From the splitter to the sink.

    Fields: ``beat`` (first GM beat; a scratchpad word in its low bits), ``beats`` (less one);
    ``direct`` (its words come from SM or are filled, so they come whatever AXI does); ``fault``
    (nothing may be written, the command ends here with the fault the splitter reports);
    ``row_last`` (run of its row), ``last`` (run of its command); ``semaphore`` (progress, loads);
    ``ring``.
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "beat": beat_address(config), "beats": beat_count(config), "direct": unsigned(1),
            "fault": unsigned(1), "row_last": unsigned(1), "last": unsigned(1),
            "semaphore": unsigned(8), "ring": unsigned(3),
        })


class IndexJob(data.StructLayout):
    """A list of indices to read. Fields: ``address`` (a multiple of 4), ``count`` (entries, at
    least 1), ``ring``."""

    def __init__(self):
        super().__init__({"address": address_48(), "count": unsigned(16), "ring": unsigned(3)})


class IndexEntry(data.StructLayout):
    """An entry of an index list. Fields: ``value``; ``fault`` (it could not be read; nothing
    follows)."""

    def __init__(self):
        super().__init__({"value": unsigned(32), "fault": unsigned(1)})
