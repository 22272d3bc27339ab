"""The tensor unit without its epilogue."""

from amaranth import Cat, Const, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.formats import CONV
from ..command.types import Activity, EnginePort, SemaphoreAdd, SemaphoreView
from ..command.windows import LINE_BYTES, RingWindows, ring_windows
from ..common.fifo import StreamFifo
from ..common.interfaces import connect_stream
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from .accumulator import Accumulator
from .activations import ActivationReader
from .array import DotArray, sum_names
from .feeder import Feeder
from .retire import Retire
from .sequencer import Sequencer
from .types import AccumulatorPort, TileDescriptor
from .weights import WeightLoader

__all__ = ["TensorCompute"]


class TensorCompute(wiring.Component):
    """Compute the sums of GEMM and CONV commands tile by tile, for an epilogue to drain.

    The commands are those of ``command/formats.py``. Sequencer, weight loader, activation reader
    and array each run ahead of the next as far as their buffers allow, across tiles and commands.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    port : Out(EnginePort(formats.CONV))
        Commands and their ends.
    activation, weight : Out(ScratchpadPort(config))
        Reads of A; of B and its zero points.
    a_view, b_view : Out(SemaphoreView(config))
        Waits for A and B.
    quiet : In(1)
        For ``port.quiet``.
    windows : In(ring_windows(config))
        What the rings may use; looked at when a command is accepted. All unfinished commands are of
        one ring, so those of the last one accepted count.
    last_word : Out(sm_addr_width)
        Last word of the window.
    tile, computed, acc, released, add, done, fault, fault_address, protected, fault_write :
        Out or In, the other side of the members of ``Epilogue`` with these names. Tiles are sent
        as soon as the epilogue takes them, at the latest when they start.
    settled : In(1)
        All words of tiles released by the epilogue are written. Looked at after a fault only.

    Timing
    ------
    Latency: ``start_latency(config)`` cycles, plus the scratchpad's latency, from the acceptance of
    a command to its first row in the array, if nothing else runs and K is at least ``lanes``.
    Throughput: a pass takes max(rows, lanes) cycles; no idle cycle between passes, tiles and
    commands whose operands arrive in time.
    Backpressure: full.
    Combinational paths: ``port.add.ready`` to ``add.ready``, ``add`` to ``port.add``; ``acc`` into
    the memories; requests are registered.
    Reset: idle; memories are undefined until written.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "port": Out(EnginePort(CONV)),
            "activation": Out(ScratchpadPort(config)), "weight": Out(ScratchpadPort(config)),
            "a_view": Out(SemaphoreView(config)), "b_view": Out(SemaphoreView(config)),
            "quiet": In(1), "windows": In(ring_windows(config)),
            "last_word": Out(config.sm_addr_width),
            "tile": Out(stream.Signature(TileDescriptor(config))), "computed": Out(1),
            "acc": In(AccumulatorPort(config)), "released": In(1),
            "add": In(stream.Signature(SemaphoreAdd())), "done": In(1),
            "fault": In(1), "fault_address": In(32), "protected": In(1), "fault_write": In(1),
            "settled": In(1),
        })

    @staticmethod
    def start_latency(config):
        """The weights, and five stages: tile, pass, request, buffer, shadow block."""
        return config.lanes + 5

    def elaborate(self, platform):
        m = Module()
        config, port = self._config, self.port
        flipped, connect = wiring.flipped, wiring.connect

        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.weights = weights = WeightLoader(config)
        m.submodules.activations = activations = ActivationReader(config)
        m.submodules.tiles = tiles = StreamFifo(TileDescriptor(config), 4)
        m.submodules.feeder = feeder = Feeder(config)
        m.submodules.array = array = DotArray(config)
        m.submodules.accumulator = accumulator = Accumulator(config)
        m.submodules.retire = retire = Retire(config)

        halt = Signal()
        m.d.comb += [halt.eq(port.abort | retire.stop), port.quiet.eq(self.quiet)]
        m.d.comb += [part.halt.eq(halt) for part in (sequencer, weights, activations, feeder)]

        # Commands in.
        accepted = Signal()
        m.d.comb += [
            accepted.eq(port.cmd.valid & port.cmd.ready),
            port.cmd.ready.eq(sequencer.cmd.ready & retire.room),
            sequencer.cmd.valid.eq(port.cmd.valid & retire.room),
            sequencer.cmd.payload.eq(port.cmd.payload),
            sequencer.sequence.eq(retire.sequence),
            retire.accepted.eq(accepted),
            retire.release_semaphore.eq(port.cmd.p.command.release_semaphore),
        ]
        m.submodules.indices = indices = StreamFifo(unsigned(32), Retire.LIMIT)
        m.d.comb += [
            indices.i.valid.eq(accepted), indices.i.payload.eq(port.cmd.p.index),
            indices.o.ready.eq(activations.begin),
            port.begin.eq(activations.begin), port.begin_index.eq(indices.o.payload),
        ]

        # The window of the ring.
        line_bits = config.sm_byte_width - (LINE_BYTES.bit_length() - 1)
        line_words = LINE_BYTES // config.word_bytes
        new_window = Signal(RingWindows())
        window = Signal(RingWindows(), reset_less=True)
        last_word = Signal(config.sm_addr_width, reset_less=True)
        m.d.comb += [
            new_window.eq(self.windows[0] if config.rings == 1
                          else self.windows[port.cmd.p.ring]),
            sequencer.window.eq(window), self.last_word.eq(last_word),
            weights.last_word.eq(last_word), activations.last_word.eq(last_word),
        ]
        with m.If(accepted):
            m.d.sync += [
                window.eq(new_window),
                last_word.eq(Cat(Const(line_words - 1, line_words.bit_length() - 1),
                                 new_window.sm_last[:line_bits])),
            ]
            with m.If(new_window.sm_last[line_bits:].any()):    # all of the scratchpad
                m.d.sync += last_word.eq(config.sm_words - 1)

        # Passes and tiles.
        connect_stream(m, sequencer.weight, weights.i)
        connect_stream(m, sequencer.activation, activations.i)
        connect_stream(m, sequencer.tile, tiles.i)
        connect_stream(m, tiles.o, flipped(self.tile))
        connect(m, sequencer.b_view, flipped(self.b_view))
        connect(m, activations.a_view, flipped(self.a_view))
        connect(m, weights.port, flipped(self.weight))
        connect(m, activations.port, flipped(self.activation))

        # Array and accumulators.
        connect_stream(m, activations.feed, feeder.feed)
        connect_stream(m, activations.word, feeder.word)
        m.d.comb += [
            feeder.weights_full.eq(weights.full),
            feeder.announced.eq(tiles.o.valid & tiles.o.ready),
            feeder.released.eq(self.released),
            weights.swap.eq(feeder.swap),
            array.load.eq(weights.load), array.load_row.eq(weights.load_row),
            array.load_last.eq(weights.load_last),
            array.valid.eq(feeder.valid), array.swap.eq(feeder.swap),
            array.word.eq(activations.word.p.data), array.zero.eq(feeder.zero),
            array.kind.eq(feeder.kind), array.terms.eq(feeder.terms),
            feeder.accumulating.eq(accumulator.busy),
            array.a_signed.eq(feeder.a_signed), array.zero_point.eq(feeder.zero_point),
            accumulator.valid.eq(feeder.valid), accumulator.tag.eq(feeder.tag),
            self.computed.eq(accumulator.computed),
        ]
        for n in range(config.lanes):
            m.d.comb += [array.load_data[n].eq(weights.load_data[n]),
                         *(getattr(accumulator, name)[n].eq(getattr(array, name)[n])
                           for name in sum_names(config))]
        connect(m, flipped(self.acc), accumulator.port)

        # Commands out.
        connect_stream(m, flipped(self.add), retire.epilogue_add)
        connect_stream(m, retire.add, flipped(port.add))
        connect_stream(m, retire.done, flipped(port.done))
        m.d.comb += [
            retire.a_read.eq(activations.got_last), retire.b_read.eq(weights.got_last),
            retire.refused.eq(sequencer.fault), retire.refused_report.eq(sequencer.report),
            retire.refused_sequence.eq(sequencer.fault_sequence),
            retire.b_fault.eq(weights.fault), retire.b_address.eq(weights.fault_address),
            retire.b_sequence.eq(weights.fault_sequence), retire.b_protected.eq(weights.protected),
            retire.a_fault.eq(activations.fault), retire.a_address.eq(activations.fault_address),
            retire.a_sequence.eq(activations.fault_sequence),
            retire.a_protected.eq(activations.protected),
            retire.epilogue_done.eq(self.done), retire.epilogue_fault.eq(self.fault),
            retire.epilogue_address.eq(self.fault_address),
            retire.epilogue_protected.eq(self.protected),
            retire.epilogue_write.eq(self.fault_write),
            retire.draining.eq(feeder.draining), retire.settled.eq(self.settled),
        ]

        # What this cycle is spent on; one cycle late.
        activity = Signal(Activity)
        m.d.sync += port.activity.eq(activity)
        with m.If(feeder.valid):
            m.d.comb += activity.eq(Activity.BUSY)
        with m.Elif(feeder.lacks_memory):
            m.d.comb += activity.eq(Activity.OUTPUT)
        with m.Elif(feeder.lacks_weights):
            m.d.comb += activity.eq(Activity.MEMORY)
            with m.If(sequencer.waiting & ~weights.busy):
                m.d.comb += activity.eq(Activity.SEMAPHORE)
        with m.Elif(feeder.lacks_word & activations.held_back):
            m.d.comb += activity.eq(Activity.BANK_CONFLICT)
        with m.Elif(activations.waiting | sequencer.waiting):
            m.d.comb += activity.eq(Activity.SEMAPHORE)
        with m.Elif(feeder.lacks_word | activations.busy | weights.busy | sequencer.busy):
            m.d.comb += activity.eq(Activity.MEMORY)
        with m.Elif(retire.unfinished):
            m.d.comb += activity.eq(Activity.OUTPUT)
        return m
