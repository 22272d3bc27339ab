"""From SystemVerilog to a simulator with cocotb in it."""

import hashlib
import os
import subprocess

from cocotb_tools import config as cocotb_config

from xpu.sim.toolchain import find_toolchain, require_headers, verilator_environment

__all__ = ["BuildError", "build_simulator"]

#: cocotb's own runner makes every signal of the design public, which costs a multiple of the build
#: and simulation time; a bench needs the ports of its top module only (``--public-depth 1``).
FLAGS = ("--cc", "--exe", "--build", "--build-jobs", "2", "--vpi", "--public-depth", "1",
         "--prefix", "Vtop", "--timescale", "1ns/1ps", "--assert", "-O3", "--x-assign", "fast",
         "--x-initial", "unique", "--output-split", "12000", "-Wno-fatal", "-Wno-lint",
         "-Wno-style", "-MAKEFLAGS", "OPT_FAST=-O1", "-MAKEFLAGS", "OPT_SLOW=-O0",
         "-MAKEFLAGS", "OPT_GLOBAL=-O1")
TRACE_FLAGS = ("--trace-fst", "--trace-structs")


class BuildError(RuntimeError):
    """Verilator or the compiler refused; the message ends with what it said."""


def build_simulator(text, *, top, root, name, waves=False):
    """Return the folder with the simulator ``top`` of a design, built unless it is there already.

    Parameters
    ----------
    text : str
        SystemVerilog with a module ``top``.
    root : pathlib.Path
        Where builds are kept, keyed by text and flags.
    name : str
        First part of the folder's name.
    waves : bool
        Able to write an FST.

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
    flags = (*FLAGS, *(TRACE_FLAGS if waves else ()), *arguments)
    parts = (text, *flags, toolchain.verilator_version, toolchain.compiler_version)
    folder = root / f"{name}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"
    marker = folder / "built"
    if marker.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{top}.sv"
    source.write_text(text, encoding="utf-8")
    libraries = cocotb_config.libs_dir
    command = ["verilator", *flags, "--Mdir", folder, "--top-module", top, "-o", top, "-LDFLAGS",
               f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator",
               cocotb_config.share_dir / "lib" / "verilator" / "verilator.cpp", source]
    with (folder / "build.log").open("w+", encoding="utf-8") as log:
        result = subprocess.run([str(word) for word in command], env=os.environ | environment,
                                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        if result.returncode:
            log.seek(0)
            tail = "".join(log.readlines()[-30:])
            raise BuildError(f"building {name} failed, see {log.name}:\n{tail}")
    marker.touch()
    return folder
