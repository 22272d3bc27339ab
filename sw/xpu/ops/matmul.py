"""Matrix product with a fused epilogue."""

import numbers

import numpy as np

from xpu_rtl.command.formats import ElementType

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, check_dtype
from .tiling import GemmProblem, plan_gemm

__all__ = ["matmul"]

_OUT_TYPES = {"int32": ElementType.INT32, "int8": ElementType.INT8, "uint8": ElementType.UINT8}


def matmul(a, b, bias=None, scale=None, zero_point=0, activation=None, out_dtype=None,
           a_zero_point=0, b_zero_point=0):
    """Return ``epilogue((a - a_zero_point) @ (b - b_zero_point) + bias)`` as a new tensor.

    The sums are exact modulo 2**32. ReLU acts on them; then, if ``scale`` is given, the result is
    ``saturate(round_half_even(float32(sum) * scale) + zero_point)``, every step in float32.

    Parameters
    ----------
    a, b : Tensor
        [M, K] and [K, N], each int8 or uint8.
    bias : None, Tensor or array
        int32 [N].
    scale : None, float, Tensor or array
        float32, one value or [N], finite and positive: a_scale * b_scale / y_scale, computed from
        left to right in float32. Needed for, and only for, an 8-bit result.
    zero_point : int
        Of the result's type; 0 for int32.
    activation : None or "relu"
        Applied to the sums.
    out_dtype : dtype
        int32, int8 or uint8; by default int32 without ``scale`` and int8 with it.
    a_zero_point : int
        Of a's type.
    b_zero_point : int, Tensor or array
        Of b's type, one value or [N].

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit; the message names it.
    """
    for name, operand in (("a", a), ("b", b)):
        if not isinstance(operand, Tensor):
            raise ArgumentError(f"matmul: {name} must be a tensor made by Device.tensor, not "
                                f"{type(operand).__name__}")
        check_dtype(operand.dtype, f"matmul: {name}", ("int8", "uint8"))
        if operand.ndim != 2:
            raise ShapeError(f"matmul: {name} must have 2 dimensions, not shape {operand.shape}")
    device = a.device
    (m, k), (k_b, n) = a.shape, b.shape
    if k != k_b:
        raise ShapeError(f"matmul: b must have as many rows as a has columns, {k}, "
                         f"not shape {b.shape}")
    _same_device(device, b=b, bias=bias, scale=scale, b_zero_point=b_zero_point)
    with device._lock:
        device._check_open()
        bias = _bias(device, bias, n)
        scale, scale_vector = _scale(device, scale, n)
        scaled = scale is not None or scale_vector is not None
        out_dtype = check_dtype(("int8" if scaled else "int32") if out_dtype is None else out_dtype,
                                "matmul: out_dtype", tuple(_OUT_TYPES))
        if scaled and out_dtype.name == "int32":
            raise ArgumentError("matmul: scale must be None for out_dtype int32, which is not "
                                "scaled; ask for int8 or uint8")
        if not scaled and out_dtype.name != "int32":
            raise ArgumentError(f"matmul: scale must be given for out_dtype {out_dtype.name}, "
                                f"not None")
        if out_dtype.name == "int32":
            if _integer("zero_point", zero_point) != 0:
                raise ArgumentError(f"matmul: zero_point must be 0 for out_dtype int32, "
                                    f"not {zero_point}")
        else:
            zero_point = _zero_point("zero_point", zero_point, out_dtype)
        if activation is not None and not (isinstance(activation, str) and activation == "relu"):
            raise ArgumentError(f"matmul: activation must be None or 'relu', not {activation!r}")
        a_zero_point = _zero_point("a_zero_point", a_zero_point, a.dtype)
        b_zero_point, b_zero_vector = _b_zero_point(device, b_zero_point, b.dtype, n)

        vectors = [v for v in (bias, scale_vector, b_zero_vector) if v is not None]
        out = device.empty((m, n), out_dtype)
        problem = GemmProblem(
            m=m, n=n, k=k, a_address=a.address, b_address=b.address, out_address=out.address,
            a_signed=a.dtype.kind == "i", b_signed=b.dtype.kind == "i",
            a_zero_point=a_zero_point, b_zero_point=b_zero_point,
            b_zero_point_address=None if b_zero_vector is None else b_zero_vector.address,
            bias_address=None if bias is None else bias.address,
            scale=scale, scale_address=None if scale_vector is None else scale_vector.address,
            zero_point=int(zero_point), relu=activation == "relu",
            out_type=_OUT_TYPES[out_dtype.name])
        commands = plan_gemm(device.config, problem, device.semaphores,
                             latency=device.platform.memory_latency)
        device.submit(commands, name=f"matmul {m}x{n}x{k} to {out_dtype.name}",
                      reads=[a, b, *vectors], writes=[out], macs=(a.dtype, m * n * k))
    return out


def _same_device(device, **operands):
    for name, operand in operands.items():
        if isinstance(operand, Tensor) and operand.device is not device:
            raise ArgumentError(f"matmul: {name} must be on the device of a, {device!r}, "
                                f"not on {operand.device!r}")


def _integer(name, value):
    """Return an integer argument as int."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, numbers.Integral) or isinstance(value, bool | np.bool_):
        raise ArgumentError(f"matmul: {name} must be an integer, not {value!r}")
    return int(value)


def _zero_point(name, value, dtype):
    value, limits = _integer(name, value), np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ArgumentError(f"matmul: {name} must lie in [{limits.min}, {limits.max}] of "
                            f"{dtype.name}, not {value}")
    return value


def _vector_shape(name, shape, n, scalar):
    if shape != (n,):
        one = "a single value or " if scalar else ""
        raise ShapeError(f"matmul: {name} must be {one}of shape ({n},), one per column, "
                         f"not {shape}")


def _bias(device, bias, n):
    if bias is None:
        return None
    if not isinstance(bias, np.ndarray | Tensor):
        raise ArgumentError(f"matmul: bias must be None, a tensor or a NumPy array, not "
                            f"{type(bias).__name__}")
    check_dtype(bias.dtype, "matmul: bias", ("int32",))
    _vector_shape("bias", bias.shape, n, scalar=False)
    return bias if isinstance(bias, Tensor) else device.tensor(bias)


def _scale(device, scale, n):
    """Return ``(scalar or None, tensor or None)``."""
    if scale is None:
        return None, None
    tensor = scale if isinstance(scale, Tensor) else None
    if tensor is not None:
        check_dtype(tensor.dtype, "matmul: scale", ("float32",))
        values = tensor.numpy()
    elif isinstance(scale, np.ndarray | np.generic):
        check_dtype(scale.dtype, "matmul: scale",
                    ("float32",) if scale.ndim else ("float32", "float64"))
        values = np.asarray(scale)
    elif isinstance(scale, numbers.Real) and not isinstance(scale, bool):
        try:
            values = np.asarray(float(scale))
        except OverflowError:
            values = np.asarray(np.inf)
    else:
        raise ArgumentError(f"matmul: scale must be None, a number, a tensor or a NumPy array, not "
                            f"{type(scale).__name__}")
    if values.ndim:
        _vector_shape("scale", values.shape, n, scalar=True)
    with np.errstate(over="ignore", under="ignore"):
        values = values.astype(np.float32)
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        where = f" at column {int(np.argmax(wrong))}" if values.ndim else ""
        raise ArgumentError(f"matmul: scale must be finite and positive as float32, not "
                            f"{values[wrong].flat[0] if values.ndim else scale}{where}")
    if not values.ndim:
        return values[()], None
    return None, device.tensor(values) if tensor is None else tensor


def _b_zero_point(device, value, dtype, n):
    """Return ``(scalar, tensor or None)``."""
    if isinstance(value, Tensor):
        check_dtype(value.dtype, "matmul: b_zero_point", (dtype.name,))
        if value.ndim:
            _vector_shape("b_zero_point", value.shape, n, scalar=True)
            return 0, value
        value = value.numpy()
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return _zero_point("b_zero_point", value, dtype), None
    if value.dtype.kind not in "iu":
        raise ArgumentError(f"matmul: b_zero_point must be integers, not {value.dtype}")
    _vector_shape("b_zero_point", value.shape, n, scalar=True)
    limits = np.iinfo(dtype)
    wrong = (value < limits.min) | (value > limits.max)
    if wrong.any():
        column = int(np.argmax(wrong))
        raise ArgumentError(f"matmul: b_zero_point must lie in [{limits.min}, {limits.max}] of "
                            f"{dtype.name}, not {value[column]} at column {column}")
    return 0, device.tensor(value.astype(dtype))
