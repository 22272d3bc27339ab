"""``python -m xpu bench dma``."""

import argparse
import re

import numpy as np

from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import DmaMode, Opcode

from ..commands import Command
from ..errors import ArgumentError
from ..opening import open_device
from .figures import add_device_arguments, positive, report

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "measure a DMA command of many rows, a transposition or a gather, and check every byte"

_MEMORY = 64 << 20
_DIRECTIONS = ("gm2sm", "sm2gm", "gm2gm", "sm2sm")
_DTYPES = {"int8": 1, "uint8": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4}
_MOST = 65_535


def _matrix(text):
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*):(\w+)", text)
    if not match or match[3] not in _DTYPES:
        raise argparse.ArgumentTypeError(f"must be RxC:TYPE, like 256x256:int8, with TYPE one of "
                                         f"{', '.join(_DTYPES)}, not {text!r}")
    return int(match[1]), int(match[2]), match[3]


def add_arguments(parser):
    parser.add_argument("--direction", choices=_DIRECTIONS, default="gm2sm",
                        help="from and to global memory (gm) or scratchpad (sm) "
                             "(default: %(default)s)")
    parser.add_argument("--bytes", type=positive, metavar="B", help="bytes of a row")
    parser.add_argument("--count", type=positive, metavar="C",
                        help="rows; they lie 2 B apart, rounded up to 64 bytes")
    parser.add_argument("--src-offset", type=int, default=0, metavar="N",
                        help="added to the address of every source row")
    parser.add_argument("--dst-offset", type=int, default=0, metavar="N",
                        help="added to the address of every destination row")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--transpose", type=_matrix, metavar="RxC:TYPE",
                      help="transpose a matrix instead of copying rows")
    kind.add_argument("--gather", type=positive, metavar="N",
                      help="gather N rows of B bytes at random from a table four times as long")
    kind.add_argument("--separate", action="store_true", help="one command per row")
    add_device_arguments(parser, seed="data and indices")


class _Place:
    """Memory of one side: ``bytes`` of it from ``base`` in GM, or the scratchpad."""

    def __init__(self, space, base, size):
        self.space, self.base, self.size = space, base, size

    def address(self, offset):
        return SystemAddress(self.space, self.base + offset).encode()


def _rows(args):
    """Rows of a command as ``(bytes, count, pitch)``."""
    if args.bytes is None:
        raise ArgumentError("--bytes is needed unless --transpose is given")
    count = args.gather or args.count
    if count is None:
        raise ArgumentError("--count is needed unless --transpose or --gather is given")
    return args.bytes, count, -(-2 * args.bytes // 64) * 64


def _passes(count, *limits):
    """Split ``count`` rows into equal passes of at most ``limits`` rows: (rows, passes)."""
    most = min(_MOST, *limits)
    if most < 1:
        raise ArgumentError("a row does not fit in the scratchpad; choose fewer --bytes")
    rows = next(rows for rows in range(min(count, most), 0, -1) if count % rows == 0)
    if count // rows > _MOST:
        raise ArgumentError(f"--count {count} cannot be split into at most {_MOST} equal parts "
                            f"of at most {most} rows")
    return rows, count // rows


class _Job:
    """What is moved: the commands, their effect, and the least beats of either side."""

    def __init__(self, args, config):
        self.args, self.word = args, config.bus_bytes
        source, destination = (Space[name.upper()] for name in args.direction.split("2"))
        self.load = destination is Space.SM
        sizes = {Space.GM: _MEMORY // 4, Space.SM: config.sm_bytes}
        if source is destination is Space.SM:
            sizes[Space.SM] //= 2
        self.source = _Place(source, _MEMORY // 4 if source is Space.GM else 0, sizes[source])
        base = _MEMORY // 2 if destination is Space.GM else 0
        if source is destination is Space.SM:
            base = sizes[Space.SM]
        self.destination = _Place(destination, base, sizes[destination])
        self.list_address = _MEMORY * 3 // 4
        self.indices = None
        (self._transpose if args.transpose else self._copy)()

    def _command(self, offsets, *, nd=True, **fields):
        names = ("DMA_LOAD" if self.load else "DMA_STORE") + ("_ND" if nd else "")
        counts = {f"count{n}": 1 for n in range(2, 6)} if nd else {}
        return Command(Opcode[names], source=self.source.address(offsets[0]),
                       destination=self.destination.address(offsets[1]), **(counts | fields))

    def _copy(self):
        args = self.args
        row_bytes, count, pitch = _rows(args)
        self.payload, rng = row_bytes * count, np.random.default_rng(args.seed)
        self.offsets = args.src_offset, args.dst_offset
        table = 4 * count if args.gather else 1
        most = [(place.size - row_bytes - offset) // pitch + 1 for place, offset in
                zip((self.source, self.destination), self.offsets, strict=True)]
        if min(self.offsets) < 0:
            raise ArgumentError("--src-offset and --dst-offset must not be negative")
        if args.gather:
            if table > most[0] or count > min(_MOST, most[1]):
                raise ArgumentError(f"--gather {count} with --bytes {row_bytes} does not fit in "
                                    f"its memories")
            self.indices = rng.permutation(table)[:count].astype(np.uint32)
            self.moves = [(int(index) * pitch, row * pitch)
                          for row, index in enumerate(self.indices)]
            index = SystemAddress(Space.GM, self.list_address).encode()
            self.commands = [self._command(
                self.offsets, mode=DmaMode.GATHER, row_bytes=row_bytes, rows=count,
                source_pitch=pitch, destination_pitch=pitch, index=index, index_limit=table)]
        else:
            rows, passes = _passes(count, *most)
            stride = [rows * pitch if place.space is Space.GM else 0
                      for place in (self.source, self.destination)]
            self.moves = [(p * stride[0] + row * pitch, p * stride[1] + row * pitch)
                          for p in range(passes) for row in range(rows)]
            if args.separate:
                self.commands = [self._command(
                    (self.offsets[0] + a, self.offsets[1] + b), nd=False, row_bytes=row_bytes,
                    rows=1) for a, b in self.moves]
            else:
                self.commands = [self._command(
                    self.offsets, row_bytes=row_bytes, rows=rows, source_pitch=pitch,
                    destination_pitch=pitch, count2=passes, source_stride2=stride[0],
                    destination_stride2=stride[1])]
        self.beats = [sum(self._beats(offset + move[side], row_bytes) for move in self.moves)
                      for side, offset in enumerate(self.offsets)]
        self.row_bytes = row_bytes

    def _beats(self, offset, size):
        return (offset + size - 1) // self.word - offset // self.word + 1

    def _transpose(self):
        rows, columns, dtype = self.args.transpose
        size = _DTYPES[dtype]
        self.element, self.offsets = size, (self.args.src_offset, self.args.dst_offset)
        self.payload = rows * columns * size
        for place, offset in zip((self.source, self.destination), self.offsets, strict=True):
            if offset < 0 or offset + self.payload > place.size:
                raise ArgumentError(f"--transpose {rows}x{columns}:{dtype} does not fit in "
                                    f"{place.size} bytes of {place.space.name}")
        self.beats = [self._beats(offset, self.payload) for offset in self.offsets]
        self.commands = [self._command(
            self.offsets, mode=DmaMode.TRANSPOSE, element_log2=size.bit_length() - 1,
            row_bytes=columns * size, rows=rows, source_pitch=columns * size,
            destination_pitch=rows * size)]

    def expected(self, source, destination):
        """The destination memory afterwards."""
        result = destination.copy()
        if self.args.transpose:
            rows, columns, _ = self.args.transpose
            matrix = source[self.offsets[0]:self.offsets[0] + self.payload]
            matrix = matrix.reshape(rows, columns, self.element).swapaxes(0, 1)
            result[self.offsets[1]:self.offsets[1] + self.payload] = matrix.reshape(-1)
            return result
        for a, b in self.moves:
            a, b = a + self.offsets[0], b + self.offsets[1]
            result[b:b + self.row_bytes] = source[a:a + self.row_bytes]
        return result


def _copy_all(dev, name, source, destination, size):
    """Move whole memories as one untimed operation."""
    opcode = Opcode.DMA_STORE if name == "store" else Opcode.DMA_LOAD
    rows = -(-size // 65_536)
    row = size // rows
    dev.submit([Command(opcode, source=source, destination=destination, row_bytes=row, rows=rows,
                        source_pitch=row, destination_pitch=row)])
    dev.synchronize()


def measure(args):
    """Return the figures by name."""
    with open_device(args.config, args.platform, memory_latency=args.memory_latency,
                     memory_bytes=_MEMORY) as dev:
        job = _Job(args, dev.config)
        platform, rng = dev.platform, np.random.default_rng(args.seed)
        before = {}
        for place in (job.source, job.destination):
            data = rng.integers(0, 256, place.size, np.uint8)
            before[place] = data
            if place.space is Space.GM:
                platform.write_memory(place.base, data)
            else:
                platform.write_memory(0x10_0000, data)
                _copy_all(dev, "load", 0x10_0000, place.address(0), place.size)
        if job.indices is not None:
            platform.write_memory(job.list_address, job.indices.view(np.uint8))
        if platform.timed:
            platform.take_beats()
        with dev.profile() as p:
            dev.submit(job.commands, name="bench dma")
        beats = platform.take_beats() if platform.timed else None
        place = job.destination
        if place.space is Space.SM:
            _copy_all(dev, "store", place.address(0), 0x10_0000, place.size)
            after = platform.read_memory(0x10_0000, place.size)
        else:
            after = platform.read_memory(place.base, place.size)
        exact = np.array_equal(after, job.expected(before[job.source], before[place]))
    return {"op": "dma", "direction": args.direction, "bytes": job.payload, "cycles": p.cycles,
            **_utilizations(job, args.direction, beats, p.cycles, dev.config),
            "exact": bool(exact)}


def _utilizations(job, direction, beats, cycles, config):
    """Payload and least beats over the steady state, payload over everything."""
    names = ("bus_utilization", "beat_utilization", "total_utilization")
    if beats is None:
        return dict.fromkeys(names)
    reads, writes = beats
    # Each stream has two read IDs, of data and of index lists.
    data = [record for record in reads[:4 * config.dma_streams:2] if record["count"]]
    sides = [data if direction.startswith("gm") else [],
             [writes] if direction.endswith("gm") else []]
    spans, least = [], []
    for side, records in enumerate(sides):
        if records:
            spans.append(int(max(r["last"] for r in records) - min(r["first"] for r in records))
                         + 1)
            least.append(job.beats[side])
    total = job.payload / (config.bus_bytes * cycles)
    if not spans:       # within the scratchpad: no beat is seen on the bus
        return dict(zip(names, (None, None, total), strict=True))
    span = max(spans)
    return dict(zip(names, (job.payload / (config.bus_bytes * span), max(least) / span, total),
                    strict=True))


def run(args):
    return report(args, measure, inexact="memory differs from what NumPy expects")
