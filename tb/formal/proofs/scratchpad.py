"""``Scratchpad``: ports, arbiter, crossbar and memories together are one memory."""

from itertools import permutations

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.properties import at_most_one
from formal.sizes import small_config
from formal.watch import follow

__all__ = ["PROOFS"]

BANKS = "xpu_rtl.scratchpad.banks"
PORTS = "xpu_rtl.scratchpad.scratchpad"


def scratchpad(banks):
    from amaranth import Cat, Mux, Signal
    from amaranth.lib import data

    from xpu_rtl.scratchpad.banks import BankAccess
    from xpu_rtl.scratchpad.requesters import Requester
    from xpu_rtl.scratchpad.scratchpad import Scratchpad

    config = small_config(sm_banks=banks, sm_bytes=64 * banks)
    whom = (Requester("reader", reads=True, writes=False, priority=True),
            Requester("writer", reads=False, writes=True),
            Requester("both", reads=True, writes=True))
    count, shift = len(whom), config.bank_width
    b = Bench(reset=False)
    m = b.m
    dut = Scratchpad(config, whom)
    inside = b.add("dut", dut)
    grants = Cat(inside[f"{who.name}_slots/granted"] for who in whom)

    def place(address):
        """Bank and row, by the documented rule: the sum of the digits, and what is above one."""
        digits = [address[low:low + shift] for low in range(0, len(address), shift)]
        return sum(digits, 0) % banks, address >> shift

    # One byte of the solver's choice, as the accesses granted leave it.
    address = b.constant("address", config.sm_addr_width)
    lane = b.constant("lane", range(config.word_bytes))
    bank, row = Signal(range(banks)), Signal(range(config.bank_rows))
    byte = Signal(8)
    m.d.comb += [bank.eq(place(address)[0]), row.eq(place(address)[1])]

    s1 = []
    for i, who in enumerate(whom):
        used = {"bank", "row"} | ({"strobe", "data"} if who.writes else set())
        used |= {"write"} if who.reads and who.writes else set()
        layout = data.StructLayout(
            {name: field.shape for name, field in BankAccess(config) if name in used})
        slots = f"{who.name}_slots"
        head, spare = (inside.view(f"{slots}/{name}", layout) for name in ("head", "spare"))
        valid, spare_valid = inside[f"{slots}/valid"], inside[f"{slots}/spare_valid"]
        access = inside.view(f"banks/s1_access_{i}", BankAccess(config))
        chosen = inside[f"banks/s1_chosen_{i}"]
        s1.append((access, chosen, who))

        def writes(slot, who=who):
            return slot.write if who.reads and who.writes else int(who.writes)

        with m.If(grants[i] & (head.bank == bank) & (head.row == row) & writes(head)):
            if who.writes:
                with m.If(head.strobe.bit_select(lane, 1)):
                    m.d.sync += byte.eq(head.data.word_select(lane, 8))
        b.invariant(~grants[i] | valid)
        b.invariant(~spare_valid | valid)

        # An access of the port, followed from its acceptance to its response.
        port = dut.ports[i]
        s1_valid, s2_valid, s3_valid = (Signal(name=f"s{n}_valid_{i}") for n in (1, 2, 3))
        m.d.sync += [s1_valid.eq(grants[i]), s2_valid.eq(s1_valid), s3_valid.eq(s2_valid)]
        done = port.rsp.valid
        b.invariant(done == s3_valid)
        want = data.StructLayout({"address": config.sm_addr_width, "write": 1, "strobe": 1,
                                  "byte": 8})
        asked = Signal(want, name=f"asked_{i}")
        request = port.req.p
        m.d.comb += [
            asked.address.eq(request.address),
            asked.write.eq(request.write if who.reads and who.writes else int(who.writes)),
            asked.strobe.eq(request.strobe.bit_select(lane, 1)),
            asked.byte.eq(request.data.word_select(lane, 8)),
        ]
        queue = follow(b, f"queue_{i}", put=port.req.valid & port.req.ready,
                       put_data=asked.as_value(), get=done, width=want.size,
                       capacity=Scratchpad.SLOTS + Scratchpad.LATENCY - 1)
        wanted = data.View(want, queue.data)
        flying = Signal(range(4), name=f"flying_{i}")       # granted, not answered
        m.d.comb += flying.eq(s1_valid + s2_valid + done)
        b.invariant(queue.count == valid + spare_valid + flying)
        b.invariant(port.waiting == (valid & ~grants[i]))
        b.invariant(port.req.ready == ~spare_valid)

        performed = Signal(3, name=f"performed_{i}")        # the followed one, 1, 2, 3 cycles ago
        waits, now = Signal(name=f"waits_{i}"), Signal(name=f"now_{i}")
        m.d.comb += [waits.eq(queue.followed & ~performed.any()),
                     now.eq(waits & (queue.ahead == flying) & grants[i])]
        m.d.sync += performed.eq(Cat(now, performed[:2]))
        b.invariant(at_most_one(performed))
        b.invariant(~performed.any() | queue.followed)
        b.invariant(~waits | (queue.ahead >= flying))
        for slot, ahead in ((head, flying), (spare, flying + 1)):
            wanted_bank, wanted_row = place(wanted.address)
            same = (slot.bank == wanted_bank) & (slot.row == wanted_row)
            if who.writes:
                same &= ((slot.strobe.bit_select(lane, 1) == wanted.strobe)
                         & (slot.data.word_select(lane, 8) == wanted.byte))
            if who.reads and who.writes:
                same &= slot.write == wanted.write
            b.invariant(~(waits & (queue.ahead == ahead)) | same)
        b.invariant(~performed[0] | (s1_valid & (queue.ahead == s2_valid + done)))
        b.invariant(~performed[1] | (s2_valid & (queue.ahead == done)))
        b.invariant(~performed[2] | (done & (queue.ahead == 0)))
        b.invariant(s1_valid == chosen.any())

        # A read returns the byte as it was at its grant, a write has then changed it.
        if who.reads:
            result = Signal(8, name=f"result_{i}")
            with m.If(now):
                m.d.sync += result.eq(byte)
            reads = Signal(name=f"reads_{i}")
            m.d.comb += reads.eq((wanted.address == address) & ~wanted.write)
            b.invariant(~(performed[2] & reads)
                        | (port.rsp.payload.word_select(lane, 8) == result))
            stored = Signal(config.word_width, name=f"stored_{i}")
            for n in range(banks):
                with m.If(bank == n):
                    m.d.comb += stored.eq(inside[f"banks/bank_{n}/r_data"])
            b.invariant(~(performed[0] & reads) | (
                chosen.bit_select(bank, 1) & (access.row == row) & (access.bank == bank)
                & (result == byte) & (access.write == 0)))
            b.invariant(~(performed[1] & reads) | (
                (stored.word_select(lane, 8) == result) & (inside[f"banks/s2_bank_{i}"] == bank)))
        if not (who.reads and who.writes):
            b.invariant(~s1_valid | (access.write == int(who.writes)))
        b.invariant(at_most_one(chosen))
        b.invariant(~queue.followed | (wanted.write == int(who.writes))
                    | (who.reads and who.writes))

    # The memories, and the writes on their way into them.
    word, pending, pending_byte = (Signal(config.word_width), Signal(), Signal(8))
    for n in range(banks):
        value, drive = inside.memory(f"banks/bank_{n}/memory", row)
        m.d.comb += drive
        with m.If(bank == n):
            m.d.comb += word.eq(value)
        b.invariant(at_most_one(Cat(chosen[n] for _, chosen, _ in s1)))
    for access, chosen, who in s1:
        if who.writes:
            with m.If(chosen.bit_select(bank, 1) & (access.row == row) & access.write
                      & access.strobe.bit_select(lane, 1)):
                m.d.comb += [pending.eq(1), pending_byte.eq(access.data.word_select(lane, 8))]
    b.invariant(byte == Mux(pending, pending_byte, word.word_select(lane, 8)))

    # The order of the last grants is total (see `bank_arbiter`).
    later = {(i, j): inside[f"arbiter/later_{i}_{j}"] for i in range(count)
             for j in range(i + 1, count)}
    later |= {(j, i): ~value for (i, j), value in later.items()}
    for i, j, k in permutations(range(count), 3):
        b.invariant(~(later[i, j] & later[j, k]) | later[i, k])
    return b


MUTANTS = (
    Mutant("strobe ignored", Edit(BANKS, 'sram.w_strobe.eq(merge(bank, "strobe", writers))',
                                  "sram.w_strobe.eq(-1)")),
    Mutant("word of another bank", Edit(BANKS, "with m.Case(bank):",
                                        "with m.Case(bank ^ (i == 2)):")),
    Mutant("answers exchanged", Edit(BANKS, "self.done.eq(s2_valid)",
                                     "self.done.eq(s2_valid.rotate_left(1))")),
    Mutant("row of the sum", Edit(PORTS, "offered.row.eq(req.payload.address >> config.bank_width)",
                                  "offered.row.eq(req.payload.address)")),
    Mutant("spare overwritten", Edit(PORTS, "m.Elif(req.valid & ~spare_valid)",
                                     "m.Elif(req.valid)")),
    Mutant("access twice", Edit(PORTS, "slots.granted.eq(arbiter.grant[i])",
                                "slots.granted.eq(arbiter.grant[i] & ~port.rsp.valid)")),
    Mutant("two at a bank", Edit("xpu_rtl.scratchpad.arbiter", "blocked[i].append(clash & yields)",
                                 "blocked[i].append(clash & yields & ~later)")),
)

PROOFS = tuple(
    Proof(name=f"scratchpad_{banks}", build="scratchpad", arguments={"banks": banks},
          claim=("Each access has one response, on its port, in order; a read returns what the"
                 " writes granted before it left, byte by byte; no other word changes; one access"
                 " per bank and cycle."),
          assumes="No reset after the start.",
          depth=3,     # the valid flags of the banks' stages have no names
          mutants=mutants, slow=banks > 2)
    for banks, mutants in ((2, MUTANTS), (4, ())))
