"""The integer operations of a vector row."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..float.bits import named
from ..params import XpuConfig
from .operations import AluOp
from .types import VectorShape

__all__ = ["VectorAlu", "round_off"]


def round_off(vxrm, result_lowest, first_lost, others_lost):
    """Whether a fixed-point result grows by one unit: ``vxrm`` 0 to 3 are to nearest with ties up,
    to nearest with ties to even, down, and to odd."""
    return Mux(vxrm[1], vxrm[0] & ~result_lowest & (first_lost | others_lost),
               first_lost & (~vxrm[0] | others_lost | result_lowest))


class VectorAlu(wiring.Component):
    """Integer operations on the elements of a row. It holds its operands, so that it rests while
    other engines work.

    Parameters
    ----------
    config : XpuConfig
        Width of a row.

    Members
    -------
    load : In(1)
        Take the operands and what is to be done with them.
    op : In(AluOp)
        Operation.
    width : In(2)
        log2 of the bytes of an element.
    in2, in1 : In(simd_width)
        Operands: vs2; vs1 or the scalar.
    mask : In(simd_width // 8)
        Of v0, a bit per element.
    vxrm : In(2)
        Rounding of fixed-point numbers.
    result, bits, saturated : Out
        Elements; bits and saturation of each element.

    Timing
    ------
    Latency: results are there 2 cycles after ``load``, and stay until 2 cycles after the next.
    Throughput: a row per cycle. Backpressure: none. Combinational paths: none. Reset: none.
    """

    def __init__(self, config: XpuConfig):
        self._shape = shape = VectorShape(config)
        super().__init__({
            "load": In(1), "op": In(6), "width": In(2), "in2": In(shape.width),
            "in1": In(shape.width), "mask": In(shape.bytes), "vxrm": In(2),
            "result": Out(shape.width), "bits": Out(shape.bytes), "saturated": Out(shape.bytes),
        })

    def elaborate(self, platform):
        m = Module()
        held = {}
        for name in ("op", "width", "in2", "in1", "mask", "vxrm"):
            port = getattr(self, name)
            held[name] = Signal.like(port, name=f"held_{name}", reset_less=True)
            with m.If(self.load):
                m.d.sync += held[name].eq(port)
        self._op, self._vxrm = held["op"], held["vxrm"]
        results = []
        for exponent in range(3):
            bits = 8 << exponent
            parts = [self._element(m, f"e{bits}_{n}", bits, held["in2"].word_select(n, bits),
                                   held["in1"].word_select(n, bits), held["mask"][n])
                     for n in range(self._shape.width // bits)]
            results.append([Cat(column) for column in zip(*parts, strict=True)])
        with m.Switch(held["width"]):
            for exponent, (result, bits, saturated) in enumerate(results):
                with m.Case(exponent):
                    m.d.sync += [self.result.eq(result), self.bits.eq(bits),
                                 self.saturated.eq(saturated)]
        return m

    def _element(self, m, name, w, a, b, mask):
        """Result, bit and saturation of one element of ``w`` bits."""
        op = self._op

        def signal(text, shape, value):
            return named(m, f"{name}_{text}", shape, value)

        carry = signal("carry", 1, mask & ((op == AluOp.ADC) | (op == AluOp.MADC)))
        borrow = signal("borrow", 1, mask & ((op == AluOp.SBC) | (op == AluOp.MSBC)))
        total = signal("total", w + 1, a + b + carry)
        rest = signal("rest", w + 1, a - b - borrow)
        below = signal("below", 1, rest[w])         # without a borrow in: a < b
        a_top, b_top = a[w - 1], b[w - 1]
        less = signal("less", 1, Mux(a_top ^ b_top, a_top, below))
        same = signal("same", 1, a == b)

        # Shifts, with what they lose.
        amount = signal("amount", (w - 1).bit_length(), b)
        arithmetic = (op == AluOp.SRA) | (op == AluOp.SSRA) | (op == AluOp.NCLIP)
        sign = signal("sign", 1, a_top & arithmetic)
        extended = Cat(Const(0, w), a, sign.replicate(w))
        shifted = signal("shifted", 2 * w, (extended >> amount)[:2 * w])
        right = shifted[w:]
        up = signal("up", 1, round_off(self._vxrm, shifted[w], shifted[w - 1],
                                       shifted[:w - 1].any()))
        rounded = signal("rounded", w, right + up)

        # Averages.
        adds = (op == AluOp.AADD) | (op == AluOp.AADDU)
        is_signed = (op == AluOp.AADD) | (op == AluOp.ASUB)
        wide = signal("wide", w + 1, Mux(adds, total, rest) ^ Cat(
            Const(0, w), is_signed & (a_top ^ b_top)))
        average = signal("average", w, wide[1:] + round_off(self._vxrm, wide[1], wide[0], 0))

        half = w // 2
        result, bit, saturated = Signal(w, name=f"{name}_result"), Signal(
            name=f"{name}_bit"), Signal(name=f"{name}_sat")
        most, least = (1 << (w - 1)) - 1, 1 << (w - 1)
        with m.Switch(op):
            def case(*ops):
                return m.Case(*(one.value for one in ops))

            with case(AluOp.ADD, AluOp.ADC):
                m.d.comb += result.eq(total)
            with case(AluOp.SUB, AluOp.SBC):
                m.d.comb += result.eq(rest)
            for one, value in ((AluOp.AND, a & b), (AluOp.OR, a | b), (AluOp.XOR, a ^ b),
                               (AluOp.MINU, Mux(below, a, b)), (AluOp.MIN, Mux(less, a, b)),
                               (AluOp.MAXU, Mux(below, b, a)), (AluOp.MAX, Mux(less, b, a)),
                               (AluOp.SLL, (a << amount)[:w]), (AluOp.MERGE, Mux(mask, b, a)),
                               (AluOp.COPY, b)):
                with case(one):
                    m.d.comb += result.eq(value)
            with case(AluOp.EXTEND, AluOp.ID):
                m.d.comb += result.eq(a)
            with case(AluOp.SRL, AluOp.SRA):
                m.d.comb += result.eq(right)
            with case(AluOp.SSRL, AluOp.SSRA):
                m.d.comb += result.eq(rounded)
            with case(AluOp.AADDU, AluOp.AADD, AluOp.ASUBU, AluOp.ASUB):
                m.d.comb += result.eq(average)
            with case(AluOp.SADDU):
                m.d.comb += [saturated.eq(total[w]), result.eq(Mux(total[w], -1, total))]
            with case(AluOp.SSUBU):
                m.d.comb += [saturated.eq(below), result.eq(Mux(below, 0, rest))]
            with case(AluOp.SADD):
                m.d.comb += [saturated.eq((a_top == b_top) & (total[w - 1] != a_top)),
                             result.eq(Mux(saturated, Mux(a_top, least, most), total))]
            with case(AluOp.SSUB):
                m.d.comb += [saturated.eq((a_top != b_top) & (rest[w - 1] != a_top)),
                             result.eq(Mux(saturated, Mux(a_top, least, most), rest))]
            with case(AluOp.NCLIPU):
                m.d.comb += [saturated.eq(rounded[half:].any()),
                             result.eq(Mux(saturated, (1 << half) - 1, rounded))]
            with case(AluOp.NCLIP):
                top = rounded[half - 1:]
                m.d.comb += [saturated.eq(top.any() & ~top.all()),
                             result.eq(Mux(saturated, Mux(rounded[-1], 1 << (half - 1),
                                                          (1 << (half - 1)) - 1), rounded))]
            for one, value in ((AluOp.EQ, same), (AluOp.NE, ~same), (AluOp.LTU, below),
                               (AluOp.LT, less), (AluOp.LEU, below | same),
                               (AluOp.LE, less | same), (AluOp.GTU, ~below & ~same),
                               (AluOp.GT, ~less & ~same), (AluOp.MADC, total[w]),
                               (AluOp.MSBC, rest[w])):
                with case(one):
                    m.d.comb += bit.eq(value)
        return result, bit, saturated
