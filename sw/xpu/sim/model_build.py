"""From a configuration to the shared library of its Verilated model."""

import concurrent.futures
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
from importlib import resources
from pathlib import Path

import xpu_rtl.build.verilog as rtl
from xpu_rtl import get_config

from . import cache
from .progress import Progress
from .toolchain import ToolchainError, find_toolchain, require_headers

__all__ = ["BuildError", "build_model", "model_for"]

HARNESS = ("harness.cpp", "axi_memory.h", "commit_log.h")

#: Registers and memories start random if the harness asks for it, else zero; nothing here costs
#: time in a cycle.
VERILATOR_FLAGS = ("--cc", "--top-module", rtl.TOP_NAME, "--prefix", "Vxpu", "-O3", "--no-assert",
                   "--x-assign", "fast", "--x-initial", "unique", "--output-split", "12000",
                   "-Wall", "--quiet")
TRACE_FLAGS = ("--trace-fst", "--trace-structs")
#: Hidden symbols let the compiler treat the model as if it were not in a shared library.
CXX_FLAGS = ("-std=gnu++20", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-fno-plt",
             "-fno-semantic-interposition", "-w")
FAST_FLAGS = ("-O2",)
SLOW_FLAGS = ("-O1",)     #: for what runs once, such as initialisation
DEFINES = ("-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0",
           "-DVL_USER_FATAL", "-DVL_USER_STOP", "-DVL_USER_FINISH")


class BuildError(ToolchainError):
    """Verilator or the compiler refused; the message ends with what it said."""


class _Commands:
    """Runs programs from several threads, and ends them all when one fails or we are stopped."""

    def __init__(self, log):
        self._log, self._lock = log, threading.Lock()
        self._running, self._stopped = set(), False

    def run(self, command, **kwargs):
        with self._lock:
            if self._stopped:
                return
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       start_new_session=True, **kwargs)
            self._running.add(process)
        try:
            output = process.communicate()[0]
        except BaseException:
            self.stop()
            raise
        with self._lock:
            self._running.discard(process)
            self._log.write(f"$ {' '.join(process.args)}\n{output}")
            self._log.flush()
        if process.returncode and not self._stopped:
            tail = "\n".join(output.splitlines()[-30:])
            raise BuildError(f"{Path(process.args[0]).name} failed with status "
                             f"{process.returncode}:\n{tail}")

    def stop(self):
        with self._lock:
            self._stopped = True
            for process in self._running:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def _runtime_files(folder):
    """Names of the run-time library's files that the model needs, from Verilator's makefile."""
    text = (folder / "Vxpu_classes.mk").read_text(encoding="utf-8")
    text = text.replace("\\\n", " ")
    return [name for kind in ("FAST", "SLOW")
            for match in re.findall(rf"^VM_GLOBAL_{kind} \+=(.*)$", text, re.MULTILINE)
            for name in match.split()]


def _compile(folder, target, flags, toolchain, commands, progress):
    """Compile everything in Verilator's output folder and link the library."""
    common = (*CXX_FLAGS, *flags, f"-I{folder}", f"-I{toolchain.include}",
              f"-I{toolchain.include / 'vltstd'}")
    # One precompiled header per level, under names of their own: GCC takes one of another level for
    # fit, and may crash on it.
    headers = {}
    for level in (FAST_FLAGS, SLOW_FLAGS):
        headers[level] = folder / f"pch{'_'.join(level)}.h"
        headers[level].write_text('#include "Vxpu__pch.h"\n', encoding="utf-8")

    def precompile(level):
        commands.run((toolchain.compiler, *common, *level, "-x", "c++-header", headers[level],
                      "-o", f"{headers[level]}.gch"))

    def compile_model(source, level):
        commands.run((toolchain.compiler, *common, *level, "-include", headers[level], "-c", source,
                      "-o", folder / f"{source.stem}.o"))

    def compile_other(source):
        commands.run((toolchain.compiler, *common, *FAST_FLAGS, "-c", source,
                      "-o", folder / f"{source.stem}.o"))

    model = sorted(folder.glob("*.cpp"), key=lambda path: -path.stat().st_size)
    others = [folder / "harness" / HARNESS[0],
              *(toolchain.include / f"{name}.cpp" for name in _runtime_files(folder))]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for future in [pool.submit(precompile, level) for level in headers]:
                future.result()
            pending = [pool.submit(compile_other, source) for source in others]
            pending += [pool.submit(compile_model, source,
                                    SLOW_FLAGS if "__Slow" in source.name else FAST_FLAGS)
                        for source in model]
            for done, future in enumerate(concurrent.futures.as_completed(pending), 1):
                future.result()
                progress.detail = f"compiled {done} of {len(pending)} files"
        except BaseException:
            commands.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    objects = [folder / f"{source.stem}.o" for source in (*model, *others)]
    libraries = ("-lz", "-llz4") if "-DVM_TRACE_FST=1" in flags else ()
    commands.run((toolchain.compiler, "-shared", *CXX_FLAGS, *FAST_FLAGS, "-Wl,-Bsymbolic",
                  "-Wl,--no-undefined", "-o", target, *objects, "-lpthread", *libraries))


def _recipe(toolchain, bus_bytes, cores, traced):
    """Everything besides the SystemVerilog that a model depends on."""
    here = resources.files("xpu.sim")
    harness = {name: (here / name).read_text(encoding="utf-8") for name in HARNESS}
    cores = zip(("XPU_CORES", "XPU_VLEN", "XPU_SIMD_WIDTH"), cores, strict=True)
    defines = (*DEFINES, f"-DXPU_BUS_BYTES={bus_bytes}",
               *(f"-D{name}={value}" for name, value in cores),
               *(f"-D{name}={int(traced)}" for name in ("VM_TRACE", "VM_TRACE_FST")))
    verilator = (*VERILATOR_FLAGS, *(TRACE_FLAGS if traced else ()))
    parts = (*harness.values(), rtl.LINT.read_text(encoding="utf-8"), *verilator, *CXX_FLAGS,
             *FAST_FLAGS, *SLOW_FLAGS, *defines, toolchain.compiler_version,
             toolchain.verilator_version)
    return harness, verilator, defines, parts


def _cores(config):
    return config.simd_cores, config.vlen, config.simd_width


def build_model(systemverilog, *, name, bus_bytes, cores=(0, 0, 0), traced=False, quick_key=None):
    """Return the shared library of a design with the ports of ``xpu_rtl.top``.

    Parameters
    ----------
    systemverilog : str
        Text of the whole design, with a top module ``xpu``.
    name : str
        For messages and ``cache.info``.
    bus_bytes : int
        Bytes of a beat of ``m_axi``.
    cores : tuple of int
        Number of SIMD cores, which ``obs_cores`` shows, their VLEN and their width in bits.
    traced : bool
        Able to write waves. Slower, and needs compression headers to build.
    quick_key : str
        See ``cache.remember``.

    Raises
    ------
    ToolchainError
        Something has to be installed, or a step failed (``BuildError``).
    """
    toolchain = find_toolchain()
    harness, verilator, defines, parts = _recipe(toolchain, bus_bytes, cores, traced)
    key = cache.key_of(systemverilog, *parts)

    def build(target):
        if traced:
            require_headers(toolchain, ("lz4.h", "zlib.h"), "to build a model that can write waves")
        source, work = target / "xpu.sv", target / "verilated"
        source.write_text(systemverilog, encoding="utf-8")
        (work / "harness").mkdir(parents=True)
        for file, text in harness.items():
            (work / "harness" / file).write_text(text, encoding="utf-8")
        title = f"building the simulator of {name}{' with waves' if traced else ''}"
        with (Progress(title) as progress,
              (target / "build.log").open("w", encoding="utf-8") as log):
            commands = _Commands(log)
            progress.detail = "Verilator"
            commands.run((toolchain.verilator, *verilator, "--Mdir", work, rtl.LINT, source),
                         cwd=target, env=toolchain.environment())
            _compile(work, target / cache.LIBRARY, defines, toolchain, commands, progress)
        shutil.rmtree(work)

    library = cache.lookup(key) or cache.store(key, build, {
        "name": name, "traced": traced, "bus_bytes": bus_bytes,
        "verilator": toolchain.verilator_version, "compiler": toolchain.compiler_version})
    if quick_key:
        cache.remember(quick_key, key)
    return library


@functools.lru_cache(maxsize=32)
def _resolve(config, traced, folder):
    toolchain = find_toolchain()
    quick_key = cache.key_of(rtl.source_digest(config), *_recipe(
        toolchain, config.bus_bytes, _cores(config), traced)[3])
    found = cache.quick_lookup(quick_key)
    if found:
        return found
    with Progress(f"writing the SystemVerilog of {config.name}"):
        text = rtl.emit(config, gated=True)
    return build_model(text, name=config.name, bus_bytes=config.bus_bytes,
                       cores=_cores(config), traced=traced,
                       quick_key=quick_key)


def model_for(config, *, traced=False):
    """Return the shared library of a configuration, from the cache if it is there.

    A hash of the hardware's sources finds a known model without writing any SystemVerilog.
    """
    config = get_config(config)
    library = _resolve(config, traced, cache.root())
    if not library.exists():                    # the cache was cleared in the meantime
        _resolve.cache_clear()
        library = _resolve(config, traced, cache.root())
    return library
