"""Checks of arguments that operators have in common."""

import numbers

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, check_dtype

__all__ = ["check_tensor", "integer", "new_tensor", "pair", "positive", "same_device", "scales",
           "vector", "zero_point", "zero_points"]


def check_tensor(name, value, device=None):
    """Raise ``ArgumentError`` unless ``value`` is a tensor, of ``device`` if that is given."""
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{name} must be a tensor made by Device.tensor, not "
                            f"{type(value).__name__}")
    if device is not None and value.device is not device:
        raise ArgumentError(f"{name} must be on the device of x, {device!r}, not on "
                            f"{value.device!r}")


def new_tensor(name, shape, reads, commands):
    """Queue what ``commands(out)`` returns, for a new tensor, and return it."""
    x = reads[0]
    out = x.device.empty(shape, x.dtype)
    x.device.submit(commands(out), name=f"{name} to {out!r}", reads=reads, writes=[out])
    return out


def same_device(first, device, **operands):
    """Raise ``ArgumentError`` for a tensor that is not on the device of argument ``first``."""
    op, _, name_of_first = first.partition(": ")
    for name, operand in operands.items():
        if isinstance(operand, Tensor) and operand.device is not device:
            raise ArgumentError(f"{op}: {name} must be on the device of {name_of_first}, "
                                f"{device!r}, not on {operand.device!r}")


# Numbers ------------------------------------------------------------------------------------------
def integer(name, value, least=None, most=None):
    """Return an integer argument as int."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, numbers.Integral) or isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} must be an integer, not {value!r}")
    if least is not None and not least <= value <= most:
        raise ArgumentError(f"{name} must lie in [{least}, {most}], not {value}")
    return int(value)


def pair(name, value, least, most):
    """Return ``(rows, columns)`` from one integer or two."""
    values = tuple(value) if np.iterable(value) and not isinstance(value, str) else (value, value)
    if len(values) != 2:
        raise ArgumentError(f"{name} must be an integer or a pair of them, not {value!r}")
    return tuple(integer(name, one, least, most) for one in values)


def zero_point(name, value, dtype):
    """Return a zero point of a type as int; of a floating-point type it must be 0."""
    value = integer(name, value)
    if dtype.kind not in "iu":
        if value:
            raise ArgumentError(f"{name} must be 0 for {dtype.name}, not {value}")
        return value
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ArgumentError(f"{name} must lie in [{limits.min}, {limits.max}] of "
                            f"{dtype.name}, not {value}")
    return value


def positive(name, value):
    """Return a finite and positive number as float32."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise ArgumentError(f"{name} must be a number, not {value!r}")
    try:
        result = float(value)
    except OverflowError:
        result = np.inf
    with np.errstate(over="ignore", under="ignore"):
        result = np.float32(result)
    if not (np.isfinite(result) and result > 0):
        raise ArgumentError(f"{name} must be finite and positive as float32, not {value}")
    return result


# Vectors ------------------------------------------------------------------------------------------
def _vector_shape(name, shape, n, scalar):
    if shape != (n,):
        one = "a single value or " if scalar else ""
        raise ShapeError(f"{name} must be {one}of shape ({n},), one per column, not {shape}")


def vector(name, device, value, n, allowed):
    """Return a vector argument as tensor, or None. A tensor or array of one of some types."""
    if value is None:
        return None
    if not isinstance(value, np.ndarray | Tensor):
        raise ArgumentError(f"{name} must be None, a tensor or a NumPy array, not "
                            f"{type(value).__name__}")
    check_dtype(value.dtype, name, allowed)
    _vector_shape(name, value.shape, n, scalar=False)
    return value if isinstance(value, Tensor) else device.tensor(value)


def scales(name, device, scale, n):
    """Return ``(float32 or None, tensor or None)``."""
    if scale is None:
        return None, None
    if isinstance(scale, Tensor):
        check_dtype(scale.dtype, name, ("float32",))
        values = scale.numpy()
    elif isinstance(scale, np.ndarray | np.generic):
        check_dtype(scale.dtype, name, ("float32",) if scale.ndim else ("float32", "float64"))
        values = np.asarray(scale)
    elif isinstance(scale, numbers.Real) and not isinstance(scale, bool):
        return positive(name, scale), None
    else:
        raise ArgumentError(f"{name} must be None, a number, a tensor or a NumPy array, not "
                            f"{type(scale).__name__}")
    if not values.ndim:
        return positive(name, values[()]), None
    _vector_shape(name, values.shape, n, scalar=True)
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        raise ArgumentError(f"{name} must be finite and positive as float32, not "
                            f"{values[wrong].flat[0]} at column {int(np.argmax(wrong))}")
    return None, scale if isinstance(scale, Tensor) else device.tensor(values)


def zero_points(name, device, value, dtype, n):
    """Return ``(int, tensor or None)`` of zero points of columns."""
    if isinstance(value, Tensor):
        check_dtype(value.dtype, name, (dtype.name,))
        if value.ndim:
            _vector_shape(name, value.shape, n, scalar=True)
            return 0, value
        value = value.numpy()
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return zero_point(name, value, dtype), None
    if value.dtype.kind not in "iu":
        raise ArgumentError(f"{name} must be integers, not {value.dtype}")
    _vector_shape(name, value.shape, n, scalar=True)
    limits = np.iinfo(dtype)
    wrong = (value < limits.min) | (value > limits.max)
    if wrong.any():
        column = int(np.argmax(wrong))
        raise ArgumentError(f"{name} must lie in [{limits.min}, {limits.max}] of "
                            f"{dtype.name}, not {value[column]} at column {column}")
    return 0, device.tensor(value.astype(dtype))
