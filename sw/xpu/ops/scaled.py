"""float32 through int16: operands scaled by their largest magnitude."""

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..tensor import DTYPES, check_dtype
from ..tiling import Problem, ProductShape, Source, plan_product
from . import arguments
from .arguments import check_tensor, positive
from .epilogue import ELEMENT_TYPES

__all__ = ["absmax", "quantize", "scaled_product"]

_TYPES = ("float32", "float16", "bfloat16", "int8", "uint8", "int16")
_MOST = 32767
_BLOCKS = 8     #: column blocks of the matrix an element-wise operation makes of a tensor


def _elementwise(x, out_dtype, scale, out_zero_point, maximum=None, name="quantize"):
    """``x * scale`` in another type, by the epilogue: a product of zeros with x as residual.

    x is taken as a matrix; what is left over is the end of the last row of as many elements.
    """
    device, size = x.device, x.size
    kind = device.config.types[0]
    element, columns = DTYPES[kind].itemsize, min(_BLOCKS * device.config.lanes, size)
    rows = size // columns
    zeros = device.tensor(np.zeros(max(columns, rows), np.int8).astype(DTYPES[kind]))
    out = device.empty(x.shape, out_dtype)
    parts = [(0, rows)] + [(size - columns, 1)] * (size % columns > 0)
    for number, (first, count) in enumerate(parts):
        problem = Problem(
            shape=ProductShape(
                source=Source.ROWS, height=count, width=1, channels=1, columns=columns,
                element=element, out_bytes=out.dtype.itemsize, residual_bytes=x.dtype.itemsize,
                has_max=maximum is not None),
            a_type=ELEMENT_TYPES[kind], b_type=ELEMENT_TYPES[kind],
            out_type=ELEMENT_TYPES[out.dtype.name], a_address=zeros.address,
            b_address=zeros.address, out_address=out.address + first * out.dtype.itemsize,
            a_pitch=element, b_pitch=columns * element, out_pitch=columns,
            residual_address=x.address + first * x.dtype.itemsize,
            residual_type=ELEMENT_TYPES[x.dtype.name], residual_scale=scale,
            out_zero_point=out_zero_point,
            max_address=None if maximum is None else maximum.address, max_continues=number > 0)
        commands = plan_product(device.config, problem, device.semaphores,
                                latency=device.platform.memory_latency)
        device.submit(commands, name=f"{name} {x!r}", reads=[x, zeros],
                      writes=[out] if maximum is None else [out, maximum])
    return out


def quantize(x, scale, zero_point=0, out_dtype="int8"):
    """Return ``saturate(round_half_even(x / scale) + zero_point)``, as ONNX QuantizeLinear.

    The tensor unit multiplies by float32(1 / scale) instead of dividing.

    Parameters
    ----------
    x : Tensor
        float32, float16 or bfloat16, or 8 or 16-bit integers.
    scale : float
        Finite and positive, and so is 1 / scale in float32.
    zero_point : int
        Of the result's type.
    out_dtype : dtype
        int8, uint8, int16, or a floating-point type, which is not rounded to integers.
    """
    check_tensor("quantize: x", x)
    check_dtype(x.dtype, "quantize: x", _TYPES)
    out_dtype = check_dtype(out_dtype, "quantize: out_dtype", _TYPES)
    zero = arguments.zero_point("quantize: zero_point", zero_point, out_dtype)
    inverse = positive("quantize: 1 / scale", 1 / np.float64(positive("quantize: scale", scale)))
    with x.device._lock:
        x.device._check_open()
        return _elementwise(x, out_dtype, inverse, zero)


def absmax(x):
    """Return the largest magnitude of a tensor as a float32 tensor of shape (1,).

    A NaN counts as the largest. Raises like ``quantize``.
    """
    check_tensor("absmax: x", x)
    check_dtype(x.dtype, "absmax: x", _TYPES)
    with x.device._lock:
        x.device._check_open()
        maximum = x.device.empty((1,), DTYPES["float32"])
        # What is written besides is of no use: the smallest type.
        _elementwise(x, DTYPES["int8"], np.float32(1), 0, maximum, name="absmax")
    return maximum


def _to_int16(op, name, x):
    """Return ``(int16 tensor, float32 scale)``: x is about the tensor times the scale."""
    largest = float(absmax(x).numpy()[0])
    if not np.isfinite(largest):
        raise ArgumentError(f"{op}: {name} must be finite for compute_dtype int16, but its largest "
                            f"magnitude is {largest}")
    scale = np.float32(max(largest, float(np.finfo(np.float32).tiny) * _MOST * 4) / _MOST)
    return quantize(x, scale, out_dtype="int16"), scale


def scaled_product(op, names, a, b, compute_dtype, given, product):
    """Return ``product(a, b, given)`` of float32 operands brought to int16."""
    if compute_dtype not in ("int16", np.int16, np.dtype(np.int16)):
        raise ArgumentError(f"{op}: compute_dtype must be None or 'int16', not {compute_dtype!r}")
    for name, operand in zip(names, (a, b), strict=True):
        check_tensor(f"{op}: {name}", operand)
        check_dtype(operand.dtype, f"{op}: {name}", ("float32",))
    if not a.device.config.has_int16:
        raise DTypeError(f"{op}: compute_dtype must be None: configuration "
                         f"{a.device.config.name!r} has no int16 operands")
    if given.get("scale") is not None:
        raise ArgumentError(f"{op}: scale must be None with compute_dtype, not "
                            f"{given['scale']!r}")
    (a, a_scale), (b, b_scale) = (_to_int16(op, name, operand) for name, operand in
                                  zip(names, (a, b), strict=True))
    given = given | {"scale": positive(f"{op}: the product of both scales",
                                               np.float32(a_scale * b_scale))}
    if given.get("out_dtype") is None:
        given["out_dtype"] = "float32"
    return product(a, b, given)
