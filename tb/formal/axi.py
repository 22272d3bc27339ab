"""The other side of AXI, and what it may expect. Components for benches."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LengthList", "ReadMemory", "WriteOrder", "legal_burst"]


def legal_burst(address, length, *, beat_bytes, burst_beats):
    """An INCR burst of full beats: aligned, not longer than allowed, within 4 KiB.

    ``length`` is the beats less one.
    """
    shift = beat_bytes.bit_length() - 1
    return ((address[:shift] == 0) & (length < burst_beats)
            & (address[:12] + (length + 1) * beat_bytes <= 4096))


class LengthList(wiring.Component):
    """Lengths (beats less one) of bursts that are under way, and how far the oldest is.

    Parameters
    ----------
    capacity : int
        Most bursts under way.
    longest : int
        Most beats of a burst, at most 16; the bench proves it.

    Members
    -------
    put, length : In
        A burst begins.
    beat : In(1)
        A beat of the oldest moves.
    count, at : Out
        Bursts under way; beats of the oldest that have moved.
    lengths : Out(ArrayLayout(8, capacity))
        Oldest first.
    last : Out(1)
        The next beat is the oldest burst's last.
    beats : Out(8)
        Beats that have not moved.
    sane : Out(1)
        Helper invariant.
    """

    def __init__(self, capacity, longest):
        self._capacity, self._longest = capacity, longest
        super().__init__({
            "put": In(1), "length": In(8), "beat": In(1),
            "count": Out(range(capacity + 1)), "at": Out(8), "last": Out(1), "beats": Out(8),
            "lengths": Out(data.ArrayLayout(8, capacity)), "sane": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        pop = Signal()
        kept = Signal.like(self.count)
        m.d.comb += [
            self.last.eq(self.at == self.lengths[0]), pop.eq(self.beat & self.last),
            kept.eq(self.count - pop),
            self.beats.eq(sum((Mux(n < self.count, self.lengths[n] + 1, 0)
                               for n in range(self._capacity)), 0) - self.at),
            self.sane.eq((self.count <= self._capacity)
                         & ((self.count == 0) | (self.at <= self.lengths[0]))
                         & ((self.count != 0) | (self.at == 0))
                         & Cat((n >= self.count) | (self.lengths[n] < self._longest)
                               for n in range(self._capacity)).all()),
        ]
        with m.If(self.beat):
            m.d.sync += self.at.eq(Mux(self.last, 0, self.at + 1))
        with m.If(pop):
            m.d.sync += [self.lengths[n].eq(self.lengths[n + 1])
                         for n in range(self._capacity - 1)]
        m.d.sync += self.count.eq(kept + self.put)
        for n in range(self._capacity):
            with m.If(self.put & (kept == n)):
                m.d.sync += self.lengths[n].eq(self.length)
        return m


class ReadMemory(wiring.Component):
    """Read channels: data only for addresses taken, burst by burst in order, ``last`` with the
    last beat.

    Members
    -------
    ar, r : In
        The handshakes: ``ar`` (taken), ``length``; ``valid``, ``ready``, ``last``.
    right : Out(1)
        The memory keeps the rules in this cycle; to be assumed.
    count, beats : Out
        Bursts and beats that it owes.
    sane : Out(1)
        Helper invariant.
    """

    def __init__(self, capacity, longest):
        self._capacity, self._longest = capacity, longest
        super().__init__({
            "ar": In(1), "length": In(8), "valid": In(1), "ready": In(1), "last": In(1),
            "right": Out(1), "count": Out(range(capacity + 1)), "beats": Out(8), "sane": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.owed = owed = LengthList(self._capacity, self._longest)
        m.d.comb += [
            owed.put.eq(self.ar), owed.length.eq(self.length),
            owed.beat.eq(self.valid & self.ready & (owed.count != 0)),
            self.right.eq(~self.valid | ((owed.count != 0) & (self.last == owed.last))),
            self.count.eq(owed.count), self.beats.eq(owed.beats), self.sane.eq(owed.sane),
        ]
        return m


class WriteOrder(wiring.Component):
    """Write channels: beats of each burst as many as its address says, in the order of addresses.

    A burst begins (``start``, with its length) in the manager; then its address and its beats are
    taken, in any order.

    Members
    -------
    start, length : In
        A burst begins.
    aw, w, w_last, b : In(1)
        An address, a beat (with WLAST), a response is transferred.
    addresses, bursts, unanswered : Out
        Begun bursts whose address, last beat, response is not taken.
    answerable : Out
        Bursts whose address and last beat are taken, not answered. The subordinate answers only
        these.
    ok : Out(1)
        WLAST exactly with the last beat; no beat, address or response too many.
    """

    def __init__(self, unanswered, under_way, longest):
        self._under_way, self._longest = under_way, longest
        super().__init__({
            "start": In(1), "length": In(8), "aw": In(1), "w": In(1), "w_last": In(1), "b": In(1),
            "addresses": Out(range(unanswered + 2)), "bursts": Out(range(under_way + 1)),
            "unanswered": Out(range(unanswered + 2)), "answerable": Out(range(unanswered + 2)),
            "beats": Out(8), "at": Out(8), "lengths": Out(data.ArrayLayout(8, under_way)),
            "ok": Out(1), "sane": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.beats = beats = LengthList(self._under_way, self._longest)
        longer = Signal.like(self.unanswered)
        m.d.comb += [
            beats.put.eq(self.start), beats.length.eq(self.length),
            beats.beat.eq(self.w & (beats.count != 0)),
            self.bursts.eq(beats.count), self.beats.eq(beats.beats), self.at.eq(beats.at),
            self.lengths.eq(beats.lengths),
            longer.eq(Mux(self.addresses > beats.count, self.addresses, beats.count)),
            self.answerable.eq(self.unanswered - longer),
            self.ok.eq(Cat(
                ~self.w | ((beats.count != 0) & (self.w_last == beats.last)),
                ~self.aw | (self.addresses != 0), ~self.b | (self.unanswered != 0)).all()),
            self.sane.eq(beats.sane & (longer <= self.unanswered)),
        ]
        m.d.sync += [
            self.addresses.eq(self.addresses + self.start - self.aw),
            self.unanswered.eq(self.unanswered + self.start - self.b),
        ]
        return m
