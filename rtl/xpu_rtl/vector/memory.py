"""The loads and stores of the vector unit."""

from types import SimpleNamespace

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..float.bits import named
from ..params import XpuConfig
from ..scratchpad.types import ScratchpadPort
from ..simd.types import LocalPort, MemoryRequest
from .element_access import ElementAccess
from .elements import active_bits, element_bytes
from .operations import Engine
from .row_access import RowLoads, RowStores
from .types import TAG_BITS, RowWrite, VectorRequest, VectorShape

__all__ = ["VectorMemory"]


class VectorMemory(wiring.Component):
    """Execute vector loads and stores in order; two more may wait here.

    Consecutive elements in LM and SM go row by row, whatever their alignment. Everything else goes
    element by element through the scalar pipeline's ``LoadStore``, while that
    pipeline waits.

    Parameters
    ----------
    config : XpuConfig
        Sizes.

    Members
    -------
    i : In(stream.Signature(VectorRequest(config)))
        Instructions; of a ``slow`` one nothing else is in the unit.
    row, data, v0 : Out, In, In
        Registers, read combinationally.
    pending : In(32 * rows)
        Rows that arithmetic instructions have yet to write.
    loading : Out(32 * rows)
        Rows that have yet to be written here.
    reads, writes : Out(32), Out(32)
        Registers that the instructions here read, or write.
    write : Out(stream.Signature(RowWrite(config)))
        Rows written.
    local, sm : Out(LocalPort(config)), Out(ScratchpadPort(config))
        Memories, for rows.
    element, fault, loaded, value : Out(stream.Signature(MemoryRequest)), In(1), In(1), In(32)
        Single elements: the request that is taken has failed; what one loads.
    done : Out(1)
        The instruction has ended.
    failed, misaligned, index, address, trimmed : Out
        With ``done`` of a slow one: it failed at element ``index`` and ``address`` (because that is
        not aligned); a first-fault load sets ``vl`` to ``index``.
    busy, storing, tag : Out(1), Out(1), Out(5)
        An instruction is here; it is a store; its tag.

    Timing
    ------
    Latency: 4 cycles for the first row from LM, 11 from SM without others there.
    Throughput: a row per cycle with LM, a word of the bus with SM; an element in 5 cycles or more
    of the others. Backpressure: full. Combinational paths: to the memories' ports from registers.
    Reset: idle.
    """

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        shape = self._shape
        super().__init__({
            "i": In(stream.Signature(VectorRequest(config))), "row": Out(shape.row_bits),
            "data": In(shape.width), "v0": In(config.vlen), "pending": In(shape.total),
            "loading": Out(shape.total), "reads": Out(32), "writes": Out(32),
            "write": Out(stream.Signature(RowWrite(config))), "local": Out(LocalPort(config)),
            "sm": Out(ScratchpadPort(config)), "element": Out(stream.Signature(MemoryRequest)),
            "fault": In(1), "loaded": In(1), "value": In(32), "done": Out(1), "failed": Out(1),
            "misaligned": Out(1), "index": Out(shape.index_bits), "address": Out(32),
            "trimmed": Out(1), "busy": Out(1), "storing": Out(1), "tag": Out(TAG_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        config, shape = self._config, self._shape
        m.submodules.loads = loads = RowLoads(config)
        m.submodules.stores = stores = RowStores(config)
        m.submodules.elements = elements = ElementAccess(config)
        request = Signal(VectorRequest(config), reset_less=True)
        active, started = Signal(), Signal()
        is_store = request.op.engine == Engine.STORE
        free = named(m, "free", 1, ~active | self.done)
        waiting, next_request, begun = self._queue(m, free)
        unit = {loads: named(m, "is_load", 1, ~request.slow & ~is_store),
                stores: named(m, "is_store", 1, ~request.slow & is_store),
                elements: request.slow}
        masked = ~request.vm & self.pending[:shape.rows].any()
        begins = named(m, "begins", 1, active & ~started & ~masked
                       & ~(request.slow & self.pending.any()))
        m.d.comb += [
            self.busy.eq(active | waiting[0].valid), self.storing.eq(is_store),
            self.tag.eq(request.tag),
            self.reads.eq(Mux(active, request.reads, 0) | waiting[0].reads | waiting[1].reads),
            self.writes.eq(Mux(active, request.writes, 0) | waiting[0].writes | waiting[1].writes),
        ]
        with m.If(begun):
            m.d.sync += [request.eq(next_request), active.eq(1), started.eq(0)]
        with m.Elif(self.done):
            m.d.sync += active.eq(0)
        with m.Elif(begins):
            m.d.sync += started.eq(1)

        # Bytes of a row of consecutive elements.
        row = named(m, "strobed_row", len(loads.number), Mux(is_store, stores.number,
                                                             loads.number))
        enabled = Signal(shape.bytes)
        for n in range(3):
            with m.If(request.width == n):
                count = shape.bytes >> n
                m.d.comb += enabled.eq(self.v0.word_select(
                    row[:(shape.vlen // count - 1).bit_length()], count))
        base = named(m, "base", shape.vl_bits + 1,
                     (row << shape.byte_shift) >> request.width)
        active_elements = active_bits(m, "active_elements", base, request.vstart, request.vl,
                                      enabled | request.vm.replicate(shape.bytes), shape.bytes)
        strobe = element_bytes(m, "strobe", active_elements, request.width, shape.bytes)
        for part, chosen in unit.items():
            m.d.comb += [part.start.eq(begins & chosen), part.request.eq(request)]
        for part in (loads, stores):
            m.d.comb += part.strobe.eq(strobe)
        m.d.comb += [
            self.done.eq(loads.done | stores.done | elements.done),
            stores.data.eq(self.data), stores.wait.eq(self.pending.bit_select(stores.row, 1)),
            elements.data.eq(self.data), elements.v0.eq(self.v0),
            self.row.eq(Mux(request.slow, elements.row, stores.row)),
            elements.fault.eq(self.fault), elements.loaded.eq(self.loaded),
            elements.value.eq(self.value), self.failed.eq(elements.failed),
            self.misaligned.eq(elements.misaligned), self.index.eq(elements.index),
            self.address.eq(elements.address), self.trimmed.eq(elements.trimmed),
        ]
        connect(m, elements.element, flipped(self.element))

        # Memories.
        for mine, theirs in ((loads.local.req, stores.local.req), (loads.sm.req, stores.sm.req)):
            outer = self.local.req if mine is loads.local.req else self.sm.req
            m.d.comb += [
                outer.valid.eq(mine.valid | theirs.valid),
                outer.payload.eq(Mux(is_store, theirs.payload, mine.payload)),
                mine.ready.eq(outer.ready & ~is_store), theirs.ready.eq(outer.ready & is_store),
            ]
        m.d.comb += [
            loads.local.data.eq(self.local.data), loads.sm.rsp.payload.eq(self.sm.rsp.payload),
            # Others come for scalar accesses.
            loads.sm.rsp.valid.eq(self.sm.rsp.valid & active & unit[loads]),
            stores.sm.rsp.valid.eq(self.sm.rsp.valid & active & unit[stores]),
        ]

        # Registers.
        m.d.comb += [
            self.write.valid.eq(loads.write.valid | elements.write.valid),
            self.write.payload.eq(Mux(request.slow, elements.write.payload,
                                      loads.write.payload)),
            loads.write.ready.eq(self.write.ready), elements.write.ready.eq(self.write.ready),
        ]
        left = Signal(shape.total)      # rows to come
        all_rows = [Cat(bit.replicate(shape.rows) for bit in writes) for writes in (
            waiting[0].writes | waiting[1].writes, next_request.writes)]
        m.d.comb += self.loading.eq(Mux(active, left, 0) | all_rows[0])
        with m.If(begun):
            m.d.sync += left.eq(all_rows[1])
        with m.Elif(loads.write.valid & loads.write.ready):
            m.d.sync += left.eq(left & ~(1 << loads.write.p.row))
        return m

    def _queue(self, m, free):
        """Instructions that wait for the one before, so that those behind them need not.

        Returns
        -------
        ``waiting`` (the first, the second: ``valid``, ``reads`` and ``writes``, 0 of one that is
        not there), the instruction that is next, and whether it begins.
        """
        entries = [Signal(VectorRequest(self._config), name=f"waiting_{n}", reset_less=True)
                   for n in range(2)]
        valid = Signal(2, name="waiting_valid")
        direct, push, pop = (Signal(name=f"queue_{name}") for name in ("direct", "push", "pop"))
        entered = self.i.payload
        m.d.comb += [
            direct.eq(free & ~valid[0]), self.i.ready.eq(direct | ~valid[1]),
            push.eq(self.i.valid & self.i.ready & ~direct), pop.eq(free & valid[0]),
        ]
        following = Signal.like(entered, name="following")
        m.d.comb += following.eq(Mux(valid[1], entries[1], entered))
        with m.If(pop):
            m.d.sync += [entries[0].eq(following), valid.eq(valid[1] | push)]
        with m.Elif(push):
            m.d.sync += valid.eq(Cat(Const(1, 1), valid[0]))
            with m.If(valid[0]):
                m.d.sync += entries[1].eq(entered)
            with m.Else():
                m.d.sync += entries[0].eq(entered)
        next_request = Signal.like(entered, name="next_request")
        m.d.comb += next_request.eq(Mux(valid[0], entries[0], entered))
        waiting = [SimpleNamespace(valid=there, reads=Mux(there, entry.reads, 0),
                                   writes=Mux(there, entry.writes, 0))
                   for there, entry in zip(valid, entries, strict=True)]
        return waiting, next_request, pop | (direct & self.i.valid)
