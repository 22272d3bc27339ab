"""The surroundings of the DMA, and what commands should do."""

from collections import Counter, deque

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, Event, RisingEdge

from common import drive
from common.axi_check import AxiCheck
from common.drive import Sink, Source, packer, power_up, release, seeded, unpacker, until
from common.scratchpad_host import ScratchpadHost
from dma.bench import bench_config
from dma.engine import Engine
from dma.memories import Memories, same
from support.dma_rig import GM_BASE, GM_BYTES, WIDE_OPEN, copy, gm, sm
from xpu.platforms.cocotb_memory import CocotbMemory
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.windows import RingWindows
from xpu_rtl.common.axi import AxiAddress, AxiReadBeat
from xpu_rtl.dma.engine import stream_names

__all__ = ["CONFIG", "FETCH_ID", "GM_BYTES", "NAMES", "Memories", "Rig", "copy", "gm",
           "random_copy", "same", "sm"]

CONFIG = bench_config(drive.CONFIG)
NAMES = stream_names(CONFIG)
FETCH_READS = 4
FETCH_ID = 2 * len(NAMES) + (2 if CONFIG.simd_cores else 0)
_HALF = 1 << (CONFIG.semaphore_width - 1)
_WINDOWS = RingWindows()


class Rig:
    """Everything around the bench; made by ``await Rig.create(...)``.

    Attributes
    ----------
    engines : dict
        ``Engine`` by name of its stream; those of the first streams are ``load`` and ``store``.
    memory : CocotbMemory
        GM, ``GM_BYTES`` from ``GM_BASE``, random at the start.
    gm_before, sm_before : numpy.ndarray
        Contents at the start.
    host, noise : ScratchpadHost
        Access to the scratchpad; reads nobody wants, with priority.
    check : AxiCheck
        The bus.
    semaphores : Counter
        Values that the store streams see.
    latency : int
        Cycles from the acceptance of a read address to the first time its data may begin.
    entries : dict
        Index lists by their address.
    cycle, read_beats : int, Counter
        Cycles so far; beats by AXI ID.
    """

    @classmethod
    async def create(cls, dut, name, *, stall=0.0, rough=0.0, fetches=False, latency=0):
        """``stall``: of every bus channel; ``rough``: of everything else that can be slow."""
        self = cls()
        self.dut, self.rng, self.latency = dut, seeded(name), latency
        self.cycle, self.read_beats, self.entries = 0, Counter(), {}
        self.bytes_read = self.bytes_written = 0
        power_up(dut)
        self.windows = [dict(WIDE_OPEN) for _ in range(CONFIG.rings)]
        self.set_windows()
        for reset in NAMES:
            getattr(dut, f"{reset}_reset").value = 0
        self.memory = CocotbMemory(dut, GM_BYTES, base=GM_BASE, stall=stall,
                                   seed=self.rng.random(), outstanding=256)
        self._delay_reads()
        self.gm_before = np.frombuffer(self.rng.randbytes(GM_BYTES), np.uint8)
        self.memory.data[:] = self.gm_before
        self.check = AxiCheck(dut, CONFIG, extra_reads=FETCH_READS)
        self.host = ScratchpadHost(dut, CONFIG, self.rng)
        self.noise = ScratchpadHost(dut, CONFIG, self.rng, "noise")
        self.engines = {name: Engine(dut, CONFIG, name, self.rng, self.entries, chance=1 - rough)
                        for name in NAMES}
        self.load, self.store = self.engines["load"], self.engines["store"]
        self.semaphores = Counter()
        self._fetch(fetches)
        await release(dut)
        cocotb.start_soon(self._monitor())
        self.sm_before = np.frombuffer(self.rng.randbytes(CONFIG.sm_bytes), np.uint8)
        await self.host.write(0, self.sm_before)
        self.rough = rough
        self._disturb()
        return self

    def set_windows(self, ring=0, **fields):
        """Change fields of a ring's windows; only while it has no command."""
        self.windows[ring] |= fields
        bits = 0
        for n, windows in enumerate(self.windows):
            bits |= _WINDOWS.const(windows).as_bits() << n * _WINDOWS.size
        self.dut.windows.value = bits

    def _disturb(self):
        self.host.disturb, self.noise.disturb = self.rough, 1.5 * self.rough

    def _delay_reads(self):
        """Hold read addresses for ``latency`` cycles, any number of them at a time."""
        channel, waiting = self.memory.channels["ar"], deque()
        receive, arrived = channel.recv, Event()

        async def take():
            while True:
                address = await receive()
                waiting.append((self.cycle + self.latency, address))
                arrived.set()

        async def delayed():
            edge = RisingEdge(self.dut.clk)
            while not waiting:
                arrived.clear()
                await arrived.wait()
            due, address = waiting.popleft()
            while self.cycle < due:
                await edge
            return address

        channel.recv = delayed
        cocotb.start_soon(take())

    def _fetch(self, wanted):
        """Command fetch; GM below ``GM_BYTES // 4`` must not change then."""
        source = Source(self.dut, "fetch_ar", rng=self.rng, valid_p=0.2)
        unpack, pack, due = unpacker(AxiReadBeat(CONFIG.bus_width)), packer(AxiAddress()), deque()
        bus = CONFIG.bus_bytes
        self.fetched = 0

        def ask():
            beats = self.rng.randint(1, 8)
            offset = self.rng.randrange(0, GM_BYTES // 4 // bus) * bus
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
        views = [[getattr(dut, f"{name}_view_{part}")
                  for part in ("semaphore", "threshold", "reached")]
                 for name in NAMES if name.startswith("store")]
        for *_, reached in views:
            reached.value = 0
        read, valid, ready, number = (dut.bytes_read, dut.m_axi_rvalid, dut.m_axi_rready,
                                      dut.m_axi_rid)
        while True:
            await edge
            self.cycle += 1
            for engine in self.engines.values():
                engine.sample()
            self.bytes_read += int(read.value)
            self.bytes_written += int(dut.bytes_written.value)
            if int(valid.value) and int(ready.value):
                self.read_beats[int(number.value)] += 1
            for semaphore, threshold, reached in views:
                wanted = int(semaphore.value)
                distance = self.semaphores[wanted] - int(threshold.value)
                reached.value = not wanted or not distance & _HALF

    async def put_list(self, address, entries):
        """Place an index list at a system address, while no command runs."""
        place = SystemAddress.decode(address)
        data = np.frombuffer(np.array(entries, "<u4").tobytes(), np.uint8)
        at = place.offset - (GM_BASE if place.space is Space.GM else 0)
        before = self.gm_before if place.space is Space.GM else self.sm_before
        before = before.copy()
        before[at:at + data.size] = data
        if place.space is Space.GM:
            self.memory.data[:] = self.gm_before = before
        else:
            await self.host.write(at, data)
            self.sm_before = before
        self.entries[address] = list(entries)

    async def finish(self, *, cycles=60_000, names=NAMES):
        """Wait until every command is complete; check completions and counts of bytes."""
        engines = [self.engines[name] for name in names]
        await until(self.dut, lambda: all(len(e.reports) == len(e.commands) for e in engines),
                    "all commands complete", cycles=cycles)
        for engine in engines:
            engine.check_complete()
        await ClockCycles(self.dut.clk, 3)
        if len(engines) == len(NAMES):
            read, written = np.sum([engine.payload for engine in engines], axis=0)
            assert (self.bytes_read, self.bytes_written) == (read, written)

    async def scratchpad(self):
        """Return the scratchpad's contents."""
        self.host.disturb = self.noise.disturb = 0
        return await self.host.read(0, CONFIG.sm_bytes)

    def expected(self, names=NAMES, *, legal=False):
        """``Memories`` after all commands of the named streams, faulted ones up to the fault."""
        memories = Memories(self.gm_before, self.sm_before, legal=legal)
        for name in names:
            for rows, _ in self.engines[name].rows:
                memories.move(rows)
        return memories

    async def check_memories(self):
        """Both memories hold what the commands say, to the last byte."""
        self.expected().check(self.memory.data, await self.scratchpad())

    async def stop(self, names=NAMES):
        """Stop streams as the command processor does, and reset them."""
        engines, strobed = [self.engines[name] for name in names], self.check.strobed
        for engine in engines:
            engine.abort.value = 1
        await RisingEdge(self.dut.clk)
        await until(self.dut, lambda: all(int(e.quiet.value) for e in engines), "quiet",
                    cycles=8000)
        if len(engines) == len(NAMES):
            for number, count in self.check.outstanding["ar"].items():
                assert count <= (FETCH_READS if number == FETCH_ID else 0), f"ID {number}"
            assert not self.check.outstanding["aw"].total()
            # Beats on their way in the cycle of the abort, and no more, are still written.
            stores = sum(name.startswith("store") for name in names)
            assert self.check.strobed - strobed <= 4 * stores
        for engine in engines:
            engine.reset.value = 1
            engine.source.flush()
        await ClockCycles(self.dut.clk, 2)
        for engine in engines:
            engine.reset.value = 0
            engine.abort.value = 0
        await RisingEdge(self.dut.clk)

    async def restart(self):
        """Stop, then begin anew: no commands, no faults, memories as they are."""
        await self.stop()
        self.memory.faults.clear()
        for engine in self.engines.values():
            engine.forget()
        self.gm_before, self.sm_before = self.memory.data.copy(), await self.scratchpad()
        self.bytes_read = self.bytes_written = 0
        self._disturb()


def random_copy(rng, *, load, budget=600, **fields):
    """A 2-D copy at any alignment whose destination rows are disjoint.

    GM is read in its lower half and written in the upper one; likewise SM, so that load and store
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
