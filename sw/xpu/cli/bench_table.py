"""``python -m xpu bench table``: the measurements kept with the project.

Each file ``docs/results/<name>.json`` holds ``{"command": [...], "result": {...}}``: arguments of
``python -m xpu`` that end in ``--json``, and the object they printed. The table is rendered from
these files alone; ``--run`` measures again first. A file may also hold ``"gemmini_cycles"``, the
peer's figure for the same product. To add a measurement, write a file with its
``command`` and run ``python -m xpu bench table --run <name>``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from ..errors import ArgumentError

__all__ = ["HELP", "add_arguments", "render", "run"]

HELP = "render docs/results.md from docs/results/*.json, measuring again if asked to"

_HEADING = """\
# Results

Written by `python -m xpu bench table` from `docs/results/*.json`; do not edit. Each line is one
command, `python -m xpu` before it and `--json` after it; `python -m xpu bench table --run` measures
them again. Cycles do not depend on the machine, kHz do.

Gemmini's cycles, where given, are of its own RTL in Verilator with the same array (16 x 16), bus
width and memory latency, operands and INT8 results in memory; its commands come from an ideal host
without delay. Ours count from the doorbell, through the command ring in memory, to the completion.
"""

#: By the words their commands begin with: heading, and (key, title, pattern) of the columns.
_SECTIONS = {
    ("bench", "matmul"): ("Matrix products", (
        ("cycles", "cycles", "{:,}"), ("utilization", "MAC utilisation", "{:.2%}"),
        ("bus_utilization", "bus utilisation", "{:.1%}"), ("bytes_read", "bytes read", "{:,}"),
        ("bytes_written", "bytes written", "{:,}"), ("sim_khz", "kHz", "{:.0f}"),
        ("exact", "exact", "{}"), ("gemmini_cycles", "Gemmini cycles", "{:,}"))),
    ("bench", "conv2d"): ("Convolutions", (
        ("cycles", "cycles", "{:,}"), ("utilization", "MAC utilisation", "{:.2%}"),
        ("bus_utilization", "bus utilisation", "{:.1%}"), ("bytes_read", "bytes read", "{:,}"),
        ("bytes_written", "bytes written", "{:,}"), ("sim_khz", "kHz", "{:.0f}"),
        ("exact", "exact", "{}"))),
    ("bench", "dma"): ("DMA", (
        ("bytes", "payload bytes", "{:,}"), ("cycles", "cycles", "{:,}"),
        ("bus_utilization", "bus utilisation", "{:.2%}"),
        ("beat_utilization", "of the beats needed", "{:.2%}"),
        ("total_utilization", "from the doorbell", "{:.1%}"), ("exact", "exact", "{}"))),
    ("bench", "op"): ("Operators of the SIMD cores", (
        ("cycles", "cycles", "{:,}"), ("cycles_per_element", "per element", "{:.3f}"),
        ("bus_utilization", "bus utilisation", "{:.1%}"),
        ("vector_utilization", "vector utilisation", "{:.1%}"),
        ("max_error", "largest error", "{:.1e}"), ("sim_khz", "kHz", "{:.0f}"))),
    ("bench", "launch"): ("Kernels on the SIMD cores", (
        ("first_instruction_cycles", "doorbell to first instruction, cycles", "{:,}"),
        ("first_statement_cycles", "start to first statement", "{:,}"),
        ("cold_cycles", "with an empty instruction cache", "{:,}"),
        ("launch_cycles", "empty launch, doorbell to completion", "{:,}"),
        ("barrier_cycles", "barrier", "{:,}"), ("sim_khz", "kHz, all cores busy", "{:.0f}"),
        ("exact", "exact", "{}"))),
    ("bench", "scratchpad"): ("Scratchpad: a product beside load, store and copy streams", (
        ("cycles_alone", "cycles alone", "{:,}"), ("cycles_beside", "beside traffic", "{:,}"),
        ("lost_cycles", "lost", "{:,}"), *(
            (f"stalls_{name}", f"stalls: {name.replace('_', ' ')}", "{:.2%}") for name in
            ("activation", "weight", "output", "dma_write", "dma_read")))),
}


def add_arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="with --run: only these (file names without .json)")
    parser.add_argument("--results", type=Path, default=Path("docs/results"), metavar="FOLDER",
                        help="where the measurements are (default: %(default)s); the table is "
                             "written beside it")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--run", action="store_true", help="measure again", dest="measure")
    action.add_argument("--check", action="store_true",
                        help="write nothing; fail if the table is stale")


def _load(path):
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        command = entry["command"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArgumentError(f"{path} must hold an object with a command, but: {error!r}") from None
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise ArgumentError(f"{path}: command must be a list of strings, not {command!r}")
    return entry


def _measure(path, entry):
    """Run a measurement's command and store what it printed."""
    print(f"python -m xpu {' '.join(entry['command'])}", file=sys.stderr)
    done = subprocess.run([sys.executable, "-m", "xpu", *entry["command"]],
                          stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ArgumentError(f"{path.name}: the command failed with status {done.returncode}")
    entry["result"] = json.loads(done.stdout)
    _write(path, json.dumps(entry, indent=2) + "\n")


def _write(path, text):
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _command(entry):
    return " ".join(word for word in entry["command"] if word != "--json")


def _cell(pattern, value):
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return "-" if value is None else pattern.format(value)


def _order(item):
    """By the numbers in the command, largest first."""
    words = _command(item[1]).replace("x", " ").split()
    return [-int(word) if word.isdigit() else 0 for word in words], item[0]


def _table(titles, rows):
    """A Markdown table, numbers to the right."""
    return ["| " + " | ".join(row) + " |" for row in
            (titles, ["---", *["---:"] * (len(titles) - 1)], *rows)]


def _areas(blocks):
    """The table of ``docs/fpga-ecp5.json``, which ``tools/fpga_report.py`` measures."""
    titles = {"lut4": "LUT4", "ff": "FF", "dp16kd": "DP16KD", "mult18": "MULT18X18D",
              "fmax_mhz": "MHz"}
    rows = [[f"`{name}`", *(_plain(figures.get(key)) for key in titles)]
            for name, figures in blocks.items()]
    return ["## Area and clock on an ECP5\n",
            ("Each block of the `ecp5` configuration alone between registers, by Yosys and "
             "nextpnr: `tools/fpga_report.py`, [more](fpga.md).\n"),
            *_table(["block", *titles.values()], rows), ""]


def render(entries, blocks=None):
    """Return the tables of ``{name: {"command": ..., "result": ...}}`` as Markdown, and that of the
    areas of ``blocks`` if given."""
    lines = [_HEADING]
    ordered = sorted(entries.items(), key=_order)
    for words, (heading, columns) in _SECTIONS.items():
        rows = []
        for _, entry in ordered:
            if tuple(entry["command"][:2]) == words:
                figures = {**(entry.get("result") or {}), **entry}
                rows.append([f"`{_command(entry)}`", *(_cell(pattern, figures.get(key))
                                                       for key, _, pattern in columns)])
        if rows:
            lines += [f"## {heading}\n",
                      *_table(["command", *(title for _, title, _ in columns)], rows), ""]
    for name, entry in ordered:
        if tuple(entry["command"][:2]) in _SECTIONS:
            continue
        lines += [f"## {name}\n", f"`{_command(entry)}`\n"]
        result = dict(entry.get("result") or {"result": "not measured yet"})
        details = result.pop("table", None)
        lines += [*_table(["figure", "value"],
                          [[key, _plain(value)] for key, value in result.items()
                           if not isinstance(value, list | dict)]), ""]
        if details:
            titles = [title.replace("_", " ") for title in details[0]]
            lines += [*_table(titles, [[_plain(value) for value in row.values()]
                                       for row in details]), ""]
    return "\n".join(lines + (_areas(blocks) if blocks else []))


def _plain(value):
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return _cell("{:,}" if isinstance(value, int) else "{}", value)


def run(args):
    folder = args.results
    if not folder.is_dir():
        raise ArgumentError(f"--results must be a folder of measurements, not {folder}; run this "
                            f"in the project's folder")
    paths = {path.stem: path for path in sorted(folder.glob("*.json"))}
    unknown = [name for name in args.names if name not in paths]
    if unknown:
        raise ArgumentError(f"NAME must be one of {', '.join(paths) or 'none'}, not {unknown[0]}")
    entries = {name: _load(path) for name, path in paths.items()}
    if args.measure:
        for name in args.names or paths:
            _measure(paths[name], entries[name])
    areas = folder.parent / "fpga-ecp5.json"
    blocks = json.loads(areas.read_text(encoding="utf-8"))["blocks"] if areas.exists() else None
    table, target = render(entries, blocks), folder.with_suffix(".md")
    if args.check:
        if not target.exists() or target.read_text(encoding="utf-8") != table:
            print(f"xpu bench: {target} is stale; run python -m xpu bench table", file=sys.stderr)
            return 1
        return 0
    _write(target, table)
    print(target)
    return 0
