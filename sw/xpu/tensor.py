"""Arrays in device memory."""

import math
import weakref

import ml_dtypes
import numpy as np

from .errors import DTypeError, ShapeError

__all__ = ["DTYPES", "Tensor", "check_dtype", "check_shape"]

#: Element types a tensor may have, by name.
DTYPES = {name: np.dtype(name) for name in (
    "bool", "int8", "uint8", "int16", "uint16", "float16", "int32", "uint32", "float32", "int64",
    "uint64", "float64")} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}


def check_dtype(dtype, argument="dtype", allowed=tuple(DTYPES)):
    """Return a NumPy dtype in native byte order, or raise ``DTypeError``."""
    try:        # the name of bfloat16 is unknown to NumPy
        known = DTYPES.get(dtype) if isinstance(dtype, str) else None
        result = np.dtype(dtype if known is None else known).newbyteorder("=")
    except (TypeError, ValueError, SyntaxError):     # NumPy parses strings
        result = None
    if dtype is None or result is None or result.name not in allowed:
        given = dtype if result is None or dtype is None else result.name
        raise DTypeError(f"{argument} must be {' or '.join(allowed)}, not {given}")
    return result


def check_shape(shape, argument="shape"):
    """Return a shape as a tuple of positive integers, or raise ``ShapeError``."""
    try:
        sizes = tuple(shape) if np.iterable(shape) else (shape,)
        sizes = tuple(size.__index__() for size in sizes)
    except (AttributeError, TypeError):
        raise ShapeError(f"{argument} must be integers, not {shape!r}") from None
    if any(size < 1 for size in sizes):
        raise ShapeError(f"{argument}: every dimension must be at least 1, not {sizes}")
    return sizes


class Tensor:
    """A dense row-major array in device memory, which is freed with its last reference.

    Made by ``Device.tensor`` and ``Device.empty``, not by calling the class.

    Attributes
    ----------
    device : Device
        Where it lives.
    shape : tuple of int
        Sizes.
    dtype : numpy.dtype
        Element type.
    """

    def __init__(self, device, block, shape, dtype, allocator=None, base=None):
        self.device, self.shape, self.dtype = device, shape, dtype
        self._block, self._base = block, base       # a view keeps its base
        if base is None:
            finalizer = weakref.finalize(self, allocator.release, block)
            finalizer.atexit = False

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    @property
    def address(self):
        """Byte offset in global memory."""
        return self._block.address

    def numpy(self):
        """Wait until the contents are there and return them as a new array.

        Raises
        ------
        ClosedError
            The device is closed.
        LostError
            The operation that should have written them was lost.
        DeviceFault, HangError
            Waiting for them failed.
        """
        data = self.device._read_block(self._block, self.nbytes)
        return data.view(self.dtype).reshape(self.shape)

    def reshape(self, *shape):
        """Return the same memory as a tensor of another shape of as many elements.

        One size may be -1: it follows from the others. Raises ``ShapeError``.
        """
        shape = shape[0] if len(shape) == 1 and np.iterable(shape[0]) else shape
        sizes = list(shape)
        rest = -math.prod(sizes) if sizes.count(-1) == 1 else 0
        if rest > 0 and self.size % rest == 0:
            sizes[sizes.index(-1)] = self.size // rest
        sizes = check_shape(sizes, "reshape: shape")
        if math.prod(sizes) != self.size:
            raise ShapeError(f"reshape: shape must have {self.size} elements as {self.shape} has, "
                             f"not {shape}")
        return Tensor(self.device, self._block, sizes, self.dtype, base=self)

    def __len__(self):
        if not self.shape:
            raise ShapeError("len() of a tensor needs at least one dimension, not shape ()")
        return self.shape[0]

    def __repr__(self):
        return f"Tensor({self.dtype.name} {list(self.shape)} at {self.address:#x})"
