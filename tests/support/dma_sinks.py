"""Runs and words for the sinks of a DMA stream, and rigs that play the rest of the stream."""

import random
from dataclasses import dataclass

from amaranth import Value
from amaranth.sim import Simulator

from support.axi_memory import AxiMemory
from xpu_rtl.address_map import OFFSET_WIDTH
from xpu_rtl.command.types import FaultReport
from xpu_rtl.command.windows import RingWindows
from xpu_rtl.dma.stages import DestinationRun
from xpu_rtl.dma.types import AlignedWord
from xpu_rtl.scratchpad.types import ScratchpadRequest

__all__ = ["GM_BASE", "GM_BYTES", "OPEN_WINDOWS", "GmSinkRig", "Run", "SmSinkRig", "random_runs",
           "rows_of_words", "window"]

GM_BASE = 0x345_6789_0000       #: of the memory model
GM_BYTES = 1 << 16


@dataclass(frozen=True)
class Run:
    """``data`` to be written from byte ``address`` on. Of a ``fault`` run nothing else matters."""

    address: int
    data: bytes
    direct: bool = False
    fault: bool = False
    row_last: bool = True
    last: bool = False
    semaphore: int = 0
    ring: int = 0

    def beats(self, config):
        """``(first, count)`` of the words touched."""
        size = config.word_bytes
        first = self.address // size
        return first, (self.address + len(self.data) - 1) // size - first + 1

    def words(self, config):
        """Bits of each ``AlignedWord``; lanes without strobe hold rubbish."""
        size, layout = config.word_bytes, AlignedWord(config, 0)
        beat, count = self.beats(config)
        rng = random.Random(self.address)
        for n in range(count):
            lanes, strobe = bytearray(rng.randbytes(size)), 0
            for lane in range(size):
                offset = (beat + n) * size + lane - self.address
                if 0 <= offset < len(self.data):
                    lanes[lane] = self.data[offset]
                    strobe |= 1 << lane
            yield layout.const({"data": int.from_bytes(lanes, "little"), "strobe": strobe,
                                "first": n == 0, "last": n == count - 1}).as_bits()

    def bits(self, config, base=0):
        """Bits of the ``DestinationRun``."""
        beat, count = self.beats(config)
        return DestinationRun(config).const({
            "beat": beat + base // config.word_bytes, "beats": count - 1, "direct": self.direct,
            "fault": self.fault, "row_last": self.row_last, "last": self.last,
            "semaphore": self.semaphore, "ring": self.ring}).as_bits()


def random_runs(rng, config, commands, *, size, direct=0.5, semaphores=0, longest=400):
    """Runs of ``commands`` commands, from ``rng`` (``random.Random``), inside ``size`` bytes and
    disjoint as long as there is room: rows of one to three runs, some of them tiny."""
    runs, address = [], 0
    for _ in range(commands):
        semaphore = rng.randrange(semaphores + 1)
        rows = rng.randrange(1, 6)
        for row in range(rows):
            pieces = rng.choice([1, 1, 1, 2, 3])
            for piece in range(pieces):
                count = rng.choice([1, rng.randrange(1, 2 * config.word_bytes + 2),
                                    rng.randrange(1, longest)])
                address += rng.choice([0, 1, rng.randrange(4 * config.word_bytes)])
                if address + count > size:
                    address = 0
                runs.append(Run(
                    address, rng.randbytes(count), direct=rng.random() < direct,
                    row_last=piece == pieces - 1, semaphore=semaphore,
                    last=row == rows - 1 and piece == pieces - 1))
                address += count
    return runs


def rows_of_words(config, count, *, base=0, per_run=1, per_command=None, **fields):
    """``count`` runs of ``per_run`` whole words, one after the other; each is a row."""
    size = config.word_bytes * per_run
    return [Run(base + n * size, random.Random(n).randbytes(size),
                last=n % (per_command or count) == (per_command or count) - 1, **fields)
            for n in range(count)]


def window(first_page, last_page, **fields):
    """Windows of a ring that may write pages ``first_page`` to ``last_page`` (of all of GM)."""
    return {"gm0_first": first_page, "gm0_last": last_page, "gm0_write": 1, **fields}


OPEN_WINDOWS = window(0, (1 << OFFSET_WIDTH - 12) - 1)


class _Rig:
    """What both sinks have in common; see the subclasses."""

    BASE = 0

    def __init__(self, dut, config, *, word_p=1.0, run_p=1.0, seed=0):
        self.dut, self.config, self.seed = dut, config, seed
        self.word_p, self.run_p = word_p, run_p
        self.cycle = 0
        self.word_cycles, self.run_cycles = [], []      # of each transfer
        self.completed, self.failed_at, self.fault = [], None, None
        self.payload_bytes, self.idle_at, self.halted = 0, None, False

    def run(self, runs, *, words_at=None, runs_at=None, run_fault=None, halt_at=None, cycles=None,
            timeout=20_000):
        """Offer runs and their words until all commands are complete, or the sink has failed and
        is no longer busy, or it is not busy after ``halt_at``, or exactly for ``cycles`` cycles.

        ``words_at(n)``, ``runs_at(n)``: cycle before which word or run n is not offered; None: it
        never is.
        """
        dut, config = self.dut, self.config
        words = [word for run in runs for word in run.words(config)]
        expected = sum(run.last for run in runs)

        async def offer(ctx, stream, items, chance, at, cycles_taken, name):
            rng = random.Random(f"{self.seed}-{name}")
            payload = Value.cast(stream.payload)
            for n, item in enumerate(items):
                earliest = 0 if at is None else at(n)
                if earliest is None:
                    return
                while self.cycle < earliest or rng.random() >= chance:
                    ctx.set(payload, rng.getrandbits(len(payload)))
                    await ctx.tick()
                ctx.set(payload, item)
                ctx.set(stream.valid, 1)
                while True:
                    _, _, ready = await ctx.tick().sample(stream.ready)
                    if ready:
                        break
                cycles_taken.append(self.cycle)
                ctx.set(stream.valid, 0)

        async def offer_words(ctx):
            await offer(ctx, dut.i, words, self.word_p, words_at, self.word_cycles, "word")

        async def offer_runs(ctx):
            await offer(ctx, dut.run, [run.bits(config, self.BASE) for run in runs], self.run_p,
                        runs_at, self.run_cycles, "run")

        async def watch(ctx):
            if run_fault is not None:
                ctx.set(dut.run_fault, FaultReport().const(run_fault))
            fault = dut.fault
            busy = True
            while True:
                if self.cycle == halt_at:
                    ctx.set(dut.halt, 1)
                    self.halted = True
                (_, _, completed, failed, busy, payload_bytes, cause, address, info, row
                 ) = await ctx.tick().sample(dut.completed, dut.failed, dut.busy,
                                             dut.payload_bytes, fault.cause, fault.address,
                                             fault.info, fault.row)
                if completed:
                    self.completed.append(self.cycle)
                    assert busy, "a completion while not busy"
                if self.failed_at is not None:
                    assert failed, "failed fell"
                elif failed:
                    self.failed_at = self.cycle
                self.payload_bytes += payload_bytes
                self.check(completed, busy)
                self.cycle += 1
                if failed and not busy and self.fault is None:
                    self.fault = (cause, address, info, row)
                if not busy and self.idle_at is None and halt_at is not None and (
                        self.cycle > halt_at + 1):
                    self.idle_at = self.cycle
                if cycles is not None:
                    if self.cycle >= cycles:
                        break
                elif (len(self.completed) == expected or self.fault is not None
                      or self.idle_at is not None):
                    break
                assert self.cycle < timeout, (
                    f"{len(self.completed)} of {expected} commands after {timeout} cycles")
            self.busy = bool(busy)
            for _ in range(20):     # nothing happens behind the end
                _, _, completed, busy, *report = await ctx.tick().sample(
                    dut.completed, dut.busy, fault.cause, fault.address, fault.info, fault.row)
                assert self.fault in (None, tuple(report)), "the fault was not final"
                if cycles is None:
                    assert not completed
                    assert not busy

        sim = Simulator(dut)
        sim.add_clock(1e-9)
        sim.add_testbench(offer_words, background=True)
        sim.add_testbench(offer_runs, background=True)
        self.add_processes(sim)
        sim.add_testbench(watch)
        sim.run()


class GmSinkRig(_Rig):
    """A ``GmSink`` with memory; checks rule 2 (data of a burst come before it) on every burst.

    Parameters
    ----------
    dut, config : the sink
    memory : keyword arguments of ``AxiMemory``
    windows : list of dict, by ring
    word_p, run_p : chance per cycle that a word or run is offered
    """

    BASE = GM_BASE

    def __init__(self, dut, config, *, memory=None, windows=(OPEN_WINDOWS,), **options):
        super().__init__(dut, config, **options)
        self.windows = windows
        self.memory = AxiMemory(GM_BYTES, base=GM_BASE, width=config.bus_width, seed=self.seed,
                                **({"max_outstanding": config.max_bursts} | (memory or {})))
        self.before = bytes(random.Random(f"{self.seed}-gm").randbytes(GM_BYTES))
        self.memory.data[:] = self.before
        self.offers = []        # (cycle, address, beats) of each burst when first offered

    def bursts(self, runs):
        """``(address of the first beat, beats, words needed, run, first, last of run)`` of each
        burst that must be made: never across a multiple of ``burst_beats`` beats."""
        size, most = self.config.bus_bytes, self.config.burst_beats
        made, words = [], 0
        for run in runs:
            beat, count = run.beats(self.config)
            end = beat + count
            while beat < end:
                stop = min(end, (beat // most + 1) * most)
                first = beat == end - count
                need = words + 1 if run.direct else words + stop - beat
                made.append((GM_BASE + beat * size, stop - beat, need, run, first, stop == end))
                words += stop - beat
                beat = stop
        return made

    def expected(self, runs):
        """The memory with all of ``runs`` written."""
        after = bytearray(self.before)
        for run in runs:
            after[run.address:run.address + len(run.data)] = run.data
        return bytes(after)

    def run(self, runs, **options):
        self._made = self.bursts(runs)
        super().run(runs, **options)
        assert self.offers == [
            (cycle, *burst[:2])
            for (cycle, *_), burst in zip(self.offers, self._made, strict=False)]
        assert self.payload_bytes == self.memory.strobes_written or self.busy

    def check(self, completed, busy):
        if self.memory.outstanding:
            assert busy, "bursts outstanding while not busy"
        if self.failed_at is None and not self.halted:
            came = sum(cycle < self.cycle for cycle in self.word_cycles[-2:])
            came += len(self.word_cycles[:-2])
            due = sum(need <= came for _, _, need, *_ in self._made)
            if due > len(self.memory.response_cycles):
                assert busy, "a burst can begin, or is under way, while not busy"

    def add_processes(self, sim):
        dut = self.dut

        async def set_up(ctx):
            for ring, fields in enumerate(self.windows):
                ctx.set(dut.windows[ring], RingWindows().const(fields))

        async def watch_addresses(ctx):
            offered, accepted = False, 0
            while True:
                _, _, valid, ready, address, beats, word_valid, word_ready = (
                    await ctx.tick().sample(dut.axi.aw.valid, dut.axi.aw.ready,
                                            dut.axi.aw.p.addr, dut.axi.aw.p.len, dut.i.valid,
                                            dut.i.ready))
                if valid and not offered:
                    need = self._made[len(self.offers)][2]
                    assert accepted >= need, "a burst began before its data were there"
                    self.offers.append((self.cycle, address, beats + 1))
                offered = valid and not ready
                accepted += word_valid and word_ready

        sim.add_testbench(set_up)
        sim.add_testbench(watch_addresses, background=True)
        sim.add_testbench(self.memory.write_process(dut.axi), background=True)


class SmSinkRig(_Rig):
    """An ``SmSink`` with a scratchpad of ``sm_latency`` to ``sm_latency + sm_jitter`` cycles.

    Checks that no row is counted and no command completed before it has landed.
    """

    def __init__(self, dut, config, *, sm_latency=4, sm_jitter=0, sm_ready_p=1.0, add_ready_p=1.0,
                 add_from=0, **options):
        super().__init__(dut, config, **options)
        self.sm_latency, self.sm_jitter, self.sm_ready_p = sm_latency, sm_jitter, sm_ready_p
        self.add_ready_p, self.add_from = add_ready_p, add_from
        self.before = random.Random(f"{self.seed}-sm").randbytes(config.sm_bytes)
        self.data = bytearray(self.before)
        self.sm_cycles, self.rsp_cycles, self.adds = [], [], []
        self.flying = 0

    expected = GmSinkRig.expected

    def run(self, runs, **options):
        # By word: rows and commands complete once it has landed.
        self._rows, self._commands = [], []
        rows = {run.semaphore: 0 for run in runs}
        commands = 0
        for run in runs:
            _, count = run.beats(self.config)
            for n in range(count):
                if n == count - 1 and not run.fault:
                    rows[run.semaphore] += run.row_last
                    commands += run.last
                self._rows.append(dict(rows))
                self._commands.append(commands)
        super().run(runs, **options)

    def landed(self, table, empty):
        return table[len(self.rsp_cycles) - 1] if self.rsp_cycles else empty

    def check(self, completed, busy):
        if completed:
            assert len(self.completed) <= self.landed(self._commands, 0)
        if self.flying:
            assert busy, "writes outstanding while not busy"

    def add_processes(self, sim):
        sim.add_testbench(self._adds, background=True)
        sim.add_testbench(self._scratchpad, background=True)

    async def _adds(self, ctx):
        add, stalled = self.dut.add, None
        rng = random.Random(f"{self.seed}-add")
        total = {}
        while True:
            ready = self.cycle >= self.add_from and rng.random() < self.add_ready_p
            ctx.set(add.ready, ready)
            _, _, valid, semaphore, amount = await ctx.tick().sample(
                add.valid, add.p.semaphore, add.p.amount)
            if stalled is not None:
                assert (valid, semaphore, amount) == stalled, "add changed while stalled"
            stalled = (1, semaphore, amount) if valid and not ready else None
            if valid:
                assert total.get(semaphore, 0) + amount <= self.landed(self._rows, {}).get(
                    semaphore, 0), "a row counted before it has landed"
            if valid and ready:
                total[semaphore] = total.get(semaphore, 0) + amount
                self.adds.append((self.cycle, semaphore, amount))

    async def _scratchpad(self, ctx):
        port, size = self.dut.sm, self.config.word_bytes
        rng = random.Random(f"{self.seed}-sm")
        layout, payload = ScratchpadRequest(self.config), Value.cast(port.req.payload)
        queue, stalled, ready, cycle = [], None, False, 0
        while True:
            _, _, valid, bits = await ctx.tick().sample(port.req.valid, payload)
            if stalled is not None:
                assert valid, "scratchpad request withdrawn while stalled"
                assert bits == stalled, "scratchpad request changed while stalled"
            stalled = bits if valid and not ready else None
            if valid and ready:
                due = cycle + self.sm_latency + rng.randrange(self.sm_jitter + 1)
                queue.append((max(due, queue[-1][0] + 1 if queue else 0), bits))
                self.sm_cycles.append(cycle)
            cycle += 1
            answer = bool(queue) and queue[0][0] <= cycle
            if answer:
                request = layout.from_bits(queue.pop(0)[1])
                assert request.write
                for lane in range(size):
                    if request.strobe >> lane & 1:
                        self.data[request.address * size + lane] = (
                            request.data >> 8 * lane & 0xFF)
                self.rsp_cycles.append(cycle)
            ctx.set(port.rsp.valid, answer)
            ctx.set(port.rsp.payload, rng.getrandbits(8 * size))
            self.flying = len(queue) + answer
            ready = rng.random() < self.sm_ready_p
            ctx.set(port.req.ready, ready)
