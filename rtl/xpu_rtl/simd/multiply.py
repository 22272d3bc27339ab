"""Integer multiplication and division of a core."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .types import LateResult

__all__ = ["MultiplyDivide", "MultiplyRequest"]


class MultiplyRequest(data.Struct):
    """Fields: ``operation`` (``funct3`` of the instruction), ``a``, ``b``, ``rd``."""

    operation: 3
    a: 32
    b: 32
    rd: 5


class MultiplyDivide(wiring.Component):
    """The M extension: products of 64 bits, quotients and remainders digit by digit.

    Division by zero gives -1 and the dividend, the overflowing one the dividend and 0.

    Members
    -------
    i : In(stream.Signature(MultiplyRequest))
        Operations, one at a time.
    o : Out(stream.Signature(LateResult))
        Results.

    Timing
    ------
    Latency: 2 cycles from a transfer on ``i`` to ``o.valid`` for a product, 34 for a division.
    Throughput: one operation at a time.
    Backpressure: full.
    Combinational paths: none.
    Reset: idle.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(MultiplyRequest)),
                          "o": Out(stream.Signature(LateResult))})

    def elaborate(self, platform):
        m = Module()
        operation, rd = Signal(3, reset_less=True), Signal(5, reset_less=True)
        # Factors of a product; the second is the divisor of a quotient.
        left, right = Signal(signed(33), reset_less=True), Signal(signed(33), reset_less=True)
        product = Signal(signed(66), reset_less=True)
        rest, quotient = Signal(32, reset_less=True), Signal(32, reset_less=True)
        count = Signal(5)
        request = self.i.p
        # MULHU and MULHSU differ in the second operand; divisions have magnitudes here.
        divides = request.operation[2]
        a_signed = Mux(divides, ~request.operation[0], request.operation[:2] != 3)
        b_signed = Mux(divides, ~request.operation[0], ~request.operation[1])
        a_negative, b_negative = Signal(), Signal()
        m.d.comb += [a_negative.eq(a_signed & request.a[31]),
                     b_negative.eq(b_signed & request.b[31])]
        negate_quotient, negate_rest = Signal(reset_less=True), Signal(reset_less=True)

        trial, taken = Signal(signed(34)), Signal(33)
        m.d.comb += [taken.eq(Cat(quotient[-1], rest)), trial.eq(taken - right[:32])]
        with m.FSM(name="multiply"):
            with m.State("idle"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [
                        operation.eq(request.operation), rd.eq(request.rd), rest.eq(0),
                        left.eq(Cat(request.a, a_negative)), right.eq(Cat(request.b, b_negative)),
                        count.eq(31),
                    ]
                    with m.If(divides):
                        m.d.sync += [
                            quotient.eq(Mux(a_negative, -request.a, request.a)),
                            right.eq(Cat(Mux(b_negative, -request.b, request.b)[:32], Const(0, 1))),
                            negate_quotient.eq((a_negative ^ b_negative) & request.b.any()),
                            negate_rest.eq(a_negative),
                        ]
                        m.next = "divide"
                    with m.Else():
                        m.next = "multiply"
            with m.State("multiply"):
                m.d.sync += product.eq(left * right)
                m.next = "product"
            with m.State("divide"):
                m.d.sync += [count.eq(count - 1), quotient.eq(Cat(~trial[-1], quotient)),
                             rest.eq(Mux(trial[-1], taken, trial))]
                with m.If(count == 0):
                    m.next = "fix"
            with m.State("fix"):
                m.d.sync += product.eq(Mux(
                    operation[1], Mux(negate_rest, -rest, rest)[:32],
                    Mux(negate_quotient, -quotient, quotient)[:32]))
                m.next = "quotient"
            with m.State("product"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.p.value.eq(Mux(operation[:2] == 0, product[:32], product[32:64])),
                ]
                with m.If(self.o.ready):
                    m.next = "idle"
            with m.State("quotient"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.value.eq(product[:32])]
                with m.If(self.o.ready):
                    m.next = "idle"
        m.d.comb += self.o.p.rd.eq(rd)
        return m
