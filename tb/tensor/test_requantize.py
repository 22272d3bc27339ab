"""Requantisation at volume: sums over the whole 32-bit range, scales over nearly all of float32."""

import cocotb
import numpy as np

from common.drive import scaled
from tensor.support import CONFIG, Rig
from xpu_rtl.command.formats import ElementType
from xpu_rtl.numerics import relu, requantize, wrap_int32

LANES, WORD = CONFIG.lanes, CONFIG.word_bytes


def scales(rng, kind, bias):
    """One float32 per column, so that the results are worth looking at."""
    n = len(bias)
    fraction = np.exp2(rng.uniform(0, 1, n))
    if kind == "ties":              # sums times powers of two: many lie half way
        return np.exp2(-rng.integers(1, 12, n)).astype(np.float32)
    if kind == "spread":            # of the size of the products: results over the whole range
        return (fraction * np.exp2(rng.integers(-12, -7, n))).astype(np.float32)
    if kind == "large":             # of the size of the bias
        return (fraction * 100 / np.maximum(np.abs(bias.astype(np.float64)), 1)).astype(np.float32)
    return (fraction * np.exp2(rng.integers(-149, 127, n))).astype(np.float32)


class Layout:
    """A command with one operand word per row and column block: the sums are what we choose."""

    def __init__(self, rng, kind, out_type, use_relu):
        self.rng = rng
        blocks = CONFIG.tile_blocks
        columns = blocks * LANES
        room = CONFIG.sm_words - 8 * columns - blocks - columns * LANES // WORD
        self.rows = rows = min(room // (2 + columns // WORD), 400)
        self.memory = rng.integers(0, 256, CONFIG.sm_bytes, np.uint8)
        place, self.values = 0, {}

        def allocate(words):
            nonlocal place
            place += words
            assert place <= CONFIG.sm_words
            return (place - words) * WORD

        a_at, b_at = allocate(rows), allocate(columns)
        bias_at, scale_at = allocate(4 * blocks), allocate(4 * blocks)
        out_at = allocate(rows * blocks)
        # Many small sums for ties; else the bias sets the magnitude and the product varies it.
        small = kind == "ties"
        bias = rng.integers(-1 << 31, 1 << 31, columns) >> {
            "ties": 23, "spread": 16}.get(kind, rng.integers(0, 32, columns))
        scale = scales(rng, kind, bias)
        scale = np.maximum(scale, np.float32(np.finfo(np.float32).smallest_subnormal))
        a = rng.integers(-128, 128, (rows, LANES), np.int8)
        b = rng.integers(-128, 128, (LANES, columns), np.int8)
        if small:
            b[1:] = 0
            b[0] = rng.choice([-1, 1, 3], columns)
        self._put(a_at, a)
        for block in range(blocks):
            self._put(b_at + block * LANES * WORD, b[:, block * LANES:(block + 1) * LANES])
        self._put(bias_at, bias.astype(np.int32))
        self._put(scale_at, scale)
        signed = out_type == ElementType.INT8
        zero = int(rng.integers(-128, 128) if signed else rng.integers(0, 256))
        sums = wrap_int32(a.astype(np.int64) @ b.astype(np.int64) + bias)
        if use_relu:
            sums = relu(sums)
        self.expected = requantize(sums, scale, zero, np.int8 if signed else np.uint8)
        self.out_at, self.pitch = out_at, blocks * WORD
        self.values = {
            "rows": rows, "columns": columns, "depth": LANES, "tile_blocks": blocks,
            "tile_rows": CONFIG.acc_rows // blocks, "a_type": ElementType.INT8,
            "b_type": ElementType.INT8,
            "a_address": a_at, "a_pitch": WORD, "b_address": b_at, "b_pitch": WORD,
            "b_block_pitch": LANES * WORD, "out_address": out_at, "out_pitch": self.pitch,
            "has_bias": 1, "bias_address": bias_at, "scale_vector": 1, "scale_address": scale_at,
            "out_type": out_type, "out_zero_point": zero, "activation": int(use_relu), "hold": 0,
            "accumulate": 0}

    def _put(self, at, array):
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.memory[at:at + data.size] = data


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def many_outputs(dut):
    rig = await Rig.create(dut, "requantize")
    rng = np.random.default_rng(rig.rng.getrandbits(32))
    checked = 0
    for kind in ("ties", "spread", "large", "anything") * scaled(1):
        for out_type, use_relu in ((ElementType.INT8, 0),
                                   (ElementType.UINT8, int(rng.integers(2)))):
            layout = Layout(rng, kind, out_type, use_relu)
            await rig.fill(layout.memory)
            rig.issue([layout.values])
            await rig.finish()
            size = layout.expected.size
            found = (await rig.host.read(layout.out_at, size)).view(layout.expected.dtype)
            found = found.reshape(layout.expected.shape)
            wrong = np.argwhere(found != layout.expected)
            assert not len(wrong), (
                f"{kind}: {len(wrong)} of {size} wrong; row, column {wrong[0]}: "
                f"{found[tuple(wrong[0])]}, not {layout.expected[tuple(wrong[0])]}")
            dull = len(np.unique(layout.expected)) <= 20
            assert not dull or kind in ("large", "anything"), kind
            checked += size
            await rig.restart()
    assert checked > 20_000
