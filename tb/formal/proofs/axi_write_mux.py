"""``AxiWriteMux``."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.properties import at_most_one
from formal.watch import assume_stream, follow, number_of, watch_stream, watch_turns

__all__ = ["PROOFS"]

MODULE = "xpu_rtl.common.axi_write_mux"
WIDTH = 8


def axi_write_mux(managers):
    from amaranth import Cat, Const, Signal, Value

    from xpu_rtl.common.axi_write_mux import AxiWriteMux

    b = Bench()
    m = b.m
    dut = AxiWriteMux(WIDTH, managers)
    inside = b.add("dut", dut)
    axi, own = dut.axi, list(dut.managers)
    aw, w = axi.aw, axi.w
    for n, manager in enumerate(own):
        assume_stream(b, f"aw_{n}", manager.aw)
        assume_stream(b, f"w_{n}", manager.w)
    watch_stream(b, "aw", aw)
    watch_stream(b, "w", w)

    # Addresses: each once, with the number of its manager.
    offered, taken = Signal(managers), Signal(managers)
    m.d.comb += [offered.eq(Cat(manager.aw.valid for manager in own)),
                 taken.eq(offered & Cat(manager.aw.ready for manager in own))]
    b.invariant(at_most_one(taken))
    put = Signal(64 + 8 + 4)
    for n, manager in enumerate(own):
        with m.If(taken[n]):
            m.d.comb += put.eq(Cat(manager.aw.p.addr, manager.aw.p.len, Const(n, 4)))
    passing = follow(b, "passing", put=taken.any(), put_data=put, get=aw.valid & aw.ready,
                     get_data=Cat(aw.p.addr, aw.p.len, aw.p.id), width=len(put), capacity=1)
    b.invariant(aw.valid == passing.count)
    b.invariant(~passing.followed | (passing.data == passing.get_data))
    watch_turns(b, offered=offered, taken=taken, above=inside["above"])

    # Beats: unchanged, of the burst whose turn it is, never before its address.
    sends = Signal(managers)
    m.d.comb += sends.eq(Cat(manager.w.valid & manager.w.ready for manager in own))
    moves, last = Signal(), Signal()
    m.d.comb += [moves.eq(w.valid & w.ready), last.eq(moves & w.p.last)]
    b.invariant(at_most_one(sends))
    b.invariant(sends.any() == moves)
    for n, manager in enumerate(own):
        b.invariant(~sends[n] | (Value.cast(manager.w.payload) == Value.cast(w.payload)))
    bits = max(1, (managers - 1).bit_length())
    order = follow(b, "order", put=taken.any(), put_data=number_of(taken), get=last,
                   get_data=number_of(sends), width=bits, capacity=AxiWriteMux.AHEAD)
    turn = order.followed & (order.ahead == 0)
    b.invariant(~(turn & moves) | (sends == 1 << order.data))
    b.invariant(~w.valid | (order.count != 0))      # its address is taken, and offered at least
    for n, manager in enumerate(own):               # and it does not wait for anything else
        b.invariant(~(turn & (order.data == n)) | ((w.valid == manager.w.valid)
                                                   & (manager.w.ready == w.ready)))
    b.invariant(~order.followed | (order.data < managers))
    # Nothing waits but for a full list or an address not taken.
    b.invariant(taken.any() | ~offered.any() | (aw.valid & ~aw.ready)
                | (order.count == AxiWriteMux.AHEAD))

    level, consume, produce = (inside[f"order/fifo/{name}"] for name in
                               ("level", "consume", "produce"))
    b.invariant(level == order.count)
    b.invariant(produce == (consume + level)[:len(produce)])
    row, drive = inside.memory("order/fifo/storage", (consume + order.ahead)[:len(consume)])
    head, drive_head = inside.memory("order/fifo/storage", consume)
    m.d.comb += [drive, drive_head]
    b.invariant(~order.followed | (row == order.data))
    b.invariant((order.count == 0) | (head < managers))
    for place in range(AxiWriteMux.AHEAD):          # all of the list are numbers of managers
        entry, drive = inside.memory("order/fifo/storage", (consume + place)[:len(consume)])
        m.d.comb += drive
        b.invariant((place >= level) | (entry < managers))

    # Responses.
    for n, manager in enumerate(own):
        b.invariant(manager.b.valid == (axi.b.valid & (axi.b.p.id == n)))
        b.invariant(Value.cast(manager.b.payload) == Value.cast(axi.b.payload))
        b.invariant((axi.b.p.id != n) | (axi.b.ready == manager.b.ready))
    b.invariant((axi.b.p.id < managers) | axi.b.ready)
    return b


PROOFS = (
    Proof(
        name="axi_write_mux", build="axi_write_mux", arguments={"managers": 3},
        claim=("Every address comes out once, unchanged, with its manager's ID, and stays until"
               " taken; beats pass unchanged, burst by burst in the order of the addresses, none"
               " before its address; a manager lets each other one pass once; responses go to the"
               " manager of their ID only."),
        assumes="Managers keep the stream rule.",
        mutants=(
            Mutant("address exchanged", Edit(MODULE, "free.eq((~valid | axi.aw.ready) &",
                                             "free.eq((~valid | axi.aw.ready | axi.w.valid) &")),
            Mutant("bursts mixed", Edit(MODULE, "axi.w.ready & axi.w.p.last)", "axi.w.ready)")),
            Mutant("beat before address", Edit(MODULE, "manager.w.valid & order.o.valid",
                                               "manager.w.valid")),
            Mutant("list overflows", Edit(MODULE, "& order.i.ready)", ")")),
            Mutant("turns forgotten", Edit(MODULE, "above.eq((-2 << n)", "above.eq((-1 << n)")),
        )),
)
