"""Random command streams on two rings; registers, interrupts, counters, views, reset."""

import itertools

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiResp

from command.support import CONFIG, Rig, encode
from common.drive import scaled
from support.command_stream import random_stream
from xpu_rtl.command.engines import view_names
from xpu_rtl.command.formats import Opcode
from xpu_rtl.contract import contract_hash
from xpu_rtl.csr.maps import CLUSTER, ID, VERSION
from xpu_rtl.csr.spec import Access

SEMAPHORES = (range(1, CONFIG.semaphores // 2), range(CONFIG.semaphores // 2, CONFIG.semaphores))


async def play(rig, streams, *, log2_slots=4):
    """Run one stream per ring, fed alternately, and check all there is to check."""
    for ring in range(len(streams)):
        await rig.open_ring(ring, log2_slots=log2_slots)
    chunks = [[slots[n:n + 5] for n in range(0, len(slots), 5)]
              for slots in (stream.encoded() for stream in streams)]
    for step in itertools.zip_longest(*chunks, fillvalue=()):
        for ring, commands in enumerate(step):
            await rig.submit(commands, ring)
    await rig.idle()
    totals = {}
    for ring, stream in enumerate(streams):
        stream.check(rig.engines, ring)
        assert await rig.read("ring_completed", ring) == stream.last_sequence
        assert await rig.read("ring_issued", ring) == len(stream.commands)
        assert await rig.read("ring_head", ring) == rig.tails[ring]
        assert (await rig.read("ring_fault", ring))["cause"] == 0
        totals |= stream.totals
    for number in range(CONFIG.semaphores):
        expected = totals.get(number, 0) % (1 << CONFIG.semaphore_width)
        assert await rig.read("semaphore", number) == expected, number
    cycles, sums = await rig.counters()
    assert cycles == rig.active_cycles
    assert set(sums) == {cycles}


def streams_for(rig, length):
    return [random_stream(rig.rng, CONFIG, length, semaphores=numbers) for numbers in SEMAPHORES]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def fast_engines(dut):
    rig = await Rig.create(dut, "fast", latency=(1, 3))
    await play(rig, streams_for(rig, scaled(60)))


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def slow_engines(dut):
    """Queues fill up; commands wait for semaphores and fences."""
    rig = await Rig.create(dut, "engines", latency=(1, 200), accept_p=0.5)
    await play(rig, streams_for(rig, scaled(40)))


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def slow_memory(dut):
    """Queues run empty."""
    rig = await Rig.create(dut, "memory", stall=0.5, latency=(1, 60), accept_p=0.3)
    await play(rig, streams_for(rig, scaled(40)), log2_slots=3)


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def reset_at_any_time(dut):
    """Reset with reads outstanding and engines at work, then whole streams from scratch."""
    rig = await Rig.create(dut, "reset", stall=0.4, latency=(5, 60))
    rng = rig.rng
    for _ in range(scaled(5)):
        for engine in rig.engines.values():
            engine.unquiet = rng.randint(0, 60)
        for ring, stream in enumerate(streams_for(rig, 20)):
            await rig.open_ring(ring)
            for slots in stream.encoded():
                rig.put(slots, ring)
            await rig.doorbell(ring)
        await ClockCycles(dut.clk, rng.randint(1, 400))
        await rig.reset()
        assert await rig.read("status") == {"active": 0, "resetting": 0, "faulted": 0}
        for ring, name in itertools.product(range(CONFIG.rings), ("head", "tail", "completed",
                                                                  "issued", "fault_index")):
            assert await rig.read(f"ring_{name}", ring) == 0, name
        for number in range(CONFIG.semaphores):
            assert await rig.read("semaphore", number) == 0
    await play(rig, streams_for(rig, 20))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def interrupts(dut):
    """A completion raises the line only for a FENCE that asks, if enabled, until it is cleared."""
    rig = await Rig.create(dut, "interrupts")
    for ring in range(CONFIG.rings):
        await rig.open_ring(ring)

    async def fence(ring, sequence, **fields):
        rig.put(encode(Opcode.FENCE, sequence=sequence, **fields), ring)
        await rig.doorbell(ring)
        await rig.idle()
        assert await rig.read("ring_completed", ring) == sequence

    await fence(0, 0xDEAD_BEEF)
    assert await rig.read("irq_status") == {"completion": 0, "fault": 0}
    await fence(1, 7, interrupt=1)
    assert await rig.read("irq_status") == {"completion": 2, "fault": 0}
    assert not int(dut.irq.value)
    await rig.write("irq_enable", CLUSTER["irq_enable"].pack(completion=1))
    assert not int(dut.irq.value)
    await rig.write("irq_enable", CLUSTER["irq_enable"].pack(completion=2))
    await RisingEdge(dut.clk)
    assert int(dut.irq.value)
    await rig.write("irq_status", CLUSTER["irq_status"].pack(completion=1))
    assert int(dut.irq.value)
    await rig.write("irq_status", CLUSTER["irq_status"].pack(completion=2))
    await RisingEdge(dut.clk)
    assert not int(dut.irq.value)


def addresses():
    """``{offset: (register, index)}`` of everything there is."""
    return {register.address(index): (register, index)
            for register in CLUSTER.registers for index in range(register.count)}


def writable(register):
    return any(field.access is not Access.RO for field in register.fields)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def registers(dut):
    """Every address answers as the map says; read-write bits keep what is written."""
    rig = await Rig.create(dut, "registers")
    rng, known = rig.rng, addresses()
    assert await rig.read("id") == ID
    assert await rig.read("version") == VERSION
    found = await rig.read("contract_high") << 32 | await rig.read("contract_low")
    assert found == contract_hash(CONFIG)
    holes = [offset for offset in range(0, 1 << CLUSTER.addr_width, 4) if offset not in known]
    for offset in rng.sample(holes, 40):
        assert await rig.read_at(offset) == (0, AxiResp.SLVERR), hex(offset)
        assert await rig.write_at(offset, b"\xff" * 4) == AxiResp.SLVERR, hex(offset)
    for offset in rng.sample(sorted(known), 80):
        register, _ = known[offset]
        assert (await rig.read_at(offset))[1] == AxiResp.OKAY, register.name
        if not writable(register):
            assert await rig.write_at(offset, b"\xff" * 4) == AxiResp.SLVERR, register.name
    for name in ("irq_enable", "ring_base_low", "ring_base_high", "ring_size",
                 *(register.name for register in CLUSTER.registers
                   if register.name.startswith("window_"))):
        register = CLUSTER[name]
        exists = register.count if register.count < CONFIG.rings else CONFIG.rings
        mask = sum(field.mask for field in register.fields if field.access is Access.RW)
        if name == "irq_enable":        # rings there are
            mask = register.pack(**{field.name: (1 << CONFIG.rings) - 1
                                    for field in register.fields})
        for index in range(exists):
            value = rng.getrandbits(32)
            if name == "ring_base_low":
                value &= ~63
            assert await rig.write_at(register.address(index),
                                      value.to_bytes(4, "little")) == AxiResp.OKAY
            data, _ = await rig.read_at(register.address(index))
            assert data & mask == value & mask, name
            # A write of some bytes only is refused and changes nothing.
            assert await rig.write_at(register.address(index) + 1, b"\x55") == AxiResp.SLVERR
            assert (await rig.read_at(register.address(index)))[0] == data, name
    assert not int(dut.active.value)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def views(dut):
    """What engines see of the semaphores, one cycle after they ask."""
    rig = await Rig.create(dut, "views")
    await rig.open_ring()
    width, values = CONFIG.semaphore_width, [0] * CONFIG.semaphores
    for _ in range(12):
        number, amount = rig.rng.randrange(1, CONFIG.semaphores), rig.rng.getrandbits(16)
        rig.put(encode(Opcode.NOP, signal0_semaphore=number, signal0_add=amount))
        values[number] += amount
    await rig.doorbell()
    await rig.idle()
    for _ in range(scaled(200)):
        view = rig.rng.choice(view_names(CONFIG))
        number = rig.rng.randrange(CONFIG.semaphores)
        threshold = (values[number] + rig.rng.choice(
            (0, 1, -1, rig.rng.getrandbits(width)))) % (1 << width)
        getattr(dut, f"{view}_semaphore").value = number
        getattr(dut, f"{view}_threshold").value = threshold
        await ClockCycles(dut.clk, 3)
        distance = (values[number] - threshold) % (1 << width)
        expected = number == 0 or distance < 1 << (width - 1)
        assert int(getattr(dut, f"{view}_reached").value) == expected, (number, threshold)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def counters(dut):
    """Bytes and stalls are counted in active cycles, exactly."""
    rig = await Rig.create(dut, "counters", latency=(200, 300))
    rng = rig.rng
    await rig.open_ring()
    rig.put(encode(Opcode.DMA_LOAD, rows=1, row_bytes=4))
    await rig.doorbell()
    total = {"bytes_read": 0, "bytes_written": 0}
    stalls, now, edge = [0] * 8, {}, RisingEdge(dut.clk)
    while rig.active_cycles == 0 or int(dut.active.value):
        await edge
        if now and int(dut.active.value):
            for name in total:
                total[name] += now[name]
            for bit in range(8):
                stalls[bit] += now["sm_waiting"] >> bit & 1
        now = {"bytes_read": rng.getrandbits(16), "bytes_written": rng.getrandbits(16),
               "sm_waiting": rng.getrandbits(8)}
        for name, value in now.items():
            getattr(dut, name).value = value
    for name in now:
        getattr(dut, name).value = 0
    await ClockCycles(dut.clk, 8)
    for name, expected in total.items():
        found = await rig.read(f"{name}_low") + (await rig.read(f"{name}_high") << 32)
        assert found == expected, name
    for bit in range(5):
        assert await rig.read("sm_stalls", bit) == stalls[bit], bit
