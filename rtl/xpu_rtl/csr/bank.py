"""Hardware for registers of a block."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .spec import Access, RegisterBlock

__all__ = ["CsrBank", "CsrBus"]


class CsrBus(wiring.Signature):
    """Word-wide register bus shared by several banks, seen from the initiator.

    Members
    -------
    addr : Out(addr_width)
        Byte address; the two low bits are ignored.
    w_en, w_data : Out(1), Out(32)
        Write, effective at the end of the cycle.
    r_en : Out(1)
        Read request.
    r_data : In(32)
        Valid in the cycle after ``r_en`` and until the next. Zero if the bank does not hold the
        address, so that the initiator ORs the banks.
    """

    def __init__(self, addr_width):
        self._addr_width = addr_width
        super().__init__({"addr": Out(addr_width), "w_en": Out(1), "w_data": Out(32),
                          "r_en": Out(1), "r_data": In(32)})

    def __eq__(self, other):
        return type(other) is type(self) and other._addr_width == self._addr_width

    def __repr__(self):
        return f"CsrBus({self._addr_width})"


class CsrBank(wiring.Component):
    """Some registers of a block.

    Parameters
    ----------
    block : RegisterBlock
        The register map.
    names : sequence of str
        Registers to implement.
    index : int or None
        The element to implement of registers that are arrays. If None, all elements are
        implemented, and the members of such a register are arrays.

    Members
    -------
    bus : In(CsrBus(block.addr_width))
        Register bus.
    <reg>_<field> : Out(width) for RW, PULSE and W1C fields; In(width) for RO fields
        Value of the field.
    <reg>_<field>_set : In(width), W1C fields only
        Sets bits of the field.

    Timing
    ------
    Latency: 1 cycle from a write to its member, and from ``r_en`` to ``r_data`` (``LATENCY``).
    Throughput: one access per cycle.
    Backpressure: none.
    Combinational paths: none.
    Reset: fields take their ``init``; ``r_data`` is undefined until the first read.
    """

    LATENCY = 1

    def __init__(self, block: RegisterBlock, names, *, index=None):
        self._block = block
        by_name = {reg.name: reg for reg in block.registers}
        self._registers = tuple(by_name[name] for name in names)
        self._index = index
        members = {"bus": In(CsrBus(block.addr_width))}
        for reg in self._registers:
            several = index is None and reg.count > 1
            if index is not None:
                reg.address(index)  # refuses an element that does not exist
            for field in reg.fields:
                name = f"{reg.name}_{field.name}"
                ports = {name: In(field.width) if field.access is Access.RO
                         else Out(field.width, init=field.init)}
                if field.access is Access.W1C:
                    ports[f"{name}_set"] = In(field.width)
                for port, member in ports.items():
                    members[port] = member.array(reg.count) if several else member
        super().__init__(members)

    def _elements(self):
        """Yield (register, address, function from a member's name to its signal)."""
        for reg in self._registers:
            if reg.count == 1 or self._index is not None:
                index = self._index if reg.count > 1 else 0
                yield reg, reg.address(index), lambda name: getattr(self, name)
            else:
                for n in range(reg.count):
                    yield reg, reg.address(n), lambda name, n=n: getattr(self, name)[n]

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        word = Signal(len(bus.addr) - 2)
        r_data = Signal(32, reset_less=True)
        m.d.comb += [word.eq(bus.addr[2:]), bus.r_data.eq(r_data)]

        # The multiplexer lies under the request: in simulation it costs nothing between reads.
        with m.If(bus.r_en):
            m.d.sync += r_data.eq(0)
            with m.Switch(word):
                for reg, address, member in self._elements():
                    with m.Case(address >> 2):
                        for field in reg.fields:
                            if field.access is not Access.PULSE:
                                m.d.sync += r_data[field.lsb:field.lsb + field.width].eq(
                                    member(f"{reg.name}_{field.name}"))

        for reg, address, member in self._elements():
            for field in reg.fields:
                if field.access is Access.RO:
                    continue
                port = member(f"{reg.name}_{field.name}")
                w_bits = bus.w_data[field.lsb:field.lsb + field.width]
                if field.access is Access.PULSE:
                    m.d.sync += port.eq(0)
                elif field.access is Access.W1C:
                    m.d.sync += port.eq(port | member(f"{reg.name}_{field.name}_set"))
                with m.If(bus.w_en & (word == address >> 2)):
                    if field.access is Access.W1C:
                        m.d.sync += port.eq((port & ~w_bits)
                                            | member(f"{reg.name}_{field.name}_set"))
                    else:
                        m.d.sync += port.eq(w_bits)
        return m
