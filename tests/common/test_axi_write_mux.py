import itertools
import random

import pytest
from amaranth import Value
from amaranth.sim import Simulator

from support.axi_memory import AxiMemory
from xpu_rtl.common.axi import AxiAddress, AxiWriteBeat, Resp
from xpu_rtl.common.axi_write_mux import AxiWriteMux

WIDTH, SIZE = 32, 1 << 14


class Rig:
    """Managers that write their lists of (address, beats), and a memory.

    Checks that each manager gets one response per burst with its own ID and code, and that the
    memory holds what was written. ``lag``: chance per cycle that a beat offered late comes. A
    manager offers a burst's address no later than its first beat, the next one once both are
    taken.
    """

    def __init__(self, count, *, memory=None, offer_p=1.0, beat_p=1.0, ready_p=1.0, seed=0):
        self.dut = AxiWriteMux(WIDTH, count)
        self.count, self.seed = count, seed
        self.offer_p, self.beat_p, self.ready_p = offer_p, beat_p, ready_p
        self.memory = AxiMemory(SIZE, width=WIDTH, seed=seed, **(memory or {}))
        self.aw_cycles = [[] for _ in range(count)]
        self.w_cycles = [[] for _ in range(count)]
        self.responses = [[] for _ in range(count)]
        self.cycle = 0

    def data(self, n, k, beat):
        return random.Random(f"{n}-{k}-{beat}").getrandbits(32)

    def run(self, bursts, *, timeout=6000):
        dut, count = self.dut, self.count
        offered = [0] * count       # addresses, so far

        def addresses(n):
            async def offer(ctx):
                rng, port = random.Random(f"{self.seed}-{n}"), dut.managers[n]
                for k, (address, beats) in enumerate(bursts[n]):
                    while rng.random() >= self.offer_p:
                        await ctx.tick()
                    ctx.set(port.aw.payload, AxiAddress().const(
                        {"addr": address, "len": beats - 1, "id": 15 - n}))
                    ctx.set(port.aw.valid, 1)
                    offered[n] = k + 1
                    await ctx.tick().until(port.aw.ready)
                    self.aw_cycles[n].append(self.cycle)
                    ctx.set(port.aw.valid, 0)
            return offer

        def beats(n):
            async def offer(ctx):
                rng, port = random.Random(f"{self.seed}-w{n}"), dut.managers[n]
                payload, layout = Value.cast(port.w.payload), AxiWriteBeat(WIDTH)
                for k, (_, length) in enumerate(bursts[n]):
                    for beat in range(length):
                        while offered[n] <= k or rng.random() >= self.beat_p:
                            ctx.set(payload, rng.getrandbits(len(payload)))
                            await ctx.tick()
                        ctx.set(payload, layout.const({
                            "data": self.data(n, k, beat), "strb": 15,
                            "last": beat == length - 1}).as_bits())
                        ctx.set(port.w.valid, 1)
                        await ctx.tick().until(port.w.ready)
                        self.w_cycles[n].append(self.cycle)
                        ctx.set(port.w.valid, 0)
            return offer

        def answers(n):
            async def take(ctx):
                rng, port = random.Random(f"{self.seed}-b{n}"), dut.managers[n]
                while True:
                    ready = rng.random() < self.ready_p
                    ctx.set(port.b.ready, ready)
                    _, _, valid, resp, burst_id = await ctx.tick().sample(
                        port.b.valid, port.b.p.resp, port.b.p.id)
                    if valid:
                        assert burst_id == n
                    if valid and ready:
                        self.responses[n].append(resp)
            return take

        async def count_cycles(ctx):
            total = sum(map(len, bursts))
            while sum(map(len, self.responses)) < total:
                await ctx.tick()
                self.cycle += 1
                assert self.cycle < timeout, (
                    f"{sum(map(len, self.responses))} of {total} bursts")

        sim = Simulator(dut)
        sim.add_clock(1e-9)
        sim.add_testbench(self.memory.write_process(dut.axi), background=True)
        for n in range(count):
            sim.add_testbench(addresses(n), background=True)
            sim.add_testbench(beats(n), background=True)
            sim.add_testbench(answers(n), background=True)
        sim.add_testbench(count_cycles)
        sim.run()

        expected = bytearray(SIZE)
        for n in range(count):
            codes = []
            for k, (address, length) in enumerate(bursts[n]):
                for beat in range(length):
                    at = address + 4 * beat
                    expected[at:at + 4] = self.data(n, k, beat).to_bytes(4, "little")
                codes.append(max(self.memory.write_errors.get(address + 4 * beat, Resp.OKAY)
                                 for beat in range(length)))
            assert self.responses[n] == codes
        assert self.memory.data == expected
        return self


def random_bursts(rng, count, number):
    """Disjoint bursts, ``number`` for each manager."""
    places = rng.sample(range(SIZE // 64), count * number)
    return [[(64 * place, rng.choice([1, 1, 2, rng.randrange(1, 17)]))
             for place in places[n::count]] for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 16])
@pytest.mark.parametrize("options", [
    {"memory": {"latency": 3}},
    {"memory": {"latency": 2, "jitter": 20, "ready_p": 0.5, "valid_p": 0.7}, "offer_p": 0.3,
     "beat_p": 0.6, "ready_p": 0.6},
    {"memory": {"need": "aw", "ready_p": 0.7}, "beat_p": 0.5},
    {"memory": {"need": "w", "ready_p": 0.7}, "beat_p": 0.5, "offer_p": 0.7}])
def test_bursts_stay_whole(count, options):
    rng = random.Random(f"{count}-{options}")
    bursts = random_bursts(rng, count, 30 // count + 2)
    rig = Rig(count, seed=count, **options)
    for n in range(count):
        rig.memory.write_errors[bursts[n][1][0]] = rng.choice([Resp.SLVERR, Resp.DECERR])
    rig.run(bursts)


def test_latency_as_documented():
    rig = Rig(2, memory={"latency": 5}).run([[], [(64, 3)]])
    assert rig.memory.writes[0][0] - rig.aw_cycles[1][0] == AxiWriteMux.ADDRESS_LATENCY
    assert rig.memory.write_cycles[0] == rig.memory.writes[0][0]
    assert rig.w_cycles[1] == rig.memory.write_cycles


@pytest.mark.parametrize(("bursts", "total"), [
    ([[], [(4 * n, 1) for n in range(40)]], 40),
    ([[(4 * n, 1) for n in range(40)], [(4 * n, 1) for n in range(40, 80)]], 80),
    ([[(64 * n, 16) for n in range(4)], [(4 * n, 1) for n in range(64, 80)], [(2048, 3)]], 83)])
def test_a_beat_and_a_burst_per_cycle(bursts, total):
    rig = Rig(len(bursts), memory={"latency": 5}).run(bursts)
    cycles = rig.memory.write_cycles
    assert cycles[-1] - cycles[0] == total - 1
    if total == 80:
        assert rig.memory.writes[-1][0] - rig.memory.writes[0][0] == total - 1


@pytest.mark.parametrize("count", [2, 3, 5])
def test_managers_take_turns(count):
    bursts = [[(1024 * n + 64 * k, 1 + (n + k) % 4) for k in range(12)] for n in range(count)]
    rig = Rig(count, memory={"latency": 5, "ready_p": 0.6}).run(bursts)
    owners = [address // 1024 for _, address, _ in rig.memory.writes]
    assert owners == list(itertools.islice(itertools.cycle(range(count)), 12 * count))


def test_a_silent_manager_does_not_hold_up_the_turn():
    bursts = [[(64 * k, 1) for k in range(20)], [], [(2048, 1)]]
    rig = Rig(3, memory={"latency": 5}).run(bursts)
    assert rig.memory.writes[1][1] == 2048
    assert rig.memory.writes[-1][0] - rig.memory.writes[0][0] == 20


def test_addresses_run_ahead_of_slow_beats():
    """``AHEAD`` addresses are taken before the last beat of the first burst; no more."""
    rig = Rig(2, memory={"latency": 5})
    rig.beat_p = 0.02
    rig.run([[(64 * k, 1) for k in range(4)], [(1024 + 64 * k, 1) for k in range(4)]])
    taken = sorted(cycle for cycles in rig.aw_cycles for cycle in cycles)
    first = rig.memory.write_cycles[0]
    assert sum(cycle <= first for cycle in taken) == AxiWriteMux.AHEAD


def test_responses_by_id_in_any_order():
    """Responses of different managers may overtake each other; a strange ID is dropped."""
    dut = AxiWriteMux(WIDTH, 3)
    got = []

    async def bench(ctx):
        for burst_id, ready in ((2, 2), (0, 0), (9, None), (1, 1), (2, 2), (1, 0), (1, 1)):
            ctx.set(dut.axi.b.valid, 1)
            ctx.set(dut.axi.b.p.id, burst_id)
            ctx.set(dut.axi.b.p.resp, burst_id)
            for n in range(3):
                ctx.set(dut.managers[n].b.ready, n == ready)
            _, _, taken, *valid = await ctx.tick().sample(
                dut.axi.b.ready, *(manager.b.valid for manager in dut.managers))
            assert taken == (ready in (burst_id, None))
            assert valid == [n == burst_id for n in range(3)]
            got.append(taken)

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    assert got == [1, 1, 1, 1, 1, 0, 1]


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("managers", [0, 17])
def test_rejects_bad_parameters(managers):
    with pytest.raises(ValueError, match="managers must"):
        AxiWriteMux(32, managers)
