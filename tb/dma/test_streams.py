"""Faults and resets of one stream; the others do not notice."""

import cocotb
from cocotb.triggers import ClockCycles

from common.drive import scaled, until
from dma.commands import SOURCES, VICTIM_SOURCE, Commands, destination
from dma.engine import GOOD
from dma.support import CONFIG, NAMES, Rig, gm, sm
from support.dma_nd import nd
from support.dma_rig import WIDE_OPEN
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import DmaMode, FaultCause

WORD, PAGE, LINE = CONFIG.word_bytes, 4096, 64
HALF = CONFIG.sm_bytes // 2
SLVERR, WRITE = 2, 16


def victim_command(rig, name, space):
    """Four rows, each with a page (GM) or line (SM) of its own on either side; SM destinations
    descend, so that a window can be closed to the later ones of either side alone."""
    load, rng = name.startswith("load"), rig.rng
    target = destination(name).begin
    inside = rng.randrange(LINE - 40 + 1)
    if space is Space.GM:
        source, a = gm(rng.randrange(PAGE - 40)), PAGE
    else:
        source, a = sm(HALF + rng.randrange(LINE - 40 + 1)), LINE
    first, b = (target + 12 * LINE + inside, -LINE) if load else (target + inside, PAGE)
    return nd(source, first, 40, 2, mode=DmaMode.COPY, source_pitch=a, destination_pitch=b,
              count3=2, source_stride3=2 * a, destination_stride3=2 * b, ring=1)


async def one_fails(rig, name, command, report, *, others, commands):
    """The victim runs a command that fails, and one that must not move (after a write error,
    bursts may have begun before the answer); the others run theirs."""
    engine = rig.engines[name]
    fill = nd(0, destination(name).end - 150, 150, mode=DmaMode.FILL,
              fill=rig.rng.getrandbits(32), ring=command.get("ring", 0))
    await commands.issue(others, 2)
    engine.issue([command, fill])
    if report[0] is not FaultCause.BUS_WRITE:
        engine.rows[1] = [], None
    await rig.finish(names=others)
    await until(rig.dut, lambda: engine.reports, f"{name} fails", cycles=8000)
    await ClockCycles(rig.dut.clk, 40)
    assert engine.reports == [report], name
    assert int(engine.quiet.value)


@cocotb.test(timeout_time=6, timeout_unit="ms")
async def windows(dut):
    """A row outside the windows of its ring does not move; those before it do, and the commands of
    the other streams, which are of another ring."""
    rig = await Rig.create(dut, "windows", stall=0.2, rough=0.2, latency=10)
    commands, rng = Commands(rig), rig.rng
    cases = [(name, space, side) for name in NAMES for space in (Space.GM, Space.SM)
             for side in ("read", "write")]
    for name, space, side in rng.sample(cases, min(len(cases), scaled(len(cases)))):
        command = victim_command(rig, name, space)
        rows, _ = rig.engines[name].expand(command)
        number = rng.randrange(len(rows))
        write = side == "write"
        if write:
            space = Space.SM if name.startswith("load") else Space.GM
        place = rows[number]["destination" if write else "source"]
        rig.set_windows(1, sm_first=0, **WIDE_OPEN)
        if space is Space.GM:       # window 0 for this direction, window 1 for the other
            other = "read" if write else "write"
            rig.set_windows(1, gm0_last=place // PAGE - 1, **{f"gm0_{other}": 0, "gm1_first": 0},
                            gm1_last=0xFFFF_FFFF, **{f"gm1_{other}": 1, f"gm1_{side}": 0})
        else:
            line = place % (1 << 44) // LINE
            rig.set_windows(1, **({"sm_first": line + 1} if write else {"sm_last": line - 1}))
        others = [other for other in NAMES if other != name]
        report = FaultCause.PROTECTION, place, space + (WRITE if write else 0), number
        await one_fails(rig, name, command, report, others=others, commands=commands)
        rig.engines[name].rows[0] = rows[:number], None
        await rig.check_memories()
        await rig.restart()
        commands.restart()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def bad_index(dut):
    """An entry that is not below its limit ends the command at its row."""
    rig = await Rig.create(dut, "index", stall=0.2, rough=0.2)
    rng = rig.rng
    for name in NAMES:
        commands = Commands(rig)
        at = commands.lists.pop()
        rows = rng.randint(2, 20)
        entries = [rng.randrange(8) for _ in range(rows)]
        entries[rng.randrange(rows)] = rng.choice((8, 9, 1 << 31, 0xFFFF_FFFF))
        await rig.put_list(at, entries)
        command = nd(rng.choice(SOURCES).begin, destination(name).begin, 7, rows, index=at,
                     index_limit=8, mode=DmaMode.GATHER, source_pitch=29, destination_pitch=11,
                     count2=2, destination_stride2=400)
        _, fault = rig.engines[name].expand(command)
        report = (FaultCause(fault["cause"]), fault["address"], fault["info"], fault["row"])
        assert report[0] is FaultCause.BAD_INDEX
        await one_fails(rig, name, command, report, commands=commands,
                        others=[other for other in NAMES if other != name])
        await rig.check_memories()
        await rig.restart()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def bus_errors(dut):
    """An error met by one stream is reported by this one, and the others do not notice."""
    rig = await Rig.create(dut, "bus-errors", stall=0.2, rough=0.2, latency=10)
    commands, rng = Commands(rig), rig.rng
    for name, kind in [*((name, "read") for name in NAMES),
                       *((name, "write") for name in NAMES if name.startswith("store"))]:
        others = [other for other in NAMES if other != name]
        region, number = destination(name), rng.randrange(4)
        command = nd(gm(VICTIM_SOURCE + rng.randrange(64)), region.begin + rng.randrange(64), 40,
                     2, mode=DmaMode.COPY, source_pitch=90, destination_pitch=130, count2=2,
                     source_stride2=500, destination_stride2=333)
        rows, _ = rig.engines[name].expand(command)
        where = rows[number]["source" if kind == "read" else "destination"] // WORD * WORD
        rig.memory.faults.append((where, where + WORD - 1, kind))
        cause = FaultCause.BUS_READ if kind == "read" else FaultCause.BUS_WRITE
        await one_fails(rig, name, command, (cause, where, SLVERR, number), others=others,
                        commands=commands)
        legal = rig.expected(legal=True)
        found = rig.memory.data.copy(), await rig.scratchpad()
        legal.check_legal(*found)
        if kind == "write":         # of the victim, later bursts may have been written as well
            at = slice(region.begin - gm(0), region.end - gm(0))
            before = rows[:number]
            assert all(found[0][row["destination"] - gm(0) + n] == byte for row in before
                       for n, byte in enumerate(legal.read(row["destination"], row["bytes"])))
            legal.data[Space.GM][at] = found[0][at]
        else:
            rig.engines[name].rows[0] = rows[:number], None
            legal = rig.expected()
        legal.check(*found)
        await rig.restart()
        commands.restart()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def stop_one_stream(dut):
    """It is reset while the others work, and works again before they are done."""
    rig = await Rig.create(dut, "stop-one", stall=0.3, rough=0.3, latency=20)
    commands, rng = Commands(rig), rig.rng
    for name in list(NAMES) * scaled(2):
        others = [other for other in NAMES if other != name]
        await commands.issue(NAMES, 3)
        engine, legal = rig.engines[name], rig.expected(legal=True)
        await ClockCycles(dut.clk, rng.randint(1, 500))
        await rig.stop([name])
        engine.forget()
        region = destination(name)
        rows = min(4, region.size // 1000)
        again = nd(rng.choice(SOURCES).begin + 3, region.begin + 5, 1000, rows, mode=DmaMode.COPY,
                   destination_pitch=1000)
        engine.issue([again])
        await until(dut, lambda engine=engine: engine.reports, f"{name} again", cycles=20_000)
        assert engine.reports == [GOOD]
        await rig.finish(names=others)
        found = rig.memory.data.copy(), await rig.scratchpad()
        legal.move(engine.rows[0][0])
        legal.check_legal(*found)
        exact = rig.expected()
        for data, space in zip(found, (Space.GM, Space.SM), strict=True):
            # Before and behind what the victim copied at last, its stopped commands may show.
            for end in (slice(0, 5), slice(5 + 1000 * rows, region.size)):
                first = region.begin - (sm(0) if engine.load else gm(0))
                at = slice(first + end.start, first + end.stop)
                if (space is Space.SM) == engine.load:
                    exact.data[space][at] = data[at]
        exact.check(*found)
        await rig.restart()
        commands.restart()
