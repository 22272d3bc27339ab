"""All operand and result types, residuals, tables, maxima and convolutions on the tensor unit."""

import dataclasses
import random

import pytest

from support.tensor_rig import Matrices, run_commands
from xpu_rtl.command.formats import CONV, Activation, ElementType, FaultCause, Opcode
from xpu_rtl.configs import get_config

TINY = dataclasses.replace(get_config("tiny"), name="types", sm_bytes=64 * 1024, acc_rows=32)
WIDE = dataclasses.replace(TINY, name="types8", lanes=8, epilogue_lanes=4)
OPERANDS = (ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.FP16,
            ElementType.BF16)
FINISHED = (ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.FP32,
            ElementType.FP16, ElementType.BF16)
RESIDUALS = (None, None, ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.FP32,
             ElementType.FP16, ElementType.BF16)


def options(rng, a_type):
    """Random options of a command that are legal together."""
    byte = a_type.bytes == 1
    out_type = rng.choice(FINISHED)
    if rng.random() < 0.2 and not a_type.is_float:
        out_type = ElementType.INT32 if byte else ElementType.INT64
    raw = out_type in (ElementType.INT32, ElementType.INT64)
    fields = {"a_type": a_type, "out_type": out_type, "spread": rng.choice([0, 0, 1]),
              "plain": rng.random() < 0.7, "column_order": rng.randint(0, 1)}
    if byte:
        fields |= {"b_type": rng.choice(OPERANDS[:2]), "zero_points": rng.random() < 0.5,
                   "vector": rng.random() < 0.3}
    if raw:
        return fields | {"has_bias": rng.random() < 0.5, "use_relu": rng.random() < 0.5}
    bias = rng.choice(["none", "float", "none" if a_type.is_float else "int"])
    residual = rng.choice(RESIDUALS)
    return fields | {
        "has_bias": bias == "int", "float_bias": bias == "float",
        "scale_vector": rng.random() < 0.5, "activation": rng.choice(list(Activation)),
        "residual_type": residual, "maximum": rng.random() < 0.4,
        "max_accumulate": rng.random() < 0.5,
        "table": out_type.bytes == 1 and rng.random() < 0.4,
    }


def image(rng, most, kernel=3):
    """Fields of a random convolution: ``(rows, conv)``."""
    height, width = rng.randint(1, most), rng.randint(1, most)
    kernels = [rng.randint(1, kernel), rng.randint(1, kernel)]
    steps = [rng.choice([1, 1, 2, 3]) for _ in range(2)]
    taps = [rng.choice([1, 1, 2]) for _ in range(2)]
    starts = [-rng.randint(0, 3) for _ in range(2)]
    return rng.randint(1, most), {
        "height": height, "image_width": width, "width": rng.randint(1, min(most, 8)),
        "kernel_height": kernels[0], "kernel_width": kernels[1], "u_step": steps[0],
        "v_step": steps[1], "u_tap": taps[0], "v_tap": taps[1], "u_start": starts[0],
        "v_start": starts[1],
    }


def run(config, seed, commands, matrices, stall=0.0):
    return run_commands(matrices, commands, seed=seed, accept_p=1 - stall, delay_p=stall,
                        add_p=1 - stall, timeout=20_000)


@pytest.mark.parametrize("config", [TINY, WIDE], ids=lambda config: config.name)
@pytest.mark.parametrize("seed", range(10))
def test_products(config, seed):
    rng = random.Random(seed)
    matrices = Matrices(config, seed)
    commands = []
    for _ in range(4):
        blocks = rng.choice([1, 1, 2, 4])
        commands.append(matrices.gemm(
            rng.randint(1, 12), rng.randint(1, 12), rng.randint(1, 14), tile_blocks=blocks,
            tile_rows=rng.randint(1, config.acc_rows // blocks), out_semaphore=rng.choice([0, 2]),
            **options(rng, rng.choice(OPERANDS))))
    run(config, seed, commands, matrices, rng.choice([0, 0, 0.4]))


@pytest.mark.parametrize("config", [TINY, WIDE], ids=lambda config: config.name)
@pytest.mark.parametrize("seed", range(12))
def test_convolutions(config, seed):
    rng = random.Random(100 + seed)
    matrices = Matrices(config, seed)
    commands = []
    for _ in range(3):
        rows, conv = image(rng, 8)
        blocks = rng.choice([1, 1, 2])
        most = config.acc_rows // blocks // conv["width"]
        commands.append(matrices.gemm(
            rows, rng.randint(1, 10), rng.randint(1, 12), conv=conv, tile_blocks=blocks,
            tile_rows=rng.randint(1, most), out_semaphore=rng.choice([0, 2]),
            **options(rng, rng.choice(OPERANDS))))
    run(config, seed, commands, matrices, rng.choice([0, 0, 0.4]))


@pytest.mark.parametrize("a_type", OPERANDS[2:], ids=lambda element: element.name)
def test_hold_and_accumulate(a_type):
    matrices = Matrices(TINY, 5)
    commands = [
        matrices.gemm(7, 6, 9, a_type=a_type, hold=True, tile_blocks=2, plain=True),
        matrices.gemm(7, 6, 4, a_type=a_type, hold=True, accumulate=True, tile_blocks=2,
                      plain=True),
        matrices.gemm(7, 6, 5, a_type=a_type, accumulate=True, tile_blocks=2, plain=True),
        matrices.gemm(3, 3, 3),
    ]
    run(TINY, 5, commands, matrices)


def test_padding_costs_nothing():
    """A 3 x 3 convolution on a 4 x 4 image, padded by 1: taps see 3 x 3 to 4 x 4 pixels."""
    matrices = Matrices(TINY, 3)
    conv = {"height": 4, "image_width": 4, "width": 4, "kernel_height": 3, "kernel_width": 3,
            "u_step": 1, "v_step": 1, "u_tap": 1, "v_tap": 1, "u_start": -1, "v_start": -1}
    command = matrices.gemm(4, 4, 8, conv=conv, out_type=ElementType.INT8)
    result = run(TINY, 3, [command], matrices)
    # Two words a tap; the first pass covers the whole tile, at the tap (0, 0) that sees 9.
    assert len(result.busy()) == 2 * (3 + 4 + 3) ** 2 + 16 - 9


CONV_FAULTS = [
    ("kernel_height", {"kernel_height": 0}), ("kernel_width", {"kernel_width": 0}),
    ("width", {"width": 0}), ("u_limit", {"u_limit": 0}), ("v_limit", {"v_limit": 0}),
    ("u_step", {"u_step": 0}), ("v_step", {"v_step": 0}), ("u_tap", {"u_tap": 0}),
    ("v_tap", {"v_tap": 0}), ("u_limit", {"u_limit": 1 << 15}), ("v_limit", {"v_limit": 1 << 15}),
    ("tile_rows", {"width": 33, "tile_rows": 1}), ("tile_rows", {"tile_rows": 9, "width": 4}),
    ("reserved12", {"reserved12": 1}), ("reserved16", {"reserved16": 1}),
]


@pytest.mark.parametrize(("field", "fields"), CONV_FAULTS,
                         ids=[f"{field}-{n}" for n, (field, _) in enumerate(CONV_FAULTS)])
def test_refused_convolutions(field, fields):
    matrices = Matrices(TINY, 1)
    conv = {"height": 4, "image_width": 4, "width": 4, "kernel_height": 3, "kernel_width": 3,
            "u_step": 1, "v_step": 1, "u_tap": 1, "v_tap": 1, "u_start": -1, "v_start": -1}
    command = matrices.gemm(4, 4, 4, conv=conv) | fields
    assert command["opcode"] is Opcode.CONV
    result = run_commands(matrices, [command], timeout=500, expect_fault=True)
    assert [entry[1:] for entry in result.done] == [(FaultCause.BAD_FIELD, 0, CONV.lsb[field])]


@pytest.mark.parametrize(("fields", "address", "cause"), [
    ({"a_offset": -4 * 4}, None, FaultCause.PROTECTION),      # before the image
    ({"a_tap_row_pitch": 1 << 15}, None, FaultCause.BAD_ADDRESS),
    ({"b_tap_pitch": 1 << 15}, None, FaultCause.BAD_ADDRESS),
], ids=["before", "behind", "weights"])
def test_convolutions_that_leave_the_scratchpad(fields, address, cause):
    matrices = Matrices(TINY, 1)
    matrices.allocate(100)
    conv = {"height": 4, "image_width": 4, "width": 2, "kernel_height": 3, "kernel_width": 3,
            "u_step": 1, "v_step": 1, "u_tap": 1, "v_tap": 1, "u_start": 0, "v_start": 0}
    command = matrices.gemm(2, 4, 4, conv=conv) | fields
    result = run_commands(matrices, [command], timeout=2000, expect_fault=True)
    assert [entry[1] for entry in result.done] == [cause]
    assert not result.writes
