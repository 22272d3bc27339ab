"""Division and square root of IEEE-754, digit by digit, in several lanes."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .bits import named
from .fma import RawProduct
from .ieee import HALF, SINGLE, count_zeros, unpack

__all__ = ["DivideInput", "DivideOutput", "DivideSqrt"]

_EXPONENT = RawProduct.EXPONENT_BITS


class DivideInput(data.StructLayout):
    """Operands. Fields: ``a``, ``b`` (per lane, 32 bits; a half in the low ones); ``half``
    (format), ``sqrt`` (of a), for all lanes."""

    def __init__(self, lanes):
        operand = data.ArrayLayout(unsigned(32), lanes)
        super().__init__({"a": operand, "b": operand, "half": unsigned(1), "sqrt": unsigned(1)})


class DivideOutput(data.StructLayout):
    """What a wide ``FusedMultiplyAdd`` makes the result of. Fields per lane: ``number``
    (``RawProduct``; if ``exact`` instead a number in its first 32 bits that is the result),
    ``exact``, ``invalid``, ``divide_by_zero``."""

    def __init__(self, lanes):
        super().__init__({
            "number": data.ArrayLayout(unsigned(96), lanes),
            **{name: unsigned(lanes) for name in ("exact", "invalid", "divide_by_zero")},
        })


class DivideSqrt(wiring.Component):
    """``a / b`` or the square root of a, exact but for a last bit that stands for the rest.

    One bit of the quotient or root per cycle, restoring. The result goes through a
    ``FusedMultiplyAdd`` as ``RawProduct``, which rounds it.

    Parameters
    ----------
    lanes : int
        Operations at a time.

    Members
    -------
    i : In(stream.Signature(DivideInput(lanes)))
        Operands.
    o : Out(stream.Signature(DivideOutput(lanes)))
        Results.

    Timing
    ------
    Latency: ``LATENCY`` cycles from a transfer on ``i`` to ``o.valid``.
    Throughput: one operation per lane in LATENCY + 1 cycles.
    Backpressure: full.
    Combinational paths: none.
    Reset: idle.
    """

    BITS = 27       #: of a quotient or root: precision, a bit for rounding, two to normalise
    LATENCY = BITS + 3

    def __init__(self, lanes):
        self._lanes = lanes
        super().__init__({"i": In(stream.Signature(DivideInput(lanes))),
                          "o": Out(stream.Signature(DivideOutput(lanes)))})

    def elaborate(self, platform):
        m = Module()
        half, sqrt, count = Signal(), Signal(), Signal(range(self.BITS))
        phases = dict.fromkeys(("idle", "normalise_b", "prepare", "step"))
        with m.FSM(name="divide") as fsm:
            with m.State("idle"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [half.eq(self.i.p.half), sqrt.eq(self.i.p.sqrt)]
                    m.next = "normalise_b"
            with m.State("normalise_b"):
                m.next = "prepare"
            with m.State("prepare"):        # normalise a, and start
                m.d.sync += count.eq(self.BITS - 1)
                m.next = "step"
            with m.State("step"):
                m.d.sync += count.eq(count - 1)
                with m.If(count == 0):
                    m.next = "done"
            with m.State("done"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "idle"
            for phase in phases:
                phases[phase] = fsm.ongoing(phase)
        for n in range(self._lanes):
            self._lane(m, n, phases, half, sqrt)
        return m

    def _lane(self, m, n, phase, half, sqrt):
        p = SINGLE.precision

        def name(text):
            return f"{text}_{n}"

        def register(text, width):
            return Signal(width, name=name(text), reset_less=True)

        a_bits, b_bits = register("a_bits", 32), register("b_bits", 32)
        with m.If(phase["idle"] & self.i.valid):
            m.d.sync += [a_bits.eq(self.i.p.a[n]), b_bits.eq(self.i.p.b[n])]
        a = unpack(m, name("a"), a_bits, half, _EXPONENT)
        b = unpack(m, name("b"), b_bits, half, _EXPONENT)
        # b is normalised in one cycle, a in the next.
        one = named(m, name("one"), p, Mux(phase["normalise_b"], b.significand, a.significand))
        zeros = count_zeros(m, name("zeros"), one)
        normal = named(m, name("normal"), p, one << zeros)
        exponent = named(m, name("normal_exponent"), signed(_EXPONENT),
                         Mux(phase["normalise_b"], b.exponent, a.exponent) - zeros)

        divisor, b_exponent = register("divisor", 2 * p), register("b_exponent", signed(_EXPONENT))
        rest, root = register("rest", self.BITS + 3), register("root", self.BITS)
        result_exponent = register("exponent", signed(_EXPONENT))
        with m.If(phase["normalise_b"]):
            m.d.sync += [divisor.eq(normal), b_exponent.eq(exponent)]
        odd = exponent[0]
        with m.If(phase["prepare"]):
            m.d.sync += [root.eq(0), rest.eq(Mux(sqrt, 0, normal)),
                         result_exponent.eq(Mux(sqrt, exponent >> 1, exponent - b_exponent))]
            with m.If(sqrt):    # the radicand: two bits before the point
                m.d.sync += divisor.eq(Cat(Const(0, p - 2), Mux(odd, normal << 1, normal)
                                           [:p + 1]) << 1)
        # One digit: a trial subtraction.
        taken = named(m, name("taken"), self.BITS + 3,
                      Mux(sqrt, Cat(divisor[-2:], rest), rest))
        trial = named(m, name("trial"), signed(self.BITS + 4),
                      taken - Mux(sqrt, Cat(Const(1, 2), root), divisor[:p]))
        digit = named(m, name("digit"), 1, ~trial[-1])
        left = named(m, name("left"), self.BITS + 3, Mux(digit, trial, taken))
        with m.If(phase["step"]):
            m.d.sync += [root.eq(Cat(digit, root)), rest.eq(Mux(sqrt, left, left << 1))]
            with m.If(sqrt):
                m.d.sync += divisor.eq(divisor << 2)

        # What needs no digits.
        sign = named(m, name("sign"), 1, Mux(sqrt, a.sign, a.sign ^ b.sign))
        nan = named(m, name("nan"), 1, a.nan | (~sqrt & b.nan))
        undefined = named(m, name("undefined"), 1, ~nan & Mux(
            sqrt, a.sign & ~a.zero, (a.zero & b.zero) | (a.infinity & b.infinity)))
        to_infinity = named(m, name("to_infinity"), 1, a.infinity | (~sqrt & b.zero))
        to_zero = named(m, name("to_zero"), 1, a.zero | (~sqrt & b.infinity))
        bad = named(m, name("bad"), 1, nan | undefined)

        def packed(fmt):
            return Cat(Mux(bad, fmt.nan, Mux(to_infinity, fmt.infinity, 0))[:fmt.width - 1],
                       sign & ~bad)

        raw = Signal(RawProduct(), name=name("raw"))
        significand = Cat(rest.any(), Const(0, 46 - self.BITS), root, Const(0, 1))
        m.d.comb += [raw.low.eq(significand[:24]), raw.high.eq(significand[24:]),
                     raw.sign.eq(sign), raw.exponent.eq(result_exponent)]
        exact = named(m, name("exact"), 1, bad | to_infinity | to_zero)
        m.d.comb += [
            self.o.p.number[n].eq(Mux(exact, Mux(half, packed(HALF), packed(SINGLE)),
                                      raw.as_value())),
            self.o.p.exact[n].eq(exact),
            self.o.p.invalid[n].eq(undefined | a.signaling | (~sqrt & b.signaling)),
            self.o.p.divide_by_zero[n].eq(~sqrt & b.zero & ~a.zero & ~a.nan & ~a.infinity),
        ]
