"""Which GEMM commands are refused before they start."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..address_map import Space
from ..command.decode import WRITE
from ..command.formats import GEMM, FaultCause
from ..command.types import FaultReport, command_layout
from ..command.windows import LINE_BYTES, RingWindows, semaphore_allowed, sm_allowed
from ..params import XpuConfig

__all__ = ["CommandCheck"]

_SEMAPHORES = ("a_semaphore", "b_semaphore", "out_semaphore", "release_semaphore")
_NOT_ZERO = ("rows", "columns", "depth", "tile_rows")
_PITCHES = ("a_pitch", "b_pitch", "b_block_pitch", "out_pitch")


class CommandCheck(wiring.Component):
    """Find the first rule that a GEMM command breaks.

    In this order: BAD_SEMAPHORE for a, b, out, release semaphores beyond the configuration;
    BAD_FIELD for rows, columns, depth, tile_rows of 0; tile_blocks of 0 or beyond the
    configuration; tile_rows * tile_blocks > acc_rows (reported as tile_rows); accumulate, then
    hold, with more than one tile; out_type 3; reserved2, reserved3 not zero. BAD_ADDRESS for the
    addresses of a, b, output (unless hold), bias (if used), scale (if used), B zero points (if
    used) that are misaligned or beyond the scratchpad; for the pitches of a, b, blocks of b, output
    that are misaligned; for a pitch of the output beyond the scratchpad (with several rows and no
    hold). Then PROTECTION for those of the a, b, out, release semaphores and of the addresses used
    that are outside the window of the ring, or not permitted. ``info`` is the lsb of the field for
    the first two causes, and as ``FaultCause`` says for the last; ``address`` is the value of the
    field for the last two.

    Parameters
    ----------
    config : XpuConfig
        Limits.

    Members
    -------
    command : In(command_layout(GEMM))
        The command.
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
            "command": In(command_layout(GEMM)), "blocks": In(17 - config.word_shift),
            "window": In(RingWindows()),
            "bad": Out(1), "report": Out(FaultReport()),
        })

    def elaborate(self, platform):
        m = Module()
        config, c = self._config, self.command
        semaphore, field, address = (
            FaultCause.BAD_SEMAPHORE, FaultCause.BAD_FIELD, FaultCause.BAD_ADDRESS)

        protection, window = FaultCause.PROTECTION, self.window
        rules = []      # (condition, cause, field name)
        if config.semaphores < 256:
            rules += [(c[name][config.semaphore_bits:].any(), semaphore, name)
                      for name in _SEMAPHORES]
        rules += [(c[name] == 0, field, name) for name in _NOT_ZERO]
        rules.append(((c.tile_blocks == 0) | (c.tile_blocks > config.tile_blocks), field,
                      "tile_blocks"))

        # A small product: larger factors are refused without it.
        tile_rows = Signal(range(config.acc_rows + 1))
        tile_blocks = Signal(range(config.tile_blocks + 1))
        large = Signal()
        m.d.comb += [
            tile_rows.eq(c.tile_rows),
            tile_blocks.eq(c.tile_blocks),
            large.eq((c.tile_rows > config.acc_rows)
                     | (tile_rows * tile_blocks > config.acc_rows)),
        ]
        rules.append((large, field, "tile_rows"))

        many = Signal()
        m.d.comb += many.eq((c.rows > c.tile_rows) | (self.blocks > c.tile_blocks))
        rules += [
            (c.accumulate & many, field, "accumulate"),
            (c.hold & many, field, "hold"),
            (c.out_type == 3, field, "out_type"),
            (c.reserved2 != 0, field, "reserved2"),
            (c.reserved3 != 0, field, "reserved3"),
        ]

        used = {"a_address": 1, "b_address": 1, "out_address": ~c.hold,
                "bias_address": c.has_bias & ~c.hold, "scale_address": c.scale_vector & ~c.hold,
                "b_zero_point_address": c.b_zero_point_vector}
        for name, condition in used.items():
            wrong = c[name][:config.word_shift].any() | c[name][config.sm_byte_width:].any()
            rules.append((wrong & condition, address, name))
        rules += [(c[name][:config.word_shift].any(), address, name) for name in _PITCHES]
        rules.append((c.out_pitch[config.sm_byte_width:].any() & (c.rows != 1) & ~c.hold, address,
                      "out_pitch"))

        # The window.
        space = {}      # info by field name
        for name, signal in zip(_SEMAPHORES, (False, False, True, True), strict=True):
            allowed = Signal(name=f"{name}_allowed")
            m.d.comb += allowed.eq(semaphore_allowed(window, c[name], signal=signal))
            rules.append((~allowed, protection, name))
            space[name] = Space.SEMAPHORE + WRITE * signal
        for name, condition in used.items():
            write = name == "out_address"
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
                                        if cause is protection else GEMM.lsb[name]),
                ]
        return m
