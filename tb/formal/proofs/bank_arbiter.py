"""``BankArbiter``: who gets a bank, and for how long nobody does without."""

from itertools import combinations, permutations

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.properties import at_most_one, count_ones

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.scratchpad.arbiter"


def bank_arbiter(count, priority):
    from amaranth import Cat, Mux, Signal

    from xpu_rtl.params import XpuConfig
    from xpu_rtl.scratchpad.arbiter import AGE_LIMIT, BankArbiter, max_wait
    from xpu_rtl.scratchpad.requesters import Requester

    config = XpuConfig(name="formal", lanes=4, acc_rows=4, epilogue_lanes=4, sm_banks=2,
                       sm_bytes=128)
    requesters = [Requester(f"r{i}", reads=True, writes=True, priority=priority and i == 0)
                  for i in range(count)]
    b = Bench()
    m = b.m
    dut = BankArbiter(config, requesters)
    inside = b.add("dut", dut)

    # Once asked for, a bank is asked for until granted.
    for i in range(count):
        asked = Signal(name=f"asked_{i}")
        asked_bank = Signal(config.bank_width, name=f"asked_bank_{i}")
        m.d.sync += [asked.eq(dut.refused[i]), asked_bank.eq(dut.bank[i])]
        b.assume(~asked | (dut.valid[i] & (dut.bank[i] == asked_bank)))
        b.invariant(asked | (inside[f"age_{i}"] == 0))

    for bank in range(config.sm_banks):
        asks = Cat(dut.valid[i] & (dut.bank[i] == bank) for i in range(count))
        gets = Cat(dut.grant[i] & (dut.bank[i] == bank) for i in range(count))
        b.invariant(at_most_one(gets))
        b.invariant(gets.any() == asks.any())
    b.invariant((dut.grant & ~dut.valid) == 0)
    b.invariant(dut.refused == (dut.valid & ~dut.grant))
    if priority:
        # The priority port yields only to one that has waited long.
        aged = Cat(inside[f"age_{j}"] >= AGE_LIMIT for j in range(1, count))
        b.invariant(~dut.refused[0] | (aged & dut.grant[1:]).any())

    # Counted by the bench, not by the block: refusals in a row.
    for i in range(count):
        waited = Signal(range(max_wait(count) + 2), name=f"waited_{i}")
        m.d.sync += waited.eq(Mux(dut.refused[i], waited + 1, 0))
        b.invariant(waited == inside[f"age_{i}"])
        b.invariant((waited != max_wait(count)) | ~dut.refused[i])
        b.invariant(waited <= max_wait(count))

    # The order of the last grants is total. `later[i][j]`: i was granted later than j.
    later = [[None] * count for _ in range(count)]
    for i, j in combinations(range(count), 2):
        later[i][j] = inside[f"later_{i}_{j}"]
        later[j][i] = ~later[i][j]
    for i, j, k in permutations(range(count), 3):
        b.invariant(~(later[i][j] & later[j][k]) | later[i][k])
    ages = [inside[f"age_{i}"] for i in range(count)]
    plain = range(1, count) if priority else range(count)
    for i in plain:     # every refusal of an aged access uses up one that precedes it
        before = [later[i][j] for j in plain if j != i]
        b.invariant((ages[i] < AGE_LIMIT)
                    | (ages[i] - AGE_LIMIT + count_ones(before) <= len(before)))
    if priority:        # its refusals are by different ones, which have hardly aged since
        for age in range(1, count):
            for recent in range(age):
                young = count_ones([ages[j] <= recent for j in plain])
                b.invariant((ages[0] != age) | (young >= recent + 1))
        b.invariant(ages[0] < count)
    return b


SMALL = Edit(MODULE, "AGE_LIMIT = 32", "AGE_LIMIT = 8")
CLAIM = ("Each bank asked for is granted to exactly one that asks for it, nobody else is granted;"
         " an access is refused at most max_wait times.")

PROOFS = tuple(
    Proof(name=f"bank_arbiter_{count}{'_priority' if priority else ''}", build="bank_arbiter",
          arguments={"count": count, "priority": priority}, claim=CLAIM, edits=(SMALL,),
          assumes="An access stays, with its bank, until granted.", mutants=mutants,
          mutant_depth=20)
    for count, priority, mutants in (
        (3, False, (
            Mutant("grants two", Edit(MODULE, "blocked[j].append(clash & ~yields)",
                                      "blocked[j].append(clash & ~yields & aged[i])")),
            Mutant("order forgotten", Edit(MODULE, "m.d.sync += later.eq(self.grant[i])",
                                           "m.d.sync += later.eq(self.grant[i] & later)")),
            Mutant("age kept", Edit(MODULE, "m.d.sync += age.eq(0)",
                                    "m.d.sync += age.eq(age[:-1])")))),
        (4, True, (
            Mutant("priority for ever", Edit(MODULE, "yields.eq(Mux(aged[i] == aged[j], tie",
                                             "yields.eq(Mux((aged[i] == aged[j]) | (above > 0), tie"
                                             )),)),
        (4, False, ()),
    ))
