"""Kernels on several cores."""

import numpy as np
import pytest

import xpu
from xpu_rtl.configs import get_config
from xpu_rtl.simd.instruction import Cause

pytestmark = pytest.mark.cosim

HEADER = '#include "xpu_kernel.h"\n'
CORES = get_config("slice").simd_cores


@pytest.fixture
def dev():
    with xpu.open("slice") as device:
        yield device


def kernel(body, parameters="int *out"):
    return xpu.Kernel.from_source(f"{HEADER}__global__ void test({parameters}) {{ {body} }}",
                                  "test")


@pytest.mark.parametrize("cores", range(1, CORES + 1))
def test_ids(dev, cores):
    k = kernel("int *mine = out + 4 * core_id(); mine[0] = core_id(); mine[1] = core_num();"
               "mine[2] = cluster_id(); mine[3] = cluster_num();")
    out = np.full((CORES, 4), -1, np.int32)
    dev.launch(k, [out], cores=cores)
    for n in range(CORES):
        assert out[n].tolist() == ([n, cores, 0, 1] if n < cores else [-1] * 4)


def test_barrier_orders_memory(dev):
    """Rounds of neighbours' sums: each needs all of the round before."""
    k = kernel("""
        int n = core_num(), me = core_id();
        for (int round = 0; round < 6; ++round) {
          int sum = 0;
          for (int i = 0; i < n; ++i) sum += out[i] * (i + me + 1);
          for (int wait = 0; wait < me * 50; ++wait) __asm__ volatile("");
          sync_cluster();
          out[me] = sum;
          mfence();
          sync_cluster();
        }""", "volatile int *out")
    out = np.arange(1, CORES + 1, dtype=np.int32)
    weights = np.add.outer(np.arange(CORES), np.arange(CORES)) + 1
    expected = out.astype(np.int64)
    for _ in range(6):
        expected = weights @ expected
    dev.launch(k, [out])
    np.testing.assert_array_equal(out, expected.astype(np.int32))


def test_cores_share_the_scratchpad(dev):
    """A sum in SM: each core its part, one core the whole."""
    k = kernel("""
        static __shared__ int parts[8];
        int sum = 0;
        for (int i = core_id(); i < n; i += core_num()) sum += in[i];
        parts[core_id()] = sum;
        sync_cluster();
        if (core_id() == core_num() - 1) {
          for (int i = 1; i < core_num(); ++i) parts[0] += parts[i];
          out[0] = parts[0];
        }""", "int *out, const int *in, int n")
    values = np.random.default_rng(0).integers(-1000, 1000, 333).astype(np.int32)
    out = np.zeros(1, np.int32)
    dev.launch(k, [out, values, 333])
    assert out[0] == values.sum()


def test_barrier_is_quick(dev):
    k = kernel("""
        sync_cluster();
        uint32_t begin = xpu_cycles();
        sync_cluster();
        out[core_id()] = xpu_cycles() - begin;""")
    out = np.zeros(CORES, np.int32)
    dev.launch(k, [out])
    assert (out > 0).all()
    assert out.max() <= 20


def test_a_core_that_ends_does_not_hold_up_the_barrier(dev):
    k = kernel("if (core_id() == 1) return; sync_cluster(); out[core_id()] = 5;")
    out = np.zeros(CORES, np.int32)
    dev.launch(k, [out])
    assert out.tolist() == [5 * (n != 1) for n in range(CORES)]


def test_a_trap_stops_the_others(dev):
    k = kernel("if (core_id() == 2) xpu_abort(); for (;;) out[core_id()] += 1;")
    with pytest.raises(xpu.DeviceFault, match="core 2 met BREAKPOINT") as caught:
        dev.launch(k, [np.zeros(CORES, np.int32)])
    assert caught.value.info == 2 << 8 | Cause.BREAKPOINT
    dev.reset()
    out = np.zeros(CORES, np.int32)
    dev.launch(kernel("out[core_id()] = 9;"), [out])
    assert out.tolist() == [9] * CORES


def test_kernels_follow_each_other_and_the_tensor_unit(dev):
    """A product, a kernel on its result, a product on that."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-20, 20, (16, 16)).astype(np.int8) for _ in range(2))
    on_device = [dev.tensor(one) for one in (a, b)]
    product = xpu.ops.matmul(*on_device)
    shifted = dev.empty((16, 16), np.int8)
    k = kernel("for (int i = core_id(); i < n; i += core_num()) out[i] = in[i] >> 6;",
               "signed char *out, const int *in, int n")
    dev.launch(k, [shifted, product, 256])
    result = xpu.ops.matmul(shifted, on_device[1]).numpy()
    middle = (a.astype(np.int32) @ b.astype(np.int32) >> 6).astype(np.int8)
    np.testing.assert_array_equal(result, middle.astype(np.int32) @ b.astype(np.int32))


def test_random_stalls_change_nothing():
    k = kernel("for (int i = core_id(); i < n; i += core_num()) out[i] = in[n - 1 - i] * 3;",
               "int *out, const int *in, int n")
    values = np.random.default_rng(1).integers(-1000, 1000, 100).astype(np.int32)
    with xpu.open("slice", memory_stall=0.4, memory_latency=7) as device:
        out = np.zeros(100, np.int32)
        device.launch(k, [out, values, 100])
        np.testing.assert_array_equal(out, values[::-1] * 3)
