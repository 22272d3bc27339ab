"""The documents: their links lead somewhere, their examples run."""

import re
from pathlib import Path

import pytest

import xpu

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "docs/programming.md", "docs/operators.md",
                                  "docs/debugging.md"])
def test_examples(name, monkeypatch, capsys, tmp_path):
    """On the functional model, which knows the same driver and no time; kernels on the RTL."""
    def open_quickly(config="slice", **_):
        return open_device("tiny") if kernels else open_device(config, platform="model")

    open_device = xpu.open
    monkeypatch.setattr(xpu, "open", open_quickly)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
    assert examples
    for example in examples:
        if "traced" in example:         # a model of its own: tests/sw/test_waves.py
            continue
        kernels = "Kernel" in example or "softmax" in example
        exec(compile(example, name, "exec"), {})
    assert capsys.readouterr().out
