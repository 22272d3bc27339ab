"""Bus errors at random places of products on the RTL, and what the driver is put through.

After every fault ``dev.reset()`` must restore service with exact results, and no byte outside the
results of lost operations may have changed.
"""

import gc
import threading

import numpy as np
import pytest

import xpu
from support.products import Product, full_range, guarded
from xpu_rtl.command.formats import Engine, FaultCause

pytestmark = pytest.mark.cosim

MEMORY = 2 << 20
CODES = {"SLVERR": 2, "DECERR": 3}


def open_tiny(**options):
    dev = xpu.open("tiny", memory_bytes=MEMORY, timeout_cycles=50_000, **options)
    ring = dev._work.ring._block
    end = ring.address + ring.size
    dev.platform.write_memory(end, full_range(np.random.default_rng(0), np.uint8, MEMORY - end))
    return dev


TIMINGS = {
    "default": {},
    "stalled": {"memory_latency": 9, "memory_stall": 0.4, "memory_order": "interleave",
                "randomize": 1},
    "far": {"memory_latency": 100, "memory_order": "reorder", "randomize": 2},
}


@pytest.fixture(scope="module", params=TIMINGS)
def dev(request):
    with open_tiny(**TIMINGS[request.param]) as device:
        yield device


@pytest.fixture
def native():
    with open_tiny() as device:
        yield device


def run_random(dev, rng, count=2):
    for _ in range(count):
        product = Product.random(rng, *random_shape(rng))
        product.check(product.queue(dev))


#: A few, so that their plans are made once: one tile, ragged, larger than the scratchpad.
SHAPES = [(1, 1, 1), (4, 8, 12), (7, 5, 3), (33, 17, 29), (9, 40, 31), (1, 50, 400), (90, 3, 300)]


def random_shape(rng):
    return SHAPES[rng.integers(len(SHAPES))]


class Queued:
    """A product with its operands in device memory and, later, its result."""

    def __init__(self, dev, product):
        self.product = product
        self.operands = [dev.tensor(product.a), dev.tensor(product.b)]
        self.vectors = {name: dev.tensor(value) for name, value in product.arguments.items()
                        if isinstance(value, np.ndarray)}

    def submit(self):
        self.result = xpu.ops.matmul(*self.operands, **self.product.arguments | self.vectors)
        return self.result


@pytest.mark.parametrize("response", CODES)
@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("seed", range(8))
def test_a_bus_error_at_any_beat(dev, kind, response, seed):
    """One product before the error, one that meets it, one after it."""
    gc.collect()
    rng = np.random.default_rng([seed, CODES[response], kind == "read"])
    queued = [Queued(dev, Product.random(rng, *random_shape(rng)))
              for _ in range(3)]
    platform = dev.platform
    with guarded(dev) as results:
        results += [q.submit() for q in queued]
        hit = queued[1]
        target = hit.result if kind == "write" else rng.choice(
            [*hit.operands, *hit.vectors.values()])
        address = target.address + int(rng.integers(0, target.nbytes))
        count = rng.choice([None, 1])
        platform.inject_error(address, 1, kind=kind, response=response, count=count)
        with pytest.raises(xpu.DeviceFault) as caught:
            dev.synchronize()
        if rng.random() < 0.5:      # nothing may move any more
            platform.run(int(rng.integers(1, 3000)))
        platform.clear_errors()
        dev.reset()
    fault = caught.value
    read = kind == "read"
    assert fault.cause is (FaultCause.BUS_READ if read else FaultCause.BUS_WRITE)
    assert fault.engine is (Engine.LOAD if read else Engine.STORE)
    assert fault.info == CODES[response]
    hit.product.check(hit.submit())
    queued[0].product.check(queued[0].result)
    for lost in results[1:]:
        with pytest.raises(xpu.LostError, match="BUS_READ" if read else "BUS_WRITE"):
            lost.numpy()
    for q in queued:                # operands are intact
        for tensor, array in zip(q.operands, (q.product.a, q.product.b), strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array)
    run_random(dev, rng)


@pytest.mark.parametrize("response", CODES)
@pytest.mark.parametrize("seed", range(4))
def test_a_bus_error_while_fetching(dev, response, seed):
    gc.collect()
    rng = np.random.default_rng(seed)
    dev.reset()
    queued = [Queued(dev, Product.random(rng, 33, 17, 29)) for _ in range(2)]
    ring = dev._work.ring
    slot = int(rng.integers(0, 16))
    with guarded(dev) as results:
        dev.platform.inject_error(ring._block.address + 64 * slot + int(rng.integers(0, 64)), 1,
                                  kind="read", response=response)
        results += [q.submit() for q in queued]
        with pytest.raises(xpu.DeviceFault) as caught:
            dev.synchronize()
        dev.platform.clear_errors()
        dev.reset()
    fault = caught.value
    assert (fault.cause, fault.engine) == (FaultCause.FETCH, Engine.CONTROL)
    assert fault.info == CODES[response]
    assert ring._block.address + 64 * slot <= fault.address <= ring._block.address + 64 * (slot + 1)
    queued[1].product.check(queued[1].submit())
    run_random(dev, rng)


@pytest.mark.parametrize("seed", range(12))
def test_reset_at_any_time(dev, seed):
    """Also twice in a row, and a hard reset; later products are exact."""
    gc.collect()
    rng = np.random.default_rng(seed)
    queued = [Queued(dev, Product.random(rng, *random_shape(rng)))
              for _ in range(3)]
    with guarded(dev) as results:
        results += [q.submit() for q in queued]
        dev.platform.run(int(rng.integers(1, 4000)))
        if seed % 4 == 0:
            dev.platform.hard_reset()
        for _ in range(1 + seed % 2):
            dev.reset()
        dev.platform.run(300)
    for q in queued:
        q.product.check(q.submit())
    with dev.profile() as p:
        run_random(dev, rng)
    for engine, busy in p.busy.items():
        assert busy + sum(p.stalls[engine].values()) == p.cycles


# What the driver is put through -------------------------------------------------------------------
def test_many_products_queued_and_most_results_dropped(native):
    """Memory of dropped results is reused only when nothing writes it any more."""
    rng = np.random.default_rng(1)
    kept = []
    for _ in range(60):
        product = Product.random(rng, *random_shape(rng))
        result = product.queue(native)
        if rng.random() < 0.3:
            kept.append((product, result))
        del result
    for product, result in kept:
        product.check(result)
    kept.clear()
    del product, result
    gc.collect()
    native.synchronize()
    assert native.memory_free == MEMORY - native._work.ring._block.size


def test_memory_is_reused_when_it_runs_out():
    """Results that nobody wants make room, after the work on them."""
    rng = np.random.default_rng(2)
    product = Product(full_range(rng, np.int8, (150, 4)), full_range(rng, np.int8, (4, 400)))
    with xpu.open("tiny", memory_bytes=1 << 20, timeout_cycles=50_000) as dev:
        operands = dev.tensor(product.a), dev.tensor(product.b)
        for _ in range(5):                              # 240,000 bytes each; there is room for 3
            result = xpu.ops.matmul(*operands)
        product.check(result)
        kept = [result]
        kept += [xpu.ops.matmul(*operands) for _ in range(2)]
        with pytest.raises(xpu.OutOfMemoryError, match=r"for tensor int32 \[150, 400\]"):
            xpu.ops.matmul(*operands)
        for result in kept:
            product.check(result)
        kept.clear()
        product.check(xpu.ops.matmul(*operands))


def test_threads_on_several_devices(native):
    """Each thread uses both devices; the devices' memory timing differs."""
    rng = np.random.default_rng(3)
    work = [[Product.random(rng, *random_shape(rng)) for _ in range(6)] for _ in range(4)]
    failures = []

    def run(devices, products):
        try:
            for dev in devices:
                results = [product.queue(dev) for product in products]
                for product, result in zip(products, results, strict=True):
                    product.check(result)
        except BaseException as failure:
            failures.append(failure)
    with open_tiny(memory_stall=0.3, randomize=4) as other:
        threads = [threading.Thread(target=run, args=([native, other][::direction], products))
                   for products, direction in zip(work, (1, -1, 1, -1), strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def test_profiles_nest(native):
    rng = np.random.default_rng(4)
    products = [Product.random(rng, 33, 17, 29, out_dtype="int8") for _ in range(3)]
    with native.profile() as outer:
        first = products[0].queue(native)
        with native.profile() as inner:
            second = products[1].queue(native)
        third = products[2].queue(native)
    for product, result in zip(products, (first, second, third), strict=True):
        product.check(result)
    assert (outer.macs, inner.macs) == (3 * 33 * 17 * 29, 33 * 17 * 29)
    assert 2 * inner.cycles < outer.cycles < 4 * inner.cycles
    for p in (outer, inner):
        assert all(busy + sum(p.stalls[engine].values()) == p.cycles
                   for engine, busy in p.busy.items())
    assert len(outer.events) == 3 * len(inner.events)


def test_a_fault_inside_a_profile_leaves_it(native):
    rng = np.random.default_rng(5)
    queued = Queued(native, Product.random(rng, 33, 17, 29))
    native.platform.inject_error(queued.operands[0].address, 1, kind="read")
    with pytest.raises(xpu.DeviceFault), native.profile():
        queued.submit()
    for use in (native.synchronize, queued.submit, native.profile().__enter__):
        with pytest.raises(xpu.DeviceFault):
            use()
    native.platform.clear_errors()
    native.reset()
    assert not native._profiles
    with native.profile() as p:
        run_random(native, rng)
    assert p.cycles > 0


def test_a_lost_operand_is_refused(native):
    rng = np.random.default_rng(6)
    queued = Queued(native, Product.random(rng, 4, 8, 12, out_dtype="int8"))
    hidden = queued.submit()
    b = native.tensor(full_range(rng, np.int8, (8, 3)))
    after = xpu.ops.matmul(hidden, b)
    native.platform.inject_error(hidden.address, 1, kind="write", count=1)
    for _ in range(2):
        with pytest.raises(xpu.DeviceFault):
            native.synchronize()
    native.reset()
    for use in (hidden.numpy, after.numpy, lambda: xpu.ops.matmul(hidden, b)):
        with pytest.raises(xpu.LostError):
            use()
    queued.product.check(queued.submit())


def test_arrays_of_every_layout(native):
    rng = np.random.default_rng(7)
    a, b = full_range(rng, np.int8, (20, 30)), full_range(rng, np.uint8, (24, 30))
    product = Product(a[::-2, ::3], b.T[::3, ::-1], {
        "bias": full_range(rng, np.int32, 48)[::2].astype(">i4"), "scale": np.array(1e-4),
        "out_dtype": np.dtype(">u1"), "zero_point": np.array(7), "a_zero_point": np.int8(-3),
        "b_zero_point": full_range(rng, np.uint8, 48)[::2].astype(np.int64)})
    result = product.queue(native)
    assert result.numpy().flags.c_contiguous
    product.check(result)
    for array in (np.array(-5, np.int32), np.float32(1.5), np.ones((1,) * 9, np.uint8),
                  np.broadcast_to(np.int8(3), (3, 4)), np.asfortranarray(a)):
        tensor = native.tensor(array)
        assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(tensor.numpy(), array)
    for shape in ((0,), (3, 0), (-1, 4), 1.5, ("a",), (2 ** 70,)):
        with pytest.raises((xpu.ShapeError, xpu.OutOfMemoryError)):
            native.empty(shape, np.int8)
    with pytest.raises(xpu.ShapeError, match="every dimension must be at least 1"):
        native.tensor(np.ones((4, 0), np.int8))


def test_results_beyond_four_gigabytes():
    """Addresses have more than 32 bits; the host provides what is touched."""
    with xpu.open("tiny", memory_bytes=6 << 30, timeout_cycles=50_000) as dev:
        low = dev.empty((4 << 30) - 70_000, np.uint8)   # tensors around and above 2**32
        rng = np.random.default_rng(8)
        products = [Product.random(rng, *shape) for shape in SHAPES]
        results = [product.queue(dev) for product in products for _ in range(3)]
        assert low.address < 1 << 32 < results[-1].address + (1 << 17)
        spacer = dev.empty(1 << 29, np.uint8)
        beyond = products[-1].queue(dev)
        assert beyond.address > 1 << 32
        for product, group in zip(products, zip(*[iter(results)] * 3, strict=True), strict=True):
            for result in group:
                product.check(result)
        products[-1].check(beyond)
        del low, spacer
