"""Vocabulary for register maps. Plain Python: importable by software and docs without Amaranth."""

import enum
from dataclasses import dataclass

__all__ = ["Access", "Field", "Register", "RegisterBlock"]


class Access(enum.Enum):
    """What software and hardware may do to a field."""

    RW = "rw"        #: software writes, hardware reads
    RO = "ro"        #: hardware drives, software reads
    W1C = "w1c"      #: hardware sets, software clears by writing 1; a set in the same cycle wins
    PULSE = "pulse"  #: software writes 1 for a one-cycle pulse; reads as 0


@dataclass(frozen=True, kw_only=True)
class Field:
    """Bits of a register."""

    name: str
    lsb: int
    access: Access
    doc: str
    width: int = 1
    init: int = 0

    def __post_init__(self):
        if not self.name.isidentifier() or not self.name.islower():
            raise ValueError(f"field name must be lower snake case, not {self.name!r}")
        if self.lsb < 0 or self.width < 1 or self.lsb + self.width > 32:
            raise ValueError(f"field {self.name} does not fit in 32 bits")
        if not 0 <= self.init < 1 << self.width:
            raise ValueError(f"field {self.name}: init {self.init} does not fit")

    @property
    def mask(self):
        return ((1 << self.width) - 1) << self.lsb


@dataclass(frozen=True, kw_only=True)
class Register:
    """A 32-bit register, or ``count`` of them ``stride`` bytes apart."""

    name: str
    offset: int
    doc: str
    fields: tuple[Field, ...]
    count: int = 1
    stride: int = 4

    def __post_init__(self):
        if self.offset < 0 or self.offset % 4:
            raise ValueError(f"register {self.name}: offset {self.offset:#x} is not word aligned")
        if self.count < 1 or self.stride < 4 or self.stride % 4:
            raise ValueError(f"register {self.name}: count {self.count} must be positive and "
                             f"stride {self.stride} a multiple of 4")
        used = 0
        for field in self.fields:
            if used & field.mask:
                raise ValueError(f"register {self.name}: field {field.name} overlaps another")
            used |= field.mask

    def address(self, index=0):
        """Byte offset of element ``index``."""
        if not 0 <= index < self.count:
            raise IndexError(f"register {self.name} has {self.count} elements, not index {index}")
        return self.offset + index * self.stride

    def pack(self, **values):
        """Word with the given fields set, the others zero."""
        word = 0
        for name, value in values.items():
            field = self[name]
            if not 0 <= value < 1 << field.width:
                raise ValueError(f"{self.name}.{name} must fit in {field.width} bits, not {value}")
            word |= value << field.lsb
        return word

    def unpack(self, word):
        """``{field name: value}`` of a word read."""
        return {field.name: (word & field.mask) >> field.lsb for field in self.fields}

    def __getitem__(self, name):
        return next(field for field in self.fields if field.name == name)


@dataclass(frozen=True, kw_only=True)
class RegisterBlock:
    """Registers behind one bus port."""

    name: str
    doc: str
    registers: tuple[Register, ...]

    def __post_init__(self):
        names = [reg.name for reg in self.registers]
        if len(set(names)) != len(names):
            raise ValueError(f"block {self.name}: duplicate register name")
        seen = {}
        for reg in self.registers:
            for index in range(reg.count):
                other = seen.setdefault(reg.address(index), reg.name)
                if other != reg.name:
                    raise ValueError(f"block {self.name}: {reg.name} overlaps {other}")

    @property
    def addr_width(self):
        return max(reg.address(reg.count - 1) for reg in self.registers).bit_length()

    def __getitem__(self, name):
        return next(reg for reg in self.registers if reg.name == name)
