"""The multipliers: one dot product per output channel, activations broadcast."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig

__all__ = ["OPERAND_WIDTH", "DotArray", "sum_width"]

OPERAND_WIDTH = 9     #: a byte of either signedness less a zero point of its type


def sum_width(config: XpuConfig):
    """Bits of a sum of ``lanes`` products."""
    return 2 * OPERAND_WIDTH + config.lanes.bit_length() - 1


class DotArray(wiring.Component):
    """Multiply a row of activations by a block of weights, one dot product per column.

    For every output channel n: ``sums[n] = sum over k of (a[k] - zero_point) * w[k][n]``, exact.
    Weights are double-buffered: rows go into the shadow block, and the first row of a pass
    (``swap``) takes the whole shadow block over, for itself and the rows after it.

    Parameters
    ----------
    config : XpuConfig
        Uses ``lanes``, a power of two.

    Members
    -------
    load, load_row, load_last : In(1), In(range(lanes)), In(1)
        Write one row of the shadow block; with ``load_last`` also clear all rows behind it. Allowed
        in the cycle of a ``swap``, which still takes the old contents.
    load_data : In(signed(9)).array(lanes)
        The weights of that row, by column, zero point subtracted.
    valid, swap : In(1)
        A row of activations enters; it is the first of a pass.
    word : In(8 * lanes)
        The row: byte k is its k-th term.
    a_signed, zero_point : In(1), In(signed(9))
        How to read the bytes, and what to subtract from each. Differences are kept modulo 2**9,
        which is exact for a zero point of the type of the bytes.
    busy : Out(1)
        A row entered in the cycle before.
    sums_valid : Out(1)
        ``sums`` belong to the row that entered ``LATENCY`` cycles before.
    sums : Out(signed(sum_width)).array(lanes)
        Results.

    Timing
    ------
    Latency: 4 cycles from ``valid`` to ``sums_valid`` (``LATENCY``).
    Throughput: one row per cycle, and one row of weights per cycle.
    Backpressure: none.
    Combinational paths: none.
    Reset: valid flags only. Weights are undefined until loaded.
    """

    LATENCY = 4

    def __init__(self, config: XpuConfig):
        self._lanes, self._sum_width = config.lanes, sum_width(config)
        super().__init__({
            "load": In(1), "load_row": In(range(config.lanes)), "load_last": In(1),
            "load_data": In(signed(OPERAND_WIDTH)).array(config.lanes),
            "valid": In(1), "swap": In(1), "word": In(8 * config.lanes),
            "a_signed": In(1), "zero_point": In(signed(OPERAND_WIDTH)),
            "busy": Out(1), "sums_valid": Out(1),
            "sums": Out(signed(self._sum_width)).array(config.lanes),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes
        group = 1 << (lanes.bit_length() // 2)      # terms added by the first tree stage
        groups = lanes // group

        def register(width, name):
            return Signal(signed(width), name=name, reset_less=True)

        # Weights: shadow block, written row by row, and the block in use.
        weight = [[register(OPERAND_WIDTH, f"weight_{k}_{n}") for n in range(lanes)]
                  for k in range(lanes)]
        for k in range(lanes):
            shadow = [register(OPERAND_WIDTH, f"shadow_{k}_{n}") for n in range(lanes)]
            with m.If(self.valid & self.swap):
                m.d.sync += [weight[k][n].eq(shadow[n]) for n in range(lanes)]
            with m.If(self.load & (self.load_row == k)):
                m.d.sync += [shadow[n].eq(self.load_data[n]) for n in range(lanes)]
            if k:
                with m.Elif(self.load & self.load_last & (self.load_row < k)):
                    m.d.sync += [shadow[n].eq(0) for n in range(lanes)]

        # Stage 1: operands.
        s1_valid = Signal()
        s1_term = [register(OPERAND_WIDTH, f"s1_term_{k}") for k in range(lanes)]
        m.d.sync += s1_valid.eq(self.valid)
        with m.If(self.valid):
            for k in range(lanes):
                byte = self.word[8 * k:8 * k + 8]
                extended = Cat(byte, byte[7] & self.a_signed).as_signed()
                m.d.sync += s1_term[k].eq(extended - self.zero_point)  # modulo 2**9, see above

        # Stage 2: products. Stages 3 and 4: the adder tree in two parts.
        s2_valid, s3_valid = Signal(), Signal()
        m.d.sync += [s2_valid.eq(s1_valid), s3_valid.eq(s2_valid), self.sums_valid.eq(s3_valid)]
        m.d.comb += self.busy.eq(s1_valid)
        product_width = 2 * OPERAND_WIDTH
        part_width = product_width + group.bit_length() - 1
        for n in range(lanes):
            product = [register(product_width, f"s2_product_{n}_{k}") for k in range(lanes)]
            part = [register(part_width, f"s3_part_{n}_{g}") for g in range(groups)]
            total = register(self._sum_width, f"s4_total_{n}")
            with m.If(s1_valid):
                m.d.sync += [product[k].eq(s1_term[k] * weight[k][n]) for k in range(lanes)]
            with m.If(s2_valid):
                m.d.sync += [part[g].eq(_tree(product[g * group:(g + 1) * group]))
                             for g in range(groups)]
            with m.If(s3_valid):
                m.d.sync += total.eq(_tree(part))
            m.d.comb += self.sums[n].eq(total)
        return m


def _tree(terms):
    """Balanced sum."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]
