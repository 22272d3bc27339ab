"""Epilogue of the tensor unit: drain of the accumulators and what becomes of the sums."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..command.formats import Activation, ElementType
from ..command.types import SemaphoreAdd
from ..common.fifo import StreamFifo
from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from ..scratchpad.types import ScratchpadPort
from .choose import choose, choose_fields, element_shift
from .completion import RowCompletion
from .drain import PATH_FIELDS, DrainSequencer, DrainStep, Path, path_of
from .finish import FinishLanes, FinishSettings
from .gather import Gather
from .maximum import RunningMaximum
from .parameters import ParameterLoader
from .requantize import Requantizer
from .residual import ResidualReader
from .table import ByteTable
from .types import AccumulatorPort, TileDescriptor

__all__ = ["Epilogue"]

#: Words between the read of their first sums and their acceptance by the scratchpad. The longest
#: pipeline holds up to 56; the rest absorbs its stalls. A longer queue would be a late block RAM.
_WORDS = 64


class Epilogue(wiring.Component):
    """Turn accumulator tiles into result words in the scratchpad (``docs/numerics.md``).

    There are three ways: sums as they are, plus bias (INT32, INT64); sums of bytes to bytes with no
    more than bias, ReLU, scale and table; and the floating-point lanes for everything else. Whole
    words are written: channels beyond the matrix, up to the end of their block, receive what their
    padded parameters and sums give.

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
    param, residual, output : Out(ScratchpadPort(config))
        Reads of bias, scales and tables, and of residuals; writes of results and maxima.
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
    Latency: a row read in cycle t offers its word in cycle t + lanes / epilogue_lanes - 1 + 8 if it
    is made of bytes from bytes (``WORD_LATENCY``), + 54 from the floating-point lanes
    (``FLOAT_LATENCY``), or its raw words from the step with their last sums on + 3
    (``RAW_LATENCY``); a table takes 1 more. The first row is read in the cycle after ``computed``.
    From the last response to ``add`` 2 cycles, to ``done`` 2, or 1 after an add.
    Throughput: a row per ``Shape.steps`` cycles. No gap between blocks and tiles whose parameters
    are there and which go the same way; see ``DrainSequencer``. A tile of one step costs two.
    Backpressure: reading stops when 64 words are between reading and acceptance.
    Combinational paths: ``output.req.ready`` into the output queue only; ``computed`` into the
    tile buffer. None from input to output.
    Reset: everything in flight is dropped.
    """

    WORD_LATENCY = 2 + Requantizer.LATENCY
    FLOAT_LATENCY = 2 + FinishLanes.LATENCY
    RAW_LATENCY = 3

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "tile": In(stream.Signature(TileDescriptor(config))), "computed": In(1),
            "acc": Out(AccumulatorPort(config)), "released": Out(1),
            "param": Out(ScratchpadPort(config)), "residual": Out(ScratchpadPort(config)),
            "output": Out(ScratchpadPort(config)),
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
        m.submodules.residual_reader = residual = ResidualReader(config)
        for mine, inner in ((self.tile, loader.i), (self.param, loader.param),
                            (self.acc, drain.acc), (self.add, completion.add),
                            (self.residual, residual.port)):
            wiring.connect(m, wiring.flipped(mine), inner)
        wiring.connect(m, loader.o, drain.tile)
        wiring.connect(m, drain.end, completion.end)
        m.d.comb += [
            drain.half.eq(loader.half), drain.table_half.eq(loader.table_half),
            drain.computed.eq(self.computed),
            loader.r_en.eq(drain.step.valid), loader.r_half.eq(drain.param_half),
            loader.r_block.eq(drain.param_block), loader.r_row.eq(drain.param_row),
            loader.last_word.eq(self.last_word), drain.last_word.eq(self.last_word),
            loader.stop.eq(drain.fault), self.released.eq(drain.released),
            completion.word.eq(drain.word), completion.written.eq(self.output.rsp.valid),
            self.done.eq(completion.done), self.settled.eq(completion.quiet),
            self.conflict.eq(self.param.waiting | self.residual.waiting | self.output.waiting),
            residual.start.eq(drain.taken & loader.o.p.has_residual),
            residual.tile.eq(loader.o.payload), residual.last_word.eq(self.last_word),
            drain.residual.eq(residual.o.valid), residual.o.ready.eq(drain.residual_used),
        ]

        word_valid, word = self._datapath(m, platform, loader, drain, residual)
        self._queue(m, drain, word_valid, word)

        fault, fault_address = Signal(), Signal(config.sm_addr_width + 1, reset_less=True)
        m.d.sync += [
            fault.eq(completion.quiet & loader.idle & (
                drain.fault | (loader.fault & ~drain.active)
                | (residual.fault & residual.empty & drain.active))),
            fault_address.eq(Mux(drain.fault, drain.fault_address, Mux(
                residual.fault, residual.fault_address, loader.fault_address))),
            self.fault_write.eq(drain.fault),
        ]
        m.d.comb += [
            self.fault.eq(fault), self.fault_address.eq(fault_address << config.word_shift),
            self.protected.eq(~fault_address[-1]),
            self.busy.eq(~fault & (~loader.empty | drain.active | ~completion.quiet | self.done)),
        ]
        return m

    def _datapath(self, m, platform, loader, drain, residual):
        """From the rows read to result words. Returns ``valid`` and the word."""
        config = self._config
        lanes, acc_width = config.epilogue_lanes, config.acc_width
        lane_array = data.ArrayLayout(unsigned(32), lanes)

        # Stage 1: the row read. Choose the group and its parameters.
        s1_valid, s1 = Signal(), Signal(DrainStep(config), reset_less=True)
        s1_residual = Signal(lane_array, reset_less=True)
        m.d.sync += s1_valid.eq(drain.step.valid)
        with m.If(drain.step.valid):
            m.d.sync += s1.eq(drain.step.payload)
        with m.If(drain.step.valid & residual.o.valid):
            m.d.sync += s1_residual.eq(residual.o.payload)
        s1_tile = choose_fields(m, "s1_tile", s1.setting, drain.settings, (
            *PATH_FIELDS, "has_bias", "scale_vector", "scale"))
        path = path_of(m, "s1_path", s1_tile)
        acc = choose(m, "acc_group", self.acc.data, s1.group, acc_width * lanes)
        column = s1.group[:ceil_log2(loader.row_lanes // lanes)]
        bias = choose(m, "bias_group", loader.bias, column, 32 * lanes)
        scale = choose(m, "scale_group", loader.scale, column, 32 * lanes)

        # Stage 2: the group and what is done with it.
        s2_raw, s2_bytes, s2_float = Signal(), Signal(), Signal()
        s2_acc = Signal(data.ArrayLayout(signed(acc_width), lanes), reset_less=True)
        s2_bias, s2_scale, s2_residual = (Signal(lane_array, name=name, reset_less=True)
                                          for name in ("s2_bias", "s2_scale", "s2_residual"))
        s2 = Signal(DrainStep(config), reset_less=True)
        m.d.sync += [s2_raw.eq(s1_valid & (path == Path.RAW)),
                     s2_bytes.eq(s1_valid & (path == Path.BYTES)),
                     s2_float.eq(s1_valid & (path == Path.FLOAT))]
        with m.If(s1_valid):
            m.d.sync += [
                s2.eq(s1), s2_acc.eq(acc), s2_bias.eq(Mux(s1_tile.has_bias, bias, 0)),
                s2_scale.eq(Mux(s1_tile.scale_vector, scale, s1_tile.scale.replicate(lanes))),
            ]
            with m.If(s1_tile.has_residual):
                m.d.sync += s2_residual.eq(s1_residual)
        tile = choose_fields(m, "s2_tile", s2.setting, drain.settings,
                             ("activation", "out_type", "out_zero_point"))
        relu = Signal()
        m.d.comb += relu.eq(tile.activation == Activation.RELU)

        # Raw sums and those for the requantiser.
        sums = Signal(data.ArrayLayout(signed(acc_width), lanes))
        low_sums = Signal(lane_array)
        for lane in range(lanes):
            total = Signal(acc_width, name=f"total_{lane}")
            low = Signal(32, name=f"low_total_{lane}")
            m.d.comb += [
                total.eq(s2_acc[lane] + s2_bias[lane].as_signed()),
                low.eq(s2_acc[lane].as_unsigned()[:32] + s2_bias[lane]),
                sums[lane].eq(Mux(relu & total[-1], 0, total)),
                low_sums[lane].eq(Mux(relu & low[31], 0, low)),
            ]
        raw_valid, raw_word = self._raw(m, s2_raw, tile, sums, low_sums)

        m.submodules.requantizer = requantizer = Requantizer(config)
        m.d.comb += [
            requantizer.i.valid.eq(s2_bytes),
            requantizer.i.p.acc.eq(low_sums), requantizer.i.p.scale.eq(s2_scale),
            requantizer.i.p.zero_point.eq(tile.out_zero_point[:9].as_signed()),
            requantizer.i.p.out_signed.eq(tile.out_type == ElementType.INT8),
        ]

        # The floating-point lanes.
        finish = FinishLanes(config)
        add_gated(m, platform, "finish", finish, awake=s1_valid | s2_float | finish.busy)
        m.d.comb += [
            *(finish.settings[n][name].eq(drain.settings[n][name])
              for n in range(2) for name, _ in FinishSettings()),
            finish.i.valid.eq(s2_float), finish.i.p.setting.eq(s2.setting),
            finish.i.p.acc.eq(s2_acc), finish.i.p.bias.eq(s2_bias),
            finish.i.p.scale.eq(s2_scale), finish.i.p.residual.eq(s2_residual),
            finish.i.p.tag.eq(s2),
        ]
        pipe_busy = s1_valid | s2_raw | s2_bytes | s2_float
        byte_valid, byte_word = self._results(m, drain, loader, requantizer, finish, s2, pipe_busy)
        word_valid, word = Signal(), Signal(config.word_width)
        m.d.comb += [word_valid.eq(byte_valid | raw_valid),
                     word.eq(Mux(raw_valid, raw_word, byte_word))]
        return word_valid, word

    def _raw(self, m, s2_raw, tile, sums, low_sums):
        """INT32 and INT64: words of the sums themselves. Returns ``valid`` and the word."""
        config, lanes = self._config, self._config.epilogue_lanes
        wide = config.has_int16
        m.submodules.raw = gather = Gather(config, (2, 3) if wide else (2,))
        s3_raw = Signal()
        s3_sums = Signal.like(gather.elements, reset_less=True)
        s3_shift = Signal(2, reset_less=True)
        m.d.sync += s3_raw.eq(s2_raw)
        with m.If(s2_raw):
            is_wide = tile.out_type == ElementType.INT64
            m.d.sync += s3_shift.eq(Mux(is_wide, 3, 2))
            for n in range(lanes):
                m.d.sync += s3_sums[n].eq(Mux(is_wide, sums[n], low_sums[n]))
        m.d.comb += [gather.valid.eq(s3_raw), gather.shift.eq(s3_shift),
                     gather.elements.eq(s3_sums)]
        return gather.o_valid, gather.word

    def _results(self, m, drain, loader, requantizer, finish, s2, pipe_busy):
        """Results through the table, if they have one, to words; the maximum between them."""
        config, lanes = self._config, self._config.epilogue_lanes
        m.submodules.maximum = maximum = RunningMaximum(config)
        m.submodules.table = table = ByteTable(config)
        m.submodules.gather = gather = Gather(config)

        # Which tile a group belongs to: the requantiser does not say.
        settings = Signal(Requantizer.LATENCY)
        m.d.sync += settings.eq(Cat(s2.setting, settings))
        bytes_from = choose_fields(m, "bytes_from", settings[-1], drain.settings,
                                   ("has_table",))
        step = Signal(DrainStep(config))
        m.d.comb += step.eq(finish.o.p.tag)
        floats_from = choose_fields(m, "floats_from", step.setting, drain.settings, (
            "has_max", "max_accumulate", "has_table", "out_type"))
        bytes_now, floats_now = requantizer.o.valid, finish.o.valid
        m.d.comb += [
            maximum.valid.eq(floats_now & floats_from.has_max & ~step.maximum),
            maximum.first.eq(step.first & ~floats_from.max_accumulate),
            maximum.count.eq(step.count), maximum.magnitude.eq(finish.o.p.magnitude),
        ]

        shift = element_shift(m, "shift", floats_from.out_type, most=2)
        looks_up, alone = Signal(), Signal()        # alone: the group in the table is none
        direct = Signal()
        m.d.comb += [
            looks_up.eq((bytes_now & bytes_from.has_table) | (floats_now & floats_from.has_table)),
            direct.eq((bytes_now | floats_now) & ~looks_up),
            table.w_en.eq(loader.table_en), table.w_half.eq(loader.table_half_written),
            table.w_row.eq(loader.table_row), table.w_data.eq(loader.table_data),
            table.valid.eq(looks_up),
            table.half.eq(Mux(Mux(bytes_now, settings[-1], step.setting),
                              drain.table_halves[1], drain.table_halves[0])),
            gather.valid.eq(table.o_valid | direct),
            gather.shift.eq(Mux(direct & floats_now, shift, 0)),
            gather.alone.eq(Mux(table.o_valid, alone, floats_now & step.maximum)),
            gather.word_alone.eq(maximum.largest),
            drain.pipe_busy.eq(pipe_busy | requantizer.busy | finish.busy | table.o_valid),
        ]
        m.d.sync += alone.eq(looks_up & floats_now & step.maximum)
        for n in range(lanes):
            byte = Signal(8, name=f"byte_{n}")
            m.d.comb += [
                byte.eq(Mux(bytes_now, requantizer.o.p[n], finish.o.p.elements[n][:8])),
                table.bytes[n].eq(byte),
                gather.elements[n].eq(Mux(table.o_valid, table.o_bytes[n], Mux(
                    bytes_now, requantizer.o.p[n], finish.o.p.elements[n]))),
            ]
        return gather.o_valid, gather.word

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
