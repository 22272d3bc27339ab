"""Several rings on the functional model: faults, windows and resets of one leave the others be."""

import numpy as np
import pytest

from xpu import dma
from xpu.commands import Command
from xpu.memory import Block
from xpu.platforms.model import ModelPlatform
from xpu.ring import Operation, Ring
from xpu_rtl import XpuConfig
from xpu_rtl.command.formats import Engine, FaultCause, Opcode
from xpu_rtl.csr.maps import CLUSTER

CONFIG = XpuConfig(name="rings", lanes=4, acc_rows=16, epilogue_lanes=2, tile_blocks=4,
                   sm_bytes=16 * 1024, sm_banks=4, rings=3)
SLOTS = 4      # log2


class Rings:
    def __init__(self):
        self.platform = ModelPlatform(CONFIG, 1 << 20)
        self.rings = [Ring(self.platform, Block(n << 12, 64 << SLOTS, f"ring {n}"), SLOTS, n)
                      for n in range(CONFIG.rings)]
        for ring in self.rings:
            ring.start()
        self.sequence = [0] * CONFIG.rings

    def submit(self, number, *commands):
        self.sequence[number] += 1
        fence = Command(Opcode.FENCE, sequence=self.sequence[number])
        self.rings[number].submit(Operation("", [*commands, fence], self.sequence[number]))
        self.rings[number].pump()

    def run(self):
        self.platform.run(1000)

    def completed(self, number):
        return self.rings[number].read("completed")

    def fault(self, number):
        read = self.rings[number].read
        fields = CLUSTER["ring_fault"].unpack(read("fault"))
        return (FaultCause(fields["cause"]), Engine(fields["engine"]), read("fault_index"),
                read("fault_row"))

    def reset(self, number):
        self.platform.write_register(CLUSTER["ring_control"].address(number), 1)
        assert self.platform.read_register(CLUSTER["ring_control"].address(number)) == 0
        self.rings[number].start()
        self.sequence[number] = 0


@pytest.fixture
def rings():
    return Rings()


def test_a_fault_stops_one_ring(rings):
    bad = dma.copy_nd(1 << 16, dma.sm(CONFIG.sm_bytes - 40), (3, 2, 10), (0, 10), (20, 10))[0]
    rings.submit(0, *dma.fill(1 << 17, 0x01010101, (16,)))
    rings.submit(1, Command(Opcode.NOP), bad)
    rings.run()
    assert (rings.completed(0), rings.completed(1)) == (1, 0)
    assert rings.fault(0)[0] is FaultCause.NONE
    assert rings.fault(1) == (FaultCause.BAD_ADDRESS, Engine.LOAD, 1, 2)
    rings.submit(0, *dma.fill(1 << 18, 0x02020202, (16,)))
    rings.submit(2, *dma.copy_nd(1 << 17, 1 << 19, (16,)))
    rings.run()
    assert (rings.completed(0), rings.completed(2)) == (2, 1)
    np.testing.assert_array_equal(rings.platform.read_memory(1 << 19, 16), 1)
    rings.reset(1)
    assert rings.fault(1)[0] is FaultCause.NONE
    assert rings.rings[1].read("head") == rings.rings[1].read("issued") == 0
    assert rings.completed(0) == 2
    rings.submit(1, *dma.copy_nd(1 << 18, 1 << 19, (16,)))
    rings.run()
    assert rings.completed(1) == 1
    np.testing.assert_array_equal(rings.platform.read_memory(1 << 19, 16), 2)


def test_a_stuck_ring_is_reset_and_semaphores_stay(rings):
    rings.submit(0, Command(Opcode.NOP, signal0_semaphore=3, signal0_add=2))
    rings.submit(1, Command(Opcode.NOP, wait0_semaphore=3, wait0_value=5))
    rings.run()
    assert (rings.completed(0), rings.completed(1)) == (1, 0)
    rings.reset(1)
    rings.submit(1, Command(Opcode.NOP, wait0_semaphore=3, wait0_value=2))
    rings.run()
    assert rings.completed(1) == 1


def test_a_ring_waits_for_another(rings):
    """The store waits for the progress of a load in another ring that comes later."""
    load = dma.copy_nd(1 << 16, dma.sm(0), (4, 8), (16,), (16,), progress_semaphore=2)
    store = dma.copy_nd(dma.sm(0), 1 << 17, (4, 8), (16,), (8,), progress_semaphore=2,
                        progress_value=1)
    data = np.arange(64, dtype=np.uint8)
    rings.platform.write_memory(1 << 16, data)
    rings.submit(0, *store)
    rings.run()
    assert rings.completed(0) == 0
    rings.submit(1, *load)
    rings.run()
    assert (rings.completed(0), rings.completed(1)) == (1, 1)
    np.testing.assert_array_equal(rings.platform.read_memory(1 << 17, 32),
                                  data.reshape(4, 16)[:, :8].reshape(-1))


def test_rows_before_a_fault_count_as_progress(rings):
    load = dma.copy_nd(1 << 16, dma.sm(CONFIG.sm_bytes - 40), (4, 10), (0,), (20,),
                       progress_semaphore=2)
    rings.submit(0, *load)
    rings.run()
    assert rings.fault(0)[3] == 2
    assert rings.platform.read_register(CLUSTER["semaphore"].address(2)) == 2


def test_windows_are_a_rings_own(rings):
    platform = rings.platform
    platform.write_register(CLUSTER["window_sm_last"].address(1), 0)
    for number in range(3):
        rings.submit(number, *dma.fill(dma.sm(64), 0, (8,)))
    rings.run()
    assert [rings.completed(n) for n in range(3)] == [1, 0, 1]
    assert rings.fault(1)[:2] == (FaultCause.PROTECTION, Engine.LOAD)
    rings.reset(1)
    assert platform.read_register(CLUSTER["window_sm_last"].address(1)) == 0
    rings.submit(1, *dma.fill(dma.sm(56), 0, (8,)))
    rings.run()
    assert rings.completed(1) == 1


@pytest.mark.parametrize("opcode", [Opcode.DMA_LOAD, Opcode.GEMM, Opcode.FENCE])
def test_streams_are_checked(rings, opcode):
    rings.submit(0, Command(opcode, stream=2))
    rings.submit(1, Command(opcode, stream=1, reserved0=1))
    rings.run()
    assert rings.fault(0)[:2] == (FaultCause.BAD_FIELD, Engine.CONTROL)
    assert rings.rings[0].read("fault_info") == 13
    assert rings.rings[1].read("fault_info") == (15 if opcode is Opcode.DMA_LOAD else 13)


def test_registers_of_windows_after_reset():
    platform = ModelPlatform(CONFIG, 1 << 20)
    for register in (r for r in CLUSTER.registers if r.name.startswith("window_")):
        expected = sum(field.init << field.lsb for field in register.fields)
        for number in range(8):
            value = platform.read_register(register.address(number))
            assert value == (expected if number < CONFIG.rings else 0)
