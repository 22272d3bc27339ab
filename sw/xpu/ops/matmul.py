"""Matrix products with a fused epilogue."""

import itertools
import math
from dataclasses import replace

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor
from ..tiling import Problem, ProductShape, Source, plan_product
from .epilogue import ARGUMENTS, ELEMENT_TYPES, Epilogue, check_operands
from .move import transpose
from .scaled import scaled_product
from .simd.elementwise import add
from .simd.gemm import product
from .simd.library import check_operand

__all__ = ["linear", "matmul"]


def matmul(a, b, bias=None, scale=None, zero_point=0, activation=None, out_dtype=None,
           a_zero_point=0, b_zero_point=0, *, transpose_a=False, transpose_b=False,
           compute_dtype=None, **epilogue):
    """Return ``epilogue((a - a_zero_point) @ (b - b_zero_point))`` as a new tensor.

    Integer sums are exact modulo 2**32 (8-bit operands) or 2**48 (int16: exact for K <= 65,536);
    those of float16 and bfloat16 are in float32, as ``docs/numerics.md`` says. Then, in float32 and
    in this order: bias, scale, residual, activation, rounding to nearest even, zero point, table.

    Parameters
    ----------
    a, b : Tensor
        [..., M, K] and [..., K, N]; leading dimensions broadcast as in NumPy. int8 and uint8 in any
        combination, or both int16, float16, bfloat16: on the tensor unit. Both float32: on the
        SIMD cores, in float32, with no epilogue but a bias; or with ``compute_dtype`` on the
        tensor unit.
    a_zero_point : int
        Of a's type, 8-bit only.
    b_zero_point : int, Tensor or array
        Of b's type, one value or [N], 8-bit only.
    transpose_a, transpose_b : bool
        The operand is stored as [..., K, M] or [..., N, K].
    compute_dtype : None or "int16"
        For float32 operands: each is scaled by its largest magnitude to int16 on the way
        (``quantize``); the result is float32. See ``docs/numerics.md`` for the error.
    {arguments}

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit; the message names it.
    """
    arguments = {"bias": bias, "scale": scale, "zero_point": zero_point, "activation": activation,
                 "out_dtype": out_dtype, "a_zero_point": a_zero_point, "b_zero_point": b_zero_point,
                 **epilogue}
    return _matmul("matmul", ("a", "b"), a, b, transpose_a, transpose_b, compute_dtype, arguments)


def linear(x, weight, bias=None, **arguments):
    """Return ``x @ weight.T + bias``: ``matmul`` with a weight of [N, K], as in PyTorch.

    Parameters
    ----------
    x : Tensor
        [..., K].
    weight : Tensor
        [N, K].
    bias, **arguments
        As for ``matmul``; the zero points are called ``x_zero_point`` and ``weight_zero_point``.
    """
    compute_dtype = arguments.pop("compute_dtype", None)
    for ours, theirs in (("a_zero_point", "x_zero_point"), ("b_zero_point", "weight_zero_point")):
        if ours in arguments:
            raise TypeError(f"linear: unexpected argument {ours!r}; it is called {theirs!r}")
        arguments[ours] = arguments.pop(theirs, 0)
    arguments["bias"] = bias
    if isinstance(x, Tensor) and x.ndim == 1:
        out = _matmul("linear", ("x", "weight"), x.reshape(1, x.size), weight, False, True,
                      compute_dtype, arguments)
        return out.reshape(out.size) if isinstance(out, Tensor) else (
            out[0].reshape(out[0].size), out[1])
    return _matmul("linear", ("x", "weight"), x, weight, False, True, compute_dtype, arguments)


matmul.__doc__ = matmul.__doc__.replace("{arguments}", ARGUMENTS)


def _matmul(op, names, a, b, transpose_a, transpose_b, compute_dtype, arguments):
    if compute_dtype is not None:
        return scaled_product(op, names, a, b, compute_dtype, arguments, lambda a, b, arguments:
                              _matmul(op, names, a, b, transpose_a, transpose_b, None, arguments))
    if isinstance(a, Tensor) and a.dtype.name == "float32":
        return _float32(op, names, a, b, transpose_a, transpose_b, arguments)
    check_operands(op, (names[0], a), (names[1], b))
    device = a.device
    batch, (m, n, k) = _shapes(op, names, a, b, transpose_a, transpose_b)
    with device._lock:
        device._check_open()
        epilogue = Epilogue(op, device, a, b, n, first=names[0], zero_names=tuple(
            f"{name}_zero_point" for name in names), **arguments)
        out, maximum = epilogue.outputs((*batch, m, n))
        element = a.dtype.itemsize
        problem = Problem(
            shape=ProductShape(
                source=Source.TRANSPOSED if transpose_a else Source.ROWS, height=m, width=1,
                channels=k, columns=n, element=element, transposed_b=transpose_b,
                floating=a.dtype.kind not in "iu",
                **epilogue.shape_fields),
            a_type=ELEMENT_TYPES[a.dtype.name], b_type=ELEMENT_TYPES[b.dtype.name],
            a_address=a.address, b_address=b.address, out_address=out.address,
            a_pitch=(m if transpose_a else k) * element,
            b_pitch=(k if transpose_b else n) * element, out_pitch=n, **epilogue.fields)
        problems = _batches(problem, batch, a.shape[:-2], b.shape[:-2], m, n, k)
        for number, problem in enumerate(problems):
            problem = replace(problem, max_continues=number > 0)
            commands = plan_product(device.config, problem, device.semaphores,
                                    latency=device.platform.memory_latency)
            device.submit(commands, name=f"{op} {m}x{n}x{k} to {out.dtype.name}",
                          reads=[a, b, *epilogue.reads],
                          writes=[out] if maximum is None else [out, maximum],
                          macs=(a.dtype, problem.shape.macs))
    return out if maximum is None else (out, maximum)


def _float32(op, names, a, b, transpose_a, transpose_b, arguments):
    """A product on the SIMD cores, without an epilogue but a bias."""
    check_operand(f"{op}: {names[0]}", a, ("float32",))
    check_operand(f"{op}: {names[1]}", b, ("float32",), a.device)
    bias = arguments.pop("bias", None)
    for name, value in arguments.items():
        if value is not None and not (isinstance(value, int) and value == 0) and not (
                name == "out_dtype" and value in ("float32", np.float32)):
            raise ArgumentError(f"{op}: {name} must not be given for float32 operands, which the "
                                f"SIMD cores multiply; apply operators to the result, or choose "
                                f"compute_dtype='int16'")
    batch, (m, n, k) = _shapes(op, names, a, b, transpose_a, transpose_b)
    device = a.device
    with device._lock:
        device._check_open()
        if transpose_a:
            a = transpose(a, (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2))
        if transpose_b:
            b = transpose(b, (*range(b.ndim - 2), b.ndim - 1, b.ndim - 2))
        out = device.empty((*batch, m, n), a.dtype)
        strides = [_strides(a.shape[:-2], len(batch), m * k), _strides(b.shape[:-2], len(batch),
                                                                       k * n),
                   _strides(batch, len(batch), m * n)]
        if batch and not any(strides[1]) and a.shape[:-2] == batch:     # one long matrix
            batch, m = (), m * math.prod(batch)
        for indices in itertools.product(*map(range, batch)):
            offsets = [4 * sum(index * size for index, size in zip(indices, stride, strict=False))
                       for stride in strides]
            product(device, a, b, out, *(x.address + offset for x, offset in zip(
                (a, b, out), offsets, strict=True)), m, n, k)
    if bias is None:
        return out
    return add(out, bias if isinstance(bias, Tensor) else device.tensor(
        np.asarray(bias, np.float32)))


def _shapes(op, names, a, b, transpose_a, transpose_b):
    """Return ``(batch dimensions of the result, (m, n, k))``."""
    for name, operand in zip(names, (a, b), strict=True):
        if operand.ndim < 2 or (op == "linear" and name == "weight" and operand.ndim != 2):
            least = "at least 2" if op == "matmul" else "2"
            raise ShapeError(f"{op}: {name} must have {least} dimensions, not shape "
                             f"{operand.shape}")
    m, k = a.shape[-2:][::-1] if transpose_a else a.shape[-2:]
    k_b, n = b.shape[-2:][::-1] if transpose_b else b.shape[-2:]
    if k != k_b:
        sides = ["columns" if transpose_b else "rows", "rows" if transpose_a else "columns"]
        raise ShapeError(f"{op}: {names[1]} must have as many {sides[0]} as {names[0]} has "
                         f"{sides[1]}, {k}, not shape {b.shape}")
    batches = [shape[:-2] for shape in (a.shape, b.shape)]
    rank = max(map(len, batches))
    batches = [(1,) * (rank - len(batch)) + batch for batch in batches]
    if any(x != y and 1 not in (x, y) for x, y in zip(*batches, strict=True)):
        raise ShapeError(f"{op}: the leading dimensions of {names[1]} must broadcast against those "
                         f"of {names[0]}, {a.shape[:-2]}, not be {b.shape[:-2]}")
    return tuple(map(max, *batches)) if rank else (), (m, n, k)


def _batches(problem, batch, a_batch, b_batch, m, n, k):
    """Cut a batched product into problems whose groups lie at equal distances."""
    element = problem.shape.element
    strides = [_strides(a_batch, len(batch), m * k * element),
               _strides(b_batch, len(batch), k * n * element),
               _strides(batch, len(batch), m * n)]
    groups, step, inner = 1, (0, 0, 0), len(batch)
    while inner:
        here = tuple(stride[inner - 1] for stride in strides)
        count = batch[inner - 1]
        if groups > 1 and count > 1 and here != tuple(groups * size for size in step):
            break
        if groups == 1:
            step = here
        groups, inner = groups * count, inner - 1
    if groups > 1 and step[1] == 0 and problem.shape.source is Source.ROWS and step[0]:
        # One B for all: the rows of all groups are one long matrix.
        shape, step = replace(problem.shape, height=groups * m), (0, 0, 0)
    else:
        shape = replace(problem.shape, groups=groups)
    result = []
    for indices in itertools.product(*map(range, batch[:inner])):
        offsets = [sum(index * size for index, size in zip(indices, stride[:inner], strict=True))
                   for stride in strides]
        residual = problem.residual_address
        result.append(replace(
            problem, shape=shape, a_address=problem.a_address + offsets[0],
            b_address=problem.b_address + offsets[1],
            out_address=problem.out_address + offsets[2] * shape.out_bytes,
            residual_address=None if residual is None
            else residual + offsets[2] * shape.residual_bytes,
            a_group=step[0], b_group=step[1], out_group=step[2]))
    return result


def _strides(dimensions, rank, size):
    """Units from index to index of each of ``rank`` dimensions; 0 where they are broadcast."""
    missing = rank - len(dimensions)
    return [0] * missing + [0 if count == 1 else size * math.prod(dimensions[axis + 1:])
                            for axis, count in enumerate(dimensions)]
