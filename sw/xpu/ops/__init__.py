"""Operators."""

from .constant import fill, full, im2col, pad
from .convolution import conv2d, oihw_to_hwio
from .matmul import linear, matmul
from .move import copy, scatter, take, transpose
from .scaled import absmax, quantize
from .tables import activation_table

gather = take

__all__ = ["absmax", "activation_table", "conv2d", "copy", "fill", "full", "gather", "im2col",
           "linear", "matmul", "oihw_to_hwio", "pad", "quantize", "scatter", "take", "transpose"]
