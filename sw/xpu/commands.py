"""Commands as the driver builds them. Every position and width comes from the formats."""

from xpu_rtl.command.formats import ALL_FORMATS, HEADER, SLOT_BYTES, Engine, Opcode

__all__ = ["Command", "decode", "format_of"]

_FORMATS = {opcode: fmt for fmt in ALL_FORMATS for opcode in fmt.opcodes}
_WIDE = {opcode: {name[:-4] for name in fmt.lsb
                  if name.endswith("_low") and f"{name[:-4]}_high" in fmt.lsb}
         for opcode, fmt in _FORMATS.items()}
_NAMES = {opcode: {field.name for part in (HEADER, fmt) for field in part.fields}
          for opcode, fmt in _FORMATS.items()}

_LOADS, _STORES = (Engine.LOAD, Engine.LOAD1), (Engine.STORE, Engine.STORE1)
_ENGINES = {Opcode.DMA_LOAD: _LOADS, Opcode.DMA_LOAD_ND: _LOADS, Opcode.DMA_STORE: _STORES,
            Opcode.DMA_STORE_ND: _STORES, Opcode.GEMM: (Engine.TENSOR,),
            Opcode.CONV: (Engine.TENSOR,), Opcode.LAUNCH: (Engine.SIMD,)}


def format_of(opcode):
    """Return the format of an opcode; ``ValueError`` if it is none."""
    try:
        return _FORMATS[Opcode(opcode)]
    except ValueError:
        known = ", ".join(f"{op.name}={op.value:#04x}" for op in Opcode)
        raise ValueError(f"opcode must be one of {known}, not {opcode!r}") from None


class Command:
    """One command: header and body fields by name, unnamed fields zero.

    A pair of fields ``x_low``, ``x_high`` may also be given, and read, as one 64-bit value ``x``.
    ``slots`` is filled in from the format.

    Parameters
    ----------
    opcode : Opcode or int
        What to do.
    **fields : int
        Fields of the header and of the opcode's format. ``ValueError`` for an unknown name or a
        value that does not fit; ``TypeError`` for a value that is not an integer.
    """

    __slots__ = ("fields", "opcode")

    def __init__(self, opcode, **fields):
        fmt = format_of(opcode)
        self.opcode = Opcode(opcode)
        self.fields = {"opcode": int(self.opcode), "slots": fmt.slots}
        for name, value in fields.items():
            self[name] = value
        self._word()

    @property
    def format(self):
        return _FORMATS[self.opcode]

    @property
    def engine(self):
        """``Engine`` that executes it."""
        engines = _ENGINES.get(self.opcode, (Engine.CONTROL,))
        return engines[min(self["stream"], len(engines) - 1)]

    @property
    def slots(self):
        """Slots the encoded command takes."""
        return self.format.slots

    def __getitem__(self, name):
        if name in _WIDE[self.opcode]:
            return self[f"{name}_high"] << 32 | self[f"{name}_low"]
        if name not in _NAMES[self.opcode]:
            raise KeyError(f"{self.opcode.name} has no field {name!r}")
        return self.fields.get(name, 0)

    def __setitem__(self, name, value):
        try:
            value = value.__index__()
        except AttributeError:
            raise TypeError(f"{self.opcode.name}.{name} must be an integer, "
                            f"not {value!r}") from None
        if name in _WIDE[self.opcode]:
            if not 0 <= value < 1 << 64:
                raise ValueError(f"{self.opcode.name}.{name} must lie in [0, 2**64), not {value}")
            self.fields[f"{name}_low"] = value & 0xFFFF_FFFF
            self.fields[f"{name}_high"] = value >> 32
        elif name in _NAMES[self.opcode]:
            self.fields[name] = value
        else:
            raise ValueError(f"{self.opcode.name} has no field {name!r}; it has "
                             + ", ".join(sorted(_NAMES[self.opcode] | _WIDE[self.opcode])))

    def __eq__(self, other):
        return isinstance(other, Command) and self.encode() == other.encode()

    __hash__ = None

    def __repr__(self):
        shown = {name: value for name, value in self.fields.items()
                 if value and name not in ("opcode", "slots")}
        for name in sorted(_WIDE[self.opcode]):
            low, high = shown.pop(f"{name}_low", 0), shown.pop(f"{name}_high", 0)
            if low or high:
                shown[name] = high << 32 | low
        text = [f"{name}={value:#x}" if value > 4095 else f"{name}={value}"
                for name, value in shown.items()]
        return " ".join([self.opcode.name, *text])

    def _word(self):
        header = {name: value for name, value in self.fields.items() if name in HEADER.lsb}
        body = {name: value for name, value in self.fields.items() if name not in HEADER.lsb}
        return HEADER.pack(header) | self.format.pack(body)

    def encode(self):
        """Return the command as it lies in the ring: ``slots`` * 64 bytes."""
        return self._word().to_bytes(self.slots * SLOT_BYTES, "little")


def decode(data):
    """Return the command that ``data`` begins with.

    ``ValueError`` if the opcode is unknown or bytes are missing. Field values are not judged:
    a command the hardware refuses is decoded all the same.
    """
    data = bytes(data)
    if not data:
        raise ValueError("a command needs at least one byte, not none")
    fmt = format_of(data[0])
    size = fmt.slots * SLOT_BYTES
    if len(data) < size:
        raise ValueError(f"{Opcode(data[0]).name} takes {size} bytes, not {len(data)}")
    word = int.from_bytes(data[:size], "little")
    values = HEADER.unpack(word) | fmt.unpack(word)
    return Command(values.pop("opcode"), **values)
