"""``matmul`` and ``conv2d`` on the RTL: all types, geometries and epilogues, bit for bit."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xpu
from support.operators import check_conv2d, check_matmul, geometries

pytestmark = pytest.mark.cosim

TYPES = ["int8", "uint8", "int16", "float16", "bfloat16"]
DEVICES = {
    "tiny": ("tiny", {"randomize": 1}),
    "tiny_stalled": ("tiny", {"memory_latency": 7, "memory_stall": 0.4, "randomize": 2,
                              "memory_order": "reorder"}),
    "slice": ("slice", {"randomize": 3}),
    "slice_far": ("slice", {"memory_latency": 100, "memory_stall": 0.2, "randomize": 4,
                            "memory_order": "interleave"}),
}


@pytest.fixture(scope="module", params=DEVICES)
def dev(request):
    config, options = DEVICES[request.param]
    with xpu.open(config, memory_bytes=8 << 20, timeout_cycles=100_000, **options) as device:
        yield device


def prove(examples, check, **strategies):
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(**strategies, seed=st.integers(0, 2 ** 32))
    def holds(**arguments):
        check(**arguments)
    holds()


def products(dev, examples):
    prove(examples, lambda **arguments: check_matmul(dev, **arguments),
          size=st.tuples(*[st.integers(1, 70)] * 3),
          transposed=st.tuples(st.booleans(), st.booleans()), dtype=st.sampled_from(TYPES))


def convolutions(dev, examples):
    def check(geometry, dtype, seed):
        x_shape, w_shape, arguments = geometry
        if dtype in ("float16", "bfloat16") and x_shape[3] <= 4:    # see test_conv2d.py
            dtype = "int16"
        if dtype in ("float16", "bfloat16"):
            arguments = arguments | {"groups": 1}
            w_shape = (*w_shape[:2], x_shape[3], w_shape[3])
        check_conv2d(dev, x_shape, w_shape, arguments, dtype, seed)
    prove(examples, check, geometry=geometries(), dtype=st.sampled_from(TYPES))


def test_products(dev):
    products(dev, 40)


def test_convolutions(dev):
    convolutions(dev, 40)


@pytest.mark.slow
def test_many_products(dev):
    products(dev, 400)


@pytest.mark.slow
def test_many_convolutions(dev):
    convolutions(dev, 400)
