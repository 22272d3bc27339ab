"""Which commands the tensor unit refuses before they start."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..address_map import Space
from ..command.decode import WRITE
from ..command.formats import CONV, Activation, ElementType, FaultCause
from ..command.types import FaultReport, command_layout
from ..command.windows import LINE_BYTES, RingWindows, semaphore_allowed, sm_allowed
from ..params import XpuConfig

__all__ = ["CommandCheck", "operand_types"]

_SEMAPHORES = ("a_semaphore", "b_semaphore", "out_semaphore", "release_semaphore")
_NOT_ZERO = ("rows", "columns", "depth", "tile_rows")
_CONV_NOT_ZERO = ("kernel_height", "kernel_width", "width", "u_limit", "v_limit", "u_step",
                  "v_step", "u_tap", "v_tap")
_PITCHES = ("a_pitch", "b_pitch", "b_block_pitch", "out_pitch", "residual_pitch")
_CONV_PITCHES = ("a_column_pitch", "a_tap_row_pitch", "a_tap_column_pitch", "b_tap_pitch")
_RESERVED = tuple(f"reserved{n}" for n in range(2, 12))
_CONV_RESERVED = tuple(f"reserved{n}" for n in range(12, 17))
_BYTES = (ElementType.INT8, ElementType.UINT8)
_RESIDUALS = (ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.FP32,
              ElementType.FP16, ElementType.BF16)


def operand_types(config: XpuConfig):
    """``ElementType`` of the operands that a configuration has."""
    types = {"int8": _BYTES, "int16": (ElementType.INT16,), "float16": (ElementType.FP16,),
             "bfloat16": (ElementType.BF16,)}
    return [element for name in config.types for element in types[name]]


class CommandCheck(wiring.Component):
    """Find the first rule that a GEMM or CONV command breaks.

    In this order; ``model_check.py`` of the driver follows it:

    1. BAD_SEMAPHORE: a, b, out, release semaphores beyond the configuration.
    2. BAD_FIELD: rows, columns, depth, tile_rows of 0; tile_blocks of 0 or beyond the
       configuration. CONV: kernel_height, kernel_width, width, u_limit, v_limit, u_step, v_step,
       u_tap, v_tap of 0; u_limit, v_limit beyond 32,767. Then tile_rows * tile_blocks (CONV: *
       width) > acc_rows, reported as tile_rows.
    3. BAD_FIELD: accumulate, then hold, with more than one tile.
    4. BAD_FIELD: a_type that is no operand type of the configuration; b_type that does not go with
       it; out_type INT32 unless A is 8-bit, INT64 unless it is INT16; residual_type that cannot be
       one, or not 0 without has_residual; activation LEAKY or CLIP with a raw output (INT32,
       INT64); float_bias without has_bias, or with a raw output; has_bias without float_bias for
       floating-point operands; b_zero_point_vector unless A is 8-bit; scale_vector, then
       has_residual, with a raw output; has_table unless C is 8-bit; has_max with a raw output;
       a_zero_point, then b_zero_point, not 0 unless A is 8-bit; out_zero_point not 0 for a raw or
       floating-point C.
    5. BAD_FIELD: reserved2 to reserved11 not zero, of a CONV to reserved16.
    6. BAD_ADDRESS: addresses of a, b, output (unless hold), bias, scale, B zero points, residual,
       table, maximum (if used; all but B zero points unless hold) that are misaligned or beyond the
       scratchpad; misaligned pitches of a, b, blocks of b, output, residual, and of a CONV
       a_column_pitch, a_tap_row_pitch, a_tap_column_pitch, b_tap_pitch, a_offset; then out_pitch,
       residual_pitch beyond the scratchpad (with several rows or pixels and no hold; the latter
       with has_residual).
    7. PROTECTION: those of the semaphores and of the addresses used that are outside the window of
       the ring, or not permitted.

    ``info`` is the lsb of the field for the first two causes, and as ``FaultCause`` says for the
    last; ``address`` is the value of the field for the last two.

    Parameters
    ----------
    config : XpuConfig
        Limits.

    Members
    -------
    command : In(command_layout(CONV))
        The command.
    conv : In(1)
        It is a CONV.
    blocks : In(17 - word_shift)
        Its column blocks.
    window : In(RingWindows())
        What it may use.
    bad : Out(1)
        It is refused.
    report : Out(FaultReport())
        Why.

    Timing
    ------
    Latency: 1 cycle (``LATENCY``); the inputs must hold for one cycle more, for ``report``.
    Throughput: one command per two cycles. Backpressure: none.
    Combinational paths: ``command`` to ``report``.
    Reset: nothing is refused.
    """

    LATENCY = 1

    def __init__(self, config: XpuConfig):
        self._config = config
        super().__init__({
            "command": In(command_layout(CONV)), "conv": In(1),
            "blocks": In(17 - config.word_shift), "window": In(RingWindows()),
            "bad": Out(1), "report": Out(FaultReport()),
        })

    def elaborate(self, platform):
        m = Module()
        config, c = self._config, self.command
        semaphore, field, address, protection = (
            FaultCause.BAD_SEMAPHORE, FaultCause.BAD_FIELD, FaultCause.BAD_ADDRESS,
            FaultCause.PROTECTION)

        rules = []      # (condition, cause, field name)
        if config.semaphores < 256:
            rules += [(c[name][config.semaphore_bits:].any(), semaphore, name)
                      for name in _SEMAPHORES]
        rules += [(broken, field, name) for broken, name in (
            *self._sizes(m), *self._types(m),
            *((c[name] != 0, name) for name in _RESERVED),
            *(((c[name] != 0) & self.conv, name) for name in _CONV_RESERVED))]

        drains = ~c.hold
        used = {"a_address": 1, "b_address": 1, "out_address": drains,
                "bias_address": c.has_bias & drains, "scale_address": c.scale_vector & drains,
                "b_zero_point_address": c.b_zero_point_vector,
                "residual_address": c.has_residual & drains, "table_address": c.has_table & drains,
                "max_address": c.has_max & drains}
        for name, condition in used.items():
            wrong = c[name][:config.word_shift].any() | c[name][config.sm_byte_width:].any()
            rules.append((wrong & condition, address, name))
        rules += [(c[name][:config.word_shift].any(), address, name) for name in _PITCHES]
        rules += [(c[name][:config.word_shift].any() & self.conv, address, name)
                  for name in (*_CONV_PITCHES, "a_offset")]
        several = (c.rows != 1) | (self.conv & (c.width != 1))
        rules += [(c[name][config.sm_byte_width:].any() & several & condition, address, name)
                  for name, condition in (("out_pitch", drains),
                                          ("residual_pitch", drains & c.has_residual))]

        # The window.
        window, space = self.window, {}      # info by field name
        for name, signal in zip(_SEMAPHORES, (False, False, True, True), strict=True):
            allowed = Signal(name=f"{name}_allowed")
            m.d.comb += allowed.eq(semaphore_allowed(window, c[name], signal=signal))
            rules.append((~allowed, protection, name))
            space[name] = Space.SEMAPHORE + WRITE * signal
        for name, condition in used.items():
            write = name in ("out_address", "max_address")
            allowed, line = Signal(name=f"{name}_allowed"), Signal(18, name=f"{name}_line")
            m.d.comb += [line.eq(c[name][LINE_BYTES.bit_length() - 1:]),
                         allowed.eq(sm_allowed(window, line, line, write=write))]
            rules.append((~allowed & condition, protection, name))
            space[name] = Space.SM + WRITE * write

        # The first broken rule. Conditions are one bit each.
        broken = Signal(len(rules))
        m.d.comb += [broken[n].eq(rule[0]) for n, rule in enumerate(rules)]
        s1_broken = Signal(len(rules), reset_less=True)
        m.d.sync += [s1_broken.eq(broken), self.bad.eq(broken.any())]
        for n, (_, cause, name) in reversed(list(enumerate(rules))):
            with m.If(s1_broken[n]):
                m.d.comb += [
                    self.report.cause.eq(cause),
                    self.report.address.eq(c[name] if cause in (address, protection) else 0),
                    self.report.info.eq(0 if cause is address else space[name]
                                        if cause is protection else CONV.lsb[name]),
                ]
        return m

    def _sizes(self, m):
        """Rules 2 and 3: ``(broken, field name)``."""
        config, c, conv = self._config, self.command, self.conv
        # A small product: larger factors are refused without it.
        most = config.acc_rows
        tile_rows, width, pixels = (Signal(range(most + 1), name=name)
                                    for name in ("tile_rows", "width", "pixels"))
        tile_blocks = Signal(range(config.tile_blocks + 1))
        large, many = Signal(), Signal()
        m.d.comb += [
            tile_rows.eq(c.tile_rows), tile_blocks.eq(c.tile_blocks),
            width.eq(Mux(conv, c.width, 1)), pixels.eq(tile_rows * width),
            large.eq((c.tile_rows > most) | (conv & (c.width > most))
                     | (tile_rows * width > most) | (pixels * tile_blocks > most)),
            many.eq((c.rows > c.tile_rows) | (self.blocks > c.tile_blocks)),
        ]
        return [
            *((c[name] == 0, name) for name in _NOT_ZERO),
            ((c.tile_blocks == 0) | (c.tile_blocks > config.tile_blocks), "tile_blocks"),
            *(((c[name] == 0) & conv, name) for name in _CONV_NOT_ZERO),
            *((c[name][15] & conv, name) for name in ("u_limit", "v_limit")),
            (large, "tile_rows"), (c.accumulate & many, "accumulate"), (c.hold & many, "hold"),
        ]

    def _types(self, m):
        """Rule 4: ``(broken, field name)``."""
        c = self.command

        def one_of(name, value, types):
            result = Signal(name=name)
            with m.Switch(value):
                for element in types:
                    with m.Case(int(element)):
                        m.d.comb += result.eq(1)
            return result

        narrow = one_of("narrow", c.a_type, _BYTES)
        floating = one_of("floating", c.a_type, (ElementType.FP16, ElementType.BF16))
        raw = one_of("raw", c.out_type, (ElementType.INT32, ElementType.INT64))
        pair = one_of("b_is_byte", c.b_type, _BYTES) & narrow | (c.a_type == c.b_type)
        integer = one_of("integer_out", c.out_type, (*_BYTES, ElementType.INT16))
        return [
            (~one_of("a_known", c.a_type, operand_types(self._config)), "a_type"),
            (~pair, "b_type"),
            (((c.out_type == ElementType.INT32) & ~narrow)
             | ((c.out_type == ElementType.INT64) & (c.a_type != ElementType.INT16)), "out_type"),
            (Mux(c.has_residual, ~one_of("residual_known", c.residual_type, _RESIDUALS),
                 c.residual_type != 0), "residual_type"),
            (raw & (c.activation > Activation.RELU), "activation"),
            (c.float_bias & (~c.has_bias | raw), "float_bias"),
            (c.has_bias & ~c.float_bias & floating, "has_bias"),
            (c.b_zero_point_vector & ~narrow, "b_zero_point_vector"),
            (c.scale_vector & raw, "scale_vector"),
            (c.has_residual & raw, "has_residual"),
            (c.has_table & ~one_of("byte_out", c.out_type, _BYTES), "has_table"),
            (c.has_max & raw, "has_max"),
            ((c.a_zero_point != 0) & ~narrow, "a_zero_point"),
            ((c.b_zero_point != 0) & ~narrow, "b_zero_point"),
            ((c.out_zero_point != 0) & ~integer, "out_zero_point"),
        ]
