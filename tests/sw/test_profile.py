import numpy as np
import pytest

import xpu
from xpu.platforms import TraceEvent, engine_names
from xpu.platforms.model import ModelPlatform
from xpu.profile import CAUSES, Profile
from xpu_rtl.configs import get_config
from xpu_rtl.csr.maps import CLUSTER


def product(dev, m=8, n=4, k=12):
    return xpu.ops.matmul(dev.tensor(np.ones((m, k), np.int8)),
                          dev.tensor(np.ones((k, n), np.uint8)))


def test_the_model_has_no_time(dev):
    product(dev)
    with dev.profile() as p:
        product(dev)
        product(dev, 3, 5, 7)
    assert dev._work.completed == dev._work.submitted    # leaving waits
    assert p.macs == 8 * 4 * 12 + 3 * 5 * 7
    assert p.bytes_read == 8 * 12 + 12 * 4 + 3 * 7 + 7 * 5
    assert p.bytes_written == 4 * (8 * 4 + 3 * 5)
    assert p.cycles is p.utilization is p.bus_utilization is None
    assert p.busy == dict.fromkeys(engine_names(dev.config))
    assert p.stalls == {engine: dict.fromkeys(CAUSES) for engine in p.busy}
    assert p.events == []


def test_engines_are_those_of_the_configuration():
    assert engine_names(get_config("ecp5")) == ("load", "store", "tensor", "simd")
    assert engine_names(get_config("slice")) == (
        "load", "store", "tensor", "simd", "load1", "store1")


def test_an_exception_inside_is_not_masked(dev):
    def fails():
        product(dev)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), dev.profile():
        fails()
    assert dev._work.completed == 0
    assert dev._profiles == []


def test_profiles_nest(dev):
    with dev.profile() as outer:
        product(dev)
        with dev.profile() as inner:
            product(dev, 1, 1, 1)
    assert (inner.macs, outer.macs) == (1, 8 * 4 * 12 + 1)
    assert inner.bytes_written == 4


SHARES = {"cycles": 10, "busy": 4, "semaphore": 3, "idle": 2, "memory": 1}


class Timed(ModelPlatform):
    """The model with an invented clock: counters near their end, 10 cycles per run."""

    timed = True
    cycle_count = 0

    def run(self, max_cycles):
        _, irq = super().run(max_cycles)
        self.cycle_count += 10
        return 10, irq

    def read_register(self, offset):
        register, _ = self._registers[offset]
        if register.name.startswith("perf_"):
            share = SHARES.get(register.name.removeprefix("perf_"), 0)
            return (0xFFFF_FFF0 + self.cycle_count // 10 * share) % 2 ** 32
        return super().read_register(offset)

    def take_trace(self):
        return [TraceEvent("load", 0, self.cycle_count - 5, self.cycle_count)]


def test_figures_add_up_across_a_wrap_of_the_counters():
    with xpu.open(platform=Timed("tiny", 1 << 20)) as dev:
        product(dev).numpy()
        start = dev.platform.cycle_count
        with dev.profile() as p:
            for _ in range(5):
                product(dev).numpy()
        assert p.cycles == dev.platform.cycle_count - start == 50
        assert p.utilization == pytest.approx(5 * 8 * 4 * 12 / 16 / 50)
        assert p.bus_utilization == pytest.approx(max(p.bytes_read, p.bytes_written) / 4 / 50)
        for engine in engine_names(dev.config):
            assert p.busy[engine] == 20
            assert p.stalls[engine]["semaphore"] == 15
            assert p.busy[engine] + sum(p.stalls[engine].values()) == p.cycles
        assert p.events == [("load", 0, 45, 50)]
        with dev.profile() as empty:
            pass
        assert (empty.cycles, empty.utilization, empty.macs) == (0, 0.0, 0)


def test_counters_are_sampled_before_they_wrap(monkeypatch):
    with xpu.open(platform=Timed("tiny", 1 << 20)) as dev:
        p = Profile(dev)
        p._start(dev.platform)
        samples = []
        monkeypatch.setattr(p._counters, "sample", lambda: samples.append(1))
        for cycle in (1 << 29, 1 << 30, (1 << 30) + 1, (1 << 31) - 1, (2 << 30) + 2):
            p._tick(cycle)
        assert len(samples) == 2


def test_bytes_count_in_64_bits(dev):
    register = CLUSTER["bytes_read_low"]
    with dev.profile() as p:
        dev.platform._bytes["bytes_read"] += 5 << 32
    assert p.bytes_read == 5 << 32
    assert register.address() + 4 == CLUSTER["bytes_read_high"].address()
