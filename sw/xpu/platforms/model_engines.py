"""What the commands do to memory, scratchpad and semaphores."""

import numpy as np

from xpu_rtl.command.formats import Opcode

from .base import PlatformError
from .model_check import check_launch
from .model_check_product import check_product
from .model_dma import ModelDma
from .model_tensor import ModelTensor

__all__ = ["Blocked", "ModelEngines"]

_LOADS = (Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND)


class Blocked(Exception):
    """A command waits for a semaphore that nothing before it will raise.

    ``state``: ``header`` (the wait is in its header), ``semaphore``, ``threshold``.
    """

    def __init__(self, semaphore, threshold, header):
        super().__init__(f"semaphore {semaphore} below {threshold}")
        self.state = {"semaphore": semaphore, "threshold": threshold, "header": header}


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
        self._tensor = ModelTensor(config, self.scratchpad)

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
        if command.opcode in (Opcode.GEMM, Opcode.CONV):
            check_product(self._config, command, windows)
            additions = self._product(command)
        elif command.opcode is Opcode.LAUNCH:
            check_launch(self._config, command)
            raise PlatformError("the functional model has no SIMD cores, so it cannot run kernels: "
                                "open the device with platform='native'")
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

    # Products ------------------------------------------------------------------------------------
    def _product(self, command):
        rows, conv = command["rows"], command.opcode is Opcode.CONV
        blocks = -(-command["columns"] // self._config.lanes)
        column_tiles = -(-blocks // command["tile_blocks"])
        for row in (0,) if conv else (min(command["tile_rows"], rows), rows):
            self._wait(command["a_semaphore"], command["a_value"] + row)
        for tile in (0, column_tiles - 1):
            self._wait(command["b_semaphore"], command["b_value"] + tile)
        self._tensor.execute(command)
        additions = [(command["release_semaphore"], 1)]
        if command["hold"]:
            return additions
        pixels = rows * (command["width"] if conv else 1)
        return [*additions, (command["out_semaphore"], column_tiles * pixels)]
