"""Vector arithmetic, third stage: the engines."""

from amaranth import Mux, Signal

from ..float.bits import named
from .operations import Engine, MaskOp

__all__ = ["engine_stage"]


def engine_stage(m, unit, widened, advance):
    """Add the logic: the row goes to its engine, its record to the results. Drives ``advance``."""
    units, x, valid = unit.parts, widened.x, widened.valid
    multiply, divide, floating = units.multiply, units.divide, units.float
    alu, compare, mask = units.alu, units.compare, units.mask
    results, op, serial = units.results, x.op, units.serial
    engine = {one: named(m, f"engine_{one.name.lower()}", 1, valid & (op.engine == one))
              for one in Engine if one < Engine.PERMUTE}
    short = named(m, "short", 1, engine[Engine.ALU] | engine[Engine.COMPARE]
                  | engine[Engine.MASK])
    two = named(m, "two", 1, engine[Engine.MULTIPLY] | engine[Engine.TO_INTEGER])
    long = named(m, "long", 1, engine[Engine.FMA] | engine[Engine.FROM_INTEGER])
    to_scalar = named(m, "to_scalar", 1, engine[Engine.MASK] & (op.op >= MaskOp.COUNT)
                      & x.beat.last)
    dividing, counted = Signal(), Signal()
    quotient = named(m, "quotient", 1, engine[Engine.DIVIDE] & dividing & ~divide.busy)
    ready = Signal(name="x_ready")
    m.d.comb += ready.eq(
        (short & results.free_1 & ~(to_scalar & (unit.scalar.valid | counted)))
        | (two & results.free_2) | (long & ~floating.settling)
        | (quotient & results.free_1) | floating.divided)
    leaves = named(m, "x_leaves", 1, valid & ready)
    m.d.comb += advance.eq(~valid | ready)
    with m.If(leaves):
        m.d.sync += dividing.eq(0)
    with m.Elif(divide.start):
        m.d.sync += dividing.eq(1)
    halves = x.halves
    m.d.comb += [
        multiply.op.eq(op.op), multiply.width.eq(x.beat.width), multiply.in2.eq(x.a),
        multiply.in1.eq(x.b), multiply.vxrm.eq(x.vxrm), multiply.in_d.eq(x.c),
        multiply.enable.eq(engine[Engine.MULTIPLY] & leaves),
        divide.start.eq(engine[Engine.DIVIDE] & ~dividing), divide.op.eq(op.op),
        divide.in2.eq(x.a), divide.in1.eq(x.b),
        floating.op.eq(op), floating.halves.eq(halves), floating.in2.eq(x.a),
        floating.in1.eq(x.b), floating.in_d.eq(x.c), floating.a_half.eq(x.eew_s2 == 1),
        floating.sum.eq(op.unit_factor),
        floating.c_half.eq(Mux(op.unit_factor, x.eew_s1 == 1, x.eew_d == 1)),
        floating.out_half.eq(x.eew_d == 1), floating.size.eq(x.eew_d),
        floating.rounding.eq(x.rounding), floating.fma.eq(engine[Engine.FMA] & leaves),
        floating.from_integer.eq(engine[Engine.FROM_INTEGER] & leaves),
        floating.to_integer.eq(engine[Engine.TO_INTEGER] & leaves),
        floating.divide.eq(engine[Engine.FLOAT_DIVIDE]),
    ]
    with m.If(serial.add):      # alone in the pipeline
        m.d.comb += [
            floating.in2.eq(serial.element), floating.in1.eq(serial.total), floating.sum.eq(1),
            floating.a_half.eq(serial.element_half), floating.c_half.eq(serial.total_half),
            floating.out_half.eq(serial.total_half), floating.fma.eq(1), floating.halves.eq(0),
            floating.op.eq(0), floating.op.unit_factor.eq(1),
            floating.rounding.eq(serial.request.rounding),
        ]

    # Masks. What is counted or found in the last row is there a cycle later.
    m.d.comb += mask.take.eq(leaves & engine[Engine.MASK])
    m.d.sync += counted.eq(leaves & to_scalar)
    with m.If(unit.scalar.valid & unit.scalar.ready):
        m.d.sync += unit.scalar.valid.eq(0)
    with m.If(leaves & to_scalar):
        m.d.sync += [unit.scalar.p.rd.eq(x.rd), unit.scalar.p.floating.eq(0)]
    with m.If(counted):
        m.d.sync += [unit.scalar.valid.eq(1), unit.scalar.p.value.eq(mask.value)]

    # What is there at once waits a cycle for its record.
    with m.If(leaves & short):
        m.d.sync += [results.old.eq(x.c), results.written.eq(x.active)]
    m.d.comb += [
        results.i.valid.eq(leaves), results.i.payload.eq(x.beat),
        results.after_1.eq(short | quotient), results.after_2.eq(two),
        results.integer.eq(alu.result), results.saturated.eq(alu.saturated),
        results.compared.eq(compare.result), results.compare_flags.eq(compare.flags),
        results.bits.eq(Mux(results.from_alu, alu.bits, compare.bits)),
        results.mask.eq(mask.result), results.product.eq(multiply.result),
        results.product_saturated.eq(multiply.saturated),
        results.quotient.eq(divide.result), results.integers.eq(floating.integers),
        results.integer_flags.eq(floating.integer_flags), results.fma.eq(floating.fma_result),
        results.fma_flags.eq(floating.fma_flags), floating.halves_now.eq(results.halves_now),
    ]
