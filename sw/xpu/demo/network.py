"""The network: float weights, their INT8 form, and both ways to run that."""

from dataclasses import dataclass
from importlib import resources

import numpy as np

from xpu_rtl import numerics

from .. import ops
from .data import PIXEL_SCALE

__all__ = ["Network", "QuantizedLayer"]

_WEIGHTS_FILE = "weights.npz"


@dataclass(frozen=True)
class QuantizedLayer:
    """A fully connected layer in integers: one ``matmul`` with its epilogue.

    A real value is ``(integer - zero point) * scale``. Weights are symmetric, with one scale per
    output channel; activations have one scale and zero point per tensor.

    Parameters
    ----------
    weights : int8 [K, N]
        Never -128, so that the range is symmetric.
    bias : int32 [N]
        In units of input scale * weight scale.
    scale : float32 [N]
        Input scale * weight scale / output scale.
    a_zero_point, zero_point : int
        Of the input and of the output.
    relu : bool
        Negative sums become zero.
    out_dtype : numpy.dtype
        uint8 or int8.
    """

    weights: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    a_zero_point: int
    zero_point: int
    relu: bool
    out_dtype: np.dtype

    def run(self, x):
        """Return the layer's output, computed by the device that holds the tensor ``x``."""
        weights = x.device.tensor(self.weights)
        return ops.matmul(x, weights, bias=self.bias, scale=self.scale,
                          zero_point=self.zero_point, activation="relu" if self.relu else None,
                          out_dtype=self.out_dtype, a_zero_point=self.a_zero_point, b_zero_point=0)

    def reference(self, x):
        """Return the output the device must produce for the array ``x``, bit for bit."""
        acc = numerics.gemm_int(x, self.weights, self.a_zero_point, 0, self.bias)
        if self.relu:
            acc = numerics.relu(acc)
        return numerics.requantize(acc, self.scale, self.zero_point, self.out_dtype)


class Network:
    """Fully connected layers with ReLU between them.

    What is stored is float32: the weights, and the scale and zero point of each layer's output,
    which were calibrated on training images. The rest of the INT8 form follows from them by
    element-wise IEEE operations, so it is the same on every machine.

    Parameters
    ----------
    weights : list of float32 [K, N]
        One per layer.
    biases : list of float32 [N]
        Likewise.
    scales : list of float32
        Scale of each layer's output; empty before ``calibrate``.
    zero_points : list of int
        Likewise.
    """

    def __init__(self, weights, biases, scales=(), zero_points=()):
        self.weights = [np.asarray(array, np.float32) for array in weights]
        self.biases = [np.asarray(array, np.float32) for array in biases]
        self.scales = [np.float32(scale) for scale in scales]
        self.zero_points = [int(zero) for zero in zero_points]

    @property
    def sizes(self):
        """Width of the input and of each layer."""
        return (len(self.weights[0]), *(len(bias) for bias in self.biases))

    def activations(self, images):
        """Return every layer's float output for images of integers from 0 to 16.

        In float64, so that no result hangs on the order in which a BLAS adds.
        """
        outputs, x = [], images.astype(np.float64) * PIXEL_SCALE
        for number, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            x = x @ weights + bias
            if number < len(self.weights):
                x = np.maximum(x, 0)
            outputs.append(x)
        return outputs

    def calibrate(self, images):
        """Choose each output's scale and zero point, so that 8 bits span what ``images`` cause.

        Hidden layers are uint8 with zero point 0, as ReLU leaves nothing negative; the last layer
        is int8 with a zero point.
        """
        self.scales, self.zero_points = [], []
        outputs = self.activations(images)
        for output in outputs[:-1]:
            self.scales.append(np.float32(output.max() / 255))
            self.zero_points.append(0)
        low, high = outputs[-1].min(), outputs[-1].max()
        scale = (high - low) / 255
        self.scales.append(np.float32(scale))
        self.zero_points.append(int(np.rint(-128 - low / scale)))

    def quantize(self):
        """Return the layers in integers, as a list of ``QuantizedLayer``."""
        layers, x_scale, x_zero_point = [], PIXEL_SCALE, 0
        for index, weights in enumerate(self.weights):
            last = index == len(self.weights) - 1
            w_scale = np.abs(weights).max(axis=0) / np.float32(127)
            y_scale, y_zero_point = self.scales[index], self.zero_points[index]
            layers.append(QuantizedLayer(
                weights=np.rint(weights / w_scale).astype(np.int8),
                bias=np.rint(self.biases[index] / (x_scale * w_scale)).astype(np.int32),
                scale=x_scale * w_scale / y_scale,
                a_zero_point=x_zero_point, zero_point=y_zero_point, relu=not last,
                out_dtype=np.dtype(np.int8 if last else np.uint8)))
            x_scale, x_zero_point = y_scale, y_zero_point
        return layers

    def save(self, path):
        """Write the network to ``path``; the same network gives the same bytes."""
        arrays = {"scales": np.array(self.scales, np.float32),
                  "zero_points": np.array(self.zero_points, np.int32)}
        for index, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays |= {f"weights{index}": weights, f"bias{index}": bias}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path=None):
        """Read a network from ``path``, by default the one that comes with the package."""
        path = resources.files(__package__) / _WEIGHTS_FILE if path is None else path
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            layers = range(len(arrays["scales"]))
            return cls([arrays[f"weights{index}"] for index in layers],
                       [arrays[f"bias{index}"] for index in layers],
                       arrays["scales"], arrays["zero_points"])
