"""Surroundings of the tensor unit: scratchpad, semaphores, commands and the right results."""

import functools
import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from support.command_windows import CLOSED, OPEN
from support.tensor_commands import Matrices, command_of, results_of
from xpu.platforms.model_tensor import ModelTensor
from xpu_rtl.command.formats import CONV, FaultCause, Opcode
from xpu_rtl.command.types import Activity, IssuedCommand
from xpu_rtl.tensor.unit import TensorUnit

__all__ = ["Matrices", "Result", "check_results", "command_of", "run_commands"]


@dataclass
class Result:
    """What happened, by cycle."""

    cycles: int = 0
    accepted: list = field(default_factory=list)    #: cycle each command was accepted
    done: list = field(default_factory=list)        #: (cycle, cause, address, info)
    adds: list = field(default_factory=list)        #: (cycle, semaphore, amount)
    begins: list = field(default_factory=list)      #: (cycle, index)
    activity: list = field(default_factory=list)    #: of each cycle
    reads: dict = field(default_factory=dict)       #: port name: [(cycle, word address)]
    answers: dict = field(default_factory=dict)     #: port name: cycle of each response
    writes: list = field(default_factory=list)      #: (cycle, word address)
    memory: np.ndarray = None
    quiet_at: int | None = None                     #: first cycle of ``quiet`` after an abort

    def busy(self):
        """Cycles in which a row entered the array (reported one cycle later)."""
        return [n for n, what in enumerate(self.activity) if what == Activity.BUSY]


class _Port:
    """A scratchpad port: refuses at random, answers in order after ``latency`` cycles or more."""

    OUTSTANDING = 5

    def __init__(self, name, port, rng, accept_p, delay_p, latency):
        self.name, self.port, self.rng = name, port, rng
        self.accept_p, self.delay_p, self.latency = accept_p, delay_p, latency
        self.pending = deque()
        self.stalled = None
        self.ready = False

    def signals(self):
        req = self.port.req
        return req.valid, req.p.address, req.p.write, req.p.strobe, req.p.data

    def drive(self, ctx, cycle, memory, word_bytes, log):
        """Set what the unit sees in this cycle."""
        self.ready = len(self.pending) < self.OUTSTANDING and self.rng.random() < self.accept_p
        ctx.set(self.port.req.ready, self.ready)
        due = bool(self.pending) and self.pending[0][0] <= cycle
        if due and self.rng.random() < self.delay_p:
            due = False
        ctx.set(self.port.rsp.valid, due)
        ctx.set(self.port.waiting, bool(self.pending) and not due)
        word = self.rng.getrandbits(8 * word_bytes)
        if due:
            log.answers.setdefault(self.name, []).append(cycle)
            _, address, write, strobe, data = self.pending.popleft()
            span = slice(address * word_bytes, (address + 1) * word_bytes)
            if write:
                for n in range(word_bytes):
                    if strobe >> n & 1:
                        memory[span.start + n] = data >> 8 * n & 0xFF
                log.writes.append((cycle, address))
            else:
                word = int.from_bytes(memory[span].tobytes(), "little")
        ctx.set(self.port.rsp.payload, word)

    def sampled(self, cycle, values, log):
        """Note what the unit offered in this cycle."""
        valid, request = values[0], tuple(values[1:])
        if self.stalled is not None:
            assert valid, f"{self.name}: valid fell while stalled"
            assert request == self.stalled, f"{self.name}: request changed while stalled"
        self.stalled = request if valid and not self.ready else None
        if valid and self.ready:
            self.pending.append((cycle + self.latency, *request))
            if not request[1]:
                log.reads.setdefault(self.name, []).append((cycle, request[0]))


@functools.cache
def _simulator(config):
    """The unit, its simulator, and a list whose only element is the bench to run; used again."""
    unit, current = TensorUnit(config), []

    async def bench(ctx):
        await current[0](ctx)

    sim = Simulator(unit)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    return unit, sim, current


def run_commands(matrices, commands, *, timeout, seed=0, accept_p=1.0, delay_p=0.0,
                 add_p=1.0, latency=3, semaphores=None, expect_fault=False, after=40,
                 abort_at=None, windows=None, ring=0):
    """Run commands on a ``TensorUnit`` from reset until all are done; return a ``Result``.

    ``delay_p`` is the chance per cycle that a response is late, of all ports or by port name.
    ``semaphores(cycle)`` returns the values of the semaphores by number. Checks results, the order
    of completions, additions, and the stability of stalled streams. ``windows`` are those of
    ``ring``, from which all commands come; other rings may use nothing.
    """
    config = matrices.config
    unit, sim, current = _simulator(config)
    port = unit.port
    rng = random.Random(seed)
    log = Result(memory=matrices.memory.copy())
    names = ("activation", "weight", "output")
    delays = delay_p if isinstance(delay_p, dict) else dict.fromkeys(names, delay_p)
    ports = [_Port(name, getattr(unit, name), rng, accept_p, delays.get(name, 0), latency)
             for name in names]
    layout = IssuedCommand(CONV)
    waiting = deque(enumerate(commands))

    async def bench(ctx):
        offered, stalled_add, finished = None, None, None
        for number in range(config.rings):
            ctx.set(unit.windows[number], (windows or OPEN) if number == ring else CLOSED)
        reached = {"a": 0, "b": 0}
        views = {"a": unit.a_view, "b": unit.b_view}
        scalars = [port.cmd.ready, port.done.valid, port.done.p.fault.cause,
                   port.done.p.fault.address, port.done.p.fault.info, port.add.valid,
                   port.add.p.semaphore, port.add.p.amount, port.activity, port.begin,
                   port.begin_index, port.quiet,
                   views["a"].semaphore, views["a"].threshold,
                   views["b"].semaphore, views["b"].threshold]
        signals = scalars + [signal for one in ports for signal in one.signals()]
        for cycle in range(timeout):
            if offered is None and waiting:
                offered, values = waiting.popleft()
                word = int.from_bytes(command_of(values).encode(), "little")
                if command_of(values).opcode is Opcode.GEMM:    # what follows is undefined
                    word |= rng.getrandbits(512) << 1024
                ctx.set(port.cmd.payload.as_value(),
                        layout.const({"index": 100 + offered, "ring": ring}).as_bits() | word)
            ctx.set(port.cmd.valid, offered is not None)
            ctx.set(port.abort, abort_at is not None and cycle >= abort_at)
            add_ready = rng.random() < add_p
            ctx.set(port.add.ready, add_ready)
            for name, view in views.items():
                ctx.set(view.reached, reached[name])
            unanswered = any(one.pending for one in ports)
            for one in ports:
                one.drive(ctx, cycle, log.memory, config.word_bytes, log)

            _, _, *values = await ctx.tick().sample(*signals)
            (cmd_ready, done, cause, address, info, add_valid, semaphore, amount, activity, begin,
             index, quiet, *looks) = values[:len(scalars)]
            for n, one in enumerate(ports):
                one.sampled(cycle, values[len(scalars) + 5 * n:len(scalars) + 5 * n + 5], log)
            current = semaphores(cycle) if semaphores else {}
            for n, name in enumerate("ab"):
                number, threshold = looks[2 * n:2 * n + 2]
                distance = current.get(number, 0) - threshold & (1 << config.semaphore_width) - 1
                reached[name] = not number or not distance >> (config.semaphore_width - 1)
            assert quiet == (not unanswered and not any(
                values[len(scalars) + 5 * n] for n in range(len(ports)))), "quiet"
            if abort_at is not None and cycle > abort_at and quiet and log.quiet_at is None:
                log.quiet_at = cycle
            log.activity.append(activity)
            if offered is not None and cmd_ready:
                log.accepted.append(cycle)
                offered = None
            if begin:
                log.begins.append((cycle, index))
            add = (semaphore, amount)
            assert stalled_add in (None, add), "add changed while stalled"
            assert add_valid or stalled_add is None, "add fell while stalled"
            stalled_add = add if add_valid and not add_ready else None
            if add_valid and add_ready:
                log.adds.append((cycle, *add))
            if done:
                assert finished is None, "done after the last one"
                log.done.append((cycle, FaultCause(cause), address, info))
                assert len(log.done) <= len(log.accepted), "done without a command"
                if len(log.done) == len(commands) or cause:
                    finished = cycle
            log.cycles = cycle + 1
            if finished is not None and cycle >= finished + after:
                return
            if abort_at is not None and cycle > abort_at + after:
                return
        raise AssertionError(f"{len(log.done)} of {len(commands)} commands done "
                             f"after {timeout} cycles")

    if current:
        sim.reset()
    current[:] = [bench]
    sim.run()
    if abort_at is None and not expect_fault:
        _check(matrices, commands, log)
    return log


def check_results(matrices, commands, log):
    """Raise ``AssertionError`` unless the commands have left what the functional model leaves."""
    image = matrices.memory.copy()
    model = ModelTensor(matrices.config, image)
    for number, command in enumerate(map(command_of, commands)):
        model.execute(command)
        for place in results_of(command):
            wrong = np.flatnonzero(image[place] != log.memory[place])
            assert not len(wrong), (
                f"command {number}: {len(wrong)} bytes wrong at {place}: {command!r}: "
                f"{log.memory[place].tobytes().hex()}, not {image[place].tobytes().hex()}")


def _check(matrices, commands, log):
    assert [entry[1] for entry in log.done] == [FaultCause.NONE] * len(commands)
    check_results(matrices, commands, log)
    assert [index for _, index in log.begins] == [100 + n for n in range(len(commands))]

    # Additions of a command precede its end, and are what its fields say.
    totals = {}
    for _, number, amount in log.adds:
        totals[number] = totals.get(number, 0) + amount
    expected = {}
    for values in commands:
        blocks = -(-values["columns"] // matrices.config.lanes)
        written = values["rows"] * values.get("width", 1) * -(-blocks // values["tile_blocks"])
        for name, amount in (("release", 1), ("out", 0 if values["hold"] else written)):
            number = values.get(f"{name}_semaphore", 0)
            if number and amount:
                expected[number] = expected.get(number, 0) + amount
    assert totals == expected
    assert not log.adds or log.adds[-1][0] < log.done[-1][0]
    assert log.activity[-1] == Activity.IDLE
