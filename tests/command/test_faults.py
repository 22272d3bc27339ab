"""Malformed commands, failing engines and failing fetches."""

import dataclasses

import pytest

from support.command_faults import fault_of
from support.command_rig import CommandRig, encode
from xpu_rtl.command.formats import GEMM, HEADER, Engine, FaultCause, Opcode
from xpu_rtl.configs import get_config

TINY = get_config("tiny")
WIDE = dataclasses.replace(TINY, lanes=16, sm_bytes=64 * 1024)
GOOD = {"rows": 1, "row_bytes": 4}

MALFORMED = [
    (FaultCause.BAD_OPCODE, 0, [0]),
    (FaultCause.BAD_OPCODE, 0, encode(0xFF)),
    (FaultCause.BAD_OPCODE, 0, encode(0x03, slots=9, reserved0=1, wait0_semaphore=255)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.NOP, slots=0)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.GEMM, slots=1)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.DMA_STORE, slots=2, reserved0=4)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.DMA_LOAD, slots=3)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.DMA_STORE_ND, slots=1, stream=3)),
    (FaultCause.BAD_FIELD, HEADER.lsb["reserved0"],
     encode(Opcode.FENCE, reserved0=1 << 16, wait0_semaphore=16)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"], encode(Opcode.NOP, stream=1, reserved0=1)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"], encode(Opcode.FENCE, stream=2)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"],
     encode(Opcode.GEMM, stream=1, wait0_semaphore=16)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"], encode(Opcode.DMA_LOAD, stream=2)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"], encode(Opcode.DMA_STORE_ND, stream=3)),
    (FaultCause.BAD_FIELD, HEADER.lsb["reserved0"], encode(Opcode.GEMM, reserved0=1)),
    (FaultCause.BAD_SEMAPHORE, HEADER.lsb["wait0_semaphore"],
     encode(Opcode.DMA_LOAD, wait0_semaphore=16, signal1_semaphore=200)),
    (FaultCause.BAD_SEMAPHORE, HEADER.lsb["wait1_semaphore"],
     encode(Opcode.NOP, wait1_semaphore=128, signal0_semaphore=17)),
    (FaultCause.BAD_SEMAPHORE, HEADER.lsb["signal0_semaphore"],
     encode(Opcode.GEMM, signal0_semaphore=255)),
    (FaultCause.BAD_SEMAPHORE, HEADER.lsb["signal1_semaphore"],
     encode(Opcode.DMA_STORE, signal1_semaphore=16)),
]


ONE_STREAM = dataclasses.replace(TINY, dma_streams=1)


@pytest.mark.parametrize("config", [TINY, WIDE], ids=["bus32", "bus128"])
@pytest.mark.parametrize(("cause", "info", "slots"), MALFORMED)
def test_a_malformed_command_stops_its_ring(cause, info, slots, config):
    """Earlier commands complete first; later ones are not executed."""
    async def host(ctx, rig):
        await rig.open_ring(ctx)
        await rig.registers.write(ctx, "irq_enable", 0x0100)
        for command in (encode(Opcode.GEMM, rows=2), encode(Opcode.DMA_LOAD, **GOOD), slots,
                        encode(Opcode.DMA_LOAD, **GOOD), encode(Opcode.FENCE, sequence=1)):
            rig.put(command)
        await rig.doorbell(ctx)
        await rig.until(ctx, lambda: ctx.get(rig.dut.irq), "fault interrupt", limit=600)
        for _ in range(100):
            await ctx.tick()
        assert await fault_of(ctx, rig) == {"cause": cause, "engine": Engine.CONTROL, "index": 2,
                                            "address": 0, "info": info, "row": 0}
        assert len(rig.engines["load"].log) == len(rig.engines["tensor"].log) == 1
        assert rig.engines["tensor"].log[0].done is not None
        read = rig.registers.read
        assert await read(ctx, "ring_completed") == 0
        assert await read(ctx, "ring_issued") == 2
        assert await read(ctx, "ring_head") == 3
        assert await read(ctx, "status") == {"active": 0, "resetting": 0, "faulted": 1}
        assert await read(ctx, "irq_status") == {"completion": 0, "fault": 1}

    CommandRig(config, latency=(20, 40)).run(host)


@pytest.mark.parametrize("engine", ["load", "store", "tensor", "load1", "store1"])
def test_a_failing_engine_stops_the_ring(engine):
    """No signals of the failed command; what other engines began ends; nothing more begins."""
    opcode = {"load": Opcode.DMA_LOAD, "load1": Opcode.DMA_LOAD_ND, "store": Opcode.DMA_STORE,
              "store1": Opcode.DMA_STORE_ND, "tensor": Opcode.GEMM}[engine]
    stream = int(engine.endswith("1"))
    other = "store" if engine == "load" else "load"
    other_opcode = Opcode.DMA_STORE if engine == "load" else Opcode.DMA_LOAD
    report = {"cause": int(FaultCause.BAD_ADDRESS), "address": 0xFEDC_BA98_7654_3210,
              "info": 0x89AB_CDEF, "row": 0x1234_5678 if engine != "tensor" else 0}

    async def host(ctx, rig):
        rig.engines[engine].faults[2] = report
        rig.engines[engine].latency = (30, 30)
        rig.engines[other].latency = (150, 150)
        await rig.open_ring(ctx)
        for command in (encode(opcode, rows=1, stream=stream, signal0_semaphore=1, signal0_add=3),
                        encode(other_opcode, rows=1, signal1_semaphore=2, signal1_add=4),
                        encode(opcode, rows=1, stream=stream, signal0_semaphore=1, signal0_add=30,
                               signal1_semaphore=3, signal1_add=1),
                        encode(other_opcode, rows=1, wait0_semaphore=2, wait0_value=4),
                        encode(Opcode.FENCE, sequence=5), encode(Opcode.NOP)):
            rig.put(command)
        await rig.doorbell(ctx)
        for _ in range(600):
            await ctx.tick()
        assert await fault_of(ctx, rig) == {
            "cause": FaultCause.BAD_ADDRESS, "engine": Engine[engine.upper()], "index": 2,
            "address": report["address"], "info": report["info"], "row": report["row"]}
        read = rig.registers.read
        assert await read(ctx, "semaphore", 1) == 3
        assert await read(ctx, "semaphore", 2) == 4
        assert await read(ctx, "semaphore", 3) == 0
        assert [one.index for one in rig.engines[other].log] == [1]
        assert rig.engines[other].log[0].done is not None
        assert await read(ctx, "ring_completed") == 0
        assert (await read(ctx, "status"))["active"] == 0

    CommandRig(TINY).run(host)


@pytest.mark.parametrize("config", [TINY, WIDE], ids=["bus32", "bus128"])
@pytest.mark.parametrize(("slot", "beat", "index"), [(0, 0, 0), (1, 3, 1), (3, 1, 2), (5, 2, 4)])
def test_a_bus_error_while_fetching(slot, beat, index, config):
    """The address is that of the beat; commands before it are executed."""
    async def host(ctx, rig):
        address = rig.BASE + 64 * slot + config.bus_bytes * beat
        rig.memory.errors[address] = 2
        await rig.open_ring(ctx)
        for command in (encode(Opcode.NOP), encode(Opcode.DMA_LOAD, **GOOD),
                        encode(Opcode.GEMM, rows=1), encode(Opcode.DMA_STORE, rows=1),
                        encode(Opcode.DMA_LOAD, **GOOD), encode(Opcode.FENCE, sequence=1)):
            rig.put(command)
        await rig.doorbell(ctx)
        await rig.until(ctx, lambda: not ctx.get(rig.dut.active), "stop", limit=600)
        assert await fault_of(ctx, rig) == {"cause": FaultCause.FETCH, "engine": Engine.CONTROL,
                                            "index": index, "address": address, "info": 2,
                                            "row": 0}
        assert sum(len(engine.log) for engine in rig.engines.values()) == max(0, index - 1)

    assert GEMM.slots == 2
    CommandRig(config).run(host)


@pytest.mark.parametrize("opcode", [Opcode.DMA_LOAD, Opcode.DMA_STORE, Opcode.DMA_LOAD_ND,
                                    Opcode.DMA_STORE_ND])
def test_a_second_stream_that_does_not_exist(opcode):
    async def host(ctx, rig):
        await rig.open_ring(ctx)
        rig.put(encode(opcode, rows=1))
        rig.put(encode(opcode, rows=1, stream=1))
        await rig.doorbell(ctx)
        await rig.until(ctx, lambda: len(rig.engines["load"].log + rig.engines["store"].log), "run")
        await rig.until_idle(ctx)
        assert await fault_of(ctx, rig) == {
            "cause": FaultCause.BAD_FIELD, "engine": Engine.CONTROL, "index": 1, "address": 0,
            "info": HEADER.lsb["stream"], "row": 0}

    CommandRig(ONE_STREAM).run(host)


def test_a_fault_leaves_the_other_ring_alone():
    config = dataclasses.replace(TINY, rings=2)

    async def host(ctx, rig):
        for ring in range(2):
            await rig.open_ring(ctx, ring, log2_slots=3)
        rig.put(encode(0xEE), 0)
        rig.put(encode(Opcode.DMA_LOAD, **GOOD), 1)
        rig.put(encode(Opcode.FENCE, sequence=9), 1)
        for ring in range(2):
            await rig.doorbell(ctx, ring)
        await rig.until_idle(ctx)
        assert (await fault_of(ctx, rig, 0))["cause"] is FaultCause.BAD_OPCODE
        assert (await fault_of(ctx, rig, 1))["cause"] is FaultCause.NONE
        assert await rig.registers.read(ctx, "ring_completed", 1) == 9
        assert await rig.registers.read(ctx, "irq_status") == {"completion": 0, "fault": 1}

    CommandRig(config).run(host)
