"""Verilator and the C++ compiler, run on the text of a design."""

import concurrent.futures
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

from .toolchain import ToolchainError

__all__ = ["BuildError", "Commands", "Unit", "compile_units"]

#: Hidden symbols let the compiler treat the model as if it were not in a shared library.
CXX_FLAGS = ("-std=gnu++20", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-fno-plt",
             "-fno-semantic-interposition", "-w")
FAST_FLAGS = ("-O2",)
SLOW_FLAGS = ("-O1",)     #: for what runs once, such as initialisation


class BuildError(ToolchainError):
    """Verilator or the compiler refused; the message ends with what it said."""


class Commands:
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


class Unit:
    """A module that Verilator translates by itself: ``folder`` has the C++, of class ``prefix``."""

    def __init__(self, folder, module):
        self.folder, self.module, self.prefix = folder, module, f"V{module}"

    def verilate(self, commands, toolchain, flags, sources):
        """Translate the module, of which ``sources`` is the SystemVerilog."""
        commands.run((toolchain.verilator, "--cc", "--top-module", self.module, "--prefix",
                      self.prefix, *flags, "--Mdir", self.folder, *sources),
                     cwd=self.folder.parent, env=toolchain.environment())

    def runtime_files(self):
        """Names of the run-time library's files it needs, from Verilator's makefile."""
        text = (self.folder / f"{self.prefix}_classes.mk").read_text(encoding="utf-8")
        text = text.replace("\\\n", " ")
        return [name for kind in ("FAST", "SLOW")
                for match in re.findall(rf"^VM_GLOBAL_{kind} \+=(.*)$", text, re.MULTILINE)
                for name in match.split()]

    def sources(self):
        """The C++, with what takes longest first."""
        return sorted(self.folder.glob("*.cpp"), key=lambda path: -path.stat().st_size)


def _levels(unit):
    """A precompiled header per level of optimisation, under names of their own: GCC takes one of
    another level for fit, and may crash on it.
    """
    headers = {}
    for level in (FAST_FLAGS, SLOW_FLAGS):
        headers[level] = unit.folder / f"pch{'_'.join(level)}.h"
        headers[level].write_text(f'#include "{unit.prefix}__pch.h"\n', encoding="utf-8")
    return headers


def compile_units(units, harness, target, flags, toolchain, commands, progress):
    """Compile the C++ of all units and the harness, and link them to the library ``target``.

    Parameters
    ----------
    units : list of Unit
        Verilated; the harness uses the first.
    harness : pathlib.Path
        Its C++ file.
    """
    common = (*CXX_FLAGS, *flags, *(f"-I{unit.folder}" for unit in units),
              f"-I{toolchain.include}", f"-I{toolchain.include / 'vltstd'}")
    headers = {unit.folder: _levels(unit) for unit in units}
    library = dict.fromkeys(name for unit in units for name in unit.runtime_files())

    def precompile(header, level):
        commands.run((toolchain.compiler, *common, *level, "-x", "c++-header", header,
                      "-o", f"{header}.gch"))

    def compile_source(source, target, level, *options):
        commands.run((toolchain.compiler, *common, *level, *options, "-c", source, "-o", target))

    def jobs():
        for source in (harness, *(toolchain.include / f"{name}.cpp" for name in library)):
            yield source, units[0].folder / f"{source.stem}.o", FAST_FLAGS
        for unit in units:
            for source in unit.sources():
                level = SLOW_FLAGS if "__Slow" in source.name else FAST_FLAGS
                yield (source, unit.folder / f"{source.stem}.o", level, "-include",
                       headers[unit.folder][level])

    work = list(jobs())
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for future in [pool.submit(precompile, header, level)
                           for levels in headers.values() for level, header in levels.items()]:
                future.result()
            pending = [pool.submit(compile_source, *job) for job in work]
            for done, future in enumerate(concurrent.futures.as_completed(pending), 1):
                future.result()
                progress.detail = f"compiled {done} of {len(pending)} files"
        except BaseException:
            commands.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    libraries = ("-lz", "-llz4") if "-DVM_TRACE_FST=1" in flags else ()
    commands.run((toolchain.compiler, "-shared", *CXX_FLAGS, *FAST_FLAGS, "-Wl,-Bsymbolic",
                  "-Wl,--no-undefined", "-o", target, *(job[1] for job in work), "-lpthread",
                  *libraries))
