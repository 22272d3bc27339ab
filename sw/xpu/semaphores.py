"""What the driver knows about the device's semaphores."""

from xpu_rtl.command.formats import Opcode

from .dma_commands import rows_of

__all__ = ["Semaphores"]


class Semaphores:
    """Values the semaphores will have when every command counted so far is complete.

    Semaphores only ever grow, modulo 2**width, so each value follows from the commands alone. A
    planner reads ``value`` to place its waits; the device counts what it submits.

    Parameters
    ----------
    config : XpuConfig
        Number and width of the semaphores.
    """

    def __init__(self, config):
        self._config = config
        self._values = [0] * config.semaphores

    @property
    def count(self):
        """Semaphores there are; 1 to ``count`` - 1 are usable."""
        return self._config.semaphores

    @property
    def mask(self):
        """Values and thresholds are modulo ``mask`` + 1."""
        return (1 << self._config.semaphore_width) - 1

    def value(self, number):
        """Return the value of semaphore ``number`` after all commands so far, modulo."""
        return self._values[number] & self.mask

    def reset(self):
        """All zero, as after a reset of the device."""
        self._values = [0] * self.count

    def account(self, commands):
        """Count what ``commands`` add."""
        values = list(self._values)
        for command in commands:
            for number, amount in self._additions(command):
                if 0 < number < self.count:
                    values[number] = (values[number] + amount) & self.mask
        self._values = values

    def _additions(self, command):
        if command.opcode is Opcode.FENCE:
            return
        for n in (0, 1):
            yield command[f"signal{n}_semaphore"], command[f"signal{n}_add"]
        if command.opcode in (Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND):
            yield command["progress_semaphore"], rows_of(command)
        elif command.opcode in (Opcode.GEMM, Opcode.CONV):
            yield command["release_semaphore"], 1
            if not command["hold"]:
                blocks = -(-command["columns"] // self._config.lanes)
                column_tiles = -(-blocks // max(command["tile_blocks"], 1))
                width = command["width"] if command.opcode is Opcode.CONV else 1
                yield command["out_semaphore"], column_tiles * command["rows"] * width
