"""The proofs of tb/formal hold, and find the bugs seeded for them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tb"))

from formal.engine import collect, prove, refute, warm_up
from formal.mutate import Edit
from formal.proof import Mutant

PROOFS = collect()


@pytest.fixture(scope="module", autouse=True)
def _yosys():
    warm_up()


def _slow(condition):
    return [pytest.mark.slow] if condition else []


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=_slow(proof.slow)) for name, (_, proof) in PROOFS.items()])
def test_proof(name, tmp_path):
    module, proof = PROOFS[name]
    result = prove(module, proof, tmp_path)
    assert result.passed, result.log


@pytest.mark.parametrize(("name", "mutant"), [
    pytest.param(name, mutant, id=f"{name}-{mutant.name.replace(' ', '_')}",
                 marks=_slow(proof.slow or mutant.slow))
    for name, (_, proof) in PROOFS.items() for mutant in proof.mutants])
def test_seeded_bug_is_found(name, mutant, tmp_path):
    module, proof = PROOFS[name]
    result = refute(module, proof, mutant, tmp_path)
    assert result.passed, result.log


def test_harmless_edit_is_not_refuted(tmp_path):
    """The search for seeded bugs tells a bug from none, and from an edit that does not apply."""
    module, proof = PROOFS["beat_fifo"]
    source = "xpu_rtl.command.beat_fifo"
    same = Mutant("none", Edit(source, "level != 0", "level > 0"))
    assert not refute(module, proof, same, tmp_path).passed
    for text in ("no such text", "level"):
        result = refute(module, proof, Mutant("broken", Edit(source, text, "")), tmp_path)
        assert not result.passed
        assert "times, not once" in result.log
