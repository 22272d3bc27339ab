"""Bus errors and bad commands: a precise fault, nothing written outside, service restored."""

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge

import xpu
from cluster.support import CONFIG, check_product, open_platform


def bus_error(platform, kind):
    """Every beat of an operand (or result) fails once; guard bytes and later service are intact."""
    rng = np.random.default_rng(5)
    with xpu.open(CONFIG, platform=platform) as dev:
        a = dev.tensor(rng.integers(-128, 128, (4, 9), dtype=np.int8))
        b = dev.tensor(rng.integers(-128, 128, (9, 5), dtype=np.int8))
        guard = dev.tensor(np.full(256, 0x5A, np.uint8))
        bus = platform.config.bus_bytes
        size = a.nbytes if kind == "read" else 4 * 5 * 4
        for offset in range(0, size, bus):
            out = xpu.ops.matmul(a, b)       # submitted; time passes only in synchronize()
            address = (a if kind == "read" else out).address + offset
            platform.inject_fault(address, address, kind)
            with pytest.raises(xpu.DeviceFault) as caught:
                dev.synchronize()
            fault = caught.value
            assert fault.cause.name == ("BUS_READ" if kind == "read" else "BUS_WRITE"), fault
            assert fault.engine.name == ("LOAD" if kind == "read" else "STORE"), fault
            assert fault.address // bus == address // bus or kind == "write", fault
            platform.clear_faults()
            dev.reset()
            np.testing.assert_array_equal(guard.numpy(), 0x5A)
            check_product(dev, rng, 4, 5, 9, a_dtype=np.int8, b_dtype=np.int8, out_dtype=np.int8)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def read_error_on_every_beat(dut):
    await bridge(bus_error)(open_platform(dut), "read")


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def write_error_on_every_beat_with_stalls(dut):
    await bridge(bus_error)(open_platform(dut, stall=0.3, seed=6), "write")
