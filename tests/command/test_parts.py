"""Beat FIFO, queue, semaphores and fetcher by themselves."""

import dataclasses
import random
from itertools import pairwise

import pytest
from amaranth.sim import Simulator

from support.command_rig import encode
from support.command_windows import OPEN
from support.fetch_memory import FetchMemory
from support.streams import assert_valid_without_ready, run_stream
from xpu_rtl.command.beat_fifo import BeatFifo
from xpu_rtl.command.fetch import RingFetcher
from xpu_rtl.command.formats import CONV, DMA_ND, Opcode
from xpu_rtl.command.queue import EngineQueue
from xpu_rtl.command.semaphores import Semaphores
from xpu_rtl.configs import CONFIGS, get_config

TINY = get_config("tiny")


@pytest.mark.parametrize(("valid_p", "ready_p"), [(1, 1), (0.5, 1), (1, 0.5), (0.6, 0.6)])
@pytest.mark.parametrize("depth", [2, 8])
def test_beat_fifo(depth, valid_p, ready_p):
    beats = [random.Random(depth).getrandbits(20) for _ in range(100)]
    outputs, ins, outs = run_stream(BeatFifo(width=20, depth=depth), beats, expected=100,
                                    valid_p=valid_p, ready_p=ready_p, timeout=2000)
    assert outputs == beats
    assert outs[0] - ins[0] >= BeatFifo.LATENCY
    if valid_p == ready_p == 1 and depth > 2:
        assert outs[0] - ins[0] == BeatFifo.LATENCY
        assert outs == list(range(outs[0], outs[0] + 100))


def test_beat_fifo_offers_without_ready():
    assert_valid_without_ready(BeatFifo(width=8, depth=4), 3, within=BeatFifo.LATENCY)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("fmt", "opcode"), [
    (DMA_ND, Opcode.DMA_STORE), (DMA_ND, Opcode.DMA_STORE_ND), (CONV, Opcode.GEMM),
    (CONV, Opcode.CONV)], ids=["short", "long", "gemm", "conv"])
def test_queue_latency_and_contents(config, fmt, opcode):
    dut = EngineQueue(config, fmt)
    rng = random.Random(opcode.name)
    sent = [encode(opcode, tag=rng.getrandbits(32), rows=rng.randrange(1, 1 << 16))
            for _ in range(6)]
    beats = [slot >> config.bus_width * n & ((1 << config.bus_width) - 1)
             for slots in sent for slot in slots for n in range(config.slot_beats)]
    per_command = len(sent[0]) * config.slot_beats
    mask = (1 << 512 * len(sent[0])) - 1
    words = [sum(slot << 512 * n for n, slot in enumerate(slots)) for slots in sent]
    seen, cycle, entered = [], 0, []

    async def count(ctx):
        nonlocal cycle
        async for _ in ctx.tick():
            cycle += 1
            assert cycle < 2000

    async def source(ctx):
        for n, beat in enumerate(beats):
            ctx.set(dut.i.p.data, beat)
            ctx.set(dut.i.p.last, n % per_command == per_command - 1)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            entered.append(cycle)
        ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        ctx.set(dut.o.ready, 1)
        while len(seen) < len(words):
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload.as_value())
            if valid:
                assert payload & mask == words[len(seen)]
                seen.append(cycle)

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(count, background=True)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    sim.run()
    assert seen[0] - entered[per_command - 1] == dut.latency
    assert {b - a for a, b in pairwise(seen[1:])} == {per_command + 2}


def test_queue_of_mixed_lengths():
    """Short and long commands in any order, each in its place."""
    dut = EngineQueue(TINY, DMA_ND)
    rng = random.Random(5)
    sent = [encode(rng.choice((Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND)), tag=rng.getrandbits(32),
                   rows=rng.randrange(1, 1 << 16), progress_value=rng.getrandbits(32))
            for _ in range(12)]
    for slots in sent:
        slots[1:] = [rng.getrandbits(512) for _ in slots[1:]]

    async def source(ctx):
        for slots in sent:
            for k, slot in enumerate(slots):
                for n in range(TINY.slot_beats):
                    ctx.set(dut.i.p.data, slot >> 32 * n & 0xFFFF_FFFF)
                    ctx.set(dut.i.p.last, (k, n) == (len(slots) - 1, TINY.slot_beats - 1))
                    ctx.set(dut.i.valid, rng.random() < 0.8)
                    while not ctx.get(dut.i.valid):
                        await ctx.tick()
                        ctx.set(dut.i.valid, 1)
                    await ctx.tick().until(dut.i.ready)
                    ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        received = 0
        for _ in range(4000):
            ctx.set(dut.o.ready, rng.random() < 0.3)
            _, _, valid, payload, ready = await ctx.tick().sample(
                dut.o.valid, dut.o.payload.as_value(), dut.o.ready)
            if valid and ready:
                for n, slot in enumerate(sent[received]):
                    assert payload >> 512 * n & ((1 << 512) - 1) == slot, (received, n)
                received += 1
                if received == len(sent):
                    return
        raise AssertionError(f"{received} commands")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(source, background=True)
    sim.add_testbench(sink)
    sim.run()


def test_queue_does_not_offer_when_halted():
    dut = EngineQueue(TINY, DMA_ND)

    async def testbench(ctx):
        ctx.set(dut.halt, 1)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.p.data, 0)
        ctx.set(dut.i.p.last, 1)
        for _ in range(TINY.slot_beats + 20):
            await ctx.tick()
            assert not ctx.get(dut.o.valid)
        ctx.set(dut.halt, 0)
        await ctx.tick()
        assert ctx.get(dut.o.valid)
        ctx.set(dut.halt, 1)
        for _ in range(5):          # offered stays offered
            await ctx.tick()
            assert ctx.get(dut.o.valid)

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(testbench)
    sim.run()


@pytest.mark.parametrize("width", [20, 32])
def test_semaphores_against_integers(width):
    """Random additions from all sources; every view agrees with an exact model each cycle."""
    config = dataclasses.replace(TINY, semaphore_width=width)
    dut = Semaphores(config, sources=4, views=3)
    rng = random.Random(width)
    modulus = 1 << width
    values = [0] * config.semaphores
    taken = [0] * 4

    async def testbench(ctx):
        offers = [None] * 4
        looks = [(0, 0)] * 3
        expected = [None] * 3
        pipeline = None
        for cycle in range(1500):
            for n in range(4):
                if offers[n] is None and rng.random() < 0.6:
                    offers[n] = (rng.randrange(config.semaphores), rng.getrandbits(16))
                    ctx.set(dut.add[n].payload, {"semaphore": offers[n][0],
                                                 "amount": offers[n][1]})
                ctx.set(dut.add[n].valid, offers[n] is not None)
            for n in range(3):
                number = rng.randrange(config.semaphores)
                near = values[number] + rng.choice((-1, 0, 1, modulus // 2 - 1, modulus // 2))
                looks[n] = (number, near % modulus)
                ctx.set(dut.view[n].semaphore, number)
                ctx.set(dut.view[n].threshold, looks[n][1])
            _, _, *ready = await ctx.tick().sample(*(one.ready for one in dut.add))
            if cycle < config.semaphores:
                assert not any(ready), "cleared too early"
            grants = [n for n in range(4) if ready[n] and offers[n] is not None]
            assert len(grants) == (any(offer is not None for offer in offers)
                                   and cycle >= config.semaphores)
            # ``values`` are those in memory during the cycle that has just ended
            for n, (number, threshold) in enumerate(looks):
                expected[n] = number == 0 or (cycle >= config.semaphores
                                              and (values[number] - threshold) % modulus
                                              < modulus // 2)
                assert ctx.get(dut.view[n].reached) == expected[n], (cycle, number, threshold)
            if pipeline is not None and pipeline[0]:
                values[pipeline[0]] = (values[pipeline[0]] + pipeline[1]) % modulus
            pipeline = None
            for n in grants:
                pipeline, offers[n] = offers[n], None
                taken[n] += 1
        for n in range(4):
            ctx.set(dut.add[n].valid, 0)
        await ctx.tick()
        if pipeline is not None and pipeline[0]:
            values[pipeline[0]] = (values[pipeline[0]] + pipeline[1]) % modulus
        for number in range(config.semaphores):
            ctx.set(dut.bus.addr, 0x800 + 4 * number)
            ctx.set(dut.bus.r_en, 1)
            await ctx.tick()
            assert ctx.get(dut.bus.r_data) == values[number]
        ctx.set(dut.bus.addr, 0x400)
        await ctx.tick()
        assert ctx.get(dut.bus.r_data) == 0

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(testbench)
    sim.run()
    assert max(taken) - min(taken) < 60, "the sources do not take turns"


@pytest.mark.parametrize(("log2_slots", "base"), [(1, 0x40), (3, 0xF40), (7, 0x3_FFFF_FE80),
                                                  (16, 0x1000)])
@pytest.mark.parametrize("config", [TINY, get_config("slice")], ids=["tiny", "slice"])
def test_fetcher_bursts(config, log2_slots, base):
    """All slots in order; no burst wraps, crosses 4 KiB or asks for more than there is room."""
    dut = RingFetcher(config)
    rng = random.Random(log2_slots)
    memory = FetchMemory(dut.bus, config.bus_width, rng, latency=(1, 9), ready_p=0.7)
    slots, total = 1 << log2_slots, 40
    for n in range(min(slots, total)):
        memory.contents[base + 64 * n] = rng.getrandbits(512)
    expected = [memory.contents[base + 64 * (n % slots)] >> config.bus_width * k
                & ((1 << config.bus_width) - 1)
                for n in range(total) for k in range(config.slot_beats)]
    seen, tail, held = [], 0, 0

    async def host(ctx):
        nonlocal tail
        ctx.set(dut.windows, OPEN)
        ctx.set(dut.base, base >> 6)
        ctx.set(dut.mask, slots - 1)
        while tail < total:
            done = len(seen) // config.slot_beats
            tail = min(total, done + slots - 1, tail + rng.randint(0, 20))
            ctx.set(dut.tail, tail % slots)
            for _ in range(rng.randint(1, 60)):
                await ctx.tick()

    async def consumer(ctx):
        nonlocal held
        ctx.set(dut.beats.ready, 1)
        for _ in range(6000):
            done = held >= config.slot_beats and rng.random() < 0.2
            ctx.set(dut.slot_done, done)
            held -= config.slot_beats * done
            _, _, valid, payload = await ctx.tick().sample(dut.beats.valid, dut.beats.payload)
            if valid:
                seen.append(payload)
                held += 1
            assert held <= config.fetch_slots * config.slot_beats, "more than there is room"
            if len(seen) == len(expected) and ctx.get(dut.quiet):
                return
        raise AssertionError(f"{len(seen)} of {len(expected)} beats")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(memory.run, background=True)
    sim.add_testbench(host)
    sim.add_testbench(consumer)
    sim.run()
    assert seen == expected
    end = base + 64 * slots
    assert all(base <= address and address + beats * config.bus_bytes <= end
               for address, beats in memory.bursts)
    if slots > 8:
        assert max(beats for _, beats in memory.bursts) > config.slot_beats
