"""The scratchpad against a dictionary of bytes, its latency, throughput and fairness."""

import random

import pytest
from amaranth.sim import Simulator

from support.scratchpad import read, run_ports, write
from xpu_rtl.configs import get_config
from xpu_rtl.params import XpuConfig
from xpu_rtl.scratchpad.arbiter import AGE_LIMIT
from xpu_rtl.scratchpad.banks import bank_of
from xpu_rtl.scratchpad.requesters import REQUESTERS, Requester
from xpu_rtl.scratchpad.scratchpad import Scratchpad

TINY = get_config("tiny")
MID = XpuConfig(name="mid", lanes=8, sm_bytes=16 * 1024, sm_banks=16)
SIX = (*REQUESTERS, Requester("simd", reads=True, writes=True))
NAMES = [who.name for who in REQUESTERS]
ACTIVATION, WEIGHT, OUTPUT, LOAD, STORE = range(5)
configs = pytest.mark.parametrize("config", [TINY, MID], ids=lambda config: config.name)


def silent(cycle):
    return None


def listed(accesses):
    """Source of the given accesses, without pauses."""
    queue = list(accesses)
    return lambda cycle: queue.pop(0) if queue else None


def streaming(config, start, pitch, *, writes, limit=None):
    """Source that never pauses: words ``pitch`` apart, wrapping at the end of the memory."""
    address = start

    def source(cycle):
        nonlocal address, limit
        if limit is not None:
            if not limit:
                return None
            limit -= 1
        word, address = address, (address + pitch) % config.sm_words
        return write(word, word, 1) if writes else read(word)
    return source


def random_source(config, who, words, rng, ask):
    """Reads or writes of random bytes among few words, as the requester's rights allow."""
    def source(cycle):
        if rng.random() >= ask:
            return None
        if who.reads and not (who.writes and rng.random() < 0.5):
            return read(rng.choice(words))
        return write(rng.choice(words), rng.getrandbits(config.word_width),
                     rng.choice((-1, rng.getrandbits(config.word_bytes)))
                     & (1 << config.word_bytes) - 1)
    return source


def test_directed():
    """Write two bytes of a word, then read it back through every reading port."""
    dut = Scratchpad(TINY)
    last = TINY.sm_words - 1

    def later(source, start):
        return lambda cycle: source(cycle) if cycle >= start else None

    sources = [
        later(listed([read(last)]), 12), later(listed([read(last)]), 12),
        listed([write(last, 0x11223344, 0b1111)]),
        later(listed([write(last, 0xAABBCCDD, 0b0110)]), 6),
        later(listed([read(last)]), 12),
    ]
    logs = run_ports(dut, dut.ports, sources, cycles=20)
    for port in (ACTIVATION, WEIGHT, STORE):
        assert logs[port].words == [0x11BBCC44]


@configs
@pytest.mark.parametrize("requesters", [REQUESTERS, SIX], ids=["cluster", "with_simd"])
@pytest.mark.parametrize(("words", "ask"), [(3, 1.0), (40, 1.0), (40, 0.5), (200, 0.2)])
def test_random_traffic(config, requesters, words, ask):
    dut = Scratchpad(config, requesters)
    rng = random.Random(f"{config.name} {len(requesters)} {words} {ask}")
    pool = [rng.randrange(config.sm_words) for _ in range(words)]
    logs = run_ports(dut, dut.ports, [random_source(config, who, pool, rng, ask)
                                      for who in requesters], cycles=500)
    for log in logs:
        assert len(log.accepted) == len(log.answered) > 0
        assert log.longest_wait <= dut.max_wait
        for accepted, answered in zip(log.accepted, log.answered, strict=True):
            assert answered - accepted >= dut.LATENCY


@configs
def test_write_is_visible_after_its_response(config):
    """A read offered in the cycle after a write's response returns the new word, on any port."""
    dut = Scratchpad(config, SIX)
    rng = random.Random(config.name)
    turns = [(rng.choice((OUTPUT, LOAD, 5)), rng.choice((ACTIVATION, WEIGHT, STORE, 5)),
              rng.randrange(config.sm_words), rng.getrandbits(config.word_width))
             for _ in range(60)]

    async def one(ctx, port, access):
        ctx.set(port.req.payload, {"address": access.address, "write": access.write,
                                   "data": access.data, "strobe": access.strobe})
        ctx.set(port.req.valid, 1)
        _, _, ready = await ctx.tick().sample(port.req.ready)
        assert ready
        ctx.set(port.req.valid, 0)
        for cycle in range(1, 2 * AGE_LIMIT):
            _, _, valid, word = await ctx.tick().sample(port.rsp.valid, port.rsp.payload)
            if valid:
                assert cycle == dut.LATENCY
                return word
        raise AssertionError("no response")

    async def bench(ctx):
        for writer, reader, address, word in turns:
            strobe = (1 << config.word_bytes) - 1
            await one(ctx, dut.ports[writer], write(address, word, strobe))
            assert await one(ctx, dut.ports[reader], read(address)) == word

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


@configs
@pytest.mark.parametrize("port", range(5), ids=NAMES)
def test_latency_and_throughput_alone(config, port):
    dut = Scratchpad(config)
    sources = [silent] * 5
    sources[port] = streaming(config, 5, 3, writes=REQUESTERS[port].writes, limit=50)
    log = run_ports(dut, dut.ports, sources, cycles=60)[port]
    assert log.accepted == list(range(50))
    assert log.answered == [cycle + dut.LATENCY for cycle in log.accepted]
    assert not log.waiting


def test_all_granted_when_banks_differ():
    dut = Scratchpad(MID)
    words = [7, 32, 65, 98, 131]
    assert len({bank_of(MID, word) for word in words}) == 5
    count = 30
    logs = run_ports(dut, dut.ports, [
        streaming(MID, word, MID.sm_banks, writes=who.writes, limit=count)
        for word, who in zip(words, REQUESTERS, strict=True)], cycles=count + 5)
    for log in logs:
        assert not log.waiting
        assert log.answered == [cycle + dut.LATENCY for cycle in range(count)]


def test_conflict_costs_the_loser_one_cycle():
    dut = Scratchpad(TINY)
    logs = run_ports(dut, dut.ports, [listed([read(9)]), listed([read(9)]), silent, silent, silent],
                     cycles=5)
    assert logs[ACTIVATION].answered == [dut.LATENCY]
    assert logs[ACTIVATION].waiting == []
    assert logs[WEIGHT].answered == [dut.LATENCY + 1]
    assert logs[WEIGHT].waiting == [1]


@configs
def test_activation_pitches(config):
    """Whatever its pitch, activation loses a cycle only to a request that has grown old."""
    pitches = [1 << k for k in range(config.sm_addr_width)]
    pitches += [3, 5, config.sm_banks - 1, config.sm_banks + 1, 37]
    cycles = 150
    others = len(REQUESTERS) - 1
    for pitch in pitches:
        dut = Scratchpad(config)
        sources = [streaming(config, 11 * i, pitch if i == ACTIVATION else 1, writes=who.writes)
                   for i, who in enumerate(REQUESTERS)]
        logs = run_ports(dut, dut.ports, sources, cycles=cycles)
        lost = len(logs[ACTIVATION].waiting)
        assert lost <= others * (cycles // AGE_LIMIT), pitch
        assert len(logs[ACTIVATION].accepted) >= cycles - lost, pitch
        for log in logs:
            assert log.longest_wait <= dut.max_wait, pitch
        # Enough banks for everybody: the skew keeps nearly all the streams moving.
        if config.sm_banks >= 16 and pitch < config.sm_words // 2:
            assert lost <= cycles // AGE_LIMIT, pitch
            assert min(len(log.accepted) for log in logs) >= cycles // 2, pitch


def test_one_bank_is_shared_by_turns():
    """Without activation the others get equal parts of a bank; nobody waits longer than a turn."""
    dut = Scratchpad(TINY)
    sources = [silent] + [streaming(TINY, 6, 0, writes=who.writes) for who in REQUESTERS[1:]]
    logs = run_ports(dut, dut.ports, sources, cycles=200)
    parts = [len(log.accepted) for log in logs[1:]]
    assert max(parts) - min(parts) <= 1
    assert sum(parts) >= 199
    assert max(log.longest_wait for log in logs) == 3


def test_ageing_beats_priority():
    """All on one word: each of the others still gets its turn, activation the rest."""
    dut = Scratchpad(TINY)
    cycles = 300
    sources = [streaming(TINY, 6, 0, writes=who.writes) for who in REQUESTERS]
    logs = run_ports(dut, dut.ports, sources, cycles=cycles)
    others = logs[1:]
    assert AGE_LIMIT <= max(log.longest_wait for log in others) <= dut.max_wait
    for log in others:
        during = [cycle for cycle in log.answered if cycle < cycles]
        assert len(during) >= cycles // (dut.max_wait + 1)
    assert logs[ACTIVATION].longest_wait <= len(others)
    assert len(logs[ACTIVATION].waiting) <= len(others) * (cycles // AGE_LIMIT)


def test_slots_accept_while_the_head_waits():
    """SLOTS accesses are taken although the bank is busy; then ready falls until a grant."""
    dut = Scratchpad(TINY)
    sources = [streaming(TINY, 0, 0, writes=False), streaming(TINY, 0, 0, writes=False),
               silent, silent, silent]
    logs = run_ports(dut, dut.ports, sources, cycles=AGE_LIMIT)
    assert logs[WEIGHT].accepted[:dut.SLOTS] == list(range(dut.SLOTS))
    assert logs[WEIGHT].accepted[dut.SLOTS] >= AGE_LIMIT


def test_ready_ignores_requests():
    """``ready`` is a register: no request, own or foreign, changes it within the cycle."""
    dut = Scratchpad(TINY)
    rng = random.Random(5)

    async def bench(ctx):
        seen = set()
        for _ in range(60):
            ready = [ctx.get(port.req.ready) for port in dut.ports]
            seen.update(ready)
            for port in dut.ports:
                ctx.set(port.req.valid, rng.random() < 0.8)
                ctx.set(port.req.payload.address, rng.randrange(4))
            assert [ctx.get(port.req.ready) for port in dut.ports] == ready
            await ctx.tick()
        assert seen == {0, 1}

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refused_parameters():
    with pytest.raises(TypeError, match="config"):
        Scratchpad("tiny")
    with pytest.raises(ValueError, match="requesters"):
        Scratchpad(TINY, ())
    with pytest.raises(ValueError, match="requesters"):
        Scratchpad(TINY, (REQUESTERS[0], REQUESTERS[0]))
