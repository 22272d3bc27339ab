import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpu.ops.gemm_cost import estimate, lower_bound
from xpu.ops.gemm_plan import GemmShape, Job, Load
from xpu.ops.tiling import GemmProblem, choose_plan, plan_gemm
from xpu_rtl import get_config
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import ElementType, Opcode


class Zero:
    def value(self, number):
        return 0


shapes = st.builds(GemmShape, m=st.integers(1, 300), n=st.integers(1, 300), k=st.integers(1, 5000),
                   out_bytes=st.sampled_from([1, 4]), has_bias=st.booleans(),
                   scale_vector=st.booleans(), b_zero_point_vector=st.booleans())


@settings(max_examples=30, deadline=None)
@given(config=st.sampled_from(["tiny", "ecp5", "slice"]), shape=shapes)
def test_every_product_term_is_computed_once(config, shape):
    config = get_config(config)
    plan, _ = choose_plan(config, shape)
    outputs = np.zeros((shape.m, shape.n), np.int64)
    terms = 0
    for job in plan.jobs:
        terms += job.rows * job.columns * job.depth
        if job.last:
            outputs[job.m0:job.m0 + job.rows, job.n0:job.n0 + job.columns] += 1
        assert job.tile_rows * -(-job.columns // config.lanes) <= config.acc_rows
        assert job.tile_rows == job.rows or (job.first and job.last)
    assert terms == shape.m * shape.n * shape.k
    assert (outputs == 1).all()


@settings(max_examples=30, deadline=None)
@given(config=st.sampled_from(["tiny", "ecp5", "slice"]), shape=shapes)
def test_buffers_fit_and_are_not_overwritten_early(config, shape):
    """Replay the plan: what a job reads must be what was last loaded into its buffers."""
    config = get_config(config)
    plan, _ = choose_plan(config, shape)
    buffers = plan.buffers
    assert buffers.total <= config.sm_bytes
    panels, strips, done = {}, {}, 0
    users = {"panel": {}, "strip": {}}
    for number, job in enumerate(plan.jobs):
        users["panel"][job.panel] = users["strip"][job.strip] = number
    for step in plan.steps:
        if isinstance(step, Load):
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
            assert panels[step.panel % buffers.panels] == (step.panel, step.rows)
            assert strips[step.strip % buffers.strips][0] == step.strip
            done += 1


def test_commands_stay_inside_their_matrices():
    config = get_config("tiny")
    problem = GemmProblem(m=45, n=37, k=61, a_address=1000, b_address=9001, out_address=20003,
                          bias_address=30000, scale_address=40004, b_zero_point_address=50001,
                          out_type=ElementType.INT8)
    ranges = [(1000, 45 * 61), (9001, 61 * 37), (20003, 45 * 37), (30000, 4 * 37),
              (40004, 4 * 37), (50001, 37)]
    written = np.zeros(45 * 37, int)
    for command in plan_gemm(config, problem, Zero()):
        if command.opcode not in (Opcode.DMA_LOAD, Opcode.DMA_STORE):
            continue
        store = command.opcode == Opcode.DMA_STORE
        gm = SystemAddress.decode(command["destination" if store else "source"]).offset
        pitch = command["destination_pitch" if store else "source_pitch"]
        for row in range(command["rows"]):
            first = gm + row * pitch
            assert any(begin <= first and first + command["row_bytes"] <= begin + size
                       for begin, size in ranges)
            if store:
                written[first - 20003:first - 20003 + command["row_bytes"]] += 1
        other = SystemAddress.decode(command["source" if store else "destination"])
        assert other.space == Space.SM
    assert (written == 1).all()


@pytest.mark.parametrize("shape", [(512, 768, 768), (128, 128, 128), (1, 1024, 1024),
                                   (1024, 1024, 8192), (4096, 4096, 4096)])
def test_plans_are_near_the_limit(shape):
    """The planner finds a plan whose prediction is near the busiest resource's own need."""
    config = get_config("slice")
    plan, cycles = choose_plan(config, GemmShape(*shape, out_bytes=1, scale_vector=True))
    assert cycles == round(estimate(config, plan))
    assert lower_bound(config, plan) <= cycles <= 1.07 * lower_bound(config, plan)


def test_a_long_dot_product_fits_the_smallest_scratchpad():
    config = get_config("tiny")
    plan, _ = choose_plan(config, GemmShape(1, 1, 65_535, 4))
    assert plan.buffers.total <= config.sm_bytes


@pytest.mark.parametrize("name", ["tiny", "slice"])
def test_however_tall_wide_or_deep(name):
    config = get_config(name)
    for m, n, k in ((400_000, 1, 1), (400_000, 1, 40), (1, 40_000, 1), (1, 1, 400_000)):
        plan, _ = choose_plan(config, GemmShape(m, n, k, 4, True, True, True))
        assert plan.buffers.total <= config.sm_bytes
        assert sum(job.rows * job.columns * job.depth for job in plan.jobs) == m * n * k
