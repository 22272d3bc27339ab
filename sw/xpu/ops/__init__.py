"""Operators."""

from .constant import fill, full, im2col, pad
from .matmul import matmul
from .move import copy, scatter, take, transpose

gather = take

__all__ = ["copy", "fill", "full", "gather", "im2col", "matmul", "pad", "scatter", "take",
           "transpose"]
