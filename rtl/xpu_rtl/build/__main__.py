"""``python -m xpu_rtl.build``: write the SystemVerilog and the JSON of a configuration."""

import argparse
import sys
from pathlib import Path

from ..configs import CONFIGS
from .verilog import emit, metadata_text

__all__ = ["main", "write"]


def write(config_name, folder):
    """Write ``xpu_<config>.sv`` and ``xpu_<config>.json``; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"sv": emit(config_name), "json": metadata_text(config_name)}
    paths = []
    for suffix, text in texts.items():
        path = folder / f"xpu_{config_name}.{suffix}"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m xpu_rtl.build", description=__doc__)
    parser.add_argument("--config", choices=[*CONFIGS, "all"], default="slice",
                        help="configuration (default: %(default)s)")
    parser.add_argument("--out", default="build", help="folder to write to (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in CONFIGS if args.config == "all" else (args.config,):
        for path in write(name, args.out):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
