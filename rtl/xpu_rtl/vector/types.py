"""Payloads between the parts of the vector unit."""

from amaranth import signed, unsigned
from amaranth.lib import data
from amaranth.utils import ceil_log2

from ..float.ieee import Flags, Rounding
from ..params import XpuConfig

__all__ = ["TAG_BITS", "Completion", "LaneFlags", "RowWrite", "VectorOp", "VectorRequest",
           "VectorShape", "VectorState"]

TAG_BITS = 5        #: of the numbers by which logs know instructions


class VectorShape:
    """Sizes of the vector registers of a configuration.

    A register has ``rows`` rows of ``width`` bits (``bytes`` bytes); all 32 have ``total`` rows.
    ``lanes`` floating-point lanes of 32 bits work on a row. ``vl_bits`` holds 0 to ``vlen``,
    ``index_bits`` the number of an element, ``row_bits`` that of a row.
    """

    def __init__(self, config: XpuConfig):
        self.vlen, self.width = config.vlen, config.simd_width
        self.bytes = self.width // 8
        self.byte_shift = ceil_log2(self.bytes)
        self.rows = self.vlen // self.width
        self.total = 32 * self.rows
        self.row_shift = ceil_log2(self.rows)
        self.row_bits = 5 + self.row_shift
        self.lanes = self.width // 32
        self.index_bits = ceil_log2(self.vlen)
        self.vl_bits = self.index_bits + 1


class VectorOp(data.Struct):
    """What a vector instruction does, from the table in ``isa``.

    Fields: ``engine`` (``Engine``), ``op`` (of that engine); ``d``, ``s2``, ``s1`` (``Width``) and
    ``d_kind``, ``s2_kind``, ``s1_kind`` (``Kind``) of the operands; ``signed2``, ``signed1`` (how
    they are widened), ``unsigned_immediate``; ``read_d`` (vd is an operand), ``swap`` (vs2 changes
    places with vd if that is an operand, else with vs1); ``mask_operand`` (v0 is an operand);
    ``wide`` (computed with 32 bits); ``whole`` (whole registers); ``apart`` (vd must not overlap
    a source), ``not_v0`` (vd must not be the mask),
    ``index16`` (vs1 has 16 bits), ``unordered`` (a sum in any order), ``float_of`` (``FloatOf``);
    of floating point: ``negate_product``, ``negate_addend``, ``unit_factor``, ``no_addend``,
    ``is_signed`` (the integer), ``rounding`` (0: as frm, 1: to zero, 2: to odd).
    """

    engine: 4
    op: 6
    d: 2
    s2: 2
    s1: 2
    d_kind: 3
    s2_kind: 3
    s1_kind: 3
    signed2: 1
    signed1: 1
    unsigned_immediate: 1
    read_d: 1
    swap: 1
    mask_operand: 1
    wide: 1
    whole: 1
    apart: 1
    not_v0: 1
    index16: 1
    unordered: 1
    float_of: 2
    negate_product: 1
    negate_addend: 1
    unit_factor: 1
    no_addend: 1
    is_signed: 1
    rounding: 2


class VectorState(data.StructLayout):
    """Registers that vector instructions depend on: ``vl``, ``vstart``, ``vxrm``, and ``vtype`` as
    ``vill``, ``vma``, ``vta``, ``sew`` (log2 of bytes; up to 2 if legal), ``lmul`` (log2,
    signed)."""

    def __init__(self, config: XpuConfig):
        shape = VectorShape(config)
        super().__init__({
            "vl": unsigned(shape.vl_bits), "vstart": unsigned(shape.index_bits),
            "vxrm": unsigned(2), "vill": unsigned(1), "vma": unsigned(1), "vta": unsigned(1),
            "sew": unsigned(3), "lmul": signed(3),
        })


class VectorRequest(data.StructLayout):
    """An instruction that the scalar pipeline passes on.

    Fields: ``op``; register numbers ``vd``, ``vs2``, ``vs1``, ``vm`` (unmasked); ``scalar`` (x or f
    register, immediate, or base address), ``stride``; ``vl``, ``vstart``, ``sew`` (log2 of bytes),
    ``lmul`` (log2, signed); ``rounding``, ``vxrm``; ``reads``, ``writes`` (registers); ``rd``
    and ``to_f`` (register of a scalar result); ``tag``. Of loads and stores: ``width`` (log2 of
    bytes), ``mop`` and ``fields`` (mop and nf of the instruction), ``slow`` (element by element;
    the pipeline waits for the end), ``shared`` (rows are in SM, not LM), ``first_fault``.
    """

    def __init__(self, config: XpuConfig):
        shape = VectorShape(config)
        super().__init__({
            "op": VectorOp, "vd": unsigned(5), "vs2": unsigned(5), "vs1": unsigned(5),
            "vm": unsigned(1), "scalar": unsigned(32), "stride": unsigned(32),
            "vl": unsigned(shape.vl_bits), "vstart": unsigned(shape.index_bits),
            "sew": unsigned(2), "lmul": signed(3), "rounding": Rounding, "vxrm": unsigned(2),
            "reads": unsigned(32), "writes": unsigned(32), "rd": unsigned(5), "to_f": unsigned(1),
            "tag": unsigned(TAG_BITS), "width": unsigned(2), "mop": unsigned(2),
            "fields": unsigned(3), "slow": unsigned(1), "shared": unsigned(1),
            "first_fault": unsigned(1),
        })


class RowWrite(data.StructLayout):
    """A write to the vector registers. Fields: ``row`` (number of the register * rows + row),
    ``strobe`` (bytes), ``data``, ``tag``."""

    def __init__(self, config: XpuConfig):
        shape = VectorShape(config)
        super().__init__({"row": unsigned(shape.row_bits), "strobe": unsigned(shape.bytes),
                          "data": unsigned(shape.width), "tag": unsigned(TAG_BITS)})


class Completion(data.Struct):
    """The end of an instruction. Fields: ``tag``, ``flags`` (exceptions), ``saturated``."""

    tag: TAG_BITS
    flags: Flags
    saturated: 1


class LaneFlags(data.StructLayout):
    """Exceptions of every lane. Fields: ``wide`` (words, and the halves with even numbers),
    ``narrow`` (the other halves)."""

    def __init__(self, lanes):
        super().__init__({"wide": data.ArrayLayout(Flags, lanes),
                          "narrow": data.ArrayLayout(Flags, lanes)})
