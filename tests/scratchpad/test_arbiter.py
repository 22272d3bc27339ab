"""The ranking of requesters, against a sorted list."""

import random

import pytest
from amaranth.sim import Simulator

from xpu_rtl.configs import get_config
from xpu_rtl.scratchpad.arbiter import AGE_LIMIT, BankArbiter, max_wait
from xpu_rtl.scratchpad.requesters import REQUESTERS, Requester

TINY = get_config("tiny")
MOST = tuple(Requester(f"r{i}", reads=True, writes=True, priority=i in (2, 9, 10))
             for i in range(BankArbiter.MAX_REQUESTERS))
TWO_PRIORITIES = (
    Requester("a", reads=True, writes=False, priority=True),
    Requester("b", reads=True, writes=True),
    Requester("c", reads=True, writes=True, priority=True),
    Requester("d", reads=True, writes=True),
    Requester("e", reads=False, writes=True),
    Requester("f", reads=False, writes=True),
)


class Ranking:
    """Golden model: who has waited how long, and who was granted least recently."""

    def __init__(self, requesters):
        self.priority = [who.priority for who in requesters]
        self.waited = [0] * len(requesters)
        self.order = list(range(len(requesters)))  # least recently granted first

    def step(self, wants):
        """``wants[i]`` is a bank or None; returns the set granted."""
        def rank(i):
            aged = self.waited[i] >= AGE_LIMIT
            return (aged, aged or self.priority[i], -self.order.index(i))

        granted = set()
        for bank in {bank for bank in wants if bank is not None}:
            granted.add(max((i for i, b in enumerate(wants) if b == bank), key=rank))
        for i, bank in enumerate(wants):
            self.waited[i] = 0 if i in granted else self.waited[i] + (bank is not None)
        self.order = ([i for i in self.order if i not in granted]
                      + [i for i in self.order if i in granted])
        return granted


@pytest.mark.parametrize("requesters", [REQUESTERS, TWO_PRIORITIES, MOST, REQUESTERS[:1]],
                         ids=["cluster", "two_priorities", "most", "single"])
@pytest.mark.parametrize(("banks", "ask"), [(1, 1.0), (1, 0.7), (2, 0.9), (4, 0.9), (4, 0.3)])
def test_matches_ranking(requesters, banks, ask):
    dut = BankArbiter(TINY, requesters)
    rng = random.Random(f"{banks} {ask}")
    model = Ranking(requesters)
    longest = [0] * len(requesters)

    async def bench(ctx):
        wants = [None] * len(requesters)
        for cycle in range(400):
            for i, bank in enumerate(wants):
                if bank is None and rng.random() < ask:
                    wants[i] = rng.randrange(banks)
                    ctx.set(dut.bank[i], wants[i])
            ctx.set(dut.valid, sum((bank is not None) << i for i, bank in enumerate(wants)))
            _, _, grant, refused = await ctx.tick().sample(dut.grant, dut.refused)
            granted = model.step(wants)
            assert grant == sum(1 << i for i in granted), f"cycle {cycle}: {wants}"
            assert refused == sum(1 << i for i, bank in enumerate(wants)
                                  if bank is not None and i not in granted)
            for i in granted:
                wants[i] = None
            longest[:] = [max(a, b) for a, b in zip(longest, model.waited, strict=True)]

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    assert max(longest) <= max_wait(len(requesters))
    if banks == 1 and ask == 1.0 and len(requesters) > 1:
        assert max(longest) > AGE_LIMIT  # ageing was exercised, together with its tie


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refused_parameters():
    with pytest.raises(ValueError, match="requesters"):
        BankArbiter(TINY, ())
    with pytest.raises(ValueError, match="requesters"):
        BankArbiter(TINY, (*MOST, Requester("another", reads=True, writes=True)))
    with pytest.raises(ValueError, match="name"):
        Requester("not a name", reads=True, writes=True)
    with pytest.raises(ValueError, match="idle"):
        Requester("idle", reads=False, writes=False)
