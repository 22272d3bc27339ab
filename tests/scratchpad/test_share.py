"""Two requesters on one port: order, throughput, priority, stall rules and routing."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from support.scratchpad import read, run_ports, write
from xpu_rtl.configs import get_config
from xpu_rtl.scratchpad.requesters import Requester
from xpu_rtl.scratchpad.scratchpad import Scratchpad
from xpu_rtl.scratchpad.share import PortShare
from xpu_rtl.scratchpad.types import ScratchpadPort

TINY = get_config("tiny")
HIGH, LOW, RIVAL = range(3)


class Shared(wiring.Component):
    """A scratchpad with a shared port and a rival of higher priority."""

    def __init__(self):
        super().__init__({"ports": In(ScratchpadPort(TINY)).array(3)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Scratchpad(TINY, (
            Requester("rival", reads=True, writes=True, priority=True),
            Requester("shared", reads=True, writes=True)))
        m.submodules.share = share = PortShare(TINY)
        wiring.connect(m, wiring.flipped(self.ports[HIGH]), share.high)
        wiring.connect(m, wiring.flipped(self.ports[LOW]), share.low)
        wiring.connect(m, wiring.flipped(self.ports[RIVAL]), memory.ports[0])
        wiring.connect(m, share.port, memory.ports[1])
        return m


def silent(cycle):
    return None


@pytest.mark.parametrize("ask", [(1.0, 1.0, 1.0), (0.5, 1.0, 0.6), (0.4, 0.4, 0.9), (0.9, 0.9, 0)])
def test_random_traffic(ask):
    dut = Shared()
    rng = random.Random(f"{ask}")
    pool = [rng.randrange(TINY.sm_words) for _ in range(8)]

    def source(p):
        def one(cycle):
            if rng.random() >= p:
                return None
            word = rng.choice(pool)
            if rng.random() < 0.5:
                return read(word)
            return write(word, rng.getrandbits(32), rng.getrandbits(4))
        return one

    logs = run_ports(dut, dut.ports, [source(p) for p in ask], cycles=500)
    for log, p in zip(logs, ask, strict=True):
        assert bool(log.accepted) == (p > 0)


@pytest.mark.parametrize("port", [HIGH, LOW])
def test_full_throughput_alone(port):
    dut = Shared()
    sources = [silent] * 3
    sources[port] = lambda cycle: read(cycle)
    log = run_ports(dut, dut.ports, sources, cycles=60)[port]
    assert log.accepted == list(range(60))
    assert log.answered == [cycle + Scratchpad.LATENCY for cycle in range(60)]


def test_high_goes_first_and_low_fills_the_gaps():
    dut = Shared()
    logs = run_ports(dut, dut.ports, [
        lambda cycle: read(cycle) if cycle % 4 else None, lambda cycle: read(100 + cycle),
        silent], cycles=80)
    assert logs[HIGH].accepted == [cycle for cycle in range(80) if cycle % 4]
    assert logs[LOW].accepted[:20] == list(range(0, 80, 4))


@pytest.mark.parametrize("owner", [HIGH, LOW])
def test_waiting_goes_to_the_owner(owner):
    """The rival takes the bank at cycle 5; only the owner of the access behind it waits."""
    dut = Shared()
    sources = [silent, silent, lambda cycle: read(0) if 5 <= cycle < 9 else None]
    sources[owner] = lambda cycle: read(0) if cycle == 5 else None
    # The other requester has accesses just before and just after, to other banks.
    sources[1 - owner] = lambda cycle: read(1) if cycle in (4, 6) else None
    logs = run_ports(dut, dut.ports, sources, cycles=20)
    assert logs[owner].waiting == [6, 7, 8, 9]
    assert logs[1 - owner].waiting == []
    assert logs[owner].answered == [5 + Scratchpad.LATENCY + 4]


def test_grant_holds_while_stalled():
    """An access offered for ``low`` stays at the port although ``high`` arrives meanwhile."""
    dut = PortShare(TINY)

    async def bench(ctx):
        async def step(ready, expected_valid, expected_address):
            ctx.set(dut.port.req.ready, ready)
            _, _, valid, address, high, low = await ctx.tick().sample(
                dut.port.req.valid, dut.port.req.payload.address,
                dut.high.req.ready, dut.low.req.ready)
            assert (valid, address) == (expected_valid, expected_address)
            return high, low

        ctx.set(dut.low.req.payload.address, 11)
        ctx.set(dut.low.req.valid, 1)
        await step(0, 1, 11)
        ctx.set(dut.high.req.payload.address, 22)
        ctx.set(dut.high.req.valid, 1)
        await step(0, 1, 11)
        assert await step(1, 1, 11) == (0, 1)
        ctx.set(dut.low.req.payload.address, 12)
        await step(0, 1, 22)
        assert await step(1, 1, 22) == (1, 0)
        ctx.set(dut.high.req.valid, 0)
        assert await step(1, 1, 12) == (0, 1)

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


def test_outstanding_and_stream_rules():
    """A port that answers late and stalls at random: at most OUTSTANDING, nothing lost or swapped.

    The far side answers each access with its own address, ``owner`` in the lowest bit.
    """
    dut = PortShare(TINY)
    rng = random.Random(8)
    accesses = 200

    async def bench(ctx):
        queue, got = [], {"high": [], "low": []}
        sent = {"high": 0, "low": 0}
        most, stalled = 0, None
        for cycle in range(3000):
            for bit, name in enumerate(("high", "low")):
                port = getattr(dut, name)
                if not ctx.get(port.req.valid) and rng.random() < 0.6 and sent[name] < accesses:
                    ctx.set(port.req.payload.address, 2 * sent[name] + bit)
                    ctx.set(port.req.valid, 1)
            ctx.set(dut.port.req.ready, rng.random() < 0.7)
            answer = bool(queue) and rng.random() < (0.8 if cycle // 100 % 2 else 0.2)
            ctx.set(dut.port.rsp.valid, answer)
            if answer:
                ctx.set(dut.port.rsp.payload, queue.pop(0))
            signals = [dut.port.req.valid, dut.port.req.ready, dut.port.req.payload.address]
            for name in got:
                port = getattr(dut, name)
                signals += [port.req.valid, port.req.ready, port.rsp.valid, port.rsp.payload]
            _, _, valid, ready, address, *rest = await ctx.tick().sample(*signals)
            if stalled is not None:
                assert (valid, address) == (1, stalled), "the access offered changed while stalled"
            stalled = address if valid and not ready else None
            if valid and ready:
                queue.append(address)
                most = max(most, len(queue))
            taken = 0
            for name, k in (("high", 0), ("low", 4)):
                if rest[k] and rest[k + 1]:
                    sent[name] += 1
                    taken += 1
                    ctx.set(getattr(dut, name).req.valid, 0)
                if rest[k + 2]:
                    got[name].append(rest[k + 3])
            assert taken == (valid and ready)
            if all(len(words) == accesses for words in got.values()):
                break
        assert got == {"high": [2 * k for k in range(accesses)],
                       "low": [2 * k + 1 for k in range(accesses)]}
        assert most == dut.OUTSTANDING

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


def test_outstanding_covers_the_scratchpad():
    assert PortShare.OUTSTANDING >= Scratchpad.SLOTS + Scratchpad.LATENCY
