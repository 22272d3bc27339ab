"""Operators that move elements: copies, transpositions, gathers, scatters."""

import math

import numpy as np

from .. import dma
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor, check_dtype
from .arguments import check_tensor, new_tensor

__all__ = ["copy", "scatter", "take", "transpose"]


def copy(x):
    """Return a copy of a tensor.

    Raises
    ------
    ArgumentError
        The argument is no tensor. The same holds for the other operators.
    """
    check_tensor("copy: x", x)
    return new_tensor("copy", x.shape, [x],
                lambda out: dma.copy_nd(x.address, out.address, (x.nbytes,)))


# Permutations -------------------------------------------------------------------------------------
def transpose(x, axes=None):
    """Return a tensor with the dimensions permuted, as ``numpy.transpose`` does.

    Parameters
    ----------
    x : Tensor
        Any number of dimensions.
    axes : sequence of int, optional
        Dimension n of the result is dimension ``axes[n]`` of x; default: all reversed.
    """
    check_tensor("transpose: x", x)
    if axes is None:
        axes = range(x.ndim)[::-1]
    try:
        order = [axis.__index__() for axis in axes]
        order = [axis + x.ndim if axis < 0 else axis for axis in order]
    except (AttributeError, TypeError):
        order = None
    if order is None or sorted(order) != list(range(x.ndim)):
        raise ArgumentError(f"transpose: axes must be a permutation of the {x.ndim} dimensions, "
                            f"not {axes!r}")
    return new_tensor("transpose", tuple(x.shape[axis] for axis in order), [x],
                lambda out: _permute(x.address, out.address, x.shape, order, x.dtype.itemsize))


def _permute(source, destination, shape, order, size):
    """Return the commands of a permutation of the dimensions of dense elements."""
    shape, order, size = _simplify(shape, order, size)
    if len(shape) < 2:
        return dma.copy_nd(source, destination, (*shape, size))
    strides = [math.prod(shape[axis + 1:]) * size for axis in range(len(shape))]
    result = [shape[axis] for axis in order]
    to = dict(zip(order, [math.prod(result[n + 1:]) * size for n in range(len(order))],
                  strict=True))
    outer = order[:-1]
    if size > 4 or order[-1] == len(shape) - 1:
        # Elements, or whole rows of them, stay together.
        row, outer = (size, order) if order[-1] != len(shape) - 1 else (shape[-1] * size, outer)
        return dma.copy_nd(source, destination, (*(shape[axis] for axis in outer), row),
                           [strides[axis] for axis in outer], [to[axis] for axis in outer])
    last, rows = len(shape) - 1, order[-1]
    return dma.transpose(
        source, destination, shape[rows], shape[last], size, source_pitch=strides[rows],
        destination_pitch=to[last],
        outer=[(shape[axis], strides[axis], to[axis]) for axis in outer if axis != last])


def _simplify(shape, order, size):
    """Merge dimensions that stay neighbours, and drop those of size 1."""
    order = [axis for axis in order if shape[axis] > 1]
    groups = []
    for axis in order:
        between = shape[groups[-1][-1] + 1:axis] if groups else ()
        if groups and axis > groups[-1][-1] and all(n == 1 for n in between):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    ranked = sorted(groups)
    sizes = [math.prod(shape[axis] for axis in group) for group in ranked]
    order = [ranked.index(group) for group in groups]
    if order and order[-1] == len(sizes) - 1 and sizes[-1] * size in (2, 4):
        size *= sizes.pop()             # a row as small as an element is one
        order.pop()
        return _simplify(sizes, order, size)
    return sizes, order, size


# Index lists --------------------------------------------------------------------------------------
def take(x, indices):
    """Return the elements of dimension 0 that ``indices`` pick, as ``x[indices]`` does in NumPy.

    Parameters
    ----------
    x : Tensor
        At least one dimension.
    indices : Tensor or array of integers
        Any shape. Values of an array are checked, and negative ones count from the end; those of a
        tensor (int32 or uint32) are checked by the hardware, which takes none that are negative.
    """
    check_tensor("take: x", x)
    if not x.ndim:
        raise ShapeError("take: x must have at least one dimension, not shape ()")
    indices = _indices("take", indices, x.device, x.shape[0])
    row = x.nbytes // x.shape[0]
    return new_tensor("take", indices.shape + x.shape[1:], [x, indices],
                lambda out: dma.gather(x.address, out.address, indices.address, indices.size, row,
                                       x.shape[0]))


def scatter(x, indices, out):
    """Set ``out[indices] = x`` as NumPy does, in place, and return ``out``.

    Parameters
    ----------
    x : Tensor
        Of the type of out, and of shape ``indices.shape + out.shape[1:]``.
    indices : Tensor or array of integers
        As in ``take``. If one occurs twice, either element may stay.
    out : Tensor
        At least one dimension.
    """
    check_tensor("scatter: x", x)
    check_tensor("scatter: out", out, x.device)
    if out is x:
        raise ArgumentError("scatter: out must be another tensor than x")
    check_dtype(x.dtype, "scatter: x", (out.dtype.name,))
    if not out.ndim:
        raise ShapeError("scatter: out must have at least one dimension, not shape ()")
    indices = _indices("scatter", indices, x.device, out.shape[0])
    if x.shape != indices.shape + out.shape[1:]:
        raise ShapeError(f"scatter: x must have shape {indices.shape + out.shape[1:]}, that of "
                         f"indices and a row of out, not {x.shape}")
    row = out.nbytes // out.shape[0]
    commands = dma.scatter(x.address, out.address, indices.address, indices.size, row,
                           out.shape[0])
    x.device.submit(commands, name=f"scatter to {out!r}", reads=[x, indices, out], writes=[out])
    return out


def _indices(operator, indices, device, limit):
    """Return a tensor of indices below ``limit``."""
    name = f"{operator}: indices"
    if isinstance(indices, Tensor):
        check_tensor(name, indices, device)
        check_dtype(indices.dtype, name, ("int32", "uint32"))
        return indices
    values = np.asarray(indices)
    if values.dtype.kind not in "iu":
        raise DTypeError(f"{name} must be integers, not {values.dtype}")
    wrong = (values < -limit) | (values >= limit)
    if wrong.any():
        place = np.unravel_index(int(np.argmax(wrong)), values.shape)
        raise ArgumentError(f"{name} must lie in [{-limit}, {limit - 1}], not "
                            f"{values[place]} at {tuple(int(n) for n in place)}")
    return device.tensor(np.where(values < 0, values + limit, values).astype(np.uint32))
