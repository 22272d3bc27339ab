"""A ``RunSplitter`` in ``amaranth.sim``, and random rows for it."""

import random

from amaranth import Value
from amaranth.sim import Simulator

from support.dma_runs import gm, nd_row, sm
from xpu_rtl.command.types import FaultReport
from xpu_rtl.dma.runs import RunSplitter
from xpu_rtl.dma.stages import STRIP_WORDS, DestinationRun, FormRow, PlaceRun, RunKind, SourceRun

__all__ = ["STREAMS", "Offered", "assert_alike", "assert_fault", "payload", "random_command",
           "run_splitter"]

STREAMS = ("source", "form", "place", "destination")
QUIET = 24      #: cycles without anything offered or accepted that end a run


class Offered(dict):
    """Payloads transferred by stream name, as dictionaries. ``cycles`` of the transfers, likewise;
    ``accepted``: cycles of the rows; ``reports``: of a bad source, destination run, by side."""

    def __init__(self):
        super().__init__({name: [] for name in STREAMS})
        self.cycles = {name: [] for name in STREAMS}
        self.accepted = []
        self.reports = {}


def payload(row):
    """Values of an ``NdRow`` payload, whose pitches are two's complement."""
    return row | {name: row[name] & 0xFFFFFFFF for name in ("source_pitch", "destination_pitch")}


def _fields(layout, bits):
    value = layout.from_bits(bits)
    return {name: value[name] for name, _ in layout}


def run_splitter(config, rows, *, load, windows, row_fault=None, seed=0, valid_p=1.0, ready_p=1.0,
                 stuck=(), timeout=20_000):
    """Offer rows until nothing moves; return what was ``Offered``.

    ``ready_p``: chance per cycle that a stream is ready, or one by stream name; streams in
    ``stuck`` never are. Checks that a stalled stream keeps ``valid`` and ``payload``.
    """
    dut = RunSplitter(config, load=load)
    rng = random.Random(f"runs-{seed}")
    if not isinstance(ready_p, dict):
        ready_p = dict.fromkeys(STREAMS, ready_p)
    layouts = {"source": SourceRun(config), "form": FormRow(config), "place": PlaceRun(config),
               "destination": DestinationRun(config)}
    ports = {name: getattr(dut, name) for name in STREAMS}
    offered = Offered()

    async def bench(ctx):
        for ring, window in enumerate(windows):
            for name, value in window.items():
                ctx.set(dut.windows[ring][name], value)
        ctx.set(dut.row_fault, row_fault or {})
        sampled = [dut.i.ready, Value.cast(dut.source_fault), Value.cast(dut.destination_fault)]
        for port in ports.values():
            sampled += [port.valid, Value.cast(port.payload)]
        stalled, waiting, quiet, offering = {}, list(rows), 0, False
        for cycle in range(timeout):
            if not offering and waiting and rng.random() < valid_p:
                ctx.set(dut.i.payload, payload(waiting[0]))
                offering = True
            ctx.set(dut.i.valid, offering)
            ready = {name: name not in stuck and rng.random() < ready_p[name] for name in STREAMS}
            for name, port in ports.items():
                ctx.set(port.ready, ready[name])
            _, _, i_ready, *values = await ctx.tick().sample(*sampled)
            quiet += 1
            if offering and i_ready:
                offered.accepted.append(cycle)
                waiting.pop(0)
                offering, quiet = False, 0
            if waiting and not offering:
                quiet = 0
            reports = dict(zip(("source", "destination"), values[:2], strict=True))
            for n, name in enumerate(STREAMS):
                valid, bits = values[2 + 2 * n:4 + 2 * n]
                if name in stalled:
                    assert valid, f"{name}.valid fell while stalled"
                    assert bits == stalled.pop(name), f"{name}.payload changed while stalled"
                if not valid:
                    continue
                if not ready[name]:
                    stalled[name] = bits
                    quiet = quiet if name in stuck else 0
                    continue
                quiet = 0
                fields = _fields(layouts[name], bits)
                offered[name].append(fields)
                offered.cycles[name].append(cycle)
                if fields.get("fault") or fields.get("kind") is RunKind.FAULT:
                    offered.reports[name] = _fields(FaultReport(), reports[name])
            if quiet == QUIET:
                return
        raise AssertionError(f"still moving after {timeout} cycles")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    return offered


def assert_alike(offered, plan, *, exact=True):
    """Compare the fields that mean something; after a fault more than the least may be offered."""
    for name in STREAMS:
        expected = getattr(plan, name)
        if exact:
            assert len(offered[name]) == len(expected), name
        assert plan.least[name] <= len(offered[name]) <= len(expected), name
        for n, (actual, wanted) in enumerate(zip(offered[name], expected, strict=False)):
            assert {key: actual[key] for key in wanted} == wanted, f"{name} {n}"


def assert_fault(offered, plan):
    assert_alike(offered, plan, exact=False)
    for side in ("source", "destination"):
        report = offered.reports.get(side)
        if report:
            cause, address, info = getattr(plan, f"{side}_report")
            assert report == {"cause": cause, "address": address, "info": info, "row": 0}


def _place(rng, config, size, *, in_sm):
    """Random address of ``size`` bytes; small sizes also close to the ends of the memory."""
    if in_sm:
        offset = rng.choice((0, config.sm_bytes - size, rng.randrange(config.sm_bytes - size + 1)))
        return sm(offset)
    top = (1 << 44) - size
    return gm(rng.choice((0, top, rng.randrange(1 << 30), rng.randrange(top + 1))))


def _matrix(rng, config, load, source_sm, small):
    width, log2 = config.word_bytes, rng.randrange(3)
    element = 1 << log2
    most = 2 * width if small else 2 * STRIP_WORDS * width
    columns = rng.randint(1, max(1, most // element + 3))
    rows = rng.choice((1, rng.randint(1, width), rng.randint(1, 2 * width + 3)))
    sizes = (columns * element, rows * element)

    def side(size, count, in_sm):
        room = config.sm_bytes if in_sm else 1 << 40
        most = min((1 << 31) - 1, (room - size) // count)
        pitch = rng.choice((size, -size, 0, rng.randint(-most, most), rng.randint(-most, most)))
        pitch = max(-most, min(most, pitch))
        span = size + abs(pitch) * (count - 1)
        base = _place(rng, config, span, in_sm=in_sm)
        return (base - pitch * (count - 1) if pitch < 0 else base), pitch

    source, source_pitch = side(sizes[0], rows, source_sm)
    destination, destination_pitch = side(sizes[1], columns, load)
    return nd_row(source, destination, sizes[0], transpose=1, rows=rows, element_log2=log2,
                  source_pitch=source_pitch, destination_pitch=destination_pitch)


def random_command(rng, config, *, load, index, kinds=("copy", "fill", "clip", "transpose"),
                   small=True, rows=None):
    """Good rows of one random command."""
    width, kind, source_sm = config.word_bytes, rng.choice(kinds), rng.random() < 0.5
    alike = {"ring": rng.randrange(config.rings), "index": index, "semaphore": rng.randrange(256),
             "fill": rng.getrandbits(32)}
    command = []
    for _ in range(rows or rng.randint(1, 5 if kind != "transpose" else 2)):
        if kind == "transpose":
            command.append(_matrix(rng, config, load, source_sm, small) | alike)
            continue
        size = rng.choice((1, rng.randint(1, width), rng.randint(1, 4 * width),
                           rng.randint(1, config.sm_bytes // 2)))
        destination = _place(rng, config, size, in_sm=load)
        copied = {"copy": size, "fill": 0, "clip": rng.choice((0, 1, rng.randint(0, size)))}[kind]
        left = size if copied == 0 else rng.choice((0, size - copied,
                                                    rng.randint(0, size - copied)))
        source = _place(rng, config, max(copied, 1), in_sm=source_sm) - left
        command.append(nd_row(source, destination, size, left=left, copied=copied) | alike)
    for n, row in enumerate(command):
        row["first"], row["last"] = int(n == 0), int(n == len(command) - 1)
    return command
