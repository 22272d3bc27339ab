"""Bare-metal programs on one core."""

from dataclasses import dataclass

import numpy as np

from xpu_rtl.command.formats import Opcode

from .commands import Command
from .elf import Elf
from .errors import ArgumentError, DeviceFault
from .opening import open_device

__all__ = ["ElfResult", "run_elf"]

_PAGE = 4096
_ROOM = 64 << 20        #: bytes that a program finds above its last segment, for stack and heap
_SPACE = 1 << 32


@dataclass(frozen=True)
class ElfResult:
    """What became of a program. ``value`` was written to ``tohost`` (``None``: nothing was),
    ``cycles`` from the doorbell to the store, ``reason`` in words."""

    passed: bool
    value: int | None
    cycles: int
    reason: str


def run_elf(path, *, config="tiny", max_cycles=1_000_000, commit_log=None, memory_latency=20,
            flat=True, **options):
    """Run a bare-metal program on core 0 of the simulated RTL until it writes ``tohost``.

    The whole address space of the core is global memory, so that code and data may lie anywhere,
    unless ``flat`` is ``False``: then LM and SM are below 2**28, as for kernels, and all segments
    must lie above.
    A trap that the program does not handle ends it, too.

    Parameters
    ----------
    path : str or Path
        The ELF file. Its symbol ``tohost`` names the word to watch: 1 means that it has passed,
        ``2 * n + 1`` that test n failed.
    config : str or XpuConfig
        Configuration with at least one core.
    max_cycles : int
        Give up after so many.
    commit_log : path, optional
        Write what the core retires there, in the format of Spike's ``--log-commits``.
    memory_latency, **options
        As for ``xpu.open``.

    Raises
    ------
    ArgumentError
        The file cannot be run.
    """
    elf = Elf(path)
    if "tohost" not in elf.symbols:
        raise ArgumentError(f"{path} has no symbol tohost, so nothing would tell its end")
    begin = elf.begin & -_PAGE
    size = min(elf.end + _ROOM, _SPACE) - begin
    # The ring and its like come first; a program from 0 on has its own page 0.
    with open_device(config, memory_latency=memory_latency,
                     memory_bytes=(size + (16 << 20)) & -_PAGE, **options) as device:
        if not device.config.simd_cores:
            raise ArgumentError(f"configuration {device.config.name!r} has no SIMD cores")
        platform = device.platform
        memory = device.empty((size + _PAGE,), np.uint8)
        base = (memory.address + _PAGE - 1) & -_PAGE
        image = elf.image()
        platform.write_memory(base + elf.begin - begin, image)
        if commit_log is not None:
            platform.start_commit_log(commit_log)
        before = platform.cycle_count
        launch = Command(Opcode.LAUNCH, entry=elf.entry, clusters=1, cores=1, flat=int(flat),
                         invalidate=1,
                         argument=base, window=(base - begin) % (1 << 64))
        device.submit([launch], name=f"program {elf.path.name}", writes=[memory])
        _, value = platform.run_until_store(elf.symbols["tohost"], max_cycles)
        cycles = platform.cycle_count - before
        if commit_log is not None:
            platform.stop_commit_log()
        if value is None and cycles < max_cycles:
            try:
                device.synchronize()
                reason = "it ended without a word to tohost"
            except DeviceFault as error:
                reason = str(error)
        elif value is None:
            reason = f"it did not write tohost within {max_cycles:,} cycles"
        elif value == 1:
            reason = "tohost 1"
        else:
            reason = f"tohost {value:#x}: test {value >> 1} failed"
        return ElfResult(value == 1, value, cycles, reason)
