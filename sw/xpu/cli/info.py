"""``python -m xpu info``."""

import json
import platform

import numpy as np

from xpu_rtl import CONFIGS
from xpu_rtl.contract import contract_hash

from .. import __version__
from ..platforms import PlatformError
from ..sim import cache
from ..sim.toolchain import find_toolchain

__all__ = ["HELP", "add_arguments", "run"]

HELP = "print versions, configurations and tools"


def add_arguments(parser):
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")


def _tools():
    try:
        tools = find_toolchain()
    except PlatformError as error:
        return {"verilator": None, "compiler": None, "missing": str(error)}
    return {"verilator": tools.verilator_version, "compiler": tools.compiler_version,
            "missing": None}


def run(args):
    facts = {
        "xpu": __version__, "python": platform.python_version(), "numpy": np.__version__,
        **_tools(), "cache": str(cache.root()),
        "configurations": {
            name: {"int8_macs_per_cycle": config.macs_per_cycle, "sm_bytes": config.sm_bytes,
                   "bus_bits": config.bus_width, "contract": f"{contract_hash(config):#018x}"}
            for name, config in CONFIGS.items()},
    }
    if args.json:
        print(json.dumps(facts))
        return
    configurations = facts.pop("configurations")
    for name, value in facts.items():
        if value is not None:
            print(f"{name:<12}{value}")
    for name, values in configurations.items():
        print(f"{name:<12}{values['int8_macs_per_cycle']} INT8 MACs per cycle, "
              f"{values['sm_bytes'] // 1024} KiB scratchpad, {values['bus_bits']}-bit bus, "
              f"contract {values['contract']}")
