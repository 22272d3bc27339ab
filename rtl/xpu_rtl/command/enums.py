"""Opcodes, engines, types, causes: every enumeration of the commands. Plain Python."""

import enum

__all__ = ["Activation", "DmaAxis", "DmaMode", "ElementType", "Engine", "FaultCause", "Opcode"]


@enum.unique
class Engine(enum.IntEnum):
    """Where a command executes."""

    LOAD = 0      #: DMA load side, stream 0: GM or SM to SM
    STORE = 1     #: DMA store side, stream 0: SM or GM to GM
    TENSOR = 2    #: tensor unit
    SIMD = 3      #: SIMD cluster
    CONTROL = 4   #: the command processor itself
    LOAD1 = 5     #: DMA load side, stream 1
    STORE1 = 6    #: DMA store side, stream 1


@enum.unique
class Opcode(enum.IntEnum):
    """First byte of a command. Zero is no command, so that cleared memory is refused."""

    NOP = 0x01
    FENCE = 0x02
    DMA_LOAD = 0x10
    DMA_STORE = 0x11
    DMA_LOAD_ND = 0x12
    DMA_STORE_ND = 0x13
    GEMM = 0x20
    CONV = 0x21
    LAUNCH = 0x30


@enum.unique
class ElementType(enum.IntEnum):
    """Type of an element in memory."""

    INT32 = 0
    INT8 = 1
    UINT8 = 2
    INT16 = 3
    INT64 = 4
    FP32 = 5
    FP16 = 6
    BF16 = 7

    @property
    def bytes(self):
        """Bytes of an element."""
        return {"INT8": 1, "UINT8": 1, "INT16": 2, "FP16": 2, "BF16": 2, "INT64": 8}.get(
            self.name, 4)

    @property
    def is_float(self):
        return self in (ElementType.FP32, ElementType.FP16, ElementType.BF16)


@enum.unique
class Activation(enum.IntEnum):
    """What the epilogue does to a value v before it is converted to the output type."""

    NONE = 0
    RELU = 1    #: max(v, 0)
    LEAKY = 2   #: v if v >= 0, else v * `low`
    CLIP = 3    #: min(max(v, `low`), `high`)


@enum.unique
class DmaMode(enum.IntEnum):
    """What a DMA_ND command does with each row."""

    COPY = 0        #: copies it
    FILL = 1        #: fills it with `fill`; there is no source
    CLIP = 2        #: copies what lies inside the source tensor, fills the rest (padding)
    TRANSPOSE = 3   #: loop 1 and the row are the two axes of a matrix, written transposed
    GATHER = 4      #: the source of loop 1's row i is picked by entry i of an index list
    SCATTER = 5     #: the destination of loop 1's row i is picked by entry i of an index list


@enum.unique
class DmaAxis(enum.IntEnum):
    """Coordinate of the source tensor that a loop of a CLIP command moves along."""

    NONE = 0    #: none; never out of bounds
    X = 1       #: byte position of the row's first byte
    U = 2       #: first outer coordinate, for example the image row
    V = 3       #: second outer coordinate, for example the image column


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
    PROTECTION = 9      #: outside the windows of the ring: address is that of the first byte of the
                        #: burst or run, info its Space plus 16 for a write; or a semaphore, whose
                        #: number is the address, info Space.SEMAPHORE plus 16 to signal it
    BAD_INDEX = 10      #: an entry of an index list is not below its limit; info holds the entry,
                        #: address where it stands in the list
    KERNEL_TRAP = 11    #: a core trapped: address is that of the instruction, info the cause (as in
                        #: mcause) in bits 7:0 and the core in 15:8, row the value of mtval
