"""Epilogue of the tensor unit: drain of the accumulators and requantisation."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..command.types import SemaphoreAdd
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .completion import RowCompletion
from .drain import DrainSequencer, DrainStep
from .parameters import ParameterLoader
from .requantize import Requantizer
from .types import AccumulatorPort, TileDescriptor

__all__ = ["Epilogue"]

#: Words between the read of their first sums and their acceptance by the scratchpad. The pipeline
#: holds up to 9; the rest absorbs its stalls.
_WORDS = 16


class Epilogue(wiring.Component):
    """Turn accumulator tiles into result words in the scratchpad.

    Per sum: add the bias modulo 2**32, replace negative sums by zero if ``relu``, then write it as
    INT32, or requantise it to 8 bits (``docs/numerics.md``). Whole words are written: channels
    beyond the matrix, up to the end of their block, receive what their padded parameters and sums
    give.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    tile : In(stream.Signature(TileDescriptor(config)))
        Tiles in order, from when they start computing, so that their parameters can be fetched.
        Two are buffered besides the one being drained.
    computed : In(1)
        Pulse, once per tile (silent ones too), in order: its sums are readable from the next cycle.
    acc : Out(AccumulatorPort(config))
        Reads of sums. ``data`` must hold until the cycle after the next ``en``, or ``released``,
        whatever ``bank`` does meanwhile.
    released : Out(1)
        Pulse, once per tile that is not silent, when its last row has been used: ``data`` need not
        hold from the next cycle on.
    param, output : Out(ScratchpadPort(config))
        Reads of bias and scales; writes of results.
    add : Out(stream.Signature(SemaphoreAdd()))
        1 for each row of a tile, when all its words are written, if it has a semaphore.
    done : Out(1)
        Pulse, once per command, in order: everything is written and every add accepted.
    last_word : In(config.sm_addr_width)
        Last word of the ring's window.
    fault : Out(1)
        Sticky: an address left the scratchpad or the window. All earlier tiles are finished, all
        words before the offending one are written, and nothing more is issued until reset.
    fault_address : Out(32)
        Byte offset of the offence.
    protected, fault_write : Out(1), Out(1)
        It is in the scratchpad; it is a write.
    busy : Out(1)
        A tile is inside. Low after a fault.
    settled : Out(1)
        Every word begun is written, every tile read out is finished; computing ones may be inside.
    conflict : Out(1)
        Held back by a scratchpad bank.

    Timing
    ------
    Latency: a row read in cycle t offers its word in cycle t + lanes / epilogue_lanes - 1 + 8
    (``WORD_LATENCY``), or its INT32 words from the step with their last sums on + 3
    (``INT32_LATENCY``). The first row is read in the cycle after ``computed``. From the last
    response to ``add`` 2 cycles, to ``done`` 2, or 1 after an add.
    Throughput: a row per lanes / epilogue_lanes cycles; INT32 the same, but at least 4. No gap
    between blocks and tiles whose parameters are there, except before an INT32 tile after an 8-bit
    one, which waits for the pipeline to empty. A tile of one step costs two.
    Backpressure: reading stops when 16 words are between reading and acceptance.
    Combinational paths: ``output.req.ready`` into the output queue only; ``computed`` into the
    tile buffer. None from input to output.
    Reset: everything in flight is dropped.
    """

    WORD_LATENCY = 2 + Requantizer.LATENCY
    INT32_LATENCY = 3

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "tile": In(stream.Signature(TileDescriptor(config))), "computed": In(1),
            "acc": Out(AccumulatorPort(config)), "released": Out(1),
            "param": Out(ScratchpadPort(config)), "output": Out(ScratchpadPort(config)),
            "add": Out(stream.Signature(SemaphoreAdd())), "done": Out(1),
            "last_word": In(config.sm_addr_width), "fault": Out(1), "fault_address": Out(32),
            "protected": Out(1), "fault_write": Out(1), "busy": Out(1),
            "settled": Out(1), "conflict": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.loader = loader = ParameterLoader(config)
        m.submodules.drain = drain = DrainSequencer(config)
        m.submodules.completion = completion = RowCompletion(config)
        for mine, inner in ((self.tile, loader.i), (self.param, loader.param),
                            (self.acc, drain.acc), (self.add, completion.add)):
            wiring.connect(m, wiring.flipped(mine), inner)
        wiring.connect(m, loader.o, drain.tile)
        wiring.connect(m, drain.end, completion.end)
        m.d.comb += [
            drain.half.eq(loader.half), drain.computed.eq(self.computed),
            loader.r_en.eq(drain.step.valid), loader.r_half.eq(drain.param_half),
            loader.r_block.eq(drain.param_block), loader.r_row.eq(drain.param_row),
            loader.last_word.eq(self.last_word), drain.last_word.eq(self.last_word),
            loader.stop.eq(drain.fault), self.released.eq(drain.released),
            completion.word.eq(drain.word), completion.written.eq(self.output.rsp.valid),
            self.done.eq(completion.done), self.settled.eq(completion.quiet),
            self.conflict.eq(self.param.waiting | self.output.waiting),
        ]

        word_valid, word = self._datapath(m, loader, drain)
        self._queue(m, drain, word_valid, word)

        fault, fault_address = Signal(), Signal(config.sm_addr_width + 1, reset_less=True)
        m.d.sync += [
            fault.eq(completion.quiet & loader.idle
                     & (drain.fault | (loader.fault & ~drain.active))),
            fault_address.eq(Mux(drain.fault, drain.fault_address, loader.fault_address)),
            self.fault_write.eq(drain.fault),
        ]
        m.d.comb += [
            self.fault.eq(fault), self.fault_address.eq(fault_address << config.word_shift),
            self.protected.eq(~fault_address[-1]),
            self.busy.eq(~fault & (~loader.empty | drain.active | ~completion.quiet | self.done)),
        ]
        return m

    def _datapath(self, m, loader, drain):
        """From the rows read to result words. Returns ``valid`` and the word."""
        config = self._config
        lanes, word_lanes = config.epilogue_lanes, config.lanes // 4
        lane_array = data.ArrayLayout(unsigned(32), lanes)
        m.submodules.requantizer = requantizer = Requantizer(config)

        # Stage 1: the row read. Choose the group and its parameters.
        s1_valid, s1 = Signal(), Signal(DrainStep(config), reset_less=True)
        m.d.sync += s1_valid.eq(drain.step.valid)
        with m.If(drain.step.valid):
            m.d.sync += s1.eq(drain.step.payload)
        acc = self._choose(m, "acc_group", self.acc.data, s1.group, 32 * lanes)
        column = s1.group[:ceil_log2(loader.row_lanes // lanes)]
        bias = self._choose(m, "bias_group", loader.bias, column, 32 * lanes)
        scale = self._choose(m, "scale_group", loader.scale, column, 32 * lanes)

        # Stage 2: bias and ReLU.
        s2_bytes, s2_int32 = Signal(), Signal()
        s2_acc, s2_bias, s2_scale = (Signal(lane_array, name=name, reset_less=True)
                                     for name in ("s2_acc", "s2_bias", "s2_scale"))
        s2 = Signal(DrainStep(config), reset_less=True)
        m.d.sync += [s2_bytes.eq(s1_valid & ~s1.int32), s2_int32.eq(s1_valid & s1.int32)]
        with m.If(s1_valid):
            m.d.sync += [
                s2.eq(s1), s2_acc.eq(acc), s2_bias.eq(Mux(s1.has_bias, bias, 0)),
                s2_scale.eq(Mux(s1.scale_vector, scale, s1.scale.replicate(lanes))),
            ]
        summed = Signal(lane_array)
        for lane in range(lanes):
            total = Signal(32, name=f"total_{lane}")
            m.d.comb += [
                total.eq(s2_acc[lane] + s2_bias[lane]),
                summed[lane].eq(Mux(s2.relu & total[31], 0, total)),
            ]
        m.d.comb += [
            requantizer.i.valid.eq(s2_bytes),
            requantizer.i.p.acc.eq(summed), requantizer.i.p.scale.eq(s2_scale),
            requantizer.i.p.zero_point.eq(s2.out_zero_point),
            requantizer.i.p.out_signed.eq(s2.out_signed),
            drain.bytes_busy.eq((s1_valid & ~s1.int32) | s2_bytes | requantizer.busy),
        ]

        # Bytes: gather the groups of a row.
        byte_valid, byte_word = self._gather(
            m, "bytes", requantizer.o.valid, requantizer.o.payload.as_value(), config.word_width)

        # INT32, stage 3: part of a group, or several groups, make a word.
        s3_int32, s3_sums = Signal(), Signal(lane_array, reset_less=True)
        s3_part = Signal.like(s2.part, reset_less=True)
        m.d.sync += s3_int32.eq(s2_int32)
        with m.If(s2_int32):
            m.d.sync += [s3_sums.eq(summed), s3_part.eq(s2.part)]
        part = self._choose(m, "part", s3_sums.as_value(), s3_part, 32 * min(lanes, word_lanes))
        int32_valid, int32_word = self._gather(m, "int32", s3_int32, part, config.word_width)

        word_valid, word = Signal(), Signal(config.word_width)
        m.d.comb += [word_valid.eq(byte_valid | int32_valid),
                     word.eq(Mux(int32_valid, int32_word, byte_word))]
        return word_valid, word

    @staticmethod
    def _choose(m, name, source, index, width):
        """Named signal: part ``index`` of ``source``, in parts of ``width`` bits."""
        chosen = Signal(width, name=name)
        with m.Switch(index):
            for n in range(len(source) // width):
                with m.Case(n):
                    m.d.comb += chosen.eq(source[n * width:(n + 1) * width])
        return chosen

    @staticmethod
    def _gather(m, name, valid, piece, width):
        """Join consecutive pieces, first in the low bits; valid with the last piece."""
        if len(piece) == width:
            return valid, piece
        kept = Signal(width - len(piece), name=f"{name}_kept", reset_less=True)
        count = Signal(range(width // len(piece)), name=f"{name}_count")
        word = Signal(width, name=f"{name}_word")
        m.d.comb += word.eq(Cat(kept, piece))
        with m.If(valid):
            m.d.sync += [kept.eq(word[len(piece):]), count.eq(count + 1)]
        return valid & count.all(), word

    def _queue(self, m, drain, word_valid, word):
        """Offer words to the scratchpad; those it does not take at once wait in a queue."""
        config = self._config
        request = self.output.req
        m.submodules.addresses = addresses = StreamFifo(unsigned(config.sm_addr_width), _WORDS)
        m.submodules.words = words = StreamFifo(unsigned(config.word_width), _WORDS)
        room = Signal(range(_WORDS + 1), init=_WORDS)
        accepted = Signal()
        m.d.comb += [
            drain.room.eq(room != 0),
            addresses.i.valid.eq(drain.word), addresses.i.payload.eq(drain.word_address),
            request.valid.eq(words.o.valid | word_valid),
            request.p.address.eq(addresses.o.payload), request.p.write.eq(1),
            request.p.strobe.eq(~0), request.p.data.eq(Mux(words.o.valid, words.o.payload, word)),
            accepted.eq(request.valid & request.ready),
            addresses.o.ready.eq(accepted), words.o.ready.eq(request.ready),
            words.i.valid.eq(word_valid & (words.o.valid | ~request.ready)),
            words.i.payload.eq(word),
        ]
        with m.If(drain.word != accepted):
            m.d.sync += room.eq(Mux(accepted, room + 1, room - 1))
