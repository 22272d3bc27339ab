"""``python -m xpu bench dma-faults``: every fault a DMA job can meet, one after the other."""

import contextlib
import json
import sys
from dataclasses import dataclass

import numpy as np

from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import DmaMode, Engine, FaultCause, Opcode
from xpu_rtl.csr.maps import CLUSTER

from ..commands import Command
from ..errors import ArgumentError, DeviceFault
from ..opening import open_device
from .figures import add_device_arguments

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "inject an error at every beat and a window violation at every row of DMA jobs"

PAGE, LINE, SLVERR = 4096, 64, 2
SOURCE, TARGET, LIST = 0x10_0000, 0x20_0000, 0x30_0000      # in GM
SM_SOURCE, SM_TARGET = 0, 16 * 1024
SM_BYTES = 32 * 1024        # of the scratchpad that the jobs use
GUARD = 256     # bytes around the destination that are compared, too


def add_arguments(parser):
    add_device_arguments(parser, platforms=False)


def _sm(offset):
    return SystemAddress(Space.SM, offset).encode()


@dataclass
class Expected:
    """How a fault must be reported. ``before``: rows complete; ``after``: rows untouched."""

    cause: FaultCause
    address: int
    info: int
    row: int
    before: int
    after: int


class Job:
    """A command, and where each of its rows begins on either side."""

    def __init__(self, name, command, rows, row_bytes, source, target, matrix=None):
        self.name, self.command, self.row_bytes, self.matrix = name, command, row_bytes, matrix
        self.source_space, self.target_space = source[0], target[0]
        self.starts = [(source[1] + a, target[1] + b) for a, b in rows]
        self.engine = Engine.LOAD if self.target_space is Space.SM else Engine.STORE
        self.low = min(b for _, b in self.starts) - GUARD
        extent = matrix[1] * matrix[0] if matrix else row_bytes
        self.high = max(b for _, b in self.starts) + extent + GUARD


def _jobs(config):
    """The jobs: plain and N-dimensional copies in three directions, a gather, a transposition."""
    ones = {f"count{n}": 1 for n in range(2, 6)}
    row, pitch, count = 700, 1024, 12

    def plain(name, opcode, source, target):
        ends = [SystemAddress(space, offset).encode() for space, offset in (source, target)]
        return Job(name, Command(opcode, source=ends[0], destination=ends[1], row_bytes=row,
                                 rows=count, source_pitch=pitch, destination_pitch=pitch),
                   [(pitch * n, pitch * n) for n in range(count)], row, source, target)

    gm, sm = (Space.GM, SOURCE + 3), (Space.SM, SM_TARGET + 5)
    yield plain("load", Opcode.DMA_LOAD, gm, sm)
    yield plain("store", Opcode.DMA_STORE, (Space.SM, SM_SOURCE + 3), (Space.GM, TARGET + 5))
    yield plain("copy in GM", Opcode.DMA_STORE, gm, (Space.GM, TARGET + 5))

    table, picks = 64, np.random.default_rng(1).permutation(64)[:40]
    yield Job("gather", Command(
        Opcode.DMA_LOAD_ND, source=SOURCE, destination=_sm(SM_TARGET), row_bytes=96, rows=40,
        source_pitch=pitch, destination_pitch=128, mode=DmaMode.GATHER, index=LIST,
        index_limit=table, **ones), [(pitch * int(pick), 128 * n) for n, pick in enumerate(picks)],
        96, (Space.GM, SOURCE), (Space.SM, SM_TARGET))
    yield Job("transpose", Command(
        Opcode.DMA_LOAD_ND, source=SOURCE, destination=_sm(SM_TARGET), row_bytes=64, rows=48,
        source_pitch=64, destination_pitch=48, mode=DmaMode.TRANSPOSE, **ones),
        [(0, 0)], 48 * 64, (Space.GM, SOURCE), (Space.SM, SM_TARGET), matrix=(48, 64))

    # Every row of the N-dimensional jobs has a page of its own in GM, a line of its own in SM.
    counts = (3, 2, 2, 3)
    places = [sum(index * int(np.prod(counts[:n])) for n, index in enumerate(reversed(indices)))
              for indices in np.ndindex(*reversed(counts))]
    strides = [int(np.prod(counts[:n])) for n in range(len(counts))]
    for name, opcode, source, target in (
            ("load N-D", Opcode.DMA_LOAD_ND, (Space.GM, SOURCE), (Space.SM, SM_TARGET)),
            ("store N-D", Opcode.DMA_STORE_ND, (Space.SM, SM_SOURCE), (Space.GM, TARGET)),
            ("copy in GM N-D", Opcode.DMA_STORE_ND, (Space.GM, SOURCE), (Space.GM, TARGET))):
        units = [PAGE if space is Space.GM else 2 * LINE for space, _ in (source, target)]
        fields = {"rows": counts[0], "source_pitch": units[0], "destination_pitch": units[1],
                  "count5": 1}
        for n, (size, stride) in enumerate(zip(counts[1:], strides[1:], strict=True), 2):
            fields |= {f"count{n}": size, f"source_stride{n}": stride * units[0],
                       f"destination_stride{n}": stride * units[1]}
        ends = [SystemAddress(*end).encode() for end in (source, target)]
        yield Job(name, Command(opcode, source=ends[0], destination=ends[1], row_bytes=100,
                                **fields),
                  [(place * units[0], place * units[1]) for place in places], 100, source, target)


class Campaign:
    """One device; each injection begins with the same contents of memory."""

    def __init__(self, dev):
        self.dev, self.platform, self.config = dev, dev.platform, dev.config
        rng = np.random.default_rng(7)
        self.source = rng.integers(0, 256, PAGE * 64, np.uint8)
        self.target = rng.integers(0, 256, PAGE * 64, np.uint8)
        self.scratchpad = rng.integers(0, 256, SM_BYTES, np.uint8)
        self.image = dev.tensor(self.scratchpad)

    # Memory ---------------------------------------------------------------------------------------
    def _scratchpad(self, *, load):
        ends = (self.image.address, _sm(0))
        self.dev.submit([Command(
            Opcode.DMA_LOAD if load else Opcode.DMA_STORE, source=ends[not load],
            destination=ends[load], row_bytes=SM_BYTES, rows=1)])
        self.dev.synchronize()

    def prepare(self, job):
        write = self.platform.write_memory
        write(SOURCE, self.source)
        write(TARGET - PAGE, self.target)
        if job.command.opcode is Opcode.DMA_LOAD_ND and job.command["mode"] == DmaMode.GATHER:
            picks = [(a - SOURCE) // job.command["source_pitch"] for a, _ in job.starts]
            write(LIST, np.array(picks, np.uint32).view(np.uint8))
        if Space.SM in (job.source_space, job.target_space):
            write(self.image.address, self.scratchpad)
            self._scratchpad(load=True)

    def _initial(self, space):
        return (TARGET - PAGE, self.target) if space is Space.GM else (0, self.scratchpad)

    def result(self, job):
        """The destination with its guards, as it is now."""
        if job.target_space is Space.GM:
            return self.platform.read_memory(job.low, job.high - job.low)
        self._scratchpad(load=False)
        return self.platform.read_memory(self.image.address, SM_BYTES)[job.low:job.high]

    def check(self, job, now, before, after):
        """Whether rows below ``before`` are complete, rows from ``after`` on and guards untouched.
        """
        base, initial = self._initial(job.target_space)
        expected = initial[job.low - base:job.high - base].copy()
        free = np.zeros(expected.size, bool)        # bytes of the rows in between
        source_base, source = ((SOURCE, self.source) if job.source_space is Space.GM else
                               (0, self.scratchpad))
        for number, (a, b) in enumerate(job.starts):
            place = slice(b - job.low, b - job.low + job.row_bytes)
            if number < before:
                row = source[a - source_base:a - source_base + job.row_bytes]
                expected[place] = (row.reshape(job.matrix).T.reshape(-1) if job.matrix else row)
            elif number < after:
                free[place] = True
        return bool(((now == expected) | free).all())

    # Injections -----------------------------------------------------------------------------------
    def bus_errors(self, job, kind):
        """Yield ``(arm, expected)`` for every beat of one direction."""
        word, side = self.config.bus_bytes, 0 if kind == "read" else 1
        bursts = self.config.burst_beats * word
        for number, starts in enumerate(job.starts):
            first, end = starts[side] // word * word, starts[side] + job.row_bytes
            for beat in range(first, end, word):
                if kind == "read":
                    expected = Expected(FaultCause.BUS_READ, beat, SLVERR, number, number,
                                        number + 1)
                else:       # later bursts may be under way when the response comes
                    expected = Expected(FaultCause.BUS_WRITE, max(first, beat // bursts * bursts),
                                        SLVERR, number, number, len(job.starts))
                yield (lambda beat=beat: self.platform.inject_error(
                    beat, word, kind=kind, count=1)), expected

    def list_errors(self, job):
        """Every beat of the index list."""
        word = self.config.bus_bytes
        for beat in range(LIST, LIST + 4 * len(job.starts), word):
            row = (beat - LIST) // 4
            yield (lambda beat=beat: self.platform.inject_error(beat, word, kind="read", count=1)
                   ), Expected(FaultCause.BUS_READ, beat, SLVERR, row, row, row)

    def _write(self, name, value):
        self.platform.write_register(CLUSTER[name].address(0), value)

    def open_windows(self):
        for name, value in (("gm0_first", 0), ("gm0_last", 0xFFFF_FFFF), ("sm_first", 0),
                            ("sm_last", (1 << 18) - 1)):
            self._write(f"window_{name}", value)
        self._permit(gm0_read=1, gm0_write=1, sm_read=1, sm_write=1, wait=1, signal=1)

    def _permit(self, **permissions):
        self._write("window_permissions", CLUSTER["window_permissions"].pack(**permissions))

    def windows(self, job, side):
        """The page or line of every row in turn outside the ring's windows."""
        space = (job.source_space, job.target_space)[side]
        info = int(space) | (16 if side else 0)
        for number, starts in enumerate(job.starts):
            if space is Space.GM:
                def arm(page=starts[side] // PAGE):
                    for name, value in (("gm0_first", 0), ("gm0_last", page - 1),
                                        ("gm1_first", page + 1), ("gm1_last", 0xFFFF_FFFF)):
                        self._write(f"window_{name}", value)
                    self._permit(gm0_read=1, gm0_write=1, gm1_read=1, gm1_write=1, sm_read=1,
                                 sm_write=1, wait=1, signal=1)
            else:
                def arm(line=starts[side] // LINE):
                    self._write("window_sm_last", max(line - 1, 0))
                    if not line:
                        self._write("window_sm_first", 1)
            yield arm, Expected(FaultCause.PROTECTION, SystemAddress(space, starts[side]).encode(),
                                info, number, number, number)

    def inject(self, job, arm, expected):
        """Return the outcome of one injection, and whether the engine worked again after it."""
        self.prepare(job)
        arm()
        try:
            self.dev.submit([job.command])
            self.dev.synchronize()
            outcome = "silent"
        except DeviceFault as fault:
            told = (fault.cause, fault.engine, fault.address, fault.info, fault.row, fault.command)
            meant = (expected.cause, job.engine, expected.address, expected.info, expected.row,
                     job.command)
            outcome = "precise" if told == meant else "misreported"
            if outcome == "misreported":
                print(f"{job.name}: told {told}, meant {meant}", file=sys.stderr)
        self.platform.clear_errors()
        self.open_windows()
        if outcome != "silent":
            self.dev.reset()
        if not self.check(job, self.result(job), expected.before, expected.after):
            outcome = "wrong data" if outcome == "precise" else outcome
        self.prepare(job)
        self.dev.submit([job.command])
        self.dev.synchronize()
        count = len(job.starts)
        return outcome, self.check(job, self.result(job), count, count)


def _cases(campaign, job):
    nd, kinds = job.name.endswith("N-D"), []
    if job.source_space is Space.GM and not nd:
        kinds.append(("read error on every beat", campaign.bus_errors(job, "read")))
    if job.target_space is Space.GM and not nd:
        kinds.append(("write error on every beat", campaign.bus_errors(job, "write")))
    if job.name == "gather":
        kinds.append(("read error on every beat of the list", campaign.list_errors(job)))
    if nd:
        for side, verb in enumerate(("read", "write")):
            space = (job.source_space, job.target_space)[side].name
            kinds.append((f"{space} window closed to the {verb} of every row",
                          campaign.windows(job, side)))
    return kinds


def measure(args):
    """Return the table of outcomes."""
    rows = []
    with open_device(args.config, "native", memory_latency=args.memory_latency,
                     memory_bytes=64 << 20) as dev:
        if dev.config.sm_bytes < SM_BYTES:
            raise ArgumentError(f"--config {args.config} has a scratchpad of "
                                f"{dev.config.sm_bytes} bytes; {SM_BYTES} are needed")
        campaign = Campaign(dev)
        for job in _jobs(dev.config):
            for kind, injections in _cases(campaign, job):
                outcomes = {"precise": 0, "misreported": 0, "silent": 0, "wrong data": 0}
                recovered = 0
                for arm, expected in injections:
                    outcome, again = campaign.inject(job, arm, expected)
                    outcomes[outcome] += 1
                    recovered += again
                rows.append({"job": job.name, "fault": kind, "injected": sum(outcomes.values()),
                             **{name.replace(" ", "_"): n for name, n in outcomes.items()},
                             "recovered": recovered})
                print(f"{job.name}: {kind}: {rows[-1]}", file=sys.stderr, flush=True)
    total = sum(row["injected"] for row in rows)
    return {"op": "dma-faults", "injected": total,
            "precise": sum(row["precise"] for row in rows),
            "recovered": sum(row["recovered"] for row in rows),
            "ok": all(row["injected"] == row["precise"] == row["recovered"] for row in rows),
            "table": rows}


def run(args):
    with contextlib.redirect_stdout(sys.stderr):
        figures = measure(args)
    if args.json:
        print(json.dumps(figures))
    else:
        for row in figures["table"]:
            print(", ".join(f"{name} {value}" for name, value in row.items()))
    return 0 if figures["ok"] else 1
