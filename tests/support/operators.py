"""What operators should give, from the definition: convolution, sums of every type, epilogue."""

import numpy as np
from hypothesis import strategies as st

import xpu
from xpu.ops.epilogue import ELEMENT_TYPES
from xpu.tensor import DTYPES
from xpu_rtl.command.formats import Activation
from xpu_rtl.numerics import finish, gemm_float, wrap_int32, wrap_int48

__all__ = ["check_conv2d", "check_matmul", "convolve", "draw_epilogue", "expected", "full_range",
           "geometries", "sums", "swapped"]


def full_range(rng, dtype, shape):
    """Random values: integers of the whole range, floating-point ones of all magnitudes near 1."""
    dtype = DTYPES[str(dtype)]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.normal(size=shape).astype(dtype)


def patches(x, kernel, stride, padding, dilation, zero_point=0):
    """``[N, OH, OW, KH, KW, C]`` of images ``[N, H, W, C]``, wide enough for exact sums."""
    wide = x.astype(np.int64) - zero_point if x.dtype.kind in "iu" else x
    image = np.pad(wide, ((0, 0), *padding, (0, 0)))
    sizes = [(size - (taps - 1) * gap - 1) // step + 1 for size, taps, step, gap in
             zip(image.shape[1:3], kernel, stride, dilation, strict=True)]
    return np.stack([np.stack([
        image[:, i * dilation[0]:i * dilation[0] + (sizes[0] - 1) * stride[0] + 1:stride[0],
              j * dilation[1]:j * dilation[1] + (sizes[1] - 1) * stride[1] + 1:stride[1]]
        for j in range(kernel[1])], axis=3) for i in range(kernel[0])], axis=3)


def sums(a, b, terms):
    """Sums over the last axis of ``a`` and the first of ``b``, of zero-point-free operands."""
    if a.dtype.kind in "iu":
        return np.matmul(a.astype(np.int64), b.astype(np.int64))
    return gemm_float(a, b, terms)


def convolve(x, w, *, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1,
             x_zero_point=0, w_zero_point=0, terms=1, by_tap=True):
    """Sums of a convolution.

    ``terms``: of a dot product, for floating-point types. ``by_tap``: every tap begins a new one.
    """
    kh, kw, cg, o = w.shape
    og = o // groups
    found = patches(x, (kh, kw), stride, padding, dilation, x_zero_point)
    filters = w if x.dtype.kind not in "iu" else w.astype(np.int64) - w_zero_point
    result = []
    for g in range(groups):
        a, b = found[..., g * cg:(g + 1) * cg], filters[..., g * og:(g + 1) * og]
        missing = -cg % terms if by_tap else 0
        a = np.pad(a, [(0, 0)] * 5 + [(0, missing)])
        b = np.pad(b, ((0, 0), (0, 0), (0, missing), (0, 0)))
        result.append(sums(a.reshape(*a.shape[:3], -1), b.reshape(-1, og), terms))
    return np.concatenate(result, axis=-1)


def draw_epilogue(rng, in_dtype, columns, shape, *, max_too=True):
    """Random epilogue arguments, arrays where the operator takes tensors or arrays."""
    floating = DTYPES[in_dtype].kind not in "iu"
    raw = {"int8": "int32", "uint8": "int32", "int16": "int64"}.get(in_dtype)
    out = str(rng.choice([name for name in (
        raw, "int8", "uint8", "int16", "float16", "bfloat16", "float32") if name]))
    arguments = {"out_dtype": out}
    if out == raw:
        if rng.random() < 0.5:
            arguments["bias"] = rng.integers(-99_999, 99_999, columns, np.int32)
        if rng.random() < 0.5:
            arguments["activation"] = "relu"
        return arguments
    one = {"int8": 1e-3, "uint8": 1e-3, "int16": 1e-6}.get(in_dtype, 1.0)
    integer = DTYPES[out].kind in "iu"
    spread = {"int8": 20, "uint8": 20, "int16": 3000}.get(out, 1)
    if integer or rng.random() < 0.5:
        arguments["scale"] = (rng.uniform(0.5, 1.5, columns) * one * spread).astype(np.float32)
        if rng.random() < 0.3:
            arguments["scale"] = float(arguments["scale"][0])
    kind = rng.integers(3)
    if kind == 1 or (kind == 2 and floating):
        arguments["bias"] = (rng.normal(size=columns) * spread).astype(np.float32)
    elif kind == 2:
        arguments["bias"] = rng.integers(-99_999, 99_999, columns, np.int32)
    if integer:
        limits = np.iinfo(out)
        arguments["zero_point"] = int(rng.integers(max(limits.min, -50), min(limits.max, 200)))
    arguments["activation"] = [None, "relu", ("leaky_relu", 0.1), ("clip", -spread / 2, spread)][
        rng.integers(4)]
    if rng.random() < 0.5:
        dtype = str(rng.choice(["int8", "uint8", "int16", "float16", "bfloat16", "float32"]))
        arguments["residual"] = full_range(rng, dtype, shape)
        arguments["residual_scale"] = float(rng.uniform(0.1, 2))
        if DTYPES[dtype].kind in "iu":
            arguments["residual_zero_point"] = int(rng.integers(0, 100))
    if out in ("int8", "uint8") and rng.random() < 0.4:
        arguments["table"] = rng.permutation(256).astype(np.uint8).view(out)
    if max_too and rng.random() < 0.4:
        arguments["return_max"] = True
    return arguments


def expected(total, arguments):
    """Return ``(result, largest magnitude)`` of exact sums (int64) or FP32 ones."""
    arguments = dict(arguments)
    out = arguments.pop("out_dtype")
    bias, activation = arguments.get("bias"), arguments.get("activation")
    if out in ("int32", "int64"):
        total = total + (0 if bias is None else bias.astype(np.int64))
        total = wrap_int32(total) if out == "int32" else wrap_int48(total)
        return (np.maximum(total, 0) if activation == "relu" else total), None
    name, *numbers = activation if isinstance(activation, tuple) else (activation,)
    low, high = (*numbers, 0, 0)[:2]
    return finish(
        total, out_type=ELEMENT_TYPES[out], scale=1.0 if arguments.get("scale") is None
        else arguments["scale"],
        bias=bias if bias is not None and bias.dtype == np.int32 else None,
        float_bias=bias if bias is not None and bias.dtype == np.float32 else None,
        residual=arguments.get("residual"),
        residual_zero_point=arguments.get("residual_zero_point", 0),
        residual_scale=arguments.get("residual_scale", 1.0),
        activation={None: Activation.NONE, "relu": Activation.RELU,
                    "leaky_relu": Activation.LEAKY, "clip": Activation.CLIP}[name],
        low=low, high=high, out_zero_point=arguments.get("zero_point", 0),
        table=arguments.get("table"))


# Whole operators ---------------------------------------------------------------------------------
@st.composite
def geometries(draw):
    """Shapes of x and w, and the other arguments."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 8]))
    cg, og = draw(st.integers(1, 20 if groups == 1 else 6)), draw(st.integers(1, 9))
    kernel, dilation = ((draw(st.integers(1, most)), draw(st.integers(1, most)))
                        for most in (5, 3))
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = tuple((draw(st.integers(0, 4)), draw(st.integers(0, 4))) for _ in range(2))
    size = [max(draw(st.integers(1, 20)), (kernel[n] - 1) * dilation[n] + 1 - sum(padding[n]))
            for n in range(2)]
    return ((draw(st.integers(1, 2)), *size, groups * cg), (*kernel, cg, groups * og),
            {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


def check_conv2d(dev, x_shape, w_shape, geometry, dtype, seed):
    """Run one convolution with a random epilogue, and compare every bit."""
    rng = np.random.default_rng(seed)
    x, w = full_range(rng, dtype, x_shape), full_range(rng, dtype, w_shape)
    zeros = {}
    if x.dtype.itemsize == 1:
        w = full_range(rng, str(rng.choice(["int8", "uint8"])), w_shape)
        zeros = {"x_zero_point": int(full_range(rng, x.dtype, ())),
                 "w_zero_point": full_range(rng, w.dtype, w_shape[-1])}
    total = convolve(x, w, **geometry, **zeros, terms=dev.config.wide_lanes)
    if dtype in ("int8", "uint8"):
        total = wrap_int32(total)
    arguments = draw_epilogue(rng, dtype, w_shape[-1], total.shape)
    result, largest = expected(total, arguments)
    if "residual" in arguments:
        arguments["residual"] = dev.tensor(arguments["residual"])
    y = xpu.ops.conv2d(dev.tensor(x), dev.tensor(w), **geometry, **zeros, **arguments)
    if arguments.get("return_max"):
        y, maximum = y
        assert maximum.numpy()[0].view(np.uint32) == largest.view(np.uint32)
    assert y.shape == total.shape
    np.testing.assert_array_equal(y.numpy(), result, err_msg=str((x.dtype, w.dtype, arguments)))


def swapped(array):
    return np.ascontiguousarray(np.swapaxes(array, -1, -2))


def check_matmul(dev, size, transposed, dtype, seed):
    """Run one product with a random epilogue, and compare every bit."""
    rng = np.random.default_rng(seed)
    m, n, k = size
    a, b = full_range(rng, dtype, (m, k)), full_range(rng, dtype, (k, n))
    total = sums(a, b, dev.config.wide_lanes)
    if a.dtype.itemsize == 1:
        total = wrap_int32(total)
    arguments = draw_epilogue(rng, dtype, n, (m, n))
    result, largest = expected(total, arguments)
    if "residual" in arguments:
        arguments["residual"] = dev.tensor(arguments["residual"])
    operands = [dev.tensor(swapped(x) if t else x) for x, t in
                zip((a, b), transposed, strict=True)]
    y = xpu.ops.matmul(*operands, transpose_a=transposed[0], transpose_b=transposed[1], **arguments)
    if arguments.get("return_max"):
        y, maximum = y
        assert maximum.numpy()[0].view(np.uint32) == largest.view(np.uint32)
    np.testing.assert_array_equal(y.numpy(), result, err_msg=str((dtype, arguments)))
