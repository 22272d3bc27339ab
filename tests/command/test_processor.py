"""The whole command processor with behavioural engines."""

from support.command_rig import CommandRig, encode
from xpu_rtl.command.formats import Opcode
from xpu_rtl.configs import get_config
from xpu_rtl.contract import contract_hash
from xpu_rtl.csr.maps import ID, VERSION


def test_identification():
    async def host(ctx, rig):
        read = rig.registers.read
        assert await read(ctx, "id") == ID
        assert await read(ctx, "version") == VERSION
        low, high = await read(ctx, "contract_low"), await read(ctx, "contract_high")
        assert high << 32 | low == contract_hash("tiny")

    CommandRig(get_config("tiny")).run(host)


def test_a_load_then_a_gemm_then_a_fence():
    """The load signals semaphore 1, for which the product waits."""
    async def host(ctx, rig):
        await rig.open_ring(ctx)
        rig.put(encode(Opcode.DMA_LOAD, source_low=0x1234, row_bytes=7, rows=3,
                       signal0_semaphore=1, signal0_add=5, tag=99))
        rig.put(encode(Opcode.GEMM, rows=8, b_value=0xABCD, wait0_semaphore=1, wait0_value=5))
        rig.put(encode(Opcode.FENCE, sequence=77, interrupt=1))
        await rig.registers.write(ctx, "irq_enable", 0x0001)
        await rig.doorbell(ctx)
        await rig.until(ctx, lambda: ctx.get(rig.dut.irq), "interrupt", limit=500)
        load, = rig.engines["load"].log
        gemm, = rig.engines["tensor"].log
        assert (load.index, load.command["source_low"], load.command["row_bytes"]) == (0, 0x1234, 7)
        assert (gemm.index, gemm.command["rows"], gemm.command["b_value"]) == (1, 8, 0xABCD)
        assert gemm.accepted > load.done
        read = rig.registers.read
        assert await read(ctx, "ring_completed") == 77
        assert await read(ctx, "ring_issued") == 3
        assert await read(ctx, "ring_head") == 4
        assert await read(ctx, "semaphore", 1) == 5
        assert await read(ctx, "status") == {"active": 0, "resetting": 0, "faulted": 0}
        await rig.registers.write(ctx, "irq_status", 1)
        await ctx.tick()
        assert not ctx.get(rig.dut.irq)
        cycles, engines = await rig.counters(ctx)
        assert cycles == rig.active_cycles
        assert all(sum(categories) == cycles for categories in engines)

    CommandRig(get_config("tiny")).run(host)
