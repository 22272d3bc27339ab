"""The vocabulary of command formats: fields, packed into slots. Plain Python."""

from dataclasses import dataclass

__all__ = ["SLOT_BYTES", "Field", "Format"]

SLOT_BYTES = 64     #: a command is one or more slots


@dataclass(frozen=True)
class Field:
    """Bits of a command. ``width`` in bits; ``signed`` for two's complement."""

    name: str
    width: int
    doc: str
    signed: bool = False


class Format:
    """Fields of a command or of its header, packed from bit ``first_bit`` on without gaps."""

    def __init__(self, name, doc, fields, *, opcodes=(), slots=1, first_bit=0):
        self.name, self.doc, self.fields = name, doc, tuple(fields)
        self.opcodes, self.slots, self.first_bit = tuple(opcodes), slots, first_bit
        self.lsb = {}
        lsb = first_bit
        for field in self.fields:
            if field.name in self.lsb:
                raise ValueError(f"{name}: duplicate field {field.name}")
            if lsb % 32 + field.width > 32 and lsb % 32:
                raise ValueError(f"{name}.{field.name} crosses a 32-bit word")
            self.lsb[field.name] = lsb
            lsb += field.width
        self.end = lsb
        if lsb > slots * SLOT_BYTES * 8:
            raise ValueError(f"{name} takes {lsb} bits, more than {slots} slots")

    @property
    def bits(self):
        """Bits of the whole command."""
        return self.slots * SLOT_BYTES * 8

    def pack(self, values):
        """Return the fields as an integer; raises ``ValueError`` for a value that does not fit."""
        unknown = set(values) - set(self.lsb)
        if unknown:
            raise ValueError(f"{self.name} has no field {sorted(unknown)[0]!r}")
        word = 0
        for field in self.fields:
            value = int(values.get(field.name, 0))
            low = -(1 << (field.width - 1)) if field.signed else 0
            high = 1 << (field.width - field.signed)
            if not low <= value < high:
                raise ValueError(f"{self.name}.{field.name} must lie in [{low}, {high}), "
                                 f"not {value}")
            word |= (value & ((1 << field.width) - 1)) << self.lsb[field.name]
        return word

    def unpack(self, word):
        """Return ``{field name: value}`` of an integer made of the command's bytes."""
        values = {}
        for field in self.fields:
            value = word >> self.lsb[field.name] & ((1 << field.width) - 1)
            if field.signed and value >> (field.width - 1):
                value -= 1 << field.width
            values[field.name] = value
        return values
