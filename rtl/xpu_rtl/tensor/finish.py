"""From sums to results: the floating-point path of the epilogue."""

from amaranth import Cat, Module, Mux, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..command.formats import Activation, ElementType
from ..common.pipeline import Valids
from ..float.bits import NAN, round_even, shift_right
from ..float.lane import (
    ADD_STAGES,
    INTEGER_STAGES,
    MULTIPLY_STAGES,
    Lane,
    add,
    from_integer,
    multiply,
)
from ..params import XpuConfig
from .choose import choose_fields
from .types import Kind

__all__ = ["TAG_WIDTH", "FinishInput", "FinishLanes", "FinishOutput", "FinishSettings"]

TAG_WIDTH = 16      #: bits that travel beside a group

_SCALED = INTEGER_STAGES + MULTIPLY_STAGES      #: stage of the scaled sum
_BIASED = _SCALED + ADD_STAGES                  #: of that plus the FP32 bias
_SUMMED = _BIASED + ADD_STAGES                  #: of that plus the residual
_ACTIVE = _SUMMED + MULTIPLY_STAGES + 1         #: behind the activation
_STAGES = _ACTIVE + 2                           #: in the output type


#: Settings looked at in a stage.
_USED = {
    0: ("kind", "float_bias", "residual_type", "residual_zero_point"),
    INTEGER_STAGES: ("residual_scale",),
    _BIASED: ("float_bias",),
    _SUMMED: ("has_residual", "low"),
    _ACTIVE - 1: ("activation", "low", "high"),
    _ACTIVE: ("out_type",),
    _ACTIVE + 1: ("out_type", "out_zero_point"),
}


class FinishSettings(data.StructLayout):
    """What is the same for a whole tile. Fields as in the command; ``kind`` of the sums."""

    def __init__(self):
        super().__init__({
            "kind": Kind, "float_bias": unsigned(1), "has_residual": unsigned(1),
            "residual_type": unsigned(3), "residual_zero_point": signed(16),
            "residual_scale": unsigned(32), "activation": unsigned(2), "low": unsigned(32),
            "high": unsigned(32), "out_type": unsigned(3), "out_zero_point": signed(16),
        })


class FinishInput(data.StructLayout):
    """A group of sums.

    Fields: ``setting`` (which of the two settings), ``acc`` (sums), ``bias`` (INT32, or FP32 with
    ``float_bias``; 0 if there is none), ``scale`` (FP32), ``residual`` (elements in the low bits),
    ``tag``.
    """

    def __init__(self, config: XpuConfig):
        lanes = config.epilogue_lanes
        words = data.ArrayLayout(unsigned(32), lanes)
        super().__init__({
            "setting": unsigned(1), "acc": data.ArrayLayout(signed(config.acc_width), lanes),
            "bias": words, "scale": words, "residual": words, "tag": unsigned(TAG_WIDTH),
        })


class FinishOutput(data.StructLayout):
    """Results of a group.

    Fields: ``elements`` (in the low bits; the others are undefined), ``magnitude`` (bits of the
    FP32 magnitude before conversion), ``tag``.
    """

    def __init__(self, config: XpuConfig):
        lanes = config.epilogue_lanes
        super().__init__({
            "elements": data.ArrayLayout(unsigned(32), lanes),
            "magnitude": data.ArrayLayout(unsigned(31), lanes), "tag": unsigned(TAG_WIDTH),
        })


class FinishLanes(wiring.Component):
    """Finish a group of sums per cycle, every step in binary32 (``docs/numerics.md``).

    ``w = activation(float(acc + INT32 bias) * scale + FP32 bias + (residual - zero point) *
    residual_scale)``, without the steps that the settings do not have; then ``w`` in the output
    type. Sums of floating-point kinds are FP32 already.

    Parameters
    ----------
    config : XpuConfig
        ``epilogue_lanes`` lanes; width of the sums.

    Members
    -------
    settings : In(FinishSettings()).array(2)
        Hold still while a group that uses them is inside.
    i : In(stream.Signature(FinishInput(config), always_ready=True))
        Groups.
    o : Out(stream.Signature(FinishOutput(config), always_ready=True))
        The same groups, in order.
    busy : Out(1)
        A group is inside.

    Timing
    ------
    Latency: ``LATENCY`` = 29 cycles, whatever the settings.
    Throughput: one group per cycle. Backpressure: none. Combinational paths: none.
    Reset: valid flags. Idle stages keep still.
    """

    LATENCY = _STAGES

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "settings": In(FinishSettings()).array(2),
            "i": In(stream.Signature(FinishInput(config), always_ready=True)),
            "o": Out(stream.Signature(FinishOutput(config), always_ready=True)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        valids = Valids(m, self.i.valid, self.LATENCY)
        m.d.comb += [self.o.valid.eq(valids.last), self.busy.eq(valids.busy)]
        shared = Lane(m, valids.enables, "shared")
        settings, setting, tag = [], self.i.p.setting, self.i.p.tag
        for stage in range(self.LATENCY):
            settings.append(choose_fields(m, f"s{stage}", setting, self.settings,
                                          _USED.get(stage, ())))
            setting = shared.register(stage + 1, "setting", 1, setting)
            tag = shared.register(stage + 1, "tag", TAG_WIDTH, tag)
        m.d.comb += self.o.p.tag.eq(tag)
        for n in range(self._config.epilogue_lanes):
            lane = Lane(m, valids.enables, str(n))
            element, magnitude = self._lane(m, lane, n, settings)
            m.d.comb += [self.o.p.elements[n].eq(element), self.o.p.magnitude[n].eq(magnitude)]
        return m

    def _lane(self, m, lane, n, settings):
        i, config = self.i.p, self._config

        # The sum, as FP32.
        kind = settings[0].kind
        wide = kind == Kind.INT16
        integer = lane.named("integer", 1, wide | (kind == Kind.INT8))
        bias = lane.named("int_bias", signed(32), Mux(settings[0].float_bias, 0, i.bias[n]))
        total = lane.named("total", signed(config.acc_width), i.acc[n] + bias)
        low = lane.named("low_total", signed(32), total[:32])
        value = lane.named("value", signed(config.acc_width), Mux(wide, total, low))
        magnitude = lane.named("sum_magnitude", config.acc_width, Mux(value < 0, -value, value))
        from_int = from_integer(lane, 0, "sum", value < 0, magnitude)
        already = lane.delay(0, "acc", i.acc[n][:32].as_unsigned(), INTEGER_STAGES)
        integer = lane.delay(0, "integer", integer, INTEGER_STAGES)
        scale = lane.delay(0, "scale", i.scale[n], INTEGER_STAGES)
        x = lane.named("x", 32, Mux(integer, from_int, already))
        scaled = multiply(lane, INTEGER_STAGES, "scaled", x, scale)

        # FP32 bias.
        bias = lane.delay(0, "bias", i.bias[n], _SCALED)
        added = add(lane, _SCALED, "biased", scaled, bias)
        kept = lane.delay(_SCALED, "scaled", scaled, ADD_STAGES)
        biased = lane.named("z", 32, Mux(settings[_BIASED].float_bias, added, kept))

        # Residual.
        residual = self._residual(lane, i.residual[n], settings)
        residual = lane.delay(_SCALED, "residual", residual, _BIASED - _SCALED)
        added = add(lane, _BIASED, "summed", biased, residual)
        kept = lane.delay(_BIASED, "biased", biased, ADD_STAGES)
        v = lane.named("v", 32, Mux(settings[_SUMMED].has_residual, added, kept))

        w = self._activation(m, lane, v, settings)
        element = self._convert(m, lane, w, settings)
        return element, lane.delay(_ACTIVE, "w", w, 2)[:31]

    def _residual(self, lane, element, settings):
        """``(element - zero point) * scale``, in ``INTEGER_STAGES + MULTIPLY_STAGES``."""
        kind, zero_point = settings[0].residual_type, settings[0].residual_zero_point

        def of(*types):
            return Cat(kind == int(element_type) for element_type in types).any()

        half = of(ElementType.FP16)
        direct = lane.named("residual_direct", 1, of(ElementType.FP32, ElementType.BF16))
        bits = lane.named("residual_bits", 32, Mux(of(ElementType.BF16), element[:16] << 16,
                                                   element))
        narrow = lane.named("residual_byte", signed(9), Cat(
            element[:8], element[7] & of(ElementType.INT8)).as_signed())
        whole = lane.named("residual_int", signed(17), Mux(
            of(ElementType.INT16), element[:16].as_signed(), narrow) - zero_point)
        field, fraction = element[10:15], element[:10]
        special = lane.named("residual_special", 1, half & field.all())
        size = lane.named("residual_size", 17, Mux(
            half, Cat(fraction, field.any()), Mux(whole < 0, -whole, whole)))
        exponent = lane.named("residual_exponent", signed(7), Mux(
            half, (field | ~field.any()).as_unsigned() - 25, 0))
        sign = lane.named("residual_sign", 1, Mux(half, element[15], whole < 0))
        converted = from_integer(
            lane, 0, "residual", sign, size, exponent, nan=special & fraction.any(),
            infinite=special & ~fraction.any(), zero_sign=half & element[15])
        direct = lane.delay(0, "residual_direct", direct, INTEGER_STAGES)
        bits = lane.delay(0, "residual_bits", bits, INTEGER_STAGES)
        number = lane.named("residual_number", 32, Mux(direct, bits, converted))
        return multiply(lane, INTEGER_STAGES, "residual", number,
                        settings[INTEGER_STAGES].residual_scale)

    def _activation(self, m, lane, v, settings):
        """From stage ``_SUMMED`` to ``_ACTIVE``."""
        product = multiply(lane, _SUMMED, "leak", v, settings[_SUMMED].low)
        stage = _ACTIVE - 1
        v = lane.delay(_SUMMED, "v", v, MULTIPLY_STAGES)
        now = settings[stage]

        def key(name, bits):
            """Order of numbers, both zeros alike."""
            return lane.named(f"{name}_key", signed(32), Mux(bits[31], -bits[:31], bits[:31]))

        v_key, low_key, high_key = key("v", v), key("low", now.low), key("high", now.high)
        nan = lane.named("v_nan", 1, v == NAN)
        result = lane.named("active", 32, v)
        with m.Switch(now.activation):
            with m.Case(int(Activation.RELU)):
                with m.If(v_key <= 0):
                    m.d.comb += result.eq(0)
            with m.Case(int(Activation.LEAKY)):
                with m.If(v_key < 0):
                    m.d.comb += result.eq(product)
            with m.Case(int(Activation.CLIP)):
                least = lane.named("least_key", signed(32), Mux(v_key < low_key, low_key, v_key))
                with m.If(~nan & (least > high_key)):
                    m.d.comb += result.eq(now.high)
                with m.Elif(~nan & (v_key < low_key)):
                    m.d.comb += result.eq(now.low)
        return lane.register(_ACTIVE, "active", 32, result)

    def _convert(self, m, lane, w, settings):
        """In the output type: two stages, to move the point and to round."""
        field, fraction, sign = w[23:31], w[:23], w[31]
        nan = lane.named("w_nan", 1, w == NAN)
        now, later = settings[_ACTIVE], settings[_ACTIVE + 1]
        half = lane.named("to_half", 1, now.out_type == ElementType.FP16)
        significand = lane.named("w_significand", 24, Cat(fraction, field.any()))
        # FP16: 11 bits and 13 to drop, fewer bits for subnormals. Integers: 17 bits before the
        # point, then 7 to drop; larger numbers saturate.
        down = lane.named("w_down", signed(10), Mux(half, 113 - field, 143 - field))
        amount = lane.named("w_amount", 5, Mux(down > 24, 24, Mux(down < 0, 0, down)))
        shifted = lane.register(_ACTIVE + 1, "w_shifted", 24, shift_right(
            m, lane.name("w_shift"), significand, amount))
        large = lane.register(_ACTIVE + 1, "w_large", 1, (field > 143) & ~nan)
        half_field = lane.register(_ACTIVE + 1, "w_field", 8,
                                   Mux(field > 112, Mux(field > 144, 32, field - 113), 0))
        nan = lane.register(_ACTIVE + 1, "w_nan", 1, nan)
        w = lane.delay(_ACTIVE, "w_bits", w, 1)
        sign = w[31]

        # Integers.
        whole = round_even(m, lane.name("w_whole"), shifted, 7)      # 18 bits
        moved = lane.named("w_moved", signed(20),
                           Mux(sign, -whole, whole) + later.out_zero_point)
        low, high = lane.named("w_low", signed(17), 0), lane.named("w_high", signed(17), 0)
        for element, least, most in ((ElementType.INT8, -128, 127), (ElementType.UINT8, 0, 255),
                                     (ElementType.INT16, -32768, 32767)):
            with m.If(later.out_type == int(element)):
                m.d.comb += [low.eq(least), high.eq(most)]
        limited = lane.named("w_limited", signed(17), Mux(
            nan, later.out_zero_point, Mux(large, Mux(sign, low, high), Mux(
                moved < low, low, Mux(moved > high, high, moved)))))
        # FP16 and BF16.
        fp16 = round_even(m, lane.name("w_half"), shifted, 13)
        fp16 = lane.named("w_half_packed", 18, (half_field << 10) + fp16)
        fp16 = lane.named("w_fp16", 16, Mux(nan, 0x7E00, Cat(
            Mux(fp16 >= 0x7C00, 0x7C00, fp16)[:15], sign)))
        bf16 = round_even(m, lane.name("w_bfloat"), w[:31], 16)
        bf16 = lane.named("w_bf16", 16, Cat(bf16[:15], sign))
        result = lane.named("element", 32, limited)
        with m.Switch(later.out_type):
            with m.Case(int(ElementType.FP32)):
                m.d.comb += result.eq(w)
            with m.Case(int(ElementType.FP16)):
                m.d.comb += result.eq(fp16)
            with m.Case(int(ElementType.BF16)):
                m.d.comb += result.eq(bf16)
        return lane.register(_STAGES, "element", 32, result)
