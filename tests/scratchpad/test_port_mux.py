"""Several requesters on one port: order, throughput, turns, stall rules and routing."""

import random

import pytest
from amaranth import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from support.scratchpad import read, run_ports, write
from xpu_rtl.configs import get_config
from xpu_rtl.params import XpuConfig
from xpu_rtl.scratchpad.port_mux import PortMux
from xpu_rtl.scratchpad.requesters import Requester
from xpu_rtl.scratchpad.scratchpad import Scratchpad
from xpu_rtl.scratchpad.types import ScratchpadPort, ScratchpadRequest

TINY, SLICE = get_config("tiny"), get_config("slice")


class Shared(wiring.Component):
    """A scratchpad with a shared port and, the last of ``ports``, a rival of higher priority."""

    def __init__(self, count, config=TINY):
        self._count, self._config = count, config
        super().__init__({"ports": In(ScratchpadPort(config)).array(count + 1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Scratchpad(self._config, (
            Requester("rival", reads=True, writes=True, priority=True),
            Requester("shared", reads=True, writes=True)))
        m.submodules.mux = mux = PortMux(self._config, self._count)
        for n in range(self._count):
            wiring.connect(m, wiring.flipped(self.ports[n]), mux.requesters[n])
        wiring.connect(m, wiring.flipped(self.ports[self._count]), memory.ports[0])
        wiring.connect(m, mux.port, memory.ports[1])
        return m


def silent(cycle):
    return None


@pytest.mark.parametrize("config", [TINY, SLICE], ids=lambda config: config.name)
@pytest.mark.parametrize(("count", "ask"), [(1, 0.9), (2, 1.0), (3, 0.5), (8, 1.0), (8, 0.15)])
def test_random_traffic(config, count, ask):
    dut = Shared(count, config)
    rng = random.Random(f"{config.name}-{count}-{ask}")
    pool = [rng.randrange(config.sm_words) for _ in range(8)]

    def source(p):
        def one(cycle):
            if rng.random() >= p:
                return None
            word = rng.choice(pool)
            if rng.random() < 0.5:
                return read(word)
            return write(word, rng.getrandbits(config.word_width),
                         rng.getrandbits(config.word_bytes))
        return one

    logs = run_ports(dut, dut.ports, [source(ask)] * count + [source(0.4)], cycles=400)
    assert all(log.accepted for log in logs)


@pytest.mark.parametrize(("count", "port"), [(1, 0), (3, 0), (3, 1), (8, 7)])
def test_full_throughput_alone(count, port):
    dut = Shared(count)
    sources = [silent] * (count + 1)
    sources[port] = read
    log = run_ports(dut, dut.ports, sources, cycles=60)[port]
    assert log.accepted == list(range(60))
    latency = PortMux.REQUEST_LATENCY + Scratchpad.LATENCY
    assert log.answered == [cycle + latency for cycle in range(60)]


@pytest.mark.parametrize("count", [2, 5, 8])
def test_turns_without_a_bubble(count):
    dut = Shared(count)
    logs = run_ports(dut, dut.ports, [read] * count + [silent], cycles=80)
    for n in range(count):
        assert logs[n].accepted[:80 // count] == list(range(n, 80, count))[:80 // count]


def test_the_turn_passes_those_who_do_not_ask():
    """Requester 2 of 4 is served in its first cycle though all others ask in every cycle."""
    dut = Shared(4)
    logs = run_ports(dut, dut.ports, [
        read, silent, lambda cycle: read(cycle) if cycle == 21 else None, read, silent], cycles=40)
    assert logs[0].accepted[:10] == list(range(0, 20, 2))
    assert logs[3].accepted[:10] == list(range(1, 20, 2))
    assert 21 <= logs[2].accepted[0] <= 23


@pytest.mark.parametrize("owner", [0, 1, 2])
def test_waiting_goes_to_the_owner(owner):
    """The rival takes the bank while the access is at the scratchpad; only its owner waits."""
    dut = Shared(3)
    others = [n for n in range(3) if n != owner]
    sources = [silent] * 3 + [lambda cycle: read(0) if 6 <= cycle < 10 else None]
    sources[owner] = lambda cycle: read(0) if cycle == 5 else None
    # Others have accesses just before and just after, to other banks.
    sources[others[0]] = lambda cycle: read(1) if cycle == 4 else None
    sources[others[1]] = lambda cycle: read(1) if cycle == 6 else None
    logs = run_ports(dut, dut.ports, sources, cycles=24)
    assert logs[owner].waiting == [7, 8, 9, 10]
    assert all(logs[n].waiting == [] for n in others)
    assert logs[owner].answered == [5 + PortMux.REQUEST_LATENCY + Scratchpad.LATENCY + 4]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_stream_rules_routing_and_bounded_waiting(count):
    """A port that answers late and stalls at random: at most OUTSTANDING unanswered, nothing lost
    or swapped, an access offered stays, and none lets more than ``count - 1`` others pass.

    The far side answers each access with its number and owner.
    """
    dut = PortMux(SLICE, count)
    rng = random.Random(count)
    accesses = 400 // count
    layout = ScratchpadRequest(SLICE)
    payload = Value.cast(dut.port.req.payload)

    def request(n, k):
        return layout.const({"address": k, "write": (n ^ k) & 1, "strobe": n, "data": 8 * k + n})

    async def bench(ctx):
        queue, got = [], [[] for _ in range(count)]
        sent, passed = [0] * count, [0] * count
        most, stalled = 0, None
        signals = [dut.port.req.valid, dut.port.req.ready, payload]
        for requester in dut.requesters:
            signals += [requester.req.valid, requester.req.ready, requester.rsp.valid,
                        requester.rsp.payload]
        for cycle in range(5000):
            for n, requester in enumerate(dut.requesters):
                if not ctx.get(requester.req.valid) and sent[n] < accesses and (
                        rng.random() < 0.6):
                    ctx.set(requester.req.payload, request(n, sent[n]))
                    ctx.set(requester.req.valid, 1)
            ctx.set(dut.port.req.ready, rng.random() < 0.7)
            answer = bool(queue) and rng.random() < (0.8 if cycle // 100 % 2 else 0.2)
            ctx.set(dut.port.rsp.valid, answer)
            if answer:
                ctx.set(dut.port.rsp.payload, queue.pop(0))
            _, _, valid, ready, bits, *rest = await ctx.tick().sample(*signals)
            if stalled is not None:
                assert (valid, bits) == (1, stalled), "the access offered changed while stalled"
            stalled = bits if valid and not ready else None
            if valid and ready:
                access = layout.from_bits(bits)
                assert bits == request(access.strobe, access.address).as_bits()
                queue.append(access.data)
                most = max(most, len(queue))
            taken = [n for n in range(count) if rest[4 * n] and rest[4 * n + 1]]
            assert len(taken) <= 1
            for n, requester in enumerate(dut.requesters):
                if n in taken:
                    sent[n] += 1
                    passed[n] = 0
                    ctx.set(requester.req.valid, 0)
                elif taken and rest[4 * n]:
                    passed[n] += 1
                    assert passed[n] <= count - 1, f"requester {n} is passed over"
                if rest[4 * n + 2]:
                    got[n].append(rest[4 * n + 3])
            if all(len(words) == accesses for words in got):
                break
        assert got == [[8 * k + n for k in range(accesses)] for n in range(count)]
        assert most == PortMux.OUTSTANDING

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


def test_outstanding_covers_the_scratchpad():
    assert PortMux.OUTSTANDING >= Scratchpad.SLOTS + Scratchpad.LATENCY


@pytest.mark.parametrize("lanes", [8, 32, 64])
def test_other_widths(lanes):
    dut = Shared(2, XpuConfig(name="x", lanes=lanes, acc_rows=64, epilogue_lanes=4))
    logs = run_ports(dut, dut.ports, [
        lambda cycle: write(cycle, (1 << 8 * lanes) - 1 - cycle, (1 << lanes) - 1),
        lambda cycle: read(cycle) if cycle > 20 else None, silent], cycles=40)
    assert len(logs[0].accepted) + len(logs[1].accepted) >= 40


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("requesters", [0, 9])
def test_rejects_bad_parameters(requesters):
    with pytest.raises(ValueError, match="requesters must"):
        PortMux(TINY, requesters)
