"""``Semaphores``: no addition is lost, whoever else adds."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.properties import at_most_one, count_ones

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.command.semaphores"


def semaphores(sources):
    from amaranth import Cat, Mux, Signal

    from xpu_rtl.command.semaphores import Semaphores
    from xpu_rtl.params import XpuConfig

    config = XpuConfig(name="formal", lanes=4, acc_rows=4, epilogue_lanes=4, sm_banks=2,
                       sm_bytes=128, semaphores=4, semaphore_width=20)
    width, bits = config.semaphore_width, config.semaphore_bits
    b = Bench()
    m = b.m
    dut = Semaphores(config, sources=sources, views=1)
    inside = b.add("dut", dut)

    takes = Signal(sources)
    m.d.comb += takes.eq(Cat(add.valid & add.ready for add in dut.add))
    b.invariant(at_most_one(takes))
    for add in dut.add:
        b.assume(add.p.semaphore < config.semaphores)
    clearing, clear = inside["clearing"], inside["clear"]
    b.invariant(~clearing | ~takes.any())
    b.invariant(clearing | takes.any() | ~Cat(add.valid for add in dut.add).any())
    # Clearing ends: its counter never stops.
    cleared = Signal(bits)
    m.d.sync += cleared.eq(cleared + clearing)
    b.invariant(~clearing | (clear == cleared))

    # The sum of all additions to one number, of the solver's choice.
    number = b.constant("number", bits)
    total = Signal(width)
    for n, add in enumerate(dut.add):
        with m.If(takes[n] & (add.p.semaphore == number) & (number != 0)):
            m.d.sync += total.eq(total + add.p.amount)
    value, drive = inside.memory("memory", number)
    s1_valid, s1_number, s1_amount = (inside[name] for name in
                                      ("s1_valid", "s1_number", "s1_amount"))
    pending = Signal(16)
    m.d.comb += [drive, pending.eq(Mux(s1_valid & (s1_number == number), s1_amount, 0))]
    b.invariant(~clearing | ~s1_valid)
    b.invariant(~s1_valid | (s1_number != 0))
    b.invariant(clearing | ((value + pending)[:width] == total))
    b.invariant(~clearing | (total == 0))
    b.invariant(~clearing | (clear <= number) | (value == 0))
    # Two cycles after an addition the counter has it; a waiter sees it in the third.
    settled = Signal()
    m.d.sync += settled.eq(~takes.any())
    b.invariant(clearing | ~settled | (value == total))
    view = dut.view[0]
    b.assume(view.semaphore < config.semaphores)
    difference = Signal(width)
    seen, looked, of_number, of_none = (Signal(name=name) for name in
                                        ("seen", "looked", "of_number", "of_none"))
    m.d.comb += difference.eq(value - view.threshold)
    m.d.sync += [seen.eq(~difference[-1] & ~clearing), looked.eq(1),
                 of_number.eq(view.semaphore == number), of_none.eq(view.semaphore == 0)]
    b.invariant(~(looked & of_number & ~of_none) | (view.reached == seen))
    b.invariant(~(looked & of_none) | view.reached)

    # Turns: a source waits for each other one at most once.
    mask = inside["mask"]
    b.invariant(Cat(~mask[n] | mask[n + 1] for n in range(sources - 1)).all())
    for n, add in enumerate(dut.add):
        waited = Signal(range(sources + 1), name=f"waited_{n}")
        with m.If(takes[n] | ~add.valid):
            m.d.sync += waited.eq(0)
        with m.Elif(takes.any()):
            m.d.sync += waited.eq(waited + 1)
        before = Mux(mask[n], count_ones(mask[:n]), count_ones(mask) + n)
        b.invariant(waited <= sources - 1)
        b.invariant(waited + before <= sources - 1)
    return b


PROOFS = (
    Proof(
        name="semaphores", build="semaphores", arguments={"sources": 4},
        claim=("After the clearing a counter is the sum of all additions taken to it, two cycles"
               " after the last; at most one is taken per cycle; a source waits for each other one"
               " at most once; `reached` is right."),
        assumes="Numbers of the configuration only.",
        mutants=(
            Mutant("adjacent additions collide", Edit(
                MODULE, "write.data.eq(old.data + s1_amount)",
                "write.data.eq(old.data + Mux(grant.any(), 0, s1_amount))")),
            Mutant("two grants", Edit(MODULE, "eligible[n] & ~eligible[:n].any()",
                                      "eligible[n] & ~eligible[:n][:2].any()")),
            Mutant("amount cut", Edit(MODULE, "s1_amount = Signal(16", "s1_amount = Signal(15")),
            Mutant("no turns", Edit(MODULE, "m.d.sync += mask.eq(above)",
                                    "m.d.sync += mask.eq(0)")),
            Mutant("reached while cleared", Edit(MODULE, "(~difference[-1] & ~clearing)",
                                                 "~difference[-1]")),
        )),
)
