"""Predicted cycles of a plan: a walk over its steps with one clock per engine.

The constants were fitted to measured cycles; ``tools/plan_accuracy.py`` compares the two for a few
hundred plans of nine products at two memory latencies (2.2 % root mean square error).
"""

from .gemm_plan import Job, Load

__all__ = ["estimate", "lower_bound"]

_START = 10      #: doorbell to the first data beat, beyond the memory latency
_COMMAND = 5     #: load engine, per command
_JOB = 1         #: tensor unit, per command
_HANDOVER = 16   #: engine to engine: semaphore, command issue, operand pipeline
_TURNAROUND = 8  #: cycles a burst is outstanding beyond the memory latency
_TIGHT = 1.04    #: slowdown of passes so short that weights must load without a pause
_DRAIN = 50      #: pipeline of the epilogue and its scratchpad writes


def _beats(row_bytes, bus_bytes):
    return -(-row_bytes // bus_bytes)


def _read_cycles(config, row_bytes, latency):
    """Cycles per row of a long load: its beats, or what the outstanding bursts allow."""
    beats = _beats(row_bytes, config.bus_bytes)
    bursts = -(-beats // config.burst_beats)
    return max(beats, bursts * (latency + _TURNAROUND) / config.max_bursts)


def lower_bound(config, plan, latency=20):
    """Cycles the busiest resource needs, without any start or end."""
    bus = config.bus_bytes
    compute = load = store = 0
    for step in plan.steps:
        if isinstance(step, Job):
            compute += _job_cycles(config, step)
            if step.last:
                store += step.rows * _beats(step.columns * plan.shape.out_bytes, bus)
        else:
            load += _load_cycles(config, plan, step, latency)
    return max(compute, load, store)


def _load_cycles(config, plan, load, latency):
    job, shape = load.job, plan.shape
    if load.kind == "panel":
        return load.rows * _read_cycles(config, job.depth, latency)
    vectors = 4 * shape.has_bias + 4 * shape.scale_vector + shape.b_zero_point_vector
    return (job.depth * _read_cycles(config, job.columns, latency)
            + _beats(vectors * job.columns, config.bus_bytes))


def _slots(plan, step):
    """Command slots of a step, which take their turn on the bus."""
    if isinstance(step, Job):
        return 3 if step.last else 2
    shape = plan.shape
    return 1 if step.kind == "panel" else (
        1 + shape.has_bias + shape.scale_vector + shape.b_zero_point_vector)


def _pass_cycles(config, rows):
    return rows if rows >= 2 * config.lanes else max(rows, config.lanes * _TIGHT)


def _tiles(job):
    return [min(job.tile_rows, job.rows - row) for row in range(0, job.rows, job.tile_rows)]


def _passes(config, job):
    return -(-job.depth // config.lanes) * -(-job.columns // config.lanes)


def _job_cycles(config, job):
    return sum(_pass_cycles(config, rows) for rows in _tiles(job)) * _passes(config, job)


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
    lanes, bus, shape = config.lanes, config.bus_bytes, plan.shape
    drain_cycles = (max(4, lanes // config.epilogue_lanes) if shape.out_bytes == 4
                    else lanes // config.epilogue_lanes)
    load_time = _START + 2 * latency
    compute = drained = stored = 0
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
            beats = _load_cycles(config, plan, step, latency)
            if step.kind == "panel":
                panel_rows.setdefault(step.index, []).append(
                    (step.row0, step.rows, load_time, beats / step.rows))
            else:
                strip_ready[step.index] = load_time + beats + _HANDOVER
            load_time += beats + _COMMAND * _slots(plan, step)
            continue
        compute = max(compute + _JOB, strip_ready[step.strip])
        if step.last and len(written) >= plan.buffers.outs:
            compute = max(compute, written[-plan.buffers.outs] + _HANDOVER)
        row, passes, blocks = 0, _passes(config, step), -(-step.columns // lanes)
        for rows in _tiles(step):
            row += rows
            arrival = 0
            for row0, count, begin, pace in panel_rows[step.panel]:
                if row0 < row:
                    arrival = max(arrival, begin + min(row - row0, count) * pace)
            compute = max(compute, arrival + _HANDOVER, drains[0])
            compute += _pass_cycles(config, rows) * passes
            if step.last:
                drained = max(drained, compute) + rows * blocks * drain_cycles
                drains = [drains[1], drained]
                stored = max(stored, drained + _DRAIN) + rows * _beats(
                    step.columns * shape.out_bytes, bus)
        released.append(compute)
        if step.last:
            written.append(stored + latency)
    return stored + latency + _HANDOVER
