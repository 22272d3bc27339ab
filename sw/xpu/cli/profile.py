"""``python -m xpu profile``: where the cycles of a script's operators go."""

import json
import runpy
import sys
from collections import defaultdict
from pathlib import Path

from .. import opening
from ..errors import ArgumentError
from ..recorder import Recorder

__all__ = ["HELP", "add_arguments", "run", "sentence"]

HELP = "run a script, and show what its operators on the device spent their cycles on"
_STALLS = ("semaphore", "memory", "bank_conflict", "output")
_REASONS = {"semaphore": "waited for other engines", "memory": "waited for memory",
            "bank_conflict": "waited for a scratchpad bank", "output": "waited for its output side",
            "idle": "had no command"}


def add_arguments(parser):
    parser.add_argument("script", type=Path, metavar="SCRIPT.py",
                        help="its devices are those that xpu.open gives it")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="for the script")
    parser.add_argument("--output", type=Path, default=Path("build/profile"), metavar="FOLDER",
                        help="for trace.json and roofline.svg (default: %(default)s)")


def run(args):
    if not args.script.is_file():
        raise ArgumentError(f"SCRIPT.py must be a file, not {args.script}")
    records = []
    sessions = _run(args.script, args.arguments, records)
    if not records:
        print(f"xpu profile: {args.script} has opened no device with time", file=sys.stderr)
        return 1
    args.output.mkdir(parents=True, exist_ok=True)
    trace, roofline = args.output / "trace.json", args.output / "roofline.svg"
    trace.write_text(json.dumps(_trace(records)), encoding="utf-8")
    _roofline(roofline, records)
    for config, operations in records:
        print(_table(config, operations))
        for record in _largest(operations):
            print(f"- {sentence(record)}")
    print(f"{trace} (for ui.perfetto.dev or chrome://tracing), {roofline}")
    return sessions


def _run(script, arguments, records):
    """Run a script with a recorder on each device it opens; fill ``records`` with
    (configuration, operations). Returns the script's exit status."""
    recorders = []

    def opened(device):
        if device.platform.timed:
            recorders.append((device, Recorder(device)))
            close = device.close

            def finish_and_close():
                if not device.closed and recorders and not device._work.faulted:
                    _finish(device, recorders, records)
                close()
            device.close = finish_and_close

    opening.observers.append(opened)
    before, status = (sys.argv, list(sys.path)), 0
    try:
        sys.argv, sys.path[:0] = [str(script), *arguments], [str(script.parent)]
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.argv, sys.path[:] = before
        opening.observers.remove(opened)
    for device, _ in list(recorders):
        if not device.closed:
            device.close()
    return status


def _finish(device, recorders, records):
    for entry in [entry for entry in recorders if entry[0] is device]:
        recorders.remove(entry)
        operations = entry[1].finish()
        if operations:
            records.append((device.config, operations))


# Words -------------------------------------------------------------------------------------------
def _largest(operations, most=10):
    """The operations that took longest, one of each name."""
    longest = {}
    for record in sorted(operations, key=lambda one: -one.cycles):
        longest.setdefault(record.name, record)
    return list(longest.values())[:most]


def sentence(record):
    """One sentence on what limits an operation."""
    engine, share = record.busiest
    counts = record.activity[engine]
    cause = max((*_STALLS, "idle"), key=lambda name: counts[name])
    parts = [f"busy in {share:.0%} of them"]
    if record.macs and engine == "tensor":
        peak = record.macs / record.peak / max(record.cycles, 1)
        parts.append(f"{peak:.0%} of its peak")
    waited = counts[cause] / max(record.cycles, 1)
    if waited >= 0.01:
        parts.append(f"which {_REASONS[cause]} in {waited:.0%}")
    verdict = "bound by" if share >= 0.8 else "no engine is always busy; most is"
    return f"{record.name}: {record.cycles:,} cycles, {verdict} {engine}, {', '.join(parts)}."


def _table(config, operations):
    """Operations by name, with their cycles and the busy share of each engine."""
    groups = defaultdict(list)
    for record in operations:
        groups[record.name].append(record)
    engines = list(operations[0].activity)
    titles = ["operation", "times", "cycles", "MAC util.", "bytes", *(f"{name} busy" for name in
                                                                     engines), "waits", "bound by"]
    rows = []
    for name, group in sorted(groups.items(), key=lambda item: -sum(
            record.cycles for record in item[1])):
        cycles = sum(record.cycles for record in group)
        busy = {engine: sum(record.activity[engine]["busy"] for record in group)
                for engine in engines}
        top = max(busy, key=busy.get)
        waits = {cause: sum(record.activity[top][cause] for record in group) for cause in _STALLS}
        cause = max(waits, key=waits.get)
        work = sum(record.macs / record.peak for record in group if record.macs)
        rows.append([
            name if len(name) < 49 else name[:46] + "...", str(len(group)), f"{cycles:,}",
            f"{work / cycles:.0%}" if work else "-", f"{sum(record.bytes for record in group):,}",
            *(f"{busy[engine] / cycles:.0%}" for engine in engines),
            f"{cause} {waits[cause] / cycles:.0%}", top])
    total = sum(record.cycles for record in operations)
    span = operations[-1].end - operations[0].begin
    widths = [max(len(row[n]) for row in (titles, *rows)) for n in range(len(titles))]
    lines = ["  ".join(cell.ljust(width) if n == 0 else cell.rjust(width)
                       for n, (cell, width) in enumerate(zip(row, widths, strict=True)))
             for row in (titles, *rows)]
    heading = (f"{config.name}: {len(operations)} operations, {total:,} cycles of {span:,} from "
               "the first to the last")
    return "\n".join([heading, *lines, ""])


# Files -------------------------------------------------------------------------------------------
def _trace(records):
    """Chrome's trace format: a process per device, a thread per engine, and one for operations."""
    events = []
    for process, (config, operations) in enumerate(records):
        lanes = ["operations", *operations[0].activity]
        events.append({"ph": "M", "pid": process, "name": "process_name",
                       "args": {"name": f"xpu {config.name}, 1 us is a cycle"}})
        events += [{"ph": "M", "pid": process, "tid": n, "name": "thread_name",
                    "args": {"name": lane}} for n, lane in enumerate(lanes)]
        for record in operations:
            arguments = {"cycles": record.cycles, "macs": record.macs, "bytes": record.bytes}
            spans = [("operations", record.begin, record.end), *record.commands]
            events += [{"ph": "X", "pid": process, "tid": lanes.index(engine), "ts": begin,
                        "dur": end - begin, "name": record.name, "args": arguments}
                       for engine, begin, end in spans]
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _roofline(path, records):
    """Multiply-accumulates per cycle over multiply-accumulates per byte, with the two limits."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    points = [(record.macs / record.bytes, record.macs / record.cycles, record)
              for _, operations in records for record in _largest(operations, 30) if record.macs]
    config = records[0][0]
    peak = config.lanes * config.word_bytes
    low = min([x for x, _, _ in points] + [1]) / 4
    high = max([x for x, _, _ in points] + [peak / config.bus_bytes]) * 4
    knee = peak / (2 * config.bus_bytes)        # reads and writes together
    axes.plot([low, knee, high], [low * 2 * config.bus_bytes, peak, peak], color="#1c2430",
              label=f"{peak} MAC per cycle; bus {config.bus_bytes} bytes per cycle each way")
    for x, y, record in points:
        axes.plot(x, y, "o", label=record.name)
    axes.set(xscale="log", yscale="log", xlabel="multiply-accumulates per byte of the tensors",
             ylabel="multiply-accumulates per cycle", title=f"Roofline of {config.name}")
    axes.grid(visible=True, which="both", color="#d5dae1", linewidth=0.5)
    axes.legend(fontsize=7)
    figure.savefig(path, format="svg", metadata={"Date": None})
