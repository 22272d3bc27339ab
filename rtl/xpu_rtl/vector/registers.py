"""The vector registers of a core."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from ..prims.register_file import RegisterFile
from .types import RowWrite, VectorShape

__all__ = ["VectorRegisters"]


class VectorRegisters(wiring.Component):
    """32 registers in rows, with four reads and two writes of a row per cycle.

    Rows lie in two banks by the lowest bit of their number; of two writes to one bank the second
    waits.

    Parameters
    ----------
    config : XpuConfig
        ``vlen``, ``simd_width``.

    Members
    -------
    read : In(StructLayout(row, data)).array(4)
        Rows to read, combinationally. ``row`` is an input, ``data`` an output.
    first : In(stream.Signature(RowWrite(config), always_ready=True))
        Writes that do not wait.
    second : In(stream.Signature(RowWrite(config)))
        Writes that may.
    v0 : Out(vlen)
        Register 0.

    Timing
    ------
    Latency: a row written is read in the next cycle.
    Throughput: as above. Backpressure: on ``second``.
    Combinational paths: ``row`` to ``data``; ``first`` and ``second.payload`` to ``second.ready``.
    Reset: none; registers are undefined until written.
    """

    READS = 4

    def __init__(self, config: XpuConfig):
        self._config, self._shape = config, VectorShape(config)
        super().__init__({
            "read": Out(wiring.Signature({"row": In(self._shape.row_bits),
                                          "data": Out(self._shape.width)})).array(self.READS),
            "first": In(stream.Signature(RowWrite(config), always_ready=True)),
            "second": In(stream.Signature(RowWrite(config))),
            "v0": Out(config.vlen),
        })

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        conflict = self.first.valid & (self.first.p.row[0] == self.second.p.row[0])
        m.d.comb += self.second.ready.eq(~conflict)
        banks = []
        for bank in range(2):
            memory = RegisterFile(depth=shape.total // 2, width=shape.width, reads=self.READS)
            m.submodules[f"bank_{bank}"] = memory
            first = Signal(name=f"first_{bank}")
            chosen = Signal(RowWrite(self._config), name=f"write_{bank}")
            second = self.second.valid & (self.second.p.row[0] == bank)
            m.d.comb += [
                first.eq(self.first.valid & (self.first.p.row[0] == bank)),
                chosen.eq(Mux(first, self.first.payload, self.second.payload)),
                memory.w_addr.eq(chosen.row[1:]), memory.w_data.eq(chosen.data),
                memory.w_strobe.eq(Mux(first | second, chosen.strobe, 0)),
            ]
            banks.append(memory)
            # The mask register, row by row.
            for row in range(shape.rows):
                if row % 2 == bank:
                    part = self.v0.word_select(row, shape.width)
                    with m.If(chosen.row == row):
                        for byte in range(shape.bytes):
                            with m.If(memory.w_strobe[byte]):
                                m.d.sync += part.word_select(byte, 8).eq(
                                    chosen.data.word_select(byte, 8))
        for n, port in enumerate(self.read):
            even, odd = (bank.read[n] for bank in banks)
            m.d.comb += [even.addr.eq(port.row[1:]), odd.addr.eq(port.row[1:]),
                         port.data.eq(Mux(port.row[0], odd.data, even.data))]
        return m
