"""Kernels: C functions that run on the SIMD cores."""

import struct
import sys
from pathlib import Path

import numpy as np

from xpu_rtl.address_map import CORE_GM_LSB
from xpu_rtl.command.formats import Opcode

from .commands import Command
from .compiler import compile_kernel, link_kernel
from .elf import Elf
from .errors import ArgumentError, DTypeError
from .tensor import DTYPES, Tensor

__all__ = ["WINDOW", "Kernel", "launch", "launch_command"]

#: What a kernel sees of GM begins here; below is the core's own.
WINDOW = 1 << CORE_GM_LSB

_INTEGERS = {"char": "uint8", "signed char": "int8", "unsigned char": "uint8", "short": "int16",
             "unsigned short": "uint16", "int": "int32", "unsigned int": "uint32", "long": "int32",
             "unsigned long": "uint32", "_Bool": "bool", "bool": "bool", "long long": "int64",
             "unsigned long long": "uint64"}
_INTEGERS |= {f"{name}_t": name for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32",
                                              "int64", "uint64")} | {"size_t": "uint32"}
_TYPES = _INTEGERS | {"float": "float32", "_Float16": "float16", "__bf16": "bfloat16"}
_VLEN = 128             #: for which kernels are compiled first
_ARGUMENTS = 16         #: most of a kernel
_STACK_BYTES = 2048     #: of LM, at least
_PRINT_BYTES = 8192     #: what a core can print in a launch, and a word


class Kernel:
    """A kernel, compiled. Made by ``from_source`` or ``from_file``.

    Attributes
    ----------
    name : str
        Of the function.
    parameters : list of Parameter
        Names and types.
    """

    def __init__(self, name, build):
        self.name, self._build = name, build
        self._objects = {}      # by length of the vectors
        self._objects[_VLEN], self.parameters = build(_VLEN)
        parameters = self.parameters
        for one in parameters:
            if not one.pointer and _TYPES.get(one.type, "int64") in ("int64", "uint64",
                                                                     "bfloat16"):
                raise ArgumentError(f"parameter {one.name!r} of kernel {name!r} has type "
                                    f"{one.type}; pointers, integers of up to 32 bits, float and "
                                    "_Float16 can be passed")
        if len(parameters) > _ARGUMENTS:
            raise ArgumentError(f"kernel {name!r} has {len(parameters)} parameters; "
                                f"{_ARGUMENTS} are possible")

    @classmethod
    def from_source(cls, source, name, *, path=None, include=(), flags=()):
        """Compile the ``__global__`` function ``name`` of a text in C (or C++, if ``path`` ends
        in something else than ``.c``), with further ``flags`` of clang. Raises ``CompileError``
        with file and line."""
        return cls(name, lambda vlen: compile_kernel(source, name, path=path, include=include,
                                                     vlen=vlen, flags=flags))

    @classmethod
    def from_file(cls, path, name, *, include=()):
        """Compile the ``__global__`` function ``name`` of a file."""
        return cls.from_source(Path(path).read_text(encoding="utf-8"), name, path=path,
                               include=include)

    def __repr__(self):
        types = ", ".join(f"{one.type} {one.name}" for one in self.parameters)
        return f"Kernel({self.name}({types}))"

    def link(self, address, config):
        """Return the ``Elf`` for an address in GM and a configuration."""
        vlen = config.vlen if config.vector else 0
        if vlen not in self._objects:
            self._objects[vlen] = self._build(vlen)[0]
        return Elf(link_kernel(self._objects[vlen], address + WINDOW, config.lm_bytes))


class LoadedKernel:
    """A kernel in a device's memory."""

    def __init__(self, device, kernel):
        lm_bytes = device.config.lm_bytes
        length = kernel.link(0, device.config).end - WINDOW
        self.memory = device.empty((length + 64,), np.uint8)
        address = (self.memory.address + 63) & -64
        self.elf = kernel.link(address, device.config)
        used = self.elf.symbols["__lm_used"]
        if used > lm_bytes - _STACK_BYTES:
            raise ArgumentError(f"kernel {kernel.name!r} has {used} bytes of __local__ data; "
                                f"{lm_bytes - _STACK_BYTES} of the {lm_bytes} bytes of local "
                                "memory are possible, the rest is stack")
        if self.elf.symbols["__sm_used"] > device.config.sm_bytes:
            raise ArgumentError(f"kernel {kernel.name!r} has {self.elf.symbols['__sm_used']} bytes "
                                f"of __shared__ data; the scratchpad has {device.config.sm_bytes}")
        device.platform.write_memory(address, self.elf.image(address + WINDOW))
        self.fresh = True       # no core has seen it yet
        self._printed = None
        if "xpu_print" in self.elf.symbols:
            cores = device.config.simd_cores
            self._printed = device.tensor(np.zeros((cores, _PRINT_BYTES), np.uint8))
            device.platform.write_memory(
                self.elf.symbols["xpu_print"] - WINDOW,
                struct.pack("<II", self._printed.address + WINDOW, _PRINT_BYTES))

    @property
    def prints(self):
        return self._printed is not None

    def show(self, device):
        """Write what the cores have printed to standard output, and forget it."""
        for n, part in enumerate(device.platform.read_memory(
                self._printed.address, self._printed.nbytes).reshape(-1, _PRINT_BYTES)):
            used = int(part[:4].view(np.uint32)[0])
            sys.stdout.write(bytes(part[4:4 + used]).decode(errors="replace"))
            if used > _PRINT_BYTES - 4:
                sys.stdout.write(f"\n[core {n}: {used - _PRINT_BYTES + 4} characters more]\n")
        device.platform.write_memory(self._printed.address,
                                     np.zeros(self._printed.nbytes, np.uint8))

    def where(self, pc):
        """Return function and offset of an address, or ``None``."""
        if not self.elf.entry <= pc < self.elf.end:
            return None
        below = {name: value for name, value in self.elf.symbols.items()
                 if value <= pc and not name.startswith((".", "$"))}
        name = max(below, key=below.get)
        return f"{name}+{pc - below[name]:#x}"


def _scalar(kernel, one, value):
    """The word of a number."""
    dtype = DTYPES[_TYPES[one.type]]
    if isinstance(value, Tensor) or np.ndim(value) or isinstance(value, str | bytes):
        raise DTypeError(f"argument {one.name!r} of kernel {kernel.name!r} must be a number for "
                         f"{one.type}, not {type(value).__name__}")
    if dtype.kind in "iub":
        if isinstance(value, float | np.floating):
            raise DTypeError(f"argument {one.name!r} of kernel {kernel.name!r} must be an integer "
                             f"for {one.type}, not {value!r}")
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if not low <= int(value) <= high:
            raise ArgumentError(f"argument {one.name!r} of kernel {kernel.name!r} must lie in "
                                f"[{low}, {high}] for {one.type}, not {value}")
        return int(value) & 0xFFFF_FFFF
    if dtype == np.float16:
        return int(np.float16(value).view(np.uint16))
    return struct.unpack("<I", struct.pack("<f", float(value)))[0]


def _array(device, kernel, one, value):
    """The tensor of an array or tensor."""
    if not isinstance(value, Tensor | np.ndarray):
        raise DTypeError(f"argument {one.name!r} of kernel {kernel.name!r} must be a tensor or an "
                         f"array for {one.type}, not {type(value).__name__}")
    expected = _TYPES.get(one.target)
    if one.target != "void" and value.dtype.name != expected:
        raise DTypeError(f"argument {one.name!r} of kernel {kernel.name!r} must have elements "
                         f"{expected or one.target} for {one.type}, not {value.dtype.name}")
    if isinstance(value, np.ndarray):
        if not one.constant and not (value.flags.c_contiguous and value.flags.writeable):
            raise ArgumentError(f"argument {one.name!r} of kernel {kernel.name!r} is written to: "
                                "the array must be contiguous and writeable")
        return device.tensor(value)
    if value.device is not device:
        raise ArgumentError(f"argument {one.name!r} of kernel {kernel.name!r} is a tensor of "
                            "another device")
    return value


def launch_command(loaded, argument, cores, **fields):
    """Return the LAUNCH of a loaded kernel whose arguments lie at an address of the cores, and take
    note of it."""
    window = (1 << 64) - WINDOW
    command = Command(Opcode.LAUNCH, entry=loaded.elf.entry, cores=cores, window=window,
                      argument=argument + window & (1 << 64) - 1,
                      invalidate=int(loaded.fresh), **{"clusters": 1} | fields)
    loaded.fresh = False
    return command


def launch(device, loaded, kernel, args, clusters, cores):
    """Submit a launch; see ``Device.launch``."""
    count = device.config.simd_cores
    if not count:
        raise ArgumentError(f"configuration {device.config.name!r} has no SIMD cores")
    cores = count if cores is None else cores
    for name, value, most in (("clusters", clusters, 1), ("cores", cores, count)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise ArgumentError(f"{name} must be an integer in [1, {most}], not {value!r}")
    if len(args) != len(kernel.parameters):
        raise ArgumentError(f"kernel {kernel.name!r} takes {len(kernel.parameters)} arguments, "
                            f"not {len(args)}")
    words, reads, writes, copies = [], [], [], []
    for one, value in zip(kernel.parameters, args, strict=True):
        if not one.pointer:
            words.append(_scalar(kernel, one, value))
            continue
        tensor = _array(device, kernel, one, value)
        words.append(tensor.address + WINDOW)
        reads.append(tensor)
        if not one.constant:
            writes.append(tensor)
            if isinstance(value, np.ndarray):
                copies.append((value, tensor))
    block = device.tensor(np.array([*words, 0], np.uint32))
    command = launch_command(loaded, block.address + WINDOW, cores, clusters=clusters)
    device.submit([command], name=f"kernel {kernel.name}",
                  reads=[*reads, block, loaded.memory], writes=writes)
    if loaded.prints:
        try:
            device.synchronize()
        finally:
            loaded.show(device)
    for array, tensor in copies:
        array[...] = tensor.numpy()
