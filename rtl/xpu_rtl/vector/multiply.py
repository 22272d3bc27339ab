"""The integer products of a vector row."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from .alu import round_off
from .operations import MultiplyOp
from .types import VectorShape

__all__ = ["VectorMultiply"]


class VectorMultiply(wiring.Component):
    """Products of the elements of a row, and sums with them.

    In 32 bits there are four multipliers of 17 by 17 bits: one product of 32 bits, two of 16 or
    four of 8.

    Parameters
    ----------
    config : XpuConfig
        Width of a row.

    Members
    -------
    enable : In(1)
        Operands are here.
    op, width : In(6), In(2)
        ``MultiplyOp``; log2 of the bytes of an element.
    in2, in1, in_d : In(simd_width)
        Factors vs2 and vs1, addend.
    vxrm : In(2)
        Rounding of FRACTION.
    result, saturated : Out(simd_width), Out(simd_width // 8)
        Elements, and whether each is saturated.
    busy : Out(1)
        A product is under way.

    Timing
    ------
    Latency: 2 cycles (``LATENCY``). Throughput: a row per cycle. Backpressure: none.
    Combinational paths: none. Reset: none; idle stages keep still.
    """

    LATENCY = 2

    def __init__(self, config: XpuConfig):
        self._shape = shape = VectorShape(config)
        super().__init__({
            "enable": In(1), "op": In(6), "width": In(2), "in2": In(shape.width),
            "in1": In(shape.width), "in_d": In(shape.width), "vxrm": In(2),
            "result": Out(shape.width), "saturated": Out(shape.bytes), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        later = Signal()
        op, width = Signal(6, reset_less=True), Signal(2, reset_less=True)
        vxrm = Signal(2, reset_less=True)
        m.d.sync += later.eq(self.enable)
        m.d.comb += self.busy.eq(later)
        with m.If(self.enable):
            m.d.sync += [op.eq(self.op), width.eq(self.width), vxrm.eq(self.vxrm)]
        saturated = []
        for n in range(self._shape.lanes):
            saturated.append(self._lane(m, n, later, op, width, vxrm))
        # One bit per element, the elements of all lanes in a row.
        with m.Switch(width):
            for exponent in range(3):
                with m.Case(exponent):
                    flags = Cat(flag for lane in saturated for flag in lane[exponent])
                    with m.If(later):
                        m.d.sync += self.saturated.eq(flags)
        return m

    def _lane(self, m, n, later, op, width, vxrm):
        a, b = (side.word_select(n, 32) for side in (self.in2, self.in1))
        a_signed = (self.op != MultiplyOp.HIGH_U)
        b_signed = a_signed & (self.op != MultiplyOp.HIGH_SU)

        def part(value, is_signed, bits, index):
            piece = value.word_select(index, bits)
            return Cat(piece, (piece[-1] & is_signed).replicate(17 - bits)).as_signed()

        # Factors of the four multipliers for elements of 8, 16 and 32 bits.
        low_a, low_b = Cat(a[:16], Const(0, 1)).as_signed(), Cat(b[:16], Const(0, 1)).as_signed()
        high_a, high_b = part(a, a_signed, 16, 1), part(b, b_signed, 16, 1)
        choices = (
            [(part(a, a_signed, 8, k), part(b, b_signed, 8, k)) for k in range(4)],
            [(part(a, a_signed, 16, k and 1), part(b, b_signed, 16, k and 1)) for k in range(4)],
            [(low_a, low_b), (low_a, high_b), (high_a, low_b), (high_a, high_b)],
        )
        products = []
        for k in range(4):
            left, right = (Signal(signed(17), name=f"{side}_{n}_{k}") for side in "lr")
            with m.Switch(self.width):
                for exponent, choice in enumerate(choices):
                    with m.Case(exponent):
                        m.d.comb += [left.eq(choice[k][0]), right.eq(choice[k][1])]
            product = Signal(signed(34), name=f"product_{n}_{k}", reset_less=True)
            with m.If(self.enable):
                m.d.sync += product.eq(left * right)
            products.append(product)
        addend = Signal(32, name=f"addend_{n}", reset_less=True)
        with m.If(self.enable):
            m.d.sync += addend.eq(self.in_d.word_select(n, 32))

        long = Signal(signed(66), name=f"long_{n}")
        m.d.comb += long.eq(products[0] + ((products[1] + products[2]) << 16)
                            + (products[3] << 32))
        elements = (products, (products[0], products[3]), (long,))
        result = Signal(32, name=f"result_{n}", reset_less=True)
        m.d.comb += self.result.word_select(n, 32).eq(result)
        flags = []
        for exponent, parts in enumerate(elements):
            bits = 8 << exponent
            values, saturated = [], []
            for k, product in enumerate(parts):
                name = f"{n}_e{bits}_{k}"
                c = addend.word_select(k, bits)
                value, over = Signal(bits, name=f"value_{name}"), Signal(name=f"over_{name}")
                fraction = product[bits - 1:2 * bits]
                up = round_off(vxrm, fraction[0], product[bits - 2], product[:bits - 2].any())
                with m.Switch(op):
                    with m.Case(MultiplyOp.LOW.value):
                        m.d.comb += value.eq(product)
                    with m.Case(MultiplyOp.ADD.value):
                        m.d.comb += value.eq(c + product)
                    with m.Case(MultiplyOp.SUB.value):
                        m.d.comb += value.eq(c - product)
                    with m.Case(MultiplyOp.FRACTION.value):
                        # Only the product of the two least numbers is too large.
                        m.d.comb += [over.eq(~fraction[bits] & fraction[bits - 1]),
                                     value.eq(Mux(over, (1 << (bits - 1)) - 1, fraction + up))]
                    with m.Default():
                        m.d.comb += value.eq(product[bits:])
                values.append(value)
                saturated.append(over)
            flags.append(saturated)
            with m.If(later & (width == exponent)):
                m.d.sync += result.eq(Cat(values))
        return flags
