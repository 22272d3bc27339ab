"""Payloads and interfaces between the parts of a core, and between a core and its cluster."""

from amaranth import unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig

__all__ = ["CoreEvents", "CoreState", "FetchedInstruction", "GmPort", "GmRequest",
           "InstructionPort", "LateResult", "LocalPort", "LocalRequest", "MemoryRequest", "Retired"]


class CoreState(enum.Enum, shape=2):
    """What a core does."""

    IDLE = 0        #: has run no kernel since its reset
    RUNNING = 1
    FINISHED = 2    #: its kernel ended by itself
    TRAPPED = 3     #: its kernel was ended by a trap


class FetchedInstruction(data.Struct):
    """Fields: ``pc``, ``word``; ``fault`` (it could not be read)."""

    pc: 32
    word: 32
    fault: 1


class MemoryRequest(data.Struct):
    """A load or store of one number, aligned. Fields: ``address``, ``write``, ``size``
    (log2 of the bytes), ``extend`` (a load's sign), ``data``; of a load: ``rd``, ``floating`` (a
    floating-point register, a half boxed by ones), ``vector`` (for the vector unit)."""

    address: 32
    write: 1
    size: 2
    extend: 1
    data: 32
    rd: 5
    floating: 1
    vector: 1


class LateResult(data.Struct):
    """A result that comes after its instruction has left the pipeline. Fields: ``rd``,
    ``floating``, ``value``, ``vector`` (for the vector unit)."""

    rd: 5
    floating: 1
    value: 32
    vector: 1


class LocalRequest(data.StructLayout):
    """An access to a row of LM. Fields: ``address`` (row), ``write``, ``data``, ``strobe``."""

    def __init__(self, config: XpuConfig):
        super().__init__({
            "address": unsigned((config.lm_bytes * 8 // config.simd_width).bit_length() - 1),
            "write": unsigned(1), "data": unsigned(config.simd_width),
            "strobe": unsigned(config.simd_width // 8)})


class LocalPort(wiring.Signature):
    """The vector unit's way to LM.

    Members
    -------
    req : Out(stream.Signature(LocalRequest(config)))
        Accesses.
    data : In(simd_width)
        In the cycle after one that reads: the row.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({"req": Out(stream.Signature(LocalRequest(config))),
                          "data": In(config.simd_width)})

    def __eq__(self, other):
        return type(other) is type(self) and other._config == self._config

    def __repr__(self):
        return f"LocalPort({self._config.name!r})"


class Retired(data.Struct):
    """An instruction that leaves the pipeline, for logs and profiles.

    Fields: ``pc``, ``word``; ``to_x``, ``to_f`` (writes that register), ``late`` (its value follows
    as a late result), ``value``; ``load``, ``store``, ``address``; ``csr`` (writes one);
    ``data`` (stored, or the new value of the CSR); ``vector`` (``data``: tag, and ``vl`` from bit 8
    on; ``address``: tag, and ``vstart`` of a trap), ``configure`` (``value`` is ``vl``, ``data`` is
    ``vtype``); ``trap``: it does not retire but traps, ``value`` is the cause and ``data`` is
    ``mtval``.
    """

    pc: 32
    word: 32
    to_x: 1
    to_f: 1
    late: 1
    value: 32
    load: 1
    store: 1
    address: 32
    csr: 1
    data: 32
    trap: 1
    vector: 1
    configure: 1


class CoreEvents(data.Struct):
    """What the scalar pipeline does in a cycle, for logs.

    Fields: an instruction in ``retired``, if ``retire``; late results in ``late_x`` and ``late_f``,
    if ``late_x_valid`` and ``late_f_valid``; exceptions in ``late_flags``, if ``late_flags_valid``.
    """

    retire: 1
    retired: Retired
    late_x_valid: 1
    late_x: LateResult
    late_f_valid: 1
    late_f: LateResult
    late_flags_valid: 1
    late_flags: 5


class InstructionPort(wiring.Signature):
    """A core's way to the instruction cache, seen from the core.

    Members
    -------
    req : Out(stream.Signature(unsigned(32)))
        Address of a bus word to read, a multiple of its size.
    rsp : In(stream.Signature(StructLayout(data, fault), always_ready=True))
        One per request, in order.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "req": Out(stream.Signature(unsigned(32))),
            "rsp": In(stream.Signature(data.StructLayout({
                "data": unsigned(config.bus_width), "fault": unsigned(1)}), always_ready=True)),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._config == self._config

    def __repr__(self):
        return f"InstructionPort({self._config.name!r})"


class GmRequest(data.StructLayout):
    """A core's access to a bus word of GM. Fields: ``address`` (as the core sees it, a multiple of
    the word), ``write``, ``strobe`` and ``data`` (writes only)."""

    def __init__(self, config: XpuConfig):
        super().__init__({"address": unsigned(32), "write": unsigned(1),
                          "strobe": unsigned(config.bus_bytes),
                          "data": unsigned(config.bus_width)})


class GmPort(wiring.Signature):
    """A core's way to GM for plain loads and stores, seen from the core.

    Members
    -------
    req : Out(stream.Signature(GmRequest(config)))
        One access at a time: the next only after the response.
    rsp : In(stream.Signature(StructLayout(data, fault), always_ready=True))
        The word read, or that the write is done; ``fault``: refused, or answered with an error.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "req": Out(stream.Signature(GmRequest(config))),
            "rsp": In(stream.Signature(data.StructLayout({
                "data": unsigned(config.bus_width), "fault": unsigned(1)}), always_ready=True)),
        })

    def __eq__(self, other):
        return type(other) is type(self) and other._config == self._config

    def __repr__(self):
        return f"GmPort({self._config.name!r})"
