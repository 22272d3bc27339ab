"""The end of the vector arithmetic pipeline: results of all engines become rows to write."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..float.bits import named
from ..float.ieee import Flags
from ..params import XpuConfig
from .elements import element_bytes, narrow
from .floating import VectorFloat
from .operations import Engine
from .types import TAG_BITS, Completion, LaneFlags, RowWrite, VectorShape

__all__ = ["Beat", "ResultStage"]


class Beat(data.StructLayout):
    """What is known of a row when it is issued.

    Fields: ``engine``; ``tag``, ``last`` (row of its instruction); ``width`` (log2 of the bytes of
    its elements), ``shift`` and ``place`` (the result is narrower by ``shift``, and is this part
    of its row), ``row`` (where it goes), ``row_first``, ``row_last`` (of those that go there),
    ``to_mask``, ``mask_place`` (one bit per element, from this one on), ``writes``, ``active`` (a
    bit per element)."""

    def __init__(self, config: XpuConfig):
        shape = VectorShape(config)
        super().__init__({
            "engine": 4, "tag": TAG_BITS, "last": 1, "width": 2, "shift": 2, "place": 2,
            "row": shape.row_bits, "row_first": 1, "row_last": 1, "to_mask": 1,
            "mask_place": ceil_log2(shape.width), "writes": 1, "active": shape.bytes,
        })


class ResultStage(wiring.Component):
    """Records travel towards the results beside the engines; where they meet the row is narrowed,
    its exceptions are collected, and it is written.

    Parameters
    ----------
    config : XpuConfig
        Width of a row.

    Members
    -------
    i : In(stream.Signature(Beat(config), always_ready=True))
        A row enters its engine.
    after_1, after_2 : In(1)
        Its result comes 1 or 2 cycles later, else as that of a multiply-add.
    free_1, free_2 : Out(1)
        It may.
    integer, saturated, compared, compare_flags, bits, mask, old, written : In
        Results after one cycle, of ALU, COMPARE (``bits`` of either) and MASK; ``old`` is the mask
        register written, ``written`` (of MASK) which of its bits.
    from_alu : Out(1)
        Whose ``bits`` are due.
    quotient, product, product_saturated, integers, integer_flags, fma, fma_flags : In
        Those of the others.
    halves_now : Out(1)
        The result of the multiply-add that is due now is of elements of 16 bits.
    write, clears : Out(stream.Signature(RowWrite(config), always_ready=True)), Out(1)
        A row, and that it is complete.
    done, completion : Out(1), Out(Completion)
        The last row of an instruction.
    busy : Out(1)
        Something is inside.

    Timing
    ------
    Latency: 1 cycle from a result to ``write``. Throughput: a row per cycle. Backpressure:
    ``free_1``, ``free_2``. Combinational paths: none. Reset: empty.
    """

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        row, flags = shape.width, LaneFlags(shape.lanes)
        super().__init__({
            "i": In(stream.Signature(Beat(config), always_ready=True)),
            "after_1": In(1), "after_2": In(1), "free_1": Out(1), "free_2": Out(1),
            "integer": In(row), "saturated": In(shape.bytes), "compared": In(row),
            "compare_flags": In(flags), "bits": In(shape.bytes), "from_alu": Out(1),
            "mask": In(row), "old": In(row), "written": In(row), "quotient": In(row),
            "product": In(row),
            "product_saturated": In(shape.bytes), "integers": In(row), "integer_flags": In(flags),
            "fma": In(row), "fma_flags": In(flags), "halves_now": Out(1),
            "write": Out(stream.Signature(RowWrite(config), always_ready=True)), "clears": Out(1),
            "done": Out(1), "completion": Out(Completion), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        latency = VectorFloat.FMA_LATENCY
        valid = Signal(latency)
        beats = [Signal(Beat(self._config), name=f"beat_{n}", reset_less=True)
                 for n in range(latency)]
        place = Mux(self.after_1, 0, Mux(self.after_2, 1, latency - 1))
        entered = named(m, "entered", latency, Mux(self.i.valid, 1 << place, 0))
        m.d.sync += valid.eq((valid >> 1) | entered)
        for n, beat in enumerate(beats):
            with m.If(entered[n]):
                m.d.sync += beat.eq(self.i.payload)
            if n + 1 < latency:
                with m.Elif(valid[n + 1]):
                    m.d.sync += beat.eq(beats[n + 1])
        m.d.comb += [self.free_1.eq(~valid[1]), self.free_2.eq(~valid[2])]

        beat, due = beats[0], valid[0]
        row, flags = Signal(shape.width), Signal(LaneFlags(shape.lanes))
        saturated = Signal(shape.bytes)
        m.d.comb += [row.eq(self.fma), flags.eq(self.fma_flags),
                     self.halves_now.eq(due & (beat.width == 1))]
        with m.Switch(beat.engine):
            with m.Case(Engine.ALU.value):
                m.d.comb += [row.eq(self.integer), flags.eq(0), saturated.eq(self.saturated),
                             self.from_alu.eq(1)]
            with m.Case(Engine.MASK.value):
                m.d.comb += [row.eq(self.mask), flags.eq(0)]
            with m.Case(Engine.COMPARE.value):
                m.d.comb += [row.eq(self.compared), flags.eq(self.compare_flags)]
            with m.Case(Engine.MULTIPLY.value):
                m.d.comb += [row.eq(self.product), flags.eq(0),
                             saturated.eq(self.product_saturated)]
            with m.Case(Engine.DIVIDE.value):
                m.d.comb += [row.eq(self.quotient), flags.eq(0)]
            with m.Case(Engine.TO_INTEGER.value):
                m.d.comb += [row.eq(self.integers), flags.eq(self.integer_flags)]

        # Elements: narrowed, and their bytes in the row.
        packed = narrow(m, "packed", row, beat.shift, beat.width)
        width = named(m, "result_width", 2, beat.width - beat.shift)
        bytes_ = element_bytes(m, "bytes", beat.active, width, shape.bytes)
        strobe = Signal(shape.bytes)
        m.d.comb += strobe.eq(bytes_)
        for n in (1, 2):
            part = shape.bytes >> n
            low = bytes_[:part]
            with m.If(beat.shift == n):
                m.d.comb += strobe.eq(low << (beat.place[:n] * part))

        # Bits: collected until the row of the mask register is complete.
        collected = Signal(shape.width, reset_less=True)
        touched = Signal(shape.width, reset_less=True)      # bits of them that are active
        mask = Signal(shape.width)
        before = Mux(beat.row_first, self.old, collected)
        chosen = named(m, "chosen", shape.width, beat.active << beat.mask_place)
        all_touched = named(m, "all_touched", shape.width,
                            chosen | Mux(beat.row_first, 0, touched))
        touched_bytes = Mux(beat.to_mask, all_touched, self.written)
        m.d.comb += mask.eq((before & ~chosen) | ((self.bits & beat.active) << beat.mask_place))
        with m.If(due & beat.to_mask):
            m.d.sync += [collected.eq(mask), touched.eq(all_touched)]

        raised = Signal(Flags)
        lanes = []
        for n in range(shape.lanes):
            half = beat.width == 1
            lanes += [Mux(Mux(half, beat.active[2 * n], beat.active[n]),
                          flags.wide[n].as_value(), 0),
                      Mux(half & beat.active[2 * n + 1], flags.narrow[n].as_value(), 0)]
        width_flags = len(raised.as_value())
        m.d.comb += raised.eq(Cat(Cat(lane[n] for lane in lanes).any()
                                  for n in range(width_flags)))
        over = named(m, "over", 1, (saturated & beat.active).any())
        # Exceptions of an instruction add up until its last row. Those of engines of equal latency
        # come in order, and others may come between.
        kind = Signal(range(3))
        with m.Switch(beat.engine):
            with m.Case(Engine.MULTIPLY.value, Engine.TO_INTEGER.value):
                m.d.comb += kind.eq(1)
            with m.Case(Engine.FMA.value, Engine.FROM_INTEGER.value, Engine.FLOAT_DIVIDE.value):
                m.d.comb += kind.eq(2)
        sums = [Signal(width_flags + 1, name=f"raised_{n}") for n in range(3)]
        total = Signal(width_flags + 1)
        m.d.sync += self.done.eq(due & beat.last)
        for n, some in enumerate(sums):
            with m.If(kind == n):
                m.d.comb += total.eq(some | Cat(raised, over))
                with m.If(due):
                    m.d.sync += some.eq(Mux(beat.last, 0, total))
        with m.If(due):
            m.d.sync += [self.completion.tag.eq(beat.tag),
                         self.completion.flags.eq(total[:-1]),
                         self.completion.saturated.eq(total[-1])]

        write = self.write
        on_masks = beat.to_mask | (beat.engine == Engine.MASK)
        m.d.sync += [write.valid.eq(due & beat.writes & (beat.row_last | ~beat.to_mask)),
                     self.clears.eq(due & beat.writes & beat.row_last)]
        with m.If(due):
            m.d.sync += [
                write.p.row.eq(beat.row), write.p.tag.eq(beat.tag),
                write.p.data.eq(Mux(beat.to_mask, mask, packed)),
                write.p.strobe.eq(Mux(on_masks, Cat(
                    touched_bytes.word_select(n, 8).any() for n in range(shape.bytes)), strobe)),
            ]
        m.d.comb += self.busy.eq(valid.any() | write.valid | self.done)
        return m
