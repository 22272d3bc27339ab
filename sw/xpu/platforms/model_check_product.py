"""Which GEMM and CONV commands the hardware refuses, and how it says so."""

import numpy as np

from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import Activation, ElementType, Engine, FaultCause, Opcode
from xpu_rtl.tensor.check import operand_types

from .model_check import Fault, bad_field, check_semaphore
from .model_tensor import Walk
from .model_windows import WRITE

__all__ = ["check_product"]

_SEMAPHORES = ("a_semaphore", "b_semaphore", "out_semaphore", "release_semaphore")
_BYTES = (ElementType.INT8, ElementType.UINT8)
_RAW = (ElementType.INT32, ElementType.INT64)
_RESIDUALS = (*_BYTES, ElementType.INT16, ElementType.FP32, ElementType.FP16, ElementType.BF16)


def check_product(config, command, windows):
    """Raise ``Fault`` if the tensor unit would refuse the command; the rules and their order are
    those of ``xpu_rtl/tensor/check.py``."""
    engine, fmt, conv = Engine.TENSOR, command.format, command.opcode is Opcode.CONV
    for name in _SEMAPHORES:
        if command[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, engine, info=fmt.lsb[name])
    for broken, name in (*_sizes(config, command, conv), *_types(config, command),
                         *((command[field.name] != 0, field.name) for field in fmt.fields
                           if field.name.startswith("reserved"))):
        if broken:
            raise bad_field(engine, fmt, name)
    spans = _spans(config, command)
    word = config.word_bytes
    for name in spans:
        address = command[f"{name}_address"]
        if address % word or address >= config.sm_bytes:
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=address)
    pitches = ["a_pitch", "b_pitch", "b_block_pitch", "out_pitch", "residual_pitch"]
    if conv:
        pitches += ["a_column_pitch", "a_tap_row_pitch", "a_tap_column_pitch", "b_tap_pitch",
                    "a_offset"]
    for name in pitches:
        if command[name] % word:
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=command[name] & (1 << 64) - 1)
    for name in ("out", "residual"):
        if (name in spans and command[f"{name}_pitch"] >= config.sm_bytes
                and Walk(command).pixels > 1):
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=command[f"{name}_pitch"])
    for name in _SEMAPHORES:
        check_semaphore(windows, engine, command[name], name[0] not in "ab")
    for name in spans:
        address, write = command[f"{name}_address"], name in ("out", "max")
        if not windows.sm_allowed(address, word, write):
            raise Fault(FaultCause.PROTECTION, engine, address, Space.SM + WRITE * write)
    if conv:
        _check_image(config, command, windows)
    for name, span in spans.items():
        if not conv or name != "a":
            _check_span(config, windows, command[f"{name}_address"], *span, name == "out")


def _sizes(config, command, conv):
    yield from ((not command[name], name) for name in ("rows", "columns", "depth", "tile_rows"))
    yield not 1 <= command["tile_blocks"] <= config.tile_blocks, "tile_blocks"
    if conv:
        yield from ((not command[name], name) for name in (
            "kernel_height", "kernel_width", "width", "u_limit", "v_limit", "u_step", "v_step",
            "u_tap", "v_tap"))
        yield from ((command[name] >= 1 << 15, name) for name in ("u_limit", "v_limit"))
    width = command["width"] if conv else 1
    yield command["tile_rows"] * width * command["tile_blocks"] > config.acc_rows, "tile_rows"
    blocks = -(-command["columns"] // config.lanes)
    many = command["rows"] > command["tile_rows"] or blocks > command["tile_blocks"]
    yield from ((command[name] and many, name) for name in ("accumulate", "hold"))


def _types(config, command):
    a_type, b_type = ElementType(command["a_type"]), ElementType(command["b_type"])
    out_type, residual = ElementType(command["out_type"]), command["residual_type"]
    narrow, raw = a_type in _BYTES, out_type in _RAW
    yield a_type not in operand_types(config), "a_type"
    yield not ((narrow and b_type in _BYTES) or a_type == b_type), "b_type"
    yield ((out_type == ElementType.INT32 and not narrow)
           or (out_type == ElementType.INT64 and a_type != ElementType.INT16)), "out_type"
    yield (residual not in _RESIDUALS if command["has_residual"] else residual != 0,
           "residual_type")
    yield raw and command["activation"] > Activation.RELU, "activation"
    yield command["float_bias"] and (not command["has_bias"] or raw), "float_bias"
    yield command["has_bias"] and not command["float_bias"] and a_type.is_float, "has_bias"
    yield command["b_zero_point_vector"] and not narrow, "b_zero_point_vector"
    yield command["scale_vector"] and raw, "scale_vector"
    yield command["has_residual"] and raw, "has_residual"
    yield command["has_table"] and out_type not in _BYTES, "has_table"
    yield command["has_max"] and raw, "has_max"
    yield command["a_zero_point"] and not narrow, "a_zero_point"
    yield command["b_zero_point"] and not narrow, "b_zero_point"
    yield (command["out_zero_point"] and out_type not in (*_BYTES, ElementType.INT16),
           "out_zero_point")


def _spans(config, command):
    """``{operand: (rows, bytes from row to row, bytes of a row)}`` of what is used."""
    lanes, word = config.lanes, config.word_bytes
    blocks, pixels = -(-command["columns"] // lanes), Walk(command).pixels
    depth, size = command["depth"], ElementType(command["a_type"]).bytes

    def result(element_type):
        return blocks * lanes * ElementType(element_type).bytes

    b_row = (blocks - 1) * command["b_block_pitch"] + lanes * size
    spans = {"a": (command["rows"], command["a_pitch"], -(-depth * size // word) * word)}
    spans["b"] = depth, command["b_pitch"], b_row
    if command.opcode is Opcode.CONV:
        taps = command["kernel_height"] * command["kernel_width"]
        spans["b"] = taps, command["b_tap_pitch"], (depth - 1) * command["b_pitch"] + b_row
    if not command["hold"]:
        spans["out"] = pixels, command["out_pitch"], result(command["out_type"])
        if command["has_bias"]:
            spans["bias"] = 1, 0, 4 * blocks * lanes
        if command["scale_vector"]:
            spans["scale"] = 1, 0, 4 * blocks * lanes
    if command["b_zero_point_vector"]:
        spans["b_zero_point"] = 1, 0, blocks * lanes
    if not command["hold"]:
        if command["has_residual"]:
            spans["residual"] = (pixels, command["residual_pitch"],
                                 result(command["residual_type"]))
        if command["has_table"]:
            spans["table"] = 1, 0, 256
        if command["has_max"]:
            spans["max"] = 1, 0, word
    return spans


def _check_span(config, windows, address, rows, pitch, row_bytes, write):
    """The hardware notices rows that leave the window or the scratchpad when it gets there."""
    limit = min(config.sm_bytes, windows.sm_end)
    if address + (rows - 1) * pitch + row_bytes <= limit:
        return
    last_good = limit - row_bytes - address
    row = last_good // pitch + 1 if last_good >= 0 else 0
    _left(config, max(address + row * pitch, limit), write)


def _left(config, address, write=False):
    if 0 <= address < config.sm_bytes:
        raise Fault(FaultCause.PROTECTION, Engine.TENSOR, address, Space.SM + WRITE * write)
    raise Fault(FaultCause.BAD_ADDRESS, Engine.TENSOR, address=address)


def _check_image(config, command, windows):
    """Likewise pixels: in the order of tiles, taps, words and pixels."""
    walk, word = Walk(command), config.word_bytes
    limit = min(config.sm_bytes, windows.sm_end)
    size = command["depth"] * ElementType(command["a_type"]).bytes
    words = np.arange(0, size, word)[:, None]
    places = []
    for tap in walk.taps:
        inside, offsets = walk.tap(*tap)
        places.append((inside, command["a_address"] + offsets, offsets))
    if all(((offsets >= 0) & (begin + words[-1] + word <= limit))[inside].all()
           for inside, begin, offsets in places):
        return
    tile = command["tile_rows"] * walk.width
    for first in range(0, walk.pixels, tile):
        pixels = slice(first, first + tile)
        for inside, begin, offsets in places:
            address = begin[pixels] + words
            bad = inside[pixels] & ((offsets[pixels] < 0) | (address + word > limit))
            if bad.any():
                _left(config, int(address[bad][0]))
