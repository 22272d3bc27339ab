"""What the commands do to memory, scratchpad and semaphores."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpu_rtl import numerics
from xpu_rtl.command.formats import Opcode, OutType

from .model_check import check_gemm
from .model_dma import ModelDma

__all__ = ["Blocked", "ModelEngines"]

_LOADS = (Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND)
_OUT_DTYPES = {OutType.INT32: np.int32, OutType.INT8: np.int8, OutType.UINT8: np.uint8}


class Blocked(Exception):
    """A command waits for a semaphore that nothing before it will raise.

    ``state``: ``header`` (the wait is in its header), ``semaphore``, ``threshold``.
    """

    def __init__(self, semaphore, threshold, header):
        super().__init__(f"semaphore {semaphore} below {threshold}")
        self.state = {"semaphore": semaphore, "threshold": threshold, "header": header}


def _rows(memory, offset, rows, pitch, row_bytes):
    """View of ``rows`` rows of a byte array; the caller has checked the range."""
    return as_strided(memory[offset:], (rows, row_bytes), (pitch, 1))


class ModelEngines:
    """All engines of a cluster, one command at a time.

    Parameters
    ----------
    config : XpuConfig
        Configuration.
    memory : uint8 array
        Global memory.
    traffic : dict
        ``bytes_read`` and ``bytes_written``, counted up.

    Attributes
    ----------
    semaphores : list of int
        Values.
    scratchpad : uint8 array
        The scratchpad.
    """

    def __init__(self, config, memory, traffic):
        self._config = config
        self.scratchpad = np.zeros(config.sm_bytes, np.uint8)
        self._dma = ModelDma(config, memory, self.scratchpad, traffic)
        self.semaphores = [0] * config.semaphores
        self._mask = (1 << config.semaphore_width) - 1
        self._sums = np.zeros((config.acc_rows, config.lanes), np.int32)

    def execute(self, command, windows):
        """Execute a command whose header is legal. ``windows`` are those of its ring.

        Raises
        ------
        Blocked
            One of its waits is not satisfied; nothing has happened.
        Fault
            The hardware refuses it. The rows of a copy before the bad one have moved.
        """
        if command.opcode is Opcode.FENCE:
            return
        self._wait_header(command)
        if command.opcode is Opcode.GEMM:
            check_gemm(self._config, command, windows)
            additions = self._gemm(command)
        elif command.opcode is Opcode.NOP:
            additions = []
        else:
            additions = self._copy(command, windows)
        additions += [(command[f"signal{n}_semaphore"], command[f"signal{n}_add"]) for n in (0, 1)]
        self._add(additions)

    # Semaphores ----------------------------------------------------------------------------------
    def _add(self, additions):
        values = list(self.semaphores)
        for number, amount in additions:
            if number and amount:
                values[number] = values[number] + amount & self._mask
        self.semaphores[:] = values

    def _distance(self, number, threshold):
        """How far a semaphore is beyond a threshold; negative if it is below."""
        half = self._mask + 1 >> 1
        return (self.semaphores[number] - threshold + half & self._mask) - half

    def _wait(self, number, threshold, header=False):
        if number and self._distance(number, threshold) < 0:
            raise Blocked(number, threshold & self._mask, header)

    def _wait_header(self, command):
        for n in (0, 1):
            self._wait(command[f"wait{n}_semaphore"], command[f"wait{n}_value"], header=True)

    # Copies --------------------------------------------------------------------------------------
    def _copy(self, command, windows):
        number, threshold = command["progress_semaphore"], command["progress_value"]

        def reached(value):
            return self._distance(number, value)
        rows, fault, blocked = self._dma.execute(command, windows, reached)
        if blocked:
            raise Blocked(number, threshold & self._mask, header=False)
        progress = [(number, rows)] if command.opcode in _LOADS else []
        if fault is not None:
            self._add(progress)
            raise fault
        return progress

    # Matrix products -----------------------------------------------------------------------------
    def _gemm(self, command):
        lanes = self._config.lanes
        rows, columns, depth = command["rows"], command["columns"], command["depth"]
        blocks = -(-columns // lanes)
        column_tiles = -(-blocks // command["tile_blocks"])
        for row in (min(command["tile_rows"], rows), rows):
            self._wait(command["a_semaphore"], command["a_value"] + row)
        for tile in (0, column_tiles - 1):
            self._wait(command["b_semaphore"], command["b_value"] + tile)

        sm = self.scratchpad
        a = _rows(sm, command["a_address"], rows, command["a_pitch"], depth)
        b = as_strided(sm[command["b_address"]:], (depth, blocks, lanes),
                       (command["b_pitch"], command["b_block_pitch"], 1))
        b = b.reshape(depth, blocks * lanes)[:, :columns]
        a = a.view(np.int8) if command["a_signed"] else a
        b = b.astype(np.uint8).view(np.int8) if command["b_signed"] else b
        if command["b_zero_point_vector"]:
            b_zero_point = self._vector(command["b_zero_point_address"], columns, b.dtype)
        else:
            b_zero_point = command["b_zero_point"]
        sums = numerics.gemm_int(a, b, command["a_zero_point"], b_zero_point)
        if command["accumulate"]:
            sums = numerics.wrap_int32(sums.astype(np.int64) + self._held(rows, blocks, columns))
        additions = [(command["release_semaphore"], 1)]
        if command["hold"]:
            self._hold(sums, blocks)
            return additions
        if command["has_bias"]:
            bias = self._vector(command["bias_address"], columns, np.int32)
            sums = numerics.wrap_int32(sums.astype(np.int64) + bias)
        if command["relu"]:
            sums = numerics.relu(sums)
        self._write(command, sums if command["out_type"] == OutType.INT32
                    else self._requantize(command, sums))
        return [*additions, (command["out_semaphore"], column_tiles * rows)]

    def _requantize(self, command, sums):
        if command["scale_vector"]:
            scale = self._vector(command["scale_address"], sums.shape[1], np.float32)
        else:
            scale = np.array(command["scale"], np.uint32).view(np.float32)
        dtype = _OUT_DTYPES[command["out_type"]]
        legal = np.isfinite(scale) & (scale > 0)
        if not legal.all():      # such columns have no defined result
            scale = np.where(legal, scale, np.float32(1))
        return numerics.requantize(sums, scale, command["out_zero_point"], dtype)

    def _write(self, command, values):
        data = np.ascontiguousarray(values).view(np.uint8)
        for row, line in enumerate(data):
            begin = command["out_address"] + row * command["out_pitch"]
            self.scratchpad[begin:begin + len(line)] = line

    def _vector(self, address, count, dtype):
        size = count * np.dtype(dtype).itemsize
        return self.scratchpad[address:address + size].view(dtype)

    def _hold(self, sums, blocks):
        """Leave sums in the accumulators: all rows of block 0, then of block 1, ..."""
        rows, columns = sums.shape
        padded = np.zeros((rows, blocks * self._config.lanes), np.int32)
        padded[:, :columns] = sums
        self._sums[:rows * blocks] = (
            padded.reshape(rows, blocks, -1).swapaxes(0, 1).reshape(rows * blocks, -1))

    def _held(self, rows, blocks, columns):
        sums = self._sums[:rows * blocks].reshape(blocks, rows, -1).swapaxes(0, 1)
        return sums.reshape(rows, -1)[:, :columns]


