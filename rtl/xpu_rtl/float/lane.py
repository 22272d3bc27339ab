"""Pipeline stages of one lane: binary32 operations, from packed operands to a packed result.

Every function adds the stages of one operation behind stage ``stage`` of a lane and returns its
result, a register of stage ``stage + <OPERATION>_STAGES``. All round to nearest, ties to even,
honour subnormal numbers and produce only the NaN ``NAN``.
"""

from amaranth import Cat, Const, Mux, Signal, signed, unsigned

from .bits import INFINITY, NAN, named, normalise, round_even, shift_right

__all__ = ["ADD_STAGES", "INTEGER_STAGES", "MULTIPLY_STAGES", "PACK_STAGES", "Lane", "add",
           "from_integer", "multiply", "normalised", "pack"]

PACK_STAGES = 2
ADD_STAGES = 4 + PACK_STAGES
MULTIPLY_STAGES = 3 + PACK_STAGES
INTEGER_STAGES = 2 + PACK_STAGES
_KEPT = 26      #: bits of a normalised number: a significand, a bit to round, and a sticky one
_FIELD = signed(11)


class Lane:
    """One lane of a pipeline.

    Parameters
    ----------
    m : Module
        Where everything is added.
    enables : list of Value
        ``enables[s]``: the registers of stage s + 1 take what stage s holds.
    suffix : str
        Of the names of all signals.
    """

    def __init__(self, m, enables, suffix):
        self.m, self._enables, self._suffix = m, enables, suffix

    def register(self, stage, name, shape, value):
        """Register of a stage; its data are not reset."""
        target = Signal(shape, name=f"s{stage}_{name}_{self._suffix}", reset_less=True)
        with self.m.If(self._enables[stage - 1]):
            self.m.d.sync += target.eq(value)
        return target

    def named(self, name, shape, value):
        return named(self.m, f"{name}_{self._suffix}", shape, value)

    def delay(self, stage, name, value, stages):
        """A value of ``stage``, ``stages`` later."""
        for later in range(stage + 1, stage + stages + 1):
            value = self.register(later, name, value.shape(), value)
        return value

    def name(self, name):
        return f"{name}_{self._suffix}"


class _Number:
    """Parts of a packed number: named signals."""

    def __init__(self, lane, name, bits):
        field, fraction = bits[23:31], bits[:23]
        normal = lane.named(f"{name}_normal", 1, field.any())
        special = lane.named(f"{name}_special", 1, field.all())
        full = lane.named(f"{name}_full", 1, fraction.any())
        self.sign = bits[31]
        self.field = lane.named(f"{name}_field", 8, field | ~normal)      # at least 1
        self.significand = lane.named(f"{name}_significand", 24, Cat(fraction, normal))
        self.infinite = lane.named(f"{name}_infinite", 1, special & ~full)
        self.nan = lane.named(f"{name}_nan", 1, special & full)
        self.zero = lane.named(f"{name}_zero", 1, ~normal & ~full)


def pack(lane, stage, name, *, sign, zero_sign, field, significand, nan, infinite):
    """Two stages: a normalised number becomes binary32.

    ``significand`` (26 bits) has its leading one at the top, or is zero; its lowest bit is sticky.
    ``field`` (signed) is the exponent field that the leading one asks for.
    """
    tiny = lane.named(f"{name}_tiny", 1, field <= 0)
    amount = lane.named(f"{name}_amount", 5, Mux(tiny, Mux(field < -25, _KEPT, 1 - field), 0))
    lowered = lane.register(stage + 1, f"{name}_lowered", _KEPT, shift_right(
        lane.m, lane.name(f"{name}_shift"), significand, amount))
    # The implicit bit adds 1 to the field, which is why it is one less.
    field = lane.register(stage + 1, f"{name}_field", unsigned(10),
                          Mux(tiny | ~significand[-1], 0, field - 1))
    sign, zero_sign, nan, infinite = (
        lane.register(stage + 1, f"{name}_{what}", 1, value) for what, value in (
            ("sign", sign), ("zero_sign", zero_sign), ("nan", nan), ("infinite", infinite)))
    rounded = round_even(lane.m, lane.name(f"{name}_rounded"), lowered, _KEPT - 24)
    packed = lane.named(f"{name}_packed", 34, Cat(Const(0, 23), field) + rounded)
    bits = lane.named(f"{name}_bits", 31,
                      Mux(infinite | (packed >= INFINITY), INFINITY, packed))
    return lane.register(stage + 2, f"{name}_result", 32, Mux(
        nan, NAN, Cat(bits, Mux(bits.any(), sign, zero_sign))))


def normalised(lane, stage, name, magnitude, top):
    """One stage, ``stage`` itself: ``(field, significand)`` for ``pack`` of a magnitude whose top
    bit has the field ``top``."""
    zeros, shifted = normalise(lane.m, lane.name(f"{name}_normal"), magnitude)
    field = lane.register(stage, f"{name}_top", _FIELD, top - zeros)
    if len(shifted) > _KEPT:
        cut = len(shifted) - _KEPT + 1
        kept = Cat(shifted[:cut].any(), shifted[cut:])
    else:
        kept = Cat(Const(0, _KEPT - len(shifted)), shifted)
    return field, lane.register(stage, f"{name}_significand", _KEPT, kept)


def add(lane, stage, name, a, b):
    """``a + b``, in ``ADD_STAGES``."""
    # 1: the larger magnitude first.
    less = lane.named(f"{name}_less", 1, a[:31] < b[:31])
    first = lane.register(stage + 1, f"{name}_first", 32, Mux(less, b, a))
    second = lane.register(stage + 1, f"{name}_second", 32, Mux(less, a, b))
    x, y = _Number(lane, f"{name}_x", first), _Number(lane, f"{name}_y", second)
    # 2: align.
    subtract = lane.named(f"{name}_differ", 1, x.sign ^ y.sign)
    distance = lane.named(f"{name}_distance", 8, x.field - y.field)
    amount = lane.named(f"{name}_amount", 5, Mux(distance > 27, 27, distance))
    aligned = lane.register(stage + 2, f"{name}_aligned", 27, shift_right(
        lane.m, lane.name(f"{name}_align"), Cat(Const(0, 3), y.significand), amount))
    larger = lane.register(stage + 2, f"{name}_larger", 24, x.significand)
    state = {"sign": x.sign, "nan": x.nan | y.nan | (x.infinite & y.infinite & subtract),
             "zero_sign": x.sign & y.sign, "infinite": x.infinite}
    field, subtracts = x.field, subtract
    state, field, subtracts = _keep(lane, stage + 2, name, state, field, subtracts)
    # 3: add. No wrap: the aligned magnitude is not larger.
    wide = Cat(Const(0, 3), larger, Const(0, 1))
    total = lane.register(stage + 3, f"{name}_total", 28,
                          Mux(subtracts, wide - aligned, wide + aligned))
    state, field, _ = _keep(lane, stage + 3, name, state, field, subtracts)
    # 4: normalise.
    state, top, _ = _keep(lane, stage + 4, name, state, field, subtracts, only_state=True)
    top, significand = normalised(lane, stage + 4, name, total, field + 1)
    return pack(lane, stage + 4, name, field=top, significand=significand, **state)


def _keep(lane, stage, name, state, field, subtracts, only_state=False):
    state = {key: lane.register(stage, f"{name}_{key}", 1, value) for key, value in state.items()}
    if only_state:
        return state, None, None
    return (state, lane.register(stage, f"{name}_field", 8, field),
            lane.register(stage, f"{name}_subtracts", 1, subtracts))


def multiply(lane, stage, name, a, b):
    """``a * b``, in ``MULTIPLY_STAGES``."""
    x, y = _Number(lane, f"{name}_x", a), _Number(lane, f"{name}_y", b)
    sign = x.sign ^ y.sign
    state = {"sign": sign, "zero_sign": sign, "infinite": x.infinite | y.infinite,
             "nan": x.nan | y.nan | (x.infinite & y.zero) | (y.infinite & x.zero)}
    # 1: unpack. 2: multiply. 3: normalise: the top bit of the product stands for 2 or more.
    factors = [lane.register(stage + 1, f"{name}_{what}", 24, number.significand)
               for what, number in (("left", x), ("right", y))]
    field = lane.register(stage + 1, f"{name}_sum", 9, x.field + y.field)
    product = lane.register(stage + 2, f"{name}_product", 48, factors[0] * factors[1])
    field = lane.register(stage + 2, f"{name}_sum", 9, field)
    for later in (1, 2, 3):
        state, _, _ = _keep(lane, stage + later, name, state, None, None, only_state=True)
    top, significand = normalised(lane, stage + 3, name, product, field - 126)
    return pack(lane, stage + 3, name, field=top, significand=significand, **state)


def from_integer(lane, stage, name, sign, magnitude, exponent=0, nan=0, infinite=0, zero_sign=0):
    """``(-1)**sign * magnitude * 2**exponent`` rounded once, in ``INTEGER_STAGES``.

    ``nan`` and ``infinite`` override the value.
    """
    state = {"sign": sign, "zero_sign": zero_sign, "nan": nan, "infinite": infinite}
    size = len(magnitude)
    kept = lane.register(stage + 1, f"{name}_magnitude", size, magnitude)
    exponent = lane.register(stage + 1, f"{name}_exponent", signed(7), exponent)
    for later in (1, 2):
        state, _, _ = _keep(lane, stage + later, name, state, None, None, only_state=True)
    top, significand = normalised(lane, stage + 2, name, kept, exponent + (127 + size - 1))
    return pack(lane, stage + 2, name, field=top, significand=significand, **state)
