"""Everything around an index reader in ``amaranth.sim``: lists, memories, a consumer."""

import random
from collections import deque

import numpy as np
from amaranth import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from support.axi_memory import AxiMemory
from support.dma_nd import expand
from support.dma_odometer import open_windows
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import DMA_ND, Opcode
from xpu_rtl.command.types import FaultReport, IssuedCommand
from xpu_rtl.command.windows import ring_windows
from xpu_rtl.common.axi import AxiReadPort
from xpu_rtl.common.interfaces import connect_stream
from xpu_rtl.dma.index_list import IndexReader
from xpu_rtl.dma.odometer import Odometer
from xpu_rtl.dma.stages import IndexEntry, IndexJob, NdRow
from xpu_rtl.scratchpad.types import ScratchpadPort, ScratchpadRequest

__all__ = ["GM_BASE", "GM_BYTES", "SM", "IndexRig", "OdometerWithLists", "serve_scratchpad"]

GM_BASE = 0x345_6789_0000       #: of the memory model
GM_BYTES = 1 << 16
SM = Space.SM << 44             #: system address of the scratchpad


async def serve_scratchpad(ctx, port, rig):
    """Answer the reads of a scratchpad port from ``rig.scratchpad``, ``rig.sm_latency`` later."""
    layout, size = ScratchpadRequest(rig.config), rig.config.word_bytes
    rng, queue, stalled, ready, cycle = random.Random(f"{rig.seed}-sm"), deque(), None, False, 0
    while True:
        _, _, valid, bits = await ctx.tick().sample(port.req.valid, Value.cast(port.req.payload))
        if stalled is not None:
            assert valid, "scratchpad request withdrawn while stalled"
            assert bits == stalled, "scratchpad request changed while stalled"
        stalled = bits if valid and not ready else None
        if valid and ready:
            request = layout.from_bits(bits)
            assert not request.write
            queue.append((cycle + rig.sm_latency, request.address))
            rig.sm_reads.append((cycle, request.address))
        cycle += 1
        due = bool(queue) and queue[0][0] <= cycle and rng.random() < rig.sm_p
        word = rng.getrandbits(8 * size)
        if due:
            offset = queue.popleft()[1] * size
            word = int.from_bytes(rig.scratchpad[offset:offset + size], "little")
        ctx.set(port.rsp.payload, word)
        ctx.set(port.rsp.valid, due)
        rig.sm_flying = len(queue)
        ready = rng.random() < rig.sm_p
        ctx.set(port.req.ready, ready)


class IndexRig:
    """Read lists and record what happens.

    Parameters
    ----------
    memory : keyword arguments of ``AxiMemory``
    sm_latency, sm_p : scratchpad model; chance per cycle that it takes and answers
    job_p : chance per cycle that a list is offered; ready(cycle) -> bool : an entry is taken
    windows : list of dict, by ring
    """

    def __init__(self, config, *, memory=None, sm_latency=3, sm_p=1.0, job_p=1.0, ready=None,
                 windows=None, seed=0):
        self.config, self.seed, self.job_p = config, seed, job_p
        self.sm_latency, self.sm_p = sm_latency, sm_p
        self.windows = windows or [open_windows() for _ in range(config.rings)]
        self.ready = ready or (lambda cycle: True)
        rng = np.random.default_rng(seed)
        self.memory = AxiMemory(GM_BYTES, base=GM_BASE, width=config.bus_width, seed=seed,
                                **(memory or {}))
        self.memory.data[:] = rng.bytes(GM_BYTES)
        self.scratchpad = rng.bytes(config.sm_bytes)
        self.entries, self.entry_cycles, self.job_cycles, self.sm_reads = [], [], [], []
        self.fault, self.cycle, self.sm_flying, self.ar_cycle = None, 0, 0, None
        self.quiet_at = None

    def entry(self, address):
        """The 32 bits at a system address."""
        memory, offset = ((self.scratchpad, address - SM) if address >> 44 == Space.SM
                          else (self.memory.data, address - GM_BASE))
        return int.from_bytes(memory[offset:offset + 4], "little")

    def bursts(self, address, count):
        """The bursts of a GM list, as ``(address, beats)``: no beat too many."""
        size = self.config.bus_bytes
        most = size * IndexReader.burst_beats(self.config)
        at, end, found = address // size * size, address + 4 * count, []
        while at < end:
            stop = min(at // most * most + most, -(-end // size) * size)
            found.append((at, (stop - at) // size))
            at = stop
        return found

    def run(self, jobs, *, expected=None, extra=8, halt_at=None, timeout=20_000):
        """Read ``jobs`` of ``(address, count, ring)`` until ``expected`` entries (default: all)
        have come or a fault has, then ``extra`` cycles; with ``halt_at`` until not busy."""
        if expected is None:
            expected = sum(count for _, count, _ in jobs)
        dut = IndexReader(self.config, axi_id=5)

        async def source(ctx):
            rng = random.Random(f"{self.seed}-job")
            ctx.set(dut.windows, ring_windows(self.config).const(dict(enumerate(self.windows))))
            for address, count, ring in jobs:
                while rng.random() >= self.job_p:
                    await ctx.tick()
                ctx.set(dut.job.payload, IndexJob().const(
                    {"address": address, "count": count, "ring": ring}))
                ctx.set(dut.job.valid, 1)
                while True:
                    *_, ready = await ctx.tick().sample(dut.job.ready)
                    if ready:
                        break
                self.job_cycles.append(self.cycle)
                ctx.set(dut.job.valid, 0)

        async def sink(ctx):
            stalled, silent = None, 0
            while silent < extra:
                ready = self.ready(self.cycle)
                ctx.set(dut.o.ready, ready)
                if self.cycle == halt_at:
                    ctx.set(dut.halt, 1)
                *_, valid, bits, report, busy, ar_valid, ar_id, r_ready = await ctx.tick().sample(
                    dut.o.valid, Value.cast(dut.o.payload), Value.cast(dut.fault), dut.busy,
                    dut.axi.ar.valid, dut.axi.ar.p.id, dut.axi.r.ready)
                assert r_ready, "read data refused"
                if stalled is not None:
                    assert valid, "entry withdrawn while stalled"
                    assert bits == stalled, "entry changed while stalled"
                stalled = bits if valid and not ready else None
                if not busy:
                    assert not self.memory.outstanding, "not busy with bursts outstanding"
                    assert not self.sm_flying, "not busy with scratchpad accesses outstanding"
                    if halt_at is not None and self.cycle > halt_at and self.quiet_at is None:
                        self.quiet_at = self.cycle
                if ar_valid:
                    assert ar_id == 5
                    self.ar_cycle = self.cycle if self.ar_cycle is None else self.ar_cycle
                if valid:
                    entry = IndexEntry().from_bits(bits)
                    if entry.fault:
                        report = FaultReport().from_bits(report)
                        self.fault = {name: getattr(report, name)
                                      for name in ("cause", "address", "info", "row")}
                    if ready:
                        assert silent == 0 or halt_at is not None, "an entry too many"
                        self.entry_cycles.append(self.cycle)
                        if not entry.fault:
                            self.entries.append(entry.value)
                if len(self.entry_cycles) >= expected or self.quiet_at or (
                        self.fault and ready):
                    silent += 1
                self.cycle += 1
                assert self.cycle < timeout, f"{len(self.entry_cycles)} of {expected} entries"

        sim = Simulator(dut)
        sim.add_clock(1e-9)
        sim.add_testbench(source, background=True)
        sim.add_testbench(self.memory.read_process(dut.axi), background=True)

        async def scratchpad(ctx):
            await serve_scratchpad(ctx, dut.sm, self)

        sim.add_testbench(scratchpad, background=True)
        sim.add_testbench(sink)
        sim.run()
        wanted = [self.entry(address + 4 * i) for address, count, _ in jobs[:len(self.job_cycles)]
                  for i in range(count)
                  if address >> 44 != Space.GM or 0 <= address + 4 * i - GM_BASE < GM_BYTES]
        assert self.entries == wanted[:len(self.entries)]
        if self.fault is None and halt_at is None:
            assert len(self.entries) == expected
        return self


class OdometerWithLists(wiring.Component):
    """An odometer with its index reader; ``run`` compares its rows with the golden model."""

    def __init__(self, config, *, memory=None, seed=0):
        self.rig, self.config = IndexRig(config, memory=memory, seed=seed), config
        super().__init__({
            "cmd": In(stream.Signature(IssuedCommand(DMA_ND))),
            "o": Out(stream.Signature(NdRow(config))), "fault": Out(FaultReport()),
            "axi": Out(AxiReadPort(config.bus_width)), "sm": Out(ScratchpadPort(config)),
            "windows": In(ring_windows(config)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.odometer = odometer = Odometer(self.config, load=True)
        m.submodules.lists = lists = IndexReader(self.config)
        connect_stream(m, odometer.job, lists.job)
        connect_stream(m, lists.o, odometer.entry)
        for inner, name in ((odometer, "cmd"), (odometer, "o"), (lists, "axi"), (lists, "sm")):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(inner, name))
        m.d.comb += [odometer.entry_fault.eq(lists.fault), self.fault.eq(odometer.fault),
                     odometer.windows.eq(self.windows), lists.windows.eq(self.windows)]
        return m

    def memory_entry(self, command, i):
        """Entry i of the list of a command."""
        return self.rig.entry((command["index_low"] | command["index_high"] << 32) + 4 * i)

    def run(self, commands, *, timeout=5000):
        """Check all rows; return how many came, and the fault."""
        expected, bad = [], None
        for command in commands:
            rows, bad = expand(command, Opcode.DMA_LOAD_ND, self.config, entries=[
                self.memory_entry(command, i) for i in range(command["rows"])])
            expected += rows
        found, rig = [], self.rig

        async def source(ctx):
            ctx.set(self.windows, ring_windows(self.config).const(dict(enumerate(rig.windows))))
            for command in commands:
                ctx.set(Value.cast(self.cmd.payload),
                        DMA_ND.pack(command) | int(Opcode.DMA_LOAD_ND))
                ctx.set(self.cmd.valid, 1)
                while True:
                    *_, ready = await ctx.tick().sample(self.cmd.ready)
                    if ready:
                        break
            ctx.set(self.cmd.valid, 0)

        async def scratchpad(ctx):
            await serve_scratchpad(ctx, self.sm, rig)

        async def sink(ctx):
            ctx.set(self.o.ready, 1)
            layout = NdRow(self.config)
            for _ in range(timeout):
                *_, valid, row, report = await ctx.tick().sample(
                    self.o.valid, Value.cast(self.o.payload), Value.cast(self.fault))
                row = layout.from_bits(row)
                if valid and row.fault:
                    report = FaultReport().from_bits(report)
                    assert {name: getattr(report, name) for name in bad} == bad
                    return
                if valid:
                    found.append((row.source, row.destination))
                if bad is None and len(found) == len(expected):
                    return
            raise AssertionError(f"{len(found)} of {len(expected)} rows")

        sim = Simulator(self)
        sim.add_clock(1e-9)
        sim.add_testbench(source, background=True)
        sim.add_testbench(rig.memory.read_process(self.axi), background=True)
        sim.add_testbench(scratchpad, background=True)
        sim.add_testbench(sink)
        sim.run()
        assert found == [(row["source"], row["destination"]) for row in expected]
        return len(found), bad
