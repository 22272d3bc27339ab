"""From a matrix product to commands: choose a plan by predicted cycles, bind it to addresses."""

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import Activation, ElementType, Opcode

from ..commands import Command
from .gemm_cost import estimate, lower_bound
from .gemm_plan import GemmShape, Job, build_plan, round_up

__all__ = ["GemmProblem", "bind_plan", "candidate_plans", "choose_plan", "plan_gemm"]

#: Semaphores of a product. All others stay untouched.
SEM_ROWS, SEM_STRIPS, SEM_OUT, SEM_RELEASED, SEM_STORED = 1, 2, 3, 4, 5

_PANELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)   #: ways to cut M that are tried
_EFFORT = 20_000                                                  #: jobs of all plans compared
_CLOSE = 1.002                                                    #: good enough to stop looking


@dataclass(frozen=True)
class GemmProblem:
    """One product, operands dense and row-major in GM.

    Parameters
    ----------
    m, n, k : int
        A is m x k, B is k x n, C is m x n.
    a_address, b_address, out_address : int
        GM byte offsets.
    a_signed, b_signed : bool
        INT8, else UINT8.
    a_zero_point, b_zero_point : int
        Zero points; ``b_zero_point_address`` (GM, one byte per column) overrides the latter.
    bias_address : int or None
        INT32 per column in GM.
    scale : float or None
        FP32 scale; ``scale_address`` (GM, FP32 per column) overrides it.
    zero_point : int
        Of the output.
    relu : bool
        Clamp sums at zero.
    out_type : ElementType
        Output element.
    """

    m: int
    n: int
    k: int
    a_address: int
    b_address: int
    out_address: int
    a_signed: bool = True
    b_signed: bool = True
    a_zero_point: int = 0
    b_zero_point: int = 0
    b_zero_point_address: int | None = None
    bias_address: int | None = None
    scale: float | None = None
    scale_address: int | None = None
    zero_point: int = 0
    relu: bool = False
    out_type: ElementType = ElementType.INT32

    @property
    def shape(self):
        return GemmShape(
            self.m, self.n, self.k, 4 if self.out_type == ElementType.INT32 else 1,
            self.bias_address is not None, self.scale_address is not None,
            self.b_zero_point_address is not None)


def _parameters(config, shape):
    """Yield ``(jobs, build_plan arguments)`` of every candidate, feasible or not."""
    lanes = config.lanes
    n_blocks = -(-shape.n // lanes)
    widths = {min(w, n_blocks, config.tile_blocks) for w in (1, 2, 4, 8, 16)}
    depths = {shape.k} | {lanes * 2 ** e for e in range(1, 12)
                          if shape.k > lanes * 2 ** e >= min(shape.k, 16 * lanes)}
    for depth, blocks in itertools.product(depths, widths):
        if depth < shape.k:
            heights, firsts = {min(shape.m, config.acc_rows // blocks)}, {blocks}
        else:
            heights = {round_up(-(-shape.m // parts), lanes) for parts in _PANELS}
            heights |= {lanes * 2 ** e for e in range(12) if lanes * 2 ** e < min(heights)}
            firsts = {1, min(2, blocks), blocks}
        edges = {lanes, 2 * lanes, 4 * lanes} if depth == shape.k else {config.acc_rows}
        for rows, first, edge, (panels, strips) in itertools.product(
                heights, firsts, edges, ((2, 2), (2, 3), (3, 4))):
            if rows:
                jobs = -(-shape.m // rows) * -(-n_blocks // blocks) * -(-shape.k // depth)
                yield jobs, {"panel_rows": rows, "depth": depth, "blocks": blocks,
                             "first_blocks": first, "edge_rows": edge, "panels": panels,
                             "strips": strips, "outs": 2}


def candidate_plans(config, shape):
    """Every plan worth a look that fits the scratchpad, few jobs first, within a bounded effort."""
    plans, effort = [], 0
    for jobs, arguments in sorted(_parameters(config, shape), key=lambda item: item[0]):
        if plans and effort > _EFFORT:
            break
        plan = build_plan(config, shape, **arguments)
        if plan is not None:
            plans.append(plan)
            effort += jobs
    return plans


@functools.lru_cache(maxsize=256)
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


def plan_gemm(config, problem, semaphores, latency=20):
    """Return the commands of a product, in ring order.

    Parameters
    ----------
    config : XpuConfig
        Hardware.
    problem : GemmProblem
        What to compute.
    semaphores : object with ``value(number) -> int``
        Values before the first of these commands runs.
    latency : int
        Memory latency the plan is tuned for; any plan works at any latency.
    """
    plan, _ = choose_plan(config, problem.shape, latency)
    return bind_plan(config, problem, plan, semaphores)


def bind_plan(config, problem, plan, semaphores):
    """Return the commands of one plan of a product; arguments as for ``plan_gemm``."""
    return _Binder(config, problem, plan, semaphores).commands()


class _Binder:
    """Turns the steps of a plan into commands with addresses and semaphore values."""

    def __init__(self, config, problem, plan, semaphores):
        self.config, self.problem, self.plan = config, problem, plan
        self.base = {number: semaphores.value(number) for number in
                     (SEM_ROWS, SEM_STRIPS, SEM_OUT, SEM_RELEASED, SEM_STORED)}
        self.rows_loaded = 0        # rows of all panels loaded so far
        self.panel_base = {}        # panel: rows loaded before it
        self.strip_ready = {}       # strip: count of strips loaded with it
        self.out_rows = 0           # output rows handed over so far
        self.jobs = self.outs = 0

    def commands(self):
        """All commands, without the closing fence."""
        return [command for step in self.plan.steps
                for command in (self._job(step) if isinstance(step, Job) else self._load(step))]

    def _value(self, semaphore, count):
        return (self.base[semaphore] + count) % (1 << self.config.semaphore_width)

    def _wait(self, after_job):
        """Header wait for the operands of a job to have been read."""
        if after_job is None:
            return {}
        return {"wait0_semaphore": SEM_RELEASED,
                "wait0_value": self._value(SEM_RELEASED, after_job + 1)}

    def _load(self, load):
        if load.kind == "panel":
            return [self._panel(load)]
        return self._strip(load)

    def _panel(self, load):
        job, problem, buffers = load.job, self.problem, self.plan.buffers
        self.panel_base.setdefault(load.index, self.rows_loaded)
        self.rows_loaded += load.rows
        row = job.m0 + load.row0
        return _copy(
            Opcode.DMA_LOAD, gm=problem.a_address + row * problem.k + job.k0,
            sm=buffers.panel(load.index) + load.row0 * buffers.panel_pitch,
            row_bytes=job.depth, rows=load.rows, gm_pitch=problem.k, sm_pitch=buffers.panel_pitch,
            progress_semaphore=SEM_ROWS, **self._wait(load.after_job))

    def _strip(self, load):
        job, problem, buffers = load.job, self.problem, self.plan.buffers
        base = buffers.strip(load.index)
        copies = []
        for address, offset, size in (
                (problem.bias_address, buffers.bias_offset, 4),
                (problem.scale_address, buffers.scale_offset, 4),
                (problem.b_zero_point_address, buffers.zero_point_offset, 1)):
            if address is not None:
                copies.append(_copy(Opcode.DMA_LOAD, gm=address + job.n0 * size, sm=base + offset,
                                    row_bytes=job.columns * size, rows=1, gm_pitch=0, sm_pitch=0))
        rows, width = job.depth, job.columns
        if width == problem.n == buffers.strip_pitch:     # dense on both sides: one long row
            rows, width = 1, width * rows
        copies.append(_copy(
            Opcode.DMA_LOAD, gm=problem.b_address + job.k0 * problem.n + job.n0, sm=base,
            row_bytes=width, rows=rows, gm_pitch=problem.n, sm_pitch=buffers.strip_pitch,
            signal0_semaphore=SEM_STRIPS, signal0_add=1))
        for name, value in self._wait(load.after_job).items():
            copies[0][name] = value
        self.strip_ready[load.index] = len(self.strip_ready) + 1
        return copies

    def _job(self, job):
        problem, buffers = self.problem, self.plan.buffers
        strip, out = buffers.strip(job.strip), buffers.out(self.outs)
        fields = {
            "rows": job.rows, "columns": job.columns, "depth": job.depth,
            "tile_rows": job.tile_rows, "tile_blocks": -(-job.columns // self.config.lanes),
            "a_type": ElementType.INT8 if problem.a_signed else ElementType.UINT8,
            "b_type": ElementType.INT8 if problem.b_signed else ElementType.UINT8,
            "accumulate": not job.first, "hold": not job.last,
            "has_bias": problem.bias_address is not None,
            "b_zero_point_vector": problem.b_zero_point_address is not None,
            "scale_vector": problem.scale_address is not None,
            "activation": Activation.RELU if problem.relu else Activation.NONE,
            "out_type": problem.out_type,
            "a_address": buffers.panel(job.panel), "a_pitch": buffers.panel_pitch,
            "b_address": strip, "b_pitch": buffers.strip_pitch,
            "b_block_pitch": self.config.word_bytes,
            "out_address": out, "out_pitch": buffers.out_pitch,
            "bias_address": strip + buffers.bias_offset,
            "scale_address": strip + buffers.scale_offset,
            "b_zero_point_address": strip + buffers.zero_point_offset,
            "a_zero_point": problem.a_zero_point, "b_zero_point": problem.b_zero_point,
            "out_zero_point": problem.zero_point,
            "scale": 0 if problem.scale is None else int(np.float32(problem.scale).view(np.uint32)),
            "a_semaphore": SEM_ROWS,
            "a_value": self._value(SEM_ROWS, self.panel_base[job.panel]),
            "b_semaphore": SEM_STRIPS,
            "b_value": self._value(SEM_STRIPS, self.strip_ready[job.strip]),
            "release_semaphore": SEM_RELEASED,
        }
        for name in ("bias", "scale", "b_zero_point"):   # unread vectors: any legal address
            flag = {"bias": "has_bias"}.get(name, f"{name}_vector")
            if not fields[flag]:
                fields[f"{name}_address"] = 0
        self.jobs += 1
        if not job.last:
            return [Command(Opcode.GEMM, **fields)]
        if self.outs >= buffers.outs:
            fields |= {"wait0_semaphore": SEM_STORED,
                       "wait0_value": self._value(SEM_STORED, self.outs - buffers.outs + 1)}
        gemm = Command(Opcode.GEMM, out_semaphore=SEM_OUT, **fields)
        size = self.plan.shape.out_bytes
        store = _copy(
            Opcode.DMA_STORE, gm=problem.out_address + (job.m0 * problem.n + job.n0) * size, sm=out,
            row_bytes=job.columns * size, rows=job.rows, gm_pitch=problem.n * size,
            sm_pitch=buffers.out_pitch, progress_semaphore=SEM_OUT,
            progress_value=self._value(SEM_OUT, self.out_rows + 1),
            signal0_semaphore=SEM_STORED, signal0_add=1)
        self.outs += 1
        self.out_rows += job.rows
        return [gemm, store]


def _copy(opcode, *, gm, sm, row_bytes, rows, gm_pitch, sm_pitch, **fields):
    """One DMA command between GM and SM."""
    gm, sm = SystemAddress(Space.GM, gm).encode(), SystemAddress(Space.SM, sm).encode()
    ends = {"source": gm, "destination": sm, "source_pitch": gm_pitch,
            "destination_pitch": sm_pitch}
    if opcode == Opcode.DMA_STORE:
        ends = {"source": sm, "destination": gm, "source_pitch": sm_pitch,
                "destination_pitch": gm_pitch}
    return Command(opcode, row_bytes=row_bytes, rows=rows, **ends, **fields)
