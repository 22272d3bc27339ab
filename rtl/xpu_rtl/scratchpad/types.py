"""The port through which an engine reaches the scratchpad."""

from amaranth import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig

__all__ = ["ScratchpadPort", "ScratchpadRequest"]


class ScratchpadRequest(data.StructLayout):
    """One access to one word.

    Fields: ``address`` (word), ``write``, ``data`` and ``strobe`` (one bit per byte; writes only).
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "address": unsigned(config.sm_addr_width),
            "write": unsigned(1),
            "strobe": unsigned(config.word_bytes),
            "data": unsigned(config.word_width),
        })


class ScratchpadPort(wiring.Signature):
    """One requester's port, seen from the requester.

    Members
    -------
    req : Out(stream.Signature(ScratchpadRequest(config)))
        Accesses. Accepted is not yet performed.
    rsp : In(stream.Signature(unsigned(word_width), always_ready=True))
        Exactly one per accepted request, in order: the word read, or (payload undefined) the write
        performed. An access whose response has been seen is ordered before any request accepted
        later on any port. The requester must have room before it asks.
    waiting : In(1)
        An accepted or offered request is held back by another requester's access in this cycle
        (bank conflict); what the stall counter counts.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "req": Out(stream.Signature(ScratchpadRequest(config))),
            "rsp": In(stream.Signature(unsigned(config.word_width), always_ready=True)),
            "waiting": In(1),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._config == self._config

    def __repr__(self):
        return f"ScratchpadPort({self._config.name!r})"
