"""From a configuration to the shared library of its Verilated model."""

import functools
import itertools
import shutil
from importlib import resources

import xpu_rtl.build.verilog as rtl
from xpu_rtl import get_config

from . import cache, verilate
from .part import Part
from .progress import Progress
from .toolchain import find_toolchain, require_headers

__all__ = ["build_model", "model_for"]

HARNESS = ("harness.cpp", "axi_memory.h", "commit_log.h")

#: Registers and memories start random if the harness asks for it, else zero; nothing here costs
#: time in a cycle.
VERILATOR_FLAGS = ("-O3", "--no-assert", "--x-assign", "fast", "--x-initial", "unique",
                   "--output-split", "12000", "-Wall", "--quiet")
#: Signals that waves show are not split, so that a vector of which one part follows from another
#: looks like a loop; models without waves, and `make check`, hold configurations to having none.
TRACE_FLAGS = ("--trace-fst", "--trace-structs", "-Wno-UNOPTFLAT")
DEFINES = ("-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0",
           "-DVL_USER_FATAL", "-DVL_USER_STOP", "-DVL_USER_FINISH")


def _recipe(toolchain, bus_bytes, cores, traced):
    """Everything besides the SystemVerilog that a model depends on."""
    here = resources.files("xpu.sim")
    harness = {name: (here / name).read_text(encoding="utf-8") for name in HARNESS}
    cores = zip(("XPU_CORES", "XPU_VLEN", "XPU_SIMD_WIDTH"), cores, strict=True)
    defines = (*DEFINES, f"-DXPU_BUS_BYTES={bus_bytes}",
               *(f"-D{name}={value}" for name, value in cores),
               *(f"-D{name}={int(traced)}" for name in ("VM_TRACE", "VM_TRACE_FST")))
    verilator = (*VERILATOR_FLAGS, *(TRACE_FLAGS if traced else ()))
    parts = (*harness.values(), rtl.LINT.read_text(encoding="utf-8"), *verilator,
             *verilate.CXX_FLAGS, *verilate.FAST_FLAGS, *verilate.SLOW_FLAGS, *defines,
             toolchain.compiler_version, toolchain.verilator_version)
    return harness, verilator, defines, parts


def _written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def _cores(config):
    return config.simd_cores, config.vlen, config.simd_width


def build_model(systemverilog, *, name, bus_bytes, parts=(), cores=(0, 0, 0), traced=False,
                quick_key=None):
    """Return the shared library of a design with the ports of ``xpu_rtl.top``.

    Parameters
    ----------
    systemverilog : str
        Text of the design, with a top module ``xpu``.
    name : str
        For messages and ``cache.info``.
    bus_bytes : int
        Bytes of a beat of ``m_axi``.
    parts : sequence of Part
        Modules that the design has instances of. Waves do not show what is in them.
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
    harness, verilator, defines, recipe = _recipe(toolchain, bus_bytes, cores, traced)
    key = cache.key_of(systemverilog, *recipe, *itertools.chain.from_iterable(
        (part.text, part.wrapper, part.bridge) for part in parts))

    def build(target):
        if traced:
            require_headers(toolchain, ("lz4.h", "zlib.h"), "to build a model that can write waves")
        work = target / "verilated"
        (work / "harness").mkdir(parents=True)
        for file, text in harness.items():
            (work / "harness" / file).write_text(text, encoding="utf-8")
        title = f"building the simulator of {name}{' with waves' if traced else ''}"
        with (Progress(title) as progress,
              (target / "build.log").open("w", encoding="utf-8") as log):
            commands = verilate.Commands(log)
            progress.detail = "Verilator"
            units = [verilate.Unit(work / name, name)
                     for name in (rtl.TOP_NAME, *(part.name for part in parts))]
            wrappers = [_written(target / f"{part.name}_wrapper.sv", part.wrapper)
                        for part in parts]
            for unit, text, others in zip(
                    units, (systemverilog, *(part.text for part in parts)),
                    (wrappers, *([] for _ in parts)), strict=True):
                source = _written(target / f"{unit.module}.sv", text)
                unit.verilate(commands, toolchain, verilator, [rtl.LINT, source, *others])
            for unit, part in zip(units[1:], parts, strict=True):
                _written(unit.folder / f"{part.name}_bridge.cpp", part.bridge)
            verilate.compile_units(units, work / "harness" / HARNESS[0],
                                   target / cache.LIBRARY, defines, toolchain, commands, progress)
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
        design = rtl.design(config, gated=True)
    apart = {} if config.simd_cores < 2 else design.shared
    parts = [Part(part, design.text(part), *ports) for part, ports in apart.items()]
    return build_model(design.text(but=apart), parts=parts, name=config.name,
                       bus_bytes=config.bus_bytes, cores=_cores(config), traced=traced,
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
