"""Read requests with room for their responses."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.fifo import StreamFifo
from ..common.interfaces import connect_stream
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .types import ActivationWord

__all__ = ["WordReader"]


class WordReader(wiring.Component):
    """Ask for words of the scratchpad and keep the answers until they are taken.

    Parameters
    ----------
    config : XpuConfig
        Widths.

    Members
    -------
    ready : Out(1)
        A word can be asked for.
    ask, address, last, zero : In(1), In(sm_addr_width), In(1), In(1)
        Ask for a word; only if ``ready``. ``last`` marks the last word of a command; ``zero`` comes
        back with the word.
    o : Out(stream.Signature(ActivationWord(config)))
        Words, in order.
    got_last : Out(1)
        Pulse: the response of a ``last`` word arrives.
    held_back : Out(1)
        The scratchpad holds a request back in this cycle.
    empty : Out(1)
        Every word asked for has been taken.
    port : Out(ScratchpadPort(config))
        The requests (registered) and responses.

    Timing
    ------
    Latency: 1 cycle from ``ask`` to ``port.req``, 1 from ``port.rsp`` to ``o``.
    Throughput: one word per cycle.
    Backpressure: at most ``DEPTH`` words are asked for and not taken.
    Combinational paths: ``port.req.ready`` to ``ready``; ``o.ready`` into the buffer only.
    Reset: empty. Responses to earlier requests must not arrive later.
    """

    DEPTH = 16

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "ready": Out(1), "ask": In(1), "address": In(config.sm_addr_width), "last": In(1),
            "zero": In(1), "o": Out(stream.Signature(ActivationWord(config))),
            "got_last": Out(1), "held_back": Out(1), "empty": Out(1),
            "port": Out(ScratchpadPort(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, port = self._config, self.port

        held = Signal(range(self.DEPTH + 1))        # words asked for and not taken
        taken = Signal()
        address = Signal(config.sm_addr_width, reset_less=True)
        m.d.comb += [
            self.ready.eq((held != self.DEPTH) & (~port.req.valid | port.req.ready)),
            self.empty.eq(held == 0), port.req.p.address.eq(address),
            self.held_back.eq(port.waiting | (port.req.valid & ~port.req.ready)),
            taken.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += held.eq(held + self.ask - taken)
        with m.If(~port.req.valid | port.req.ready):
            m.d.sync += port.req.valid.eq(self.ask)
        with m.If(self.ask):
            m.d.sync += address.eq(self.address)

        m.submodules.words = words = StreamFifo(ActivationWord(config), self.DEPTH)
        connect_stream(m, words.o, wiring.flipped(self.o))

        m.submodules.marks = marks = StreamFifo(unsigned(2), self.DEPTH)
        m.d.comb += [
            marks.i.valid.eq(self.ask), marks.i.payload.eq(Cat(self.last, self.zero)),
            marks.o.ready.eq(port.rsp.valid),
            words.i.valid.eq(port.rsp.valid), words.i.p.data.eq(port.rsp.payload),
            words.i.p.zero.eq(marks.o.payload[1]),
            self.got_last.eq(port.rsp.valid & marks.o.payload[0]),
        ]
        return m
