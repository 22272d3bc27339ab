"""From sums to results: the floating-point path of the epilogue."""

from types import SimpleNamespace

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
    less,
    multiply,
)
from ..params import XpuConfig
from .choose import choose_fields
from .types import Kind

__all__ = ["TAG_WIDTH", "FinishInput", "FinishLanes", "FinishOutput", "FinishSettings"]

TAG_WIDTH = 16      #: bits that travel beside a group

_NUMBER = 1 + INTEGER_STAGES                    #: stage of sum and residual in FP32
_SCALED = _NUMBER + MULTIPLY_STAGES             #: of the scaled sum
_BIASED = _SCALED + ADD_STAGES                  #: of that plus the FP32 bias
_SUMMED = _BIASED + ADD_STAGES                  #: of that plus the residual
_LEAKED = _SUMMED + MULTIPLY_STAGES             #: of that times the slope
_ACTIVE = _LEAKED + 1                           #: behind the activation
_STAGES = _ACTIVE + 5                           #: in the output type


#: Settings looked at in a stage.
_USED = {
    0: ("kind", "float_bias", "residual_type", "residual_zero_point"),
    1: ("kind",),
    _NUMBER: ("residual_scale",),
    _BIASED: ("float_bias",),
    _SUMMED: ("has_residual", "low"),
    _LEAKED - 1: ("low", "high"),
    _LEAKED: ("activation", "low", "high"),
    _ACTIVE: ("out_type",),
    _ACTIVE + 3: ("out_zero_point",),
    _ACTIVE + 4: ("out_type", "out_zero_point"),
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
    Latency: ``LATENCY`` = 52 cycles, whatever the settings.
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
        settings, setting, tag = {}, self.i.p.setting, self.i.p.tag
        settings[0] = choose_fields(m, "s0", setting, self.settings, _USED[0])
        for stage in range(1, self.LATENCY + 1):
            # Chosen in the stage before, so that the logic of a stage begins with registers.
            chosen = choose_fields(m, f"s{stage}", setting, self.settings, _USED.get(stage, ()))
            settings[stage] = SimpleNamespace(**{
                name: shared.register(stage, name, value.shape(), value)
                for name, value in vars(chosen).items()})
            setting = shared.register(stage, "setting", 1, setting)
            tag = shared.register(stage, "tag", TAG_WIDTH, tag)
        m.d.comb += self.o.p.tag.eq(tag)
        for n in range(self._config.epilogue_lanes):
            lane = Lane(m, valids.enables, str(n))
            element, magnitude = self._lane(m, lane, n, settings)
            m.d.comb += [self.o.p.elements[n].eq(element), self.o.p.magnitude[n].eq(magnitude)]
        return m

    def _lane(self, m, lane, n, settings):
        i, config = self.i.p, self._config

        # The sum, as FP32.
        wide = settings[0].kind == Kind.INT16
        integer = lane.named("integer", 1, wide | (settings[0].kind == Kind.INT8))
        bias = lane.named("int_bias", signed(32), Mux(settings[0].float_bias, 0, i.bias[n]))
        total = lane.register(1, "total", signed(config.acc_width), i.acc[n] + bias)
        low = lane.named("low_total", signed(32), total[:32])
        value = lane.named("value", signed(config.acc_width),
                           Mux(settings[1].kind == Kind.INT16, total, low))
        magnitude = lane.named("sum_magnitude", config.acc_width, Mux(value < 0, -value, value))
        from_int = from_integer(lane, 1, "sum", value < 0, magnitude)
        already = lane.delay(0, "acc", i.acc[n][:32].as_unsigned(), _NUMBER)
        integer = lane.delay(0, "integer", integer, _NUMBER)
        scale = lane.delay(0, "scale", i.scale[n], _NUMBER)
        x = lane.named("x", 32, Mux(integer, from_int, already))
        scaled = multiply(lane, _NUMBER, "scaled", x, scale)

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
        return element, lane.delay(_ACTIVE, "w", w, _STAGES - _ACTIVE)[:31]

    def _residual(self, lane, element, settings):
        """``(element - zero point) * scale``, a number of stage ``_SCALED``."""
        kind, zero_point = settings[0].residual_type, settings[0].residual_zero_point

        def of(*types):
            return Cat(kind == int(element_type) for element_type in types).any()

        direct = lane.named("residual_direct", 1, of(ElementType.FP32, ElementType.BF16))
        bits = lane.named("residual_bits", 32, Mux(of(ElementType.BF16), element[:16] << 16,
                                                   element))
        narrow = lane.named("residual_byte", signed(9), Cat(
            element[:8], element[7] & of(ElementType.INT8)).as_signed())
        whole = lane.register(1, "residual_int", signed(17), Mux(
            of(ElementType.INT16), element[:16].as_signed(), narrow) - zero_point)
        half = lane.register(1, "residual_half", 1, of(ElementType.FP16))
        element = lane.register(1, "residual_element", 16, element[:16])
        field, fraction = element[10:15], element[:10]
        special = lane.named("residual_special", 1, half & field.all())
        size = lane.named("residual_size", 17, Mux(
            half, Cat(fraction, field.any()), Mux(whole < 0, -whole, whole)))
        exponent = lane.named("residual_exponent", signed(7), Mux(
            half, (field | ~field.any()).as_unsigned() - 25, 0))
        sign = lane.named("residual_sign", 1, Mux(half, element[15], whole < 0))
        converted = from_integer(
            lane, 1, "residual", sign, size, exponent, nan=special & fraction.any(),
            infinite=special & ~fraction.any(), zero_sign=half & element[15])
        direct = lane.delay(0, "residual_direct", direct, _NUMBER)
        bits = lane.delay(0, "residual_bits", bits, _NUMBER)
        number = lane.named("residual_number", 32, Mux(direct, bits, converted))
        return multiply(lane, _NUMBER, "residual", number, settings[_NUMBER].residual_scale)

    def _activation(self, m, lane, v, settings):
        """From stage ``_SUMMED`` to ``_ACTIVE``."""
        product = multiply(lane, _SUMMED, "leak", v, settings[_SUMMED].low)
        v = lane.delay(_SUMMED, "v", v, MULTIPLY_STAGES - 1)
        # Compare.
        now = settings[_LEAKED - 1]
        nan = lane.named("v_nan", 1, v == NAN)
        zero = lane.named("v_zero", 1, ~v[:31].any())
        below = lane.named("below", 1, less(lane, "v_below", v, now.low))
        above = lane.named("above", 1, less(lane, "v_above", now.high, v)
                           | (below & less(lane, "low_above", now.high, now.low)))
        flags = lane.keep(_LEAKED, "v", {
            "negative": v[31] & ~zero & ~nan, "not_positive": (v[31] | zero) & ~nan,
            "below": below & ~nan, "above": above & ~nan})
        v = lane.register(_LEAKED, "v", 32, v)
        # Choose.
        now = settings[_LEAKED]
        result = lane.named("active", 32, v)
        with m.Switch(now.activation):
            with m.Case(int(Activation.RELU)):
                with m.If(flags["not_positive"]):
                    m.d.comb += result.eq(0)
            with m.Case(int(Activation.LEAKY)):
                with m.If(flags["negative"]):
                    m.d.comb += result.eq(product)
            with m.Case(int(Activation.CLIP)):
                with m.If(flags["above"]):
                    m.d.comb += result.eq(now.high)
                with m.Elif(flags["below"]):
                    m.d.comb += result.eq(now.low)
        return lane.register(_ACTIVE, "active", 32, result)

    def _convert(self, m, lane, w, settings):
        """In the output type, in five stages."""
        # 1: how far to move the point. FP16: 11 bits and 13 to drop, fewer bits for subnormals.
        # Integers: 17 bits before the point, then 7 to drop; larger numbers saturate.
        field, fraction = w[23:31], w[:23]
        stage = _ACTIVE + 1
        half = lane.named("to_half", 1, settings[_ACTIVE].out_type == ElementType.FP16)
        down = lane.named("w_down", signed(10), Mux(half, 113 - field, 143 - field))
        amount = lane.register(stage, "w_amount", 5, Mux(down > 24, 24, Mux(down < 0, 0, down)))
        significand = lane.register(stage, "w_significand", 24, Cat(fraction, field.any()))
        nan = lane.named("w_nan", 1, w == NAN)
        flags = lane.keep(stage, "w", {"nan": nan, "large": (field > 143) & ~nan})
        half_field = lane.register(stage, "w_field", 8,
                                   Mux(field > 112, Mux(field > 144, 32, field - 113), 0))
        w = lane.delay(_ACTIVE, "w_bits", w, 2)
        # 2: move it.
        stage += 1
        shifted = lane.register(stage, "w_shifted", 24, shift_right(
            m, lane.name("w_shift"), significand, amount))
        half_field = lane.register(stage, "w_field", 8, half_field)
        flags = lane.keep(stage, "w", flags)
        # 3: round.
        stage += 1
        whole = lane.register(stage, "w_whole", 18,
                              round_even(m, lane.name("w_whole_rounded"), shifted, 7))
        fp16 = lane.register(stage, "w_half_packed", 18, (half_field << 10) + round_even(
            m, lane.name("w_half_rounded"), shifted, 13))
        bf16 = lane.register(stage, "w_bfloat", 16,
                             round_even(m, lane.name("w_bfloat_rounded"), w[:31], 16))
        flags = lane.keep(stage, "w", flags)
        w = lane.delay(stage - 1, "w_bits", w, 1)
        # 4: the zero point.
        stage += 1
        sign, zero_point = w[31], settings[stage - 1].out_zero_point
        moved = lane.register(stage, "w_moved", signed(20),
                              Mux(sign, zero_point - whole, zero_point + whole))
        fp16 = lane.register(stage, "w_fp16", 16, Mux(flags["nan"], 0x7E00, Cat(
            Mux(fp16 >= 0x7C00, 0x7C00, fp16)[:15], sign)))
        bf16 = lane.register(stage, "w_bf16", 16, Cat(bf16[:15], sign))
        flags = lane.keep(stage, "w", flags)
        w = lane.delay(stage - 1, "w_bits", w, 1)
        # 5: saturate and choose.
        sign, now = w[31], settings[stage]
        low, high = lane.named("w_low", signed(17), 0), lane.named("w_high", signed(17), 0)
        for element, least, most in ((ElementType.INT8, -128, 127), (ElementType.UINT8, 0, 255),
                                     (ElementType.INT16, -32768, 32767)):
            with m.If(now.out_type == int(element)):
                m.d.comb += [low.eq(least), high.eq(most)]
        limited = lane.named("w_limited", signed(17), Mux(
            flags["nan"], now.out_zero_point, Mux(flags["large"], Mux(sign, low, high), Mux(
                moved < low, low, Mux(moved > high, high, moved)))))
        result = lane.named("element", 32, limited)
        with m.Switch(now.out_type):
            with m.Case(int(ElementType.FP32)):
                m.d.comb += result.eq(w)
            with m.Case(int(ElementType.FP16)):
                m.d.comb += result.eq(fp16)
            with m.Case(int(ElementType.BF16)):
                m.d.comb += result.eq(bf16)
        return lane.register(_STAGES, "element", 32, result)
