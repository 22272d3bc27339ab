"""The driver on the RTL, compared with the functional model command by command."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import xpu
from xpu.commands import Command
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import ElementType, FaultCause, Opcode

pytestmark = pytest.mark.cosim

MEMORY = 8 << 20
SM = SystemAddress(Space.SM, 0).encode()


def load(**fields):
    return Command(Opcode.DMA_LOAD, **{"row_bytes": 16, "rows": 1, "destination": SM} | fields)


def store(**fields):
    return Command(Opcode.DMA_STORE, **{"row_bytes": 16, "rows": 1, "source": SM,
                                        "destination": 1 << 20} | fields)


def nd(side, **fields):
    opcode = Opcode.DMA_LOAD_ND if side == "load" else Opcode.DMA_STORE_ND
    ends = {"destination": SM} if side == "load" else {"source": SM, "destination": 1 << 20}
    counts = {f"count{n}": 1 for n in range(2, 6)}
    return Command(opcode, **{"row_bytes": 16, "rows": 1} | counts | ends | fields)


def gemm(**fields):
    fields = {"rows": 1, "columns": 1, "depth": 1, "tile_rows": 1, "tile_blocks": 1,
              "a_type": ElementType.INT8, "b_type": ElementType.INT8,
              "a_address": 0, "b_address": 64, "out_address": 128} | fields
    return Command(Opcode.GEMM, **fields)


def open_tiny(platform, **options):
    return xpu.open("tiny", platform=platform, memory_bytes=MEMORY, timeout_cycles=20_000,
                    **options)


@pytest.fixture(scope="module")
def native():
    with open_tiny("native") as device:
        yield device


@pytest.fixture
def model():
    with open_tiny("model") as device:
        yield device


def random_product(rng, dev):
    """Queue a random product; return the result and the arguments' arrays."""
    m, n, k = (int(size) for size in rng.integers(1, 60, 3))
    a_dtype, b_dtype, out_dtype = (rng.choice(["int8", "uint8"]) for _ in range(3))

    def full(dtype, size=None):
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, size, dtype, endpoint=True)
    a, b = full(a_dtype, (m, k)), full(b_dtype, (k, n))
    arguments = {"bias": rng.integers(-99_999, 99_999, n, np.int32),
                 "scale": (rng.random(n) * 0.01 + 1e-5).astype(np.float32),
                 "zero_point": int(full(out_dtype)), "activation": rng.choice([None, "relu"]),
                 "out_dtype": out_dtype, "a_zero_point": int(full(a_dtype)),
                 "b_zero_point": full(b_dtype, n)}
    return [xpu.ops.matmul(dev.tensor(a), dev.tensor(b), **arguments),
            xpu.ops.matmul(dev.tensor(a), dev.tensor(b))]


@pytest.mark.parametrize("seed", range(8))
def test_products_equal_the_models(native, model, seed):
    with native.profile() as p:
        results = random_product(np.random.default_rng(seed), native)
    expected = random_product(np.random.default_rng(seed), model)
    for result, reference in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.numpy(), reference.numpy())
    assert p.cycles > 0
    for engine, busy in p.busy.items():
        assert busy + sum(p.stalls[engine].values()) == p.cycles
    assert sum(busy > 0 for busy in p.busy.values()) == 3
    assert all(0 <= event.begin < event.end <= p.cycles + 200 for event in p.events)


def test_semaphores_are_where_the_driver_expects_them(native):
    random_product(np.random.default_rng(20), native)
    native.synchronize()
    values = [native._work.read("semaphore", n) for n in range(native.semaphores.count)]
    assert values == [native.semaphores.value(n) for n in range(native.semaphores.count)]


@pytest.mark.parametrize("stall", [0.5, {"r": 0.9, "b": 0.9}])
def test_random_stalls_change_nothing(model, stall):
    with open_tiny("native", memory_stall=stall, memory_latency=3) as stalled:
        results = random_product(np.random.default_rng(30), stalled)
        expected = random_product(np.random.default_rng(30), model)
        for result, reference in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result.numpy(), reference.numpy())


BAD = {
    "launch": Command(Opcode.LAUNCH), "slots": load(slots=2), "reserved": load(reserved0=1),
    "wait": load(wait1_semaphore=99, signal0_semaphore=98), "row_bytes": load(row_bytes=0),
    "rows": load(rows=0), "space": load(destination=0), "card": load(source=1 << 56),
    "sm_end": load(destination=SM + 16 * 1024 - 24, rows=3, destination_pitch=16,
                   source_pitch=16),
    "read": load(source=MEMORY - 24, rows=3, source_pitch=16, destination_pitch=16),
    "write": store(destination=MEMORY - 8), "gemm_rows": gemm(rows=0),
    "tile": gemm(tile_rows=5, tile_blocks=4), "hold": gemm(hold=1, rows=2),
    "semaphore": gemm(a_semaphore=99), "progress": load(progress_semaphore=99),
    "store_progress": store(progress_semaphore=200),
    "align": gemm(a_address=2), "pitch": gemm(b_pitch=2),
    "a_end": gemm(a_address=16 * 1024), "out_end": gemm(out_address=16 * 1024 - 4),
    "a_rows": gemm(rows=5000, tile_rows=4, a_pitch=16), "b_rows": gemm(depth=2000, b_pitch=16),
    "out_rows": gemm(rows=60, tile_rows=4, out_pitch=1024),
    "out_pitch": gemm(rows=2, tile_rows=4, out_pitch=1 << 20),
    "stream": load(stream=2), "stream_of_nop": Command(Opcode.NOP, stream=1),
    "mode": nd("load", mode=6), "count": nd("store", count4=0, stream=1),
    "element": nd("load", mode=3, element_log2=2, row_bytes=6),
    "limit": nd("load", mode=2, x_limit=1 << 31), "list": nd("load", mode=4, index=6),
    "list_end": nd("load", mode=4, index=MEMORY - 8, rows=4, index_limit=1 << 31),
    "list_space": nd("store", mode=5, index=7 << 44, index_limit=9),
    "index": nd("load", mode=4, index=1 << 20, rows=3, index_limit=0),
    "loops": nd("load", rows=3, count2=4, count3=2, destination_pitch=16, destination_stride2=100,
                destination_stride3=16 * 1024 - 250, stream=1),
    "fill": nd("store", mode=1, rows=9, destination=MEMORY - 100, destination_pitch=30),
    "clipped": nd("load", mode=2, source=0, destination=SM + 16 * 1024 - 40, rows=4, axis1=1,
                  step1=-7, x_limit=20, u_limit=1, v_limit=1, source_pitch=-7, x_start=14,
                  destination_pitch=10),
    "matrix": nd("store", mode=3, source=SM + 16 * 1024 - 500, rows=20, source_pitch=30,
                 destination_pitch=20),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_commands_fail_as_in_the_model(native, model, name):
    faults = []
    for dev in (native, model):
        dev.reset()
        before = dev.tensor(np.arange(64, dtype=np.uint8))
        dev.submit([load(source=before.address), BAD[name]], name="a bad command")
        with pytest.raises(xpu.DeviceFault) as caught:
            dev.synchronize()
        fault = caught.value
        faults.append((fault.cause, fault.engine, fault.index, fault.address, fault.info, fault.row,
                       fault.command))
        dev.reset()
        for result in random_product(np.random.default_rng(40), dev):
            result.numpy()
        assert (before.numpy() == np.arange(64)).all()
    assert faults[0] == faults[1]
    assert faults[0][0] is not FaultCause.NONE


@pytest.mark.parametrize("commands", [
    [load(wait0_semaphore=9, wait0_value=5)], [Command(Opcode.NOP, wait0_semaphore=9,
                                                       wait0_value=5)],
    [store(progress_semaphore=9, progress_value=5)], [gemm(a_semaphore=9, a_value=5)],
    [gemm(b_semaphore=9, b_value=5)],
], ids=["load", "nop", "store", "a", "b"])
def test_hangs_are_reported_as_in_the_model(native, model, commands):
    for dev in (native, model):
        dev.reset()
        dev.submit(commands, name="a hopeless wait")
        with pytest.raises(xpu.HangError, match=r"semaphore 9, now 0,.* 5") as caught:
            dev.synchronize()
        assert "a hopeless wait" in str(caught.value)
        dev.reset()
        random_product(np.random.default_rng(41), dev)[0].numpy()


def test_ctrl_c_returns_within_a_second():
    minutes = gemm(rows=65_535, depth=8192, tile_rows=16, a_address=0, b_address=0)
    with xpu.open("tiny", memory_bytes=MEMORY, timeout_cycles=1 << 40) as dev:
        dev.submit([minutes])
        sent = []

        def interrupt():
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        timer = threading.Timer(1, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            dev.synchronize()
        assert time.monotonic() - sent[0] < 1
        timer.join()
        dev.reset()
        random_product(np.random.default_rng(42), dev)[0].numpy()
    assert dev.closed
