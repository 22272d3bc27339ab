import gc

import numpy as np
import pytest

import xpu
from xpu.tensor import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 4)])
def test_contents_survive(dev, dtype, shape):
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    tensor = dev.tensor(array)
    assert (tensor.shape, tensor.dtype, tensor.size) == (shape, np.dtype(dtype), array.size)
    assert tensor.nbytes == array.nbytes
    assert tensor.numpy().dtype == array.dtype
    np.testing.assert_array_equal(tensor.numpy(), array)


def test_layout_of_the_source_does_not_matter(dev):
    array = np.arange(24, dtype=np.int32).reshape(4, 6)
    for view in (array.T, array[::-1, ::2], array.astype(">i4"), np.asfortranarray(array)):
        np.testing.assert_array_equal(dev.tensor(view).numpy(), view)


def test_numpy_returns_a_copy(dev):
    tensor = dev.tensor(np.zeros(4, np.int8))
    tensor.numpy()[:] = 1
    assert not tensor.numpy().any()


def test_reshape_shares_the_memory(dev):
    array = np.arange(24, dtype=np.int16).reshape(4, 6)
    free = dev.memory_free
    tensor = dev.tensor(array)
    for shape in ((24,), (2, 3, 4), (1, -1), (-1, 8), ([6, 4],)):
        view = tensor.reshape(*shape)
        assert view.address == tensor.address
        np.testing.assert_array_equal(view.numpy(), array.reshape(*shape))
    with pytest.raises(xpu.ShapeError, match=r"shape must have 24 elements .* not \(5, 5\)"):
        tensor.reshape(5, 5)
    for shape in ((-1, 5), (-1, -1), (0, -1)):
        with pytest.raises(xpu.ShapeError, match="reshape: shape"):
            tensor.reshape(*shape)
    del tensor
    gc.collect()
    np.testing.assert_array_equal(view.numpy(), array.reshape(6, 4))
    assert dev.memory_free < free
    del view
    gc.collect()
    assert dev.memory_free == free


def test_refusals(dev):
    with pytest.raises(xpu.DTypeError, match="array must be a NumPy array, not list"):
        dev.tensor([1, 2])
    with pytest.raises(xpu.DTypeError, match=r"array must be bool or .* bfloat16, not complex64"):
        dev.tensor(np.zeros(3, np.complex64))
    with pytest.raises(xpu.DTypeError, match=r"dtype must be .*, not None"):
        dev.empty((3,), None)
    with pytest.raises(xpu.DTypeError, match=r"dtype must be .*, not nonsense"):
        dev.empty((3,), "nonsense")
    with pytest.raises(xpu.ShapeError, match=r"every dimension must be at least 1, not \(3, 0\)"):
        dev.tensor(np.zeros((3, 0), np.int8))
    with pytest.raises(xpu.ShapeError, match=r"shape must be integers, not \(1\.5,\)"):
        dev.empty((1.5,), np.int8)


def test_memory_is_freed_with_the_tensor(dev):
    free = dev.memory_free
    tensor = dev.empty((1 << 20,), np.uint8)
    assert dev.memory_free == free - (1 << 20)
    del tensor
    gc.collect()
    assert dev.memory_free == free


def test_memory_of_queued_work_is_kept_until_it_is_complete(dev):
    free = dev.memory_free
    a, b = (dev.tensor(np.ones((64, 64), np.int8)) for _ in range(2))
    y = xpu.ops.matmul(a, b)
    del a, b
    gc.collect()
    assert dev.memory_free == free - 2 * 64 * 64 - 4 * 64 * 64
    assert (y.numpy() == 64).all()
    assert dev.memory_free == free - 4 * 64 * 64


def test_allocation_waits_for_queued_work_before_it_gives_up(dev):
    a, b = dev.tensor(np.ones((1024, 4), np.int8)), dev.tensor(np.ones((4, 512), np.int8))
    for _ in range(6):                                  # 2 MiB each, less than 8 MiB in all
        y = xpu.ops.matmul(a, b)
    assert (y.numpy() == 4).all()


def test_exhaustion(dev):
    keep = dev.empty((1 << 20,), np.int32)
    with pytest.raises(xpu.OutOfMemoryError, match=r"for tensor uint8 \[1048576, 8\].*largest "
                                                   r"holders: tensor int32 \[1048576\]: 4194304"):
        dev.empty((1 << 20, 8), np.uint8)
    assert keep.nbytes == 1 << 22
