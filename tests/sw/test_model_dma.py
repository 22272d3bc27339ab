"""DMA commands on the functional model, against the text of the formats carried out by bytes."""

import random
import time

import numpy as np
import pytest

from support import dma_nd
from support.dma_model import OPEN, Memories, build, first_fault, golden, random_case
from xpu.platforms import model_strips
from xpu.platforms.model_windows import Windows
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import DMA_ND, DmaMode, Engine, FaultCause, Opcode
from xpu_rtl.configs import get_config
from xpu_rtl.dma.stages import STRIP_WORDS

CONFIGS = ["tiny", "slice"]
SM = 1 << 44
LOAD, STORE = Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND


@pytest.fixture(params=CONFIGS)
def memories(request):
    return Memories(get_config(request.param), 1 << 16)


def test_the_strips_are_those_of_the_hardware():
    assert model_strips.STRIP_WORDS == STRIP_WORDS


@pytest.mark.parametrize("seed", range(8))
def test_random_commands(memories, seed):
    for number in range(60):
        opcode, fields, entries = random_case(memories, f"{seed} {number}")
        expected = golden(memories, opcode, fields, entries)
        command = build(opcode, fields)
        rows, fault, blocked = memories.run(command)
        assert (fault, blocked) == (None, False)
        assert rows == len(dma_nd.expand(fields, opcode, memories.config, entries=entries)[0])
        np.testing.assert_array_equal(memories.gm, expected[Space.GM], str(command))
        np.testing.assert_array_equal(memories.sm, expected[Space.SM], str(command))


def random_windows(rng, config, memory_bytes):
    def pair(most):
        return sorted((rng.randrange(most), rng.randrange(most)))
    pages, lines = memory_bytes // 4096, config.sm_bytes // 64
    gm = tuple((*pair(pages), rng.random() < 0.9, rng.random() < 0.9) for _ in range(2))
    return Windows(gm if rng.random() < 0.7 else OPEN.gm,
                   (*pair(lines), 1, rng.random() < 0.9) if rng.random() < 0.7 else OPEN.sm,
                   OPEN.semaphores)


@pytest.mark.parametrize("seed", range(8))
def test_random_faults(memories, seed):
    """Windows, memories that end early, lists with a bad entry: the same first fault."""
    rng, causes = random.Random(seed), set()
    for number in range(60):
        opcode, fields, entries = random_case(memories, f"{seed} {number}")
        windows = random_windows(rng, memories.config, len(memories.gm))
        if "mode" in fields and fields["mode"] == DmaMode.TRANSPOSE and rng.random() < 0.5:
            fields["destination_pitch"] += 1 << rng.randrange(10, 31)
        elif rng.random() < 0.4:
            name = rng.choice(["source", "destination"])
            address = fields[f"{name}_low"] + (fields[f"{name}_high"] << 32)
            address += rng.choice([1, -1]) << rng.randrange(8, 46)
            address %= 1 << 48
            fields |= {f"{name}_low": address & 0xFFFF_FFFF, f"{name}_high": address >> 32}
        if entries and rng.random() < 0.5:
            fields["index_limit"] = max(entries)
        read, write, copies = memories.access()
        count, expected = first_fault(memories, opcode, fields, windows, entries)
        if expected is None:
            continue
        all_rows = dma_nd.expand(fields, opcode, memories.config, entries=entries)[0]
        command = build(opcode, fields)
        rows, fault, blocked = memories.run(command, windows)
        assert fault is not None, str(command)
        causes.add(fault.cause)
        assert (fault.cause, fault.address, fault.info) == expected, str(command)
        assert (rows, fault.row, blocked) == (count, count, False)
        assert fault.engine is (Engine.LOAD if opcode in (Opcode.DMA_LOAD, LOAD) else Engine.STORE)
        dma_nd.move(all_rows[:count], read, write)
        np.testing.assert_array_equal(memories.gm, copies[Space.GM], str(command))
        np.testing.assert_array_equal(memories.sm, copies[Space.SM], str(command))
    assert causes >= {FaultCause.PROTECTION, FaultCause.BAD_ADDRESS}


def closed_page(page, lines, kinds):
    """Windows that refuse reads, writes or both of one page of GM, and SM above some lines."""
    behind = {"both": (page + 1, 2 ** 32 - 1, 1, 1), "reads": (0, 2 ** 32 - 1, 0, 1),
              "writes": (0, 2 ** 32 - 1, 1, 0)}[kinds]
    return Windows(((0, page - 1, 1, 1), behind), (0, lines, 1, 1), OPEN.semaphores)


@pytest.mark.parametrize("seed", range(30))
def test_the_first_fault_of_long_rows_and_large_matrices(memories, seed):
    """Rows of several bursts, matrices of many strips, and a page in their way."""
    rng, size = random.Random(seed), memories.config.sm_bytes
    for _ in range(10):
        opcode = rng.choice([LOAD, STORE])
        rows, row_bytes = rng.randrange(1, 100), rng.randrange(1, 2000)
        fields = {"row_bytes": row_bytes, "rows": rows}
        if rng.random() < 0.6:
            element = rng.choice([1, 2, 4])
            row_bytes = rng.randrange(1, 100) * element
            fields = {"row_bytes": row_bytes, "rows": rows, "mode": DmaMode.TRANSPOSE,
                      "element_log2": element.bit_length() - 1,
                      "destination_pitch": rows * element + rng.randrange(40)}
        else:
            fields["rows"] = 4
            fields["destination_pitch"] = row_bytes
        fields["source_pitch"] = row_bytes + rng.randrange(200)
        half = size // 2 if opcode == LOAD else 1 << 15
        fields |= dma_nd.nd(rng.randrange(20_000), (SM if opcode == LOAD else 0) + half
                            + rng.randrange(half // 2), **fields)
        windows = closed_page(rng.randrange(1, 15), rng.choice([1 << 17, rng.randrange(512)]),
                              rng.choice(["both", "reads", "writes"]))
        count, expected = first_fault(memories, opcode, fields, windows)
        command = build(opcode, fields)
        rows, fault, _ = memories.run(command, windows)
        assert rows == count
        assert (fault and (fault.cause, fault.address, fault.info)) == expected, str(command)


@pytest.mark.parametrize("source_strip", range(4))
@pytest.mark.parametrize("target_strip", range(4))
def test_strips_are_read_and_written_in_turn(memories, source_strip, target_strip):
    """One matrix row: the source is bad from some strip on, the destination likewise."""
    strip = STRIP_WORDS * memories.config.word_bytes
    columns, end = strip, memories.config.sm_bytes
    windows = closed_page(4, 1 << 17, "both")
    source = 4 * 4096 - source_strip * strip - 4
    target = SM + end - target_strip * strip // 4 * 8 - 4
    fields = dma_nd.nd(source, target, 4 * columns, 1, mode=DmaMode.TRANSPOSE, element_log2=2,
                       destination_pitch=8)
    _, fault, _ = memories.run(build(LOAD, fields), windows)
    if source_strip <= target_strip:
        assert (fault.cause, fault.address) == (FaultCause.PROTECTION, 4 * 4096)
    else:
        assert (fault.cause, fault.address) == (FaultCause.BAD_ADDRESS, SM + end + 4)
    assert (0, (fault.cause, fault.address, fault.info)) == first_fault(
        memories, LOAD, fields, windows)


FIELDS = [
    {"row_bytes": 0}, {"row_bytes": 1 << 24}, {"rows": 0}, {"reserved1": 1}, {"mode": 6},
    {"mode": 15}, {"element_log2": 3, "mode": 3}, {"element_log2": 1, "row_bytes": 2},
    {"element_log2": 2, "mode": 3, "row_bytes": 6}, {"reserved2": 1}, {"reserved3": 1},
    *({f"count{n}": 0} for n in range(2, 6)), {"reserved4": 1},
    {"x_limit": 1 << 31, "mode": 2}, {"progress_semaphore": 200}, {"progress_semaphore": 3},
    {"source_high": 1 << 16}, {"destination_high": 1 << 16}, {"index_high": 1 << 16, "mode": 4},
    {"index_low": 2, "mode": 5, "index_limit": 1}]


@pytest.mark.parametrize("opcode", [LOAD, STORE, Opcode.DMA_LOAD, Opcode.DMA_STORE])
def test_fields_are_checked_in_order(memories, opcode):
    """Any two of the bad fields, and each alone."""
    def target(values):
        base = dma_nd.nd(64, SM if opcode in (LOAD, Opcode.DMA_LOAD) else 128, 4)
        return base | values
    closed = Windows(OPEN.gm, OPEN.sm, (4, 5, 1, 1))
    as_dict = {"wait": 1, "signal": 1, "semaphore_first": 4, "semaphore_last": 5}
    tried = 0
    for first in FIELDS:
        for second in FIELDS:
            fields = target(first | second)
            if opcode not in (LOAD, STORE):
                short = dma_nd.full(fields, opcode)
                fields = {name: short[name] for name in list(short)[:short_fields()]}
            expected = dma_nd.field_fault(fields, opcode, memories.config, as_dict)
            rows, fault, _ = memories.run(build(opcode, fields), closed)
            if expected is None:
                assert fault is None
                continue
            tried += 1
            assert rows == 0
            assert {"cause": fault.cause, "address": fault.address, "info": fault.info,
                    "row": fault.row} == expected
    assert tried > 200


def short_fields():
    return [field.name for field in DMA_ND.fields].index("mode")


def test_index_lists_that_cannot_be_read(memories):
    config, half = memories.config, len(memories.gm) // 2

    def run(address, windows=OPEN, rows=8):
        command = build(LOAD, dma_nd.nd(0, SM, 4, rows, index=address, mode=DmaMode.GATHER,
                                        source_pitch=4, destination_pitch=4, index_limit=1 << 31))
        rows, fault, _ = memories.run(command, windows)
        assert fault.row == rows
        return fault.cause, fault.address, fault.info, rows

    memories.gm[:] = memories.sm[:] = 0
    end = len(memories.gm)
    assert run(end - 12) == (FaultCause.BUS_READ, end, 3, 3)
    assert run(2 * half + 4) == (FaultCause.BUS_READ, 2 * half + 4 & -config.bus_bytes, 3, 0)
    assert run(SM + config.sm_bytes - 8) == (FaultCause.BAD_ADDRESS, SM + config.sm_bytes - 8, 0, 0)
    assert run(5 << 44) == (FaultCause.BAD_ADDRESS, 5 << 44, 0, 0)
    page = Windows(((0, 0, 1, 1), (0, 0, 0, 0)), (0, 2, 1, 1), OPEN.semaphores)
    assert run(4096 - 8, page) == (FaultCause.PROTECTION, 4096, 0, 2)
    assert run(SM + 3 * 64 - 16, page) == (FaultCause.PROTECTION, SM + 3 * 64 - 16, 1, 0)
    memories.gm[1000:1004] = [0, 0, 0, 0x80]
    assert run(1000 - 20) == (FaultCause.BAD_INDEX, 1000, 1 << 31, 5)


def test_a_write_beyond_the_memory_names_its_burst(memories):
    end, beats = len(memories.gm), memories.config.burst_beats * memories.config.bus_bytes
    for source, begin, expected in ((0, end - beats - 5, end), (0, end + 2 * beats + 9, None)):
        command = build(STORE, dma_nd.nd(source, begin, 3 * beats))
        _, fault, _ = memories.run(command)
        expected = expected or begin & -memories.config.bus_bytes
        assert (fault.cause, fault.address, fault.info) == (FaultCause.BUS_WRITE, expected, 3)


def test_a_store_waits_for_every_row(memories):
    command = build(STORE, dma_nd.nd(SM, 0, 4, 6, source_pitch=4, destination_pitch=4, count2=2,
                                     progress_semaphore=1, progress_value=100))
    before = memories.gm.copy()
    for ahead in (-1, 0, 10):
        assert memories.run(command, reached=lambda t, ahead=ahead: ahead) == (0, None, True)
    np.testing.assert_array_equal(memories.gm, before)
    assert memories.run(command, reached=lambda t: 11) == (12, None, False)
    outside = build(STORE, dma_nd.nd(SM, len(memories.gm) - 8, 4, 6, source_pitch=4,
                                     destination_pitch=4, progress_semaphore=1))
    assert memories.run(outside, reached=lambda t: 1)[2]
    rows, fault, blocked = memories.run(outside, reached=lambda t: 2)
    assert (rows, fault.cause, fault.row, blocked) == (2, FaultCause.BUS_WRITE, 2, False)


def test_a_fault_shows_within_astronomically_many_rows(memories):
    command = build(LOAD, dma_nd.nd(0, SM, 16, 65535, destination_pitch=16, count2=65535,
                                    count3=65535, count4=65535, count5=65535))
    rows, fault, _ = memories.run(command)
    assert rows == fault.row == memories.config.sm_bytes // 16
    assert (fault.cause, fault.address) == (FaultCause.BAD_ADDRESS, SM + memories.config.sm_bytes)


def test_traffic_counts_global_memory(memories):
    memories.run(build(LOAD, dma_nd.nd(0, SM, 10, 3, source_pitch=16, destination_pitch=16)))
    assert memories.traffic == {"bytes_read": 30, "bytes_written": 0}
    memories.run(build(LOAD, dma_nd.nd(SM + 128, SM, 10, 3)))
    memories.run(build(STORE, dma_nd.nd(0, 4096, 7, mode=DmaMode.FILL)))
    assert memories.traffic == {"bytes_read": 30, "bytes_written": 7}
    memories.run(build(STORE, dma_nd.nd(0, 4096, 8, 4, mode=DmaMode.TRANSPOSE, source_pitch=8,
                                        destination_pitch=4, count2=2, destination_stride2=32)))
    assert memories.traffic == {"bytes_read": 94, "bytes_written": 71}
    memories.run(build(STORE, dma_nd.nd(0, 4096, 8, mode=DmaMode.CLIP, x_start=-3, x_limit=4,
                                        u_limit=1, v_limit=1)))
    assert memories.traffic == {"bytes_read": 98, "bytes_written": 79}


def test_speed():
    """A few hundred rows take about a millisecond, so that long random runs are cheap."""
    memories = Memories(get_config("slice"), 1 << 20)
    command = build(STORE, dma_nd.nd(0, 1 << 19, 100, 20, source_pitch=128, destination_pitch=128,
                                     count2=20, source_stride2=4096, destination_stride2=4096))
    best = 1.0
    for _ in range(20):
        begin = time.perf_counter()
        assert memories.run(command)[0] == 400
        best = min(best, time.perf_counter() - begin)
    assert best < 0.005
