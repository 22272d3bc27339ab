"""A memory behind AXI streams, for ``amaranth.sim``; checks the manager's conduct as it serves."""

import random
from collections import deque

from amaranth import Value

from xpu_rtl.common.axi import AxiAddress, AxiReadBeat, AxiWriteBeat, AxiWriteResponse, Resp

__all__ = ["AxiMemory"]


class AxiMemory:
    """``size`` bytes at address ``base``, served to one manager or several.

    Add ``read_process(port)`` and ``write_process(port)`` as background testbenches; ``port`` is
    the manager's ``AxiReadPort`` or ``AxiWritePort``. The bytes are ``data`` (a ``bytearray``).
    Each broken AXI rule, and each access outside the memory, raises ``AssertionError``.

    Parameters
    ----------
    size, base : int
        Bytes, and the address of the first.
    width : int
        Data bits.
    latency : int
        Cycles from the transfer on AR to the first beat on R, and from the last W (and its AW) to
        B.
    jitter : int
        Up to so many cycles more, at random, for each burst. Order is kept within an ID.
    ready_p, valid_p : float
        Chance per cycle that a channel towards the memory is ready, and that one from the memory
        offers what is due.
    need : None, "aw" or "w"
        AW is taken only while W is offered ("w"), or W only once its AW is taken ("aw").
    interleave : bool
        Mix beats of different IDs.
    max_outstanding : int or None
        Checked: bursts begun and not answered.

    Attributes
    ----------
    read_errors, write_errors : dict
        Response codes by beat address. A write burst answers with the code of any of its beats.
    reads, writes : list
        ``(cycle, address, beats)`` of each AR, AW transfer.
    read_cycles, write_cycles, response_cycles : list
        Cycle of each R, W, B transfer.
    outstanding : int
        Bursts offered and not yet fully answered, reads and writes together.
    strobes_written : int
        Bytes written.
    """

    def __init__(self, size, *, base=0, width, latency=1, jitter=0, ready_p=1.0, valid_p=1.0,
                 need=None, interleave=False, max_outstanding=None, seed=0):
        if latency < 1:
            raise ValueError(f"latency must be at least 1, not {latency!r}")
        self.data = bytearray(size)
        self.base, self.width, self.bus_bytes = base, width, width // 8
        self.latency, self.jitter = latency, jitter
        self.ready_p, self.valid_p = ready_p, valid_p
        self.need, self.interleave, self.max_outstanding = need, interleave, max_outstanding
        self.read_errors, self.write_errors = {}, {}
        self.reads, self.writes = [], []
        self.read_cycles, self.write_cycles, self.response_cycles = [], [], []
        self.outstanding = 0
        self.strobes_written = 0
        self._seed = seed
        self._processes = 0

    def _rng(self, kind):
        self._processes += 1
        return random.Random(f"{self._seed}-{kind}-{self._processes}")

    def _due(self, rng, now):
        return now + self.latency + (rng.randrange(self.jitter + 1) if self.jitter else 0)

    def _offset(self, address):
        offset = address - self.base
        assert 0 <= offset <= len(self.data) - self.bus_bytes, f"access outside at {address:#x}"
        return offset

    def _check_burst(self, address, beats):
        size = self.bus_bytes
        assert address % size == 0, f"burst at {address:#x} is not aligned to {size} bytes"
        assert address // 4096 == (address + beats * size - 1) // 4096, (
            f"burst of {beats} beats at {address:#x} crosses 4 KiB")

    def _begin(self):
        self.outstanding += 1
        if self.max_outstanding is not None:
            assert self.outstanding <= self.max_outstanding, "too many bursts outstanding"

    def read_process(self, port):
        """Return a testbench that serves the read channels of ``port``."""
        rng = self._rng("read")
        address_layout, beat_layout = AxiAddress(), AxiReadBeat(self.width)
        ar_payload, r_payload = Value.cast(port.ar.payload), Value.cast(port.r.payload)

        async def serve(ctx):
            queues = {}             # by ID: deque of [due, address, beats left]
            order = deque()         # IDs of bursts, as they came
            stalled, offered, cycle = None, None, 0
            ready = rng.random() < self.ready_p
            ctx.set(port.ar.ready, ready)
            while True:
                _, rst, ar_valid, ar_bits, r_ready = await ctx.tick().sample(
                    port.ar.valid, ar_payload, port.r.ready)
                if rst:
                    stalled = None
                    continue
                if stalled is not None:
                    assert ar_valid, "AR withdrawn while stalled"
                    assert ar_bits == stalled, "AR changed while stalled"
                elif ar_valid:
                    self._begin()
                stalled = ar_bits if ar_valid and not ready else None
                if ar_valid and ready:
                    ar = address_layout.from_bits(ar_bits)
                    self._check_burst(ar.addr, ar.len + 1)
                    self.reads.append((cycle, ar.addr, ar.len + 1))
                    queues.setdefault(ar.id, deque()).append(
                        [self._due(rng, cycle), ar.addr, ar.len + 1])
                    order.append(ar.id)
                if offered is not None and r_ready:
                    self.read_cycles.append(cycle)
                    burst = queues[offered][0]
                    burst[1] += self.bus_bytes
                    burst[2] -= 1
                    if not burst[2]:
                        queues[offered].popleft()
                        order.remove(offered)
                        self.outstanding -= 1
                    offered = None
                cycle += 1
                if offered is None:
                    ids = [i for i in queues if queues[i]] if self.interleave else (
                        [order[0]] if order else [])
                    ids = [i for i in ids if queues[i][0][0] <= cycle]
                    if ids and rng.random() < self.valid_p:
                        offered = rng.choice(ids) if len(ids) > 1 else ids[0]
                        _, address, left = queues[offered][0]
                        offset = self._offset(address)
                        ctx.set(r_payload, beat_layout.const({
                            "data": int.from_bytes(
                                self.data[offset:offset + self.bus_bytes], "little"),
                            "resp": self.read_errors.get(address, Resp.OKAY),
                            "last": left == 1, "id": offered}).as_bits())
                        ctx.set(port.r.valid, 1)
                    else:
                        ctx.set(r_payload, rng.getrandbits(len(r_payload)))
                        ctx.set(port.r.valid, 0)
                ready = rng.random() < self.ready_p
                ctx.set(port.ar.ready, ready)

        return serve

    def write_process(self, port):
        """Return a testbench that serves the write channels of ``port``."""
        rng = self._rng("write")
        address_layout, beat_layout = AxiAddress(), AxiWriteBeat(self.width)
        response_layout = AxiWriteResponse()
        aw_payload, w_payload = Value.cast(port.aw.payload), Value.cast(port.w.payload)
        b_payload = Value.cast(port.b.payload)

        async def serve(ctx):
            addresses, beats = deque(), deque()     # taken, not yet matched
            responses = deque()                     # (due, id, resp)
            last_w, w_bursts, aw_bursts = True, 0, 0
            aw_stalled, w_stalled, offered, cycle = None, None, False, 0
            aw_ready = w_ready = False
            while True:
                _, rst, aw_valid, aw_bits, w_valid, w_bits, b_ready = await ctx.tick().sample(
                    port.aw.valid, aw_payload, port.w.valid, w_payload, port.b.ready)
                if rst:
                    aw_stalled = w_stalled = None
                    continue
                for name, valid, bits, old in (("AW", aw_valid, aw_bits, aw_stalled),
                                               ("W", w_valid, w_bits, w_stalled)):
                    if old is not None:
                        assert valid, f"{name} withdrawn while stalled"
                        assert bits == old, f"{name} changed while stalled"
                if aw_valid and aw_stalled is None:
                    self._begin()
                    aw_bursts += 1
                if w_valid and w_stalled is None and last_w:
                    w_bursts += 1
                    assert w_bursts <= aw_bursts, "W offered before its AW"
                aw_stalled = aw_bits if aw_valid and not aw_ready else None
                w_stalled = w_bits if w_valid and not w_ready else None
                if w_valid:
                    last_w = bool(beat_layout.from_bits(w_bits).last) if w_ready else False
                if aw_valid and aw_ready:
                    aw = address_layout.from_bits(aw_bits)
                    self._check_burst(aw.addr, aw.len + 1)
                    self.writes.append((cycle, aw.addr, aw.len + 1))
                    addresses.append([aw.addr, aw.len + 1, aw.id, Resp.OKAY])
                if w_valid and w_ready:
                    self.write_cycles.append(cycle)
                    beats.append(beat_layout.from_bits(w_bits))
                while addresses and beats:
                    burst, beat = addresses[0], beats.popleft()
                    self._write(burst[0], beat)
                    burst[3] = max(burst[3], self.write_errors.get(burst[0], Resp.OKAY))
                    burst[0] += self.bus_bytes
                    burst[1] -= 1
                    assert bool(beat.last) == (burst[1] == 0), "WLAST at the wrong beat"
                    if not burst[1]:
                        addresses.popleft()
                        responses.append((self._due(rng, cycle), burst[2], burst[3]))
                if offered and b_ready:
                    self.response_cycles.append(cycle)
                    responses.popleft()
                    self.outstanding -= 1
                    offered = False
                cycle += 1
                if not offered:
                    offered = bool(responses) and responses[0][0] <= cycle and (
                        rng.random() < self.valid_p)
                    if offered:
                        _, burst_id, resp = responses[0]
                        ctx.set(b_payload,
                                response_layout.const({"resp": resp, "id": burst_id}).as_bits())
                    else:
                        ctx.set(b_payload, rng.getrandbits(len(b_payload)))
                    ctx.set(port.b.valid, offered)
                aw_ready, w_ready = rng.random() < self.ready_p, rng.random() < self.ready_p
                if self.need == "w":        # W first: AW waits until a beat without address is here
                    aw_ready = aw_ready and len(beats) > 0
                elif self.need == "aw":
                    w_ready = w_ready and len(addresses) > 0
                ctx.set(port.aw.ready, aw_ready)
                ctx.set(port.w.ready, w_ready)

        return serve

    def _write(self, address, beat):
        if not beat.strb:
            return
        offset = self._offset(address)
        for lane in range(self.bus_bytes):
            if beat.strb >> lane & 1:
                self.data[offset + lane] = beat.data >> (8 * lane) & 0xFF
                self.strobes_written += 1
