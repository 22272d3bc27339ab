"""AXI4 as five typed streams, and AXI4-Lite likewise. Flat names exist only in the chip wrapper."""

from amaranth import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AXI_ADDR_WIDTH", "AXI_ID_WIDTH", "AxiAddress", "AxiLite", "AxiReadBeat", "AxiReadPort",
           "AxiWriteBeat", "AxiWritePort", "AxiWriteResponse", "Resp"]

AXI_ID_WIDTH = 4
AXI_ADDR_WIDTH = 64


class Resp:
    """AXI response codes."""

    OKAY, EXOKAY, SLVERR, DECERR = range(4)


class AxiAddress(data.StructLayout):
    """AR or AW of an INCR burst of full-width beats. Fields: ``addr`` (bytes), ``len`` (beats less
    one), ``id``. Size, burst type and the rest are constants of the wrapper."""

    def __init__(self):
        super().__init__({"addr": unsigned(AXI_ADDR_WIDTH), "len": unsigned(8),
                          "id": unsigned(AXI_ID_WIDTH)})


class AxiReadBeat(data.StructLayout):
    """R. Fields: ``data``, ``resp``, ``last``, ``id``."""

    def __init__(self, width):
        super().__init__({"data": unsigned(width), "resp": unsigned(2), "last": unsigned(1),
                          "id": unsigned(AXI_ID_WIDTH)})


class AxiWriteBeat(data.StructLayout):
    """W. Fields: ``data``, ``strb``, ``last``."""

    def __init__(self, width):
        super().__init__({"data": unsigned(width), "strb": unsigned(width // 8),
                          "last": unsigned(1)})


class AxiWriteResponse(data.StructLayout):
    """B. Fields: ``resp``, ``id``."""

    def __init__(self):
        super().__init__({"resp": unsigned(2), "id": unsigned(AXI_ID_WIDTH)})


class AxiReadPort(wiring.Signature):
    """Read channels of a manager of ``width`` data bits. Members: ``ar`` Out, ``r`` In."""

    def __init__(self, width):
        self._width = width
        super().__init__({"ar": Out(stream.Signature(AxiAddress())),
                          "r": In(stream.Signature(AxiReadBeat(width)))})

    def __eq__(self, other):
        return type(other) is type(self) and other._width == self._width

    def __repr__(self):
        return f"{type(self).__name__}({self._width})"


class AxiWritePort(wiring.Signature):
    """Write channels of a manager of ``width`` data bits. Members: ``aw``, ``w`` Out, ``b`` In."""

    def __init__(self, width):
        self._width = width
        super().__init__({"aw": Out(stream.Signature(AxiAddress())),
                          "w": Out(stream.Signature(AxiWriteBeat(width))),
                          "b": In(stream.Signature(AxiWriteResponse()))})

    def __eq__(self, other):
        return type(other) is type(self) and other._width == self._width

    def __repr__(self):
        return f"{type(self).__name__}({self._width})"


class AxiLite(wiring.Signature):
    """AXI4-Lite with 32 data bits, seen from the manager; standard flat names."""

    def __init__(self, addr_width):
        self._addr_width = addr_width
        super().__init__({
            "awaddr": Out(addr_width), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(addr_width), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._addr_width == self._addr_width

    def __repr__(self):
        return f"AxiLite({self._addr_width})"
