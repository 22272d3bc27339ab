"""The operator kernels: templates in C, with types and functions filled in."""

import functools

from ...errors import ArgumentError
from ...kernel import Kernel
from ...tensor import check_dtype
from ..arguments import check_tensor

__all__ = ["C_TYPES", "FLOATS", "check_operand", "described", "kernel_for", "line_elements"]

#: Types in C, by that of the elements.
C_TYPES = {"float32": "float", "float16": "_Float16", "bfloat16": "bfloat16_t", "bool": "bool8_t",
           "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t",
           "int32": "int32_t", "uint32": "uint32_t"}
FLOATS = ("float32", "float16", "bfloat16")
#: Templates whose statements are in the order that suits the vector unit, and flags that keep it.
_IN_ORDER = ("gemm",)
_ORDERED = ("-mllvm", "-enable-misched=false")
_STACK = 2048           #: bytes of LM that are left for it


@functools.lru_cache(maxsize=256)
def _kernel(template, defines):
    lines = [f"#define {name} {value}" for name, value in defines]
    name = "elementwise" if template == "elementwise" else "rows"
    return Kernel.from_source("\n".join((*lines, f'#include "ops/{template}.h"', "")), name,
                              flags=_ORDERED if template in _IN_ORDER else ())


def kernel_for(config, template, defines):
    """Return the ``Kernel`` of a template (``sw/xpu/kernels/ops``) with macros defined, a tuple of
    pairs.

    Raises
    ------
    ArgumentError
        The configuration's cores have no vector unit.
    """
    if not (config.simd_cores and config.vector):
        raise ArgumentError(f"configuration {config.name!r} has no SIMD cores with vectors, which "
                            "this operator needs")
    return _kernel(template, defines)


def described(name, x):
    """Name of an operation on a tensor, for messages and profiles."""
    return f"{name} {'x'.join(map(str, x.shape)) or 'scalar'} {x.dtype.name}"


def line_elements(config, lines):
    """Elements of float32 of a buffer in LM, if there are ``lines`` of them."""
    return (config.lm_bytes - _STACK - 256) // (4 * lines) // 16 * 16


def check_operand(name, x, dtypes, device=None):
    """Raise unless ``x`` is a tensor of one of these types."""
    check_tensor(name, x, device)
    check_dtype(x.dtype, name, dtypes)
    if x.device.platform.name == "model":
        raise ArgumentError(f"{name}: the functional model has no SIMD cores; open the device with "
                            "platform='native'")
