"""Convolution of images with a fused epilogue."""

import math
from dataclasses import replace

import numpy as np

from .. import dma
from ..errors import ShapeError
from ..tiling import Problem, ProductShape, Source, choose_plan, plan_product
from .arguments import integer, pair
from .epilogue import ARGUMENTS, ELEMENT_TYPES, Epilogue, check_operands
from .scaled import scaled_product

__all__ = ["conv2d", "oihw_to_hwio"]

_MOST_SIZE = 32_767     #: rows and columns of an image, with padding
_FEW_CHANNELS = 4       #: of floating-point images whose patches the DMA writes
_MOST_STEP = 255        #: stride, dilation, kernel


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1, *, x_zero_point=0,
           w_zero_point=0, compute_dtype=None, **epilogue):
    """Return the convolution (cross-correlation) of images with filters as a new tensor.

    Parameters
    ----------
    x : Tensor
        [N, H, W, C]. Types as for ``matmul``.
    w : Tensor
        [KH, KW, C / groups, O]; ``oihw_to_hwio`` makes it from ONNX's and PyTorch's order.
    stride, dilation : int or (int, int)
        Of rows and columns, at most 255.
    padding : int, (int, int) or ((int, int), (int, int))
        Pixels around the image: everywhere; above and below, left and right; each side by itself.
        They hold ``x_zero_point``, and are not computed.
    groups : int
        Output channels are in as many groups, and so are input channels. Groups of few channels
        are joined, with zero weights between them: in floating-point types an infinity or NaN of x
        then makes the results of the groups next to it NaN as well.
    x_zero_point : int
        Of x's type, 8-bit only.
    w_zero_point : int, Tensor or array
        Of w's type, one value or [O], 8-bit only.
    compute_dtype : None or "int16"
        As for ``matmul``.
    {arguments}

    Returns
    -------
    Tensor
        [N, OH, OW, O].

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit; the message names it.
    """
    arguments = {"bias": bias, "a_zero_point": x_zero_point, "b_zero_point": w_zero_point,
                 **epilogue}
    geometry = (stride, padding, dilation, groups)
    if compute_dtype is not None:
        return scaled_product("conv2d", ("x", "w"), x, w, compute_dtype, arguments,
                              lambda x, w, arguments: _conv2d(x, w, *geometry, arguments))
    return _conv2d(x, w, *geometry, arguments)


conv2d.__doc__ = conv2d.__doc__.replace("{arguments}", ARGUMENTS)


def oihw_to_hwio(w):
    """Return weights of ONNX and PyTorch, [O, C / groups, KH, KW], in the order of ``conv2d``.

    Parameters
    ----------
    w : array [O, I, KH, KW]
        Result: array [KH, KW, I, O], contiguous.
    """
    w = np.asarray(w)
    if w.ndim != 4:
        raise ShapeError(f"oihw_to_hwio: w must have 4 dimensions, not shape {w.shape}")
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0))


def _conv2d(x, w, stride, padding, dilation, groups, arguments):
    check_operands("conv2d", ("x", x), ("w", w))
    for name, operand in (("x", x), ("w", w)):
        if operand.ndim != 4:
            raise ShapeError(f"conv2d: {name} must have 4 dimensions, not shape {operand.shape}")
    device = x.device
    with device._lock:
        device._check_open()
        shape = _shape(x, w, stride, padding, dilation, groups)
        n_out = w.shape[3]
        epilogue = Epilogue("conv2d", device, x, w, n_out, first="x",
                            zero_names=("x_zero_point", "w_zero_point"), **arguments)
        out, maximum = epilogue.outputs((x.shape[0], shape.height, shape.width, n_out))
        shape = replace(shape, **epilogue.shape_fields)
        shape, w, temporary = _joined(device, shape, w, epilogue)
        shape = _fastest(device, shape)
        element = x.dtype.itemsize
        problem = Problem(
            shape=shape, a_type=ELEMENT_TYPES[x.dtype.name], b_type=ELEMENT_TYPES[w.dtype.name],
            a_address=x.address, b_address=w.address, out_address=out.address,
            a_pitch=x.shape[3] * element, b_pitch=n_out * element, out_pitch=n_out,
            a_group=shape.channels * element, b_group=shape.columns * element,
            out_group=shape.columns, vector_group=shape.columns, **epilogue.fields)
        commands = plan_product(device.config, problem, device.semaphores,
                                latency=device.platform.memory_latency)
        macs = math.prod(out.shape) * math.prod(w.shape[:2]) * (x.shape[3] // groups)
        device.submit(commands, name=f"conv2d to {out!r}", reads=[x, w, *epilogue.reads],
                      writes=[out] if maximum is None else [out, maximum],
                      macs=(x.dtype, macs))
        del temporary
    return out if maximum is None else (out, maximum)


def _padding(value):
    """Return ``((top, bottom), (left, right))``."""
    if np.iterable(value) and not isinstance(value, str):
        sides = tuple(value)
        if len(sides) == 2 and all(np.iterable(side) for side in sides):
            return tuple(pair("conv2d: padding", side, 0, _MOST_SIZE) for side in sides)
    return tuple((side, side) for side in pair("conv2d: padding", value, 0, _MOST_SIZE))


def _shape(x, w, stride, padding, dilation, groups):
    """Check the geometry; return the shape without the epilogue's part."""
    (n, h, width, c), (kh, kw, cg, o) = x.shape, w.shape
    stride = pair("conv2d: stride", stride, 1, _MOST_STEP)
    dilation = pair("conv2d: dilation", dilation, 1, _MOST_STEP)
    groups = integer("conv2d: groups", groups, 1, max(c, 1))
    sides = _padding(padding)
    if c % groups or c // groups != cg:
        raise ShapeError(f"conv2d: w must have x's channels / groups, {c} / {groups}, as third "
                         f"dimension, not shape {w.shape}")
    if o % groups:
        raise ShapeError(f"conv2d: w must have a multiple of groups, {groups}, as last dimension, "
                         f"not shape {w.shape}")
    if max(kh, kw) > _MOST_STEP:
        raise ShapeError(f"conv2d: w must have a kernel of at most {_MOST_STEP}x{_MOST_STEP}, "
                         f"not shape {w.shape}")
    out = []
    for name, size, side, taps, step, gap in (("rows", h, sides[0], kh, stride[0], dilation[0]),
                                              ("columns", width, sides[1], kw, stride[1],
                                               dilation[1])):
        whole, reach = size + sum(side), (taps - 1) * gap + 1
        if whole > _MOST_SIZE:
            raise ShapeError(f"conv2d: x must have at most {_MOST_SIZE} {name} with its padding, "
                             f"not {whole}")
        if reach > whole:
            raise ShapeError(f"conv2d: w's {taps} {name} with dilation {gap} reach over {reach} "
                             f"{name}, but x has {whole} with its padding")
        out.append((whole - reach) // step + 1)
    dilation = tuple(gap if taps > 1 else 1 for gap, taps in zip(dilation, (kh, kw), strict=True))
    return ProductShape(
        source=Source.IMAGE, height=out[0], width=out[1], channels=cg, columns=o // groups,
        element=x.dtype.itemsize, out_bytes=1, floating=x.dtype.kind not in "iu", groups=groups,
        images=n, in_height=h, in_width=width, kernel=(kh, kw), stride=stride,
        dilation=dilation, padding=(sides[0][0], sides[1][0]))


def _joined(device, shape, w, epilogue):
    """Join groups of few channels: a block-diagonal matrix of weights, built by the DMA.

    Returns ``(shape, weights, what has to live until the operator is queued)``.
    """
    config, lanes = device.config, device.config.lanes
    terms = config.word_bytes // shape.element
    joined = max(count for count in range(1, shape.groups + 1)
                 if not shape.groups % count and (count == 1 or (
                     count * shape.channels <= terms and count * shape.columns <= lanes)))
    if joined == 1:
        return shape, w, None
    (kh, kw, cg, o), size = w.shape, w.dtype.itemsize
    wide = device.empty((kh, kw, joined * cg, o), w.dtype)
    zero, vector = epilogue.fields.get("b_zero_point", 0), epilogue.fields.get(
        "b_zero_point_address")
    rows = kh * kw * joined * cg
    if vector is None:
        commands = dma.fill(wide.address, (zero & 0xFF) * 0x0101_0101, (rows * o * size,))
    else:
        commands = dma.copy_nd(vector, wide.address, (rows, o), (0,), (o,))
    og, line = shape.columns, o * size
    together = joined * og * size
    commands += dma.copy_nd(
        w.address, wide.address, (kh * kw, cg, shape.groups // joined, joined, og * size),
        (cg * line, line, together, og * size),
        (joined * cg * line, line, together, cg * line + og * size))
    device.submit(commands, name=f"conv2d: weights of {shape.groups} groups",
                  reads=[w, *epilogue.reads], writes=[wide])
    return replace(shape, groups=shape.groups // joined, channels=joined * cg,
                   columns=joined * og), wide, wide


def _fastest(device, shape):
    """Choose where A's rows come from: the image itself, or patches of it built by the DMA."""
    one = shape.kernel == (1, 1) and shape.padding == (0, 0) and shape.groups == 1
    if one and shape.stride == (1, 1) and (shape.height, shape.width) == (
            shape.in_height, shape.in_width):
        return replace(shape, source=Source.ROWS, images=1, width=1,
                       height=shape.images * shape.height * shape.width)
    config, words = device.config, device.config.word_bytes
    patches = replace(shape, source=Source.PATCHES)
    one = shape.kernel == (1, 1)
    few = (-(-shape.depth * shape.element // words)
           < shape.kernel[0] * shape.kernel[1] * -(-shape.channels * shape.element // words))
    if shape.floating and not one:
        few = shape.channels <= _FEW_CHANNELS       # a rule, as the rounding depends on it
    if shape.groups > 1 or not (few or (one and shape.stride != (1, 1))):
        return shape
    if shape.in_width * shape.channels * shape.element >= 1 << 24:
        return shape
    latency = device.platform.memory_latency
    try:
        cycles = choose_plan(config, patches, latency)[1]
    except ValueError:      # too large for patches
        return shape
    if shape.floating and not one:
        return patches
    return patches if cycles < choose_plan(config, shape, latency)[1] else shape
