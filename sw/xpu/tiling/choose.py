"""Which plan: the one with the fewest predicted cycles among many."""

import functools
import itertools

from .cost import estimate, lower_bound
from .plan import build_plan
from .shape import Source, round_up

__all__ = ["candidate_plans", "choose_plan"]

_PANELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)   #: ways to cut M that are tried
_EDGES = ((1, 1), (2, 2), (4, 4), (1, 2), (1, 4))     #: tiles of first and last job, in lanes
_EFFORT = 20_000                                                  #: jobs of all plans compared
_CLOSE = 1.002                                                    #: good enough to stop looking


def _widths(config, shape):
    blocks = -(-shape.columns // config.lanes)
    return {min(width, blocks, config.tile_blocks) for width in (1, 2, 4, 8, 16)}


def _matrix_parameters(config, shape):
    """Yield ``build_plan`` arguments of every candidate of a matrix product."""
    lanes = config.lanes
    k, m = shape.channels, shape.height
    depths = {k} | {lanes * 2 ** e for e in range(1, 12)
                    if k > lanes * 2 ** e >= min(k, 16 * lanes)}
    for depth, blocks in itertools.product(sorted(depths), sorted(_widths(config, shape))):
        if depth < k:
            heights, firsts = {min(m, config.acc_rows // blocks)}, {blocks}
        else:
            heights = {round_up(-(-m // parts), lanes) for parts in _PANELS}
            heights |= {lanes * 2 ** e for e in range(12) if lanes * 2 ** e < min(heights)}
            firsts = {1, min(2, blocks), blocks}
        edges = (_EDGES if depth == k else ((config.acc_rows, config.acc_rows),))
        for rows, first, edge in itertools.product(sorted(heights), sorted(firsts), edges):
            early = {0} if shape.progressive or rows <= 4 * lanes else {0, 4 * lanes}
            if rows:
                for first_rows in sorted(early):
                    yield {"panel_rows": min(rows, m), "channels": depth, "blocks": blocks,
                           "first_blocks": first, "first_rows": first_rows,
                           "first_pixels": edge[0] * lanes, "last_pixels": edge[1] * lanes}


def _image_parameters(config, shape):
    """Yield ``build_plan`` arguments of every candidate of a convolution."""
    lanes, height = config.lanes, shape.height
    for blocks in sorted(_widths(config, shape)):
        most = config.acc_rows // blocks
        line = shape.width
        if (shape.direct and line > most) or shape.width > config.sm_bytes // 64:
            line = min(most, -(-shape.width // -(-shape.width // most)))
        heights = sorted({-(-height // parts) for parts in range(1, height + 1)})
        if len(heights) > 12:
            heights = heights[:6] + heights[6::-(-(len(heights) - 6) // 6)]
        for rows, first in itertools.product(heights, sorted({1, min(2, blocks), blocks})):
            tile = max(1, most // line)
            for first_rows in sorted({0, min(tile, rows), min(2 * tile, rows)} - {rows}):
                for edge in (2 * lanes, 4 * lanes, config.acc_rows):
                    yield {"panel_rows": rows, "line": line, "blocks": blocks,
                           "first_blocks": first, "first_rows": first_rows, "first_pixels": edge,
                           "last_pixels": edge}


def _parts_of_taps(config, shape):
    """Yield ``build_plan`` arguments of plans that cut the terms, for when nothing else fits."""
    lanes = config.lanes
    for blocks in sorted(_widths(config, shape), reverse=True):
        most = config.acc_rows // blocks
        line = min(shape.width, most)
        rows = max(1, min(shape.height, most // line))
        channels = shape.channels
        while True:
            for taps in sorted({shape.kernel[0], min(shape.kernel[0], 3), 1}, reverse=True):
                for height, width in ((rows, line), (1, line), (1, -(-line // 4))):
                    yield {"panel_rows": height, "line": width, "tap_rows": taps,
                           "channels": channels, "blocks": blocks, "first_blocks": blocks,
                           "first_pixels": config.acc_rows, "last_pixels": config.acc_rows}
            if channels <= lanes:
                break
            channels = round_up(-(-channels // 2), lanes)


def candidate_plans(config, shape):
    """Every plan worth a look that fits the scratchpad, few jobs first, within a bounded effort."""
    matrix = shape.source in (Source.ROWS, Source.TRANSPOSED)
    parameters = list((_matrix_parameters if matrix else _image_parameters)(config, shape))
    plans, effort, seen = [], 0, set()
    for arguments, buffers in itertools.product(
            sorted(parameters, key=lambda item: _jobs(config, shape, item)),
            ((2, 2), (2, 3), (3, 4), (2, 8))):
        if plans and effort > _EFFORT:
            break
        plan = build_plan(config, shape, **arguments, panels=buffers[0], strips=buffers[1])
        same = None if plan is None else (plan.buffers, *arguments.items())
        if plan is not None and same not in seen:
            seen.add(same)
            plans.append(plan)
            effort += len(plan.jobs)
    if not plans and shape.direct:
        for arguments in _parts_of_taps(config, shape):
            plan = build_plan(config, shape, **arguments, panels=2, strips=2)
            if plan is not None:
                return [plan]
    return plans


def _jobs(config, shape, arguments):
    """About how many jobs a candidate has."""
    lines = -(-shape.width // arguments["line"]) if "line" in arguments else 1
    depth = -(-shape.channels // arguments.get("channels", shape.channels))
    columns = -(-shape.columns // (arguments["blocks"] * config.lanes))
    return (shape.groups * shape.images * lines * -(-shape.height // arguments["panel_rows"])
            * columns * depth)


@functools.lru_cache(maxsize=1024)
def choose_plan(config, shape, latency=20):
    """Return the plan with the fewest predicted cycles, and that prediction.

    ``ValueError`` if no plan fits the scratchpad (only possible for absurdly small scratchpads).
    """
    ranked = sorted(((lower_bound(config, plan, latency), number, plan)
                     for number, plan in enumerate(candidate_plans(config, shape))),
                    key=lambda item: item[:2])
    if not ranked:
        raise ValueError(f"no tiling of {shape} fits a scratchpad of {config.sm_bytes} bytes")
    best = None
    for bound, _, plan in ranked:
        if best is not None and bound * _CLOSE >= best[0]:
            break
        cycles = estimate(config, plan, latency)
        if best is None or cycles < best[0]:
            best = (cycles, plan)
    return best[1], round(best[0])
