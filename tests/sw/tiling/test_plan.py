"""Plans: each term computed once, no buffer overwritten early, commands inside their arrays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpu.dma_commands import row_indices, rows_of
from xpu.tiling import (
    Problem,
    ProductShape,
    Source,
    choose_plan,
    estimate,
    lower_bound,
    plan_product,
)
from xpu.tiling.plan import Job, Load
from xpu_rtl import get_config
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import DmaMode, ElementType, Opcode

CONFIGS = ["tiny", "ecp5", "slice"]


class Zero:
    def value(self, number):
        return 0


def matrix(m, n, k, **fields):
    fields = {"source": Source.ROWS, "element": 1, "out_bytes": 1} | fields
    return ProductShape(height=m, width=1, channels=k, columns=n, **fields)


@st.composite
def matrices(draw):
    return matrix(
        draw(st.integers(1, 300)), draw(st.integers(1, 300)), draw(st.integers(1, 5000)),
        source=draw(st.sampled_from([Source.ROWS, Source.TRANSPOSED])),
        element=draw(st.sampled_from([1, 2])), out_bytes=draw(st.sampled_from([1, 2, 4, 8])),
        groups=draw(st.integers(1, 3)), transposed_b=draw(st.booleans()),
        has_bias=draw(st.booleans()), scale_vector=draw(st.booleans()),
        b_zero_point_vector=draw(st.booleans()), residual_bytes=draw(st.sampled_from([0, 1, 4])),
        has_table=draw(st.booleans()), has_max=draw(st.booleans()))


@st.composite
def images(draw):
    kernel, stride, dilation = ((draw(st.integers(1, most)), draw(st.integers(1, most)))
                                for most in (7, 3, 3))
    padding = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    size, out = [], []
    for axis in range(2):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        size.append(max(draw(st.integers(1, 60)), reach - 2 * padding[axis]))
        out.append((size[axis] + 2 * padding[axis] - reach) // stride[axis] + 1)
    return ProductShape(
        source=draw(st.sampled_from([Source.IMAGE, Source.IMAGE, Source.PATCHES])), height=out[0],
        width=out[1], channels=draw(st.integers(1, 100)), columns=draw(st.integers(1, 100)),
        element=draw(st.sampled_from([1, 2])), out_bytes=draw(st.sampled_from([1, 4])),
        images=draw(st.integers(1, 2)), in_height=size[0], in_width=size[1], kernel=kernel,
        stride=stride, dilation=dilation, padding=padding, has_bias=draw(st.booleans()))


shapes = st.one_of(matrices(), images())


def plan_of(config, shape):
    try:
        return choose_plan(config, shape)[0]
    except ValueError:          # patches may be too large; then the driver takes the image
        assert shape.source is Source.PATCHES
        return choose_plan(config, replace(shape, source=Source.IMAGE))[0]


@settings(max_examples=40, deadline=None)
@given(config=st.sampled_from(CONFIGS), shape=shapes)
def test_every_product_term_is_computed_once(config, shape):
    config = get_config(config)
    plan = plan_of(config, shape)
    shape = plan.shape
    outputs = np.zeros((shape.groups, shape.images, shape.height, shape.width, shape.columns), int)
    terms = 0
    for job in plan.jobs:
        chunk, rect = job.chunk, job.rect
        terms += rect.pixels * job.columns * chunk.tap_rows * shape.kernel[1] * chunk.channels
        if job.last:
            outputs[job.group, rect.image, rect.row0:rect.row0 + rect.rows,
                    rect.column0:rect.column0 + rect.columns, job.n0:job.n0 + job.columns] += 1
        blocks = -(-job.columns // config.lanes)
        assert job.rows * job.line == rect.pixels
        assert job.tile_rows * job.line * blocks <= config.acc_rows
        assert job.tile_rows == job.rows or (job.first and job.last)
    assert terms == shape.macs
    assert (outputs == 1).all()


@settings(max_examples=40, deadline=None)
@given(config=st.sampled_from(CONFIGS), shape=shapes)
def test_buffers_fit_and_are_not_overwritten_early(config, shape):
    """Replay the plan: what a job reads must be what was last loaded into its buffers."""
    config = get_config(config)
    plan = plan_of(config, shape)
    shape, buffers = plan.shape, plan.buffers
    assert buffers.total <= config.sm_bytes
    panels, strips, done, outs, residual = {}, {}, 0, 0, None
    users = {"panel": {}, "strip": {}}
    for number, job in enumerate(plan.jobs):
        users["panel"][job.panel] = users["strip"][job.strip] = number
    for step in plan.steps:
        if isinstance(step, Load) and step.kind == "residual":
            assert step.index == outs
            residual = step.job
        elif isinstance(step, Load):
            slots, count = ((panels, buffers.panels) if step.kind == "panel"
                            else (strips, buffers.strips))
            slot = step.index % count
            old = slots.get(slot, (step.index, 0))[0]
            if old != step.index:
                assert step.after_job is not None
                assert step.after_job >= users[step.kind][old]
                assert step.after_job < done, "waits for a job that comes later in the ring"
                slots[slot] = (step.index, 0)
            rows = slots.get(slot, (step.index, 0))[1]
            if step.kind == "panel":
                assert step.row0 == rows, "rows of a panel must land in order"
            slots[slot] = (step.index, rows + step.rows)
        else:
            assert isinstance(step, Job)
            lines = {Source.IMAGE: shape.input_span(step.rect, step.chunk)[1],
                     Source.PATCHES: step.rect.rows}.get(shape.source, step.rect.pixels)
            assert panels[step.panel % buffers.panels] == (step.panel, lines)
            assert strips[step.strip % buffers.strips][0] == step.strip
            if step.last:
                assert (residual is step) == bool(shape.residual_bytes)
                outs += 1
            done += 1


def gm_rows(command):
    """Yield ``(offset, bytes)`` of the rows of GM that a DMA command reads or writes."""
    store = command.opcode in (Opcode.DMA_STORE, Opcode.DMA_STORE_ND)
    side = "destination" if store else "source"
    gm = SystemAddress.decode(command[side])
    other = SystemAddress.decode(command["source" if store else "destination"])
    assert (gm.space, other.space) == (Space.GM, Space.SM)
    nd = command.opcode in (Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND)
    matrix_rows = command["rows"] if nd and command["mode"] == DmaMode.TRANSPOSE else 1
    for row in range(rows_of(command)):
        indices = {1: 0} | row_indices(command, row)
        offset = gm.offset + sum(
            index * (command[f"{side}_stride{n}"] if n > 1 else command[f"{side}_pitch"])
            for n, index in indices.items())
        for line in range(matrix_rows):
            yield offset + line * command[f"{side}_pitch"], command["row_bytes"]


@pytest.mark.parametrize("transposed", [False, True])
def test_commands_stay_inside_their_matrices(transposed):
    config = get_config("tiny")
    shape = matrix(45, 37, 61, has_bias=True, scale_vector=True, b_zero_point_vector=True,
                   residual_bytes=1, has_table=True, has_max=True, transposed_b=transposed,
                   source=Source.TRANSPOSED if transposed else Source.ROWS)
    problem = Problem(
        shape=shape, a_type=ElementType.INT8, b_type=ElementType.INT8, out_type=ElementType.INT8,
        a_address=1000, b_address=9001, out_address=20003, a_pitch=45 if transposed else 61,
        b_pitch=61 if transposed else 37, out_pitch=37, bias_address=30000, scale_address=40004,
        b_zero_point_address=50001, residual_address=60007, residual_type=ElementType.INT8,
        table_address=70000, max_address=80000)
    ranges = [(1000, 45 * 61), (9001, 61 * 37), (20003, 45 * 37), (30000, 4 * 37),
              (40004, 4 * 37), (50001, 37), (60007, 45 * 37), (70000, 256), (80000, 4)]
    written = np.zeros(45 * 37, int)
    for command in plan_product(config, problem, Zero()):
        if command.opcode in (Opcode.GEMM, Opcode.CONV):
            continue
        for first, size in gm_rows(command):
            assert any(begin <= first and first + size <= begin + length
                       for begin, length in ranges)
            if 20003 <= first < 30000:
                written[first - 20003:first - 20003 + size] += 1
    assert (written == 1).all()


@pytest.mark.parametrize("shape", [(512, 768, 768), (128, 128, 128), (1, 1024, 1024),
                                   (1024, 1024, 8192), (4096, 4096, 4096)])
def test_plans_are_near_the_limit(shape):
    """The planner finds a plan whose prediction is near the busiest resource's own need."""
    config = get_config("slice")
    plan, cycles = choose_plan(config, matrix(*shape, scale_vector=True))
    assert cycles == round(estimate(config, plan))
    assert lower_bound(config, plan) <= cycles <= 1.07 * lower_bound(config, plan)


def test_a_long_dot_product_fits_the_smallest_scratchpad():
    config = get_config("tiny")
    plan, _ = choose_plan(config, matrix(1, 1, 65_535, out_bytes=4))
    assert plan.buffers.total <= config.sm_bytes


@pytest.mark.slow
def test_a_large_kernel_fits_the_smallest_scratchpad():
    """31 x 31 taps of 64 channels: 1 MB of weights for 16 columns."""
    shape = ProductShape(source=Source.IMAGE, height=40, width=40, channels=64, columns=40,
                         element=2, out_bytes=4, in_height=40, in_width=40, kernel=(31, 31),
                         padding=(15, 15))
    for name in CONFIGS:
        plan, _ = choose_plan(get_config(name), shape)
        assert plan.buffers.total <= get_config(name).sm_bytes


@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_however_tall_wide_or_deep(name):
    config = get_config(name)
    for m, n, k in ((400_000, 1, 1), (400_000, 1, 40), (1, 40_000, 1), (1, 1, 400_000)):
        plan, _ = choose_plan(config, matrix(m, n, k, out_bytes=4, has_bias=True,
                                             b_zero_point_vector=True))
        assert plan.buffers.total <= config.sm_bytes
        assert sum(job.rows * job.columns * job.chunk.channels for job in plan.jobs) == m * n * k
