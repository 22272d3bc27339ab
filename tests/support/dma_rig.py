"""Everything around one DMA stream in ``amaranth.sim``: commands, memories, monitors."""

import random
from collections import deque

import numpy as np
from amaranth import Value
from amaranth.sim import Simulator

from support import dma_nd
from support.axi_memory import AxiMemory
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import DMA_ND, Opcode
from xpu_rtl.command.types import Activity, IssuedCommand
from xpu_rtl.dma.stream import DmaStream
from xpu_rtl.scratchpad.types import ScratchpadRequest

__all__ = ["GM_BASE", "GM_BYTES", "WIDE_OPEN", "DmaRig", "copy", "gm", "make_rig",
           "random_command", "sm"]

#: Windows that allow everything.
WIDE_OPEN = {"gm0_last": 0xFFFF_FFFF, "sm_last": (1 << 18) - 1, "semaphore_last": 255,
             **dict.fromkeys(("gm0_read", "gm0_write", "sm_read", "sm_write", "wait", "signal"), 1)}

GM_BASE = 0x345_6789_0000       #: of the memory model
GM_BYTES = 1 << 16


def gm(offset):
    """System address of a byte of the memory model."""
    return SystemAddress(Space.GM, GM_BASE + offset).encode()


def sm(offset):
    """System address of a scratchpad byte."""
    return SystemAddress(Space.SM, offset).encode()


def copy(source, destination, row_bytes, rows=1, source_pitch=0, destination_pitch=0, **fields):
    """Fields of a DMA_COPY command."""
    return {"source_low": source & 0xFFFFFFFF, "source_high": source >> 32,
            "destination_low": destination & 0xFFFFFFFF, "destination_high": destination >> 32,
            "row_bytes": row_bytes, "rows": rows, "source_pitch": source_pitch,
            "destination_pitch": destination_pitch, **fields}


class DmaRig:
    """Run commands through a stream and record what it does.

    A command is a dictionary of fields; with a ``mode`` it is a DMA_ND, else a DMA_COPY with
    random bits behind it.

    Parameters
    ----------
    dut, load : the stream and its side
    windows : fields of ``RingWindows`` of ring 0
    memory : keyword arguments of ``AxiMemory``, which counts bursts of data, index lists and writes
    sm_latency, sm_ready_p, sm_jitter : scratchpad model
    add_ready_p : chance that the ``add`` stream is taken
    semaphore : callable(number, threshold, cycle) -> bool, the view's answer
    """

    def __init__(self, dut, config, *, load, memory=None, sm_latency=3, sm_ready_p=1.0,
                 sm_jitter=0, add_ready_p=1.0, semaphore=None, windows=None, seed=0):
        self.dut, self.config, self.load = dut, config, load
        self.windows = WIDE_OPEN | (windows or {})
        self.memory = AxiMemory(GM_BYTES, base=GM_BASE, width=config.bus_width, seed=seed,
                                **({"max_outstanding": 3 * config.max_bursts} | (memory or {})))
        rng = np.random.default_rng(seed)
        self.memory.data[:] = rng.integers(0, 256, GM_BYTES, dtype=np.uint8).tobytes()
        self.scratchpad = bytearray(
            rng.integers(0, 256, config.sm_bytes, dtype=np.uint8).tobytes())
        self.sm_latency, self.sm_ready_p, self.sm_jitter = sm_latency, sm_ready_p, sm_jitter
        self.add_ready_p, self.semaphore, self.seed = add_ready_p, semaphore, seed
        self.gm_before = np.frombuffer(bytes(self.memory.data), dtype=np.uint8)
        self.sm_before = np.frombuffer(bytes(self.scratchpad), dtype=np.uint8)
        self.done, self.begins, self.adds = [], [], []
        self.sm_cycles, self.sm_rsp_cycles, self.cmd_cycles = [], [], []
        self.activities, self.payload_bytes, self.cycle = [], 0, 0
        self.quiet, self.sm_flying = False, {}
        self.entries = {}
        self.abort_at, self.quiet_at = None, None

    @property
    def gm_now(self):
        return np.frombuffer(bytes(self.memory.data), dtype=np.uint8)

    @property
    def sm_now(self):
        return np.frombuffer(bytes(self.scratchpad), dtype=np.uint8)

    def opcode(self, command):
        """Opcode of a command."""
        opcode = Opcode.DMA_LOAD if self.load else Opcode.DMA_STORE
        return Opcode(opcode + 2) if "mode" in command else opcode

    def rows(self, command):
        """``(good rows, fault or None)`` of a command, by the golden model."""
        return dma_nd.expand(command, self.opcode(command), self.config, entries=self.entries.get(
            command.get("index_low", 0) | command.get("index_high", 0) << 32))

    @property
    def moved(self):
        """``(expected, now)`` bytes of the destination memory, for the commands of ``run``."""
        memory = {Space.GM: bytearray(self.gm_before), Space.SM: bytearray(self.sm_before)}

        def at(address):
            place = SystemAddress.decode(address)
            return memory[place.space], place.offset - (GM_BASE if place.space is Space.GM else 0)

        def read(address, size):
            data, offset = at(address)
            return bytes(data[offset:offset + size])

        def write(address, data):
            target, offset = at(address)
            target[offset:offset + len(data)] = data

        for command in self.commands:
            rows, _ = self.rows(command)
            dma_nd.move(rows, read, write)
        space = Space.SM if self.load else Space.GM
        now = self.sm_now if self.load else self.gm_now
        return np.frombuffer(bytes(memory[space]), dtype=np.uint8), now

    def put_list(self, address, entries):
        """Place an index list at a system address, before ``run``."""
        place = SystemAddress.decode(address)
        data = b"".join(int(entry).to_bytes(4, "little") for entry in entries)
        memory, offset = ((self.memory.data, place.offset - GM_BASE)
                          if place.space is Space.GM else (self.scratchpad, place.offset))
        memory[offset:offset + len(data)] = data
        self.entries[address] = list(entries)
        self.gm_before, self.sm_before = self.gm_now, self.sm_now

    def run(self, commands, *, expected=None, abort_at=None, extra=0, timeout=20_000):
        """Issue ``commands``, run until ``expected`` completions (default: all) or, with
        ``abort_at``, until quiet; then ``extra`` cycles more."""
        self.commands = commands
        expected = len(commands) if expected is None else expected
        dut = self.dut
        port = dut.port
        cmd_layout = IssuedCommand(DMA_ND)
        rng = random.Random(f"{self.seed}-words")
        words = []
        for n, command in enumerate(commands):
            word = (cmd_layout.const({"index": 100 + n, "ring": 0}).as_bits()
                    | DMA_ND.pack(command) | int(self.opcode(command)))
            if "mode" not in command:       # what a short command leaves undefined
                word |= rng.getrandbits(DMA_ND.bits - DMA_ND.lsb["mode"]) << DMA_ND.lsb["mode"]
            words.append(word)
        cmd_payload = Value.cast(port.cmd.payload)
        fault = port.done.p.fault
        payload = dut.bytes_read if self.load else dut.bytes_written

        async def source(ctx):
            for word in words:
                ctx.set(cmd_payload, word)
                ctx.set(port.cmd.valid, 1)
                while True:
                    _, _, ready = await ctx.tick().sample(port.cmd.ready)
                    if ready:
                        break
                self.cmd_cycles.append(self.cycle)
            ctx.set(port.cmd.valid, 0)

        async def watch(ctx):
            rng = random.Random(f"{self.seed}-add")
            ready, stalled = False, None
            signals = [port.done.valid, fault.cause, fault.address, fault.info, port.begin,
                       port.begin_index, port.add.valid, Value.cast(port.add.payload),
                       Value.cast(port.activity), payload, port.quiet, fault.row]
            while len(self.done) < expected or abort_at is not None:
                ready = rng.random() < self.add_ready_p
                ctx.set(port.add.ready, ready)
                if self.cycle == abort_at:
                    ctx.set(port.abort, 1)
                (_, _, done, cause, address, info, begin, index, add_valid, add, activity,
                 payload_bytes, self.quiet, row) = await ctx.tick().sample(*signals)
                if done:
                    self.done.append((self.cycle, cause, address, info))
                    self.fault_row = row
                if begin:
                    self.begins.append((self.cycle, index))
                if stalled is not None:
                    assert add_valid, "add withdrawn while stalled"
                    assert add == stalled, "add changed while stalled"
                stalled = add if add_valid and not ready else None
                if add_valid and ready:
                    self.adds.append((self.cycle, add & 0xFF, add >> 8))
                self.activities.append(Activity(activity))
                self.payload_bytes += payload_bytes
                if self.quiet:
                    assert not self.memory.outstanding, "quiet with bursts outstanding"
                    assert not any(self.sm_flying.values()), "quiet with accesses outstanding"
                self.cycle += 1
                assert self.cycle < timeout, (
                    f"{len(self.done)} of {expected} commands after {timeout} cycles")
                if abort_at is not None and self.cycle > abort_at and self.quiet:
                    self.quiet_at = self.cycle
                    break
            for _ in range(extra):
                *_, done, quiet = await ctx.tick().sample(port.done.valid, port.quiet)
                assert not done
                assert quiet
                self.cycle += 1

        sim = Simulator(dut)
        sim.add_clock(1e-9)
        sim.add_testbench(source, background=True)
        async def permit(ctx):
            ctx.set(dut.windows[0], self.windows)

        sim.add_testbench(permit)
        sim.add_testbench(self.memory.read_process(dut.read), background=True)
        sim.add_testbench(self.memory.read_process(dut.index), background=True)
        ports = {"sm_read": dut.sm_read, "sm_index": dut.sm_index}
        if self.load:
            ports["sm_write"] = dut.sm_write
        else:
            sim.add_testbench(self.memory.write_process(dut.write), background=True)
            sim.add_testbench(self._view, background=True)
        for name, sm_port in ports.items():
            sim.add_testbench(self._scratchpad(name, sm_port), background=True)
        sim.add_testbench(watch)
        sim.run()

    async def _view(self, ctx):
        view, cycle = self.dut.view, 0
        while True:
            _, _, number, threshold = await ctx.tick().sample(view.semaphore, view.threshold)
            reached = number == 0 or self.semaphore is None or self.semaphore(
                number, threshold, cycle)
            ctx.set(view.reached, bool(reached))
            cycle += 1

    def _scratchpad(self, name, port):
        async def serve(ctx):
            await self._serve(ctx, name, port)
        return serve

    async def _serve(self, ctx, name, port):
        size, data_port = self.config.word_bytes, name != "sm_index"
        rng = random.Random(f"{self.seed}-{name}")
        layout, payload = ScratchpadRequest(self.config), Value.cast(port.req.payload)
        queue, stalled, ready, cycle = deque(), None, False, 0
        while True:
            _, _, valid, bits = await ctx.tick().sample(port.req.valid, payload)
            if stalled is not None:
                assert valid, "scratchpad request withdrawn while stalled"
                assert bits == stalled, "scratchpad request changed while stalled"
            stalled = bits if valid and not ready else None
            if valid and ready:
                request = layout.from_bits(bits)
                queue.append((max(cycle + self.sm_latency + rng.randrange(self.sm_jitter + 1),
                                  queue[-1][0] if queue else 0), request))
                if data_port and (name == "sm_write") == self.load:
                    self.sm_cycles.append(cycle)
            cycle += 1
            if queue and queue[0][0] <= cycle:
                _, request = queue.popleft()
                if data_port and (name == "sm_write") == self.load:
                    self.sm_rsp_cycles.append(cycle)
                ctx.set(port.rsp.payload, self._access(request, size))
                ctx.set(port.rsp.valid, 1)
            else:
                ctx.set(port.rsp.payload, rng.getrandbits(8 * size))
                ctx.set(port.rsp.valid, 0)
            self.sm_flying[name] = len(queue)
            ready = rng.random() < self.sm_ready_p
            ctx.set(port.req.ready, ready)
            ctx.set(port.waiting, bool(queue) and not ready)

    def _access(self, request, size):
        offset = request.address * size
        word = int.from_bytes(self.scratchpad[offset:offset + size], "little")
        if not request.write:
            return word
        assert request.strobe, "write without a byte"
        for lane in range(size):
            if request.strobe >> lane & 1:
                self.scratchpad[offset + lane] = request.data >> (8 * lane) & 0xFF
        return random.Random(word).getrandbits(8 * size)


def random_command(rng, config, *, load, budget=1500):
    """A command with random alignment, row size and pitches whose destination rows are disjoint."""
    row_bytes = int(rng.choice([rng.integers(1, 2 * config.word_bytes + 2),
                                rng.integers(1, 200), rng.integers(1, budget)]))
    rows = int(rng.integers(1, max(2, min(12, budget // row_bytes) + 1)))
    sizes = {"source": config.sm_bytes, "destination": config.sm_bytes}
    sizes["source" if load else "destination"] = GM_BYTES
    pitch = {"source": int(rng.choice([0, 1, row_bytes, -row_bytes, int(rng.integers(-300, 300)),
                                       config.word_bytes * int(rng.integers(-20, 20))])),
             "destination": int(rng.choice([1, -1]))
             * (row_bytes + int(rng.choice([0, 1, int(rng.integers(0, 100))])))}
    start = {}
    for side, size in sizes.items():
        reach = (rows - 1) * pitch[side]
        low, high = max(0, -reach), min(size, size - reach) - row_bytes
        if side == ("source" if load else "destination") and rng.random() < 0.5:
            start[side] = min(high, max(low, 4096 * int(rng.integers(1, 15))
                                        - int(rng.integers(0, row_bytes + 1))))
        else:
            start[side] = int(rng.integers(low, high + 1))
    address = (gm, sm) if load else (sm, gm)
    return copy(address[0](start["source"]), address[1](start["destination"]), row_bytes, rows,
                pitch["source"], pitch["destination"])


def make_rig(config, *, load, **options):
    """A rig around a new load or store stream."""
    return DmaRig(DmaStream(config, load=load), config, load=load, **options)
