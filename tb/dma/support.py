"""The surroundings of the DMA engines, and what copies should do."""

from collections import Counter, deque

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from common import drive
from common.axi_check import AxiCheck
from common.drive import Sink, Source, packer, power_up, release, seeded, unpacker, until
from common.scratchpad_host import ScratchpadHost
from dma.bench import bench_config
from support.dma_rig import GM_BASE, GM_BYTES, copy, expected_copy, gm, sm
from xpu.platforms.cocotb_memory import CocotbMemory
from xpu_rtl.command.formats import DMA_COPY, HEADER, FaultCause, Opcode
from xpu_rtl.command.types import Completion, IssuedCommand, SemaphoreAdd
from xpu_rtl.common.axi import AxiAddress, AxiReadBeat

__all__ = ["CONFIG", "Engine", "Rig", "copy", "expected_copy", "gm", "random_copy", "sm"]

CONFIG = bench_config(drive.CONFIG)
FIRST_INDEX = 100
FETCH_READS = 4
_HALF = 1 << (CONFIG.semaphore_width - 1)


class Engine:
    """Commands to one engine, and what became of them.

    Attributes
    ----------
    commands : list
        Fields of every command issued.
    reports : list
        ``(cause, address, info)`` of every completion.
    adds : Counter
        Amounts by semaphore.
    begins : list
        Indices.
    payload_bytes : int
        Sum of what the engine reported.
    on_done, on_add : callable
        Called with the number of the completion, or the semaphore.
    """

    def __init__(self, dut, name, opcode, rng, *, valid_p, add_p):
        self.name, self.opcode = name, opcode
        self.on_done = self.on_add = lambda _: None
        self.source = Source(dut, f"{name}_cmd", rng=rng, valid_p=valid_p)
        self.forget()
        layout = IssuedCommand(DMA_COPY)
        self._places = {field: layout[field].offset for field in ("command", "ring", "index")}
        completion, add = unpacker(Completion()), unpacker(SemaphoreAdd())

        def done(bits):
            report = completion(bits)["fault"]
            self.reports.append((FaultCause(report["cause"]), report["address"], report["info"]))
            assert len(self.reports) <= self.source.sent, f"{name}: done without a command"
            self.on_done(len(self.reports) - 1)

        def added(bits):
            values = add(bits)
            self.adds[values["semaphore"]] += values["amount"]
            self.on_add(values["semaphore"])

        Sink(dut, f"{name}_done", rng=rng, take=done)
        Sink(dut, f"{name}_add", rng=rng, ready_p=add_p, take=added)
        self._begin = getattr(dut, f"{name}_begin")
        self._index = getattr(dut, f"{name}_begin_index")
        self._bytes = getattr(dut, f"{name}_bytes")
        self.abort, self.quiet = getattr(dut, f"{name}_abort"), getattr(dut, f"{name}_quiet")
        self.abort.value = 0

    def issue(self, commands):
        for command in commands:
            word = (HEADER.pack({"opcode": self.opcode, "slots": DMA_COPY.slots})
                    | DMA_COPY.pack(command))
            index = FIRST_INDEX + len(self.commands)
            self.commands.append(command)
            self.source.send(word << self._places["command"] | index << self._places["index"])

    def forget(self):
        """Begin anew."""
        self.commands, self.reports, self.begins = [], [], []
        self.adds, self.payload_bytes, self.source.sent = Counter(), 0, 0

    def sample(self):
        """Look at the monitor signals of the cycle that ends."""
        if int(self._begin.value):
            self.begins.append(int(self._index.value))
        self.payload_bytes += int(self._bytes.value)

    def check_complete(self):
        """Every command has ended well and said so in the right way."""
        assert self.reports == [(FaultCause.NONE, 0, 0)] * len(self.commands)
        assert self.begins == [FIRST_INDEX + n for n in range(len(self.commands))]
        assert self.payload_bytes == sum(c["rows"] * c["row_bytes"] for c in self.commands)
        progress = Counter()
        if self.opcode is Opcode.DMA_LOAD:
            for command in self.commands:
                progress[command.get("progress_semaphore", 0)] += command["rows"]
            del progress[0]
        assert +self.adds == +progress


class Rig:
    """Everything around the bench; made by ``await Rig.create(...)``.

    Attributes
    ----------
    load, store : Engine
        The engines.
    memory : CocotbMemory
        GM, ``GM_BYTES`` from ``GM_BASE``, random at the start.
    gm_before, sm_before : numpy.ndarray
        Contents at the start.
    host, noise : ScratchpadHost
        Access to the scratchpad; reads nobody wants, with priority.
    check : AxiCheck
        The bus.
    semaphores : Counter
        Values that the store engine sees.
    """

    @classmethod
    async def create(cls, dut, name, *, stall=0.0, rough=0.0, fetches=False):
        """``stall``: of every bus channel; ``rough``: of everything else that can be slow."""
        self = cls()
        self.dut, self.rng = dut, seeded(name)
        power_up(dut)
        dut.core_rst.value = 0
        self.memory = CocotbMemory(dut, GM_BYTES, base=GM_BASE, stall=stall,
                                   seed=self.rng.random())
        self.gm_before = np.frombuffer(self.rng.randbytes(GM_BYTES), np.uint8)
        self.memory.data[:] = self.gm_before
        self.check = AxiCheck(dut, CONFIG, extra_reads=FETCH_READS)
        self.host = ScratchpadHost(dut, CONFIG, self.rng)
        self.noise = ScratchpadHost(dut, CONFIG, self.rng, "noise")
        self.load = Engine(dut, "load", Opcode.DMA_LOAD, self.rng, valid_p=1 - rough,
                           add_p=1 - rough)
        self.store = Engine(dut, "store", Opcode.DMA_STORE, self.rng, valid_p=1 - rough,
                            add_p=1 - rough)
        self.semaphores = Counter()
        await self._fetch(fetches)
        await release(dut)
        cocotb.start_soon(self._monitor())
        self.sm_before = np.frombuffer(self.rng.randbytes(CONFIG.sm_bytes), np.uint8)
        await self.host.write(0, self.sm_before)
        self.rough = rough
        self._disturb()
        return self

    def _disturb(self):
        self.host.disturb, self.noise.disturb = self.rough, 1.5 * self.rough

    async def _fetch(self, wanted):
        """A second reader; GM below ``GM_BYTES // 2`` must not change then."""
        source = Source(self.dut, "fetch_ar", rng=self.rng, valid_p=0.2)
        unpack, pack, due = unpacker(AxiReadBeat(CONFIG.bus_width)), packer(AxiAddress()), deque()
        bus = CONFIG.bus_bytes
        self.fetched = 0

        def ask():
            beats = self.rng.randint(1, 8)
            offset = self.rng.randrange(0, GM_BYTES // 2 // bus) * bus
            beats = min(beats, (4096 - offset % 4096) // bus)
            due.append((offset, beats))
            source.send(pack(addr=GM_BASE + offset, len=beats - 1))

        def take(bits):
            beat, (offset, beats) = unpack(bits), due[0]
            expected = self.gm_before[offset:offset + bus].tobytes()
            assert beat["data"] == int.from_bytes(expected, "little"), f"fetch at {offset:#x}"
            assert beat["resp"] == 0
            assert beat["last"] == (beats == 1)
            due[0] = (offset + bus, beats - 1)
            if beats == 1:
                due.popleft()
                self.fetched += 1
                ask()

        Sink(self.dut, "fetch_r", rng=self.rng, ready_p=0.7, take=take)
        for _ in range(FETCH_READS if wanted else 0):
            ask()

    async def _monitor(self):
        dut, edge = self.dut, RisingEdge(self.dut.clk)
        dut.store_view_reached.value = 0
        while True:
            await edge
            self.load.sample()
            self.store.sample()
            number = int(dut.store_view_semaphore.value)
            distance = self.semaphores[number] - int(dut.store_view_threshold.value)
            dut.store_view_reached.value = not number or not distance & _HALF

    async def finish(self, *, cycles=60_000):
        """Wait until every command is complete; check completions and the quiet bus."""
        engines = (self.load, self.store)
        await until(self.dut, lambda: all(len(e.reports) == len(e.commands) for e in engines),
                    "all commands complete", cycles=cycles)
        for engine in engines:
            engine.check_complete()

    async def scratchpad(self):
        """Return the scratchpad's contents."""
        self.host.disturb = self.noise.disturb = 0
        return await self.host.read(0, CONFIG.sm_bytes)

    async def check_memories(self):
        """Both memories hold what the commands say, to the last byte."""
        expected = expected_copy(self.load.commands, self.gm_before, self.sm_before, gm(0), sm(0))
        same(await self.scratchpad(), expected, "scratchpad")
        expected = expected_copy(self.store.commands, self.sm_before, self.gm_before, sm(0), gm(0))
        same(self.memory.data, expected, "global memory")

    async def stop(self):
        """Stop the engines as the command processor does, and reset them."""
        engines, strobed = (self.load, self.store), self.check.strobed
        for engine in engines:
            engine.abort.value = 1
        await until(self.dut, lambda: all(int(e.quiet.value) for e in engines), "quiet",
                    cycles=5000)
        assert self.check.outstanding["ar"] <= FETCH_READS
        assert self.check.outstanding["aw"] == 0
        # Beats on their way in the cycle of the abort, and no more, are still written.
        assert self.check.strobed - strobed <= 4
        await self.host.settle()
        await self.noise.settle()
        self.dut.core_rst.value = 1
        for engine in engines:
            engine.source.flush()
        await ClockCycles(self.dut.clk, 2)
        self.dut.core_rst.value = 0
        for engine in engines:
            engine.abort.value = 0
        await RisingEdge(self.dut.clk)

    async def restart(self):
        """Stop, then begin anew: no commands, no faults, memories as they are."""
        await self.stop()
        self.memory.faults.clear()
        for engine in (self.load, self.store):
            engine.forget()
        self.gm_before, self.sm_before = self.memory.data.copy(), await self.scratchpad()
        self._disturb()


def same(found, expected, where):
    """Assert equality and name the first difference."""
    wrong = np.flatnonzero(found != expected)
    assert not wrong.size, (f"{where}: {wrong.size} bytes wrong, first at {wrong[0]:#x}: "
                            f"{found[wrong[0]]:#x}, not {expected[wrong[0]]:#x}")


def random_copy(rng, *, load, budget=600, **fields):
    """A 2-D copy at any alignment whose destination rows are disjoint.

    GM is read in its lower half and written in the upper one; likewise SM, so that both engines
    can run at once. Half of the time the GM side lies at a page boundary.
    """
    row_bytes = rng.choice((rng.randint(1, 2 * CONFIG.word_bytes + 1), rng.randint(1, budget)))
    rows = rng.randint(1, max(1, min(12, budget // row_bytes)))
    pitches = (rng.choice((0, 1, row_bytes, -row_bytes, rng.randint(-150, 150))),
               rng.choice((1, -1)) * (row_bytes + rng.choice((0, 1, rng.randint(0, 100)))))
    sizes = (GM_BYTES // 2, CONFIG.sm_bytes // 2)
    bases = (gm(0), sm(0)) if load else (sm(sizes[1]), gm(sizes[0]))
    ends = []
    for base, size, pitch in zip(bases, sizes if load else sizes[::-1], pitches, strict=True):
        reach = (rows - 1) * pitch
        low, high = max(0, -reach), min(size, size - reach) - row_bytes
        offset = rng.randint(low, high)
        if size == sizes[0] and rng.random() < 0.5:
            page = 4096 * rng.randint(1, size // 4096 - 1) - rng.randint(0, row_bytes)
            offset = min(high, max(low, page))
        ends.append(base + offset)
    return copy(*ends, row_bytes, rows, *pitches, **fields)
