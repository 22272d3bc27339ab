"""Pipeline stages of one lane: binary32 operations, from packed operands to a packed result.

Every function adds the stages of one operation behind stage ``stage`` of a lane and returns its
result, a register of stage ``stage + <OPERATION>_STAGES``. All round to nearest, ties to even,
honour subnormal numbers and produce only the NaN ``NAN``.
"""

from amaranth import Cat, Const, Mux, Signal, signed, unsigned

from .bits import INFINITY, NAN, first_set, named, round_even, shift_right

__all__ = ["ADD_STAGES", "INTEGER_STAGES", "MULTIPLY_STAGES", "NORMALISE_STAGES", "PACK_STAGES",
           "Lane", "add", "from_integer", "less", "multiply", "normalised", "pack"]

NORMALISE_STAGES = 2
PACK_STAGES = 4
ADD_STAGES = 4 + NORMALISE_STAGES + PACK_STAGES
MULTIPLY_STAGES = 3 + NORMALISE_STAGES + PACK_STAGES
INTEGER_STAGES = 1 + NORMALISE_STAGES + PACK_STAGES
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

    def keep(self, stage, name, state):
        """A dictionary of flags, one stage on, in registers of ``stage``."""
        return {key: self.register(stage, f"{name}_{key}", 1, value)
                for key, value in state.items()}

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


def less(lane, name, a, b):
    """Whether ``a < b``, of packed numbers that are not NaN; both zeros are equal."""
    smaller = lane.named(f"{name}_smaller", 1, a[:31] < b[:31])
    larger = lane.named(f"{name}_larger", 1, a[:31] > b[:31])
    some = lane.named(f"{name}_some", 1, a[:31].any() | b[:31].any())
    return lane.named(name, 1, Mux(a[31], Mux(b[31], larger, some), ~b[31] & smaller))


def pack(lane, stage, name, *, field, significand, **state):
    """Four stages: a normalised number becomes binary32.

    ``significand`` (26 bits) has its leading one at the top, or is zero; its lowest bit is sticky.
    ``field`` (signed) is the exponent field that the leading one asks for. ``state``: ``sign``,
    ``zero_sign`` (of a result of zero), ``nan``, ``infinite``.
    """
    # 1: how far a subnormal number has to move. 2: move it.
    tiny = lane.named(f"{name}_tiny", 1, field <= 0)
    amount = lane.register(stage + 1, f"{name}_amount", 5, Mux(
        tiny, Mux(field < -25, _KEPT, 1 - field), 0))
    # The implicit bit adds 1 to the field, which is why it is one less.
    field = lane.register(stage + 1, f"{name}_field", unsigned(10),
                          Mux(tiny | ~significand[-1], 0, field - 1))
    significand = lane.register(stage + 1, f"{name}_unmoved", _KEPT, significand)
    lowered = lane.register(stage + 2, f"{name}_lowered", _KEPT, shift_right(
        lane.m, lane.name(f"{name}_shift"), significand, amount))
    field = lane.register(stage + 2, f"{name}_field", unsigned(10), field)
    # 3: round, which may carry into the field. 4: choose.
    rounded = round_even(lane.m, lane.name(f"{name}_rounded"), lowered, _KEPT - 24)
    packed = lane.register(stage + 3, f"{name}_packed", 34, Cat(Const(0, 23), field) + rounded)
    for later in (1, 2, 3):
        state = lane.keep(stage + later, f"{name}_pack", state)
    bits = lane.named(f"{name}_bits", 31, Mux(
        state["infinite"] | (packed >= INFINITY), INFINITY, packed))
    return lane.register(stage + 4, f"{name}_result", 32, Mux(
        state["nan"], NAN,
        Cat(bits, Mux(bits.any(), state["sign"], state["zero_sign"]))))


def normalised(lane, stage, name, magnitude, top):
    """Two stages: ``(field, significand)`` for ``pack``, of a magnitude in ``stage`` whose top bit
    has the field ``top``."""
    # 1: by whole bytes. 2: by bits.
    size = -(-len(magnitude) // 8) * 8
    magnitude = lane.named(f"{name}_padded", size, Cat(Const(0, size - len(magnitude)), magnitude))
    zeros = first_set(lane.m, lane.name(f"{name}_bytes"),
                      [magnitude[n - 8:n].any() for n in range(size, 0, -8)])
    by_bytes = lane.register(stage + 1, f"{name}_by_bytes", size, magnitude << (zeros << 3))
    top = lane.register(stage + 1, f"{name}_first", _FIELD, top - (zeros << 3))
    zeros = first_set(lane.m, lane.name(f"{name}_bits_before"), list(reversed(by_bytes[-8:])))
    shifted = lane.named(f"{name}_shifted", size, by_bytes << zeros)
    field = lane.register(stage + 2, f"{name}_top", _FIELD, top - zeros)
    if size > _KEPT:
        cut = size - _KEPT + 1
        kept = Cat(shifted[:cut].any(), shifted[cut:])
    else:
        kept = Cat(Const(0, _KEPT - size), shifted)
    return field, lane.register(stage + 2, f"{name}_significand", _KEPT, kept)


def _finished(lane, stage, name, magnitude, top, state):
    """``normalised`` and ``pack``."""
    field, significand = normalised(lane, stage, name, magnitude, top)
    for later in range(1, NORMALISE_STAGES + 1):
        state = lane.keep(stage + later, f"{name}_normal", state)
    return pack(lane, stage + NORMALISE_STAGES, name, field=field, significand=significand, **state)


def add(lane, stage, name, a, b):
    """``a + b``, in ``ADD_STAGES``."""
    # 1: the larger magnitude first.
    swap = lane.named(f"{name}_less", 1, a[:31] < b[:31])
    first = lane.register(stage + 1, f"{name}_first", 32, Mux(swap, b, a))
    second = lane.register(stage + 1, f"{name}_second", 32, Mux(swap, a, b))
    x, y = _Number(lane, f"{name}_x", first), _Number(lane, f"{name}_y", second)
    # 2: how far to move the smaller one.
    subtract = lane.named(f"{name}_differ", 1, x.sign ^ y.sign)
    distance = lane.named(f"{name}_distance", 8, x.field - y.field)
    amount = lane.register(stage + 2, f"{name}_amount", 5, Mux(distance > 27, 27, distance))
    larger = lane.register(stage + 2, f"{name}_larger", 24, x.significand)
    smaller = lane.register(stage + 2, f"{name}_second_significand", 24, y.significand)
    field = lane.register(stage + 2, f"{name}_field", 8, x.field)
    state = lane.keep(stage + 2, name, {
        "sign": x.sign, "nan": x.nan | y.nan | (x.infinite & y.infinite & subtract),
        "zero_sign": x.sign & y.sign, "infinite": x.infinite, "subtract": subtract})
    # 3: align.
    aligned = lane.register(stage + 3, f"{name}_aligned", 27, shift_right(
        lane.m, lane.name(f"{name}_align"), Cat(Const(0, 3), smaller), amount))
    larger = lane.register(stage + 3, f"{name}_larger", 24, larger)
    field = lane.register(stage + 3, f"{name}_field", 8, field)
    state = lane.keep(stage + 3, name, state)
    # 4: add. No wrap: the aligned magnitude is not larger.
    wide = Cat(Const(0, 3), larger, Const(0, 1))
    total = lane.register(stage + 4, f"{name}_total", 28,
                          Mux(state.pop("subtract"), wide - aligned, wide + aligned))
    field = lane.register(stage + 4, f"{name}_field", 8, field)
    state = lane.keep(stage + 4, name, state)
    return _finished(lane, stage + 4, name, total, field + 1, state)


def multiply(lane, stage, name, a, b):
    """``a * b``, in ``MULTIPLY_STAGES``."""
    # 1: unpack.
    x, y = _Number(lane, f"{name}_x", a), _Number(lane, f"{name}_y", b)
    sign = x.sign ^ y.sign
    state = {"sign": sign, "zero_sign": sign, "infinite": x.infinite | y.infinite,
             "nan": x.nan | y.nan | (x.infinite & y.zero) | (y.infinite & x.zero)}
    left, right = (lane.register(stage + 1, f"{name}_{what}", 24, number.significand)
                   for what, number in (("left", x), ("right", y)))
    field = lane.register(stage + 1, f"{name}_sum", 9, x.field + y.field)
    # 2: products of halves, which a multiplier block of 18 bits holds. 3: add them.
    halves = [[lane.register(stage + 2, f"{name}_product_{i}{j}", 24,
                             left[12 * i:12 * i + 12] * right[12 * j:12 * j + 12])
               for j in range(2)] for i in range(2)]
    middle = lane.named(f"{name}_middle", 25, halves[0][1] + halves[1][0])
    product = lane.register(stage + 3, f"{name}_product", 48,
                            Cat(halves[0][0], halves[1][1]) + (middle << 12))
    for later in (2, 3):
        field = lane.register(stage + later, f"{name}_sum", 9, field)
    for later in (1, 2, 3):
        state = lane.keep(stage + later, name, state)
    # The top bit of the product stands for 2 or more.
    return _finished(lane, stage + 3, name, product, field - 126, state)


def from_integer(lane, stage, name, sign, magnitude, exponent=0, nan=0, infinite=0, zero_sign=0):
    """``(-1)**sign * magnitude * 2**exponent`` rounded once, in ``INTEGER_STAGES``.

    ``nan`` and ``infinite`` override the value.
    """
    size = len(magnitude)
    state = lane.keep(stage + 1, name, {"sign": sign, "zero_sign": zero_sign, "nan": nan,
                                        "infinite": infinite})
    kept = lane.register(stage + 1, f"{name}_magnitude", size, magnitude)
    exponent = lane.register(stage + 1, f"{name}_exponent", signed(7), exponent)
    return _finished(lane, stage + 1, name, kept, exponent + (127 + size - 1), state)
