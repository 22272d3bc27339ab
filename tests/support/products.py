"""Products through the driver: drawing them, what they give, and a watch on device memory."""

import contextlib
from dataclasses import dataclass, field

import numpy as np

import xpu
from xpu.memory import Block
from xpu_rtl.numerics import gemm_int, relu, requantize

__all__ = ["Product", "Unaligned", "full_range", "guarded"]


def full_range(rng, dtype, size=None):
    """Random values of the whole range of an integer type."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, size, dtype, endpoint=True)


@dataclass
class Product:
    """Operands of ``xpu.ops.matmul`` and the arguments that come with them."""

    a: np.ndarray
    b: np.ndarray
    arguments: dict = field(default_factory=dict)

    def expected(self):
        """The golden model's result."""
        arguments = self.arguments
        acc = gemm_int(self.a, self.b, arguments.get("a_zero_point", 0),
                       arguments.get("b_zero_point", 0), arguments.get("bias"))
        if arguments.get("activation"):
            acc = relu(acc)
        if arguments.get("scale") is None:
            return acc
        return requantize(acc, arguments["scale"], arguments.get("zero_point", 0),
                          arguments.get("out_dtype", "int8"))

    def queue(self, dev):
        """Hand it to a device; return the tensor of the result."""
        return xpu.ops.matmul(dev.tensor(self.a), dev.tensor(self.b), **self.arguments)

    def check(self, result):
        """Compare a result, a tensor, with the golden model's."""
        np.testing.assert_array_equal(result.numpy(), self.expected())

    @classmethod
    def random(cls, rng, m, n, k, *, out_dtype=None):
        """Draw the contents and most arguments of a product of a shape."""
        a = full_range(rng, rng.choice(["int8", "uint8"]), (m, k))
        b = full_range(rng, rng.choice(["int8", "uint8"]), (k, n))
        out_dtype = out_dtype or rng.choice(["int32", "int8", "uint8"])
        arguments = {"out_dtype": out_dtype, "activation": rng.choice([None, "relu"]),
                     "a_zero_point": int(full_range(rng, a.dtype)),
                     "b_zero_point": full_range(rng, b.dtype, n),
                     "bias": rng.integers(-99_999, 99_999, n, np.int32)}
        if out_dtype != "int32":
            arguments |= {"scale": (rng.random(n) * 0.01 + 1e-5).astype(np.float32),
                          "zero_point": int(full_range(rng, out_dtype))}
        return cls(a, b, arguments)


class Unaligned:
    """Wraps a device's allocator so that every tensor begins at some odd address.

    Parameters
    ----------
    device : xpu.Device
        Its allocator is replaced.
    seed : int
        Of the addresses.
    """

    def __init__(self, device, seed=0):
        self._inner, self._whole = device._allocator, {}
        self._rng = np.random.default_rng(seed)
        device._allocator = self

    def allocate(self, size, label=""):
        skew = int(self._rng.integers(0, 64))
        whole = self._inner.allocate(size + skew, label)
        block = Block(whole.address + skew, size, label)
        self._whole[block] = whole
        return block

    def release(self, block):
        whole = self._whole.pop(block)
        whole.last_use = block.last_use
        self._inner.release(whole)

    def __getattr__(self, name):
        return getattr(self._inner, name)


@contextlib.contextmanager
def guarded(dev):
    """Check that device memory changes in the results alone, byte for byte.

    Yields a list; the block puts the tensors in it that the device may write. Operands have to be
    there before. The command ring, which the driver writes, is left out.
    """
    dev.synchronize()
    ring = dev._work.ring
    begin = ring._block.address + ring._block.size
    before = dev.platform.memory[begin:].copy()
    may_change = []
    yield may_change
    after = dev.platform.memory[begin:].copy()
    for tensor in may_change:
        first = tensor.address - begin
        before[first:first + tensor.nbytes] = after[first:first + tensor.nbytes]
    wrong = np.flatnonzero(before != after)
    assert not wrong.size, (f"{wrong.size} bytes changed outside the results, the first at "
                            f"{begin + wrong[0]:#x}; results at "
                            f"{[(hex(t.address), t.nbytes) for t in may_change]}")
