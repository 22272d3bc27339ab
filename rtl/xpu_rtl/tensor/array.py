"""The multipliers: one dot product per output channel, activations broadcast."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from ..prims.clock_gate import add_gated
from .float_dot import FloatDot
from .types import Kind

__all__ = ["OPERAND_WIDTH", "DotArray", "sum_names", "sum_width", "wide_sum_width"]

OPERAND_WIDTH = 9     #: a byte of either signedness less a zero point of its type


def sum_width(config: XpuConfig):
    """Bits of a sum of ``lanes`` products of bytes."""
    return 2 * OPERAND_WIDTH + config.lanes.bit_length() - 1


def wide_sum_width(config: XpuConfig):
    """Bits of a sum of ``wide_lanes`` products of INT16."""
    return 32 + config.wide_lanes.bit_length() - 1


def sum_names(config: XpuConfig):
    """Names of the outputs that a configuration has."""
    return [name for name, there in (("sums", config.has_int8), ("wide_sums", config.has_int16),
                                     ("floats", config.has_float)) if there]


class DotArray(wiring.Component):
    """Multiply a word of activations by a block of weights, one dot product per column.

    For every output channel n, with k over the terms of a word: INT8: ``sums[n] = sum of (a[k] -
    zero_point) * w[k][n]``, exact; INT16: ``wide_sums[n] = sum of a[k] * w[k][n]``, exact; FP16 and
    BF16: ``floats[n]``, see ``FloatDot``. A word has ``lanes`` terms of 8 bits or half as many of
    16 bits, little endian.

    Weights are double-buffered: words go into the shadow block, and the first word of a pass
    (``swap``) takes the whole shadow block over, for itself and the words after it. The weight of
    column n in row k of 16-bit weights lies in bytes 2n', 2n' + 1 of weight word 2k + (n >= lanes /
    2), n' = n modulo lanes / 2. Each kind has its own multipliers, none of more than 16 x 16 bits.

    Parameters
    ----------
    config : XpuConfig
        Uses ``lanes``, a power of two, and ``types``.

    Members
    -------
    load, load_row, load_last : In(1), In(range(lanes)), In(1)
        Write one word of the shadow block; with ``load_last`` also clear all behind it. Allowed
        in the cycle of a ``swap``, which still takes the old contents.
    load_data : In(signed(9)).array(lanes)
        Bytes of that word; those of 8-bit weights with their zero point subtracted.
    valid, swap : In(1)
        A word of activations enters; it is the first of a pass.
    word, zero, terms : In(8 * lanes), In(1), In(range(lanes + 1))
        The word, of which ``terms`` bytes count, none if ``zero``. The others are taken as zero.
    kind : In(Kind)
        What word and weights are; one that the configuration has.
    a_signed, zero_point : In(1), In(signed(9))
        How to read the bytes of INT8, and what to subtract from each. Differences are kept modulo
        2**9, which is exact for a zero point of the type of the bytes.
    busy : Out(1)
        A word entered in the cycle before.
    sums : Out(signed(sum_width)).array(lanes), if the configuration has INT8
    wide_sums : Out(signed(wide_sum_width)).array(lanes), if it has INT16
        Of the word that entered ``LATENCY`` cycles before.
    floats : Out(32).array(lanes), if it has FP16 or BF16
        FP32, of the word that entered ``FLOAT_LATENCY`` cycles before.

    Timing
    ------
    Latency: 4 cycles from ``valid`` to ``sums`` and ``wide_sums`` (``LATENCY``),
    ``FLOAT_LATENCY`` to ``floats``.
    Throughput: one word per cycle of any kind, and one word of weights per cycle.
    Backpressure: none.
    Combinational paths: none.
    Reset: valid flags only. Weights are undefined until loaded.
    """

    LATENCY = 4
    FLOAT_LATENCY = FloatDot.LATENCY

    def __init__(self, config: XpuConfig):
        self._config, lanes = config, config.lanes
        shapes = {"sums": signed(sum_width(config)), "wide_sums": signed(wide_sum_width(config)),
                  "floats": 32}
        super().__init__({
            "load": In(1), "load_row": In(range(lanes)), "load_last": In(1),
            "load_data": In(signed(OPERAND_WIDTH)).array(lanes),
            "valid": In(1), "swap": In(1), "word": In(8 * lanes), "zero": In(1),
            "terms": In(range(lanes + 1)), "kind": In(Kind),
            "a_signed": In(1), "zero_point": In(signed(OPERAND_WIDTH)), "busy": Out(1),
            **{name: Out(shapes[name]).array(lanes) for name in sum_names(config)},
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        lanes, half = config.lanes, config.wide_lanes

        def register(width, name):
            return Signal(signed(width), name=name, reset_less=True)

        # Weights: shadow block, written word by word, and the block in use.
        weight = [[register(OPERAND_WIDTH, f"weight_{k}_{n}") for n in range(lanes)]
                  for k in range(lanes)]
        shadows = [[register(OPERAND_WIDTH, f"shadow_{k}_{n}") for n in range(lanes)]
                   for k in range(lanes)]
        for k in range(lanes):
            shadow = shadows[k]
            with m.If(self.valid & self.swap):
                m.d.sync += [weight[k][n].eq(shadow[n]) for n in range(lanes)]
            with m.If(self.load & (self.load_row == k)):
                m.d.sync += [shadow[n].eq(self.load_data[n]) for n in range(lanes)]
            if k:
                with m.Elif(self.load & self.load_last & (self.load_row < k)):
                    m.d.sync += [shadow[n].eq(0) for n in range(lanes)]

        counts = Signal(lanes)      # which bytes count
        m.d.comb += counts.eq(Mux(self.zero, 0, (1 << self.terms) - 1))
        counted = Signal(8 * lanes)
        m.d.comb += counted.eq(self.word & Cat(counts[k].replicate(8) for k in range(lanes)))
        m.d.sync += self.busy.eq(self.valid)

        def wide_weight(words, k, n):
            row, byte = 2 * k + n // half, 2 * (n % half)
            return Cat(words[row][byte][:8], words[row][byte + 1][:8])

        if config.has_int8:
            bytes_in = []
            for k in range(lanes):
                byte = self.word[8 * k:8 * k + 8]
                extended = Cat(byte, byte[7] & self.a_signed).as_signed()
                bytes_in.append(Mux(counts[k], extended - self.zero_point, 0))
            s1_valid, s1_term = self._operands(m, "", Kind.INT8, bytes_in, OPERAND_WIDTH)
            terms = [[s1_term[n // half][k] * weight[k][n] for k in range(lanes)]
                     for n in range(lanes)]
            self._tree(m, "", s1_valid, 2 * OPERAND_WIDTH, terms, self.sums)
        if config.has_int16:
            words_in = [counted[16 * k:16 * k + 16] for k in range(half)]
            s1_valid, s1_term = self._operands(m, "wide_", Kind.INT16, words_in, 16)
            terms = [[s1_term[n // half][k] * wide_weight(weight, k, n).as_signed()
                      for k in range(half)] for n in range(lanes)]
            self._tree(m, "wide_", s1_valid, 32, terms, self.wide_sums)
        if config.has_float:
            dot, floating, bfloat = FloatDot(config), Signal(), Signal()
            m.d.comb += [
                bfloat.eq(self.kind == Kind.BF16),
                floating.eq(self.valid & (bfloat | (self.kind == Kind.FP16))),
                dot.valid.eq(floating), dot.bfloat.eq(bfloat), dot.swap.eq(self.swap),
                dot.word.eq(counted),
                dot.counts.eq(Cat(counts[2 * k] for k in range(half))),
                *(dot.weights[k * lanes + n].eq(wide_weight(shadows, k, n))
                  for k in range(half) for n in range(lanes)),
                *(self.floats[n].eq(dot.sums[n]) for n in range(lanes)),
            ]
            add_gated(m, platform, "float_dot", dot, awake=floating | dot.busy)
        return m

    def _operands(self, m, prefix, kind, values, width):
        """Stage 1 of one kind: its valid flag and a copy of the operands per half of the columns.

        Two copies halve the distance to the multipliers. They differ in their initial value,
        which nothing reads; synthesis would make one of them otherwise.
        """
        s1_valid = Signal(name=f"{prefix}s1_valid")
        entering = self.valid & (self.kind == kind)
        m.d.sync += s1_valid.eq(entering)
        copies = [[Signal(signed(width), name=f"{prefix}s1_term_{half}_{k}", init=-half,
                          reset_less=True) for k in range(len(values))] for half in range(2)]
        with m.If(entering):
            m.d.sync += [copy[k].eq(value) for k, value in enumerate(values) for copy in copies]
        return s1_valid, copies

    @staticmethod
    def _tree(m, prefix, valid, width, terms, results):
        """Stages 2 (products), 3 and 4 (the adder tree in two parts) of one kind."""
        count = len(terms[0])
        group = 1 << (count.bit_length() // 2)      # terms added by the first tree stage
        s2_valid, s3_valid = Signal(name=f"{prefix}s2_valid"), Signal(name=f"{prefix}s3_valid")
        m.d.sync += [s2_valid.eq(valid), s3_valid.eq(s2_valid)]
        for n, column in enumerate(terms):
            def register(more, name, n=n):
                return Signal(signed(width + more), name=f"{prefix}{name}_{n}", reset_less=True)

            product = [register(0, f"s2_product_{k}") for k in range(count)]
            part = [register(group.bit_length() - 1, f"s3_part_{g}")
                    for g in range(count // group)]
            total = register(count.bit_length() - 1, "s4_total")
            with m.If(valid):
                m.d.sync += [product[k].eq(column[k]) for k in range(count)]
            with m.If(s2_valid):
                m.d.sync += [part[g].eq(_sum(product[g * group:(g + 1) * group]))
                             for g in range(count // group)]
            with m.If(s3_valid):
                m.d.sync += total.eq(_sum(part))
            m.d.comb += results[n].eq(total)


def _sum(terms):
    """Balanced sum."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]
