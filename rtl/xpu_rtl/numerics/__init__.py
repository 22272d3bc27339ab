"""Golden model of the tensor unit's arithmetic, in plain NumPy.

The exact definitions, and what they are equal to, are in ``docs/numerics.md``. Nothing here knows
how the hardware does it; the hardware's tests and the functional model compare against it.
"""

from .finish import dtype_of, finish, raw
from .floating import canonical, dot_float, gemm_float
from .integer import gemm_int, gemm_int16, relu, requantize, wrap_int32, wrap_int48

__all__ = ["canonical", "dot_float", "dtype_of", "finish", "gemm_float", "gemm_int", "gemm_int16",
           "raw", "relu", "requantize", "wrap_int32", "wrap_int48"]
