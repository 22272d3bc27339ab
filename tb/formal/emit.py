"""Write one proof as RTLIL. In a process of its own, so that edits of the design stay in it.

Usage: python tb/formal/emit.py PROOF_MODULE PROOF [MODULE OLD NEW]

With three more arguments the text OLD of MODULE is NEW.
"""

import importlib
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main(module_name, proof_name, *edit):
    sys.path[:0] = [str(ROOT / "rtl"), str(ROOT / "tb")]
    from formal.mutate import Edit, install
    warnings.simplefilter("error")
    module = importlib.import_module(module_name)
    [proof] = [proof for proof in module.PROOFS if proof.name == proof_name]
    edits = list(proof.edits)
    if edit:
        edits.append(Edit(*edit))
    install(edits)
    bench = getattr(module, proof.build)(**proof.arguments)
    sys.stdout.write(bench.emit())


if __name__ == "__main__":
    main(*sys.argv[1:])
