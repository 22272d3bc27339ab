"""``PortShare`` and ``PortMux``: several requesters on one scratchpad port."""

from formal.bench import Bench
from formal.proof import Edit, Mutant, Proof
from formal.properties import at_most_one
from formal.sizes import small_config
from formal.watch import assume_stream, follow, number_of, watch_stream, watch_turns

__all__ = ["PROOFS"]

SHARE = "xpu_rtl.scratchpad.share"
MUX = "xpu_rtl.scratchpad.port_mux"


def _watch(b, inside, port, requesters, owner, outstanding):
    """Responses and ``waiting`` go to whom they belong; ``owner`` offers the access at ``port``.

    The scratchpad grants an access in the first cycle after its acceptance in which it does not say
    ``waiting``, and answers only granted ones.
    """
    from amaranth import Cat, Signal

    m = b.m
    accept = Signal()
    held = Signal(range(outstanding + 1))       # accepted, not granted
    grants = Signal()
    m.d.comb += [accept.eq(port.req.valid & port.req.ready),
                 grants.eq((held != 0) & ~port.waiting)]
    m.d.sync += held.eq(held + accept - grants)
    answered = Cat(requester.rsp.valid for requester in requesters)
    waits = Cat(requester.waiting for requester in requesters)
    width = max(1, (len(requesters) - 1).bit_length())
    owed = follow(b, "owed", put=accept, put_data=owner, get=port.rsp.valid,
                  get_data=number_of(answered), width=width, capacity=outstanding)
    b.assume(~port.rsp.valid | (owed.count > held))
    b.assume(~port.waiting | (held != 0))
    b.invariant(held <= owed.count)

    # The response to the access followed; it may be any.
    first = owed.followed & (owed.ahead == 0)
    b.invariant(~(first & port.rsp.valid) | (answered == 1 << owed.data))
    b.invariant(~answered.any() | port.rsp.valid)
    for n, requester in enumerate(requesters):
        b.invariant(~requester.rsp.valid | (requester.rsp.payload == port.rsp.payload))
        assume_stream(b, f"requester_{n}", requester.req)
    watch_stream(b, "port", port.req)

    # Of `waiting`: the access followed is the oldest not granted.
    oldest = owed.followed & (owed.ahead == owed.count - held)
    b.invariant(~(oldest & port.waiting) | (waits == 1 << owed.data))
    b.invariant(~waits.any() | port.waiting)
    b.invariant(~owed.followed | (owed.data < len(requesters)))

    accepted, granted, gone = (inside[name] for name in ("accepted", "granted", "answered"))
    b.invariant((accepted - gone)[:len(accepted)] == owed.count)
    b.invariant((accepted - granted)[:len(accepted)] == held)
    owners = inside["owners"]
    place = (gone + owed.ahead)[:len(gone) - 1]
    step = len(owners) // outstanding
    b.invariant(~owed.followed | (owners.word_select(place, step) == owed.data))
    return owed


def port_share():
    from amaranth import Cat, Signal

    from xpu_rtl.scratchpad.share import PortShare

    b = Bench()
    dut = PortShare(small_config())
    inside = b.add("dut", dut)
    high, low, port = dut.high, dut.low, dut.port
    of_low = Signal()
    takes = Signal(2)
    b.m.d.comb += [takes.eq(Cat(high.req.valid & high.req.ready, low.req.valid & low.req.ready)),
                   of_low.eq(takes[1])]
    accept = port.req.valid & port.req.ready
    b.invariant(at_most_one(takes))
    b.invariant(takes.any() == accept)
    for n, requester in enumerate((high, low)):
        b.invariant(~takes[n] | (requester.req.payload.as_value() == port.req.payload.as_value()))
    owed = _watch(b, inside, port, (high, low), of_low, PortShare.OUTSTANDING)
    # `high` waits for nothing but an access already offered, or a full list.
    stalled = Signal()
    b.m.d.sync += stalled.eq(port.req.valid & ~port.req.ready)
    full = owed.count == PortShare.OUTSTANDING
    b.invariant(~takes[1] | ~high.req.valid | stalled)
    b.invariant(full | ~(high.req.valid | low.req.valid) | port.req.valid)
    locked, locked_low = inside["locked"], inside["locked_low"]
    b.invariant(locked == stalled)
    b.invariant(~locked | (locked_low & low.req.valid) | (~locked_low & high.req.valid))
    return b


def port_mux(count):
    from amaranth import Cat, Signal

    from xpu_rtl.scratchpad.port_mux import PortMux

    b = Bench()
    m = b.m
    dut = PortMux(small_config(), count)
    inside = b.add("dut", dut)
    port, requesters = dut.port, list(dut.requesters)
    offered, taken = Signal(count), Signal(count)
    m.d.comb += [offered.eq(Cat(r.req.valid for r in requesters)),
                 taken.eq(offered & Cat(r.req.ready for r in requesters))]
    b.invariant(at_most_one(taken))
    payload = Signal(len(port.req.payload.as_value()))
    owner = Signal(range(max(2, count)))
    for n, requester in enumerate(requesters):
        with m.If(taken[n]):
            m.d.comb += payload.eq(requester.req.payload)
            m.d.sync += owner.eq(n)
    accept = Signal()
    m.d.comb += accept.eq(port.req.valid & port.req.ready)
    passing = follow(b, "passing", put=taken.any(), put_data=payload, get=accept,
                     get_data=port.req.payload, width=len(payload), capacity=1)
    b.invariant(inside["valid"] == passing.count)
    b.invariant(~passing.followed | (port.req.payload.as_value() == passing.data))
    b.invariant((passing.count == 0) | ((inside["owner"] == owner) & (owner < count)))
    owed = _watch(b, inside, port, requesters, owner, PortMux.OUTSTANDING)
    full = owed.count == PortMux.OUTSTANDING
    # No idle cycle but for a full list.
    b.invariant(port.req.valid | (passing.count == 0) | full)
    b.invariant(~offered.any() | taken.any() | (passing.count & ~accept))
    watch_turns(b, offered=offered, taken=taken, above=inside["above"])
    return b


CLAIM = ("Every access comes out once, unchanged, and stays until accepted; its response and its"
         " `waiting` go to its requester, in order; never more than OUTSTANDING unanswered; ")
ASSUMES = ("Requesters keep the stream rule. The scratchpad grants in order, in the first cycle"
           " without `waiting`, and answers granted accesses only.")

PROOFS = (
    Proof(name="port_share", build="port_share",
          claim=CLAIM + "`high` lets pass only what was offered before it.", assumes=ASSUMES,
          mutants=(
              Mutant("not locked", Edit(SHARE, "Mux(locked, locked_low, ~high.req.valid)",
                                        "~high.req.valid")),
              Mutant("too many", Edit(SHARE, "(accepted ^ answered) == self.OUTSTANDING",
                                      "(accepted ^ answered) == self.OUTSTANDING + 1")),
              Mutant("owner of another", Edit(SHARE, "accepted.eq(accepted + 1)]",
                                              "accepted.eq(accepted + 1 + port.rsp.valid)]")),
              Mutant("waiting of the last", Edit(
                  SHARE, "owners.bit_select(granted[index], 1)",
                  "owners.bit_select(answered[index], 1)")),
          )),
    Proof(name="port_mux_3", build="port_mux", arguments={"count": 3},
          claim=CLAIM + "each requester lets each other one pass once.", assumes=ASSUMES,
          mutants=(
              Mutant("payload exchanged", Edit(MUX, "free.eq(~valid | leave)",
                                               "free.eq(~valid | port.req.ready)")),
              Mutant("full ignored", Edit(MUX, "port.req.valid.eq(valid & ~full)",
                                          "port.req.valid.eq(valid)")),
              Mutant("turns forgotten", Edit(MUX, "above.eq((-2 << n)", "above.eq((-1 << n)")),
              Mutant("owner too late", Edit(MUX, "granted != accepted", "granted == accepted")),
          )),
    Proof(name="port_mux_5", build="port_mux", arguments={"count": 5},
          claim=CLAIM + "each requester lets each other one pass once.", assumes=ASSUMES),
)
