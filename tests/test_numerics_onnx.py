"""The golden model against ONNX Runtime, an implementation nobody here wrote."""

from pathlib import Path

import numpy as np
import pytest

from xpu_rtl.numerics import gemm_int, requantize

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper, TensorProto = onnx.helper, onnx.TensorProto

DTYPES = [np.int8, np.uint8]


def weight_limits(dtype):
    """Values of B for which ONNX Runtime's own sums are exact.

    Without a dot product instruction its x86 kernels add pairs of products in 16 bits and saturate,
    unless B has 7 bits.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        flags = ""
    limits = np.iinfo(dtype)
    if "avx512_vnni" in flags or "avx_vnni" in flags or "asimddp" in flags:
        return limits.min, limits.max
    return (-64, 63) if limits.min else (0, 127)


def operands(rng, a_dtype, b_dtype, m, k, n):
    limits = np.iinfo(a_dtype)
    a = rng.integers(limits.min, limits.max + 1, (m, k)).astype(a_dtype)
    low, high = weight_limits(b_dtype)
    b = rng.integers(low, high + 1, (k, n)).astype(b_dtype)
    return a, b, int(rng.integers(limits.min, limits.max + 1)), int(rng.integers(low, high + 1))


def evaluate(op, inputs, out_dtype, **attributes):
    """Run one operator in ONNX Runtime; all ``inputs`` (arrays) but the first are constants."""
    names = [f"input{n}" for n in range(len(inputs))]
    element = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)], "one",
        [helper.make_tensor_value_info(names[0], element(inputs[0].dtype), inputs[0].shape)],
        [helper.make_tensor_value_info("y", element(np.dtype(out_dtype)), None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name)
         for name, value in zip(names[1:], inputs[1:], strict=True)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options,
                                   providers=["CPUExecutionProvider"])
    return session.run(None, {names[0]: inputs[0]})[0]


@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("b_dtype", DTYPES)
def test_matmul_integer(a_dtype, b_dtype):
    rng = np.random.default_rng(1)
    for m, k, n in ((1, 1, 1), (5, 300, 17), (33, 64, 40)):
        a, b, a_zero, b_zero = operands(rng, a_dtype, b_dtype, m, k, n)
        expected = evaluate("MatMulInteger", [a, b, a_dtype(a_zero), b_dtype(b_zero)], np.int32)
        assert (gemm_int(a, b, a_zero, b_zero) == expected).all()


@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("b_dtype", DTYPES)
def test_matmul_integer_with_zero_point_per_column(a_dtype, b_dtype):
    rng = np.random.default_rng(2)
    a, b, a_zero, _ = operands(rng, a_dtype, b_dtype, 9, 70, 20)
    low, high = weight_limits(b_dtype)
    b_zero = rng.integers(low, high + 1, 20).astype(b_dtype)
    expected = evaluate("MatMulInteger", [a, b, a_dtype(a_zero), b_zero], np.int32)
    assert (gemm_int(a, b, a_zero, b_zero) == expected).all()


@pytest.mark.parametrize(("dtype", "b_dtype"), [  # all that ONNX Runtime implements
    (np.int8, np.int8), (np.uint8, np.int8), (np.uint8, np.uint8)])
@pytest.mark.parametrize("per_column", [False, True])
def test_qlinear_matmul(dtype, b_dtype, per_column):
    """Scales from the useful to the absurd, and powers of two, which make ties."""
    rng = np.random.default_rng(3)
    m, k, n = 40, 96, 24
    spread = 255 * 255 * np.sqrt(k)
    for y_scale in (1.0, 2.0 ** 9, 2.0 ** 12, spread / 300, spread / 1e9, 1e30, 1e-33):
        a, b, a_zero, b_zero = operands(rng, dtype, b_dtype, m, k, n)
        a_scale = np.float32(1.0)
        b_scale = np.ones(n, np.float32) if per_column else np.float32(1.0)
        if 2.0 ** 12 < y_scale < 1e20:
            b_scale = (b_scale * rng.uniform(0.5, 2, b_scale.shape)).astype(np.float32)
            a_scale = np.float32(rng.uniform(0.5, 2))
        y_scale = np.float32(y_scale)
        b_zeros = np.full(n, b_zero, b_dtype) if per_column else b_dtype(b_zero)
        out_zero = int(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1))
        expected = evaluate("QLinearMatMul", [
            a, a_scale, dtype(a_zero), b, b_scale, b_zeros, y_scale, dtype(out_zero)], dtype)
        scale = (a_scale * b_scale) / y_scale
        got = requantize(gemm_int(a, b, a_zero, b_zero), scale, out_zero, dtype)
        assert (got == expected).all(), f"{(got != expected).sum()} differ at y_scale={y_scale}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_qlinear_conv_of_one_pixel_kernels(dtype):
    """A 1 x 1 convolution is a GEMM; it brings the bias and one scale per output channel."""
    rng = np.random.default_rng(4)
    m, k, n = 50, 60, 12
    a, b, a_zero, _ = operands(rng, dtype, np.int8, m, k, n)
    a_scale, y_scale = np.float32(0.0173), np.float32(0.731)
    b_scale = np.exp2(rng.uniform(-9, -3, n)).astype(np.float32)
    bias = rng.integers(-100_000, 100_000, n).astype(np.int32)
    image = np.ascontiguousarray(a.T).reshape(1, k, 1, m)
    kernel = np.ascontiguousarray(b.T).reshape(n, k, 1, 1)
    out_zero = 9
    expected = evaluate("QLinearConv", [
        image, a_scale, dtype(a_zero), kernel, b_scale, np.zeros(n, np.int8), y_scale,
        dtype(out_zero), bias], dtype)
    acc = gemm_int(a, b, a_zero, 0, bias)
    got = requantize(acc, a_scale * b_scale / y_scale, out_zero, dtype)
    assert len(np.unique(got)) > 30
    assert (got.T.reshape(expected.shape) == expected).all()
