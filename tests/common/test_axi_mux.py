import itertools
import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from support.axi_memory import AxiMemory
from xpu_rtl.common.axi import AxiAddress
from xpu_rtl.common.axi_mux import AxiReadMux

WIDTH, SIZE = 32, 1 << 14


def run(count, bursts, *, memory=None, offer_p=1.0, ready_p=1.0, idle=(), seed=0, timeout=5000,
        background=0, patience=128):
    """Let each manager read its list of (address, beats); check the data it gets.

    Returns the memory model and, by manager, the cycles of AR transfers and R beats.
    """
    dut = AxiReadMux(WIDTH, count, background=background, patience=patience)
    model = AxiMemory(SIZE, width=WIDTH, seed=seed, **(memory or {}))
    model.data[:] = random.Random(seed).randbytes(SIZE)
    ar_cycles = [[] for _ in range(count)]
    r_cycles = [[] for _ in range(count)]
    got = [[] for _ in range(count)]
    cycle = 0

    def source(n):
        async def offer(ctx):
            rng, port = random.Random(f"{seed}-{n}"), dut.managers[n]
            for address, beats in bursts[n]:
                while rng.random() >= offer_p:
                    await ctx.tick()
                ctx.set(port.ar.payload, AxiAddress().const(
                    {"addr": address, "len": beats - 1, "id": 15 - n}))
                ctx.set(port.ar.valid, 1)
                await ctx.tick().until(port.ar.ready)
                ar_cycles[n].append(cycle)
                ctx.set(port.ar.valid, 0)
        return offer

    def sink(n):
        async def take(ctx):
            rng, port = random.Random(f"{seed}-r{n}"), dut.managers[n]
            while True:
                ready = n not in idle and rng.random() < ready_p
                ctx.set(port.r.ready, ready)
                _, _, valid, data, last, burst_id = await ctx.tick().sample(
                    port.r.valid, port.r.p.data, port.r.p.last, port.r.p.id)
                if valid:
                    assert burst_id == n
                if valid and ready:
                    got[n].append((data, last))
                    r_cycles[n].append(cycle)
        return take

    async def count_cycles(ctx):
        nonlocal cycle
        total = sum(beats for n in range(count) for _, beats in bursts[n] if n not in idle)
        while sum(map(len, got)) < total:
            await ctx.tick()
            cycle += 1
            assert cycle < timeout, f"{sum(map(len, got))} of {total} beats"

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(model.read_process(dut.axi), background=True)
    for n in range(count):
        sim.add_testbench(source(n), background=True)
        sim.add_testbench(sink(n), background=True)
    sim.add_testbench(count_cycles)
    sim.run()
    for n in range(count):
        if n not in idle:
            expected = deque()
            for address, beats in bursts[n]:
                for at in range(address, address + 4 * beats, 4):
                    expected.append((int.from_bytes(model.data[at:at + 4], "little"),
                                     at == address + 4 * (beats - 1)))
            assert got[n] == list(expected)
    return model, ar_cycles, r_cycles


def random_bursts(rng, count):
    return [(4 * rng.randrange(SIZE // 4 // 64) * 64, rng.randrange(1, 33)) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("offer_p", "ready_p", "memory"), [
    (1.0, 1.0, {"latency": 3}),
    (0.3, 0.6, {"latency": 2, "jitter": 20, "ready_p": 0.5, "valid_p": 0.7}),
    (0.6, 0.9, {"latency": 2, "jitter": 20, "interleave": True})])
@pytest.mark.parametrize("background", [0, 1])
def test_each_manager_gets_its_own_data(count, background, offer_p, ready_p, memory):
    rng = random.Random(count)
    run(count, [random_bursts(rng, 15) for _ in range(count)], memory=memory, offer_p=offer_p,
        ready_p=ready_p, background=min(background, count - 1), seed=count)


def test_latency_and_throughput_as_documented():
    bursts = [(4 * n, 1) for n in range(40)]
    model, ar_cycles, r_cycles = run(2, [[], bursts], memory={"latency": 5})
    assert model.reads[0][0] - ar_cycles[1][0] == AxiReadMux.ADDRESS_LATENCY
    assert model.reads[-1][0] - model.reads[0][0] == 39
    assert r_cycles[1] == model.read_cycles


def test_background_last():
    bursts = [[(4 * n, 1) for n in range(10)] for _ in range(2)]
    _, ar_cycles, _ = run(2, bursts, memory={"latency": 5, "ready_p": 0.4}, background=1)
    # Manager 1 gets a place only while manager 0, which offers every other cycle at most, rests.
    assert ar_cycles[0][-1] < ar_cycles[1][-1]
    assert not set(ar_cycles[0]) & set(ar_cycles[1])


def test_foreground_takes_turns():
    count = 4
    bursts = [[(4 * n, 1) for n in range(60)] for _ in range(count)]
    _, ar_cycles, _ = run(count, bursts, memory={"latency": 5, "ready_p": 0.3}, background=1)
    order = sorted((cycle, n) for n in range(count) for cycle in ar_cycles[n])
    while_all_offer = [n for _, n in order[:100]]
    assert 3 not in while_all_offer
    for n in range(3):
        gaps = [b - a for a, b in itertools.pairwise(
            i for i, served in enumerate(while_all_offer) if served == n)]
        assert max(gaps) <= 3


@pytest.mark.parametrize("patience", [1, 4])
def test_a_manager_passed_over_goes_first_in_the_end(patience):
    bursts = [[(4 * n, 1) for n in range(30)], [(4 * n, 1) for n in range(3)]]
    _, ar_cycles, _ = run(2, bursts, memory={"latency": 5}, background=1, patience=patience)
    before = [sum(cycle < limit for cycle in ar_cycles[0]) for limit in ar_cycles[1]]
    assert before[0] <= patience + 1
    assert all(later - earlier <= patience + 1
               for earlier, later in itertools.pairwise(before))
    assert ar_cycles[1][-1] < ar_cycles[0][-1]


def test_addresses_stay_while_stalled():
    """The memory model checks that AR is stable; a higher priority offer must not replace it."""
    rng = random.Random(7)
    run(3, [random_bursts(rng, 20) for _ in range(3)], memory={"ready_p": 0.2}, offer_p=0.3, seed=9)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("managers", [0, 17])
def test_rejects_bad_parameters(managers):
    with pytest.raises(ValueError, match="managers must"):
        AxiReadMux(32, managers)
    with pytest.raises(ValueError, match="background must"):
        AxiReadMux(32, 2, background=2)
    with pytest.raises(ValueError, match="patience must"):
        AxiReadMux(32, 2, patience=0)
