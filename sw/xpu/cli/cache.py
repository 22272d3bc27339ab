"""``python -m xpu cache``."""

import json

from ..sim import cache

__all__ = ["HELP", "add_arguments", "run"]

HELP = "show or clear the built simulators"


def add_arguments(parser):
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("info", help="list the built simulators")
    show.add_argument("--json", action="store_true", help="print one JSON object on one line")
    actions.add_parser("clear", help="remove them")


def run(args):
    if args.action == "clear":
        print(f"{_size(cache.clear())} freed in {cache.root()}")
        return
    facts = cache.info()
    if args.json:
        print(json.dumps(facts))
        return
    print(f"{facts['path']}: {_size(facts['bytes'])}")
    for model in facts["models"]:
        print(f"  {model['key'][:12]}  {_size(model['bytes']):>10}  {_kind(model)}")


def _kind(model):
    return f"{model.get('name', '')}{' with waves' if model.get('traced') else ''}"


def _size(number):
    return f"{number / 2 ** 20:.1f} MiB"
