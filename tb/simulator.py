"""From SystemVerilog to a simulator with cocotb in it."""

import hashlib
import os
import shutil
import subprocess

from cocotb_tools import config as cocotb_config

from xpu.sim.toolchain import find_toolchain, require_headers, verilator_environment
from xpu_rtl.build.verilog import LINT

__all__ = ["BuildError", "build_simulator"]

#: cocotb's own runner makes every signal of the design public, which costs a multiple of the build
#: and simulation time; a bench needs the ports of its top module only (``--public-depth 1``).
FLAGS = ("--cc", "--exe", "--vpi", "--public-depth", "1", "--prefix", "Vtop",
         "--timescale", "1ns/1ps", "--assert", "-O3", "--x-assign", "fast", "--x-initial", "unique",
         "--output-split", "12000", "-Wall")
TRACE_FLAGS = ("--trace-fst", "--trace-structs")
#: For ``make``: a bench runs for seconds, so that compiling fast matters more than running fast.
MAKE_FLAGS = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1")


class BuildError(RuntimeError):
    """Verilator or the compiler refused; the message ends with what it said."""


def _hash(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def build_simulator(text, *, top, root, name, waves=False, flags=()):
    """Return the folder with the simulator ``top`` of a design, built unless it is there already.

    Verilator's run-time library, which takes longer to compile than most designs, is compiled once.

    Parameters
    ----------
    text : str
        SystemVerilog with a module ``top``.
    root : pathlib.Path
        Where builds are kept, keyed by text and flags; one per ``name`` and ``waves``.
    name : str
        First part of the folder's name.
    waves : bool
        Able to write an FST.
    flags : tuple of str
        More of them for Verilator.

    Raises
    ------
    BuildError
        A step failed.
    ToolchainError
        Something has to be installed.
    """
    environment, arguments = verilator_environment()
    toolchain = find_toolchain()
    if waves:
        require_headers(toolchain, ["lz4.h", "zlib.h"], "to write waveforms")
    flags = (*FLAGS, *(TRACE_FLAGS if waves else ()), *flags)
    # What the packaged Verilator needs comes as `-MAKEFLAGS "A=b C=d"`.
    make_flags = (*MAKE_FLAGS, *(word for text in arguments[1::2] for word in text.split()))
    recipe = (*flags, *make_flags, LINT.read_text(encoding="utf-8"),
              toolchain.verilator_version, toolchain.compiler_version)
    name = f"{name}-waves" if waves else name
    folder = root / f"{name}-{_hash(text, *recipe)}"
    marker = folder / "built"
    if marker.exists():
        return folder
    for old in root.glob(f"{name}-{'[0-9a-f]' * 12}"):
        shutil.rmtree(old)
    folder.mkdir(parents=True)
    source = folder / f"{top}.sv"
    source.write_text(text, encoding="utf-8")
    libraries = cocotb_config.libs_dir
    main = cocotb_config.share_dir / "lib" / "verilator" / "verilator.cpp"
    runtime = root / f"runtime-{_hash(*recipe)}"      # flags change its definitions
    with (folder / "build.log").open("w+", encoding="utf-8") as log:
        def command(*words):
            result = subprocess.run([str(word) for word in words], env=os.environ | environment,
                                    stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=subprocess.STDOUT)
            if result.returncode:
                log.seek(0)
                tail = "".join(log.readlines()[-30:])
                raise BuildError(f"building {name} failed, see {log.name}:\n{tail}")

        command("verilator", *flags, "--Mdir", folder, "--top-module", top, "-o", top, "-LDFLAGS",
                f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator", main, LINT, source)
        for path in runtime.glob("*.o"):
            shutil.copy(path, folder)
        command("make", "-j", len(os.sched_getaffinity(0)), "-C", folder, "-f", "Vtop.mk",
                *make_flags)
    if not runtime.exists():
        runtime.mkdir()
        for path in folder.glob("verilated*.o"):
            shutil.copy(path, runtime)
    marker.touch()
    return folder
