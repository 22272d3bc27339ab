"""Memory with several combinational reads."""

from amaranth import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterFile"]


class RegisterFile(wiring.Component):
    """Memory of ``depth`` words with one write port and several that read at once.

    A platform with ``get_register_file(component)`` supplies the implementation; otherwise the body
    here is used. Contents are undefined until written.

    Parameters
    ----------
    depth : int
        Words, a power of two.
    width : int
        Bits per word, a multiple of 8.
    reads : int
        Ports that read.

    Members
    -------
    w_strobe, w_addr, w_data : In(width // 8), In(range(depth)), In(width)
        Bytes to write.
    read : In(addr, data).array(reads)
        ``addr`` is an input, ``data`` an output.

    Timing
    ------
    Latency: what is written is read in the next cycle. Throughput: an access per port and cycle.
    Backpressure: none. Combinational paths: ``addr`` to ``data``. Reset: nothing is reset.
    """

    def __init__(self, *, depth, width, reads):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 2, not {depth!r}")
        if width < 8 or width % 8:
            raise ValueError(f"width must be a multiple of 8, not {width!r}")
        self.depth, self.width, self.reads = depth, width, reads
        super().__init__({
            "w_strobe": In(width // 8), "w_addr": In(range(depth)), "w_data": In(width),
            "read": Out(wiring.Signature({"addr": In(range(depth)),
                                          "data": Out(width)})).array(reads),
        })

    def elaborate(self, platform):
        if hasattr(platform, "get_register_file"):
            return platform.get_register_file(self)
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(self.width), depth=self.depth, init=[])
        write = memory.write_port(granularity=8)
        m.d.comb += [write.addr.eq(self.w_addr), write.data.eq(self.w_data),
                     write.en.eq(self.w_strobe)]
        for port in self.read:
            read = memory.read_port(domain="comb")
            m.d.comb += [read.addr.eq(port.addr), port.data.eq(read.data)]
        return m
