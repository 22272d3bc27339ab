"""The sink that writes GM: bursts, rule 2, halts."""

import dataclasses
import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from support.dma_sinks import (
    GM_BASE,
    GM_BYTES,
    GmSinkRig,
    Run,
    random_runs,
    rows_of_words,
)
from xpu_rtl.common.axi_write_mux import AxiWriteMux
from xpu_rtl.configs import get_config
from xpu_rtl.dma.gm_sink import GmSink
from xpu_rtl.params import XpuConfig


def make(config, **options):
    return GmSinkRig(GmSink(config), config, **options)


def words(run, config):
    return run.beats(config)[1]


@pytest.mark.parametrize("name", ["tiny", "slice"])
@pytest.mark.parametrize("direct", [0, 0.5])
@pytest.mark.parametrize(("memory", "word_p", "run_p"), [
    ({}, 1.0, 1.0),
    ({"latency": 20, "jitter": 30}, 0.5, 0.2),
    ({"ready_p": 0.3, "valid_p": 0.5, "latency": 3}, 0.9, 0.9),
    ({"need": "aw", "ready_p": 0.6}, 0.8, 0.9),
    ({"need": "w", "ready_p": 0.6}, 0.8, 0.1)])
def test_random_runs(name, direct, memory, word_p, run_p):
    config = get_config(name)
    rng = random.Random(f"{name}-{direct}-{memory}")
    runs = random_runs(rng, config, 4, size=GM_BYTES, direct=direct,
                       longest=60 * config.word_bytes)
    rig = make(config, memory=memory, word_p=word_p, run_p=run_p, seed=rng.randrange(1000))
    rig.run(runs)
    assert bytes(rig.memory.data) == rig.expected(runs)
    assert [offer[1:] for offer in rig.offers] == [burst[:2] for burst in rig.bursts(runs)]
    assert rig.failed_at is None
    assert rig.payload_bytes == sum(len(run.data) for run in runs)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("ahead", [0, 10])
def test_latency(direct, ahead):
    """The run comes ``ahead`` cycles before ``RUN_LATENCY`` requires it, so the word decides."""
    config = get_config("slice")
    rig = make(config, memory={"latency": 7})
    late = GmSink.RUN_LATENCY + ahead - 1
    rig.run([Run(0, bytes(16), direct=direct, last=True)], words_at=lambda n: late + 5,
            runs_at=lambda n: 5)
    assert rig.offers[0][0] - rig.word_cycles[0] == GmSink.DATA_LATENCY
    assert rig.memory.write_cycles[0] - rig.word_cycles[0] == GmSink.DATA_LATENCY
    assert rig.completed[0] - rig.memory.response_cycles[0] == GmSink.RESPONSE_LATENCY


@pytest.mark.parametrize("count", [2, 3, 64])
def test_latency_of_the_last_word(count):
    config = get_config("slice")
    rig = make(config)
    rig.run([Run(0, bytes(16 * count), last=True)], words_at=lambda n: 10)
    assert rig.offers[0][0] - rig.word_cycles[-1] == GmSink.LAST_LATENCY


def test_run_latency():
    config = get_config("slice")
    rig = make(config)
    rig.run([Run(0, bytes(16), last=True)], runs_at=lambda n: 20)
    assert rig.word_cycles[0] < 5
    assert rig.offers[0][0] == rig.run_cycles[0] + GmSink.RUN_LATENCY + 1


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("per_run", [1, 2, 3, 64])
def test_throughput(direct, per_run):
    """Words that arrive one per cycle leave so, without a bubble between runs and commands."""
    config = get_config("slice")
    count = max(3, 100 // per_run)
    rig = make(config, memory={"latency": 40})
    runs = rows_of_words(config, count, per_run=per_run, per_command=1, direct=direct)
    total = count * per_run
    rig.run(runs)
    assert rig.word_cycles[-1] - rig.word_cycles[0] == total - 1
    assert rig.memory.write_cycles[-1] - rig.memory.write_cycles[0] == total - 1
    assert bytes(rig.memory.data) == rig.expected(runs)


class Shared(wiring.Component):
    """A sink behind a multiplexer with another manager, which is silent."""

    def __init__(self, config):
        self._config, self._sink = config, GmSink(config)
        super().__init__(dict(self._sink.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.submodules.sink = sink = self._sink
        m.submodules.mux = mux = AxiWriteMux(self._config.bus_width, 2)
        wiring.connect(m, sink.axi, mux.managers[1])
        wiring.connect(m, mux.axi, wiring.flipped(self.axi))
        for stream in ("run", "i"):
            wiring.connect(m, wiring.flipped(getattr(self, stream)), getattr(sink, stream))
        m.d.comb += [sink.run_fault.eq(self.run_fault), sink.halt.eq(self.halt),
                     sink.windows.eq(self.windows)]
        m.d.comb += [getattr(self, name).eq(getattr(sink, name)) for name in (
            "completed", "failed", "fault", "busy", "payload_bytes")]
        return m


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("per_run", [1, 2])
def test_throughput_behind_a_multiplexer(direct, per_run):
    """Whose address register each first beat waits for."""
    config = get_config("slice")
    rig = GmSinkRig(Shared(config), config, memory={"latency": 20})
    runs = rows_of_words(config, 80 // per_run, per_run=per_run, direct=direct)
    rig.run(runs)
    assert rig.memory.write_cycles[-1] - rig.memory.write_cycles[0] == 79
    assert bytes(rig.memory.data) == rig.expected(runs)


@pytest.mark.parametrize("seed", range(3))
def test_random_runs_behind_a_multiplexer(seed):
    config = get_config("tiny")
    rng = random.Random(seed)
    runs = random_runs(rng, config, 3, size=GM_BYTES, longest=30)
    rig = GmSinkRig(Shared(config), config, seed=seed, memory={
        "ready_p": 0.4, "valid_p": 0.6, "latency": 9, "need": (None, "aw", "w")[seed]})
    rig.run(runs)
    assert bytes(rig.memory.data) == rig.expected(runs)


@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_throughput_of_long_runs(name):
    """Bursts of the greatest length, not direct; the run begins in the middle of one."""
    config = get_config(name)
    rig = make(config)
    size = config.burst_beats * config.bus_bytes
    run = Run(size // 2, random.Random(1).randbytes(3 * size), last=True)
    rig.run([run])
    count = 3 * config.burst_beats
    assert rig.word_cycles[-1] - rig.word_cycles[0] == count - 1
    # The first burst waits for half as many words as the next ones need.
    stall = config.burst_beats // 2
    assert rig.memory.write_cycles[-1] - rig.memory.write_cycles[0] == count - 1 + stall
    assert bytes(rig.memory.data) == rig.expected([run])


def test_a_direct_burst_begins_with_its_first_word():
    config = get_config("slice")
    rig = make(config)
    rig.run([Run(0, bytes(1024), direct=True, last=True)], words_at=lambda n: 10 * n + 5)
    assert rig.offers[0][0] == rig.word_cycles[0] + GmSink.DATA_LATENCY
    assert rig.memory.write_cycles == [
        cycle + GmSink.DATA_LATENCY for cycle in rig.word_cycles]


@pytest.mark.parametrize("held", [1, 2, 63])
def test_a_burst_waits_for_its_last_word(held):
    """Rule 2, and the meaning of ``busy``: low while the words held cannot become a burst."""
    config = get_config("slice")
    rig = make(config)
    runs = [Run(0, bytes(64), last=True), Run(1024, bytes(1024), last=True)]
    rig.run(runs, words_at=lambda n: 0 if n < 4 + held else None, cycles=200)
    assert [offer[1:] for offer in rig.offers] == [(GM_BASE, 4)]
    assert len(rig.completed) == 1
    assert not rig.busy

    rig = make(config)
    rig.run(runs, words_at=lambda n: 0 if n < 4 + held else 300)
    assert len(rig.offers) == 2
    assert rig.offers[1][0] > 300 + 63 - held


def test_busy_until_all_that_can_begin_has_begun():
    """With the words of five bursts and a half held, ``busy`` stays until the five are answered."""
    config = get_config("tiny")
    rig = make(config, memory={"ready_p": 0.1, "latency": 30}, seed=4)
    runs = rows_of_words(config, 6, per_run=8)
    fell = []

    def check(completed, busy):
        GmSinkRig.check(rig, completed, busy)
        if not busy and rig.word_cycles and rig.cycle > rig.word_cycles[-1]:
            fell.append(len(rig.memory.response_cycles))
    rig.check = check
    rig.run(runs, words_at=lambda n: 0 if n < 44 else None, cycles=1200)
    assert len(rig.word_cycles) == 44
    assert fell
    assert set(fell) == {5}


def test_most_bursts_unanswered():
    config = dataclasses.replace(get_config("slice"), max_bursts=8)
    rig = make(config, memory={"latency": 300})
    rig.run(rows_of_words(config, 20))
    assert rig.offers[7][0] < 60
    assert rig.offers[8][0] > 300
    assert len(rig.offers) == 20


@pytest.mark.parametrize("halt_at", [*range(4, 12), 30, 75])
@pytest.mark.parametrize("direct", [False, True])
def test_halt(halt_at, direct):
    config = get_config("slice")
    rig = make(config, memory={"latency": 12, "ready_p": 0.7}, seed=halt_at)
    runs = [*rows_of_words(config, 3, direct=True),
            *rows_of_words(config, 4, base=1024, per_run=64, direct=direct)]
    rig.run(runs, halt_at=halt_at)
    assert rig.idle_at is not None
    assert rig.failed_at is None
    assert all(cycle <= halt_at + 2 for cycle, *_ in rig.offers)
    assert len(rig.memory.response_cycles) == len(rig.offers)
    now, after = bytes(rig.memory.data), rig.expected(runs)
    assert all(byte in (new, old) for byte, new, old in zip(now, after, rig.before, strict=True))
    assert rig.payload_bytes == rig.memory.strobes_written


def test_words_and_runs_are_dropped_while_halted():
    config = get_config("slice")
    rig = make(config)
    runs = rows_of_words(config, 200)
    rig.run(runs, halt_at=0, cycles=220)
    assert rig.word_cycles == list(range(200))
    assert rig.run_cycles == list(range(200))
    assert not rig.offers
    assert not rig.busy


@pytest.mark.parametrize("lanes", [8, 32, 64])
def test_other_widths(lanes):
    config = XpuConfig(name="x", lanes=lanes, acc_rows=64, epilogue_lanes=4, max_bursts=4)
    rng = random.Random(lanes)
    runs = random_runs(rng, config, 4, size=GM_BYTES)
    rig = make(config, memory={"ready_p": 0.7})
    rig.run(runs)
    assert bytes(rig.memory.data) == rig.expected(runs)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_id():
    config = get_config("tiny")
    for axi_id in (-1, 16):
        with pytest.raises(ValueError, match="axi_id must"):
            GmSink(config, axi_id=axi_id)
    dut = GmSink(config, axi_id=9)

    async def bench(ctx):
        assert ctx.get(dut.axi.aw.p.id) == 9

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
