"""Surroundings of the epilogue under test: accumulators, scratchpad, and what must come out."""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from xpu_rtl.command.formats import ElementType
from xpu_rtl.numerics import relu, requantize, wrap_int32
from xpu_rtl.tensor.types import TileDescriptor

DTYPES = {ElementType.INT8: np.int8, ElementType.UINT8: np.uint8}


@dataclass
class Tile:
    """A tile: its descriptor, its sums [rows, blocks * lanes] and the words it must write."""

    fields: dict
    sums: np.ndarray
    words: list = field(default_factory=list)
    reads: list = field(default_factory=list)


def make_command(config, rng, memory, *, rows, blocks, tile_rows, tile_blocks, out_type,
                 out_address, pitch, parameters=0, has_bias=False, scale_vector=False,
                 use_relu=False, column_order=0, semaphore=0, silent=False):
    """Tiles of a GEMM command with random sums; its parameters go to ``memory``."""
    lanes = config.lanes
    sums = rng.integers(-1 << 31, 1 << 31, (rows, blocks * lanes)) >> rng.integers(
        0, 31, (rows, blocks * lanes))
    bias = (rng.integers(-1 << 31, 1 << 31, blocks * lanes) >> rng.integers(0, 24)).astype(np.int32)
    scale = np.exp2(rng.uniform(-26, 1, blocks * lanes)).astype(np.float32)
    scalar = np.float32(np.exp2(rng.uniform(-20, -3)))
    signed = out_type != ElementType.UINT8
    zero_point = int(rng.integers(-128, 128) if signed else rng.integers(0, 256))

    bias_address, scale_address = parameters, parameters + 4 * blocks
    raw = bias.tobytes() + scale.tobytes()
    for n in range(8 * blocks):
        part = raw[n * config.word_bytes:(n + 1) * config.word_bytes]
        memory[parameters + n] = int.from_bytes(part, "little")

    total = wrap_int32(sums + bias) if has_bias else sums.astype(np.int32)
    if use_relu:
        total = relu(total)
    if out_type == ElementType.INT32:
        result = total
    else:
        result = requantize(total, scale if scale_vector else scalar, zero_point, DTYPES[out_type])
    block_words = 4 if out_type == ElementType.INT32 else 1

    grid = [(r, c) for r in range(0, rows, tile_rows) for c in range(0, blocks, tile_blocks)]
    if not column_order:
        grid.sort(key=lambda rc: rc[::-1])
    tiles = []
    loaded = None
    for n, (r, c) in enumerate(grid):
        height, width = min(tile_rows, rows - r), min(tile_blocks, blocks - c)
        tile = Tile({
            "rows": height, "blocks": width, "tail": lanes, "column_tile": c // tile_blocks,
            "first": n == 0, "last": n == len(grid) - 1, "silent": silent,
            "out_address": out_address + r * pitch + c * block_words, "out_pitch": pitch,
            "bias_address": bias_address + 4 * c, "scale_address": scale_address + 4 * c,
            "has_bias": has_bias, "scale_vector": scale_vector,
            "scale": int(scalar.view(np.uint32)), "activation": int(use_relu),
            "out_type": int(out_type),
            "out_zero_point": zero_point, "out_semaphore": semaphore,
        }, sums[r:r + height, c * lanes:(c + width) * lanes])
        tiles.append(tile)
        if silent:
            continue
        if loaded != c:
            loaded = c
            if has_bias:
                tile.reads += [bias_address + 4 * c + w for w in range(4 * width)]
            if scale_vector:
                tile.reads += [scale_address + 4 * c + w for w in range(4 * width)]
        for block in range(c, c + width):
            for row in range(r, r + height):
                raw = np.ascontiguousarray(result[row, block * lanes:(block + 1) * lanes]).tobytes()
                for w in range(block_words):
                    part = raw[w * config.word_bytes:(w + 1) * config.word_bytes]
                    tile.words.append((out_address + row * pitch + block * block_words + w,
                                       int.from_bytes(part, "little")))
    return tiles


@dataclass
class Log:
    """What happened and when (cycle numbers)."""

    writes: list = field(default_factory=list)      # (cycle, address, data) accepted
    offers: list = field(default_factory=list)      # cycle in which each was first offered
    responses: list = field(default_factory=list)
    reads: list = field(default_factory=list)       # (cycle, address)
    adds: list = field(default_factory=list)        # (cycle, semaphore, amount)
    dones: list = field(default_factory=list)
    released: list = field(default_factory=list)
    rows: list = field(default_factory=list)        # (cycle, bank, address)
    computed: list = field(default_factory=list)
    taken: list = field(default_factory=list)       # descriptors
    fault: tuple | None = None                      # (cycle, address)
    cycles: int = 0


class _Port:
    """A scratchpad port: random readiness and latency, responses in order."""

    def __init__(self, port, memory, rng, ready_p, latency):
        self.port, self.memory, self.rng = port, memory, rng
        self.ready_p, self.latency = ready_p, latency
        self.pending = deque()
        self.offered = None

    def drive(self, ctx, cycle):
        ctx.set(self.port.req.ready, self.rng.random() < self.ready_p)
        answer = bool(self.pending) and self.pending[0][0] <= cycle
        ctx.set(self.port.rsp.valid, answer)
        ctx.set(self.port.rsp.payload, self.pending.popleft()[1] if answer else
                self.rng.getrandbits(self.port.rsp.payload.shape().width))
        return answer

    def step(self, cycle, valid, ready, request):
        """Return ``(accepted, newly offered)``; checks that a stalled request holds."""
        if self.offered is not None:
            assert valid, "valid fell while stalled"
            assert request == self.offered, "request changed while stalled"
        fresh = valid and self.offered is None
        self.offered = request if valid and not ready else None
        accepted = valid and ready
        if accepted:
            due = cycle + self.rng.randint(*self.latency)
            data = 0 if request.write else self.memory.get(request.address, 0)
            self.pending.append((due, data))
        return accepted, fresh


def run(dut, config, tiles, memory, *, seed=0, ready_p=1.0, latency=(1, 1), add_p=1.0,
        compute=(0, 0), idle_after=12, timeout=20_000, last_word=None):
    """Run ``tiles`` through the epilogue until all is done (or faulted) and some cycles more.

    ``compute``: range of cycles from accepting a tile to its ``computed``; the next tile is offered
    once its accumulator memory is free. ``last_word`` of the window is that of the scratchpad if
    ``None``. Returns the ``Log``.
    """
    log = Log()
    rng = random.Random(seed)
    layout = TileDescriptor(config)
    banks = [{}, {}]
    junk = (1 << config.acc_width * config.lanes) - 1
    commands = sum(tile.fields["last"] for tile in tiles)

    def packed(tile):
        lanes = config.lanes
        rows = {}
        for block in range(tile.fields["blocks"]):
            for row in range(tile.fields["rows"]):
                part = tile.sums[row, block * lanes:(block + 1) * lanes].astype(np.int32)
                rows[len(rows)] = sum((int(value) & 0xFFFF_FFFF) << config.acc_width * n
                                      for n, value in enumerate(part))
        return rows

    async def bench(ctx):
        ctx.set(dut.last_word, config.sm_words - 1 if last_word is None else last_word)
        param = _Port(dut.param, memory, rng, ready_p, latency)
        output = _Port(dut.output, memory, rng, ready_p, latency)
        waiting = deque(tiles)          # not yet accepted
        computing = deque()             # (cycle of computed, tile, bank)
        in_use = deque()                # banks of computed or computing tiles
        offered = None
        add_offered = None
        next_bank = 0
        quiet = 0
        while quiet < idle_after:
            cycle = log.cycles
            assert cycle < timeout, f"{len(log.writes)} writes, {len(log.dones)} commands done"
            if offered is None and waiting and len(in_use) < 2 and len(computing) < 1:
                offered = waiting.popleft()
                ctx.set(dut.tile.payload, layout.const({**offered.fields, "bank": next_bank}))
                ctx.set(dut.tile.valid, 1)
            finished = bool(computing) and computing[0][0] <= cycle
            ctx.set(dut.computed, finished)
            if finished:
                _, tile, bank = computing.popleft()
                log.computed.append(cycle)
                banks[bank] = packed(tile)
                if tile.fields["silent"]:
                    in_use.remove(bank)
            param.drive(ctx, cycle)
            if output.drive(ctx, cycle):
                log.responses.append(cycle)
            ctx.set(dut.add.ready, rng.random() < add_p)

            (_, _, tile_ready, acc_en, acc_bank, acc_addr, released, p_valid, p_ready, p_req,
             o_valid, o_ready, o_req, add_valid, add_ready, add, done, fault, address,
             busy) = await ctx.tick().sample(
                dut.tile.ready, dut.acc.en, dut.acc.bank, dut.acc.addr, dut.released,
                dut.param.req.valid, dut.param.req.ready, dut.param.req.payload,
                dut.output.req.valid, dut.output.req.ready, dut.output.req.payload,
                dut.add.valid, dut.add.ready, dut.add.payload, dut.done, dut.fault,
                dut.fault_address, dut.busy)

            inside = sum(tile.fields["last"] for tile in tiles[:len(log.taken)]) > len(log.dones)
            if offered is not None and tile_ready:
                log.taken.append(cycle)
                delay = rng.randint(*compute)
                computing.append((cycle + 1 + delay, offered, next_bank))
                in_use.append(next_bank)
                next_bank ^= not offered.fields["silent"]
                offered = None
                ctx.set(dut.tile.valid, 0)
            if released:
                log.released.append(cycle)
                banks[in_use.popleft()] = {}
                ctx.set(dut.acc.data, junk)  # from now on the array may use that memory
            if acc_en:
                log.rows.append((cycle, acc_bank, acc_addr))
                ctx.set(dut.acc.data, banks[acc_bank].get(acc_addr, junk))
            accepted, _ = param.step(cycle, p_valid, p_ready, p_req)
            if accepted:
                assert not p_req.write
                log.reads.append((cycle, p_req.address))
            accepted, fresh = output.step(cycle, o_valid, o_ready, o_req)
            if fresh:
                log.offers.append(cycle)
            if accepted:
                assert o_req.write
                assert o_req.strobe == (1 << config.word_bytes) - 1
                log.writes.append((cycle, o_req.address, o_req.data))
            if add_offered is not None:
                assert add_valid, "add fell while stalled"
                assert add == add_offered, "add changed while stalled"
            add_offered = add if add_valid and not add_ready else None
            if add_valid and add_ready:
                log.adds.append((cycle, add.semaphore, add.amount))
            if done:
                log.dones.append(cycle)
            if fault and log.fault is None:
                log.fault = (cycle, address)
                assert not output.pending
                assert not param.pending
                assert not busy
            if log.fault is not None:
                assert fault
                assert not any((p_valid, o_valid, add_valid, acc_en, done))
            over = len(log.dones) == commands or log.fault is not None
            if over:
                assert not busy or done
                quiet += 1
            assert busy or done or not inside or log.fault is not None
            log.cycles += 1

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    return log


def check(log, tiles):
    """Compare a run without fault with what the tiles must give."""
    assert log.fault is None
    expected = [word for tile in tiles for word in tile.words]
    got = [(address, data) for _, address, data in log.writes]
    assert [address for address, _ in got] == [address for address, _ in expected]
    wrong = [(n, hex(g[1]), hex(e[1])) for n, (g, e) in enumerate(zip(got, expected, strict=True))
             if g != e]
    assert not wrong, wrong[:4]
    assert [address for _, address in log.reads] == [a for tile in tiles for a in tile.reads]
    drained = [tile for tile in tiles if not tile.fields["silent"]]
    assert len(log.released) == len(drained)
    assert [row[2] for row in log.rows] == [
        n for tile in drained for n in range(tile.fields["rows"] * tile.fields["blocks"])]
    assert len(log.responses) == len(expected)

    adds, dones = deque(log.adds), deque(log.dones)
    written, latest = 0, 0
    for tile in tiles:
        rows, blocks = tile.fields["rows"], tile.fields["blocks"]
        per_row = len(tile.words) // (rows * blocks)
        if tile.fields["out_semaphore"] and not tile.fields["silent"]:
            for row in range(rows):     # a row is written with its word of the last block
                last_word = written + ((blocks - 1) * rows + row + 1) * per_row - 1
                cycle, semaphore, amount = adds.popleft()
                assert (semaphore, amount) == (tile.fields["out_semaphore"], 1)
                assert cycle > max(log.responses[last_word], latest)
                latest = cycle
        written += len(tile.words)
        if tile.fields["last"]:
            cycle = dones.popleft()
            assert cycle > max(log.responses[written - 1] if written else 0, latest)
    assert not adds
    assert not dones
