"""Clocks that stop: the gated model does in every cycle what the plain one does."""

import random

import numpy as np
import pytest

import xpu
import xpu_rtl.build.verilog as verilog
from support.dma_random import Region, random_command
from xpu.commands import Command
from xpu.platforms.native import NativePlatform
from xpu.sim.model_build import build_model
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import DmaMode
from xpu_rtl.configs import get_config

SM = SystemAddress(Space.SM, 0).encode()
MODES = tuple(mode for mode in DmaMode if mode not in (DmaMode.GATHER, DmaMode.SCATTER))


def work(library, seed):
    """Products, copies on all streams, pauses, a fault and a reset; what could be seen of it."""
    config, rng = get_config("tiny"), random.Random(seed)
    platform = NativePlatform(config, 4 << 20, 7, {"r": 0.2, "b": 0.3, "w": 0.1, "seed": seed},
                              library=library)
    seen = []
    with xpu.open(config=config, platform=platform) as dev:
        data = np.random.default_rng(seed)
        a, b = (dev.tensor(data.integers(-128, 128, (24, 24), np.int8)) for _ in range(2))
        block = dev.tensor(data.integers(0, 256, 1 << 16, np.uint8))
        half = block.address + (1 << 15)
        for _ in range(6):
            product = xpu.ops.matmul(a, b)
            commands = []
            for _ in range(12):
                load, stream = rng.random() < 0.5, rng.randrange(2)
                target = (Region(SM + 8192 + 4096 * stream, SM + 12288 + 4096 * stream) if load else
                          Region(half + 8192 * stream, half + 8192 * (stream + 1)))
                opcode, fields, _ = random_command(
                    rng, rng.choice((Region(SM, SM + 8192), Region(block.address, half))), target,
                    word=config.word_bytes, load=load, modes=MODES)
                commands.append(Command(opcode, stream=stream, **fields))
            dev.submit(commands)
            dev.synchronize()
            seen.append(product.numpy().tobytes())
            platform.run(rng.randrange(300))        # long enough to fall asleep, now and then
        platform.inject_error(block.address + 64, 4, kind="read", count=1)
        with pytest.raises(xpu.DeviceFault):
            xpu.ops.copy(block).numpy()
        dev.reset()
        seen += [block.numpy().tobytes(), platform.take_trace(), platform.take_activity(),
                 platform.cycle_count, platform.bus_counters]
    return seen


@pytest.mark.slow
@pytest.mark.cosim
@pytest.mark.parametrize("seed", range(3))
def test_gated_and_plain_agree_in_every_cycle(seed):
    config = get_config("tiny")
    libraries = [build_model(verilog.emit(config, gated=gated), name=config.name,
                             bus_bytes=config.bus_bytes) for gated in (False, True)]
    plain, gated = (work(library, seed) for library in libraries)
    assert plain == gated


@pytest.mark.slow
def test_gates_only_where_asked_for():
    assert "xpu_clock_gate" not in verilog.emit("tiny")
    assert verilog.emit("tiny", gated=True).count("xpu_clock_gate ") >= 5
