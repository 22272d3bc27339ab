"""How far a tile is from the next, without a multiplier."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Steps"]


class Steps(wiring.Component):
    """Multiply two numbers by a count, one bit of the count per cycle.

    ``product[n] = count * factor[n]`` modulo 2**width; with ``guarded``, the top bit of factors and
    products is a guard bit, which is set if the product is too large or the factor's is set.

    Parameters
    ----------
    width : int
        Bits of factors and products.
    most : int
        Largest count.
    guarded : bool
        As above.

    Members
    -------
    start : In(1)
        Begin, with ``count`` and ``factor`` of this cycle.
    count : In(range(most + 1))
        Multiplier.
    factor : In(width).array(2)
        Multiplicands.
    ready : Out(1)
        The products belong to the last ``start``.
    product : Out(width).array(2)
        Products.

    Timing
    ------
    Latency: at most ``latency`` cycles from ``start`` to ``ready``, fewer for small counts.
    Throughput: one pair at a time; a ``start`` abandons the one before.
    Backpressure: none. Combinational paths: none.
    Reset: ``ready`` is high, products are undefined.
    """

    def __init__(self, width, most, *, guarded):
        self._width, self._bits, self._guarded = width, most.bit_length(), guarded
        super().__init__({
            "start": In(1), "count": In(unsigned(self._bits)), "factor": In(width).array(2),
            "ready": Out(1), "product": Out(width).array(2),
        })

    @property
    def latency(self):
        return self._bits + 1

    def elaborate(self, platform):
        m = Module()
        top = self._width - 1
        left = Signal(self._bits)
        m.d.comb += self.ready.eq(left == 0)
        m.d.sync += left.eq(left >> 1)
        with m.If(self.start):
            m.d.sync += left.eq(self.count)
        for n in range(2):
            power = Signal(self._width, name=f"power_{n}", reset_less=True)
            product = Signal(self._width, name=f"product_{n}", reset_less=True)
            total, doubled = (Signal(self._width + 1, name=f"{name}_{n}")
                              for name in ("total", "doubled"))
            m.d.comb += self.product[n].eq(product)
            if self._guarded:
                low = slice(0, top)
                m.d.comb += [
                    total.eq(product[low] + power[low]),
                    doubled.eq(Cat(0, power[low][:-1], power[top - 1:].any())),
                ]
                over = total[top] | product[top] | power[top]
                added = Cat(total[low], over)
            else:
                m.d.comb += [total.eq(product + power), doubled.eq(power << 1)]
                added = total
            with m.If(self.start):
                m.d.sync += [power.eq(self.factor[n]), product.eq(0)]
            with m.Elif(~self.ready):
                m.d.sync += power.eq(doubled)
                with m.If(left[0]):
                    m.d.sync += product.eq(added)
        return m
