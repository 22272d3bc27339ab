"""Surroundings of the tensor unit: scratchpad, semaphores, commands and the right results."""

import functools
import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from support.command_windows import CLOSED, OPEN
from xpu.commands import Command
from xpu.platforms.model_tensor import ModelTensor
from xpu_rtl.command.formats import CONV, Activation, ElementType, FaultCause, Opcode
from xpu_rtl.command.types import Activity, IssuedCommand
from xpu_rtl.numerics import dtype_of
from xpu_rtl.tensor.unit import TensorUnit

__all__ = ["Matrices", "Result", "check_results", "command_of", "run_commands"]


class Matrices:
    """Scratchpad contents and commands on them, laid out one behind the other."""

    def __init__(self, config, seed=0):
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.memory = self.rng.integers(0, 256, config.sm_bytes, np.uint8)
        self.free = 0
        self.commands = []      #: as they were made

    def allocate(self, words, offset=0):
        """Byte address of free words; ``offset`` skips some, to vary the banks."""
        address = (self.free + offset) * self.config.word_bytes
        self.free += words + offset
        assert self.free <= self.config.sm_words, "scratchpad too small for the test"
        return address

    def put(self, values):
        """Byte address of an array, in words of its own."""
        data = np.ascontiguousarray(values).view(np.uint8).ravel()
        address = self.allocate(-(-len(data) // self.config.word_bytes))
        self.memory[address:address + len(data)] = data
        return address

    def gemm(self, rows, columns, depth, *, tile_rows=None, tile_blocks=1, a_type=None,
             b_type=None, a_signed=True, b_signed=True, zero_points=False, vector=False,
             column_order=0, accumulate=False, hold=False, out_type=None, has_bias=False,
             float_bias=False, scale_vector=False, use_relu=False, activation=None, spread=0,
             residual_type=None, table=False, maximum=False, max_accumulate=False, conv=None,
             plain=False, **fields):
        """Allocate and fill operands at random; return the command's fields.

        ``conv``: fields of a CONV, ``height`` and ``image_width`` of the image among them; then
        ``rows`` are rows of pixels. ``plain``: ordinary numbers in floating-point operands.
        """
        config, rng = self.config, self.rng
        lanes, word = config.lanes, config.word_bytes
        a_type = a_type or (ElementType.INT8 if a_signed else ElementType.UINT8)
        b_type = b_type or (a_type if a_type.bytes > 1 else
                            ElementType.INT8 if b_signed else ElementType.UINT8)
        if out_type is None:
            out_type = {1: ElementType.INT32, ElementType.INT16: ElementType.INT64}.get(
                a_type if a_type.bytes > 1 else 1, ElementType.FP32)
        size = a_type.bytes
        blocks, depth_words = -(-columns // lanes), -(-depth * size // word)
        width = conv["width"] if conv else 1
        tile_rows = tile_rows or max(1, min(rows, config.acc_rows // tile_blocks // width))
        raw = out_type in (ElementType.INT32, ElementType.INT64)
        values = {
            "rows": rows, "columns": columns, "depth": depth, "tile_rows": tile_rows,
            "tile_blocks": tile_blocks, "a_type": a_type, "b_type": b_type,
            "column_order": column_order, "accumulate": accumulate, "hold": hold,
            "b_zero_point_vector": vector, "out_type": out_type,
            "has_bias": has_bias or float_bias, "float_bias": float_bias,
            "scale_vector": scale_vector and not raw,
            "activation": Activation.RELU if use_relu else activation or 0,
        }
        taps = 1
        begin = self.free
        if conv:
            values |= self._image(dict(conv), depth_words, spread)
            taps = conv["kernel_height"] * conv["kernel_width"]
        else:
            a_pitch = depth_words + spread
            values |= {"a_address": self.allocate((rows - 1) * a_pitch + depth_words, spread),
                       "a_pitch": a_pitch * word}
        b_row = size + spread
        b_block = depth * b_row
        values |= {"b_address": self.allocate(((taps * blocks - 1) * depth + depth - 1) * b_row
                                              + size),
                   "b_pitch": b_row * word, "b_block_pitch": b_block * word}
        if conv:
            values["b_tap_pitch"] = blocks * b_block * word
        if plain and a_type.is_float:
            count = (self.free - begin) * word // 2
            numbers = rng.normal(size=count).astype(dtype_of(a_type))
            self.memory[begin * word:self.free * word] = numbers.view(np.uint8)

        def zero_point(element):
            limits = np.iinfo(dtype_of(element))
            return int(rng.integers(limits.min, limits.max + 1))

        if zero_points:
            values |= {"a_zero_point": zero_point(a_type), "b_zero_point": zero_point(b_type)}
        if vector:
            values["b_zero_point_address"] = self.allocate(blocks)
        if hold:
            return self._note(values | fields)
        pixels = rows * width
        out_pitch = blocks * out_type.bytes + spread
        values |= {"out_pitch": out_pitch * word,
                   "out_address": self.allocate((pixels - 1) * out_pitch
                                                + blocks * out_type.bytes)}
        if has_bias or float_bias:
            bias = rng.integers(-1 << 31, 1 << 31, blocks * lanes).astype(np.int32)
            values["bias_address"] = self.put(
                rng.normal(size=blocks * lanes).astype(np.float32) if float_bias else bias)
        scale = np.exp2(rng.uniform(-12, -6, blocks * lanes)).astype(np.float32)
        if not raw:
            values["scale"] = int(scale[0].view(np.uint32))
            if out_type.bytes < 4 and not out_type.is_float:
                values["out_zero_point"] = int(rng.integers(-20, 20)) + (
                    128 if out_type == ElementType.UINT8 else 0)
        if values["scale_vector"]:
            values["scale_address"] = self.put(scale)
        values |= {"low": int(np.float32(rng.uniform(-2, 0.5)).view(np.uint32)),
                   "high": int(np.float32(rng.uniform(0.5, 99)).view(np.uint32))}
        if residual_type is not None:
            pitch = blocks * residual_type.bytes + spread
            values |= {"has_residual": 1, "residual_type": residual_type,
                       "residual_pitch": pitch * word,
                       "residual_address": self.allocate((pixels - 1) * pitch
                                                         + blocks * residual_type.bytes),
                       "residual_scale": int(np.float32(rng.uniform(0.1, 2)).view(np.uint32))}
            if not residual_type.is_float:
                values["residual_zero_point"] = zero_point(residual_type)
        if table:
            values |= {"has_table": 1, "table_address": self.allocate(256 // word)}
        if maximum:
            values |= {"has_max": 1, "max_accumulate": max_accumulate,
                       "max_address": self.allocate(1)}
        return self._note(values | fields)

    def _note(self, values):
        self.commands.append(values)
        return values

    @property
    def expected(self):
        """``{byte address: value}`` of what all commands made so far write."""
        image = self.memory.copy()
        model = ModelTensor(self.config, image)
        expected = {}
        for command in map(command_of, self.commands):
            model.execute(command)
            expected |= {at: int(image[at]) for place in results_of(command)
                         for at in range(place.start, place.stop)}
        return expected

    def _image(self, conv, pixel_words, spread):
        """Fields of A for a CONV on an image of its own."""
        word = self.config.word_bytes
        height, image_width = conv.pop("height"), conv.pop("image_width")
        pixel, row = (pixel_words + spread) * word, 0
        row = image_width * pixel
        address = self.allocate(height * row // word, spread)
        return conv | {
            "opcode": Opcode.CONV, "a_address": address,
            "u_limit": height, "v_limit": image_width,
            "a_offset": conv["u_start"] * row + conv["v_start"] * pixel,
            "a_pitch": conv["u_step"] * row, "a_column_pitch": conv["v_step"] * pixel,
            "a_tap_row_pitch": conv["u_tap"] * row, "a_tap_column_pitch": conv["v_tap"] * pixel,
        }


def command_of(values):
    """The ``Command`` of a dictionary of fields."""
    values = {"opcode": Opcode.GEMM} | values
    return Command(values.pop("opcode"), **values)


def results_of(command):
    """Byte ranges that a command writes, padding left out."""
    if command["hold"]:
        return
    pixels = command["rows"] * (command["width"] if command.opcode is Opcode.CONV else 1)
    size = command["columns"] * ElementType(command["out_type"]).bytes
    for row in range(pixels):
        begin = command["out_address"] + row * command["out_pitch"]
        yield slice(begin, begin + size)
    if command["has_max"]:
        yield slice(command["max_address"], command["max_address"] + 4)


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
