"""Commands of the tensor unit on random operands, and what the functional model makes of them."""

import numpy as np

from xpu.commands import Command
from xpu.platforms.model_tensor import ModelTensor
from xpu_rtl.command.formats import Activation, ElementType, Opcode
from xpu_rtl.numerics import dtype_of

__all__ = ["Matrices", "command_of", "results_of"]


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
