"""Floating-point dot products."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import INFINITY, NAN, maximum, normalise, round_even, shift_right
from ..params import XpuConfig

__all__ = ["WINDOW", "FloatDot"]

WINDOW = 56         #: bits in which products are aligned
_PRODUCT = 22       #: bits of a product of significands
_FRACTION = WINDOW - _PRODUCT
_EXPONENT = 9       #: bits of the sum of two exponent fields
_KEPT = 26          #: of a normalised sum: a significand, a bit to round, and a sticky one


class FloatDot(wiring.Component):
    """FP16 or BF16 dot products of ``wide_lanes`` terms, rounded once to FP32.

    Products are exact. They are aligned to the largest exponent among those that are not zero, in a
    window of 56 bits at whose top a product of that exponent begins; what falls below the window is
    truncated from the magnitude. The sum of the window's contents is exact, and is rounded to the
    nearest FP32, ties to even, with gradual underflow and overflow to infinity. A zero result is
    +0. A NaN operand, infinity times zero, and infinities of both signs give the NaN 0x7FC00000;
    other infinite products give that infinity. Subnormal operands count.

    Parameters
    ----------
    config : XpuConfig
        ``lanes`` columns of ``wide_lanes`` terms; which of the two types.

    Members
    -------
    valid : In(1)
        Operands are there.
    bfloat : In(1)
        They are BF16, else FP16.
    terms : In(16).array(wide_lanes)
        Activations.
    weights : In(16).array(wide_lanes * lanes)
        Weight of term k and column n at k * lanes + n.
    sums : Out(32).array(lanes)
        FP32, of the operands ``LATENCY`` cycles ago.

    Timing
    ------
    Latency: 8 cycles (``LATENCY``).
    Throughput: one word per cycle. Backpressure: none. Combinational paths: none.
    Reset: valid flags. Idle stages keep still.
    """

    LATENCY = 8

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "valid": In(1), "bfloat": In(1), "terms": In(16).array(config.wide_lanes),
            "weights": In(16).array(config.wide_lanes * config.lanes),
            "sums": Out(32).array(config.lanes),
        })

    def _unpack(self, m, name, bits):
        """``(sign, exponent field of at least 1, significand of 11 bits, infinite, NaN, zero)``."""
        both = {"float16", "bfloat16"} <= set(self._config.types)
        bfloat = self.bfloat if both else Const("bfloat16" in self._config.types, 1)
        exponent, significand = Signal(8, name=f"{name}_exponent"), Signal(11, name=f"{name}_m")
        special = Signal(name=f"{name}_special")
        fraction = Signal(10, name=f"{name}_fraction")
        m.d.comb += [
            exponent.eq(Mux(bfloat, bits[7:15], bits[10:15])),
            fraction.eq(Mux(bfloat, bits[:7] << 3, bits[:10])),
            significand.eq(Cat(fraction, exponent.any())),
            special.eq(Mux(bfloat, exponent.all(), exponent[:5].all())),
        ]
        return (bits[15], exponent | ~exponent.any(), significand, special & ~fraction.any(),
                special & fraction.any(), ~significand.any())

    def elaborate(self, platform):
        m = Module()
        config = self._config
        count = config.wide_lanes
        valid = Signal(self.LATENCY)
        m.d.sync += valid.eq(Cat(self.valid, valid))
        enables = [self.valid, *valid[:-1]]
        bfloat = [self.bfloat]
        for stage in range(1, self.LATENCY):
            bfloat.append(Signal(name=f"s{stage}_bfloat", reset_less=True))
            with m.If(enables[stage - 1]):
                m.d.sync += bfloat[stage].eq(bfloat[stage - 1])
        terms = [self._unpack(m, f"term_{k}", self.terms[k]) for k in range(count)]
        for n in range(config.lanes):
            weights = [self._unpack(m, f"weight_{k}_{n}", self.weights[k * config.lanes + n])
                       for k in range(count)]
            m.d.comb += self.sums[n].eq(self._column(m, n, terms, weights, enables, bfloat))
        return m

    def _column(self, m, n, terms, weights, enables, bfloat):
        """All stages of one column; returns its result."""
        count = len(terms)

        def register(stage, name, shape, value):
            target = Signal(shape, name=f"s{stage}_{name}_{n}", reset_less=True)
            with m.If(enables[stage - 1]):
                m.d.sync += target.eq(value)
            return target

        def named(name, shape, value):
            target = Signal(shape, name=f"{name}_{n}")
            m.d.comb += target.eq(value)
            return target

        # Stage 1: products.
        product, exponent, negative, plus, minus, wrong = [], [], [], [], [], []
        for k, (a, w) in enumerate(zip(terms, weights, strict=True)):
            product.append(register(1, f"product_{k}", _PRODUCT, a[2] * w[2]))
            exponent.append(register(1, f"exponent_{k}", _EXPONENT, Mux(
                a[5] | w[5], 0, a[1] + w[1])))
            negative.append(register(1, f"negative_{k}", 1, a[0] ^ w[0]))
            infinite = (a[3] & ~w[5]) | (w[3] & ~a[5])
            plus.append(infinite & ~(a[0] ^ w[0]))
            minus.append(infinite & (a[0] ^ w[0]))
            wrong.append(a[4] | w[4] | (a[3] & w[5]) | (w[3] & a[5]))
        plus = register(1, "plus", 1, Cat(plus).any())
        minus = register(1, "minus", 1, Cat(minus).any())
        wrong = register(1, "wrong", 1, Cat(wrong).any())

        # Stage 2: the largest exponent; zero products have the smallest.
        largest = register(2, "largest", _EXPONENT, maximum(m, f"largest_{n}", exponent))
        product = [register(2, f"product_{k}", _PRODUCT, product[k]) for k in range(count)]
        exponent = [register(2, f"exponent_{k}", _EXPONENT, exponent[k]) for k in range(count)]
        negative = [register(2, f"negative_{k}", 1, negative[k]) for k in range(count)]
        nan = register(2, "nan", 1, wrong | (plus & minus))
        infinite = register(2, "infinite", 1, plus | minus)
        sign = register(2, "sign", 1, minus)

        # Stage 3: align. A shift of 56 leaves nothing.
        aligned = []
        for k in range(count):
            distance = named(f"distance_{k}", _EXPONENT, largest - exponent[k])
            shift = named(f"shift_{k}", 6, Mux(distance > WINDOW, WINDOW, distance))
            placed = named(f"placed_{k}", WINDOW, Cat(Const(0, _FRACTION), product[k]) >> shift)
            aligned.append(register(3, f"aligned_{k}", signed(WINDOW + 1),
                                    Mux(negative[k], -placed, placed)))
        largest = register(3, "largest", _EXPONENT, largest)
        nan, infinite, sign = (register(3, name, 1, value) for name, value in
                               (("nan", nan), ("infinite", infinite), ("sign", sign)))

        # Stage 4: sum. Stage 5: its magnitude.
        width = WINDOW + count.bit_length() - 1     # of the magnitude
        total = list(aligned)
        while len(total) > 1:
            total = [a + b for a, b in zip(total[::2], total[1::2], strict=True)]
        total = register(4, "total", signed(width + 1), total[0])
        largest = register(4, "largest", _EXPONENT, largest)
        nan, infinite, sign = (register(4, name, 1, value) for name, value in
                               (("nan", nan), ("infinite", infinite), ("sign", sign)))
        special = nan | infinite
        below = total[-1]
        magnitude = register(5, "magnitude", width, Mux(below, -total, total))
        largest = register(5, "largest", _EXPONENT, largest)
        nan = register(5, "nan", 1, nan)
        special = register(5, "special", 1, special)
        sign = register(5, "sign", 1, Mux(infinite, sign, below))

        # Stage 6: normalise. The value is magnitude * 2**(largest - bias - _FRACTION), bias being
        # that of both operands; so this is the exponent field of its leading bit.
        zeros, shifted = normalise(m, f"normal_{n}", magnitude)
        bias = Mux(bfloat[5], 2 * 137, 2 * 25)
        nothing = named("nothing", 1, ~shifted[-1])
        field = register(6, "field", signed(12),
                         largest - bias + (width - 1 - _FRACTION + 127) - zeros)
        shifted = register(6, "shifted", _KEPT, Cat(shifted[:width - _KEPT + 1].any(),
                                                    shifted[width - _KEPT + 1:]))
        nothing = register(6, "nothing", 1, nothing)
        nan, special, sign = (register(6, name, 1, value) for name, value in
                              (("nan", nan), ("special", special), ("sign", sign)))

        # Stage 7: subnormal results stand lower. Below half the smallest nothing is left.
        tiny = named("tiny", 1, field <= 0)
        right = named("right", 5, Mux(field < -25, 26, 1 - field))
        lowered = shift_right(m, f"lowered_{n}", shifted, named("lower", 5, Mux(tiny, right, 0)))
        lowered = register(7, "lowered", _KEPT, lowered)
        field = register(7, "field", unsigned(10), Mux(tiny | nothing, 0, field - 1))
        nan, special, sign = (register(7, name, 1, value) for name, value in
                              (("nan", nan), ("special", special), ("sign", sign)))

        # Stage 8: round. The implicit bit adds 1 to the field, which is why it is one less.
        rounded = round_even(m, f"rounded_{n}", lowered, _KEPT - 24)
        packed = named("packed", 34, Cat(Const(0, 23), field) + rounded)
        bits = named("bits", 31, Mux(special | (packed >= INFINITY), INFINITY, packed))
        return register(8, "sum", 32, Mux(nan, NAN, Cat(bits, sign & bits.any())))
