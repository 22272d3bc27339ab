"""Vector loads and stores element by element: any address, stride, index, and segments."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named
from ..params import XpuConfig
from ..simd.types import MemoryRequest
from .operations import Engine
from .types import RowWrite, VectorRequest, VectorShape

__all__ = ["ElementAccess"]


class ElementAccess(wiring.Component):
    """One element after the other, of a segment one field after the other.

    An access that fails ends the instruction; the elements before it are done.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    start, request, done : In(1), In(VectorRequest(config)), Out(1)
        Begin; the instruction, which stays; its end.
    row, data, v0 : Out, In, In
        Registers, read combinationally.
    write : Out(stream.Signature(RowWrite(config)))
        Elements loaded.
    element, fault, loaded, value : Out(stream.Signature(MemoryRequest)), In(1), In(1), In(32)
        Accesses: the one that is taken has failed; what one loads.
    failed, misaligned, index, address, trimmed : Out
        With ``done``: see ``VectorMemory``.

    Timing
    ------
    Latency: 2 cycles from ``start`` to the first access. Throughput: a load from LM in 5 cycles,
    a store in 4, an inactive element in one. Backpressure: full. Combinational paths: ``fault`` to
    ``done``, ``failed``, ``trimmed``. Reset: idle.
    """

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        super().__init__({
            "start": In(1), "request": In(VectorRequest(config)), "done": Out(1),
            "row": Out(shape.row_bits), "data": In(shape.width), "v0": In(config.vlen),
            "write": Out(stream.Signature(RowWrite(config))),
            "element": Out(stream.Signature(MemoryRequest)), "fault": In(1), "loaded": In(1),
            "value": In(32), "failed": Out(1), "misaligned": Out(1),
            "index": Out(shape.index_bits), "address": Out(32), "trimmed": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        shape, request = self._shape, self.request
        is_store = request.op.engine == Engine.STORE
        indexed, strided = request.mop[0], request.mop == 2
        width = named(m, "data_width", 2, Mux(indexed, request.sew, request.width))
        size = named(m, "data_size", 4, request.lmul + Mux(indexed, 0,
                                                           request.width - request.sew))
        # Registers from one field to the next.
        registers = Mux(request.op.whole, 0, Mux(size[3], 0, size[:2]))
        index, field = Signal(shape.vl_bits), Signal(3)
        offset, indices = Signal(32), Signal(32)
        step = named(m, "step", 32, Mux(strided, request.stride,
                                        (request.fields + 1) << width))
        enabled = named(m, "enabled", 1, (request.vm | self.v0.bit_select(
            index[:shape.index_bits], 1)) & (index >= request.vstart))

        def place(register, element_width):
            position = index << element_width
            row = (register << shape.row_shift) + (position >> shape.byte_shift)
            return row, position[:shape.byte_shift]

        def pick(name, at, element_width):
            result = Signal(32, name=name)
            for n in range(3):
                with m.If(element_width == n):
                    m.d.comb += result.eq(self.data.word_select(
                        at[n:] if shape.byte_shift > n else 0, 8 << n))
            return result

        register = named(m, "register", 5, request.vd + (field << registers))
        data_row, data_at = place(register, width)
        index_row, index_at = place(request.vs2, request.width)
        reads_index = Signal()
        m.d.comb += self.row.eq(Mux(reads_index, index_row, data_row))
        chosen = pick("chosen_index", index_at, request.width)
        stored = Signal(32, reset_less=True)
        address = named(m, "address_now", 32, request.scalar + Mux(indexed, indices, offset)
                        + (field << width))
        aligned = named(m, "aligned", 1, ~(address & ((1 << width) - 1)[:2]).any())
        loaded = Signal(32, reset_less=True)
        element = self.element.p
        m.d.comb += [
            element.address.eq(address), element.write.eq(is_store), element.size.eq(width),
            element.data.eq(stored), element.vector.eq(1), self.index.eq(index),
            self.address.eq(address), self.write.p.row.eq(data_row),
            self.write.p.strobe.eq(((1 << (1 << width)) - 1)[:4] << data_at),
            self.write.p.tag.eq(request.tag),
        ]
        with m.Switch(width):
            for n in range(3):
                with m.Case(n):
                    m.d.comb += self.write.p.data.eq(
                        loaded[:8 << n].replicate(shape.width // (8 << n)))

        def fail(misaligned):
            # What a first-fault load meets behind its first element shortens it.
            m.d.comb += [self.done.eq(1), self.misaligned.eq(misaligned)]
            with m.If(request.first_fault & (index != 0)):
                m.d.comb += self.trimmed.eq(1)
            with m.Else():
                m.d.comb += self.failed.eq(1)
            m.next = "idle"

        with m.FSM(name="elements"):
            with m.State("idle"):
                with m.If(self.start):
                    m.d.sync += [index.eq(0), field.eq(0), offset.eq(0)]
                    m.next = "element"
            with m.State("element"):
                m.d.comb += reads_index.eq(1)
                m.d.sync += [indices.eq(chosen), field.eq(0)]
                with m.If(index >= request.vl):
                    m.d.comb += self.done.eq(1)
                    m.next = "idle"
                with m.Elif(enabled):
                    m.next = "read"
                with m.Else():
                    m.d.sync += [index.eq(index + 1), offset.eq(offset + step)]
            with m.State("read"):
                m.d.sync += stored.eq(pick("chosen_data", data_at, width))
                m.next = "access"
            with m.State("access"):
                m.d.comb += self.element.valid.eq(aligned)
                with m.If(~aligned):
                    fail(1)
                with m.Elif(self.element.ready & self.fault):
                    fail(0)
                with m.Elif(self.element.ready & is_store):
                    m.next = "next"
                with m.Elif(self.element.ready):
                    m.next = "load"
            with m.State("load"):
                m.d.sync += loaded.eq(self.value)
                with m.If(self.loaded):
                    m.next = "write"
            with m.State("write"):
                m.d.comb += self.write.valid.eq(1)
                with m.If(self.write.ready):
                    m.next = "next"
            with m.State("next"):
                with m.If(field == request.fields):
                    m.d.sync += [index.eq(index + 1), offset.eq(offset + step)]
                    m.next = "element"
                with m.Else():
                    m.d.sync += field.eq(field + 1)
                    m.next = "read"
        return m
