"""``python -m xpu demo``: runs the network on the held-out digits and reports what happened."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np

from xpu_rtl.configs import CONFIGS

from .. import open as open_device
from ..errors import XpuError
from ..platforms import PlatformError
from .data import load_digits
from .network import Network
from .picture import draw
from .run import run_network

__all__ = ["LEAST_ACCURACY", "MOST_LOSS", "add_arguments", "main"]

LEAST_ACCURACY = 0.97    #: of the float network on the held-out images
MOST_LOSS = 0.005        #: of accuracy through INT8

_DEFAULT_OUTPUT = Path("xpu-demo.png")


def add_arguments(parser):
    """Add the demonstration's options to an ``argparse`` parser."""
    parser.add_argument("--platform", choices=("native", "model"), default="native",
                        help="native: the RTL, simulated; model: the NumPy functional model, which "
                             "has no time (default: %(default)s)")
    parser.add_argument("--config", choices=tuple(CONFIGS), default="slice",
                        help="configuration of the hardware (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="PNG",
                        help=f"picture to write (default: {_DEFAULT_OUTPUT})")
    parser.add_argument("--json", action="store_true",
                        help="print one JSON object on standard output, all else on standard error")


def main(args):
    """Run the demonstration.

    Parameters
    ----------
    args : argparse.Namespace
        From a parser with ``add_arguments``.

    Returns
    -------
    int
        0; 1 if it could not run, a bit differs from the NumPy model, or an accuracy is too low.
    """
    begin = time.monotonic()
    try:
        picture = _picture_path(args.output)
        network, digits = Network.load(), load_digits()
        _say(f"{'-'.join(map(str, network.sizes))} network, INT8, {len(digits.test_images)} "
             f"held-out images on platform {args.platform!r}, configuration {args.config!r}",
             args.json)
        with open_device(args.config, platform=args.platform) as device:
            run = run_network(device, network.quantize(), digits.test_images)
        logits = network.activations(digits.test_images)[-1]
        accuracy = float(np.mean(logits.argmax(axis=1) == digits.test_labels))
        accuracy_int8 = float(np.mean(run.predictions == digits.test_labels))
    except (XpuError, PlatformError, OSError, ImportError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    problems = _problems(run, accuracy, accuracy_int8)
    if picture:
        try:
            draw(picture, run, digits.test_images, digits.test_labels, accuracy)
        except (OSError, ImportError, ValueError) as error:
            problems.append(f"no picture: {error}")
            picture = None
    figures = _figures(run, accuracy, accuracy_int8)
    figures |= {"wall_seconds": time.monotonic() - begin,
                "output": str(picture) if picture else None, "ok": not problems}
    if args.json:
        print(json.dumps(figures))
    else:
        _report(figures)
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _say(text, to_stderr):
    print(text, file=sys.stderr if to_stderr else sys.stdout, flush=True)


def _picture_path(output):
    """Return where the picture goes, or ``None`` for nowhere; before minutes are spent."""
    if importlib.util.find_spec("matplotlib") is None:
        message = "the picture needs matplotlib: pip install matplotlib"
        if output is not None:
            raise ModuleNotFoundError(message)
        print(f"demo: no picture; {message}", file=sys.stderr)
        return None
    output = _DEFAULT_OUTPUT if output is None else output
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder of --output does not exist: {output}")
    return output


def _problems(run, accuracy, accuracy_int8):
    problems = []
    if run.differing_bits:
        problems.append(f"{run.differing_bits} bits differ from the NumPy model")
    if accuracy < LEAST_ACCURACY:
        problems.append(f"float accuracy must be at least {LEAST_ACCURACY:.1%}, not "
                        f"{accuracy:.1%}")
    # The margin keeps the rounding of the two quotients out of the comparison.
    if accuracy_int8 < accuracy - MOST_LOSS - 1e-9:
        problems.append(f"INT8 accuracy must be within {100 * MOST_LOSS} points of {accuracy:.1%}, "
                        f"not {accuracy_int8:.1%}")
    return problems


def _figures(run, accuracy, accuracy_int8):
    return {
        "platform": run.platform, "config": run.config, "images": len(run.predictions),
        "accuracy_float": accuracy, "accuracy_int8": accuracy_int8,
        "differing_bits": run.differing_bits, "macs": run.macs, "cycles": run.cycles,
        "utilization": run.utilization, "sim_seconds": run.seconds, "sim_khz": run.sim_khz,
        "layers": [{"shape": "x".join(map(str, layer.shape)), "macs": layer.macs,
                    "cycles": layer.cycles, "utilization": layer.utilization,
                    "differing_bits": layer.differing_bits} for layer in run.layers],
    }


def _report(figures):
    def number(value, pattern):
        return "-" if value is None else format(value, pattern)

    print(f"\n{'layer':<8}{'MxNxK':>14}{'MACs':>13}{'cycles':>10}{'MAC utilisation':>17}"
          f"{'bits differing':>16}")
    total = {"shape": "", **figures}
    for name, row in [*enumerate(figures["layers"], 1), ("all", total)]:
        print(f"{name!s:<8}{row['shape']:>14}{row['macs']:>13,}{number(row['cycles'], ','):>10}"
              f"{number(row['utilization'], '.1%'):>17}{row['differing_bits']:>16}")
    print(f"\naccuracy         float {figures['accuracy_float']:.1%}, "
          f"INT8 on the device {figures['accuracy_int8']:.1%}")
    print(f"NumPy model      {figures['differing_bits']} bits differ, over every layer's output")
    if figures["cycles"] is None:
        print(f"time             none on platform {figures['platform']!r}")
    else:
        print(f"simulated clock  {figures['sim_khz']:.0f} kHz: {figures['cycles']:,} cycles in "
              f"{figures['sim_seconds']:.2f} s")
    print(f"wall time        {figures['wall_seconds']:.1f} s")
    if figures["output"]:
        print(f"picture          {figures['output']}")
