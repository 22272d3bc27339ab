"""``python -m xpu elf``."""

import dataclasses
import json

from xpu_rtl import CONFIGS

from ..program import run_elf
from .figures import positive

__all__ = ["HELP", "add_arguments", "run"]

HELP = "run a bare-metal RISC-V program on one core of the simulated hardware"


def add_arguments(parser):
    parser.add_argument("program", metavar="PROG.elf",
                        help="ends by writing its symbol tohost: 1 for pass")
    parser.add_argument("--config", default="tiny", choices=sorted(CONFIGS),
                        help="configuration (default: %(default)s)")
    parser.add_argument("--max-cycles", type=positive, default=1_000_000, metavar="N",
                        help="give up after so many (default: %(default)s)")
    parser.add_argument("--commit-log", metavar="FILE",
                        help="write what retires, as spike --log-commits does")
    parser.add_argument("--memory-latency", type=positive, default=20, metavar="N",
                        help="cycles of global memory (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")


def run(args):
    result = run_elf(args.program, config=args.config, max_cycles=args.max_cycles,
                     commit_log=args.commit_log, memory_latency=args.memory_latency)
    if args.json:
        print(json.dumps(dataclasses.asdict(result)))
    else:
        print(f"{'pass' if result.passed else 'fail'}: {result.reason}; {result.cycles:,} cycles")
    return 0 if result.passed else 1
