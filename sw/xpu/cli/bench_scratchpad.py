"""``python -m xpu bench scratchpad``: the tensor unit beside busy DMA streams."""

import argparse

import numpy as np

from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import ElementType, Opcode
from xpu_rtl.csr.maps import CLUSTER
from xpu_rtl.scratchpad.requesters import requesters_of

from ..commands import Command
from ..opening import open_device
from .figures import add_device_arguments, report

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "measure a resident matrix product beside DMA traffic at one pitch of its rows"

_LONG = 65_535


def _pitch(text):
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive number of words, not {text!r}")
    return int(text)


def add_arguments(parser):
    parser.add_argument("--pitch", type=_pitch, default=16, metavar="WORDS",
                        help="words from row to row of every operand (default: %(default)s)")
    add_device_arguments(parser, platforms=False)


class _Layout:
    """Where things lie: product, then what each DMA stream moves, all rows ``pitch`` words apart.
    """

    def __init__(self, config, pitch):
        self.config, self.word = config, config.word_bytes
        self.pitch = pitch * self.word
        part = config.sm_bytes // 4
        #: Words of a row that are used, and rows: at least a whole block of weights.
        self.words = min(pitch, 4)
        self.rows = min(part // self.pitch, 64)
        self.base = {name: n * part for n, name in enumerate(("product", "load", "store", "copy"))}

    def gemm(self):
        """A product of rows x (words * word): A at the pitch, weights and result dense."""
        depth, columns = self.words * self.word, self.config.lanes
        half = self.config.sm_bytes // 8
        b, out = half, half + depth * self.word
        return Command(
            Opcode.GEMM, rows=self.rows, columns=columns * self.blocks, depth=depth, tile_blocks=1,
            tile_rows=min(self.rows, self.config.acc_rows), a_type=ElementType.INT8,
            b_type=ElementType.INT8, out_type=ElementType.INT8,
            scale=int(np.float32(1e-3).view(np.uint32)),
            a_address=0, a_pitch=self.pitch, b_address=b, b_pitch=self.word, b_block_pitch=0,
            out_address=out, out_pitch=self.word * self.blocks)

    @property
    def blocks(self):
        """Column blocks, so that the product lasts about twenty thousand cycles."""
        room = (self.config.sm_bytes // 8 - self.words * self.word ** 2) // (self.rows * self.word)
        passes = max(self.rows, self.config.lanes) * self.words
        return max(1, min(room, 4095, 20_000 // passes))

    def copies(self):
        """One command per stream that lasts longer than the product."""
        def sm(name):
            return SystemAddress(Space.SM, self.base[name]).encode()

        row, gm = self.words * self.word, 0x10_0000
        loops = {"row_bytes": row, "rows": self.rows, "source_pitch": self.pitch,
                 "destination_pitch": self.pitch, "count3": 1, "count4": 1, "count5": 1,
                 "count2": min(_LONG, 60_000 // (self.rows * self.words) + 1)}
        yield Command(Opcode.DMA_LOAD_ND, source=gm, destination=sm("load"), **loops)
        yield Command(Opcode.DMA_STORE_ND, source=sm("store"), destination=2 * gm, **loops)
        if self.config.dma_streams > 1:
            yield Command(Opcode.DMA_LOAD_ND, source=sm("store"), destination=sm("copy"), stream=1,
                          **loops)


def _run(dev, commands):
    """Run commands; return cycles of the product, stalls of each port, and all cycles."""
    def stalls():
        register = CLUSTER["sm_stalls"]
        return [dev.platform.read_register(register.address(n)) for n, _ in enumerate(
            requesters_of(dev.config))]

    before = stalls()
    with dev.profile() as p:
        dev.submit(commands)
    lasted = sum(event.end - event.begin for event in p.events if event.engine == "tensor")
    return lasted, [b - a for a, b in zip(before, stalls(), strict=True)], p.cycles


def measure(args):
    """Return the figures by name."""
    with open_device(args.config, "native", memory_latency=args.memory_latency,
                     memory_bytes=16 << 20) as dev:
        layout = _Layout(dev.config, args.pitch)
        product = layout.gemm()
        alone, _, _ = _run(dev, [product])
        copies = list(layout.copies())
        beside, stalls, cycles = _run(dev, [*copies, product])
        _, traffic, traffic_cycles = _run(dev, copies)
        passes = layout.rows * layout.words * layout.blocks
    return {
        "op": "scratchpad", "pitch_words": args.pitch, "rows": layout.rows,
        "words": layout.words, "blocks": layout.blocks, "array_cycles": passes,
        "cycles_alone": alone, "cycles_beside": beside, "lost_cycles": beside - alone,
        "lost": (beside - alone) / alone,
        **{f"stalls_{who.name}": count / cycles
           for who, count in zip(
               requesters_of(dev.config), stalls, strict=True)},
        "stalls_without_product": sum(traffic) / traffic_cycles,
    }


def run(args):
    return report(args, measure)
