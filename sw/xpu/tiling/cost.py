"""Predicted cycles of a plan: a walk over its steps with one clock per engine.

The constants were fitted to measured cycles; ``tools/plan_accuracy.py`` compares the two for many
plans of products and convolutions at two memory latencies.
"""

import functools

from .plan import Job, Load
from .shape import Source

__all__ = ["estimate", "lower_bound"]

_START = 4        #: doorbell to the first data beat, beyond the memory latency
_COMMAND = 1      #: load engine, per command
_JOB = 6          #: tensor unit, per command
_HANDOVER = 20    #: engine to engine: semaphore, command issue, operand pipeline
_TURNAROUND = 2   #: cycles a burst is outstanding beyond the memory latency
_TIGHT = 1.04     #: slowdown of passes so short that weights must load without a pause
_TRANSPOSE = 60   #: more for a load that transposes
_UNALIGNED = 1.15 #: slowdown of short rows that are aligned on neither side
_PAUSE = 4        #: until the array and the accumulators are empty, where pixels change
_FLOAT_PAUSE = 15 #: the same for floating-point operands
_SHORT = 8        #: pixels of a pass that is shorter than that
_DRAIN = 50       #: pipeline of the epilogue and its scratchpad writes
_FLOAT_DRAIN = 40 #: more stages of the floating-point path


# What a step takes --------------------------------------------------------------------------------
def _beats(config, row_bytes, pitch):
    """Bus beats of a row, of many that begin ``pitch`` bytes apart."""
    bus = config.bus_bytes
    return 1 + (row_bytes - 1) / bus if pitch % bus else -(-row_bytes // bus)


def _read_cycles(config, row_bytes, pitch, latency):
    """Cycles per row of a long load: its beats, or what the outstanding bursts allow."""
    beats = _beats(config, row_bytes, pitch)
    bursts = -(-beats // config.burst_beats)
    return max(beats, bursts * (latency + _TURNAROUND) / config.max_bursts)


def _transpose_cycles(config, rows, columns, element, latency):
    """Cycles of a transposing load: whole squares of a word each way, a burst for each row."""
    side = config.word_bytes // element
    pace = max(1, (latency + _TURNAROUND) / config.max_bursts)
    return -(-rows // side) * -(-columns // side) * side * pace + _TRANSPOSE


def _panel_cycles(config, shape, job, rows, latency):
    """Cycles to load ``rows`` lines of a panel."""
    chunk = job.chunk
    row_bytes = chunk.channels * shape.element
    if shape.source is Source.ROWS:
        return rows * _read_cycles(config, row_bytes, shape.channels * shape.element, latency)
    if shape.source is Source.TRANSPOSED:
        return _transpose_cycles(config, chunk.channels, rows, shape.element, latency)
    if shape.source is Source.PATCHES:
        piece = row_bytes * (shape.kernel[1] if shape.patch_in_rows else 1)
        beats = _beats(config, piece, shape.stride[1] * row_bytes)
        if piece % config.word_bytes:
            beats *= _UNALIGNED
        return rows * job.rect.columns * shape.patch_rows * max(
            beats, (latency + _TURNAROUND) / config.max_bursts)
    columns = shape.input_span(job.rect, chunk)[3]
    if chunk.channels == shape.channels and shape.groups == 1 and not row_bytes % config.word_bytes:
        return rows * columns * row_bytes / config.bus_bytes
    pitch = shape.groups * shape.channels * shape.element
    return rows * columns * _read_cycles(config, row_bytes, pitch, latency)


def _strip_cycles(config, shape, job, latency):
    chunk = job.chunk
    if shape.transposed_b:
        return _transpose_cycles(config, job.columns, chunk.channels, shape.element, latency)
    taps = chunk.tap_rows * shape.kernel[1]
    row_bytes = job.columns * shape.element
    pitch = shape.groups * shape.columns * shape.element
    if row_bytes == pitch and not pitch % config.word_bytes:
        return taps * chunk.channels * row_bytes / config.bus_bytes
    return taps * chunk.channels * _read_cycles(config, row_bytes, pitch, latency)


def _load_cycles(config, plan, load, latency):
    job, shape = load.job, plan.shape
    if load.kind == "panel":
        return _panel_cycles(config, shape, job, load.rows, latency)
    if load.kind == "residual":
        return job.rect.pixels * _read_cycles(
            config, job.columns * shape.residual_bytes,
            shape.groups * shape.columns * shape.residual_bytes, latency)
    vectors = 4 * shape.has_bias + 4 * shape.scale_vector + shape.b_zero_point_vector
    return (_strip_cycles(config, shape, job, latency)
            + _beats(config, vectors * job.columns, 0))


def _slots(plan, step):
    """Command slots of a step, which take their turn on the bus."""
    shape = plan.shape
    if isinstance(step, Job):
        return (3 if shape.direct else 2) + step.last
    if step.kind == "strip":
        return 1 + shape.has_bias + shape.scale_vector + shape.b_zero_point_vector
    plain = step.kind == "residual" or shape.source in (Source.ROWS, Source.IMAGE)
    return 1 if plain else 3


def _commands(plan, step):
    return _slots(plan, step) if step.kind == "strip" else 1


# What the array takes -----------------------------------------------------------------------------
def _pass_cycles(config, pixels):
    if pixels >= 2 * config.lanes:
        return pixels
    return max(pixels, config.lanes * _TIGHT)


@functools.lru_cache(maxsize=65_536)
def _tile_cycles(config, shape, row0, rows, column0, columns, tap_row0, tap_rows, words):
    """Passes of a CONV tile, which cover the pixels that exist at each tap.

    Returns ``(cycles per column block, pauses, short pauses)``: how often the pixels change from
    tap to tap, and how often after or before so few that it matters for any number of blocks.
    """
    spans = []      # first pixel and count, by row and by column of the kernel
    for axis, first, count, tap0, taps, size in (
            (0, row0, rows, tap_row0, tap_rows, shape.in_height),
            (1, column0, columns, 0, shape.kernel[1], shape.in_width)):
        spans.append([])
        for tap in range(tap0, tap0 + taps):
            begin = first * shape.stride[axis] - shape.padding[axis] + tap * shape.dilation[axis]
            least = -(-max(-begin, 0) // shape.stride[axis])
            most = min((size - 1 - begin) // shape.stride[axis] + 1, count)
            spans[-1].append((least, max(most - least, 0)))
    # The first pass is whole: it starts the sums.
    cycles, before, pauses, short = _pass_cycles(config, rows * columns), None, 0, 0
    for n, height in enumerate(spans[0]):
        for m, width in enumerate(spans[1]):
            pixels = height[1] * width[1]
            if not pixels and (n or m):
                continue
            cycles += _pass_cycles(config, pixels) * (words - (n == m == 0)) if pixels else 0
            if before not in (None, (height, width)):
                pauses += 1
                short += min(pixels, before[0][1] * before[1][1]) < _SHORT
            before = height, width
    return cycles, pauses, short


def _tiles(config, shape, job):
    """Yield ``(rows, cycles)`` of the tiles of a job."""
    words = -(-shape.terms(job.chunk) * shape.element // config.word_bytes)
    blocks = -(-job.columns // config.lanes)
    for row in range(0, job.rows, job.tile_rows):
        rows = min(job.tile_rows, job.rows - row)
        if shape.direct:
            cycles, pauses, short = _tile_cycles(
                config, shape, job.rect.row0 + row, rows, job.rect.column0, job.line,
                job.chunk.tap_row0, job.chunk.tap_rows, words)
            pause = _FLOAT_PAUSE if shape.floating else _PAUSE
            yield rows, cycles * blocks + pause * (pauses if blocks == 1 else short)
        else:
            yield rows, _pass_cycles(config, rows) * words * blocks


def _job_cycles(config, shape, job):
    return sum(cycles for _, cycles in _tiles(config, shape, job))


def lower_bound(config, plan, latency=20):
    """Cycles the busiest resource needs, without any start or end."""
    shape = plan.shape
    compute = load = store = 0
    for step in plan.steps:
        if isinstance(step, Job):
            compute += _job_cycles(config, shape, step)
            if step.last:
                store += step.rect.pixels * _store_beats(config, shape, step)
        else:
            load += _load_cycles(config, plan, step, latency)
    return max(compute, load, store)


def _store_beats(config, shape, job):
    return _beats(config, job.columns * shape.out_bytes,
                  shape.groups * shape.columns * shape.out_bytes)


def _drain_cycles(config, shape):
    """Cycles the epilogue takes for a row of the accumulators."""
    return max(config.lanes // config.epilogue_lanes,
               config.lanes * max(shape.out_bytes, shape.residual_bytes) // config.word_bytes)


def estimate(config, plan, latency=20):
    """Cycles from the doorbell to the completion.

    Parameters
    ----------
    config : XpuConfig
        Hardware.
    plan : Plan
        What runs.
    latency : int
        Memory latency in cycles.
    """
    lanes, shape = config.lanes, plan.shape
    drain_cycles = _drain_cycles(config, shape)
    tail = _DRAIN if shape.out_bytes == 1 else _DRAIN + _FLOAT_DRAIN
    load_time = _START + 2 * latency
    compute = drained = stored = residual = 0
    drains = [0, 0]                 # end of the last two drains: the accumulator memories
    released, written = [], []      # per job: operands read, output in GM
    panel_rows, strip_ready = {}, {}
    fetched = -config.fetch_slots // 2      # the first burst of commands is part of the start
    for step in plan.steps:
        fetched += _slots(plan, step)
        if fetched > 0:
            load_time += config.slot_beats * min(fetched, _slots(plan, step))
        if isinstance(step, Load):
            if step.after_job is not None:
                load_time = max(load_time, released[step.after_job] + latency + _HANDOVER)
            elif step.kind == "residual" and len(written) >= plan.buffers.outs:
                load_time = max(load_time, written[-plan.buffers.outs] + latency + _HANDOVER)
            beats = _load_cycles(config, plan, step, latency)
            if step.kind == "panel":
                panel_rows.setdefault(step.index, []).append(
                    (step.row0, step.rows, load_time, beats / step.rows))
            elif step.kind == "strip":
                strip_ready[step.index] = load_time + beats + _HANDOVER
            else:
                residual = load_time + beats + _HANDOVER
            load_time += beats + _COMMAND * _commands(plan, step)
            continue
        compute = max(compute + _JOB, strip_ready[step.strip], residual)
        if step.last and len(written) >= plan.buffers.outs:
            compute = max(compute, written[-plan.buffers.outs] + _HANDOVER)
        pieces = panel_rows[step.panel]
        if not shape.progressive:
            compute = max(compute, pieces[-1][2] + pieces[-1][1] * pieces[-1][3] + _HANDOVER)
        row, blocks = 0, -(-step.columns // lanes)
        for rows, cycles in _tiles(config, shape, step):
            row += rows
            if shape.progressive:
                arrival = 0
                for row0, count, begin, pace in pieces:
                    if row0 < row:
                        arrival = max(arrival, begin + min(row - row0, count) * pace)
                compute = max(compute, arrival + _HANDOVER)
            compute = max(compute, drains[0]) + cycles
            if step.last:
                pixels = rows * step.line
                drained = max(drained, compute) + pixels * blocks * drain_cycles
                drains = [drains[1], drained]
                beats = _store_beats(config, shape, step)
                # Rows are stored as they come.
                stored = max(stored + pixels * beats, drained + tail + beats)
        released.append(compute)
        if step.last:
            written.append(stored + latency)
    return stored + latency + _HANDOVER
