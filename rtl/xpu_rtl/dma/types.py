"""Payload layouts that cross a boundary inside the DMA engines."""

from amaranth import unsigned
from amaranth.lib import data

from ..address_map import OFFSET_WIDTH
from ..params import XpuConfig

__all__ = ["BYTES_WIDTH", "AlignRow", "AlignedWord", "Burst", "LandingTag", "SplitRow",
           "beat_address", "beat_count"]

#: Bits of a number of bytes of a row.
BYTES_WIDTH = 24


def beat_address(config: XpuConfig):
    """Shape of a GM address in beats."""
    return unsigned(OFFSET_WIDTH - config.word_shift)


def beat_count(config: XpuConfig):
    """Shape of the beats or words of a row, less one; one more of them if it is misaligned."""
    return unsigned(BYTES_WIDTH - config.word_shift + 1)


class SplitRow(data.StructLayout):
    """Beats to cover by bursts. Fields: ``beat`` (first), ``beats`` (less one), ``context``."""

    def __init__(self, config: XpuConfig, context):
        super().__init__({"beat": beat_address(config), "beats": beat_count(config),
                          "context": context})


class Burst(data.StructLayout):
    """A legal AXI burst. Fields: ``beat`` (first), ``len`` (beats less one), ``first``, ``last``
    (burst of its row), ``context`` (of its row)."""

    def __init__(self, config: XpuConfig, context):
        super().__init__({"beat": beat_address(config), "len": unsigned(8),
                          "first": unsigned(1), "last": unsigned(1), "context": context})


class AlignRow(data.StructLayout):
    """How the words of a row are realigned. Fields: ``lane``, ``end``, ``shift``, ``wrap`` as in
    ``FormRow``; ``beats`` (source words, less one); ``context`` (copied to every output word)."""

    def __init__(self, config: XpuConfig, context):
        lane = unsigned(config.word_shift)
        super().__init__({"lane": lane, "end": lane, "shift": lane, "wrap": unsigned(1),
                          "beats": beat_count(config), "context": context})


class AlignedWord(data.StructLayout):
    """A destination word. Fields: ``data``, ``strobe``, ``first``, ``last`` (word of its row),
    ``context`` (of its row)."""

    def __init__(self, config: XpuConfig, context):
        super().__init__({"data": unsigned(config.word_width),
                          "strobe": unsigned(config.word_bytes),
                          "first": unsigned(1), "last": unsigned(1), "context": context})


class LandingTag(data.StructLayout):
    """What the arrival of a word in the scratchpad means. Fields: ``bytes`` (payload of the word),
    ``row_last`` (the row is complete), ``command_last`` (the command is), ``semaphore`` (of the
    row's progress)."""

    def __init__(self, config: XpuConfig):
        super().__init__({"bytes": unsigned(config.word_shift + 1), "row_last": unsigned(1),
                          "command_last": unsigned(1), "semaphore": unsigned(8)})
