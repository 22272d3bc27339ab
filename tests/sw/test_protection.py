"""Windows of a ring: what leaves them fails, and nothing outside is touched."""

import numpy as np
import pytest

import xpu
from xpu import dma
from xpu.commands import Command
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import ElementType, Engine, FaultCause, Opcode
from xpu_rtl.csr.maps import CLUSTER

PAGE = 4096


@pytest.fixture(scope="module", params=[
    "model", pytest.param("native", marks=pytest.mark.cosim)])
def shared(request):
    with xpu.open("tiny", platform=request.param, memory_bytes=4 << 20,
                  timeout_cycles=50_000) as device:
        yield device


@pytest.fixture
def dev(shared):
    yield shared
    if shared._work.faulted:
        shared.reset()
    shared.protect()
    x = np.arange(100, dtype=np.int16)
    np.testing.assert_array_equal(xpu.ops.copy(shared.tensor(x)).numpy(), x)


def ring_piece(dev):
    first, last = dev.ring_memory
    return first, last | PAGE - 1, "r"


def fails(dev, commands):
    """Run commands that must fail and return the fault's cause, address, info, row and engine."""
    dev.submit(commands)
    with pytest.raises(xpu.DeviceFault) as caught:
        dev.synchronize()
    fault = caught.value
    assert fault.cause is FaultCause.PROTECTION
    return fault.address, fault.info, fault.row, fault.engine


def test_pages_of_global_memory(dev):
    area = dev.tensor(np.arange(4 * PAGE, dtype=np.uint8))
    before = area.numpy()
    page = area.address // PAGE * PAGE
    dev.protect(gm=[ring_piece(dev), (page, page + 2 * PAGE - 1, "rw")])
    dev.submit(dma.copy_nd(page, page + PAGE + 7, (PAGE - 7,)))
    dev.synchronize()
    after = before.copy()
    after[PAGE + 7:2 * PAGE] = before[:PAGE - 7]
    np.testing.assert_array_equal(area.numpy(), after)
    # A row of which the first part is in the window.
    rows = dma.copy_nd(page + 2 * PAGE - 150, page, (3, 100), (100,), (104,))
    assert fails(dev, rows) == (page + 2 * PAGE, Space.GM, 1, Engine.STORE)
    dev.reset()
    np.testing.assert_array_equal(area.numpy()[2 * PAGE:], before[2 * PAGE:])


@pytest.mark.parametrize("stream", [0, 1])
def test_rows_before_the_fault_have_moved(dev, stream):
    area = dev.tensor(np.arange(3 * PAGE, dtype=np.uint8))
    before, page = area.numpy(), area.address // PAGE * PAGE
    dev.protect(gm=[ring_piece(dev), (page, page + 2 * PAGE - 1, "rw")])
    commands = dma.copy_nd(page, page + 2 * PAGE - 256, (4, 100), (128,), (128,), stream=stream)
    assert fails(dev, commands) == (
        page + 2 * PAGE, Space.GM + 16, 2, (Engine.STORE, Engine.STORE1)[stream])
    dev.reset()
    after = before.copy()
    for row in range(2):
        begin = 2 * PAGE - 256 + 128 * row
        after[begin:begin + 100] = before[128 * row:128 * row + 100]
    np.testing.assert_array_equal(area.numpy(), after)


def test_permissions_of_global_memory(dev):
    area = dev.tensor(np.arange(2 * PAGE, dtype=np.uint8))
    page = area.address // PAGE * PAGE
    both = (page, page + 2 * PAGE - 1)
    dev.protect(gm=[ring_piece(dev), (*both, "w")])
    assert fails(dev, dma.copy_nd(page, page + PAGE, (4,)))[:2] == (page, Space.GM)
    dev.reset()
    dev.protect(gm=[ring_piece(dev), (*both, "r")])
    assert fails(dev, dma.copy_nd(page, page + PAGE + 3, (4,)))[:2] == (
        page + PAGE + 3, Space.GM + 16)


def test_lines_of_the_scratchpad(dev):
    dev.protect(sm=(128, 255, "rw"))
    x = dev.tensor(np.arange(64, dtype=np.uint8))
    y = dev.tensor(np.zeros(64, np.uint8))
    dev.submit(dma.copy_nd(x.address, dma.sm(192), (64,), signal0_semaphore=1, signal0_add=1),
               reads=[x])
    value = dev.semaphores.value(1)
    dev.submit(dma.copy_nd(dma.sm(192), y.address, (64,), wait0_semaphore=1, wait0_value=value),
               writes=[y])
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    assert fails(dev, dma.copy_nd(x.address, dma.sm(100), (4, 20))) == (
        dma.sm(100), Space.SM + 16, 0, Engine.LOAD)
    dev.reset()
    assert fails(dev, dma.copy_nd(dma.sm(250), y.address, (4, 20), (0,), (20,))) == (
        dma.sm(250), Space.SM, 0, Engine.STORE)
    dev.reset()
    dev.protect(sm=(0, dev.config.sm_bytes - 1, "r"))
    assert fails(dev, dma.fill(dma.sm(0), 0, (8,), stream=1)) == (
        dma.sm(0), Space.SM + 16, 0, Engine.LOAD1)


def test_semaphores(dev):
    dev.protect(semaphores=(4, 6, "s"))
    dev.submit([Command(Opcode.NOP, signal0_semaphore=4, signal0_add=1)])
    dev.synchronize()
    for fields, address, info in (
            ({"signal1_semaphore": 7}, 7, 18), ({"wait1_semaphore": 5}, 5, 2),
            ({"wait0_semaphore": 9, "signal0_semaphore": 3}, 9, 2)):
        assert fails(dev, [Command(Opcode.NOP, **fields)]) == (address, info, 0, Engine.CONTROL)
        dev.reset()
    load = dma.copy_nd(0, dma.sm(0), (2, 8), (0,), (8,), progress_semaphore=7)
    assert fails(dev, load) == (7, 18, 0, Engine.LOAD)
    dev.reset()
    store = dma.copy_nd(dma.sm(0), 1 << 20, (2, 8), (0,), (8,), progress_semaphore=5)
    assert fails(dev, store) == (5, 2, 0, Engine.STORE)


def test_products_within_their_part_of_the_scratchpad(dev):
    a, b = np.ones((9, 33), np.int8), np.ones((33, 5), np.int8)
    dev.protect(sm=(0, dev.config.sm_bytes - 1, "rw"))
    result = xpu.ops.matmul(dev.tensor(a), dev.tensor(b))
    assert (result.numpy() == 33).all()
    dev.protect(sm=(0, 63, "rw"))
    gemm = Command(Opcode.GEMM, rows=1, columns=1, depth=1, tile_rows=1, tile_blocks=1,
                   a_type=ElementType.INT8, b_type=ElementType.UINT8,
                   a_address=0, b_address=64, out_address=128)
    info, engine = fails(dev, [gemm])[1::2]
    assert (info, engine) == (Space.SM, Engine.TENSOR)


@pytest.mark.parametrize(("name", "address"), [("a", 192), ("out", 192), ("b", 192)])
def test_products_that_leave_their_part_of_the_scratchpad(dev, name, address):
    """Noticed at the first word outside, when the tensor unit gets there."""
    addresses = {"a_address": 0, "b_address": 0, "out_address": 0, f"{name}_address": address}
    gemm = Command(Opcode.GEMM, rows=16, columns=4, depth=16, tile_rows=4, tile_blocks=1,
                   a_type=ElementType.UINT8, b_type=ElementType.INT8,
                   a_pitch=16, b_pitch=4 if name != "b" else 16, out_pitch=16, out_type=0,
                   **addresses)
    dev.protect(sm=(0, 255, "rw"))
    write = 16 if name == "out" else 0
    assert fails(dev, [gemm]) == (256, Space.SM + write, 0, Engine.TENSOR)


def test_commands_outside_the_window(dev):
    """Only through the register: ``protect`` refuses it."""
    first = dev.ring_memory[0]
    register = CLUSTER["window_permissions"]
    word = dev.platform.read_register(register.address())
    dev.platform.write_register(register.address(), word & ~register["gm0_read"].mask)
    address, info, row, engine = fails(dev, [Command(Opcode.NOP)])
    assert first <= address <= dev.ring_memory[1]
    assert (info, row, engine) == (Space.GM, 0, Engine.CONTROL)
    dev.platform.write_register(register.address(), word)


def test_windows_outlast_a_reset(dev):
    dev.protect(sm=(0, 63, "rw"))
    for restart in (dev.reset, lambda: (dev.platform.hard_reset(), dev.reset())):
        restart()
        assert fails(dev, dma.fill(dma.sm(60), 0, (8,)))[0] == dma.sm(60)
    dev.reset()
    dev.protect()
    dev.submit(dma.fill(dma.sm(60), 0, (8,)))
    dev.synchronize()


REFUSALS = [
    ({"ring": 1}, r"ring must lie in \[0, 0\], not 1"),
    ({"gm": [(0, 100, "rw")]}, r"gm\[0\] must be whole pieces of 4096 bytes, not bytes 0x0 to"),
    ({"gm": [(4, 4095, "rw")]}, r"gm\[0\] must be whole pieces"),
    ({"gm": [(0, (8 << 20) - 1, "r")]}, r"gm\[0\] must have 0 <= first <= last <= 0x3fffff"),
    ({"gm": [(0, 4095, "x")]}, r"permissions of gm\[0\] must be 'r', 'w' or 'rw', not 'x'"),
    ({"gm": [(0, 4095)]}, r"gm\[0\] must be \(first, last, permissions\), not \(0, 4095\)"),
    ({"gm": [()] * 3}, "gm must be at most two pieces"),
    ({"gm": 7}, "gm must be at most two pieces"),
    ({"gm": []}, "gm must let the ring read its own commands at bytes 0x0 to 0x3ffff"),
    ({"gm": [(0, (4 << 20) - 1, "w")]}, "gm must let the ring read its own commands"),
    ({"gm": [(0, 4095, "rw"), (8192, (4 << 20) - 1, "rw")]}, "its own commands"),
    ({"sm": (0, 62, "r")}, "sm must be whole pieces of 64 bytes"),
    ({"sm": (0, 1 << 20, "r")}, "sm must have 0 <= first <= last <= 0x3fff"),
    ({"semaphores": (1, 20, "w")}, "semaphores must have 0 <= first <= last <= 0xf"),
    ({"semaphores": (1, 2, "r")}, "permissions of semaphores must be 'w', 's' or 'ws', not 'r'"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_refusals(dev, arguments, message):
    with pytest.raises(xpu.ArgumentError, match=f"protect: {message}" if "own" not in message
                       else message):
        dev.protect(**arguments)
