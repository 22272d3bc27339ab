import threading

import numpy as np
import pytest

import xpu
from xpu.commands import Command
from xpu.platforms.model import ModelPlatform
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import ElementType, Engine, FaultCause, Opcode
from xpu_rtl.csr.maps import CLUSTER


def product(dev, value=1):
    a = dev.tensor(np.full((8, 12), value, np.int8))
    return xpu.ops.matmul(a, dev.tensor(np.ones((12, 4), np.int8)))


def load(**fields):
    fields = {"row_bytes": 16, "rows": 1,
              "destination": SystemAddress(Space.SM, 0).encode()} | fields
    return Command(Opcode.DMA_LOAD, **fields)


def gemm(**fields):
    fields = {"rows": 1, "columns": 1, "depth": 1, "tile_rows": 1, "tile_blocks": 1,
              "a_type": ElementType.INT8, "b_type": ElementType.INT8,
              "a_address": 0, "b_address": 64, "out_address": 128} | fields
    return Command(Opcode.GEMM, **fields)


# Opening and closing ------------------------------------------------------------------------------
def test_defaults_and_refusals():
    with xpu.open(platform="model") as dev:
        assert dev.config.name == "slice"
        assert dev.platform.memory_bytes == 256 << 20
    with pytest.raises(xpu.ArgumentError, match=r"config must be .* one of .*'huge'"):
        xpu.open("huge", platform="model")
    with pytest.raises(xpu.ArgumentError, match="platform must be 'native', 'model' or a Platform"):
        xpu.open(platform="cloud")
    for name, value in (("memory_bytes", 0), ("memory_latency", 0), ("timeout_cycles", 1.5)):
        with pytest.raises(xpu.ArgumentError, match=f"{name} must be an integer of at least"):
            xpu.open(platform="model", **{name: value})
    with pytest.raises(xpu.ArgumentError, match="unexpected keyword argument 'colour'"):
        xpu.open(platform="model", colour=1)


def test_a_platform_object_brings_its_configuration():
    with xpu.open(platform=ModelPlatform("tiny", 1 << 20)) as dev:
        assert dev.config.name == "tiny"
    platform = ModelPlatform("tiny", 1 << 20)
    with pytest.raises(xpu.ArgumentError, match="config must be that of the platform, 'tiny'"):
        xpu.open("ecp5", platform=platform)
    with pytest.raises(xpu.ArgumentError, match="traced is an option of a platform opened by name"):
        xpu.open(platform=platform, traced=True)


def test_use_after_close():
    dev = xpu.open("tiny", platform="model", memory_bytes=1 << 20)
    tensor = dev.tensor(np.ones((4, 4), np.int8))
    dev.close()
    dev.close()
    assert dev.closed
    for use in (tensor.numpy, dev.synchronize, dev.reset, dev.profile, dev.__enter__,
                lambda: dev.tensor(np.ones(3, np.int8)), lambda: dev.empty(3, np.int8),
                lambda: xpu.ops.matmul(tensor, tensor)):
        with pytest.raises(xpu.ClosedError, match="the device is closed"):
            use()


@pytest.mark.parametrize(("register", "value", "message"), [
    ("id", 0xDEAD, "identifies itself as 0x0000dead, not as an XPU, 0x30555058"),
    ("version", 0x7_0203, r"the hardware has version 7.2.3; this driver was written for 0\.1\.0"),
    ("contract_low", 0, "do not agree on .*configuration 'tiny': .* contract hash is 0x"),
])
def test_other_hardware_is_refused(register, value, message):
    platform = ModelPlatform("tiny", 1 << 20)
    platform._constants[register] = value
    with pytest.raises(xpu.ContractError, match=message):
        xpu.open(platform=platform)
    assert platform._memory is None                    # closed


# Work ---------------------------------------------------------------------------------------------
def test_work_is_queued_until_somebody_waits(dev):
    y = product(dev)
    assert dev._work.completed == 0
    assert (y.numpy() == 12).all()
    assert dev._work.completed == 1


def test_the_ring_wraps_and_fills(dev):
    from xpu.device import Device
    small = Device(ModelPlatform("tiny", 1 << 20), log2_slots=3)
    results = [product(small, value) for value in range(40)]
    assert small._work.completed > 20                   # had to wait for space
    for value, result in enumerate(results):
        assert (result.numpy() == 12 * value).all()
    small.submit([load()] * 30)                         # more than the ring holds
    small.synchronize()
    small.close()


def test_calls_from_threads_take_turns(dev):
    results = {}

    def run(value):
        for _ in range(5):
            results.setdefault(value, []).append(product(dev, value).numpy())
    threads = [threading.Thread(target=run, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert all((result == 12 * value).all() for value, list_ in results.items() for result in list_)
    assert sum(map(len, results.values())) == 20


def test_several_devices(dev):
    with xpu.open("slice", platform="model", memory_bytes=1 << 20) as other:
        first, second = product(dev, 2), product(other, 3)
        assert (second.numpy() == 36).all()
        assert (first.numpy() == 24).all()


def test_ctrl_c_leaves_the_device_usable(dev, monkeypatch):
    y, run = product(dev), dev.platform.run

    def interrupted(max_cycles):
        monkeypatch.setattr(dev.platform, "run", run)
        raise KeyboardInterrupt
    monkeypatch.setattr(dev.platform, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dev.synchronize()
    assert (y.numpy() == 12).all()


# Faults -------------------------------------------------------------------------------------------
def test_a_fault_names_everything_and_reset_restores_service(dev):
    before = product(dev, 2)
    count = len(dev._work.ring.operations[0].commands)
    bad = load(destination=SystemAddress(Space.SM, dev.config.sm_bytes - 8).encode())
    dev.submit([load(), bad], name="a bad copy")
    after = product(dev, 3)
    with pytest.raises(xpu.DeviceFault) as caught:
        dev.synchronize()
    fault = caught.value
    assert (fault.cause, fault.engine) == (FaultCause.BAD_ADDRESS, Engine.LOAD)
    assert (fault.index, fault.command) == (count + 1, bad)
    assert fault.address == SystemAddress(Space.SM, dev.config.sm_bytes - 8).encode()
    for text in ("BAD_ADDRESS in engine LOAD", f"command {count + 1} (DMA_LOAD", "row_bytes=16",
                 "address 0x100000003ff8", "2 queued operations are lost", "dev.reset() restores"):
        assert text in str(fault)

    assert (before.numpy() == 24).all()                 # complete before the fault
    with pytest.raises(xpu.LostError, match="matmul 8x4x12 to int32 was lost when command"):
        after.numpy()
    for use in (dev.synchronize, lambda: product(dev), lambda: dev.submit([])):
        with pytest.raises(xpu.DeviceFault, match="BAD_ADDRESS"):
            use()
    dev.reset()
    assert (product(dev, 5).numpy() == 60).all()
    assert (before.numpy() == 24).all()
    with pytest.raises(xpu.LostError, match=r"tensor int32 \[8, 4\] at 0x.* has no contents"):
        dev.submit([], reads=[after])


def corrupted(command, offset, value):
    """A command of which one byte is changed after it has been checked."""
    class Corrupted(Command):
        __slots__ = ()

        def encode(self):
            data = bytearray(super().encode())
            data[offset] = value
            return bytes(data)
    return Corrupted(command.opcode, **{k: v for k, v in command.fields.items() if k != "opcode"})


@pytest.mark.parametrize(("command", "cause", "engine"), [
    (corrupted(load(), 0, 0x77), FaultCause.BAD_OPCODE, Engine.CONTROL),
    (Command(Opcode.LAUNCH), FaultCause.BAD_FIELD, Engine.SIMD),
    (load(slots=2), FaultCause.BAD_SLOTS, Engine.CONTROL),
    (load(wait0_semaphore=200), FaultCause.BAD_SEMAPHORE, Engine.CONTROL),
    (load(reserved0=1), FaultCause.BAD_FIELD, Engine.CONTROL),
    (load(progress_semaphore=200), FaultCause.BAD_SEMAPHORE, Engine.LOAD),
    (load(row_bytes=0), FaultCause.BAD_FIELD, Engine.LOAD),
    (load(rows=0), FaultCause.BAD_FIELD, Engine.LOAD),
    (load(destination=0), FaultCause.BAD_ADDRESS, Engine.LOAD),
    (load(source=1 << 56), FaultCause.BAD_ADDRESS, Engine.LOAD),
    (load(source=5 << 44), FaultCause.BAD_ADDRESS, Engine.LOAD),
    (load(source=(8 << 20) - 8), FaultCause.BUS_READ, Engine.LOAD),
    (Command(Opcode.DMA_STORE, source=1 << 44, destination=(8 << 20) - 8, row_bytes=16, rows=1),
     FaultCause.BUS_WRITE, Engine.STORE),
    (gemm(rows=0), FaultCause.BAD_FIELD, Engine.TENSOR),
    (gemm(tile_rows=5, tile_blocks=4), FaultCause.BAD_FIELD, Engine.TENSOR),
    (gemm(hold=1, rows=2), FaultCause.BAD_FIELD, Engine.TENSOR),
    (gemm(a_address=2), FaultCause.BAD_ADDRESS, Engine.TENSOR),
    (gemm(out_address=16 * 1024 - 4), FaultCause.BAD_ADDRESS, Engine.TENSOR),
])
def test_causes(dev, command, cause, engine):
    dev.submit([command])
    with pytest.raises(xpu.DeviceFault) as caught:
        dev.synchronize()
    assert (caught.value.cause, caught.value.engine, caught.value.index) == (cause, engine, 0)
    dev.reset()
    assert (product(dev).numpy() == 12).all()


def test_good_rows_before_a_bad_one_move(dev):
    source = dev.tensor(np.arange(1, 65, dtype=np.uint8))
    bad = load(source=source.address, rows=4, source_pitch=16, destination_pitch=16,
               destination=SystemAddress(Space.SM, dev.config.sm_bytes - 40).encode())
    dev.submit([bad], reads=[source])
    with pytest.raises(xpu.DeviceFault) as caught:
        dev.synchronize()
    assert caught.value.address == SystemAddress(Space.SM, dev.config.sm_bytes - 8).encode()
    assert (dev.platform._engines.scratchpad[-40:-8] == np.arange(1, 33)).all()
    assert not dev.platform._engines.scratchpad[-8:].any()


def test_a_fault_names_the_row_and_its_loop_indices(dev):
    bad = Command(Opcode.DMA_LOAD_ND, row_bytes=8, rows=7, destination=1 << 44, stream=1,
                  destination_pitch=8, count2=5, destination_stride2=0, count3=1, count4=2,
                  destination_stride4=dev.config.sm_bytes - 40, count5=1)
    dev.submit([bad])
    with pytest.raises(xpu.DeviceFault, match=r"BAD_ADDRESS in engine LOAD1: .* failed at row 40 = "
                                              r"\(i1=5, i2=0, i4=1\), address 0x100000004000") as c:
        dev.synchronize()
    assert (c.value.row, c.value.indices) == (40, {1: 5, 2: 0, 4: 1})


def test_ctrl_c_does_not_lose_a_fault(dev, monkeypatch):
    """Not even between the look at the interrupt and the look at its cause."""
    dev.submit([load(rows=0)])
    note = dev._work._note_fault

    def interrupted():
        monkeypatch.setattr(dev._work, "_note_fault", note)
        raise KeyboardInterrupt
    monkeypatch.setattr(dev._work, "_note_fault", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dev.synchronize()
    with pytest.raises(xpu.DeviceFault, match="BAD_FIELD"):
        dev.synchronize()


# Hangs --------------------------------------------------------------------------------------------
def test_a_hang_names_the_waiting_engine(dev):
    dev.submit([Command(Opcode.NOP, signal0_semaphore=3, signal0_add=2),
                load(wait0_semaphore=3, wait0_value=9)], name="a hopeless wait")
    with pytest.raises(xpu.HangError) as caught:
        dev.synchronize()
    state = caught.value.engines["load"]
    assert (state["semaphore"], state["threshold"], state["value"]) == (3, 9, 2)
    assert state["activity"] == "SEMAPHORE"
    assert caught.value.engines["store"]["activity"] == "IDLE"
    for text in ("a hopeless wait", "load: SEMAPHORE",
                 "waits until semaphore 3, now 2, reaches 9"):
        assert text in str(caught.value)
    dev.reset()
    assert (product(dev).numpy() == 12).all()


def test_a_hang_within_a_command_names_its_semaphores(dev):
    dev.submit([Command(Opcode.DMA_STORE, source=1 << 44, destination=1 << 20, row_bytes=4, rows=3,
                        progress_semaphore=2, progress_value=1)])
    with pytest.raises(xpu.HangError, match=r"store: SEMAPHORE; last began command 0 \(DMA_STORE "
                                            r".*command 0 \(DMA_STORE\) waits for semaphore 2, "
                                            r"now 0, counted from 1"):
        dev.synchronize()


def test_a_hang_of_a_second_stream(dev):
    store = Command(Opcode.DMA_STORE_ND, source=1 << 44, destination=1 << 20, row_bytes=4, rows=3,
                    count2=2, count3=1, count4=1, count5=1, progress_semaphore=2, progress_value=1,
                    stream=1)
    dev.submit([store])
    with pytest.raises(xpu.HangError, match=r"store1: SEMAPHORE; last began command 0 .*command 0 "
                                            r"\(DMA_STORE_ND\) waits for semaphore 2, now 0, "
                                            r"counted from 1") as caught:
        dev.synchronize()
    assert caught.value.engines["store"]["activity"] == "IDLE"


def test_a_hang_of_the_command_processor_names_its_command(dev):
    dev.submit([Command(Opcode.NOP, wait0_semaphore=3, wait0_value=9)])
    with pytest.raises(xpu.HangError, match=r"control: last decoded command 0 \(NOP .*it waits for "
                                            r"semaphore 3, now 0, counted from 9"):
        dev.synchronize()


class Stuck(ModelPlatform):
    """Passes time and does nothing; its reset needs the reset input."""

    timed, cycle_count = True, 0
    resetting = False

    def run(self, max_cycles):
        self.cycle_count += max_cycles
        return max_cycles, False

    def read_register(self, offset):
        if offset == CLUSTER["status"].address():
            return CLUSTER["status"].pack(resetting=int(self.resetting))
        return super().read_register(offset)

    def hard_reset(self):
        super().hard_reset()
        self.resetting = False


def test_timeout_cycles_and_hard_reset():
    platform = Stuck("tiny", 1 << 20)
    with xpu.open(platform=platform, timeout_cycles=50_000) as dev:
        y = product(dev)
        with pytest.raises(xpu.HangError, match=r"no progress for \d+ cycles in matmul 8x4x12"):
            dev.synchronize()
        assert 50_000 <= platform.cycle_count < 500_000
        platform.resetting = True
        dev.reset()
        assert not platform.resetting
        with pytest.raises(xpu.LostError, match="was lost when the device was reset"):
            y.numpy()


def test_errors_have_one_base():
    names = ("ShapeError", "DTypeError", "ClosedError", "OutOfMemoryError", "ContractError",
             "DeviceFault", "HangError", "ArgumentError", "LostError")
    assert all(issubclass(getattr(xpu, name), xpu.XpuError) for name in names)
    assert xpu.__version__ == "0.1.0"
