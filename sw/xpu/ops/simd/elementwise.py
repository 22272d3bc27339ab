"""Element-wise operators."""

import math
import numbers

import numpy as np

from ... import dma
from ...errors import ArgumentError, DTypeError, ShapeError
from ...tensor import DTYPES, Tensor, check_dtype
from ..arguments import new_tensor
from .library import C_TYPES, FLOATS, check_operand, described
from .stream import Flow, stream

__all__ = ["abs_", "add", "cast", "clip", "div", "eq", "erf", "exp", "expand", "ge", "gelu", "gt",
           "hardswish", "le", "leaky_relu", "log", "lt", "maximum", "minimum", "mul", "ne", "neg",
           "pow_", "relu", "rsqrt", "sigmoid", "silu", "sqrt", "sub", "tanh", "where"]

_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32")
_BITS = {1: "int8", 2: "int16", 4: "int32"}
_GRANULE = 256          #: elements: groups of all cores fill up


def _elementwise(name, operands, out_dtype, load, store, result, numbers_=(), types=None,
                 **defines):
    """Apply ``result``, an expression of C, to tensors of one shape."""
    x = operands[0]
    out = x.device.empty(x.shape, out_dtype)
    types = types or [operand.dtype.name for operand in operands]
    letters = "abc"[:len(operands)]
    defines |= {letter.upper(): C_TYPES[kind] for letter, kind in zip(letters, types, strict=True)}
    defines |= {"OUT": C_TYPES[out.dtype.name], "LOAD": load, "STORE": store,
                f"RESULT({', '.join(letters)})": result,
                "NUMBER": "int" if any(isinstance(n, int) for n in numbers_) else "float"}
    stream(described(name, x), "elementwise", defines, x.size,
           [Flow(operand, operand.dtype.itemsize) for operand in operands],
           [Flow(out, out.dtype.itemsize)], numbers=(*numbers_, 0, 0)[:2], granule=_GRANULE)
    return out


def expand(x, shape):
    """Return a tensor broadcast to a shape, as ``numpy.broadcast_to`` does but with contents of its
    own."""
    if x.shape == shape:
        return x
    try:
        if np.broadcast_shapes(x.shape, shape) != tuple(shape):
            raise ValueError
    except ValueError:
        raise ShapeError(f"a tensor of shape {x.shape} cannot be broadcast to "
                         f"{tuple(shape)}") from None
    sizes = (1,) * (len(shape) - x.ndim) + x.shape
    size = x.dtype.itemsize
    strides = [math.prod(sizes[n + 1:]) * size if have > 1 else 0 for n, have in enumerate(sizes)]
    # What is dense at the end is one row.
    row, outer = size, len(shape)
    while outer and sizes[outer - 1] == shape[outer - 1]:
        outer -= 1
        row *= shape[outer]
    to = [math.prod(shape[n + 1:]) * size for n in range(outer)]
    return new_tensor("expand", tuple(shape), [x], lambda out: dma.copy_nd(
        x.address, out.address, (*shape[:outer], row), strides[:outer], to))


# One operand --------------------------------------------------------------------------------------
def _unary(name, expression, what, **defines):
    def operator(x):
        check_operand(f"{name}: x", x, FLOATS)
        return _elementwise(name, [x], x.dtype, "v", "v", expression, **defines)

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = (f"Return {what} of every element.\n\n    ``x``: float32, float16 or "
                        "bfloat16, which the result has too: computed in float32\n    and rounded "
                        "once. Errors are bounded in ``docs/operators.md``.\n    ")
    return operator


exp = _unary("exp", "v_exp(a, vl)", "the exponential")
log = _unary("log", "v_log(a, vl)", "the natural logarithm")
sqrt = _unary("sqrt", "v_sqrt(a, vl)", "the square root")
rsqrt = _unary("rsqrt", "v_rsqrt(a, vl)", "the reciprocal of the square root")
erf = _unary("erf", "v_erf(a, vl)", "the error function")
tanh = _unary("tanh", "v_tanh(a, vl)", "the hyperbolic tangent")
sigmoid = _unary("sigmoid", "v_sigmoid(a, vl)", "``1 / (1 + exp(-x))``")
gelu = _unary("gelu", "v_gelu(a, vl)", "``x * (1 + erf(x / sqrt(2))) / 2``", LMUL=8, AHEAD=1)
silu = _unary("silu", "v_silu(a, vl)", "``x * sigmoid(x)``")
hardswish = _unary("hardswish", "v_hardswish(a, vl)", "``x * clip(x + 3, 0, 6) / 6``")
relu = _unary("relu", "v_relu(a, vl)", "the larger of it and 0")
abs_ = _unary("abs", "v_abs(a, vl)", "the magnitude")
neg = _unary("neg", "V(vfneg_v, a)", "the negative")


def leaky_relu(x, negative_slope=0.01):
    """Return every element, times ``negative_slope`` if it is below 0."""
    check_operand("leaky_relu: x", x, FLOATS)
    slope = _number("leaky_relu: negative_slope", negative_slope, x.dtype)
    return _elementwise("leaky_relu", [x], x.dtype, "v", "v", "v_leaky_relu(a, p, vl)", (slope,))


def clip(x, low, high):
    """Return every element, or the nearer of ``low`` and ``high`` if it lies outside; NaN stays.

    ``x``: a floating-point type, or an integer of at most 32 bits but uint32.
    """
    check_operand("clip: x", x, (*FLOATS, *_INTEGERS))
    limits = [_number(f"clip: {name}", value, x.dtype)
              for name, value in (("low", low), ("high", high))]
    if limits[0] > limits[1]:
        raise ArgumentError(f"clip: low must not be above high, not {low} and {high}")
    if x.dtype.name in FLOATS:
        return _elementwise("clip", [x], x.dtype, "v", "v", "v_clamp(a, p, q, vl)", limits)
    return _elementwise("clip", [x], x.dtype, "i", "i", "I(vmin_vx, I(vmax_vx, a, p), q)", limits)


def cast(x, dtype):
    """Return a tensor of another type.

    Any two of float32, float16, bfloat16, bool and the integers of at most 32 bits. To a
    floating-point type: rounded to nearest even. To an integer from a floating-point type: towards
    zero, and the nearest there is (the largest for NaN); from an integer: the low bits stay, as in
    NumPy. To bool: whether it is not 0.
    """
    check_operand("cast: x", x, tuple(C_TYPES))
    dtype = check_dtype(dtype, "cast: dtype", tuple(C_TYPES))
    way = "v" if x.dtype.name in FLOATS or dtype.name in FLOATS else "i"
    return _elementwise("cast", [x], dtype, way, way, "(a)")


# Two operands -------------------------------------------------------------------------------------
def _number(name, value, dtype):
    """A number for an operand of a type: a float, or an int in its range."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} must be a number, not {value!r}")
    if dtype.name in FLOATS:
        return float(dtype.type(value))
    limits = np.iinfo(dtype)
    if not isinstance(value, numbers.Integral) or not limits.min <= value <= limits.max:
        raise ArgumentError(f"{name} must be an integer in [{limits.min}, {limits.max}] of "
                            f"{dtype.name}, not {value!r}")
    return int(value)


def _two(name, a, b, floating, integer, out_dtype=None, store=None):
    """An operator on tensors that broadcast, one of which may be a number."""
    first = a if isinstance(a, Tensor) else b
    check_operand(f"{name}: {'a' if first is a else 'b'}", first,
                  (*FLOATS, *(_INTEGERS if integer else ())))
    is_float = first.dtype.name in FLOATS
    load, expression = ("v", floating) if is_float else ("i", integer)
    store, out_dtype = store or load, out_dtype or first.dtype
    splat = "V(vfmv_v_f, p)" if is_float else "I(vmv_v_x, p)"
    for letter, other, swapped in (("b", b, False), ("a", a, True)):
        if not isinstance(other, Tensor):
            value = _number(f"{name}: {letter}", other, first.dtype)
            pair = (splat, "a") if swapped else ("a", splat)
            return _elementwise(name, [first], out_dtype, load, store,
                                f"BINARY({', '.join(pair)})", (value,),
                                **{"BINARY(a, b)": expression})
    check_operand(f"{name}: b", b, (a.dtype.name,), a.device)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"{name}: shapes must broadcast, not {a.shape} and {b.shape}") from None
    return _elementwise(name, [expand(a, shape), expand(b, shape)], out_dtype, load, store,
                        expression)


def _binary(name, floating, integer, what):
    def operator(a, b):
        return _two(name, a, b, floating, integer)

    types = "a floating-point type" + (", or int8, uint8, int16, uint16, int32 modulo their size"
                                       if integer else "")
    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = (f"Return {what}, element by element.\n\n    Tensors of one type that "
                        f"broadcast as in NumPy, or a tensor and a number. Of\n    {types}.\n    ")
    return operator


add = _binary("add", "V(vfadd_vv, a, b)", "I(vadd_vv, a, b)", "``a + b``")
sub = _binary("sub", "V(vfsub_vv, a, b)", "I(vsub_vv, a, b)", "``a - b``")
mul = _binary("mul", "V(vfmul_vv, a, b)", "I(vmul_vv, a, b)", "``a * b``")
div = _binary("div", "V(vfdiv_vv, a, b)", None, "``a / b``")
maximum = _binary("maximum", "v_maximum(a, b, vl)", "I(vmax_vv, a, b)",
                  "the larger (NaN if one is)")
minimum = _binary("minimum", "v_minimum(a, b, vl)", "I(vmin_vv, a, b)",
                  "the smaller (NaN if one is)")
pow_ = _binary("pow", "v_pow(a, b, vl)", None, "``a ** b``")


def _compare(name, floating, integer, what):
    def operator(a, b):
        return _two(name, a, b, f"MASK({floating}_vv, a, b)",
                    f"__riscv_{integer}_vv_i32m4_b8(a, b, vl)", DTYPES["bool"], "m")

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = f"Return ``{what}`` as bool, element by element; operands as of ``add``."
    return operator


eq = _compare("eq", "vmfeq", "vmseq", "a == b")
ne = _compare("ne", "vmfne", "vmsne", "a != b")
lt = _compare("lt", "vmflt", "vmslt", "a < b")
le = _compare("le", "vmfle", "vmsle", "a <= b")
gt = _compare("gt", "vmfgt", "vmsgt", "a > b")
ge = _compare("ge", "vmfge", "vmsge", "a >= b")


def where(condition, a, b):
    """Return the elements of ``a`` where ``condition`` holds, and those of ``b`` elsewhere.

    Parameters
    ----------
    condition : Tensor
        bool. All three broadcast.
    a, b : Tensor
        Of one type of at most 4 bytes.
    """
    check_operand("where: condition", condition, ("bool",))
    check_operand("where: a", a, tuple(C_TYPES), condition.device)
    check_operand("where: b", b, (a.dtype.name,), condition.device)
    try:
        shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"where: shapes must broadcast, not {condition.shape}, {a.shape} and "
                         f"{b.shape}") from None
    if a.dtype.itemsize not in _BITS:
        raise DTypeError(f"where: a must have elements of at most 4 bytes, not {a.dtype.name}")
    bits = _BITS[a.dtype.itemsize]
    return _elementwise("where", [expand(x, shape) for x in (condition, a, b)], a.dtype, "i", "i",
                        "I(vmerge_vvm, c, b, __riscv_vmsne_vx_i32m4_b8(a, 0, vl))",
                        types=["bool", bits, bits], STORE_AS=C_TYPES[bits])
