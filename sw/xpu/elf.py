"""RISC-V programs in ELF files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from .errors import ArgumentError

__all__ = ["Elf", "Segment"]


@dataclass(frozen=True)
class Segment:
    """What is to be in memory: ``data`` from ``address`` on, then zeros up to ``size`` bytes."""

    address: int
    data: bytes
    size: int


class Elf:
    """An executable for RV32.

    Parameters
    ----------
    path : str or Path
        The file.

    Attributes
    ----------
    entry : int
        Address of the first instruction.
    segments : list of Segment
        Those to be loaded, by ascending address.
    symbols : dict
        Values of the symbols that have a name.

    Raises
    ------
    ArgumentError
        The file is no 32-bit little-endian RISC-V executable.
    """

    def __init__(self, path):
        self.path = Path(path)
        with self.path.open("rb") as file:
            try:
                elf = ELFFile(file)
                kind = (elf.elfclass, elf.little_endian, elf["e_machine"], elf["e_type"])
                if kind != (32, True, "EM_RISCV", "ET_EXEC"):
                    raise ArgumentError(f"{path} must be a 32-bit little-endian RISC-V executable; "
                                        f"it is {kind[0]}-bit, {kind[2]}, {kind[3]}")
                self.entry = elf["e_entry"]
                self.segments = sorted(
                    (Segment(one["p_paddr"], one.data(), one["p_memsz"])
                     for one in elf.iter_segments("PT_LOAD") if one["p_memsz"]),
                    key=lambda one: one.address)
                table = elf.get_section_by_name(".symtab")
                self.symbols = {one.name: one["st_value"] for one in table.iter_symbols()
                                if one.name} if table else {}
            except ELFError as error:
                raise ArgumentError(f"{path} is no ELF file: {error}") from error
        if not self.segments:
            raise ArgumentError(f"{path} has nothing to load")

    @property
    def begin(self):
        return self.segments[0].address

    @property
    def end(self):
        return max(one.address + one.size for one in self.segments)

    def image(self, begin=None):
        """Return the bytes from ``begin`` (default: that of the program) to ``end``, without what
        lies below."""
        begin = self.begin if begin is None else begin
        image = np.zeros(self.end - begin, np.uint8)
        for one in self.segments:
            if one.address >= begin:
                offset = one.address - begin
                image[offset:offset + len(one.data)] = np.frombuffer(one.data, np.uint8)
        return image
