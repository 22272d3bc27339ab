"""The table of instructions."""

import itertools

import pytest

from xpu_rtl.float.compare import CompareOp
from xpu_rtl.float.unit import FloatKind
from xpu_rtl.simd.instruction import Operand, Unit
from xpu_rtl.simd.isa import INSTRUCTIONS
from xpu_rtl.vector.types import VectorOp


def test_no_word_is_two_instructions():
    for one, other in itertools.combinations(INSTRUCTIONS.values(), 2):
        common = one.mask & other.mask
        assert (one.match ^ other.match) & common, f"{one.name} and {other.name}"


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_pattern(name):
    one = INSTRUCTIONS[name]
    assert len(one.pattern) == 32
    assert one.pattern.endswith("11")
    assert (one.unit is Unit.FLOAT) <= bool(one.floating)
    assert (one.unit is Unit.VECTOR) == bool(one.vector)
    assert one.rounds <= (one.unit is Unit.FLOAT)
    # A register that is named has its bits in the word.
    for operand, first in ((one.rd, 7), (one.rs1, 15), (one.rs2, 20), (one.rs3, 27)):
        if operand in (Operand.X, Operand.F):
            assert not one.mask >> first & 0x1F


def test_numbers_of_the_floating_point_unit():
    """The table is plain Python and has the numbers; the unit has the names."""
    kinds = {"fadd.s": FloatKind.FMA, "fdiv.h": FloatKind.DIVIDE, "fcvt.w.s": FloatKind.TO_INTEGER,
             "fcvt.h.wu": FloatKind.FROM_INTEGER, "feq.s": FloatKind.COMPARE}
    for name, kind in kinds.items():
        assert INSTRUCTIONS[name].floating["kind"] == kind.value
    for op in CompareOp:
        name = {"CLASS": "fclass"}.get(op.name, f"f{op.name.lower()}")
        for suffix in "sh":
            assert INSTRUCTIONS[f"{name}.{suffix}"].floating["compare"] == op.value
        vector = {"LE": "vmfle.vv", "LT": "vmflt.vv", "EQ": "vmfeq.vv", "CLASS": "vfclass.v"}.get(
            op.name, f"vf{op.name.lower()}.vv")
        assert INSTRUCTIONS[vector].vector["op"] == op.value


def test_fields_of_vector_instructions():
    """What an instruction of the table says of its operands exists in the hardware's format."""
    for one in INSTRUCTIONS.values():
        assert set(one.vector) <= {name for name, _ in VectorOp.as_shape()}, one.name
