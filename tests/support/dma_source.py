"""What must become of the runs of a ``Source``, and memories and monitors around it."""

import random
from collections import deque

from amaranth import Value
from amaranth.sim import Simulator

from support.axi_memory import AxiMemory
from support.dma_source_runs import GM_BASE, GM_BYTES
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.dma.source import Source
from xpu_rtl.dma.stages import RunKind

__all__ = ["SourceRig", "expected", "read_all"]


def read_all(rings=1):
    """Windows that let every ring read all of GM."""
    return [{"gm0_first": 0, "gm0_last": 0xFFFFFFFF, "gm0_read": 1}] * rings


def expected(config, runs, gm_bytes, sm_bytes, windows, read_errors, run_fault):
    """What must come: ``(words, beats, fault, bytes)``.

    ``words`` are the data before the fault; ``beats`` the GM addresses to read in order; ``fault``
    is a (cause, address, info, row) or None; ``bytes`` the GM bytes of ``words``. After a read
    error ``beats`` goes on.
    """
    size = config.word_bytes
    words, beats, report, row, count = [], [], None, 0, 0

    def may_read(ring, page):
        return any(windows[ring].get(f"gm{n}_read", 0)
                   and windows[ring][f"gm{n}_first"] <= page <= windows[ring][f"gm{n}_last"]
                   for n in (0, 1))

    for run in runs:
        if run["kind"] is RunKind.FAULT:
            report = report or (*run_fault, row)
            break
        for n in range(run["beats"] + 1):
            first = run["lane"] if n == 0 else 0
            end = run["end"] if n == run["beats"] else size - 1
            address = (run["beat"] + n) * size
            if run["kind"] is RunKind.FILL:
                data = bytes(run["fill"] >> 8 * (lane % 4) & 0xFF for lane in range(size))
            elif run["kind"] is RunKind.SM:
                data = sm_bytes[address:address + size]
            elif not may_read(run["ring"], address // 4096):
                report = report or (FaultCause.PROTECTION, address + first, Space.GM, row)
                return words, beats, report, count
            else:
                beats.append(address)
                resp = read_errors.get(address, 0)
                if resp & 2:
                    report = report or (FaultCause.BUS_READ, address, resp, row)
                data = gm_bytes[address - GM_BASE:address - GM_BASE + size]
            if report is None:
                words.append(int.from_bytes(data, "little"))
                count += end - first + 1 if run["kind"] is RunKind.GM else 0
        row = 0 if run["last"] else row + run["row_last"]
    return words, beats, report, count


class SourceRig:
    """A ``Source`` between memories of random contents.

    ``play(runs)`` offers the runs, collects all words, compares them, the fault, and what was read
    with ``expected``, and checks on every cycle that streams are stable and ``axi.r.ready`` is
    high. Keyword arguments: ``memory`` (of ``AxiMemory``), ``windows`` (one dict for each ring),
    ``run_fault`` (cause, address, info), ``run_p``, ``ready_p`` (chances per cycle that a run is
    offered, a word accepted), ``sm_ready_p``, ``sm_latency``, ``sm_jitter``, ``stall_until`` (no
    word is accepted before this cycle).

    Attributes: ``run_cycles``, ``ar_cycles`` (first offered), ``request_cycles`` (likewise),
    ``answer_cycles``, ``offer_cycles``, ``word_cycles``: cycle of each event.
    """

    def __init__(self, config, *, axi_id=3, memory=None, windows=None, seed=0,
                 run_fault=(FaultCause.BAD_ADDRESS, 0x123456789ABC, 0x77), run_p=1.0, ready_p=1.0,
                 sm_ready_p=1.0, sm_latency=3, sm_jitter=0, stall_until=0):
        self.config, self.seed = config, seed
        self.dut = Source(config, axi_id=axi_id)
        self.memory = AxiMemory(GM_BYTES, base=GM_BASE, width=config.bus_width, seed=seed,
                                max_outstanding=config.max_bursts, **(memory or {}))
        rng = random.Random(f"{seed}-contents")
        self.memory.data[:] = rng.randbytes(GM_BYTES)
        self.sm_data = rng.randbytes(config.sm_bytes)
        self.windows = windows or read_all(config.rings)
        self.run_fault, self.run_p, self.ready_p = run_fault, run_p, ready_p
        self.sm_ready_p, self.sm_latency, self.sm_jitter = sm_ready_p, sm_latency, sm_jitter
        self.stall_until, self.axi_id = stall_until, axi_id
        self.cycle = 0
        self.words, self.begins, self.payload = [], [], 0
        self.fault = None
        self.run_cycles, self.ar_cycles, self.request_cycles = [], [], []
        self.answer_cycles, self.offer_cycles, self.word_cycles = [], [], []
        self.sm_outstanding = 0

    # Processes -----------------------------------------------------------------------------------
    async def _scratchpad(self, ctx):
        rng, port, size = random.Random(f"{self.seed}-sm"), self.dut.sm, self.config.word_bytes
        due, last_due, cycle = deque(), 0, 0
        stalled = None
        payload = Value.cast(port.req.payload)
        while True:
            ready = rng.random() < self.sm_ready_p
            ctx.set(port.req.ready, ready)
            answer = bool(due) and due[0][0] <= cycle
            ctx.set(port.rsp.valid, answer)
            ctx.set(port.rsp.payload, due.popleft()[1] if answer else
                    rng.getrandbits(self.config.word_width))
            _, _, valid, bits, address, write = await ctx.tick().sample(
                port.req.valid, payload, port.req.p.address, port.req.p.write)
            if stalled is not None:
                assert valid, "sm.req withdrawn while stalled"
                assert bits == stalled, "sm.req changed while stalled"
            elif valid:
                self.request_cycles.append(self.cycle)
                self.sm_outstanding += 1
            stalled = bits if valid and not ready else None
            if answer:
                self.answer_cycles.append(self.cycle)
                self.sm_outstanding -= 1
            if valid and ready:
                assert not write, "the source writes"
                last_due = max(last_due + 1, cycle + self.sm_latency
                               + (rng.randrange(self.sm_jitter + 1) if self.sm_jitter else 0))
                data = self.sm_data[address * size:(address + 1) * size]
                due.append((last_due, int.from_bytes(data, "little")))
            cycle += 1

    def _runs(self, runs):
        rng, stream = random.Random(f"{self.seed}-runs"), self.dut.run
        blank = {name: 0 for name in ("lane", "end", "fill", "first", "row_last", "last", "ring",
                                      "index")}

        async def offer(ctx):
            cause, address, info = self.run_fault
            for run in runs:
                while rng.random() >= self.run_p:
                    ctx.set(Value.cast(stream.payload), rng.getrandbits(100))
                    await ctx.tick()
                ctx.set(stream.payload, blank | run)
                ctx.set(stream.valid, 1)
                faulty = run["kind"] is RunKind.FAULT
                ctx.set(self.dut.run_fault, {"cause": cause, "address": address, "info": info,
                                             "row": 99} if faulty else {})
                accepted = False
                while not accepted:     # ends with the bench, which is bounded
                    _, _, accepted = await ctx.tick().sample(stream.ready)
                self.run_cycles.append(self.cycle)
                ctx.set(stream.valid, 0)
                ctx.set(self.dut.run_fault, {"cause": 15, "info": 1})

        return offer

    async def _monitor(self, ctx):
        dut, axi, o = self.dut, self.dut.axi, self.dut.o
        rng = random.Random(f"{self.seed}-out")
        report = dut.fault
        stalled, ar_stalled = None, False
        while True:
            ready = self.cycle >= self.stall_until and rng.random() < self.ready_p
            ctx.set(o.ready, ready)
            (_, _, valid, data, is_fault, halt, r_ready, busy, begin, index, payload, ar_valid,
             ar_ready, ar_id, *values) = await ctx.tick().sample(
                o.valid, o.p.data, o.p.fault, dut.halt, axi.r.ready, dut.busy, dut.begin,
                dut.begin_index, dut.payload_bytes, axi.ar.valid, axi.ar.ready, axi.ar.p.id,
                report.cause, report.address, report.info, report.row)
            assert r_ready or not self.memory.outstanding, "a read may not be answered"
            assert not (halt and valid), "a word is offered after halt"
            now = (is_fault, values if is_fault else data)
            if stalled is not None and not halt:
                assert valid, "o withdrawn while stalled"
                assert now == stalled, "o or fault changed while stalled"
            if valid:
                assert self.fault is None, "a word after the fault"
                if stalled is None:
                    self.offer_cycles.append(self.cycle)
                if ready:
                    self.word_cycles.append(self.cycle)
                    if is_fault:
                        self.fault = tuple(values)
                    else:
                        self.words.append(data)
            stalled = now if valid and not ready else None
            if begin:
                self.begins.append((self.cycle, index))
            self.payload += payload
            if ar_valid:
                assert ar_id == self.axi_id
                if not ar_stalled:
                    self.ar_cycles.append(self.cycle)
            ar_stalled = ar_valid and not ar_ready
            assert busy or not (ar_valid or self.sm_outstanding), "busy is low"
            self.cycle += 1

    # Running -------------------------------------------------------------------------------------
    def simulate(self, runs, bench):
        """Run ``bench(ctx)`` beside everything else."""
        async def set_windows(ctx):
            for ring, window in enumerate(self.windows):
                ctx.set(self.dut.windows[ring], window)

        sim = Simulator(self.dut)
        sim.add_clock(1e-9)
        sim.add_testbench(set_windows)
        sim.add_testbench(self._scratchpad, background=True)
        sim.add_testbench(self.memory.read_process(self.dut.axi), background=True)
        sim.add_testbench(self._runs(runs), background=True)
        sim.add_testbench(self._monitor, background=True)   # last: it counts the cycles
        sim.add_testbench(bench)
        sim.run()

    def play(self, runs, *, timeout=20_000, extra=40):
        """See the class."""
        words, beats, report, count = expected(
            self.config, runs, self.memory.data, self.sm_data, self.windows,
            self.memory.read_errors, self.run_fault)

        async def bench(ctx):
            for _ in range(timeout):
                if len(self.words) >= len(words) and (self.fault is not None) == bool(report):
                    break
                await ctx.tick()
            await ctx.tick().repeat(extra)
            for _ in range(timeout):
                if not ctx.get(self.dut.busy):
                    break
                await ctx.tick()
            assert not ctx.get(self.dut.busy), "busy stays high"

        self.simulate(runs, bench)
        assert len(self.words) == len(words), f"{len(self.words)} words, not {len(words)}"
        assert self.words == words
        assert self.fault == report
        assert self.payload == count
        size = self.config.word_bytes
        read = [address + n * size for _, address, burst in self.memory.reads
                for n in range(burst)]
        if report and report[0] != FaultCause.PROTECTION:
            assert read == beats[:len(read)]
        else:
            assert read == beats
        indices = list(dict.fromkeys(run["index"] for run in runs))
        begun = [index for _, index in self.begins]
        assert begun == indices[:len(begun)]
        if not report:
            assert begun == indices
