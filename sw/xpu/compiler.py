"""Kernels in C or C++, compiled and linked for the SIMD cores."""

import functools
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from xpu_rtl.address_map import CORE_SM_LSB
from xpu_rtl.simd.csr_numbers import Csr

from .errors import CompileError
from .sim import cache

__all__ = ["Parameter", "compile_kernel", "link_kernel"]

#: Vectors are compiled for the length of the device, so that C types of fixed size can be made of
#: them.
_SCALAR, _VECTOR = "rv32imf_zicsr_zfh", "_zve32f_zvfh_zvl{vlen}b"
_FLAGS = ("--target=riscv32-unknown-elf", "-mabi=ilp32f", "-O3", "-g0",
          "-ffreestanding", "-fno-math-errno", "-fno-exceptions", "-fno-threadsafe-statics",
          "-ffunction-sections", "-fdata-sections", "-fomit-frame-pointer", "-Wall", "-Wextra",
          "-Wno-unknown-attributes", "-Wdouble-promotion",
          *(f"-DXPU_CSR_{csr.name}={csr:#x}" for csr in (
              Csr.EXIT, Csr.BARRIER, Csr.CORE_COUNT, Csr.ARGUMENT, Csr.MHARTID, Csr.CYCLE,
              Csr.INSTRET)))
_LANGUAGES = {"c": ("c", "-std=gnu17"), "c++": ("c++", "-std=gnu++20")}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel: its name and its type in C, without names of the program's own."""

    name: str
    type: str

    @property
    def pointer(self):
        return self.type.endswith("*")

    @property
    def target(self):
        """What a pointer points to, without qualifiers."""
        return self.type.rstrip("* ").removeprefix("const ")

    @property
    def constant(self):
        """Through a pointer nothing is written."""
        return self.type.startswith("const ")


@functools.cache
def _tools():
    """Commands of compiler and linker, and the folder of the compiler's headers, if it is known."""
    zig = importlib.util.find_spec("ziglang")
    if zig:
        call = (sys.executable, "-m", "ziglang")
        headers = Path(next(iter(zig.submodule_search_locations)), "lib", "include")
        return (*call, "clang"), (*call, "ld.lld"), headers
    clang, linker = shutil.which("clang"), shutil.which("ld.lld")
    if clang and linker:
        return (clang,), (linker,), None
    raise CompileError("kernels need a compiler: .venv/bin/pip install ziglang, or clang and "
                       "ld.lld on the PATH (Debian: sudo apt-get install -y clang lld)")


def _run(command, what):
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True,
                          text=True)
    if done.returncode:
        raise CompileError(f"{what}:\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _folder():
    return Path(str(resources.files("xpu") / "kernels"))


def _cached(key, make):
    """Return the file ``key`` of the cache; ``make(path)`` writes it if it is not there."""
    folder = cache.root() / "kernels"
    target = folder / key
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            work = Path(scratch, "result")
            make(work)
            work.replace(target)
    return target


def _parameters(compiler, source, name):
    """The parameters of a kernel, from the compiler's syntax tree."""
    tree = _run((*compiler, "-fsyntax-only", "-w", "-Xclang", "-ast-dump=json", "-Xclang",
                 f"-ast-dump-filter={name}", source), f"cannot compile kernel {name!r}")
    decoder, position, found = json.JSONDecoder(), 0, None
    while (position := tree.find("{", position)) >= 0:
        node, position = decoder.raw_decode(tree, position)
        if node.get("kind") == "FunctionDecl" and node.get("name") == name:
            found = node
    if found is None:
        raise CompileError(f"{source.name} has no function {name!r}")
    if not found["type"]["qualType"].startswith("void ("):
        raise CompileError(f"kernel {name!r} must return void, not "
                           f"{found['type']['qualType'].split(' (')[0]}")
    parameters = [Parameter(one.get("name", f"argument {n}"),
                            one["type"].get("desugaredQualType", one["type"]["qualType"]))
                  for n, one in enumerate(found.get("inner", ()))
                  if one["kind"] == "ParmVarDecl"]
    return [Parameter(one.name, _spelt(one.type)) for one in parameters]


def _spelt(kind):
    """A type spelt one way: ``T``, ``T *`` or ``const T *``, without other qualifiers."""
    words = re.findall(r"[A-Za-z_]\w*|\*", kind)
    words = [word for word in words if word not in ("volatile", "restrict", "__restrict")]
    if "*" not in words:
        return " ".join(word for word in words if word != "const")
    target = words[:words.index("*")]
    plain = [word for word in target if word != "const"]
    return " ".join((*(("const",) if plain != target else ()), *plain, "*"))


def compile_kernel(source, name, *, path=None, include=(), vlen=128, flags=()):
    """Compile a kernel.

    Parameters
    ----------
    source : str
        Text in C or C++.
    name : str
        The ``__global__`` function.
    path : str or Path, optional
        Where the text is from: for messages, included files, and the language by its ending
        (``.c``; else C++).
    include : sequence of paths
        Folders of headers.
    vlen : int
        Bits of a vector register; 0 for cores without vectors.
    flags : sequence of str
        Further ones of clang, for the kernel's own text.

    Returns
    -------
    The objects to be linked, and the list of ``Parameter``.

    Raises
    ------
    CompileError
        With what the compiler says, file and line, or what has to be installed.
    """
    clang, _, headers = _tools()
    ours = _folder()
    label = Path(path) if path else Path(f"{name}.c")
    language, standard = _LANGUAGES["c" if label.suffix == ".c" else "c++"]
    search = [f"-I{folder}" for folder in (ours, *include, *((label.parent,) if path else ()))]
    system = ("-nostdlibinc", "-isystem", headers) if headers else ()
    own, flags = flags, (*_FLAGS, f"-march={_SCALAR}{_VECTOR.format(vlen=vlen) if vlen else ''}",
             *(("-mrvv-vector-bits=zvl",) if vlen else ()))
    common = (*clang, *flags, *system, *search)
    library = {file: (ours / file).read_text(encoding="utf-8")
               for file in ("xpu_kernel.h", "xpu_vector.h", "runtime.c", "print.c", "start.S")}
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch, label.name)
        # Line numbers and names in messages are those of the user's file.
        text.write_text(f'#line 1 "{label}"\n{source}', encoding="utf-8")
        compiler = (*common, *own, "-x", language, standard)
        parameters = _parameters(compiler, text, name)
        loads = ", ".join(f"*({one.type.replace('const ', '')} *)&xpu_arguments[{n}]"
                          if not one.pointer else f"({one.type})xpu_arguments[{n}]"
                          for n, one in enumerate(parameters))
        wrapper = Path(scratch, f"xpu_{label.name}")
        linkage = 'extern "C" ' if language == "c++" else ""
        wrapper.write_text(
            f'{text.read_text(encoding="utf-8")}\n#line 1 "entry of {name}"\n'
            f"{linkage}void __xpu_entry(const unsigned *xpu_arguments);\n"
            f"{linkage}void __xpu_entry(const unsigned *xpu_arguments) {{\n"
            f"  (void)xpu_arguments;\n  {name}({loads});\n}}\n", encoding="utf-8")
        # Headers of the user's are part of the text that is hashed, names of folders are not.
        whole = _run((*compiler, "-E", "-P", wrapper), f"cannot compile kernel {name!r}")
        objects = [_cached(cache.key_of(whole, *flags, *own, *clang), lambda target: _run(
            (*compiler, "-c", wrapper, "-o", target), f"cannot compile kernel {name!r}"))]
    for file, kind in (("runtime.c", ("-x", "c", "-std=gnu17")),
                       ("print.c", ("-x", "c", "-std=gnu17", "-Wno-double-promotion")),
                       ("start.S", ("-x", "assembler-with-cpp"))):
        objects.append(_cached(
            cache.key_of(*library.values(), file, *flags, *clang),
            lambda target, file=file, kind=kind: _run(
                (*common, "-fno-builtin", *kind, "-c", ours / file, "-o", target),
                f"cannot compile {file}")))
    return objects, parameters


def link_kernel(objects, base, lm_bytes):
    """Link a kernel for address ``base`` of the cores; return the ELF file."""
    _, linker, _ = _tools()
    script = _folder() / "kernel.ld"
    key = cache.key_of(*(path.name for path in objects), base, lm_bytes,
               CORE_SM_LSB, script.read_text(encoding="utf-8"))
    return _cached(f"{key}.elf", lambda target: _run(
        (*linker, "-m", "elf32lriscv", "--gc-sections", "-T", script,
         f"--defsym=__base={base:#x}", f"--defsym=__lm_end={lm_bytes:#x}",
         f"--defsym=__sm_base={1 << CORE_SM_LSB:#x}", *objects, "-o", target),
        "cannot link the kernel (double precision and standard libraries are not there)"))
