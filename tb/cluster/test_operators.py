"""Operators through the driver on the RTL, checked against NumPy, with random stalls."""

import cocotb
import numpy as np
from cocotb.task import bridge

import xpu
from cluster.support import CONFIG, check_product, open_platform
from xpu_rtl.csr.maps import CLUSTER

SHAPES = [(1, 1, 1), (4, 4, 4), (5, 3, 7), (16, 9, 33), (1, 40, 18), (37, 21, 12)]
TYPES = [(np.int8, np.int8, np.int8), (np.uint8, np.int8, np.uint8), (np.int8, np.uint8, np.int32),
         (np.uint8, np.uint8, np.int8)]


def products(platform, seed):
    rng = np.random.default_rng(seed)
    with xpu.open(CONFIG, platform=platform) as dev:
        for number, (m, n, k) in enumerate(SHAPES):
            a_dtype, b_dtype, out_dtype = TYPES[number % len(TYPES)]
            check_product(dev, rng, m, n, k, a_dtype=a_dtype, b_dtype=b_dtype, out_dtype=out_dtype)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def products_are_exact(dut):
    await bridge(products)(open_platform(dut), 1)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def products_are_exact_with_a_stalling_memory(dut):
    await bridge(products)(open_platform(dut, stall=0.5, seed=2), 2)


def profile(platform):
    rng = np.random.default_rng(3)
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
        assert all(event.begin <= event.end for event in p.events)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def profile_adds_up(dut):
    await bridge(profile)(open_platform(dut))


def registers(platform):
    assert platform.read_register(CLUSTER["id"].address()) == int.from_bytes(b"XPU0", "little")
    assert platform.read_register(CLUSTER["status"].address()) == 0
    for offset in (0xFFC, 0x3FC):
        try:
            platform.read_register(offset)
        except xpu.platforms.RegisterAccessError:
            continue
        raise AssertionError(f"a read of the unmapped offset {offset:#x} was accepted")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registers_answer(dut):
    await bridge(registers)(open_platform(dut))
