"""Source text changed on import: sizes for a proof, and seeded bugs it has to find."""

import importlib.machinery
import sys
from dataclasses import dataclass

__all__ = ["Edit", "install"]


@dataclass(frozen=True)
class Edit:
    """Replace ``old`` by ``new`` in the text of ``module``; ``old`` must occur exactly once."""

    module: str
    old: str
    new: str

    def apply(self, text):
        count = text.count(self.old)
        if count != 1:
            raise ImportError(f"{self.module} has {count} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)


class _Loader(importlib.machinery.SourceFileLoader):
    edits = ()

    def get_code(self, fullname):
        text = self.get_data(self.path).decode()
        for edit in self.edits:
            text = edit.apply(text)
        return compile(text, self.path, "exec")


class _Finder:
    def __init__(self, edits):
        self._edits = edits

    def find_spec(self, name, path=None, target=None):
        edits = [edit for edit in self._edits if edit.module == name]
        if not edits:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        spec.loader.edits = edits
        return spec


def install(edits):
    """Apply ``edits`` to modules imported from now on."""
    late = sorted({edit.module for edit in edits} & set(sys.modules))
    if late:
        raise ImportError(f"imported before their edits: {late}")
    sys.meta_path.insert(0, _Finder(tuple(edits)))
