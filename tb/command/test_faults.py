"""Malformed commands, failing engines and failing fetches: the exact report, every time."""

import cocotb
from cocotb.triggers import ClockCycles

from command.support import BASE, CONFIG, Rig, encode
from common.drive import scaled, until
from support.command_stream import engine_of, random_stream
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import HEADER, Engine, FaultCause, Opcode

LAST = CONFIG.semaphores - 1
GOOD = {"rows": 1, "row_bytes": 4}
MALFORMED = (
    (FaultCause.BAD_OPCODE, 0, [0]),
    (FaultCause.BAD_OPCODE, 0, encode(0xFF, slots=9, reserved0=1, wait0_semaphore=255)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.NOP, slots=0)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.GEMM, slots=1)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.GEMM, slots=3)),
    (FaultCause.BAD_SLOTS, 0, encode(Opcode.DMA_STORE, slots=2, reserved0=4)),
    (FaultCause.BAD_FIELD, HEADER.lsb["reserved0"],
     encode(Opcode.FENCE, reserved0=1 << 16, wait0_semaphore=255)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"], encode(Opcode.GEMM, stream=1, reserved0=1)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"],
     encode(Opcode.DMA_STORE, stream=CONFIG.dma_streams)),
    (FaultCause.BAD_FIELD, HEADER.lsb["stream"], encode(Opcode.DMA_LOAD_ND, stream=3)),
    (FaultCause.BAD_FIELD, HEADER.lsb["reserved0"], encode(Opcode.GEMM, reserved0=1)),
    *((FaultCause.BAD_SEMAPHORE, HEADER.lsb[name], encode(opcode, **{name: value}))
      for opcode in (Opcode.NOP, Opcode.DMA_LOAD, Opcode.GEMM) for name, value in (
          ("wait0_semaphore", LAST + 1), ("wait1_semaphore", 255),
          ("signal0_semaphore", 128), ("signal1_semaphore", LAST + 1))),
)


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def malformed_commands(dut):
    """Earlier commands complete, later ones are not executed; the other ring goes on."""
    rig = await Rig.create(dut, "malformed", stall=0.2, latency=(20, 40))
    for cause, info, slots in MALFORMED:
        await rig.open_ring(0)
        await rig.open_ring(1)
        rig.put(encode(Opcode.DMA_STORE, **GOOD), 1)
        rig.put(encode(Opcode.FENCE, sequence=9), 1)
        for command in (encode(Opcode.GEMM, rows=2), encode(Opcode.DMA_LOAD, **GOOD), slots,
                        encode(Opcode.DMA_LOAD, **GOOD), encode(Opcode.FENCE, sequence=1)):
            rig.put(command)
        await rig.write("irq_enable", 0x100)
        await rig.doorbell(0)
        await until(dut, lambda: int(dut.irq.value), "fault interrupt", cycles=1000)
        assert await rig.fault() == {"cause": cause, "engine": Engine.CONTROL, "index": 2,
                                     "address": 0, "info": info, "row": 0}
        await rig.doorbell(1)
        await rig.idle()
        await ClockCycles(dut.clk, 60)
        assert [(one.index, one.ring) for one in rig.engines["load"].log] == [(1, 0)]
        assert [(one.index, one.ring) for one in rig.engines["tensor"].log] == [(0, 0)]
        assert rig.engines["tensor"].log[0].done is not None
        assert await rig.read("ring_completed") == 0
        assert await rig.read("ring_issued") == 2
        assert await rig.read("ring_completed", 1) == 9
        assert (await rig.fault(1))["cause"] is FaultCause.NONE
        assert await rig.read("status") == {"active": 0, "resetting": 0, "faulted": 1}
        assert await rig.read("irq_status") == {"completion": 0, "fault": 1}
        await rig.reset()


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def fetch_errors(dut):
    """At every beat of a stream: commands before it are executed, the report names the beat."""
    rig = await Rig.create(dut, "fetch", stall=0.2, latency=(1, 10))
    stream = (encode(Opcode.NOP), encode(Opcode.DMA_LOAD, **GOOD), encode(Opcode.GEMM, rows=1),
              encode(Opcode.FENCE, sequence=4), encode(Opcode.DMA_STORE, rows=1))
    index_of = [0, 1, 2, 2, 3, 4]
    engine_of = {1: "load", 2: "tensor", 4: "store"}
    for slot, index in enumerate(index_of):
        for beat in range(CONFIG.slot_beats):
            await rig.open_ring()
            for command in stream:
                rig.put(command)
            address = rig.address(0, slot) + beat * CONFIG.bus_bytes
            rig.memory.faults[:] = [(address, address, "read")]
            await rig.doorbell()
            await rig.idle()
            assert await rig.fault() == {"cause": FaultCause.FETCH, "engine": Engine.CONTROL,
                                         "index": index, "address": address, "info": 2, "row": 0}
            for number, name in engine_of.items():
                assert len(rig.engines[name].log) == (number < index), (slot, beat, name)
            assert await rig.read("ring_completed") == (4 if index > 3 else 0)
            await rig.reset()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def ring_outside_memory(dut):
    """A ring nobody answers for: DECERR; one beyond GM: in no window."""
    rig = await Rig.create(dut, "outside")
    for high, cause, info in ((0xFFF, FaultCause.FETCH, 3),
                              (0x8000_0000, FaultCause.PROTECTION, Space.GM)):
        await rig.open_ring()
        await rig.write("ring_base_high", high)
        rig.tails[0] = 3
        await rig.doorbell()
        await rig.idle()
        address = high << 32 | rig.address(0) & 0xFFFF_FFFF
        assert await rig.fault() == {"cause": cause, "engine": Engine.CONTROL, "index": 0,
                                     "address": address, "info": info, "row": 0}
        await rig.reset_ring()


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def windows(dut):
    """A ring leaves its page: the commands before are executed. A semaphore outside is refused in
    order. The other ring may do what this one may not."""
    rig = await Rig.create(dut, "windows", stall=0.2, latency=(1, 10))
    page = BASE >> 12
    for ring in range(2):
        await rig.open_ring(ring)
    await rig.protect(1, gm0_last=page + 3, semaphore_first=8)
    await rig.protect(0, gm0_first=page, gm0_last=page)
    slot, = encode(Opcode.DMA_LOAD, **GOOD)
    for first in range(56, 64):
        count = 65 - first      # the last slot is in the next page
        at = 64 * first
        rig.memory.data[at:at + 64 * count] = list(slot.to_bytes(64, "little")) * count
        await rig.open_ring(0)
        await rig.write("ring_base_low", BASE + at & 0xFFFF_FFFF)
        rig.tails[0] = count
        rig.put(encode(Opcode.NOP, signal1_semaphore=8, signal1_add=1), 1)
        for ring in range(2):
            await rig.doorbell(ring)
        await rig.idle()
        assert await rig.fault() == {
            "cause": FaultCause.PROTECTION, "engine": Engine.CONTROL, "index": 64 - first,
            "address": BASE + 0x1000, "info": Space.GM, "row": 0}
        assert len([one for one in rig.engines["load"].log if one.done]) == 64 - first
        await rig.reset_ring()
    assert await rig.read("semaphore", 8) == 8
    for name in ("wait0", "wait1", "signal0", "signal1"):
        await rig.open_ring(0)
        await rig.protect(0, semaphore_last=7)
        rig.put(encode(Opcode.GEMM, rows=1, signal0_semaphore=1, signal0_add=1))
        rig.put(encode(Opcode.DMA_STORE, **GOOD, **{f"{name}_semaphore": 8}))
        await rig.doorbell()
        await rig.idle()
        assert await rig.fault() == {
            "cause": FaultCause.PROTECTION, "engine": Engine.CONTROL, "index": 1, "address": 8,
            "info": Space.SEMAPHORE + (16 if name.startswith("signal") else 0), "row": 0}
        await rig.reset_ring()
    assert await rig.read("semaphore", 1) == 4
    assert await rig.read("semaphore", 8) == 8


def failed(engine, index):
    """Condition: a command of ring 0 has ended."""
    return lambda: any(one.done for one in engine.log if (one.ring, one.index) == (0, index))


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def failing_engines(dut):
    """A failing command signals nothing, its ring stops, the other completes; the ring is reset
    and works again."""
    rig = await Rig.create(dut, "engines", stall=0.2, latency=(1, 40), accept_p=0.7)
    rng = rig.rng
    third = CONFIG.semaphores // 3
    for _ in range(scaled(12)):
        streams = [random_stream(rng, CONFIG, 14, semaphores=numbers)
                   for numbers in (range(1, third), range(third, 2 * third),
                                   range(2 * third, CONFIG.semaphores))]
        places = [n for n, command in enumerate(streams[0].commands) if engine_of(*command)]
        if not places:
            continue
        index = rng.choice(places)
        name = engine_of(*streams[0].commands[index])
        report = {"cause": rng.choice((4, 5, 6, 7)), "address": rng.getrandbits(64),
                  "info": rng.getrandbits(32), "row": rng.getrandbits(32)}
        rig.engines[name].faults[0, index] = report
        for engine in rig.engines.values():
            engine.unquiet = rng.randint(0, 60)
        for ring, stream in enumerate(streams[:2]):
            await rig.open_ring(ring)
            for slots in stream.encoded():
                rig.put(slots, ring)
            await rig.doorbell(ring)
        await until(dut, failed(rig.engines[name], index), "the failing command ends")
        await ClockCycles(dut.clk, 400)
        fault = await rig.fault()
        assert fault == {"cause": FaultCause(report["cause"]), "engine": Engine[name.upper()],
                         "index": index, "address": report["address"], "info": report["info"],
                         "row": report["row"]}
        # Nothing that must wait for the failed command or for a fence behind it has begun.
        fence = next((n for n, (opcode, _) in enumerate(streams[0].commands)
                      if opcode is Opcode.FENCE and n > index), 99)
        for engine in rig.engines.values():
            assert all(one.index < fence for one in engine.log if one.ring == 0)
        assert not [one for one in rig.engines[name].log if one.ring == 0 and one.index > index
                    and one.done]
        # The failed command's engine comes back; the other ring does not notice.
        await rig.idle()
        assert rig.engines[name].resets == 1
        streams[1].check(rig.engines, 1)
        assert await rig.read("ring_completed", 1) == streams[1].last_sequence
        assert (await rig.fault(1))["cause"] is FaultCause.NONE
        await rig.reset_ring()
        for slots in streams[2].encoded():
            rig.put(slots)
        await rig.doorbell()
        await rig.idle()
        streams[2].check(rig.engines, 0)
        for stream in streams[1:]:
            for number, total in stream.totals.items():
                assert await rig.read("semaphore", number) == total % (1 << CONFIG.semaphore_width)
        await rig.reset()


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def rings_reset_at_any_time(dut):
    """Ring 0 is reset again and again, stuck or not, and works; ring 1 executes all it has."""
    rig = await Rig.create(dut, "rings", stall=0.3, latency=(1, 60), accept_p=0.7)
    rng, third = rig.rng, CONFIG.semaphores // 3
    other = random_stream(rng, CONFIG, scaled(80), semaphores=range(2 * third, CONFIG.semaphores))
    await rig.open_ring(0)
    await rig.open_ring(1, log2_slots=7)
    waiting = other.encoded()
    for _ in range(scaled(8)):
        for engine in rig.engines.values():
            engine.unquiet = rng.randint(0, 60)
        stream = random_stream(rng, CONFIG, 12, semaphores=range(1, third), fences=False)
        for number, (opcode, fields) in enumerate(stream.commands):
            if engine_of(opcode, fields) and rng.random() < 0.1:
                rig.engines[engine_of(opcode, fields)].stuck.add((0, number))
        for slots in stream.encoded():
            rig.put(slots)
        await rig.doorbell()
        head = await rig.read("ring_head", 1)
        while waiting and (rig.tails[1] - head) % rig.slots[1] < 40 and rng.random() < 0.9:
            for slot in waiting.pop(0):
                rig.put([slot], 1)
        await rig.doorbell(1)
        await ClockCycles(dut.clk, rng.randint(1, 900))
        await rig.reset_ring()
        assert (await rig.fault())["cause"] is FaultCause.NONE
    for slots in waiting:
        await rig.submit([slots], 1)
    last = random_stream(rng, CONFIG, 12, semaphores=range(third, 2 * third))
    for slots in last.encoded():
        rig.put(slots)
    await rig.doorbell()
    await rig.idle()
    last.check(rig.engines, 0)
    other.check(rig.engines, 1)
    assert await rig.read("ring_completed", 1) == other.last_sequence
    assert await rig.read("irq_status") == {"completion": 0, "fault": 0}
    for stream in (last, other):
        for number, total in stream.totals.items():
            assert await rig.read("semaphore", number) == total % (1 << CONFIG.semaphore_width)
