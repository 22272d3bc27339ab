"""Operators through the driver on the RTL, checked against NumPy, with random stalls."""

import random

import cocotb
import numpy as np
from cocotb.task import bridge

import xpu
from cluster.support import CONFIG, check_product, open_platform, random_product
from common.drive import scaled
from xpu_rtl import numerics
from xpu_rtl.csr.maps import CLUSTER, ID

SHAPES = [(1, 1, 1), (4, 4, 4), (5, 3, 7), (16, 9, 33), (1, 40, 18), (37, 21, 12)]
TYPES = [{"a_dtype": np.int8, "b_dtype": np.int8, "out_dtype": np.int8},
         {"a_dtype": np.uint8, "b_dtype": np.int8, "out_dtype": np.uint8},
         {"a_dtype": np.int8, "b_dtype": np.uint8, "out_dtype": np.int32},
         {"a_dtype": np.uint8, "b_dtype": np.uint8, "out_dtype": np.int8}]


def generator(name):
    return np.random.default_rng([cocotb.RANDOM_SEED & 0xFFFF_FFFF, *name.encode()])


def random_shape(rng):
    return [int(size) for size in rng.integers(1, (30, 30, 40))]


def products(platform, name):
    """Fixed shapes with all types in turn, then random ones."""
    rng = generator(name)
    with xpu.open(CONFIG, platform=platform) as dev:
        for number, shape in enumerate(SHAPES):
            check_product(dev, rng, *shape, **TYPES[number % len(TYPES)])
        for _ in range(scaled(4)):
            check_product(dev, rng, *random_shape(rng), **TYPES[rng.integers(len(TYPES))])


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def products_are_exact(dut):
    await bridge(products)(open_platform(dut), "plain")


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def products_are_exact_with_a_stalling_memory(dut):
    await bridge(products)(open_platform(dut, stall=0.5, seed=cocotb.RANDOM_SEED), "stalls")


def queued(platform):
    """Nothing waits until all is submitted; results are then looked at in any order."""
    rng = generator("queued")
    with xpu.open(CONFIG, platform=platform) as dev:
        for _ in range(scaled(2)):
            pending = [random_product(dev, rng, *random_shape(rng), **TYPES[n % len(TYPES)])
                       for n in range(7)]
            random.Random(int(rng.integers(1 << 30))).shuffle(pending)
            for result, expected in pending:
                np.testing.assert_array_equal(result.numpy(), expected)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def several_operators_queued(dut):
    await bridge(queued)(open_platform(dut, stall=0.2, seed=cocotb.RANDOM_SEED))


def chained(platform):
    """Each product reads the result of the one before, which is still to be computed."""
    rng = generator("chained")
    with xpu.open(CONFIG, platform=platform) as dev:
        value = rng.integers(-128, 128, (9, 13), dtype=np.int8)
        tensor = dev.tensor(value)
        for n in (6, 17, 5, 8):
            weights = rng.integers(-128, 128, (value.shape[1], n), dtype=np.int8)
            tensor = xpu.ops.matmul(tensor, dev.tensor(weights), scale=0.004, zero_point=-3)
            value = numerics.requantize(numerics.gemm_int(value, weights), 0.004, -3, np.int8)
        np.testing.assert_array_equal(tensor.numpy(), value)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def results_feed_the_next_operator(dut):
    await bridge(chained)(open_platform(dut, stall=0.2, seed=cocotb.RANDOM_SEED))


def small_ring(platform):
    """A ring that wraps around all the time and is often full."""
    rng = generator("ring")
    with xpu.Device(platform, log2_slots=3) as dev:
        pending = [random_product(dev, rng, *random_shape(rng)) for _ in range(5)]
        for result, expected in pending:
            np.testing.assert_array_equal(result.numpy(), expected)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_ring_of_eight_slots(dut):
    await bridge(small_ring)(open_platform(dut))


def profile(platform):
    rng = generator("profile")
    with xpu.open(CONFIG, platform=platform) as dev:
        a = dev.tensor(rng.integers(-128, 128, (16, 16), dtype=np.int8))
        b = dev.tensor(rng.integers(-128, 128, (16, 8), dtype=np.int8))
        with dev.profile() as p:
            xpu.ops.matmul(a, b)
        assert p.macs == 16 * 16 * 8
        for engine in ("load", "store", "tensor"):
            assert p.busy[engine] + sum(p.stalls[engine].values()) == p.cycles, engine
        assert p.bytes_read == 16 * 16 + 16 * 8
        assert p.bytes_written == 16 * 8 * 4
        assert {event.engine for event in p.events} == {"load", "store", "tensor"}
        assert all(event.begin <= event.end <= platform.cycle_count for event in p.events)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def profile_adds_up(dut):
    await bridge(profile)(open_platform(dut))


def registers(platform):
    assert platform.read_register(CLUSTER["id"].address()) == ID
    assert platform.read_register(CLUSTER["status"].address()) == 0
    known = {register.address(n) for register in CLUSTER.registers for n in range(register.count)}
    holes = [offset for offset in range(0, 1 << CLUSTER.addr_width, 4) if offset not in known]
    for offset in (holes[0], holes[len(holes) // 2], holes[-1]):
        for access in (platform.read_register, lambda o: platform.write_register(o, 0)):
            try:
                access(offset)
            except xpu.platforms.RegisterAccessError:
                continue
            raise AssertionError(f"an access to the unmapped offset {offset:#x} was accepted")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registers_answer(dut):
    await bridge(registers)(open_platform(dut))
