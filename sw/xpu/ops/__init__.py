"""Operators."""

from .constant import fill, full, im2col, pad
from .convolution import conv2d, oihw_to_hwio
from .matmul import linear, matmul
from .move import copy, scatter, take, transpose
from .scaled import absmax, quantize
from .simd.elementwise import (
    abs_ as abs,
)
from .simd.elementwise import (
    add,
    cast,
    clip,
    div,
    eq,
    erf,
    exp,
    expand,
    ge,
    gelu,
    gt,
    hardswish,
    le,
    leaky_relu,
    log,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    relu,
    rsqrt,
    sigmoid,
    silu,
    sqrt,
    sub,
    tanh,
    where,
)
from .simd.elementwise import (
    pow_ as pow,
)
from .simd.reduce import argmax, l2_norm, mean
from .simd.reduce import max_ as max
from .simd.reduce import min_ as min
from .simd.reduce import sum_ as sum
from .simd.rows import batch_norm, layer_norm, log_softmax, rms_norm, softmax
from .tables import activation_table

gather = take

__all__ = ["abs", "absmax", "activation_table", "add", "argmax", "batch_norm", "cast", "clip",
           "conv2d", "copy", "div", "eq", "erf", "exp", "expand", "fill", "full", "gather", "ge",
           "gelu", "gt", "hardswish", "im2col", "l2_norm", "layer_norm", "le", "leaky_relu",
           "linear", "log", "log_softmax", "lt", "matmul", "max", "maximum", "mean", "min",
           "minimum", "mul", "ne", "neg", "oihw_to_hwio", "pad", "pow", "quantize", "relu",
           "rms_norm", "rsqrt", "scatter", "sigmoid", "silu", "softmax", "sqrt", "sub", "sum",
           "take", "tanh", "transpose", "where"]
