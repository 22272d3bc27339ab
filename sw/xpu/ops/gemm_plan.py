"""Plans of matrix products: which tiles, in which order, in which part of the scratchpad.

A plan depends on the shape alone. The product is cut into *jobs*, one GEMM command each: a *panel*
of A (some rows, all or part of K) times a *strip* of B (some columns). Panels and strips lie in
rotating scratchpad buffers, so that loads, compute and stores overlap; a panel stays while the
strips pass by.
"""

from dataclasses import dataclass, field

__all__ = ["Buffers", "GemmShape", "Job", "Load", "Plan", "build_plan", "round_up"]


def round_up(value, multiple):
    """Smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class GemmShape:
    """What a plan depends on.

    ``out_bytes`` is the size of an output element; the flags tell which vectors are read from
    memory.
    """

    m: int
    n: int
    k: int
    out_bytes: int
    has_bias: bool = False
    scale_vector: bool = False
    b_zero_point_vector: bool = False


@dataclass(frozen=True)
class Job:
    """One GEMM command: rows ``m0`` on, columns ``n0`` on, terms ``k0`` on.

    ``panel`` and ``strip`` number the operand buffers in order of first use; ``first`` and ``last``
    tell whether the sums start and end here; ``tile_rows`` x ``blocks`` is the accumulator tile.
    """

    m0: int
    rows: int
    n0: int
    columns: int
    k0: int
    depth: int
    panel: int
    strip: int
    first: bool
    last: bool
    tile_rows: int


@dataclass(frozen=True)
class Load:
    """Rows ``row0`` on of panel ``index``, or the whole of strip ``index`` (with its vectors).

    ``after_job`` is the job whose operands must have been read before the buffer is overwritten,
    or None.
    """

    kind: str
    index: int
    job: Job
    after_job: int | None
    row0: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Buffers:
    """Scratchpad layout in bytes. Panels first, then strips, then outputs."""

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

    def panel(self, index):
        return index % self.panels * self.panel_bytes

    def strip(self, index):
        return self.panels * self.panel_bytes + index % self.strips * self.strip_bytes

    def out(self, index):
        return (self.panels * self.panel_bytes + self.strips * self.strip_bytes
                + index % self.outs * self.out_bytes)

    @property
    def total(self):
        return self.out(0) + self.outs * self.out_bytes


@dataclass(frozen=True)
class Plan:
    """Buffers, and the steps in ring order: ``Load`` and ``Job`` objects."""

    shape: GemmShape
    buffers: Buffers
    steps: tuple = field(repr=False)

    @property
    def jobs(self):
        return [step for step in self.steps if isinstance(step, Job)]


def _split(total, parts, multiple):
    """Cut ``total`` into at most ``parts`` pieces of near equal multiples of ``multiple``."""
    size = round_up(-(-total // parts), multiple)
    return [(start, min(size, total - start)) for start in range(0, total, size)]


def _strips(shape, lanes, blocks, first_blocks):
    """Column ranges: a first strip of its own width, for an early start, then equal ones."""
    first = min(first_blocks * lanes, shape.n)
    ranges = [(0, first)]
    rest = shape.n - first
    if rest:
        parts = -(-rest // (blocks * lanes))
        ranges += [(first + start, size) for start, size in _split(rest, parts, lanes)]
    return ranges


def _tile_rows(config, rows, columns, limit):
    """Rows per accumulator tile: equal tiles of at most ``limit`` rows."""
    most = min(config.acc_rows // -(-columns // config.lanes), rows, limit)
    return -(-rows // -(-rows // most))


def build_plan(config, shape, *, panel_rows, depth, blocks, first_blocks, edge_rows, panels, strips,
               outs):
    """Lay out one candidate; None if it does not fit the scratchpad.

    Parameters
    ----------
    config : XpuConfig
        Hardware.
    shape : GemmShape
        Product.
    panel_rows, depth : int
        Rows and terms of a panel. With ``depth`` below K, sums stay in the accumulators from job to
        job, and a job is a single tile.
    blocks, first_blocks : int
        Column blocks of a strip, and of the first.
    edge_rows : int
        Most rows of a tile in the first job, which follows the rows as they land, and in the last,
        whose drain nothing hides. With ``lanes`` rows, weights load without any slack.
    panels, strips, outs : int
        Buffers of each kind.
    """
    lanes, word = config.lanes, config.word_bytes
    split_k = depth < shape.k
    width = max(blocks, first_blocks) * lanes
    width = min(width, round_up(shape.n, lanes))
    panel_rows = min(panel_rows, shape.m)
    if split_k and panel_rows * (width // lanes) > config.acc_rows:
        return None
    panel_pitch = round_up(min(depth, shape.k), word)
    operand = width * min(depth, shape.k)
    bias = round_up(operand, word)
    scale = bias + (4 * width if shape.has_bias else 0)
    zero_point = scale + (4 * width if shape.scale_vector else 0)
    column_ranges = _strips(shape, lanes, blocks, first_blocks)
    row_ranges = _split(shape.m, -(-shape.m // panel_rows), lanes if shape.m > lanes else 1)
    k_ranges = [(k0, min(depth, shape.k - k0)) for k0 in range(0, shape.k, depth)]
    resident = not split_k and len(column_ranges) <= strips
    if resident:
        strips = len(column_ranges)
    panels = min(panels, len(row_ranges) * (len(k_ranges) * len(column_ranges) if split_k else 1))
    most_rows = max(rows for _, rows in row_ranges)
    if split_k and most_rows * (width // lanes) > config.acc_rows:
        return None
    buffers = Buffers(
        panel_pitch=panel_pitch, panel_bytes=most_rows * panel_pitch,
        panels=panels, strip_pitch=width,
        strip_bytes=round_up(zero_point + (width if shape.b_zero_point_vector else 0), word),
        strips=strips, bias_offset=bias, scale_offset=scale, zero_point_offset=zero_point,
        out_pitch=width * shape.out_bytes, out_bytes=most_rows * width * shape.out_bytes,
        outs=outs)
    if buffers.total > config.sm_bytes:
        return None

    jobs = []
    panel = strip = -1
    for p, (m0, rows) in enumerate(row_ranges):
        if not split_k:
            panel += 1
        for s, (n0, columns) in enumerate(column_ranges):
            for k0, terms in k_ranges:
                if split_k:
                    panel += 1
                strip = s if resident else strip + 1
                edge = (p, s) in ((0, 0), (len(row_ranges) - 1, len(column_ranges) - 1))
                limit = edge_rows if edge else config.acc_rows
                jobs.append(Job(
                    m0=m0, rows=rows, n0=n0, columns=columns, k0=k0, depth=terms, panel=panel,
                    strip=strip, first=k0 == 0, last=k0 + terms == shape.k,
                    tile_rows=rows if split_k else _tile_rows(config, rows, columns, limit)))
    return Plan(shape, buffers, tuple(_order(jobs, buffers)))


def _order(jobs, buffers):
    """Yield loads and jobs in ring order.

    Strips come just in time; the next panel is cut into pieces that follow the strips of the
    current one, so that a large panel never holds up a strip.
    """
    last_user_panel, last_user_strip, users = {}, {}, {}
    for number, job in enumerate(jobs):
        last_user_panel[job.panel] = last_user_strip[job.strip] = number
        users.setdefault(job.panel, []).append(number)

    loaded = set()
    for number, job in enumerate(jobs):
        if job.strip not in loaded:
            loaded.add(job.strip)
            yield Load("strip", job.strip, job, last_user_strip.get(job.strip - buffers.strips))
        if number == 0:
            yield Load("panel", 0, job, None, 0, job.rows)
        mine = users[job.panel]
        position, following = number - mine[0], users.get(job.panel + 1)
        pieces = max(1, len(mine) - 1)
        if following and (position or len(mine) == 1):
            following = jobs[following[0]]
            size = -(-following.rows // pieces)
            row0 = (position - 1 if position else 0) * size
            if row0 < following.rows:
                yield Load("panel", following.panel, following,
                           last_user_panel.get(following.panel - buffers.panels),
                           row0, min(size, following.rows - row0))
        yield job
