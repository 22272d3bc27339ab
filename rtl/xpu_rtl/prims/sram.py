"""Static memories: one port, or one read and one write port."""

from amaranth import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Sram1R1W", "Sram1RW"]


class Sram1RW(wiring.Component):
    """Memory of ``depth`` words with one port; each cycle reads or writes one word.

    A platform with ``get_sram_1rw(component)`` supplies the implementation; otherwise the body here
    is used. Contents are undefined until written.

    Parameters
    ----------
    depth : int
        Words, a power of two.
    width : int
        Bits per word, a multiple of 8.

    Members
    -------
    en, write : In(1)
        Access in this cycle; write if ``write``, else read.
    addr : In(range(depth))
    w_data, w_strobe : In(width), In(width // 8)
        Bytes to write.
    r_data : Out(width)
        Word read. Holds its value until the next read.

    Timing
    ------
    Latency: 1 cycle from ``en & ~write`` to ``r_data`` (``LATENCY``).
    Throughput: one access per cycle. Backpressure: none. Combinational paths: none.
    Reset: nothing is reset.
    """

    LATENCY = 1

    def __init__(self, *, depth, width):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 2, not {depth!r}")
        if width < 8 or width % 8:
            raise ValueError(f"width must be a multiple of 8, not {width!r}")
        self.depth, self.width = depth, width
        super().__init__({
            "en": In(1), "write": In(1), "addr": In(range(depth)),
            "w_data": In(width), "w_strobe": In(width // 8), "r_data": Out(width),
        })

    def elaborate(self, platform):
        if hasattr(platform, "get_sram_1rw"):
            return platform.get_sram_1rw(self)
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(self.width), depth=self.depth, init=[])
        write = memory.write_port(granularity=8)
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(self.addr), write.data.eq(self.w_data),
            write.en.eq(self.w_strobe & (self.en & self.write).replicate(self.width // 8)),
            read.addr.eq(self.addr), read.en.eq(self.en & ~self.write),
            self.r_data.eq(read.data),
        ]
        return m


class Sram1R1W(wiring.Component):
    """Memory of ``depth`` words with one read and one write port.

    Reading the word being written returns the old contents. A platform with
    ``get_sram_1r1w(component)`` supplies the implementation; otherwise the body here is used.
    Contents are undefined until written.

    Parameters
    ----------
    depth : int
        Words, a power of two.
    width : int
        Bits per word.
    granularity : int
        Bits per write enable; divides ``width``. Default: the whole word.

    Members
    -------
    r_en, r_addr, r_data : In(1), In(range(depth)), Out(width)
        Read port; ``r_data`` holds its value until the next read.
    w_en, w_addr, w_data : In(width // granularity), In(range(depth)), In(width)
        Write port.

    Timing
    ------
    Latency: 1 cycle from ``r_en`` to ``r_data`` (``LATENCY``).
    Throughput: one read and one write per cycle. Backpressure: none. Combinational paths: none.
    Reset: nothing is reset.
    """

    LATENCY = 1

    def __init__(self, *, depth, width, granularity=None):
        granularity = granularity or width
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 2, not {depth!r}")
        if width % granularity:
            raise ValueError(f"granularity must divide width={width}, not {granularity!r}")
        self.depth, self.width, self.granularity = depth, width, granularity
        super().__init__({
            "r_en": In(1), "r_addr": In(range(depth)), "r_data": Out(width),
            "w_en": In(width // granularity), "w_addr": In(range(depth)), "w_data": In(width),
        })

    def elaborate(self, platform):
        if hasattr(platform, "get_sram_1r1w"):
            return platform.get_sram_1r1w(self)
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(self.width), depth=self.depth, init=[])
        write = memory.write_port(granularity=self.granularity)
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(self.w_addr), write.data.eq(self.w_data), write.en.eq(self.w_en),
            read.addr.eq(self.r_addr), read.en.eq(self.r_en), self.r_data.eq(read.data),
        ]
        return m
