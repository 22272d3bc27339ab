"""Random products through the driver on the RTL, against the golden model, bit for bit.

Each device has its own memory timing, order of answers and state at power-up. All of its memory is
compared before and after: nothing but the result may change.
"""

import gc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xpu
from support.products import Product, Unaligned, full_range, guarded
from xpu_rtl.configs import CONFIGS

pytestmark = pytest.mark.cosim

DEVICES = {
    "ideal": ("tiny", {"memory_latency": 1}),
    "default": ("tiny", {"randomize": 1}),
    "far": ("tiny", {"memory_latency": 100, "memory_order": "interleave", "randomize": 2}),
    "stalled": ("tiny", {"memory_latency": 7, "memory_stall": 0.4, "memory_order": "reorder",
                         "randomize": 3}),
    "slow_answers": ("tiny", {"memory_latency": 33, "memory_order": "interleave",
                              "memory_stall": {"r": 0.7, "b": 0.95, "seed": 4}}),
    "slow_requests": ("tiny", {"memory_latency": 2, "memory_order": "reorder", "randomize": 5,
                               "memory_stall": {"ar": 0.8, "aw": 0.9, "w": 0.5, "seed": 5}}),
    "slice": ("slice", {"randomize": 6}),
    "slice_stalled": ("slice", {"memory_latency": 55, "memory_stall": 0.3, "randomize": 7,
                                "memory_order": "interleave"}),
}
SLOW = {
    **DEVICES,
    "ecp5": ("ecp5", {"randomize": 8}),
    "ecp5_stalled": ("ecp5", {"memory_latency": 13, "memory_stall": 0.5, "randomize": 9,
                              "memory_order": "reorder"}),
}


@pytest.fixture(scope="module")
def open_device():
    """Open each device once; its tensors begin at odd addresses, among random bytes."""
    opened = {}

    def get(name, memory_bytes):
        key = name, memory_bytes
        if key not in opened:
            config, options = SLOW[name]
            dev = opened[key] = xpu.open(config, memory_bytes=memory_bytes, timeout_cycles=100_000,
                                         **options)
            ring = dev._work.ring._block
            end = ring.address + ring.size
            dev.platform.write_memory(end, full_range(np.random.default_rng(0), np.uint8,
                                                      memory_bytes - end))
            Unaligned(dev)
        return opened[key]
    yield get
    for dev in opened.values():
        dev.close()


# Shapes -------------------------------------------------------------------------------------------
def sizes(lanes, most):
    """1, primes, multiples of the lanes and their neighbours, anything."""
    near = [lanes * n + d for n in (1, 2, 3, 4, 7, 16, 33) for d in (-1, 0, 1)]
    return st.one_of(st.sampled_from([1, 2, 3, 5, 7, 13, 31, 61]), st.sampled_from(near),
                     st.integers(1, 4 * lanes), st.integers(1, most)).filter(lambda n: n <= most)


@st.composite
def shapes(draw, config, effort):
    """M, N, K; the largest dimension far beyond the scratchpad's share, the others bounded."""
    lanes = config.lanes
    small = sizes(lanes, 5 * lanes)
    shape = [draw(small), draw(small), draw(small)]
    longest = draw(st.sampled_from([None, 0, 1, 2]))
    if longest is not None:
        others = max(1, shape[longest - 1]) * max(1, shape[longest - 2])
        shape[longest] = draw(sizes(lanes, max(1, min(effort // others, 60_000))))
    return tuple(shape)


# Arguments ----------------------------------------------------------------------------------------
def zero_points(dtype):
    limits = np.iinfo(dtype)
    return st.one_of(st.sampled_from([limits.min, 0, limits.max]),
                     st.integers(limits.min, limits.max))


SCALES = {
    "useful": lambda rng, size, spread: rng.uniform(0.1, 300, size) / spread,
    "ties": lambda rng, size, spread: np.exp2(-rng.integers(1, 18, size)),
    "one": lambda rng, size, spread: np.ones(size),
    "subnormal": lambda rng, size, spread: 1e-45 * rng.integers(1, 1 << 22, size),
    "huge": lambda rng, size, spread: rng.uniform(1e30, 3.4e38, size),
    "any": lambda rng, size, spread: np.exp2(rng.uniform(-148, 127, size)),
}
DATA = {
    "random": full_range,
    "extreme": lambda rng, dtype, size: rng.choice(
        np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype), size),
    "largest": lambda rng, dtype, size: np.full(size, np.iinfo(dtype).max),
    "least": lambda rng, dtype, size: np.full(size, np.iinfo(dtype).min),
}
BIASES = {
    "small": lambda rng, n: rng.integers(-1000, 1000, n),
    "any": lambda rng, n: full_range(rng, np.int32, n),
    "largest": lambda rng, n: np.full(n, 2 ** 31 - 1),
    "least": lambda rng, n: np.full(n, -2 ** 31),
}


@st.composite
def products(draw, config, effort):
    m, n, k = draw(shapes(config, effort))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    dtypes = st.sampled_from(["int8", "uint8"])
    a_dtype, b_dtype = draw(dtypes), draw(dtypes)
    out_dtype = draw(st.sampled_from(["int32", "int8", "uint8"]))
    kinds = st.sampled_from(sorted(DATA))
    a = DATA[draw(kinds)](rng, a_dtype, (m, k)).astype(a_dtype)
    b = DATA[draw(kinds)](rng, b_dtype, (k, n)).astype(b_dtype)
    arguments = {"a_zero_point": draw(zero_points(a_dtype)),
                 "b_zero_point": draw(zero_points(b_dtype)),
                 "activation": draw(st.sampled_from([None, "relu"])), "out_dtype": out_dtype}
    if draw(st.booleans()):
        arguments["b_zero_point"] = full_range(rng, b_dtype, n)
    if draw(st.booleans()):
        arguments["bias"] = BIASES[draw(st.sampled_from(sorted(BIASES)))](rng, n).astype(np.int32)
    if out_dtype != "int32":
        kind = draw(st.sampled_from(sorted(SCALES)))
        size = n if draw(st.booleans()) else ()
        scale = np.asarray(SCALES[kind](rng, size, 128 * 128 * np.sqrt(k)))
        scale = np.clip(scale, 1e-45, 3.4028235e38).astype(np.float32)
        arguments |= {"scale": scale if scale.ndim else scale[()],
                      "zero_point": draw(zero_points(out_dtype))}
    return Product(a, b, arguments)


def check(dev, batch):
    """Queue all products of a batch at once, then compare results and the rest of memory."""
    gc.collect()
    queued = []
    for product in batch:
        vectors = {name: dev.tensor(value) if isinstance(value, np.ndarray) else value
                   for name, value in product.arguments.items()}
        queued.append((dev.tensor(product.a), dev.tensor(product.b), vectors))
    with guarded(dev) as results:
        for a, b, arguments in queued:
            results.append(xpu.ops.matmul(a, b, **arguments))
        dev.synchronize()
    for product, result in zip(batch, results, strict=True):
        np.testing.assert_array_equal(result.numpy(), product.expected())


def prove(name, dev, examples, effort):
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(st.lists(products(CONFIGS[SLOW[name][0]], effort), min_size=1, max_size=3))
    def holds(batch):
        check(dev, batch)
    holds()


@pytest.mark.parametrize("name", DEVICES)
def test_products(open_device, name):
    prove(name, open_device(name, 4 << 20), examples=40, effort=120_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_many_products(open_device, name):
    prove(name, open_device(name, 32 << 20), examples=100, effort=1_500_000)
