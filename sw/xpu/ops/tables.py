"""Tables of functions of 8-bit values."""

import math

import numpy as np

from ..errors import ArgumentError
from ..tensor import check_dtype
from .arguments import positive, zero_point

__all__ = ["activation_table"]

_FUNCTIONS = {
    "gelu": lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))),
    "silu": lambda v: v / (1 + math.exp(-v)) if v > -700 else 0.0,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)) if v > -700 else 0.0,
    "tanh": math.tanh,
    "hard_swish": lambda v: v * min(max(v + 3, 0), 6) / 6,
    "hard_sigmoid": lambda v: min(max(v / 6 + 0.5, 0), 1),
    "elu": lambda v: v if v > 0 else math.expm1(v),
}


def activation_table(function, in_scale, in_zero_point, out_scale, out_zero_point,
                     dtype="int8"):
    """Return the 256 entries that make an 8-bit result a function of itself.

    Entry i, for the result q whose byte is i, is
    ``saturate(round_half_even(function((q - in_zero_point) * in_scale) / out_scale) +
    out_zero_point)``, in float64.

    Parameters
    ----------
    function : str or callable
        "gelu" (exact), "silu", "sigmoid", "tanh", "hard_swish", "hard_sigmoid", "elu", or a
        function of one float. A NaN becomes the zero point.
    in_scale, in_zero_point : float, int
        Quantisation of what the product is scaled to, before the table.
    out_scale, out_zero_point : float, int
        Quantisation of the result.
    dtype : dtype
        int8 or uint8, of both.

    Returns
    -------
    array [256] of ``dtype``
    """
    dtype = check_dtype(dtype, "activation_table: dtype", ("int8", "uint8"))
    if not callable(function):
        if not isinstance(function, str) or function not in _FUNCTIONS:
            raise ArgumentError(f"activation_table: function must be callable or one of "
                                f"{', '.join(_FUNCTIONS)}, not {function!r}")
        function = _FUNCTIONS[function]
    in_scale, out_scale = (float(positive(f"activation_table: {name}", value)) for name, value in
                           (("in_scale", in_scale), ("out_scale", out_scale)))
    zeros = [zero_point(f"activation_table: {name}", value, dtype) for name, value in
             (("in_zero_point", in_zero_point), ("out_zero_point", out_zero_point))]
    values = np.arange(256).astype(np.uint8).view(dtype).astype(np.float64)
    results = np.array([function((value - zeros[0]) * in_scale) for value in values], np.float64)
    limits = np.iinfo(dtype)
    rounded = np.rint(np.where(np.isnan(results), 0, results) / out_scale) + zeros[1]
    return np.clip(rounded, limits.min, limits.max).astype(dtype)
