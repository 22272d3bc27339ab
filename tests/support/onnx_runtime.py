"""One operator in ONNX Runtime, and operands for which it is exact. Skips where it is missing."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper = onnx.helper

__all__ = ["QLINEAR_DTYPES", "evaluate", "operands", "weight_limits"]

#: Types of A and B for which it implements QLinearMatMul.
QLINEAR_DTYPES = [(np.int8, np.int8), (np.uint8, np.int8), (np.uint8, np.uint8)]


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
