"""Bus errors, bad commands, resets: a precise fault, nothing written outside, service restored."""

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge

import xpu
from cluster.support import CONFIG, check_product, open_platform, random_product
from cluster.test_operators import generator, random_shape
from common.drive import scaled
from xpu.commands import Command
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import (
    DMA_COPY,
    GEMM,
    HEADER,
    LAUNCH,
    ElementType,
    Engine,
    FaultCause,
    Opcode,
)

GM_BYTES = 1 << 20      # of the platform
SLVERR, DECERR = 2, 3


def fault_of(dev):
    """Wait for the fault; return ``(cause, engine, index, address, info)``."""
    with pytest.raises(xpu.DeviceFault) as caught:
        dev.synchronize()
    fault = caught.value
    return fault.cause, fault.engine, fault.index, fault.address, fault.info


def serves(dev, rng, guard):
    """After a reset the guard bytes are as they were and a product is exact."""
    dev.reset()
    np.testing.assert_array_equal(guard.numpy(), 0x5A)
    check_product(dev, rng, 4, 5, 9)


def bus_error(platform, kind):
    """Every beat of an operand (or result) fails once."""
    rng = generator(kind)
    with xpu.open(CONFIG, platform=platform) as dev:
        a = dev.tensor(rng.integers(-128, 128, (4, 9), dtype=np.int8))
        b = dev.tensor(rng.integers(-128, 128, (9, 5), dtype=np.int8))
        bus = platform.config.bus_bytes
        size = a.nbytes if kind == "read" else 4 * 5 * 4
        for offset in range(0, size, bus):
            out = xpu.ops.matmul(a, b)       # submitted; time passes only in synchronize()
            guard = dev.tensor(np.full(256, 0x5A, np.uint8))
            address = (a if kind == "read" else out).address + offset
            platform.inject_fault(address, address, kind)
            cause, engine, _, found, info = fault_of(dev)
            assert cause is (FaultCause.BUS_READ if kind == "read" else FaultCause.BUS_WRITE)
            assert engine is (Engine.LOAD if kind == "read" else Engine.STORE)
            assert info == SLVERR
            # The beat of a read, the burst of a write.
            assert found == address if kind == "read" else out.address // bus <= found // bus, found
            assert found <= address
            platform.clear_faults()
            serves(dev, rng, guard)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def read_error_on_every_beat(dut):
    await bridge(bus_error)(open_platform(dut), "read")


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def write_error_on_every_beat_with_stalls(dut):
    await bridge(bus_error)(open_platform(dut, stall=0.3, seed=cocotb.RANDOM_SEED), "write")


class Unknown(Command):
    """A NOP with another first byte."""

    def __init__(self, opcode):
        super().__init__(Opcode.NOP)
        self._first = opcode

    def encode(self):
        return bytes([self._first]) + super().encode()[1:]


def sm(offset):
    return SystemAddress(Space.SM, offset).encode()


def bad_commands():
    """``(command, cause, engine, address, info)`` by the specification of the commands."""
    last, end = CONFIG.semaphores, CONFIG.sm_bytes

    def field(command, cause, engine, fmt, name):
        return command, cause, engine, 0, fmt.lsb[name]

    for opcode in (0x00, 0x77, 0xFF):
        yield Unknown(opcode), FaultCause.BAD_OPCODE, Engine.CONTROL, 0, 0
    for good, bad in ((("clusters",), {"cores": 1}), (("cores",), {"clusters": 1}),
                      (("entry",), {"entry": 2}), (("window_low",), {"window_low": 64})):
        yield field(Command(Opcode.LAUNCH, **bad), FaultCause.BAD_FIELD, Engine.SIMD, LAUNCH, *good)
    for opcode, slots in ((Opcode.NOP, 2), (Opcode.FENCE, 0), (Opcode.GEMM, 1)):
        yield Command(opcode, slots=slots), FaultCause.BAD_SLOTS, Engine.CONTROL, 0, 0
    yield field(Command(Opcode.NOP, reserved0=1 << 16), FaultCause.BAD_FIELD, Engine.CONTROL,
                HEADER, "reserved0")
    for name in ("wait0_semaphore", "wait1_semaphore", "signal0_semaphore", "signal1_semaphore"):
        yield field(Command(Opcode.NOP, **{name: last}), FaultCause.BAD_SEMAPHORE, Engine.CONTROL,
                    HEADER, name)

    def copy(opcode, source, destination, **fields):
        return Command(opcode, source=source, destination=destination,
                       **{"row_bytes": 4, "rows": 1} | fields)

    load, store = Opcode.DMA_LOAD, Opcode.DMA_STORE
    gm = GM_BYTES - 4096
    yield field(copy(load, gm, sm(0), reserved1=1), FaultCause.BAD_FIELD, Engine.LOAD, DMA_COPY,
                "reserved1")
    yield field(copy(store, sm(0), gm, rows=0), FaultCause.BAD_FIELD, Engine.STORE, DMA_COPY,
                "rows")
    for command, engine, address in (
            (copy(load, gm, sm(end - 3)), Engine.LOAD, sm(end - 3)),
            (copy(load, gm, sm(1 << 20)), Engine.LOAD, sm(1 << 20)),
            (copy(load, gm, sm(0) | 1 << 48), Engine.LOAD, sm(0) | 1 << 48),
            (copy(store, sm(end), gm), Engine.STORE, sm(end)),
            (copy(store, sm(0), gm | 1 << 63), Engine.STORE, gm | 1 << 63)):
        yield command, FaultCause.BAD_ADDRESS, engine, address, 0
    yield (copy(load, GM_BYTES, sm(0)), FaultCause.BUS_READ, Engine.LOAD, GM_BYTES, DECERR)
    yield (copy(store, sm(0), GM_BYTES), FaultCause.BUS_WRITE, Engine.STORE, GM_BYTES, DECERR)

    gemm = {"rows": 1, "columns": 1, "depth": 1, "tile_blocks": 1, "tile_rows": 1,
            "a_type": ElementType.INT8, "b_type": ElementType.UINT8}
    yield (Command(Opcode.GEMM, **gemm, a_address=end), FaultCause.BAD_ADDRESS, Engine.TENSOR,
           end, 0)
    for name, value in (("a_type", 0), ("b_type", 3), ("tile_rows", 0),
                        ("reserved2", 1)):
        yield field(Command(Opcode.GEMM, **gemm | {name: value}), FaultCause.BAD_FIELD,
                    Engine.TENSOR, GEMM, name)
    yield field(Command(Opcode.GEMM, **gemm, b_semaphore=last), FaultCause.BAD_SEMAPHORE,
                Engine.TENSOR, GEMM, "b_semaphore")


def malformed(platform):
    """Each is refused with exactly its cause, engine, index, address and info."""
    rng = generator("malformed")
    with xpu.open(CONFIG, platform=platform) as dev:
        guard = dev.tensor(np.full(256, 0x5A, np.uint8))
        for command, cause, engine, address, info in bad_commands():
            before = int(rng.integers(0, 5))
            dev.submit([Command(Opcode.NOP)] * before + [command])
            random_product(dev, rng, 3, 3, 3)       # never executed
            assert fault_of(dev) == (cause, engine, before, address, info), command
            dev.reset()
        serves(dev, rng, guard)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def malformed_commands(dut):
    await bridge(malformed)(open_platform(dut, stall=0.2, seed=cocotb.RANDOM_SEED))


def interrupted(platform, hard):
    """Reset after a random time of work; then results are exact and nothing else has changed."""
    rng = generator(f"reset-{hard}")
    with xpu.open(CONFIG, platform=platform) as dev:
        guards = [dev.tensor(np.full(256, 0x5A, np.uint8))]
        for _ in range(scaled(10)):
            for _ in range(3):
                random_product(dev, rng, *random_shape(rng))
            guards.append(dev.tensor(np.full(64, 0x5A, np.uint8)))
            platform.run(int(rng.integers(1, 1500)))
            if hard:
                platform.hard_reset()
            serves(dev, rng, guards[0])
        for guard in guards:
            np.testing.assert_array_equal(guard.numpy(), 0x5A)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def reset_in_the_middle(dut):
    await bridge(interrupted)(open_platform(dut, stall=0.4, seed=cocotb.RANDOM_SEED), False)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def hard_reset_in_the_middle(dut):
    await bridge(interrupted)(open_platform(dut, stall=0.4, seed=cocotb.RANDOM_SEED), True)
