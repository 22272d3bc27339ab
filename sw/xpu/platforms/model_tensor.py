"""What GEMM and CONV commands do to the scratchpad."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpu_rtl import numerics
from xpu_rtl.command.formats import Activation, ElementType, Opcode

__all__ = ["ModelTensor", "Walk"]

_RAW = (ElementType.INT32, ElementType.INT64)


def _float(bits):
    return np.array(bits, np.uint32).view(np.float32)[()]


class Walk:
    """Which places of A a command looks at.

    Parameters
    ----------
    command : Command
        GEMM or CONV.

    Attributes
    ----------
    pixels : int
        Rows of C.
    taps : list of (i, j)
        In order.
    """

    def __init__(self, command):
        self._command = command
        self.conv = command.opcode is Opcode.CONV
        self.width = command["width"] if self.conv else 1
        self.pixels = command["rows"] * self.width
        self.taps = [(0, 0)]
        if self.conv:
            self.taps = [(i, j) for i in range(command["kernel_height"])
                         for j in range(command["kernel_width"])]

    def tap(self, i, j):
        """``(which pixels exist, their byte offsets from a_address)`` at a tap."""
        c = self._command
        rows, columns = np.arange(c["rows"])[:, None], np.arange(self.width)[None, :]
        offset = np.broadcast_to(rows * c["a_pitch"], (c["rows"], self.width)).ravel()
        if not self.conv:
            return np.ones(self.pixels, bool), offset
        u = c["u_start"] + rows * c["u_step"] + i * c["u_tap"]
        v = c["v_start"] + columns * c["v_step"] + j * c["v_tap"]
        inside = (u >= 0) & (u < c["u_limit"]) & (v >= 0) & (v < c["v_limit"])
        offset = (c["a_offset"] + rows * c["a_pitch"] + columns * c["a_column_pitch"]
                  + i * c["a_tap_row_pitch"] + j * c["a_tap_column_pitch"])
        return inside.ravel(), offset.ravel()


class ModelTensor:
    """The tensor unit: commands that have been checked.

    Parameters
    ----------
    config : XpuConfig
        Configuration.
    scratchpad : uint8 array
        The scratchpad.
    """

    def __init__(self, config, scratchpad):
        self._config, self._sm = config, scratchpad
        self._held = np.zeros((config.acc_rows, config.lanes))
        self._largest = np.float32(0)

    def execute(self, command):
        """Compute, and write the results."""
        walk = Walk(command)
        columns = command["columns"]
        blocks = -(-columns // self._config.lanes)
        sums = self._sums(command, walk, blocks)
        if command["hold"]:
            self._hold(sums, walk.pixels, blocks)
            return
        self._write(command, self._finish(command, sums[:, :columns], walk.pixels))

    # Sums ----------------------------------------------------------------------------------------
    def _sums(self, command, walk, blocks):
        dtype = numerics.dtype_of(ElementType(command["a_type"]))
        floating = dtype.kind not in "iu"
        lanes = self._config.lanes
        shape = walk.pixels, blocks * lanes
        sums = np.zeros(shape, np.float32 if floating else np.int64)
        if command["accumulate"]:
            held = self._held[:walk.pixels * blocks].reshape(blocks, walk.pixels, lanes)
            sums = held.swapaxes(0, 1).reshape(shape).astype(sums.dtype)
        for number, (i, j) in enumerate(walk.taps):
            inside, offsets = walk.tap(i, j)
            if not inside.any():
                continue
            a, b = self._a(command, offsets[inside], dtype), self._b(command, number, blocks)
            if floating:
                sums[inside] = numerics.gemm_float(a, b, self._config.wide_lanes, sums[inside])
            elif dtype == np.int16:
                sums[inside] += numerics.gemm_int16(a, b)
            else:
                sums[inside] += numerics.gemm_int(
                    a, b, command["a_zero_point"], self._b_zero_point(command, blocks, b.dtype))
        if floating:
            return sums
        return numerics.wrap_int48(sums) if dtype == np.int16 else numerics.wrap_int32(sums)

    def _a(self, command, offsets, dtype):
        size = command["depth"] * dtype.itemsize
        begin = command["a_address"] + offsets
        return self._sm[begin[:, None] + np.arange(size)].view(dtype)

    def _b(self, command, tap, blocks):
        dtype = numerics.dtype_of(ElementType(command["b_type"]))
        begin, lanes = command["b_address"], self._config.lanes
        if tap:
            begin += tap * command["b_tap_pitch"]
        b = as_strided(self._sm[begin:], (command["depth"], blocks, lanes * dtype.itemsize),
                       (command["b_pitch"], command["b_block_pitch"], 1))
        return b.reshape(command["depth"], -1).view(dtype)

    def _b_zero_point(self, command, blocks, dtype):
        if command["b_zero_point_vector"]:
            return self._vector(command["b_zero_point_address"], blocks * self._config.lanes, dtype)
        return command["b_zero_point"]

    def _hold(self, sums, pixels, blocks):
        """Leave sums in the accumulators: all rows of block 0, then of block 1, ..."""
        lanes = self._config.lanes
        self._held = np.zeros((self._config.acc_rows, lanes), sums.dtype)
        self._held[:pixels * blocks] = (
            sums.reshape(pixels, blocks, lanes).swapaxes(0, 1).reshape(-1, lanes))

    # Results -------------------------------------------------------------------------------------
    def _vector(self, address, count, dtype):
        size = count * np.dtype(dtype).itemsize
        return self._sm[address:address + size].view(dtype)

    def _finish(self, command, sums, pixels):
        columns = command["columns"]
        out_type, activation = ElementType(command["out_type"]), Activation(command["activation"])
        bias = None
        if command["has_bias"]:
            bias = self._vector(command["bias_address"], columns,
                                np.float32 if command["float_bias"] else np.int32)
        if out_type in _RAW:
            return numerics.raw(sums, bias, relu=activation == Activation.RELU)
        floating = bool(command["float_bias"])
        options = {"bias": None if floating else bias, "float_bias": bias if floating else None}
        if command["has_residual"]:
            dtype = numerics.dtype_of(ElementType(command["residual_type"]))
            rows = as_strided(self._sm[command["residual_address"]:],
                              (pixels, columns * dtype.itemsize), (command["residual_pitch"], 1))
            options |= {"residual": np.ascontiguousarray(rows).view(dtype),
                        "residual_zero_point": command["residual_zero_point"],
                        "residual_scale": _float(command["residual_scale"])}
        if command["has_table"]:
            options["table"] = self._vector(command["table_address"], 256, np.uint8).copy()
        scale = (self._vector(command["scale_address"], columns, np.float32)
                 if command["scale_vector"] else _float(command["scale"]))
        results, largest = numerics.finish(
            sums, out_type=out_type, scale=scale, activation=activation,
            low=_float(command["low"]), high=_float(command["high"]),
            out_zero_point=command["out_zero_point"], **options)
        if command["has_max"]:
            if command["max_accumulate"]:
                largest = max(largest, self._largest, key=lambda value: value.view(np.uint32))
            self._largest = largest
            word = np.zeros(self._config.word_bytes, np.uint8)
            word[:4] = np.array([largest]).view(np.uint8)
            self._maximum = command["max_address"], word
        return results

    def _write(self, command, values):
        data = np.ascontiguousarray(values).view(np.uint8)
        for row, line in enumerate(data):
            begin = command["out_address"] + row * command["out_pitch"]
            self._sm[begin:begin + len(line)] = line
        if command["has_max"]:
            address, word = self._maximum
            self._sm[address:address + len(word)] = word
