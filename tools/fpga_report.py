"""Area and clock frequency of the hardware's blocks on a Lattice ECP5, with Yosys and nextpnr.

Usage: python tools/fpga_report.py [--config ecp5] [--out FILE] [--seeds N] [BLOCK ...]

Every block is placed and routed alone on the largest device, between registers: its inputs come
from a shift register, its outputs end in registers, and these are not counted. The clock is the
best of ``--seeds`` placements. The results are merged into the JSON file (docs/fpga-ecp5.json),
and the table of ``docs/fpga.md`` is written from it (``--table``: only that).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from amaranth import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from xpu_rtl.build.emit import to_systemverilog
from xpu_rtl.build.platforms import VerilogPlatform
from xpu_rtl.command.processor import CommandProcessor
from xpu_rtl.configs import get_config
from xpu_rtl.dma.engine import DmaEngine
from xpu_rtl.dma.stream import DmaStream
from xpu_rtl.float.unit import FloatUnit
from xpu_rtl.scratchpad.scratchpad import Scratchpad
from xpu_rtl.simd.core import Core
from xpu_rtl.tensor.array import DotArray
from xpu_rtl.tensor.epilogue import Epilogue
from xpu_rtl.tensor.finish import FinishLanes
from xpu_rtl.tensor.unit import TensorUnit
from xpu_rtl.top import Xpu

__all__ = ["BLOCKS", "COLUMNS", "OutOfContext", "render"]

ROOT = Path(__file__).parent.parent

#: Name, constructor, and what the table says of it.
BLOCKS = {
    "scratchpad": (Scratchpad, "scratchpad"),
    "dma": (DmaEngine, "DMA"),
    "stream": (partial(DmaStream, load=True), "of it, one load stream"),
    "tensor": (TensorUnit, "tensor unit"),
    "array": (DotArray, "of it, the array"),
    "epilogue": (Epilogue, "of it, the epilogue"),
    "lanes": (FinishLanes, "of that, the lanes"),
    "processor": (CommandProcessor, "command processor"),
    "core": (Core, "SIMD core, scalar part"),
    "float": (lambda config: FloatUnit(), "of it, the floating-point unit"),
    "xpu": (Xpu, "everything"),
}
#: Key in the JSON file, cell type of nextpnr's report (none: the clock), title.
COLUMNS = (("lut4", "TRELLIS_COMB", "LUT4"), ("ff", "TRELLIS_FF", "FF"),
           ("dp16kd", "DP16KD", "DP16KD"), ("mult18", "MULT18X18D", "MULT18X18D"),
           ("fmax_mhz", None, "MHz"))

_DEVICE = ("--85k", "--package", "CABGA756", "--speed", "6")
_TARGET_MHZ = 100
_TABLE_SOURCE = ROOT / "docs/fpga-ecp5.json"
_BEGIN, _END = "<!-- fpga_report: begin -->\n", "<!-- fpga_report: end -->\n"


class OutOfContext(wiring.Component):
    """A component between registers: no pins to place, every path one of its own.

    Parameters
    ----------
    inner : wiring.Component
        The component to look at.

    Members
    -------
    scan : In(1)
        Into the shift register that drives the inputs of ``inner``.

    Timing
    ------
    Latency: 1 cycle before and after ``inner``.
    Throughput, backpressure: not meant to run.
    Combinational paths: none.
    Reset: that of ``inner``.
    """

    def __init__(self, inner):
        self._inner = inner
        self.register_bits = 0
        super().__init__({"scan": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = self._inner
        previous = self.scan
        self.register_bits = 0
        for path, member, port in inner.signature.flatten(inner):
            value = Value.cast(port)
            name = "__".join(str(part) for part in path)
            if isinstance(value, Const) or not len(value):
                continue
            kept = Signal(len(value), name=f"{name}_pad", reset_less=True, attrs={"keep": 1})
            self.register_bits += len(value)
            if member.flow is In:
                m.d.sync += kept.eq((kept << 1) | previous)
                m.d.comb += value.eq(kept)
                previous = kept[-1]
            else:
                m.d.sync += kept.eq(value)
        return m


def _tool(name, arguments, folder):
    """Run a tool of YoWASP in ``folder``."""
    call = f"import sys, yowasp_{name} as tool; sys.exit(tool.run_{name}(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", call, *arguments], cwd=folder, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\n{name} failed with status {done.returncode}")


def measure(block, config, folder, seeds=1):
    """Return the results of one block; the tools' files stay in ``folder``.

    ``seeds`` placements are tried; the fastest counts.
    """
    wrapped = OutOfContext(BLOCKS[block][0](config))
    platform = VerilogPlatform()
    text = to_systemverilog(wrapped, name="top", platform=platform)
    (folder / f"{block}.sv").write_text(f"{platform.primitives()}\n{text}", encoding="utf-8")
    _tool("yosys", ["-q", "-l", f"{block}.yosys.log", "-p",
                           f"read_verilog -sv {block}.sv; synth_ecp5 -top top -json {block}.json"],
          folder)
    tried = [_place(block, folder, seed) for seed in range(1, seeds + 1)]
    result = max(tried, key=lambda result: result["fmax_mhz"])
    result["ff"] -= wrapped.register_bits
    return result


def _place(block, folder, seed):
    """Place and route what Yosys left in ``folder``; return nextpnr's figures."""
    _tool("nextpnr_ecp5", [
        *_DEVICE, "--json", f"{block}.json", "--report", f"{block}.report.json", "--log",
        f"{block}.nextpnr.{seed}.log", "--quiet", "--freq", str(_TARGET_MHZ), "--timing-allow-fail",
        "--lpf-allow-unconstrained", "--seed", str(seed)], folder)
    report = json.loads((folder / f"{block}.report.json").read_text(encoding="utf-8"))
    [clock] = report["fmax"].values()
    result = {key: report["utilization"].get(cell, {"used": 0})["used"]
              for key, cell, _ in COLUMNS if cell}
    return {**result, "fmax_mhz": round(clock["achieved"], 1)}


def render(entry):
    """Return the table of a JSON file's contents as Markdown."""
    rows = [["block", *(title for _, _, title in COLUMNS)], ["---", *["---:"] * len(COLUMNS)]]
    for block, (_, title) in BLOCKS.items():
        if block in entry["blocks"]:
            result = entry["blocks"][block]
            rows.append([title, *(f"{result[key]:,}" for key, _, _ in COLUMNS)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _load(path, config):
    if not path.exists():
        return {"config": config, "blocks": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def _write_table(entry):
    page = ROOT / "docs/fpga.md"
    before, rest = page.read_text(encoding="utf-8").split(_BEGIN)
    after = rest.split(_END)[1]
    page.write_text(f"{before}{_BEGIN}{render(entry)}{_END}{after}", encoding="utf-8")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("blocks", nargs="*", metavar="BLOCK",
                        help=f"of {', '.join(BLOCKS)} (default: all)")
    parser.add_argument("--config", default="ecp5", help="configuration (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="JSON file to merge into (default: docs/fpga-<config>.json)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER",
                        help="keep the tools' files, timing reports among them, there")
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="placements to try (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="only write the table again")
    args = parser.parse_args(argv)
    unknown = set(args.blocks) - set(BLOCKS)
    if unknown:
        parser.error(f"BLOCK must be one of {', '.join(BLOCKS)}, not {', '.join(sorted(unknown))}")
    out = args.out or _TABLE_SOURCE.with_name(f"fpga-{args.config}.json")
    for block in () if args.table else args.blocks or BLOCKS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = args.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            result = measure(block, get_config(args.config), folder, args.seeds)
        print(block, result, flush=True)
        entry = _load(out, args.config)
        entry["blocks"][block] = result
        out.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    if out == _TABLE_SOURCE:
        _write_table(_load(out, args.config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
