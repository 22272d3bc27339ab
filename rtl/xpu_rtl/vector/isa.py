"""The table of vector instructions: RISC-V's Zve32f and Zvfh.

Source: The RISC-V Instruction Set Manual, "V" Standard Extension, version 1.0.
"""

from ..simd.instruction import Instruction, Operand, Unit
from .operations import (
    AluOp,
    Engine,
    FloatOf,
    Kind,
    MaskOp,
    MultiplyOp,
    PermuteOp,
    ReduceOp,
    Width,
)

__all__ = ["vector_instructions"]

_VV, _FVV, _MVV, _VI, _VX, _FVF, _MVX = range(7)      # funct3 of the opcode OP-V
_SUFFIX = {_VV: "vv", _FVV: "vv", _MVV: "vv", _VI: "vi", _VX: "vx", _FVF: "vf", _MVX: "vx"}
_SAME, _DOUBLE, _HALF = Width.SAME, Width.DOUBLE, Width.HALF
#: Numbers of CompareOp (float/compare.py); a test compares them.
_COMPARE = {"sgnj": 0, "sgnjn": 1, "sgnjx": 2, "min": 4, "max": 5, "class": 6, "le": 8, "lt": 9,
            "eq": 10, "ne": 11, "rec7": 12, "rsqrt7": 13}
_ROUNDINGS = {"": 0, "rtz": 1, "rod": 2}


def _bits(value, width):
    return "-" * width if value is None else f"{value:0{width}b}"


def _op(name, funct6, form, engine, op=0, *, vm=None, vs1=None, vs2=None, rd=Operand.NONE,
        **vector):
    """One instruction of the opcode OP-V."""
    scalar = form in (_VI, _VX, _FVF, _MVX)
    kinds = {"d_kind": Kind.GROUP, "s2_kind": Kind.GROUP,
             "s1_kind": Kind.SCALAR if scalar else Kind.GROUP}
    if vs2 is not None:
        kinds["s2_kind"] = Kind.NONE
    if vs1 is not None:
        kinds["s1_kind"] = Kind.NONE
    pattern = (_bits(funct6, 6) + _bits(vm, 1) + _bits(vs2, 5) + _bits(vs1, 5) + _bits(form, 3)
               + "-----" + "1010111")
    rs1 = {_VX: Operand.X, _MVX: Operand.X, _FVF: Operand.F}.get(form, Operand.NONE)
    return Instruction(name, pattern, Unit.VECTOR, rd=rd, rs1=rs1,
                       vector={"engine": engine, "op": op} | kinds | vector)


def _forms(name, funct6, forms, engine, op=0, *, suffix="", **vector):
    for form in forms:
        extra = {"unsigned_immediate": 1} if form == _VI and vector.get("shifts") else {}
        rest = {key: value for key, value in vector.items() if key != "shifts"}
        yield _op(f"{name}.{suffix or _SUFFIX[form]}", funct6, form, engine, op, **rest | extra)


_VXI, _VX2, _XI = (_VV, _VX, _VI), (_VV, _VX), (_VX, _VI)
_M2 = (_MVV, _MVX)


def _integer():
    alu = Engine.ALU
    for name, funct6, forms, op, extra in (
            ("vadd", 0, _VXI, AluOp.ADD, {}), ("vsub", 2, _VX2, AluOp.SUB, {}),
            ("vrsub", 3, _XI, AluOp.SUB, {"swap": 1}),
            ("vminu", 4, _VX2, AluOp.MINU, {}), ("vmin", 5, _VX2, AluOp.MIN, {}),
            ("vmaxu", 6, _VX2, AluOp.MAXU, {}), ("vmax", 7, _VX2, AluOp.MAX, {}),
            ("vand", 9, _VXI, AluOp.AND, {}), ("vor", 10, _VXI, AluOp.OR, {}),
            ("vxor", 11, _VXI, AluOp.XOR, {}),
            ("vsaddu", 0b100000, _VXI, AluOp.SADDU, {}), ("vsadd", 0b100001, _VXI, AluOp.SADD, {}),
            ("vssubu", 0b100010, _VX2, AluOp.SSUBU, {}), ("vssub", 0b100011, _VX2, AluOp.SSUB, {}),
            ("vsll", 0b100101, _VXI, AluOp.SLL, {"shifts": 1}),
            ("vsrl", 0b101000, _VXI, AluOp.SRL, {"shifts": 1}),
            ("vsra", 0b101001, _VXI, AluOp.SRA, {"shifts": 1}),
            ("vssrl", 0b101010, _VXI, AluOp.SSRL, {"shifts": 1}),
            ("vssra", 0b101011, _VXI, AluOp.SSRA, {"shifts": 1}),
            ("vaaddu", 8, _M2, AluOp.AADDU, {}), ("vaadd", 9, _M2, AluOp.AADD, {}),
            ("vasubu", 10, _M2, AluOp.ASUBU, {}), ("vasub", 11, _M2, AluOp.ASUB, {})):
        yield from _forms(name, funct6, forms, alu, op, **extra)
    narrow = {"s2": _DOUBLE, "shifts": 1}
    for name, funct6, op in (
            ("vnsrl", 0b101100, AluOp.SRL), ("vnsra", 0b101101, AluOp.SRA),
            ("vnclipu", 0b101110, AluOp.NCLIPU), ("vnclip", 0b101111, AluOp.NCLIP)):
        for form, suffix in ((_VV, "wv"), (_VX, "wx"), (_VI, "wi")):
            yield from _forms(name, funct6, (form,), alu, op, suffix=suffix,
                              **narrow | {"signed2": int(op in (AluOp.SRA, AluOp.NCLIP))})
    for name, funct6, forms, op in (
            ("vmseq", 24, _VXI, AluOp.EQ), ("vmsne", 25, _VXI, AluOp.NE),
            ("vmsltu", 26, _VX2, AluOp.LTU), ("vmslt", 27, _VX2, AluOp.LT),
            ("vmsleu", 28, _VXI, AluOp.LEU), ("vmsle", 29, _VXI, AluOp.LE),
            ("vmsgtu", 30, _XI, AluOp.GTU), ("vmsgt", 31, _XI, AluOp.GT)):
        yield from _forms(name, funct6, forms, alu, op, d_kind=Kind.MASK)
    for form in _VXI:
        kind = _SUFFIX[form]
        yield _op(f"vadc.{kind}m", 16, form, alu, AluOp.ADC, vm=0, mask_operand=1)
        yield _op(f"vmadc.{kind}m", 17, form, alu, AluOp.MADC, vm=0, mask_operand=1,
                  d_kind=Kind.MASK)
        yield _op(f"vmadc.{kind}", 17, form, alu, AluOp.MADC, vm=1, d_kind=Kind.MASK)
        if form != _VI:
            yield _op(f"vsbc.{kind}m", 18, form, alu, AluOp.SBC, vm=0, mask_operand=1)
            yield _op(f"vmsbc.{kind}m", 19, form, alu, AluOp.MSBC, vm=0, mask_operand=1,
                      d_kind=Kind.MASK)
            yield _op(f"vmsbc.{kind}", 19, form, alu, AluOp.MSBC, vm=1, d_kind=Kind.MASK)
        yield _op(f"vmerge.{kind}m", 23, form, alu, AluOp.MERGE, vm=0, mask_operand=1)
        yield _op(f"vmv.v.{kind[1]}", 23, form, alu, AluOp.COPY, vm=1, vs2=0)
    for vs1, name, width, signed in ((4, "vzext.vf4", Width.QUARTER, 0),
                                     (5, "vsext.vf4", Width.QUARTER, 1),
                                     (6, "vzext.vf2", _HALF, 0), (7, "vsext.vf2", _HALF, 1)):
        yield _op(name, 18, _MVV, alu, AluOp.EXTEND, vs1=vs1, s2=width, signed2=signed)
    for wide, suffix in ((_SAME, "v"), (_DOUBLE, "w")):
        for n, (name, op, signed) in enumerate((
                ("vwaddu", AluOp.ADD, 0), ("vwadd", AluOp.ADD, 1), ("vwsubu", AluOp.SUB, 0),
                ("vwsub", AluOp.SUB, 1))):
            for form in _M2:
                yield _op(f"{name}.{suffix}{_SUFFIX[form][1]}", 0b110000 + n + 4 * (wide != 0),
                          form, alu, op, d=_DOUBLE, s2=wide, signed2=signed, signed1=signed)
    yield _op("vid.v", 20, _MVV, alu, AluOp.ID, vs1=17, vs2=0)
    yield _op("vmv.s.x", 16, _MVX, alu, AluOp.COPY, vm=1, vs2=0, d_kind=Kind.SINGLE)
    for count in (1, 2, 4, 8):
        yield _op(f"vmv{count}r.v", 39, _VI, alu, AluOp.EXTEND, vm=1, vs1=count - 1, whole=1)


def _products():
    multiply = Engine.MULTIPLY
    for name, funct6, op in (
            ("vmulhu", 0b100100, MultiplyOp.HIGH_U), ("vmul", 0b100101, MultiplyOp.LOW),
            ("vmulhsu", 0b100110, MultiplyOp.HIGH_SU), ("vmulh", 0b100111, MultiplyOp.HIGH)):
        yield from _forms(name, funct6, _M2, multiply, op)
    for name, funct6, op, swap in (
            ("vmadd", 0b101001, MultiplyOp.ADD, 1), ("vnmsub", 0b101011, MultiplyOp.SUB, 1),
            ("vmacc", 0b101101, MultiplyOp.ADD, 0), ("vnmsac", 0b101111, MultiplyOp.SUB, 0)):
        yield from _forms(name, funct6, _M2, multiply, op, read_d=1, swap=swap)
    yield from _forms("vsmul", 39, _VX2, multiply, MultiplyOp.FRACTION)
    for name, funct6, forms, op, signed2, signed1 in (
            ("vwmulu", 0b111000, _M2, MultiplyOp.LOW, 0, 0),
            ("vwmulsu", 0b111010, _M2, MultiplyOp.LOW, 1, 0),
            ("vwmul", 0b111011, _M2, MultiplyOp.LOW, 1, 1),
            ("vwmaccu", 0b111100, _M2, MultiplyOp.ADD, 0, 0),
            ("vwmacc", 0b111101, _M2, MultiplyOp.ADD, 1, 1),
            ("vwmaccus", 0b111110, (_MVX,), MultiplyOp.ADD, 1, 0),
            ("vwmaccsu", 0b111111, _M2, MultiplyOp.ADD, 0, 1)):
        yield from _forms(name, funct6, forms, multiply, op, d=_DOUBLE, signed2=signed2,
                          signed1=signed1, read_d=int(op is MultiplyOp.ADD))
    # Quotients are computed with 32 bits.
    for n, name in enumerate(("vdivu", "vdiv", "vremu", "vrem")):
        yield from _forms(name, 0b100000 + n, _M2, Engine.DIVIDE, n, wide=1, signed2=n & 1,
                          signed1=n & 1)


def _masks():
    for funct6, op in enumerate((MaskOp.ANDN, MaskOp.AND, MaskOp.OR, MaskOp.XOR, MaskOp.ORN,
                                 MaskOp.NAND, MaskOp.NOR, MaskOp.XNOR), 24):
        yield _op(f"vm{op.name.lower()}.mm", funct6, _MVV, Engine.MASK, op, vm=1,
                  d_kind=Kind.MASK, s2_kind=Kind.MASK, s1_kind=Kind.MASK)
    for vs1, name, op in ((1, "vmsbf.m", MaskOp.BEFORE_FIRST), (2, "vmsof.m", MaskOp.ONLY_FIRST),
                          (3, "vmsif.m", MaskOp.INCLUDING_FIRST)):
        yield _op(name, 20, _MVV, Engine.MASK, op, vs1=vs1, d_kind=Kind.MASK, s2_kind=Kind.MASK,
                  apart=1, not_v0=1)
    for vs1, name, op in ((16, "vcpop.m", MaskOp.COUNT), (17, "vfirst.m", MaskOp.FIND_FIRST)):
        yield _op(name, 16, _MVV, Engine.MASK, op, vs1=vs1, rd=Operand.X, d_kind=Kind.NONE,
                  s2_kind=Kind.MASK)


def _permutations():
    permute = Engine.PERMUTE
    for name, funct6, op in (("vslideup", 14, PermuteOp.SLIDE_UP),
                             ("vslidedown", 15, PermuteOp.SLIDE_DOWN)):
        yield from _forms(name, funct6, _XI, permute, op, shifts=1,
                          apart=int(op is PermuteOp.SLIDE_UP))
    for n, op in enumerate((PermuteOp.SLIDE_1_UP, PermuteOp.SLIDE_1_DOWN)):
        name = ("up", "down")[n]
        yield _op(f"vslide1{name}.vx", 14 + n, _MVX, permute, op, apart=1 - n)
        yield _op(f"vfslide1{name}.vf", 14 + n, _FVF, permute, op, apart=1 - n,
                  float_of=FloatOf.SOURCE)
    yield from _forms("vrgather", 12, _VXI, permute, PermuteOp.GATHER, shifts=1, apart=1)
    yield _op("vrgatherei16.vv", 14, _VV, permute, PermuteOp.GATHER, index16=1, apart=1)
    yield _op("vcompress.vm", 23, _MVV, permute, PermuteOp.COMPRESS, vm=1, s1_kind=Kind.MASK,
              apart=1)
    yield _op("viota.m", 20, _MVV, permute, PermuteOp.IOTA, vs1=16, s2_kind=Kind.MASK)
    yield _op("vmv.x.s", 16, _MVV, permute, PermuteOp.TO_SCALAR, vm=1, vs1=0, rd=Operand.X,
              d_kind=Kind.NONE, s2_kind=Kind.SINGLE)
    yield _op("vfmv.f.s", 16, _FVV, permute, PermuteOp.TO_SCALAR, vm=1, vs1=0, rd=Operand.F,
              d_kind=Kind.NONE, s2_kind=Kind.SINGLE, float_of=FloatOf.SOURCE)


def _reductions():
    single = {"d_kind": Kind.SINGLE, "s1_kind": Kind.SINGLE}
    for funct6, op in enumerate((ReduceOp.SUM, ReduceOp.AND, ReduceOp.OR, ReduceOp.XOR,
                                 ReduceOp.MINU, ReduceOp.MIN, ReduceOp.MAXU, ReduceOp.MAX)):
        yield _op(f"vred{op.name.lower()}.vs", funct6, _MVV, Engine.REDUCE, op, **single)
    wide = {"d": _DOUBLE, "s1": _DOUBLE}
    for n, name in enumerate(("vwredsumu", "vwredsum")):
        yield _op(f"{name}.vs", 0b110000 + n, _VV, Engine.REDUCE, ReduceOp.SUM, signed2=n,
                  **single | wide)
    floating = single | {"float_of": FloatOf.SOURCE}
    for name, funct6, op, extra in (
            ("vfredusum", 1, ReduceOp.FLOAT_SUM, {"unordered": 1}),
            ("vfredosum", 3, ReduceOp.FLOAT_SUM, {}),
            ("vfredmin", 5, ReduceOp.FLOAT_MIN, {}), ("vfredmax", 7, ReduceOp.FLOAT_MAX, {}),
            ("vfwredusum", 0b110001, ReduceOp.FLOAT_SUM, wide | {"unordered": 1}),
            ("vfwredosum", 0b110011, ReduceOp.FLOAT_SUM, wide)):
        yield _op(f"{name}.vs", funct6, _FVV, Engine.REDUCE, op, **floating | extra)


def _floating():
    source = {"float_of": FloatOf.SOURCE}
    both = (_FVV, _FVF)
    total, product = {"unit_factor": 1} | source, {"no_addend": 1} | source
    wide = {"d": _DOUBLE}
    for name, funct6, forms, fields in (
            ("vfadd", 0, both, total), ("vfsub", 2, both, total | {"negate_addend": 1}),
            ("vfrsub", 39, (_FVF,), total | {"negate_product": 1}),
            ("vfmul", 36, both, product)):
        yield from _forms(name, funct6, forms, Engine.FMA, **fields)
    for n, name in enumerate(("vfmadd", "vfnmadd", "vfmsub", "vfnmsub", "vfmacc", "vfnmacc",
                              "vfmsac", "vfnmsac")):
        # nmacc: -(a * b) - c; msac: a * b - c; nmsac: -(a * b) + c.
        yield from _forms(name, 0b101000 + n, both, Engine.FMA, read_d=1, swap=int(n < 4),
                          negate_product=n & 1, negate_addend=int(n % 4 in (1, 2)), **source)
    for suffix, double in (("v", _SAME), ("w", _DOUBLE)):
        for name, base, fields in (("vfwadd", 0b110000, {}),
                                   ("vfwsub", 0b110010, {"negate_addend": 1})):
            for form in both:
                yield _op(f"{name}.{suffix}{_SUFFIX[form][1]}", base + 4 * (double != 0), form,
                          Engine.FMA, s2=double, **total | wide | fields)
    yield from _forms("vfwmul", 0b111000, both, Engine.FMA, **product | wide)
    for n, name in enumerate(("vfwmacc", "vfwnmacc", "vfwmsac", "vfwnmsac")):
        yield from _forms(name, 0b111100 + n, both, Engine.FMA, read_d=1, negate_product=n & 1,
                          negate_addend=int(n in (1, 2)), **source | wide)
    yield from _forms("vfdiv", 0b100000, both, Engine.FLOAT_DIVIDE, wide=1, **source)
    yield _op("vfrdiv.vf", 0b100001, _FVF, Engine.FLOAT_DIVIDE, wide=1, swap=1, **source)
    unary = {"vs1": 0, "wide": 1} | source
    yield _op("vfsqrt.v", 19, _FVV, Engine.FLOAT_DIVIDE, 1, **unary)
    for vs1, name in ((4, "rsqrt7"), (5, "rec7"), (16, "class")):
        yield _op(f"vf{name}.v", 19, _FVV, Engine.COMPARE, _COMPARE[name],
                  **unary | {"vs1": vs1})
    for name, funct6 in (("min", 4), ("max", 6), ("sgnj", 8), ("sgnjn", 9), ("sgnjx", 10)):
        yield from _forms(f"vf{name}", funct6, both, Engine.COMPARE, _COMPARE[name], **source)
    for name, funct6, forms, compare, swap in (
            ("eq", 24, both, "eq", 0), ("le", 25, both, "le", 0), ("lt", 27, both, "lt", 0),
            ("ne", 28, both, "ne", 0), ("gt", 29, (_FVF,), "lt", 1), ("ge", 31, (_FVF,), "le", 1)):
        yield from _forms(f"vmf{name}", funct6, forms, Engine.COMPARE, _COMPARE[compare],
                          swap=swap, d_kind=Kind.MASK, **source)
    yield _op("vfmerge.vfm", 23, _FVF, Engine.ALU, AluOp.MERGE, vm=0, mask_operand=1, **source)
    yield _op("vfmv.v.f", 23, _FVF, Engine.ALU, AluOp.COPY, vm=1, vs2=0, **source)
    yield _op("vfmv.s.f", 16, _FVF, Engine.ALU, AluOp.COPY, vm=1, vs2=0, d_kind=Kind.SINGLE,
              **source)


def _conversions():
    for base, prefix, d, s2, suffix in ((0, "vfcvt", _SAME, _SAME, "v"),
                                        (8, "vfwcvt", _DOUBLE, _SAME, "v"),
                                        (16, "vfncvt", _SAME, _DOUBLE, "w")):
        widths = {"d": d, "s2": s2, "wide": 1}
        for n, (rounding, kind) in enumerate((("", "xu"), ("", "x"), ("rtz", "xu"), ("rtz", "x"))):
            yield _op(".".join(part for part in (prefix, rounding, kind, "f", suffix) if part), 18,
                      _FVV, Engine.TO_INTEGER, vs1=base + n + 4 * (n > 1), is_signed=n & 1,
                      rounding=_ROUNDINGS[rounding], float_of=FloatOf.SOURCE, **widths)
        for n, kind in enumerate(("xu", "x")):
            yield _op(f"{prefix}.f.{kind}.{suffix}", 18, _FVV, Engine.FROM_INTEGER,
                      vs1=base + 2 + n, is_signed=n, signed2=n, float_of=FloatOf.DESTINATION,
                      **widths)
    convert = {"unit_factor": 1, "no_addend": 1, "float_of": FloatOf.SOURCE}
    yield _op("vfwcvt.f.f.v", 18, _FVV, Engine.FMA, vs1=12, d=_DOUBLE, **convert)
    for n, rounding in enumerate(("", "rod")):
        name = ".".join(part for part in ("vfncvt", rounding, "f.f.w") if part)
        yield _op(name, 18, _FVV, Engine.FMA, vs1=20 + n, s2=_DOUBLE,
                  rounding=_ROUNDINGS[rounding], **convert | {"float_of": FloatOf.DESTINATION})


def _memory():
    for engine, opcode, letter in ((Engine.LOAD, "0000111", "l"), (Engine.STORE, "0100111", "s")):
        def access(name, width, *, nf=None, mop=0, vm=None, rs2=None, engine=engine,
                   opcode=opcode, **fields):
            pattern = (_bits(nf, 3) + "0" + _bits(mop, 2) + _bits(vm, 1) + _bits(rs2, 5) + "-----"
                       + width + "-----" + opcode)
            strided = mop == 2
            return Instruction(name, pattern, Unit.VECTOR, rs1=Operand.X,
                               rs2=Operand.X if strided else Operand.NONE,
                               vector={"engine": engine, "d_kind": Kind.GROUP} | fields)

        for width, bits in (("000", 8), ("101", 16), ("110", 32)):
            yield access(f"v{letter}e{bits}.v", width, rs2=0)
            if engine is Engine.LOAD:
                yield access(f"vle{bits}ff.v", width, rs2=16)
            yield access(f"v{letter}se{bits}.v", width, mop=2)
            yield access(f"v{letter}uxei{bits}.v", width, mop=1, s2_kind=Kind.GROUP)
            yield access(f"v{letter}oxei{bits}.v", width, mop=3, s2_kind=Kind.GROUP)
            if engine is Engine.LOAD or bits == 8:
                for count in (1, 2, 4, 8):
                    name = f"vl{count}re{bits}.v" if engine is Engine.LOAD else f"vs{count}r.v"
                    yield access(name, width, nf=count - 1, vm=1, rs2=8, whole=1)
        yield access(f"v{letter}m.v", "000", nf=0, vm=1, rs2=11, d_kind=Kind.MASK)


def vector_instructions():
    """Yield them all."""
    for name, high, rs1, rs2 in (("vsetvli", "0" + "-" * 11, Operand.X, Operand.NONE),
                                 ("vsetivli", "11" + "-" * 10, Operand.NONE, Operand.NONE),
                                 ("vsetvl", "1000000-----", Operand.X, Operand.X)):
        yield Instruction(name, f"{high}-----111-----1010111", Unit.CONFIGURE, rd=Operand.X,
                          rs1=rs1, rs2=rs2)
    for part in (_integer, _products, _masks, _permutations, _reductions, _floating, _conversions,
                 _memory):
        yield from part()
