"""The fused multiply-add of IEEE-754, in several lanes: one rounding, five modes, flags."""

from types import SimpleNamespace

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.pipeline import Valids
from .bits import named, shift_right
from .ieee import HALF, SINGLE, Flags, Rounding, count_zeros, round_up, unpack

__all__ = ["FmaInput", "FmaOutput", "FusedMultiplyAdd", "RawProduct"]


class FmaInput(data.StructLayout):
    """Operands of one operation in every lane.

    Fields: ``a``, ``b``, ``c`` (per lane); and for all lanes ``ab_half``, ``c_half``, ``out_half``
    (formats, if the unit is wide), ``negate_product``, ``negate_addend``, ``unit_factor`` (b is
    taken as 1), ``no_addend`` (c is taken as a zero of the product's sign), ``raw`` (a, b, c are a
    ``RawProduct`` instead of operands; with ``no_addend``), ``rounding``.
    """

    def __init__(self, lanes, width):
        operand = data.ArrayLayout(unsigned(width), lanes)
        super().__init__({
            "a": operand, "b": operand, "c": operand,
            **{name: unsigned(1) for name in (
                "ab_half", "c_half", "out_half", "negate_product", "negate_addend", "unit_factor",
                "no_addend", "raw")},
            "rounding": Rounding,
        })


class RawProduct(data.FlexibleLayout):
    """A magnitude to be rounded, in the place of a (first), b and c of a wide unit.

    Value = significand * 2**(exponent - 46). Fields: ``low`` and ``high`` (24 bits each of the
    significand; the lowest bit may stand for anything that is lost below it), ``sign``,
    ``exponent`` (signed).
    """

    EXPONENT_BITS = 10

    def __init__(self):
        super().__init__(96, {"low": data.Field(unsigned(24), 0), "sign": data.Field(1, 31),
                              "high": data.Field(unsigned(24), 32),
                              "exponent": data.Field(signed(self.EXPONENT_BITS), 64)})


class FmaOutput(data.StructLayout):
    """Results. Fields, per lane: ``value``, ``flags`` (``Flags``)."""

    def __init__(self, lanes, width):
        super().__init__({"value": data.ArrayLayout(unsigned(width), lanes),
                          "flags": data.ArrayLayout(Flags, lanes)})


class FusedMultiplyAdd(wiring.Component):
    """``o = round(±(a * b) ± c)``, as IEEE-754 and RISC-V have it.

    Also a sum (``unit_factor``), a product (``no_addend``), a conversion between the formats
    (both), and the rounding of any other result (``raw``). Subnormal numbers count, underflow is
    detected after rounding, every NaN produced is the canonical one. Operands and result of a wide
    unit may differ in format where the result is not narrower than the addend.

    Source of the algorithm: operands aligned to the larger of product and addend with three guard
    bits and a sticky bit, as cancellation of more than two bits needs exponents that differ by less
    than three.

    Parameters
    ----------
    lanes : int
        Operations per cycle.
    wide : bool
        Numbers of 32 bits: singles and halves; else halves only, 16 bits.

    Members
    -------
    i : In(stream.Signature(FmaInput(lanes, 32 or 16), always_ready=True))
        Operands. A half is in the low bits.
    o : Out(stream.Signature(FmaOutput(lanes, 32 or 16), always_ready=True))
        Results in the order of operands; a half in 32 bits has ones above it (NaN boxing).
    busy : Out(1)
        Operands are inside.

    Timing
    ------
    Latency: 8 cycles (``LATENCY``).
    Throughput: one operation per lane and cycle. Backpressure: none. Combinational paths: none.
    Reset: valid flags. Idle stages keep still.
    """

    LATENCY = 8

    def __init__(self, lanes, *, wide):
        self._lanes, self._wide = lanes, wide
        self._format = SINGLE if wide else HALF
        self._exponent = RawProduct.EXPONENT_BITS if wide else 8
        width = self._format.width
        super().__init__({
            "i": In(stream.Signature(FmaInput(lanes, width), always_ready=True)),
            "o": Out(stream.Signature(FmaOutput(lanes, width), always_ready=True)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        valids = Valids(m, self.i.valid, self.LATENCY)
        m.d.comb += [self.o.valid.eq(valids.last), self.busy.eq(valids.busy)]
        # What all lanes share, stage by stage.
        op = self.i.p
        shared = [{"half": op.out_half if self._wide else Const(1), "rounding": op.rounding}]
        for stage in range(1, self.LATENCY):
            now = {"half": Signal(name=f"half_{stage}", reset_less=True) if self._wide
                   else Const(1),
                   "rounding": Signal(Rounding, name=f"rounding_{stage}", reset_less=True)}
            with m.If(valids.enables[stage - 1]):
                m.d.sync += now["rounding"].eq(shared[-1]["rounding"])
                if self._wide:
                    m.d.sync += now["half"].eq(shared[-1]["half"])
            shared.append(now)
        for n in range(self._lanes):
            self._lane(m, n, valids.enables, shared)
        return m

    def _lane(self, m, n, enables, shared):
        p, exponent = self._format.precision, signed(self._exponent)
        top = 2 * p + 4         # highest bit of a sum

        def name(text):
            return f"{text}_{n}"

        def stage(number, **values):
            """Registers of what enters stage ``number + 1``."""
            registers = {}
            for key, value in values.items():
                registers[key] = Signal(value.shape(), name=name(f"s{number}_{key}"),
                                        reset_less=True)
            with m.If(enables[number - 1]):
                m.d.sync += [registers[key].eq(value) for key, value in values.items()]
            return SimpleNamespace(**registers)

        def keep(stage_before, *keys):
            return {key: getattr(stage_before, key) for key in keys}

        # 1: unpack, and decide what is special.
        s1 = stage(1, **self._unpack(m, n, shared[0]["half"]))

        # 2: normalise a subnormal factor. If both are, the product is below everything that
        # counts, or short enough.
        pick = named(m, name("pick"), p, Mux(s1.a_subnormal, s1.a, s1.b))
        zeros = count_zeros(m, name("pick_zeros"), pick)
        normal = named(m, name("pick_normal"), p, pick << zeros)
        fix = s1.a_subnormal | s1.b_subnormal
        least = -(1 << (self._exponent - 1))
        factors = {
            "a": named(m, name("a_factor"), p, Mux(s1.a_subnormal, normal, s1.a)),
            "b": named(m, name("b_factor"), p,
                       Mux(s1.b_subnormal & ~s1.a_subnormal, normal, s1.b)),
            "product_exponent": named(m, name("product_exponent"), exponent, Mux(
                s1.zero, least, s1.a_exponent + s1.b_exponent - Mux(fix, zeros, 0))),
        }
        addend_there = {"c": s1.c, "c_exponent": s1.c_exponent}
        if self._wide:
            c_zeros = count_zeros(m, name("c_zeros"), s1.c)
            addend_there = {
                "c": named(m, name("c_normal"), p, Mux(s1.c_small, s1.c << c_zeros, s1.c)),
                "c_exponent": named(m, name("c_normal_exponent"), exponent, Mux(
                    s1.c_small, Mux(s1.c.any(), s1.c_exponent - c_zeros, self._format.lowest),
                    s1.c_exponent)),
            }
        s2 = stage(2, **factors, **addend_there, **keep(s1, "sign", "c_sign", "special", "flags",
                                        *(("raw",) if self._wide else ())))

        # 3: product, and which operand is larger.
        product = named(m, name("product"), 2 * p, s2.a * s2.b)
        if self._wide:
            product = named(m, name("magnitude"), 2 * p, Mux(s2.raw, Cat(s2.a, s2.b), product))
        difference = named(m, name("difference"), signed(self._exponent + 1),
                           s2.product_exponent - s2.c_exponent)
        s3 = stage(3, product=product, difference=difference, **keep(
            s2, "c", "product_exponent", "c_exponent", "sign", "c_sign", "special", "flags"))

        # 4: align. One lost bit stands for all.
        larger = named(m, name("product_larger"), 1, s3.difference >= 0)
        distance = named(m, name("distance"), self._exponent + 1,
                         Mux(larger, s3.difference, -s3.difference))
        most = 2 * p + 4
        amount = named(m, name("amount"), most.bit_length(), Mux(distance > most, most, distance))
        addend = Cat(Const(0, p - 1), s3.c, Const(0, 1))
        small = named(m, name("small"), 2 * p + 4,
                      Cat(Const(0, 4), Mux(larger, addend, s3.product)))
        s4 = stage(4, big=named(m, name("big"), 2 * p, Mux(larger, s3.product, addend)),
                   small=shift_right(m, name("aligned"), small, amount),
                   exponent=named(m, name("exponent"), exponent,
                                  Mux(larger, s3.product_exponent, s3.c_exponent)),
                   sign=named(m, name("big_sign"), 1, Mux(larger, s3.sign, s3.c_sign)),
                   subtract=named(m, name("subtract"), 1, s3.sign ^ s3.c_sign),
                   **keep(s3, "special", "flags"))

        # 5: add.
        big = named(m, name("big_shifted"), top, Cat(Const(0, 4), s4.big))
        raw_sum = named(m, name("raw_sum"), signed(top + 2),
                        Mux(s4.subtract, big - s4.small, big + s4.small))
        s5 = stage(5, sum=raw_sum, **keep(s4, "exponent", "sign", "subtract", "special", "flags"))

        # 6: magnitude and its zeros. A difference of zero is +0, but -0 when rounding down.
        negative = s5.sum[-1]
        total = named(m, name("total"), top + 1, Mux(negative, -s5.sum, s5.sum))
        none = named(m, name("none"), 1, ~s5.sum.any())
        down = shared[5]["rounding"] == Rounding.DOWN
        sign = named(m, name("sum_sign"), 1, Mux(none & s5.subtract, down, s5.sign ^ negative))
        s6 = stage(6, total=total, zeros=count_zeros(m, name("zeros"), total), sign=sign,
                   none=none, **keep(s5, "exponent", "special", "flags"))

        # 7: normalise, but not below the smallest exponent.
        lowest = Mux(shared[6]["half"], HALF.lowest, self._format.lowest)
        room = named(m, name("room"), self._exponent + 1, s6.exponent + 2 - lowest)
        shift = named(m, name("shift"), (top + 1).bit_length(),
                      Mux(room < s6.zeros, room, s6.zeros))
        s7 = stage(7, significand=named(m, name("normal"), top + 1, s6.total << shift),
                   exponent=named(m, name("top_exponent"), exponent, s6.exponent + 2 - shift),
                   **keep(s6, "sign", "none", "special", "flags"))
        self._round(m, n, s7, shared[7], enables[7])

    def _unpack(self, m, n, half):
        """Stage 1."""
        op, p, exponent = self.i.p, self._format.precision, signed(self._exponent)
        raw = op.raw if self._wide else Const(0)

        def name(text):
            return f"{text}_{n}"

        a = unpack(m, name("a"), op.a[n], op.ab_half, self._exponent)
        b = unpack(m, name("b"), op.b[n], op.ab_half, self._exponent)
        c = unpack(m, name("c"), op.c[n], op.c_half, self._exponent)
        product_there = named(m, name("factors"), 1, ~raw)
        b_there = named(m, name("b_there"), 1, ~raw & ~op.unit_factor)
        c_there = named(m, name("c_there"), 1, ~op.no_addend)

        sign = named(m, name("product_sign"), 1,
                     a.sign ^ (b.sign & b_there) ^ op.negate_product)
        if self._wide:
            sign = named(m, name("any_sign"), 1, Mux(raw, op.a[n][31], sign))
        c_sign = named(m, name("c_sign"), 1, Mux(c_there, c.sign ^ op.negate_addend, sign))
        infinite = named(m, name("product_infinite"), 1,
                         product_there & (a.infinity | (b.infinity & b_there)))
        zero = named(m, name("product_zero"), 1, product_there & (a.zero | (b.zero & b_there)))
        nan = named(m, name("nan"), 1, (product_there & a.nan) | (b_there & b.nan)
                    | (c_there & c.nan))
        signaling = (product_there & a.signaling) | (b_there & b.signaling) | (
            c_there & c.signaling)
        c_infinite = named(m, name("c_infinite"), 1, c_there & c.infinity)
        undefined = named(m, name("undefined"), 1, infinite & zero)       # infinity * 0
        opposite = named(m, name("opposite"), 1, infinite & c_infinite & (sign ^ c_sign) & ~nan)
        bad = named(m, name("bad"), 1, nan | undefined | opposite)
        special = named(m, name("special"), 3, Cat(
            bad, ~bad & (infinite | c_infinite), Mux(infinite, sign, c_sign)))
        flags = named(m, name("invalid"), 1, signaling | undefined | opposite)

        lowest = Mux(half, HALF.lowest, self._format.lowest)
        values = {   # name: (shape, value of a product, of a raw one)
            "a": (p, a.significand, "low"),
            "b": (p, Mux(b_there, b.significand, 1 << (p - 1)), "high"),
            "a_exponent": (exponent, a.exponent, "exponent"),
            "b_exponent": (exponent, Mux(b_there, b.exponent, 0), 0),
            "a_subnormal": (1, product_there & a.subnormal, None),
            "b_subnormal": (1, b_there & b.subnormal, None),
            "zero": (1, zero, None),
        }
        result = {
            "c": named(m, name("addend"), p, Mux(c_there, c.significand, 0)),
            "c_exponent": named(m, name("c_exponent"), exponent, Mux(c_there, c.exponent, lowest)),
            "sign": sign, "c_sign": c_sign, "special": special, "flags": flags,
        }
        if self._wide:
            whole = data.View(RawProduct(), Cat(op.a[n], op.b[n], op.c[n]))
            result["raw"] = named(m, name("raw"), 1, raw)
            # A half that is added to singles: its exponent would not be that of its highest bit.
            result["c_small"] = named(m, name("c_small"), 1, c_there & op.c_half & ~half
                                      & (c.subnormal | c.zero))
        for key, (shape, value, other) in values.items():
            if self._wide and other is not None:
                value = Mux(raw, whole[other] if other else 0, value)
            result[key] = named(m, name(f"s0_{key}"), shape, value)
        return result

    def _round(self, m, n, s7, shared, enable):
        """Stage 8: round and pack."""
        fmt, half, rounding = self._format, shared["half"], shared["rounding"]
        p, value = fmt.precision, s7.significand
        width = len(value)

        def name(text):
            return f"{text}_{n}"

        def place(drop):
            """Pieces around the last bit kept, counted from the top for the format: the bit, the
            first one lost, the others. ``drop`` more bits are kept."""
            def pieces(precision):
                last = width - precision - drop
                return value[last], value[last - 1], value[:last - 1].any()
            if not self._wide:
                return pieces(HALF.precision)
            return [Mux(half, *pair) for pair in zip(pieces(HALF.precision), pieces(p),
                                                     strict=True)]

        last, first_lost, others = (named(m, name(text), 1, bit) for text, bit in zip(
            ("last", "first_lost", "others_lost"), place(0), strict=True))
        inexact = named(m, name("inexact"), 1, first_lost | others)
        up = named(m, name("up"), 1, round_up(rounding, s7.sign, last, first_lost, others))
        odd = named(m, name("odd"), 1, (rounding == Rounding.ODD) & inexact)
        unit = Mux(half, 1 << (p - HALF.precision), 1)
        kept = value[width - p:]
        if self._wide:
            dropped = p - HALF.precision
            kept = named(m, name("kept"), p, Mux(
                half, Cat(Const(0, dropped), value[width - HALF.precision:]), kept))
        rounded = named(m, name("rounded"), p + 1, (kept | Mux(odd, unit, 0)) + Mux(up, unit, 0))
        carry, normal = rounded[p], rounded[p - 1]

        # Tiny: below the smallest normal number even if rounded with one bit more.
        ones = Mux(half, value[width - 1 - HALF.precision:width - 1].all(),
                   value[width - 1 - p:width - 1].all()) if self._wide else \
            value[width - 1 - p:width - 1].all()
        grows = round_up(rounding, s7.sign, *place(1))
        tiny = named(m, name("tiny"), 1, ~value[-1] & ~(ones & grows))

        bias = Mux(half, HALF.bias, fmt.bias)
        field = named(m, name("field"), self._exponent + 1, Mux(
            carry | normal, s7.exponent + bias + carry, 0))
        limit = Mux(half, (1 << HALF.exponent) - 1, (1 << fmt.exponent) - 1)
        finite = named(m, name("finite"), 1, (s7.special[:2] == 0) & ~s7.none)
        overflow = named(m, name("overflow"), 1, finite & (field >= limit))
        to_infinity = named(m, name("to_infinity"), 1,
                            (rounding == Rounding.NEAREST_EVEN)
                            | (rounding == Rounding.NEAREST_AWAY)
                            | ((rounding == Rounding.DOWN) & s7.sign)
                            | ((rounding == Rounding.UP) & ~s7.sign))

        def packed(which):
            """Result in a format."""
            fraction = rounded[p - which.precision:p - 1]
            number = Cat(fraction, field[:which.exponent])
            most = Mux(to_infinity, which.infinity, which.infinity - 1)
            return Mux(s7.special[0], which.nan, Cat(
                Mux(s7.special[1], which.infinity, Mux(s7.none, 0, Mux(overflow, most, number)))
                [:which.width - 1], Mux(s7.special[1], s7.special[2], s7.sign)))

        result = packed(fmt)
        if self._wide:
            result = Mux(half, Cat(packed(HALF)[:16], Const(-1, 16)), result)
        with m.If(enable):
            m.d.sync += [
                self.o.p.value[n].eq(result),
                self.o.p.flags[n].invalid.eq(s7.flags), self.o.p.flags[n].divide_by_zero.eq(0),
                self.o.p.flags[n].overflow.eq(overflow),
                self.o.p.flags[n].underflow.eq(finite & tiny & inexact),
                self.o.p.flags[n].inexact.eq(finite & (inexact | overflow)),
            ]
