"""Command formats. The only place where an opcode, a field position or a fault cause is written.

Plain Python: the hardware makes its layouts from it, the driver its encoder and decoder, the
functional model its interpreter, and the documentation its tables.

A command is one or more 64-byte slots, little endian. Its first 24 bytes are the header, the same
for every command; the body follows. Reserved bits must be zero.
"""

import enum
from dataclasses import dataclass

__all__ = ["ALL_FORMATS", "DMA_COPY", "FENCE", "GEMM", "HEADER", "LAUNCH", "NOP", "SLOT_BYTES",
           "Engine", "FaultCause", "Field", "Format", "Opcode", "OutType"]

SLOT_BYTES = 64


@enum.unique
class Engine(enum.IntEnum):
    """Where a command executes."""

    LOAD = 0      #: DMA load side: GM to SM
    STORE = 1     #: DMA store side: SM to GM
    TENSOR = 2    #: tensor unit
    SIMD = 3      #: SIMD cluster (no cores yet: a launch is refused as BAD_OPCODE)
    CONTROL = 4   #: the command processor itself


@enum.unique
class Opcode(enum.IntEnum):
    """First byte of a command. Zero is no command, so that cleared memory is refused."""

    NOP = 0x01
    FENCE = 0x02
    DMA_LOAD = 0x10
    DMA_STORE = 0x11
    GEMM = 0x20
    LAUNCH = 0x30


@enum.unique
class OutType(enum.IntEnum):
    """Element type the tensor unit writes."""

    INT32 = 0
    INT8 = 1
    UINT8 = 2


@enum.unique
class FaultCause(enum.IntEnum):
    """Why a ring stopped."""

    NONE = 0
    BAD_OPCODE = 1      #: unknown opcode, or an engine this configuration lacks
    BAD_SLOTS = 2       #: slot count does not fit the opcode
    BAD_SEMAPHORE = 3   #: semaphore number beyond the configuration
    BAD_FIELD = 4       #: a field is outside its legal range; info holds its bit position
    BAD_ADDRESS = 5     #: an address outside its memory, or misaligned; address holds it
    BUS_READ = 6        #: an AXI read answered with an error; info holds RRESP
    BUS_WRITE = 7       #: an AXI write answered with an error; info holds BRESP
    FETCH = 8           #: fetching commands met a bus error; info holds RRESP


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


HEADER = Format("header", "Common to all commands.", (
    Field("opcode", 8, "Operation."),
    Field("slots", 4, "Slots of this command, exactly the count of its format."),
    Field("interrupt", 1, "FENCE only: raise the ring's completion interrupt."),
    Field("reserved0", 19, "Zero."),
    Field("wait0_semaphore", 8, "Before the command starts: semaphore that must reach "
                                "`wait0_value`; 0 for none."),
    Field("wait1_semaphore", 8, "Likewise with `wait1_value`."),
    Field("signal0_semaphore", 8, "Semaphore to add `signal0_add` to when the command is complete "
                                  "(every write acknowledged); 0 for none."),
    Field("signal1_semaphore", 8, "Likewise with `signal1_add`."),
    Field("wait0_value", 32, "Smallest value that ends the wait, modulo 2**semaphore_width."),
    Field("wait1_value", 32, "Likewise."),
    Field("signal0_add", 16, "Amount to add."),
    Field("signal1_add", 16, "Amount to add."),
    Field("tag", 32, "For the host; the hardware ignores it."),
))

NOP = Format("nop", "Does nothing; completes when decoded.", (), opcodes=(Opcode.NOP,),
             first_bit=HEADER.end)

FENCE = Format(
    "fence",
    "Waits until every earlier command of its ring is complete, then sets the ring's `completed` "
    "register to `sequence`. Later commands of the ring start only after it. Header waits and "
    "signals are not used.", (
        Field("sequence", 32, "New value of the ring's `completed` register."),
    ), opcodes=(Opcode.FENCE,), first_bit=HEADER.end)

DMA_COPY = Format(
    "dma_copy",
    "Copies `rows` rows of `row_bytes` bytes; row r starts at source + r * source_pitch and goes "
    "to destination + r * destination_pitch. DMA_LOAD copies GM to SM, DMA_STORE SM to GM. Any "
    "byte alignment.", (
        Field("source_low", 32, "System address of the first source byte, low half."),
        Field("source_high", 32, "High half."),
        Field("destination_low", 32, "System address of the first destination byte, low half."),
        Field("destination_high", 32, "High half."),
        Field("row_bytes", 32, "Bytes per row, 1 to 2**24 - 1."),
        Field("rows", 16, "Rows, 1 to 65,535."),
        Field("progress_semaphore", 8, "Load: add 1 to it for every row landed in SM. Store: row r "
                                       "is read only when it has reached progress_value + r. "
                                       "0 for none."),
        Field("reserved1", 8, "Zero."),
        Field("source_pitch", 32, "Bytes from row to row.", signed=True),
        Field("destination_pitch", 32, "Bytes from row to row.", signed=True),
        Field("progress_value", 32, "Store: threshold of row 0."),
    ), opcodes=(Opcode.DMA_LOAD, Opcode.DMA_STORE), first_bit=HEADER.end)

GEMM = Format(
    "gemm",
    "C[m, n] = epilogue(sum over k of (A[m, k] - a_zero_point) * (B[k, n] - b_zero_point)), all in "
    "SM. A has one row per m, B one row per k. Columns are handled in blocks of `lanes`; tiles of "
    "tile_rows x tile_blocks blocks run one after the other, rows first if column_order is 0 (the "
    "row loop is inside), columns first if it is 1. Addresses are byte offsets in SM and multiples "
    "of the word size, and so are pitches.", (
        Field("rows", 16, "M, 1 to 65,535."),
        Field("columns", 16, "N, 1 to 65,535."),
        Field("depth", 24, "K, 1 to 2**24 - 1."),
        Field("tile_blocks", 8, "Column blocks of a tile, 1 to the configuration's tile_blocks."),
        Field("tile_rows", 16, "Rows of a tile; tile_rows * tile_blocks <= acc_rows."),
        Field("a_signed", 1, "A is INT8, else UINT8."),
        Field("b_signed", 1, "B is INT8, else UINT8."),
        Field("column_order", 1, "0: for each column tile, all row tiles. 1: for each row tile, "
                                 "all column tiles."),
        Field("accumulate", 1, "Add to what the accumulators hold (left by a command with `hold`); "
                               "one tile only."),
        Field("hold", 1, "Leave the sums in the accumulators, no output; one tile only."),
        Field("has_bias", 1, "Read bias from SM."),
        Field("b_zero_point_vector", 1, "Read one B zero point per column from SM (bytes, of B's "
                                        "type), else use `b_zero_point`."),
        Field("scale_vector", 1, "Read one scale per column from SM, else use `scale`."),
        Field("relu", 1, "Replace negative sums (after bias) by 0."),
        Field("out_type", 2, "OutType. INT32 is not scaled."),
        Field("reserved2", 5, "Zero."),
        Field("a_address", 32, "First word of A."),
        Field("a_pitch", 32, "Bytes from row to row of A."),
        Field("b_address", 32, "First word of B."),
        Field("b_pitch", 32, "Bytes from row k to row k + 1 of B, within a column block."),
        Field("b_block_pitch", 32, "Bytes from a column block of B to the next."),
        Field("out_address", 32, "First word of C."),
        Field("out_pitch", 32, "Bytes from row to row of C; a column block takes lanes * element "
                               "size bytes, and blocks of a row follow each other."),
        Field("bias_address", 32, "Bias, INT32 per column, padded to whole blocks."),
        Field("scale_address", 32, "Scale, FP32 per column, padded to whole blocks."),
        Field("b_zero_point_address", 32, "B zero points, one byte per column, padded likewise."),
        Field("a_zero_point", 9, "Of A's type, as a signed number.", signed=True),
        Field("b_zero_point", 9, "Of B's type, as a signed number.", signed=True),
        Field("out_zero_point", 9, "Of C's type, as a signed number.", signed=True),
        Field("reserved3", 5, "Zero."),
        Field("scale", 32, "FP32 bit pattern, finite and positive."),
        Field("a_semaphore", 8, "A row tile ending before row r starts when this has reached "
                                "a_value + r. 0 for none."),
        Field("b_semaphore", 8, "Column tile t starts when this has reached b_value + t. "
                                "0 for none."),
        Field("out_semaphore", 8, "Add 1 to it for each row of each tile, when the row is written "
                                  "to SM. 0 for none."),
        Field("release_semaphore", 8, "Add 1 to it when the last operand word has been read. "
                                      "0 for none."),
        Field("a_value", 32, "Base of the waits for A."),
        Field("b_value", 32, "Base of the waits for B."),
    ), opcodes=(Opcode.GEMM,), slots=2, first_bit=HEADER.end)

LAUNCH = Format(
    "launch",
    "Starts a kernel on the SIMD cluster. The format is fixed; the cores come later, and until "
    "then the command is refused with BAD_OPCODE.", (
        Field("entry", 32, "Address of the first instruction, in the cores' address space."),
        Field("argument_low", 32, "System address of the argument block, low half."),
        Field("argument_high", 32, "High half."),
        Field("window_low", 32, "System address behind the cores' window onto GM, low half."),
        Field("window_high", 32, "High half."),
        Field("clusters", 8, "Clusters to run on."),
        Field("cores", 8, "Cores of each."),
        Field("reserved4", 16, "Zero."),
    ), opcodes=(Opcode.LAUNCH,), first_bit=HEADER.end)

ALL_FORMATS = (NOP, FENCE, DMA_COPY, GEMM, LAUNCH)
