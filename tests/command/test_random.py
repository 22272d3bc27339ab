"""Random command streams with random times against a plain interpreter."""

import dataclasses
import random
from itertools import zip_longest

import pytest

from support.command_rig import CommandRig
from support.command_stream import random_stream
from xpu_rtl.configs import get_config

TINY = get_config("tiny")
NARROW = dataclasses.replace(TINY, semaphore_width=20)


async def play(ctx, rig, streams, *, log2_slots):
    for ring in range(len(streams)):
        await rig.open_ring(ctx, ring, log2_slots=log2_slots)
    chunks = [[slots[n:n + 5] for n in range(0, len(slots), 5)]
              for slots in (stream.encoded() for stream in streams)]
    for step in zip_longest(*chunks, fillvalue=()):     # alternate between the rings
        for ring, commands in enumerate(step):
            await rig.submit(ctx, commands, ring)
    await rig.until_idle(ctx)
    read = rig.registers.read
    totals = {}
    for ring, stream in enumerate(streams):
        stream.check(rig.engines, ring)
        assert await read(ctx, "ring_completed", ring) == stream.last_sequence
        assert await read(ctx, "ring_issued", ring) == len(stream.commands)
        assert await read(ctx, "ring_head", ring) == rig.tails[ring]
        assert (await read(ctx, "ring_fault", ring))["cause"] == 0
        totals |= stream.totals
    for number in range(rig.config.semaphores):
        expected = totals.get(number, 0) % (1 << rig.config.semaphore_width)
        assert await read(ctx, "semaphore", number) == expected
    cycles, engines = await rig.counters(ctx)
    assert cycles == rig.active_cycles
    assert all(sum(categories) == cycles for categories in engines)


@pytest.mark.parametrize(("seed", "config", "latency", "memory"), [
    (0, TINY, (1, 30), {"latency": (1, 8)}),
    (1, TINY, (1, 3), {"latency": (40, 60), "ready_p": 0.3, "valid_p": 0.6}),
    (2, NARROW, (1, 60), {"latency": (1, 3)}),
    (3, dataclasses.replace(NARROW, lanes=16, sm_bytes=64 * 1024), (1, 5), {"valid_p": 0.8}),
    (4, dataclasses.replace(NARROW, lanes=64, acc_rows=64, sm_bytes=64 * 1024), (1, 5), {}),
], ids=lambda value: str(value) if isinstance(value, int) else None)
def test_against_the_interpreter(seed, config, latency, memory):
    rng = random.Random(seed)
    stream = random_stream(rng, config, 60)

    async def host(ctx, rig):
        await play(ctx, rig, [stream], log2_slots=4)

    CommandRig(config, seed=seed, latency=latency, accept_p=rng.choice((1.0, 0.4)),
               memory=memory).run(host)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_rings(seed):
    config = dataclasses.replace(TINY, rings=2)
    rng = random.Random(seed)
    streams = [random_stream(rng, config, 30, semaphores=range(1, 8)),
               random_stream(rng, config, 30, semaphores=range(8, 16))]

    async def host(ctx, rig):
        await play(ctx, rig, streams, log2_slots=4)

    CommandRig(config, seed=seed, latency=(1, 20)).run(host)
