"""AXI4-Lite access to a register bank."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from support.axi_lite import AxiLiteManager
from xpu_rtl.common.axi import AxiLite, Resp
from xpu_rtl.csr.axil import AxiLiteTarget, _cover
from xpu_rtl.csr.bank import CsrBank
from xpu_rtl.csr.spec import Access, Field, Register, RegisterBlock


def _field(name, access, lsb=0, width=32, init=0):
    return Field(name=name, lsb=lsb, width=width, access=access, doc="", init=init)


BLOCK = RegisterBlock(name="block", doc="", registers=(
    Register(name="ctrl", offset=0x0, doc="", fields=(
        _field("go", Access.PULSE, 0, 1), _field("mode", Access.RW, 4, 3, init=5))),
    Register(name="events", offset=0x4, doc="", fields=(_field("seen", Access.W1C, 2, 4),)),
    Register(name="mixed", offset=0x8, doc="", fields=(
        _field("now", Access.RO, 0, 8), _field("level", Access.RW, 16, 8))),
    Register(name="table", offset=0x20, doc="", count=3, stride=8,
             fields=(_field("value", Access.RO),)),
    Register(name="values", offset=0x40, doc="", count=4, fields=(_field("value", Access.RW),)),
))


class Device(wiring.Component):
    """Target and two banks: all registers, and element 2 of ``values`` only."""

    def __init__(self):
        super().__init__({"axi": In(AxiLite(BLOCK.addr_width)), "seen_set": In(4), "now": In(8),
                          "go": Out(1), "mode": Out(3), "seen": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.target = target = AxiLiteTarget(BLOCK)
        m.submodules.bank = bank = CsrBank(BLOCK, ("ctrl", "events", "mixed", "table"))
        m.submodules.value = value = CsrBank(BLOCK, ("values",), index=2)
        wiring.connect(m, wiring.flipped(self.axi), target.axi)
        for one in (bank, value):
            m.d.comb += [one.bus.addr.eq(target.bus.addr), one.bus.w_en.eq(target.bus.w_en),
                         one.bus.w_data.eq(target.bus.w_data), one.bus.r_en.eq(target.bus.r_en)]
        m.d.comb += [
            target.bus.r_data.eq(bank.bus.r_data | value.bus.r_data),
            bank.events_seen_set.eq(self.seen_set), bank.mixed_now.eq(self.now),
            self.go.eq(bank.ctrl_go), self.mode.eq(bank.ctrl_mode), self.seen.eq(bank.events_seen),
            *(bank.table_value[n].eq(0x1000 + n) for n in range(3)),
        ]
        return m


def simulate(testbench):
    dut = Device()
    manager = AxiLiteManager(dut.axi, BLOCK)
    sim = Simulator(dut)
    sim.add_clock(1e-9)

    async def bound(ctx):  # the simulator wants an async function
        await testbench(ctx, dut, manager)

    sim.add_testbench(bound)
    sim.run()


@pytest.mark.parametrize(("order", "gap"), [("together", 0), ("address", 0), ("address", 7),
                                            ("data", 0), ("data", 7)])
def test_write_and_read(order, gap):
    async def testbench(ctx, dut, manager):
        assert await manager.read(ctx, "ctrl") == {"go": 0, "mode": 5}
        assert await manager.write_address(ctx, 0x48, 0x89AB_CDEF, order=order, gap=gap) == 0
        assert await manager.read(ctx, "values", 2) == 0x89AB_CDEF
        assert await manager.write_address(ctx, 0x08, 0xFFFF_FFFF, order=order, gap=gap) == 0
        assert await manager.read(ctx, "mixed") == {"now": 0, "level": 0xFF}
        ctx.set(dut.now, 0xA5)
        assert await manager.read(ctx, "mixed") == {"now": 0xA5, "level": 0xFF}
        for n in range(3):
            assert await manager.read(ctx, "table", n) == 0x1000 + n
    simulate(testbench)


def test_elements_not_implemented_read_zero():
    async def testbench(ctx, dut, manager):
        await manager.write(ctx, "values", 7, 1)
        assert await manager.read(ctx, "values", 1) == 0
        assert await manager.read(ctx, "values", 2) == 0
    simulate(testbench)


def test_errors():
    """Unmapped addresses, writes to read-only registers, partial strobes."""
    async def testbench(ctx, dut, manager):
        for address in (0x0C, 0x24, 0x34, 0x50, 0x7C):
            assert await manager.read_address(ctx, address) == (0, Resp.SLVERR)
            assert await manager.write_address(ctx, address, 1) == Resp.SLVERR
        for n in range(3):
            assert await manager.write_address(ctx, 0x20 + 8 * n, 1) == Resp.SLVERR
        assert await manager.write_address(ctx, 0x48, 3) == Resp.OKAY
        for strobe in (0, 1, 0b0111, 0b1110):
            assert await manager.write_address(ctx, 0x48, 0xFF, strobe=strobe) == Resp.SLVERR
        assert await manager.read_address(ctx, 0x48) == (3, Resp.OKAY)
        assert await manager.read_address(ctx, 0x4A) == (3, Resp.OKAY)
    simulate(testbench)


def test_pulse_and_write_one_to_clear():
    async def testbench(ctx, dut, manager):
        await manager.write(ctx, "ctrl", 0x31)
        assert ctx.get(dut.mode) == 3
        assert await manager.read(ctx, "ctrl") == {"go": 0, "mode": 3}
        ctx.set(dut.seen_set, 0b1010)
        await ctx.tick()
        ctx.set(dut.seen_set, 0)
        assert ctx.get(dut.seen) == 0b1010
        await manager.write(ctx, "events", 0b0010 << 2)
        assert await manager.read(ctx, "events") == 0b1000 << 2
        ctx.set(dut.seen_set, 0b1000)       # setting wins over clearing
        await manager.write(ctx, "events", 0b1111 << 2)
        assert await manager.read(ctx, "events") == 0b1000 << 2
    simulate(testbench)


def test_a_pulse_lasts_one_cycle():
    async def testbench(ctx, dut, manager):
        seen = []
        ctx.set(dut.axi.awaddr, 0)
        ctx.set(dut.axi.wdata, 1)
        ctx.set(dut.axi.wstrb, 0xF)
        ctx.set(dut.axi.awvalid, 1)
        ctx.set(dut.axi.wvalid, 1)
        ctx.set(dut.axi.bready, 1)
        await ctx.tick()
        ctx.set(dut.axi.awvalid, 0)
        ctx.set(dut.axi.wvalid, 0)
        for _ in range(12):
            seen.append(ctx.get(dut.go))
            await ctx.tick()
        assert sum(seen) == 1
    simulate(testbench)


def test_latency():
    """The documented cycles from the transfers to the answers."""
    async def testbench(ctx, dut, manager):
        axi = dut.axi
        ctx.set(axi.araddr, 0x48)
        ctx.set(axi.arvalid, 1)
        await ctx.tick()
        ctx.set(axi.arvalid, 0)
        for _ in range(AxiLiteTarget.READ_LATENCY - 1):
            assert not ctx.get(axi.rvalid)
            await ctx.tick()
        assert ctx.get(axi.rvalid)
        ctx.set(axi.rready, 1)
        await ctx.tick()
        ctx.set(axi.wstrb, 0xF)
        ctx.set(axi.awaddr, 0x48)
        ctx.set(axi.awvalid, 1)
        await ctx.tick()
        ctx.set(axi.awvalid, 0)
        ctx.set(axi.wvalid, 1)
        await ctx.tick()
        ctx.set(axi.wvalid, 0)
        for _ in range(AxiLiteTarget.WRITE_LATENCY - 1):
            assert not ctx.get(axi.bvalid)
            await ctx.tick()
        assert ctx.get(axi.bvalid)
    simulate(testbench)


@pytest.mark.parametrize("seed", [0, 1])
def test_random_traffic(seed):
    """Reads and writes at once with stalls on every channel, against a dictionary."""
    rng = random.Random(seed)
    dut = Device()
    writes = [rng.getrandbits(32) for _ in range(60)]
    seen, written = [], []

    async def send(ctx, valid, ready, payload, values):
        for value in values:
            while rng.random() < 0.5:
                await ctx.tick()
            ctx.set(payload, value)
            ctx.set(valid, 1)
            for _ in range(200):
                _, _, taken = await ctx.tick().sample(ready)
                if taken:
                    break
            else:
                raise AssertionError("a channel is stuck")
            ctx.set(valid, 0)

    async def aw(ctx):
        await send(ctx, dut.axi.awvalid, dut.axi.awready, dut.axi.awaddr, [0x48] * len(writes))

    async def w(ctx):
        ctx.set(dut.axi.wstrb, 0xF)
        await send(ctx, dut.axi.wvalid, dut.axi.wready, dut.axi.wdata, writes)

    async def ar(ctx):
        await send(ctx, dut.axi.arvalid, dut.axi.arready, dut.axi.araddr, [0x48] * 60)

    async def answers(ctx, valid, ready, payload, log):
        held = None
        while len(log) < 60:
            accept = rng.random() < 0.4
            ctx.set(ready, accept)
            _, _, offered, value = await ctx.tick().sample(valid, payload)
            assert held is None or (offered and value == held), "an answer was withdrawn"
            held = value if offered and not accept else None
            if offered and accept:
                log.append(value)

    async def b(ctx):
        await answers(ctx, dut.axi.bvalid, dut.axi.bready, dut.axi.bresp, written)

    async def r(ctx):
        await answers(ctx, dut.axi.rvalid, dut.axi.rready, dut.axi.rdata, seen)

    async def limit(ctx):
        for _ in range(5000):
            await ctx.tick()
        raise AssertionError("too slow")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    for one in (aw, w, ar, b, r):
        sim.add_testbench(one)
    sim.add_testbench(limit, background=True)
    sim.run()
    assert written == [Resp.OKAY] * 60
    order = [0, *writes]        # each value read was the newest at its time
    position = 0
    for value in seen:
        position = order.index(value, position)


def test_cover_is_exact():
    rng = random.Random(0)
    for _ in range(20):
        numbers = sorted({rng.randrange(64) for _ in range(rng.randrange(1, 60))})
        patterns = _cover(numbers, 6)
        for number in range(64):
            text = f"{number:06b}"
            hits = [all(p in ("-", t) for p, t in zip(pattern, text, strict=True))
                    for pattern in patterns]
            assert sum(hits) == (number in numbers)
