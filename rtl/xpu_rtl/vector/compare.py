"""Comparisons, extremes, signs, classes and estimates of floating-point numbers in a vector row."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named
from ..float.compare import CompareOp, compare
from ..float.ieee import Rounding
from ..params import XpuConfig
from .estimate import estimate
from .types import LaneFlags, VectorShape

__all__ = ["VectorCompare"]

#: Operations beyond those of ``CompareOp``; the last bit of the estimates: of the root.
_NOT_EQUAL, _RECIPROCAL, _RECIPROCAL_ROOT = 11, 12, 13


class VectorCompare(wiring.Component):
    """The engine COMPARE. It holds its operands, so that it rests while others work.

    Parameters
    ----------
    config : XpuConfig
        Width of a row.

    Members
    -------
    load : In(1)
        Take the operands and what is to be done with them.
    op : In(4)
        ``CompareOp``, not equal, or an estimate.
    halves, half : In(1), In(1)
        Elements are of 16 bits; or halves in the low bits of 32.
    rounding : In(Rounding)
    in2, in1 : In(simd_width)
        Operands: vs2, vs1.
    result, bits, flags : Out(simd_width), Out(simd_width // 8), Out(LaneFlags)
        Elements, or a bit for each; exceptions.

    Timing
    ------
    Latency: results are there 2 cycles after ``load``, and stay until 2 cycles after the next.
    Throughput: a row per cycle. Backpressure: none. Combinational paths: none. Reset: none.
    """

    def __init__(self, config: XpuConfig):
        self._shape = shape = VectorShape(config)
        super().__init__({
            "load": In(1), "op": In(4), "halves": In(1), "half": In(1), "rounding": In(Rounding),
            "in2": In(shape.width), "in1": In(shape.width), "result": Out(shape.width),
            "bits": Out(shape.bytes), "flags": Out(LaneFlags(shape.lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        held = {}
        for name in ("op", "halves", "half", "rounding", "in2", "in1"):
            port = getattr(self, name)
            held[name] = Signal.like(port, name=f"held_{name}", reset_less=True)
            with m.If(self.load):
                m.d.sync += held[name].eq(port)
        op, halves, half = held["op"], held["halves"], held["half"]
        not_equal = named(m, "not_equal", 1, op == _NOT_EQUAL)
        kind = named(m, "kind", 4, Mux(not_equal, CompareOp.EQ.value, op))
        estimates = named(m, "estimates", 1, (op == _RECIPROCAL) | (op == _RECIPROCAL_ROOT))
        upper = slice(16, 32)
        for n in range(self._shape.lanes):
            left, right = (held[side].word_select(n, 32) for side in ("in2", "in1"))
            wide, wide_invalid = compare(m, f"wide_{n}", kind, left, right, half)
            narrow, narrow_invalid = compare(m, f"narrow_{n}", kind, left[upper], right[upper],
                                             Const(1))
            estimated, estimate_flags = estimate(m, f"estimate_{n}", op[0], left, half,
                                                 held["rounding"])
            m.d.sync += [
                self.result.word_select(n, 32).eq(Mux(
                    estimates, estimated, Mux(halves, Cat(wide[:16], narrow), wide))),
                self.flags.wide[n].eq(Mux(estimates, estimate_flags.as_value(),
                                          wide_invalid << 4)),
                self.flags.narrow[n].invalid.eq(narrow_invalid),
            ]
            bits = named(m, f"bits_{n}", 2, Cat(wide[0], narrow[0]) ^ not_equal.replicate(2))
            with m.If(halves):
                m.d.sync += self.bits.word_select(n, 2).eq(bits)
            with m.Else():
                m.d.sync += self.bits[n].eq(bits[0])
        return m
