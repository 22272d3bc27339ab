"""DeepFifo against a queue: order, room, latency and throughput at every level."""

import random
from collections import deque

import pytest
from amaranth.lib import data
from amaranth.sim import Simulator

from support.streams import assert_valid_without_ready, run_stream
from xpu_rtl.common.deep_fifo import DeepFifo

DEPTHS = [2, 3, 4, 5, 8, 9, 16, 17, 100, 128, 256]


def drive(dut, depth, moments, *, width=16):
    """Apply ``(offer, accept)`` per cycle; compare every output of every cycle with a queue.

    Returns the levels reached.
    """
    levels = set()

    async def bench(ctx):
        held, number = deque(), 1
        offered = False
        for cycle, (offer, accept) in enumerate(moments):
            if not offered and offer:
                ctx.set(dut.i.payload, number * 40503 % (1 << width))
            offered = offered or bool(offer)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.o.ready, accept)
            where = f"cycle {cycle}"
            assert ctx.get(dut.o.valid) == (len(held) > 0), where
            assert ctx.get(dut.i.ready) == (len(held) < depth), where
            assert ctx.get(dut.level) == len(held), where
            levels.add(len(held))
            if held:
                assert ctx.get(dut.o.payload) == held[0] * 40503 % (1 << width), where
            room = len(held) < depth
            if held and accept:
                held.popleft()
            if offered and room:
                held.append(number)
                number += 1
                offered = False
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    return levels


@pytest.mark.parametrize("depth", DEPTHS)
def test_fill_and_drain(depth):
    """To the brim, some cycles at each end, and through again: the pointers wrap."""
    up, down, hold = [(1, 0)] * (depth + 3), [(0, 1)] * (depth + 3), [(0, 0)] * 3
    levels = drive(DeepFifo(16, depth), depth, (up + hold + down + hold) * 3)
    assert levels == set(range(depth + 1))


@pytest.mark.parametrize("depth", [4, 17, 64])
def test_full_rate_at_every_level(depth):
    """At a constant level below full a payload enters and one leaves in every cycle."""
    moments = []
    for _ in range(depth - 1):
        moments += [(1, 0)] + [(1, 1)] * (depth + 5)
    assert max(drive(DeepFifo(16, depth), depth, moments)) == depth - 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("depth", [2, 3, 4, 5, 16, 33])
def test_random_stalls(depth, seed):
    """The chances of either side change now and then, so that all levels are met."""
    rng = random.Random(f"{depth}-{seed}")
    moments = []
    for _ in range(60):
        offer_p, accept_p = rng.choice([0, 0.3, 0.7, 1]), rng.choice([0, 0.3, 0.7, 1])
        moments += [(rng.random() < offer_p, rng.random() < accept_p)
                    for _ in range(rng.randrange(1, 2 * depth + 10))]
    assert drive(DeepFifo(16, depth), depth, moments) == set(range(depth + 1))


@pytest.mark.parametrize("depth", [2, 3, 100])
def test_latency_and_throughput(depth):
    beats = list(range(300))
    outputs, ins, outs = run_stream(DeepFifo(16, depth), beats, expected=300)
    assert outputs == beats
    assert [o - i for i, o in zip(ins, outs, strict=True)] == [DeepFifo.LATENCY] * 300
    assert outs[-1] - outs[0] == 299


def test_layouts_pass():
    layout = data.StructLayout({"a": 3, "b": 9})
    beats = [{"a": n % 8, "b": 300 - n} for n in range(50)]
    outputs, _, _ = run_stream(DeepFifo(layout, 8), beats, expected=50, valid_p=0.7, ready_p=0.5)
    assert [{"a": o.a, "b": o.b} for o in outputs] == beats


def test_valid_does_not_wait_for_ready():
    assert_valid_without_ready(DeepFifo(8, 16), 5, within=DeepFifo.LATENCY)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("depth", [0, 1, 2.0])
def test_refuses_depth(depth):
    with pytest.raises(ValueError, match="depth must be at least 2"):
        DeepFifo(8, depth)
