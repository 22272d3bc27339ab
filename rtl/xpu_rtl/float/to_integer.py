"""Floating-point numbers to integers, in several lanes."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.pipeline import Valids
from .bits import named, shift_right
from .ieee import Flags, Rounding, round_up, unpack

__all__ = ["FloatToInteger", "ToIntegerInput"]

_EXPONENT = 9


class ToIntegerInput(data.StructLayout):
    """Operands. Fields: ``a`` (per lane, 32 bits; a half in the low ones); for all lanes ``half``,
    ``is_signed``, ``size`` (result of 8, 16, 32 bits: 0, 1, 2), ``rounding``."""

    def __init__(self, lanes):
        super().__init__({"a": data.ArrayLayout(unsigned(32), lanes), "half": unsigned(1),
                          "is_signed": unsigned(1), "size": unsigned(2), "rounding": Rounding})


class FloatToInteger(wiring.Component):
    """``o = saturate(round(a))`` as RISC-V has it: a NaN becomes the largest integer; what is
    out of range is invalid, and only what is not may be inexact.

    Parameters
    ----------
    lanes : int
        Operations per cycle.

    Members
    -------
    i : In(stream.Signature(ToIntegerInput(lanes), always_ready=True))
        Operands.
    o : Out(stream.Signature(StructLayout(value: ArrayLayout(32), flags: ArrayLayout(Flags)),
    always_ready=True))
        Results, extended by their sign to 32 bits (those of 32 bits stand as they are).
    busy : Out(1)
        Operands are inside.

    Timing
    ------
    Latency: 2 cycles (``LATENCY``).
    Throughput: one operation per lane and cycle. Backpressure: none. Combinational paths: none.
    Reset: valid flags. Idle stages keep still.
    """

    LATENCY = 2

    def __init__(self, lanes):
        self._lanes = lanes
        super().__init__({
            "i": In(stream.Signature(ToIntegerInput(lanes), always_ready=True)),
            "o": Out(stream.Signature(data.StructLayout({
                "value": data.ArrayLayout(unsigned(32), lanes),
                "flags": data.ArrayLayout(Flags, lanes)}), always_ready=True)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        valids = Valids(m, self.i.valid, self.LATENCY)
        m.d.comb += [self.o.valid.eq(valids.last), self.busy.eq(valids.busy)]
        is_signed, size = Signal(reset_less=True), Signal(2, reset_less=True)
        rounding = Signal(Rounding, reset_less=True)
        with m.If(valids.enables[0]):
            m.d.sync += [is_signed.eq(self.i.p.is_signed), size.eq(self.i.p.size),
                         rounding.eq(self.i.p.rounding)]
        for n in range(self._lanes):
            self._lane(m, n, valids.enables, is_signed, size, rounding)
        return m

    def _lane(self, m, n, enables, is_signed, size, rounding):
        def name(text):
            return f"{text}_{n}"

        def register(text, width):
            return Signal(width, name=name(text), reset_less=True)

        # 1: the integer part, two bits behind the point, the last for all that are lost.
        a = unpack(m, name("a"), self.i.p.a[n], self.i.p.half, _EXPONENT)
        wanted = named(m, name("wanted"), signed(_EXPONENT + 1), 31 - a.exponent)
        amount = named(m, name("amount"), 6, Mux(wanted > 34, 34, Mux(wanted < 0, 0, wanted)))
        shifted = shift_right(m, name("shifted"),
                              named(m, name("placed"), 34, Cat(Const(0, 10), a.significand)),
                              amount)
        fixed, sign = register("fixed", 34), register("sign", 1)
        nan, huge = register("is_nan", 1), register("huge", 1)
        with m.If(enables[0]):
            m.d.sync += [fixed.eq(shifted), sign.eq(a.sign), nan.eq(a.nan),
                         huge.eq(a.infinity | a.nan | (wanted < 0))]
        # 2: round, compare with the range.
        up = named(m, name("up"), 1, round_up(rounding, sign, fixed[2], fixed[1], fixed[0]))
        magnitude = named(m, name("magnitude"), 33, fixed[2:] + up)
        over = Signal(name=name("over"))
        most = Signal(32, name=name("most"))
        with m.Switch(size):
            for code, bits in enumerate((8, 16, 32)):
                with m.Case(code):
                    high = Mux(is_signed, (1 << (bits - 1)) - 1, (1 << bits) - 1)
                    low = Mux(is_signed, 1 << (bits - 1), 0)
                    m.d.comb += [
                        over.eq(huge | (magnitude > Mux(sign, low, high))),
                        most.eq(Mux(sign & ~nan, -low, high)),
                    ]
        with m.If(enables[1]):
            flags = self.o.p.flags[n]
            m.d.sync += [
                self.o.p.value[n].eq(Mux(over, most, Mux(sign, -magnitude, magnitude))),
                flags.eq(0), flags.invalid.eq(over),
                flags.inexact.eq(~over & (fixed[0] | fixed[1])),
            ]
