"""Floating-point dot products."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.pipeline import Valids
from ..float.bits import maximum
from ..float.lane import NORMALISE_STAGES, PACK_STAGES, Lane, normalised, pack
from ..params import XpuConfig

__all__ = ["WINDOW", "FloatDot"]

WINDOW = 56         #: bits in which products are aligned
_PRODUCT = 22       #: bits of a product of significands
_FRACTION = WINDOW - _PRODUCT
_EXPONENT = 9       #: bits of the sum of two exponent fields


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
        A word of activations enters.
    bfloat : In(1)
        Operands are BF16, else FP16.
    word, counts : In(16 * wide_lanes), In(wide_lanes)
        Activations, the first in the low bits, and which of them exist: the others are zero, and
        do not make a NaN of an infinite or NaN weight.
    swap : In(1)
        With ``valid``: take new weights, for this word and those after it.
    weights : In(16).array(wide_lanes * lanes)
        New weights: of term k and column n at k * lanes + n.
    sums : Out(32).array(lanes)
        FP32, of the word ``LATENCY`` cycles ago.
    busy : Out(1)
        A word is inside.

    Timing
    ------
    Latency: 12 cycles (``LATENCY``).
    Throughput: one word per cycle. Backpressure: none. Combinational paths: none.
    Reset: valid flags. Idle stages keep still.
    """

    LATENCY = 6 + NORMALISE_STAGES + PACK_STAGES

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "valid": In(1), "bfloat": In(1), "word": In(16 * config.wide_lanes),
            "counts": In(config.wide_lanes), "swap": In(1),
            "weights": In(16).array(config.wide_lanes * config.lanes),
            "sums": Out(32).array(config.lanes), "busy": Out(1),
        })

    def _unpack(self, m, name, bits, bfloat):
        """``(sign, exponent field of at least 1, significand of 11 bits, infinite, NaN, zero)``."""
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
        valids = Valids(m, self.valid, self.LATENCY)
        enables = valids.enables
        m.d.comb += self.busy.eq(valids.busy)

        # Stage 1: operands.
        words = Signal.like(self.word, name="s1_word", reset_less=True)
        counts = Signal.like(self.counts, name="s1_counts", reset_less=True)
        kept = [Signal(16, name=f"s1_weight_{k}_{n}", reset_less=True)
                for k in range(count) for n in range(config.lanes)]
        with m.If(self.valid):
            m.d.sync += [words.eq(self.word), counts.eq(self.counts)]
            with m.If(self.swap):
                m.d.sync += [register.eq(new) for register, new in zip(
                    kept, self.weights, strict=True)]
        bfloat = [self.bfloat]
        for stage in range(1, self.LATENCY):
            bfloat.append(Signal(name=f"s{stage}_bfloat", reset_less=True))
            with m.If(enables[stage - 1]):
                m.d.sync += bfloat[stage].eq(bfloat[stage - 1])
        if not {"float16", "bfloat16"} <= set(config.types):
            bfloat = [Const("bfloat16" in config.types, 1)] * self.LATENCY

        terms = [self._unpack(m, f"term_{k}", words[16 * k:16 * k + 16], bfloat[1])
                 for k in range(count)]
        for n in range(config.lanes):
            weights = [self._unpack(m, f"weight_{k}_{n}", kept[k * config.lanes + n], bfloat[1])
                       for k in range(count)]
            m.d.comb += self.sums[n].eq(self._column(m, n, terms, weights, counts, enables, bfloat))
        return m

    def _column(self, m, n, terms, weights, counts, enables, bfloat):
        """All stages of one column; returns its result."""
        count = len(terms)

        lane = Lane(m, enables, str(n))
        register, named = lane.register, lane.named

        # Stage 2: products.
        product, exponent, negative, plus, minus, wrong = [], [], [], [], [], []
        for k, (a, w) in enumerate(zip(terms, weights, strict=True)):
            product.append(register(2, f"product_{k}", _PRODUCT, a[2] * w[2]))
            exponent.append(register(2, f"exponent_{k}", _EXPONENT, Mux(
                a[5] | w[5], 0, a[1] + w[1])))
            negative.append(register(2, f"negative_{k}", 1, a[0] ^ w[0]))
            infinite = (a[3] & ~w[5]) | (w[3] & ~a[5])
            plus.append(infinite & ~(a[0] ^ w[0]))
            minus.append(infinite & (a[0] ^ w[0]))
            wrong.append(counts[k] & (a[4] | w[4] | (a[3] & w[5]) | (w[3] & a[5])))
        plus = register(2, "plus", 1, Cat(plus).any())
        minus = register(2, "minus", 1, Cat(minus).any())
        wrong = register(2, "wrong", 1, Cat(wrong).any())

        # Stage 3: the largest exponent; zero products have the smallest.
        largest = register(3, "largest", _EXPONENT, maximum(m, f"largest_{n}", exponent))
        product = [register(3, f"product_{k}", _PRODUCT, product[k]) for k in range(count)]
        exponent = [register(3, f"exponent_{k}", _EXPONENT, exponent[k]) for k in range(count)]
        negative = [register(3, f"negative_{k}", 1, negative[k]) for k in range(count)]
        nan = register(3, "nan", 1, wrong | (plus & minus))
        infinite = register(3, "infinite", 1, plus | minus)
        sign = register(3, "sign", 1, minus)

        # Stage 4: align. A shift of 56 leaves nothing.
        aligned = []
        for k in range(count):
            distance = named(f"distance_{k}", _EXPONENT, largest - exponent[k])
            shift = named(f"shift_{k}", 6, Mux(distance > WINDOW, WINDOW, distance))
            placed = named(f"placed_{k}", WINDOW, Cat(Const(0, _FRACTION), product[k]) >> shift)
            aligned.append(register(4, f"aligned_{k}", signed(WINDOW + 1),
                                    Mux(negative[k], -placed, placed)))
        largest = register(4, "largest", _EXPONENT, largest)
        nan, infinite, sign = (register(4, name, 1, value) for name, value in
                               (("nan", nan), ("infinite", infinite), ("sign", sign)))

        # Stage 5: sum. Stage 6: its magnitude.
        width = WINDOW + count.bit_length() - 1     # of the magnitude
        total = list(aligned)
        while len(total) > 1:
            total = [a + b for a, b in zip(total[::2], total[1::2], strict=True)]
        total = register(5, "total", signed(width + 1), total[0])
        largest = register(5, "largest", _EXPONENT, largest)
        nan, infinite, sign = (register(5, name, 1, value) for name, value in
                               (("nan", nan), ("infinite", infinite), ("sign", sign)))
        below = total[-1]
        magnitude = register(6, "magnitude", width, Mux(below, -total, total))
        largest = register(6, "largest", _EXPONENT, largest)
        nan, infinite, sign = (register(6, name, 1, value) for name, value in (
            ("nan", nan), ("infinite", infinite), ("sign", Mux(infinite, sign, below))))

        # Normalise. The value is magnitude * 2**(largest - bias - _FRACTION), bias being that of
        # both operands: so much is the exponent field of the top bit.
        top = largest - Mux(bfloat[6], 2 * 137, 2 * 25) + (width - 1 - _FRACTION + 127)
        field, significand = normalised(lane, 6, "normal", magnitude, top)
        state = {"sign": sign, "nan": nan, "infinite": infinite, "zero_sign": Const(0, 1)}
        for later in range(1, NORMALISE_STAGES + 1):
            state = lane.keep(6 + later, "normal", state)
        return pack(lane, 6 + NORMALISE_STAGES, "pack", field=field, significand=significand,
                    **state)
