"""Everything around an odometer in ``amaranth.sim``: commands, index lists, a consumer of rows."""

import random
from collections import deque

from amaranth import ResetInserter, Signal, Value
from amaranth.sim import Simulator

from support.dma_nd import expand, fault, field_fault
from xpu_rtl.address_map import OFFSET_WIDTH
from xpu_rtl.command.formats import DMA_COPY, DMA_ND, DmaAxis, DmaMode, FaultCause, Opcode
from xpu_rtl.command.types import FaultReport, IssuedCommand
from xpu_rtl.command.windows import ring_windows
from xpu_rtl.dma.odometer import Odometer
from xpu_rtl.dma.stages import IndexEntry, IndexJob, NdRow

__all__ = ["UNREADABLE", "OdometerRig", "first_reports", "open_windows", "random_command",
           "same_row"]

UNREADABLE = fault(FaultCause.BUS_READ, address=0x1230, info=2)
FULL = {DmaMode.COPY: (), DmaMode.GATHER: (), DmaMode.SCATTER: (), DmaMode.FILL: ("fill",),
        DmaMode.CLIP: ("fill",),
        DmaMode.TRANSPOSE: ("rows", "source_pitch", "destination_pitch", "element_log2")}


def open_windows():
    """Windows of a ring that allow everything."""
    return {**{f"gm{n}_{name}": value for n in (0, 1) for name, value in (
        ("first", 0), ("last", 0xFFFFFFFF), ("read", 1), ("write", 1))},
        "sm_first": 0, "sm_last": 0x3FFFF, "sm_read": 1, "sm_write": 1,
        "semaphore_first": 0, "semaphore_last": 255, "wait": 1, "signal": 1}


def same_row(row, expected):
    """Assert that a row of the odometer is the one expected, where its fields have a meaning."""
    names = ["destination", "bytes", "left", "copied", "transpose", "first", "last", "semaphore",
             "threshold", "ring", "index", *FULL[expected["mode"]]]
    if expected["mode"] != DmaMode.FILL:
        names.append("source")
    for name in names:
        value = expected[name]
        if name.endswith("_pitch"):
            value &= 0xFFFFFFFF
        assert row[name] == value, f"row {expected['number']}: {name}"
    assert row["fault"] == 0


class OdometerRig:
    """Run commands through an ``Odometer`` and compare its rows with the golden model.

    Parameters
    ----------
    config, load : of the odometer
    windows : list of dict, by ring; default: everything is allowed
    cmd_p, entry_p, ready_p : chances per cycle that a command is offered, an entry is, a row taken

    Attributes
    ----------
    cmd_cycles, job_cycles, entry_cycles, row_cycles : cycles of the transfers
    rows : rows transferred, as dict; fault : the report with a row with fault, or None
    """

    def __init__(self, config, *, load, windows=None, cmd_p=1.0, entry_p=1.0, ready_p=1.0, seed=0):
        self.config, self.load = config, load
        self.windows = windows or [open_windows() for _ in range(config.rings)]
        self.chances = {"cmd": cmd_p, "entry": entry_p, "ready": ready_p}
        self.seed = seed
        self.cmd_cycles, self.job_cycles, self.entry_cycles, self.row_cycles = [], [], [], []
        self.rows, self.fault, self.cycle, self.jobs = [], None, 0, []

    def expected(self, commands):
        """``(rows, fault)`` of all commands, up to the first fault."""
        rows = []
        for n, (opcode, fields, entries) in enumerate(commands):
            ring = n % self.config.rings
            more, bad = expand(fields, opcode, self.config, windows=self.windows[ring],
                               entries=entries, ring=ring, index=100 + n)
            rows += more
            if bad:
                return rows, {**bad, "index": 100 + n, "first": int(not more)}
        return rows, None

    def words(self, commands):
        """The commands as issued. What a short one does not have is random."""
        rng = random.Random(f"{self.seed}-garbage")
        layout = IssuedCommand(DMA_ND)
        words = []
        for n, (opcode, fields, _) in enumerate(commands):
            fmt = DMA_ND if opcode & 2 else DMA_COPY
            body = fmt.pack({name: value for name, value in fields.items() if name in fmt.lsb})
            body |= rng.getrandbits(DMA_ND.bits - fmt.end) << fmt.end
            header = rng.getrandbits(DMA_ND.first_bit - 8) << 8 | int(opcode)
            words.append(layout.const({"index": 100 + n, "ring": n % self.config.rings}).as_bits()
                         | body | header)
        return words

    def run(self, commands, *, extra=12, timeout=20_000, stop_at=None):
        """Run all commands, check rows, jobs and fault; ``extra`` cycles more must be silent."""
        rows, bad = self.expected(commands)
        total = len(rows) + (bad is not None)
        words = self.words(commands)
        dut = Odometer(self.config, load=self.load)
        row_layout, job_layout = NdRow(self.config), IndexJob()
        rng = {name: random.Random(f"{self.seed}-{name}") for name in self.chances}

        def chance(name):
            return rng[name].random() < self.chances[name]

        async def source(ctx):
            for ring, windows in enumerate(self.windows):
                ctx.set(Value.cast(dut.windows),
                        ctx.get(Value.cast(dut.windows)) | ring_windows(self.config).const(
                            {ring: windows}).as_bits())
            for word in words:
                while not chance("cmd"):
                    await ctx.tick()
                ctx.set(Value.cast(dut.cmd.payload), word)
                ctx.set(dut.cmd.valid, 1)
                while True:
                    *_, ready = await ctx.tick().sample(dut.cmd.ready)
                    if ready:
                        break
                self.cmd_cycles.append(self.cycle)
                ctx.set(dut.cmd.valid, 0)
                ctx.set(Value.cast(dut.cmd.payload), rng["cmd"].getrandbits(1500))

        async def lists(ctx):
            entries, offered, counts = deque(), False, {}
            while True:
                ctx.set(dut.job.ready, 1 if len(entries) < 64 else 0)
                if entries and (offered or chance("entry")):
                    value, bad_entry = entries[0]
                    ctx.set(dut.entry.payload, IndexEntry().const({"value": value,
                                                                   "fault": bad_entry}))
                    offered = True
                ctx.set(dut.entry.valid, offered)
                if offered and entries[0][1]:
                    ctx.set(dut.entry_fault, FaultReport().const(UNREADABLE | {"row": 77}))
                *_, job_valid, job_ready, job, taken = await ctx.tick().sample(
                    dut.job.valid, dut.job.ready, Value.cast(dut.job.payload), dut.entry.ready)
                if offered and taken:
                    entries.popleft()
                    self.entry_cycles.append(self.cycle)
                    offered = False
                if job_valid and job_ready:
                    job = job_layout.from_bits(job)
                    self.job_cycles.append(self.cycle)
                    self.jobs.append((job.address, job.count, job.ring))
                    # Jobs are for the command accepted last.
                    n = len(self.cmd_cycles) - 1
                    counts[n] = counts.get(n, -1) + 1
                    values = commands[n][2]
                    values = values(counts[n]) if callable(values) else values
                    entries += [(0, 1) if isinstance(value, dict) else (value, 0)
                                for value in values[:job.count]]

        async def sink(ctx):
            stalled, silent = None, 0
            while silent < extra:
                ready = chance("ready")
                ctx.set(dut.o.ready, ready)
                if self.cycle == stop_at:
                    ctx.set(dut.stop, 1)
                *_, valid, bits, report = await ctx.tick().sample(
                    dut.o.valid, Value.cast(dut.o.payload), Value.cast(dut.fault))
                if stalled is not None:
                    assert valid, "row withdrawn while stalled"
                    assert bits == stalled, "row changed while stalled"
                stalled = bits if valid and not ready else None
                if valid:
                    row = row_layout.from_bits(bits)
                    if row.fault:
                        report = FaultReport().from_bits(report)
                        self.fault = {name: getattr(report, name)
                                      for name in ("cause", "address", "info", "row")}
                        self.fault |= {"index": row.index, "first": row.first}
                        if ready:
                            total_seen = len(self.rows) + 1
                            assert total_seen == total, "fault in the wrong place"
                            self.row_cycles.append(self.cycle)
                    elif ready:
                        self.row_cycles.append(self.cycle)
                        self.rows.append({name: getattr(row, name) for name, _ in row_layout})
                if len(self.row_cycles) >= total or stop_at is not None:
                    silent += 1
                assert len(self.row_cycles) <= total, "a row too many"
                self.cycle += 1
                assert self.cycle < timeout, f"{len(self.rows)} of {total} rows"

        sim = Simulator(dut)
        sim.add_clock(1e-9)
        sim.add_testbench(source, background=True)
        sim.add_testbench(lists, background=True)
        sim.add_testbench(sink)
        sim.run()
        if stop_at is None:
            assert len(self.rows) == len(rows)
            assert self.fault == bad
        for row, one in zip(self.rows, rows, strict=False):
            same_row(row, one)
        return self


def first_reports(config, commands, *, load, windows, seed=0):
    """Run each command alone after a reset; return its fault before row 0 moves, or None.

    Each is compared with the golden model.
    """
    rig = OdometerRig(config, load=load, windows=windows, seed=seed)
    rst, dut = Signal(), Odometer(config, load=load)
    row_layout, reports = NdRow(config), []

    async def bench(ctx):
        ctx.set(dut.windows, ring_windows(config).const(dict(enumerate(windows))))
        for command, word in zip(commands, rig.words(commands), strict=True):
            ctx.set(rst, 1)
            await ctx.tick()
            ctx.set(rst, 0)
            word_now = word & ~(7 << DMA_ND.bits)       # all from ring 0
            ctx.set(Value.cast(dut.cmd.payload), word_now)
            ctx.set(dut.cmd.valid, 1)
            await ctx.tick()
            ctx.set(dut.cmd.valid, 0)
            report = None
            for _ in range(Odometer.LATENCY + Odometer.MATH_LATENCY + 2):
                *_, valid, row, fault_bits = await ctx.tick().sample(
                    dut.o.valid, Value.cast(dut.o.payload), Value.cast(dut.fault))
                row = row_layout.from_bits(row)
                if valid and row.fault:
                    found = FaultReport().from_bits(fault_bits)
                    report = {name: getattr(found, name)
                              for name in ("cause", "address", "info", "row")}
                    assert row.first == 1
            *_, job, ready = await ctx.tick().sample(dut.job.valid, dut.cmd.ready)
            opcode, fields, _ = command
            assert report == field_fault(fields, opcode, config, windows[0]), fields
            if report:
                assert not job
                assert not ready
            reports.append(report)

    sim = Simulator(ResetInserter(rst)(dut))
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    return reports


def _address(rng):
    return rng.choice([rng.getrandbits(OFFSET_WIDTH), 1 << 44 | rng.getrandbits(14),
                       rng.getrandbits(48)])


def random_command(rng, config, *, load, modes=tuple(DmaMode), most=60, short_p=0.2):
    """A good command ``(opcode, fields, entries)`` with at most ``most`` rows, all else random."""
    mode = rng.choice(modes)
    short = mode == DmaMode.COPY and rng.random() < short_p
    names = ["rows"] if short else rng.sample(["rows", *(f"count{n}" for n in range(2, 6))], 5)
    counts, room = {f"count{n}": 1 for n in range(2, 6)}, most
    for name in names:
        counts[name] = 1 if rng.random() < 0.3 else rng.randint(1, max(1, min(room, 9)))
        room //= counts[name]
    element = rng.randrange(3) if mode == DmaMode.TRANSPOSE else 0
    if mode == DmaMode.TRANSPOSE and rng.random() < 0.5:
        counts["rows"] = rng.randint(1, 65_535)
    fields = {f.name: 0 if f.name.startswith("reserved") else rng.getrandbits(f.width)
              - (1 << (f.width - 1) if f.signed else 0) for f in DMA_ND.fields}
    row_bytes = rng.choice([rng.randint(1, 40), rng.randint(1, (1 << 24) - 4)])
    fields |= counts | {
        "mode": int(mode), "row_bytes": -(-row_bytes >> element << element),
        "element_log2": element, "progress_semaphore": rng.choice(
            [0, rng.randrange(config.semaphores)])}
    for name in ("source", "destination", "index"):
        address = _address(rng) & (-4 if name == "index" else -1)
        fields |= {f"{name}_low": address & 0xFFFFFFFF, f"{name}_high": address >> 32}
    if mode == DmaMode.FILL:
        fields["source_high"] = rng.getrandbits(32)
    entries = None
    if mode in (DmaMode.GATHER, DmaMode.SCATTER):
        limit = fields["index_limit"] = rng.choice([1, rng.randint(1, 100), 0xFFFFFFFF])
        key = rng.getrandbits(64)

        def entries(job):
            draw = random.Random(f"{key}-{job}")
            return [draw.choice([draw.randrange(limit), limit - 1]) for _ in range(counts["rows"])]
    if mode == DmaMode.CLIP:
        _clip_fields(rng, fields)
    opcode = Opcode.DMA_LOAD if load else Opcode.DMA_STORE
    return (opcode if short else Opcode(opcode + 2)), fields, entries


def _clip_fields(rng, fields):
    """Bounds that cut some rows and not others, or now and then anything."""
    if rng.random() < 0.15:
        fields["x_limit"] &= (1 << 31) - 1
        return
    size = fields["row_bytes"] = rng.randint(1, 50)
    fields |= {"x_start": rng.randint(-size - 4, size), "x_limit": rng.randint(0, 3 * size)}
    for axis in "uv":
        fields |= {f"{axis}_start": rng.randint(-3, 3), f"{axis}_limit": rng.randint(0, 9)}
    for n in range(1, 6):
        fields[f"axis{n}"] = int(rng.choice(list(DmaAxis)))
        fields[f"step{n}"] = rng.choice([rng.randint(-3, 3), rng.randint(-size, size)])
