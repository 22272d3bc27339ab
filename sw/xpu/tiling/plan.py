"""Plans: which tiles, in which order, in which part of the scratchpad.

A plan depends on the shape alone. The work is cut into *jobs*, one command of the tensor unit each:
a *panel* of A (some output pixels, all or part of the terms) times a *strip* of B (some columns).
Panels and strips lie in rotating scratchpad buffers, so that loads, compute and stores overlap; a
panel stays while the strips pass by.
"""

import functools
import math
from dataclasses import dataclass, field

from .shape import Chunk, ProductShape, Rect, Source, round_up

__all__ = ["TABLE_BYTES", "Buffers", "Job", "Load", "Plan", "build_plan", "split"]

TABLE_BYTES = 256
_MOST_ROWS = 65_535     #: of a command


@dataclass(frozen=True)
class Job:
    """One GEMM or CONV command.

    ``panel`` and ``strip`` number the operand buffers in order of first use; ``first`` and ``last``
    tell whether the sums start and end here. ``rows`` of ``line`` pixels are those the command
    counts (a CONV's lines, else pixels one by one); ``tile_rows`` of them make an accumulator tile.
    """

    group: int
    rect: Rect
    n0: int
    columns: int
    chunk: Chunk
    panel: int
    strip: int
    first: bool
    last: bool
    rows: int
    line: int
    tile_rows: int


@dataclass(frozen=True)
class Load:
    """Lines ``row0`` on of panel ``index``, or the whole of strip or residual ``index``.

    Lines are pixels (ROWS, TRANSPOSED), lines of output pixels (PATCHES) or of the image (IMAGE).
    ``after_job`` is the job whose operands must have been read before the buffer is overwritten,
    or None.
    """

    kind: str
    index: int
    job: Job
    after_job: int | None = None
    row0: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Buffers:
    """Scratchpad layout in bytes: panels, strips, outputs, residuals, table, maximum."""

    panel_pitch: int
    panel_bytes: int
    panels: int
    strip_pitch: int
    strip_bytes: int
    strips: int
    bias_offset: int
    scale_offset: int
    zero_point_offset: int
    out_pitch: int
    out_bytes: int
    outs: int
    residual_pitch: int
    residual_bytes: int
    extra_bytes: int

    def panel(self, index):
        return index % self.panels * self.panel_bytes

    def strip(self, index):
        return self.panels * self.panel_bytes + index % self.strips * self.strip_bytes

    def out(self, index):
        return (self.panels * self.panel_bytes + self.strips * self.strip_bytes
                + index % self.outs * self.out_bytes)

    def residual(self, index):
        return self.out(0) + self.outs * self.out_bytes + index % self.outs * self.residual_bytes

    @property
    def table(self):
        return self.residual(0) + self.outs * self.residual_bytes

    @property
    def maximum(self):
        return self.table + TABLE_BYTES

    @property
    def total(self):
        return self.table + self.extra_bytes


@dataclass(frozen=True)
class Plan:
    """Buffers, and the steps in ring order: ``Load`` and ``Job`` objects."""

    shape: ProductShape
    buffers: Buffers
    steps: tuple = field(repr=False)

    @functools.cached_property
    def jobs(self):
        return [step for step in self.steps if isinstance(step, Job)]


def split(total, parts, multiple=1):
    """Cut ``total`` into at most ``parts`` pieces of near equal multiples of ``multiple``."""
    size = round_up(-(-total // parts), multiple)
    return [(start, min(size, total - start)) for start in range(0, total, size)]


def _strips(shape, lanes, blocks, first_blocks):
    """Column ranges: a first strip of its own width, for an early start, then equal ones."""
    first = min(first_blocks * lanes, shape.columns)
    ranges = [(0, first)]
    rest = shape.columns - first
    if rest:
        parts = -(-rest // (blocks * lanes))
        ranges += [(first + start, size) for start, size in split(rest, parts, lanes)]
    return ranges


def _rects(shape, lanes, rows, columns, first_rows):
    """Output pixels of the panels: a first one of its own height, for an early start."""
    matrix = shape.width == 1 and shape.height > lanes
    pieces = split(shape.width, -(-shape.width // columns))
    for image in range(shape.images):
        first = min(first_rows, shape.height) if image == 0 else 0
        lines = [(0, first)] if first else []
        rest = shape.height - first
        if rest:
            lines += [(first + start, size) for start, size in
                      split(rest, -(-rest // rows), lanes if matrix else 1)]
        for row0, count in lines:
            for column0, width in pieces:
                yield Rect(image, row0, count, column0, width)


def _chunks(shape, tap_rows, channels):
    return [Chunk(tap0, min(tap_rows, shape.kernel[0] - tap0), c0,
                  min(channels, shape.channels - c0))
            for tap0 in range(0, shape.kernel[0], tap_rows)
            for c0 in range(0, shape.channels, channels)]


def _panel_size(config, shape, rects, chunks):
    """Return ``(pitch, bytes)``: of a pixel, and of the largest panel."""
    pitch = round_up(max(shape.terms(chunk) for chunk in chunks) * shape.element, config.word_bytes)
    if not shape.direct:
        # Measured: the array reads one word of row after row, and at a pitch of 8, 16, 32 ... words
        # its reads walk through the banks beside the writes of a load and hold it up.
        spread = config.sm_banks // math.gcd(pitch // config.word_bytes, config.sm_banks)
        if spread < min(8, config.sm_banks):
            pitch += config.word_bytes
        return pitch, pitch * max(rect.pixels for rect in rects)
    most = 0
    for rect in rects:
        for chunk in chunks:
            _, rows, _, columns = shape.input_span(rect, chunk)
            most = max(most, rows * columns)
    return pitch, pitch * most


def _layout(config, shape, rects, chunks, width, panels, strips, outs):
    """Return the buffers, or None if they do not fit the scratchpad."""
    word = config.word_bytes
    panel_pitch, panel_bytes = _panel_size(config, shape, rects, chunks)
    rows = max(shape.terms(chunk) * (
        1 if shape.source is Source.PATCHES else chunk.tap_rows * shape.kernel[1])
        for chunk in chunks)
    bias = round_up(width * shape.element * rows, word)
    scale = bias + (4 * width if shape.has_bias else 0)
    zero_point = scale + (4 * width if shape.scale_vector else 0)
    most = max(rect.pixels for rect in rects)
    extra = (TABLE_BYTES if shape.has_table or shape.has_max else 0) + word * shape.has_max
    buffers = Buffers(
        panel_pitch=panel_pitch, panel_bytes=panel_bytes, panels=panels,
        strip_pitch=width * shape.element,
        strip_bytes=round_up(zero_point + (width if shape.b_zero_point_vector else 0), word),
        strips=strips, bias_offset=bias, scale_offset=scale, zero_point_offset=zero_point,
        out_pitch=width * shape.out_bytes, out_bytes=most * width * shape.out_bytes, outs=outs,
        residual_pitch=width * shape.residual_bytes,
        residual_bytes=most * width * shape.residual_bytes, extra_bytes=extra)
    return buffers if buffers.total <= config.sm_bytes else None


def build_plan(config, shape, *, panel_rows, first_rows=0, line=None, tap_rows=None, channels=None,
               blocks, first_blocks, first_pixels, last_pixels, panels, strips, outs=2):
    """Lay out one candidate; None if it does not fit.

    Parameters
    ----------
    config : XpuConfig
        Hardware.
    shape : ProductShape
        What is computed.
    panel_rows, first_rows : int
        Lines of output pixels of a panel, and of the very first one (0: no different).
    line : int, optional
        Most pixels of a line; default: all.
    tap_rows, channels : int, optional
        Rows of the kernel and channels of a job; default: all. With less than all, sums stay in the
        accumulators from job to job, and a job is a single tile.
    blocks, first_blocks : int
        Column blocks of a strip, and of the first.
    first_pixels, last_pixels : int
        Most pixels of a tile in the first job, which follows the rows as they land, and in the
        last, whose drain nothing hides. With ``lanes`` pixels, weights load without any slack.
    panels, strips, outs : int
        Buffers of each kind.
    """
    lanes = config.lanes
    chunks = _chunks(shape, tap_rows or shape.kernel[0], channels or shape.channels)
    split_k = len(chunks) > 1
    if split_k and shape.source is Source.PATCHES:
        return None
    column_ranges = _strips(shape, lanes, blocks, first_blocks)
    width = round_up(max(columns for _, columns in column_ranges), lanes)
    rects = list(_rects(shape, lanes, panel_rows, line or shape.width, first_rows))
    most = max(rect.pixels for rect in rects)
    widest = max(rect.columns for rect in rects) if shape.direct else 1
    if (most > _MOST_ROWS or widest * (width // lanes) > config.acc_rows
            or (split_k and most * (width // lanes) > config.acc_rows)):
        return None
    resident = not split_k and len(column_ranges) <= strips
    if resident:
        strips = min(strips, shape.groups * len(column_ranges))
    uses = len(chunks) * len(column_ranges) if split_k else 1
    panels = min(panels, shape.groups * len(rects) * uses)
    buffers = _layout(config, shape, rects, chunks, width, panels, strips, outs)
    if buffers is None:
        return None

    jobs = []
    panel = strip = -1
    last = (shape.groups - 1, len(rects) - 1, len(column_ranges) - 1)
    for group in range(shape.groups):
        for p, rect in enumerate(rects):
            panel += not split_k
            for s, (n0, columns) in enumerate(column_ranges):
                limit = last_pixels if (group, p, s) == last else (
                    first_pixels if (group, p, s) == (0, 0, 0) else config.acc_rows)
                rows, wide = ((rect.rows, rect.columns) if shape.direct else (rect.pixels, 1))
                tile = rows if split_k else _tile_rows(config, rows, wide, columns, limit)
                for c, chunk in enumerate(chunks):
                    panel += split_k
                    strip = group * len(column_ranges) + s if resident else strip + 1
                    jobs.append(Job(group, rect, n0, columns, chunk, panel, strip, c == 0,
                                    c == len(chunks) - 1, rows, wide, tile))
    return Plan(shape, buffers, tuple(_order(shape, jobs, buffers)))


def _tile_rows(config, rows, line, columns, limit):
    """Rows per accumulator tile: equal tiles of at most ``limit`` pixels, if a line is not more."""
    most = config.acc_rows // -(-columns // config.lanes)
    most = max(1, min(most, rows * line, limit) // line)
    return -(-rows // -(-rows // most))


def _lines(shape, job):
    """What the pieces of a panel count."""
    if shape.direct:
        return shape.input_span(job.rect, job.chunk)[1]
    return job.rect.rows if shape.source is Source.PATCHES else job.rect.pixels


def _order(shape, jobs, buffers):
    """Yield loads and jobs in ring order.

    Strips come just in time; the next panel is cut into pieces that follow the strips of the
    current one, so that a large panel never holds up a strip.
    """
    last_user_panel, last_user_strip, users = {}, {}, {}
    for number, job in enumerate(jobs):
        last_user_panel[job.panel] = last_user_strip[job.strip] = number
        users.setdefault(job.panel, []).append(number)

    loaded, outs = set(), 0
    for number, job in enumerate(jobs):
        if job.strip not in loaded:
            loaded.add(job.strip)
            yield Load("strip", job.strip, job, last_user_strip.get(job.strip - buffers.strips))
        if number == 0:
            yield Load("panel", 0, job, None, 0, _lines(shape, job))
        if job.last:
            if shape.residual_bytes:
                yield Load("residual", outs, job)
            outs += 1
        mine = users[job.panel]
        position, following = number - mine[0], users.get(job.panel + 1)
        pieces = max(1, len(mine) - 1)
        if following and (position or len(mine) == 1):
            following = jobs[following[0]]
            lines = _lines(shape, following)
            size = -(-lines // pieces)
            row0 = (position - 1 if position else 0) * size
            if row0 < lines:
                yield Load("panel", following.panel, following,
                           last_user_panel.get(following.panel - buffers.panels),
                           row0, min(size, lines - row0))
        yield job
