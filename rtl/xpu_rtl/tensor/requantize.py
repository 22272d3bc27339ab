"""Requantisation of sums to 8 bits."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.pipeline import Valids
from ..params import XpuConfig

__all__ = ["RequantizeInput", "Requantizer"]

#: Fraction bits of the product after alignment: float32 of a value below 1 has 24, and one more
#: decides its rounding.
_FRACTION = 25
#: Integer bits. Whatever is 512 or more saturates, whatever the zero point.
_INTEGER = 9
#: The product is placed so that a shift by zero puts every non-zero product at 512 or beyond.
_HEADROOM = 11


class RequantizeInput(data.StructLayout):
    """A group of sums and how to finish them.

    Fields: ``acc`` (sums, after bias and ReLU), ``scale`` (bit patterns of positive finite float32
    values), ``zero_point``, ``out_signed`` (INT8, else UINT8).
    """

    def __init__(self, config: XpuConfig):
        lanes = config.epilogue_lanes
        super().__init__({
            "acc": data.ArrayLayout(signed(32), lanes),
            "scale": data.ArrayLayout(unsigned(32), lanes),
            "zero_point": signed(9),
            "out_signed": unsigned(1),
        })


class Requantizer(wiring.Component):
    """Requantise a group of sums per cycle.

    For each lane ``saturate(round_half_even(float32(acc) * scale) + zero_point)``, bit for bit as
    binary32 arithmetic with rounding to nearest even gives it: ``acc`` is rounded to 24 significant
    bits, the product is rounded to 24 significant bits, then to an integer. With a subnormal scale
    the product is below 2**-95 and rounds to zero; a product beyond float32 saturates. The sign bit
    of a scale is ignored; a scale that is infinite or not a number counts as a huge one.

    Rounding the product twice differs from rounding it once only next to n + 1/2, where float32
    rounds everything within half a unit in the last place onto n + 1/2 itself. So the product is
    aligned to fixed point, and its distance from n + 1/2 is compared with that half unit, which
    follows from the leading one of n.

    Parameters
    ----------
    config : XpuConfig
        ``epilogue_lanes`` lanes.

    Members
    -------
    i : In(stream.Signature(RequantizeInput(config), always_ready=True))
        Groups to requantise.
    o : Out(stream.Signature(ArrayLayout(unsigned(8), epilogue_lanes), always_ready=True))
        Bytes, in the order received.
    busy : Out(1)
        A group is inside.

    Timing
    ------
    Latency: 6 cycles from ``i.valid`` to ``o.valid`` (``LATENCY``).
    Throughput: one group per cycle.
    Backpressure: none; the consumer takes every group.
    Combinational paths: none.
    Reset: valid flags. Data registers are undefined until used, and keep still while idle.
    """

    LATENCY = 6

    def __init__(self, config: XpuConfig):
        self._lanes = config.epilogue_lanes
        super().__init__({
            "i": In(stream.Signature(RequantizeInput(config), always_ready=True)),
            "o": Out(stream.Signature(data.ArrayLayout(unsigned(8), self._lanes),
                                      always_ready=True)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        valids = Valids(m, self.i.valid, self.LATENCY)
        m.d.comb += [self.o.valid.eq(valids.last), self.busy.eq(valids.busy)]

        zero_point, out_signed = self.i.p.zero_point, self.i.p.out_signed
        enables = valids.enables
        for stage, enable in enumerate(enables[:-1], start=1):
            next_zero = Signal(signed(9), name=f"s{stage}_zero_point", reset_less=True)
            next_signed = Signal(name=f"s{stage}_out_signed", reset_less=True)
            with m.If(enable):
                m.d.sync += [next_zero.eq(zero_point), next_signed.eq(out_signed)]
            zero_point, out_signed = next_zero, next_signed
        low, high = Signal(signed(9)), Signal(signed(9))
        m.d.comb += [low.eq(Mux(out_signed, -128, 0)), high.eq(Mux(out_signed, 127, 255))]

        out = Signal(data.ArrayLayout(unsigned(8), self._lanes), reset_less=True)
        m.d.comb += self.o.payload.eq(out)
        for lane in range(self._lanes):
            magnitude, negative = self._lane(m, lane, enables)
            total = Signal(signed(12), name=f"total_{lane}")
            m.d.comb += total.eq(Mux(negative, zero_point - magnitude, zero_point + magnitude))
            with m.If(enables[5]):
                m.d.sync += out[lane].eq(
                    Mux(total < low, low, Mux(total > high, high, total))[:8])
        return m

    def _lane(self, m, lane, enables):
        """Stages 1 to 5 of a lane; returns the rounded product's magnitude and its sign."""
        def named(shape, name, **kwargs):
            return Signal(shape, name=f"{name}_{lane}", **kwargs)

        def register(stage, name, shape, value):
            target = named(shape, f"s{stage}_{name}", reset_less=True)
            with m.If(enables[stage - 1]):
                m.d.sync += target.eq(value)
            return target

        def smear(value, name):
            """Set every bit below the leading one."""
            for distance in (1, 2, 4, 8):
                if distance < len(value):
                    wider = named(len(value), f"{name}_smear{distance}")
                    m.d.comb += wider.eq(value | value >> distance)
                    value = wider
            return value

        # Stage 1: sign and magnitude.
        acc = named(signed(32), "acc")
        m.d.comb += acc.eq(self.i.p.acc[lane])
        negative = register(1, "negative", 1, acc[31])
        magnitude = register(1, "magnitude", 32, Mux(acc[31], -acc, acc))  # at most 2**31
        scale = register(1, "scale", 31, self.i.p.scale[lane][:31])

        # Stage 2: round the magnitude to 24 bits: drop as many bits as the top byte is long.
        below = smear(magnitude[24:], "below")  # 2**drop - 1
        drop, kept, rounded = named(4, "drop"), named(24, "kept"), named(25, "rounded")
        m.d.comb += drop.eq(8)
        for bits in reversed(range(8)):
            with m.If(~below[bits]):
                m.d.comb += drop.eq(bits)
        first, rest = named(8, "first"), named(1, "rest")  # of what is dropped
        m.d.comb += [
            first.eq(below & ~Cat(below[1:], Const(0, 1))),
            rest.eq((magnitude & below[1:]).any()),
            kept.eq(magnitude >> drop),
            rounded.eq(kept + ((magnitude & first).any() & (rest | kept[0]))),
        ]
        exponent = named(8, "exponent")
        m.d.comb += exponent.eq(scale[23:])
        carry = register(2, "carry", 1, rounded[24])  # then the low 24 bits are zero
        factor = register(2, "factor", 24, Cat(rounded[:23], rounded[23] | rounded[24]))
        significand = register(2, "significand", 24,
                               Mux(exponent == 0, 0, Cat(scale[:23], Const(1, 1))))
        distance = register(2, "distance", signed(9),  # -127 to 136
                            _HEADROOM - _FRACTION + 150 - exponent - drop)
        negative = register(2, "negative", 1, negative)

        # Stage 3: multiply; the distance to shift by. Beyond 63 nothing but a sticky bit is left.
        nearer, capped = named(signed(10), "nearer"), named(6, "capped")
        m.d.comb += [nearer.eq(distance - carry),
                     capped.eq(Mux(nearer[6:9].any(), 63, nearer[:6]))]
        product = register(3, "product", 48, factor * significand)
        shift = register(3, "shift", 6, Mux(nearer[9], 0, capped))
        negative = register(3, "negative", 1, negative)

        # Stage 4: align to fixed point.
        placed, aligned = named(48 + _HEADROOM, "placed"), named(48 + _HEADROOM, "aligned")
        lost = named(63, "lost")
        m.d.comb += [
            placed.eq(product << _HEADROOM),
            aligned.eq(placed >> shift),
            lost.eq(Const((1 << 63) - 1, 63) >> ~shift),
        ]
        fraction = register(4, "fraction", _FRACTION - 1, aligned)
        half = register(4, "half", 1, aligned[_FRACTION - 1])
        whole = register(4, "whole", _INTEGER, aligned[_FRACTION:])
        huge = register(4, "huge", 1, aligned[_FRACTION + _INTEGER:].any())
        sticky = register(4, "sticky", 1, (placed & lost).any())
        negative = register(4, "negative", 1, negative)

        # Stage 5: round. Half a unit in the last place of the product is `finer + 1`, one bit.
        finer = smear(whole, "finer")
        above, reaches = named(1, "above"), named(1, "reaches")
        half_unit, larger = named(10, "half_unit"), named(_FRACTION - 1, "larger")
        upto = named(_FRACTION - 1, "upto")  # half a unit and what lies below
        up = named(1, "up")
        m.d.comb += [
            upto.eq(Cat(Const(1, 1), finer)),
            half_unit.eq(upto & ~Cat(finer, Const(0, 1))),
            larger.eq(fraction & ~upto),
            above.eq(larger.any() | ((fraction & half_unit).any()
                                     & ((fraction & finer).any() | sticky))),
            reaches.eq((fraction | finer).all()),
            up.eq(Mux(half, above | whole[0], reaches & whole[0])),
        ]
        result = register(5, "result", _INTEGER + 1, Mux(huge, 1 << _INTEGER, whole + up))
        return result, register(5, "negative", 1, negative)
