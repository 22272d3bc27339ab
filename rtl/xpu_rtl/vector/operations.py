"""What a vector instruction is: numbers shared by the table, the hardware and tests. Plain Python.
"""

import enum

__all__ = ["AluOp", "Engine", "FloatOf", "Kind", "MaskOp", "MultiplyOp", "PermuteOp", "ReduceOp",
           "Width"]


@enum.unique
class Engine(enum.IntEnum):
    """Which part executes an instruction."""

    ALU = 0
    MULTIPLY = 1
    DIVIDE = 2
    FMA = 3
    FLOAT_DIVIDE = 4
    COMPARE = 5         #: floating point: comparisons, minimum, signs, classes, estimates
    TO_INTEGER = 6
    FROM_INTEGER = 7
    MASK = 8            #: on mask registers
    PERMUTE = 9         #: element by element
    REDUCE = 10
    LOAD = 11
    STORE = 12


@enum.unique
class Width(enum.IntEnum):
    """Width of an operand's elements (EEW), seen from SEW."""

    SAME = 0
    DOUBLE = 1
    HALF = 2
    QUARTER = 3


@enum.unique
class Kind(enum.IntEnum):
    """What an operand is."""

    NONE = 0
    GROUP = 1           #: elements in a register group
    SINGLE = 2          #: one register, element 0
    MASK = 3            #: one register, bits
    SCALAR = 4          #: from an integer or floating-point register, or an immediate


@enum.unique
class FloatOf(enum.IntEnum):
    """Which operand has to be of a width that floating-point numbers have."""

    NONE = 0
    SOURCE = 1          #: vs2
    DESTINATION = 2


@enum.unique
class AluOp(enum.IntEnum):
    """Integer operations of a = vs2, b = vs1 or scalar, mask bit m."""

    ADD = 0
    SUB = 1
    AND = 2
    OR = 3
    XOR = 4
    MINU = 5
    MIN = 6
    MAXU = 7
    MAX = 8
    SLL = 9
    SRL = 10
    SRA = 11
    ADC = 12            #: with m
    SBC = 13
    MADC = 14           #: carry out
    MSBC = 15
    MERGE = 16          #: m ? b : a
    COPY = 17           #: b
    EXTEND = 18         #: a
    ID = 19             #: index of the element
    SADDU = 20          #: saturating
    SADD = 21
    SSUBU = 22
    SSUB = 23
    AADDU = 24          #: averaging
    AADD = 25
    ASUBU = 26
    ASUB = 27
    SSRL = 28           #: rounding
    SSRA = 29
    NCLIPU = 30         #: rounding and saturating to half the width
    NCLIP = 31
    EQ = 32
    NE = 33
    LTU = 34
    LT = 35
    LEU = 36
    LE = 37
    GTU = 38
    GT = 39


@enum.unique
class MultiplyOp(enum.IntEnum):
    """Products of a = vs2 and b = vs1 or scalar."""

    LOW = 0
    HIGH = 1            #: both signed
    HIGH_U = 2
    HIGH_SU = 3         #: b unsigned
    ADD = 4             #: addend + product, low half
    SUB = 5             #: addend - product, low half
    FRACTION = 6        #: of fixed-point fractions, rounding and saturating


@enum.unique
class MaskOp(enum.IntEnum):
    """Operations on mask registers; the first eight are a function of two bits."""

    ANDN = 0
    AND = 1
    OR = 2
    XOR = 3
    ORN = 4
    NAND = 5
    NOR = 6
    XNOR = 7
    BEFORE_FIRST = 8
    ONLY_FIRST = 9
    INCLUDING_FIRST = 10
    COUNT = 11          #: to an integer register
    FIND_FIRST = 12     #: to an integer register


@enum.unique
class PermuteOp(enum.IntEnum):
    """Which element of vs2 goes where."""

    SLIDE_UP = 0
    SLIDE_DOWN = 1
    SLIDE_1_UP = 2
    SLIDE_1_DOWN = 3
    GATHER = 4          #: by elements of vs1, or by a scalar
    COMPRESS = 5
    IOTA = 6            #: number of bits set before
    TO_SCALAR = 7       #: element 0


@enum.unique
class ReduceOp(enum.IntEnum):
    """Reductions."""

    SUM = 0
    AND = 1
    OR = 2
    XOR = 3
    MINU = 4
    MIN = 5
    MAXU = 6
    MAX = 7
    FLOAT_SUM = 8
    FLOAT_MIN = 9
    FLOAT_MAX = 10
