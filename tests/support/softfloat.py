"""Berkeley SoftFloat as the reference of the floating-point unit: values and flags, bit by bit."""

import functools
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import softfloatpy as sf

from xpu.sim import cache
from xpu.sim.toolchain import find_toolchain
from xpu_rtl.build.emit import to_systemverilog
from xpu_rtl.build.verilog import LINT
from xpu_rtl.float.compare import CompareOp
from xpu_rtl.float.unit import FloatKind, FloatOp, FloatUnit

__all__ = ["MODES", "OPERATIONS", "check"]

#: RISC-V's number of a rounding mode is SoftFloat's.
MODES = {number: sf.RoundingMode(number) for number in
         (sf.RoundingMode.NEAR_EVEN.value, sf.RoundingMode.MIN_MAG.value,
          sf.RoundingMode.MIN.value, sf.RoundingMode.MAX.value, sf.RoundingMode.NEAR_MAX_MAG.value)}
_TYPES = {"s": sf.Float32, "h": sf.Float16}
_NAN = {"s": 0x7FC0_0000, "h": 0x7E00}
_BITS = {"s": 32, "h": 16}


def _op(**fields):
    value = FloatOp.const(fields)
    return value.as_value().value


def _arithmetic(fmt):
    half, prefix = fmt == "h", f"f{_BITS[fmt]}"

    def call(name, *numbers):
        return getattr(sf, f"{prefix}_{name}")(*numbers)

    fma = {"kind": FloatKind.FMA, "half": half, "out_half": half}
    table = {
        "add": (_op(**fma, unit_factor=1), lambda a, b, c: call("add", a, c)),
        "sub": (_op(**fma, unit_factor=1, negate_addend=1), lambda a, b, c: call("sub", a, c)),
        "mul": (_op(**fma, no_addend=1), lambda a, b, c: call("mul", a, b)),
        "div": (_op(kind=FloatKind.DIVIDE, half=half), lambda a, b, c: call("div", a, b)),
        "sqrt": (_op(kind=FloatKind.DIVIDE, half=half, sqrt=1), lambda a, b, c: call("sqrt", a)),
    }
    for name, product, addend in (("madd", 0, 0), ("msub", 0, 1), ("nmsub", 1, 0),
                                  ("nmadd", 1, 1)):
        table[name] = (
            _op(**fma, negate_product=product, negate_addend=addend),
            lambda a, b, c, product=product, addend=addend: call(
                "mul_add", _flip(a) if product else a, b, _flip(c) if addend else c))
    return table


def _flip(number):
    """The number with the other sign."""
    raw = bytearray(number.to_bytes())
    raw[0] ^= 0x80
    return type(number).from_bytes(bytes(raw))


def _conversions(fmt):
    half = fmt == "h"
    table = {}
    for is_signed, name in ((1, "i32"), (0, "ui32")):
        kind = sf.Int32 if is_signed else sf.UInt32
        table[f"to_{name}"] = (
            _op(kind=FloatKind.TO_INTEGER, half=half, is_signed=is_signed),
            lambda a, b, c, name=name: getattr(sf, f"f{_BITS[fmt]}_to_{name}")(a))
        table[f"from_{name}"] = (
            _op(kind=FloatKind.FROM_INTEGER, half=half, out_half=half, is_signed=is_signed),
            lambda a, b, c, name=name, kind=kind: getattr(sf, f"{name}_to_f{_BITS[fmt]}")(
                kind.from_bytes(a)))
    other = "s" if half else "h"
    table["convert"] = (
        _op(kind=FloatKind.FMA, half=half, out_half=not half, unit_factor=1, no_addend=1),
        lambda a, b, c: getattr(sf, f"f{_BITS[fmt]}_to_f{_BITS[other]}")(a))
    for op, call in ((CompareOp.LE, "le"), (CompareOp.LT, "lt"), (CompareOp.EQ, "eq")):
        table[op.name.lower()] = (_op(kind=FloatKind.COMPARE, half=half, compare=op),
                                  lambda a, b, c, call=call: getattr(
                                      sf, f"f{_BITS[fmt]}_{call}")(a, b))
    return table


#: ``{(format, name): (operation, reference of three operands)}``
OPERATIONS = {(fmt, name): entry for fmt in "sh"
              for name, entry in (_arithmetic(fmt) | _conversions(fmt)).items()}


def expected(fmt, name, operands, rounding):
    """Values and flags of one operation for operands of shape [count, 3]."""
    _, reference = OPERATIONS[fmt, name]
    sf.set_rounding_mode(MODES[rounding])
    kind, size = _TYPES[fmt], _BITS[fmt] // 8
    results = np.empty((len(operands), 2), np.uint32)
    integer = name.startswith("from_")
    for n, row in enumerate(operands.tolist()):
        if integer:
            numbers = (row[0].to_bytes(4, "big"), None, None)
        else:
            numbers = [kind.from_bytes((value & ((1 << 8 * size) - 1)).to_bytes(size, "big"))
                       for value in row]
        sf.set_exception_flags(0)
        value = reference(*numbers)
        flags = sf.get_exception_flags()
        if isinstance(value, bool | int):
            bits = int(value)
        else:
            raw = value.to_bytes()
            bits = int.from_bytes(raw, "big")
            if len(raw) == 2:
                bits |= 0xFFFF_0000
        results[n] = bits, int(getattr(flags, "value", flags))
    return results


def operands(rng, fmt, count):
    """Random operands [count, 3]: special ones, any, and such as nearly cancel."""
    exponent, fraction = (8, 23) if fmt == "s" else (5, 10)
    bits = 1 + exponent + fraction
    fields = np.array([0, 1, 2, (1 << exponent) - 1, (1 << exponent) - 2, (1 << (exponent - 1)) - 1,
                       1 << (exponent - 1)], np.uint32)
    fractions = np.array([0, 1, 2, (1 << fraction) - 1, 1 << (fraction - 1),
                          (1 << (fraction - 1)) - 1, (1 << (fraction - 1)) + 1], np.uint32)
    special = (rng.integers(0, 2, (count, 3), np.uint32) << (bits - 1)
               | rng.choice(fields, (count, 3)) << fraction | rng.choice(fractions, (count, 3)))
    some = rng.integers(0, 1 << bits, (count, 3), np.uint32)
    # a, b of moderate exponents; c near their product, or near a.
    bias = (1 << (exponent - 1)) - 1
    near = some & ((1 << fraction) - 1 | 1 << (bits - 1))
    spread = min(bias - 2, 30)
    moves = rng.integers(-spread, spread + 1, (count, 3))
    moves[:, 2] = np.where(rng.random(count) < 0.5, moves[:, 0] + moves[:, 1],
                           moves[:, 0]) + rng.integers(-3, 4, count)
    near |= (np.clip(moves + bias, 0, 2 * bias).astype(np.uint32)) << fraction
    short = near & ~np.uint32((1 << rng.integers(0, fraction)) - 1)
    choice = rng.integers(0, 8, (count, 1))
    result = np.select([choice < 2, choice < 4, choice < 7], [special, some, near], short)
    mixed = rng.random((count, 3)) < 0.1
    return np.where(mixed, special, result).astype(np.uint32)


def _tool(command, **kwargs):
    done = subprocess.run(command, check=False, capture_output=True, text=True, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}"[-2000:])


@functools.cache
def _binary():
    """Build the Verilated unit with its loop; cached by content."""
    text = to_systemverilog(FloatUnit(), name="top")
    source = Path(__file__).with_name("float_unit.cpp")
    toolchain = find_toolchain()
    key = cache.key_of(text, source.read_text(encoding="utf-8"), LINT.read_text(encoding="utf-8"),
                       toolchain.verilator_version)

    def build(folder):
        (folder / "top.sv").write_text(text, encoding="utf-8")
        work = folder / "verilated"
        _tool([toolchain.verilator, "--cc", "--top-module", "top", "-O3", "--quiet", "-Wall",
               "--Mdir", work, LINT, folder / "top.sv"], env=toolchain.environment())
        op_bits = FloatOp.as_shape().size
        include = toolchain.include
        _tool([toolchain.compiler, "-std=gnu++20", "-O2", "-w", "-DVM_COVERAGE=0", "-DVM_SC=0",
               "-DVM_TIMING=0", "-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0",
               "-DVM_TRACE_SAIF=0", f"-DOP_BITS={op_bits}", f"-I{work}", f"-I{include}",
               f"-I{include / 'vltstd'}", source, *work.glob("*.cpp"),
               include / "verilated.cpp", include / "verilated_threads.cpp", "-lpthread", "-o",
               folder / cache.LIBRARY])

    return cache.lookup(key) or cache.store(key, build, {"name": "floating-point unit",
                                                         "traced": False, "bus_bytes": 0})


def run(operations):
    """Execute records [count, 5] of a, b, c, operation, rounding; return values and flags."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        np.ascontiguousarray(operations, np.uint32).tofile(source)
        subprocess.run([_binary(), source, target], check=True)
        results = np.fromfile(target, np.uint32).reshape(-1, 2)
    results[:, 1] &= 0x1F
    return results


def check(fmt, rounding, count, seed):
    """Compare ``count`` random operations of each kind, all in random order.

    Returns how many there were, and a line for each that differs.
    """
    rng = np.random.default_rng([seed, rounding, fmt == "h"])
    records, wanted, names = [], [], []
    for (kind, name), (op, _) in OPERATIONS.items():
        if kind == fmt:
            some = operands(rng, fmt, count)
            wanted.append(expected(fmt, name, some, rounding))
            extra = np.broadcast_to(np.array([op, rounding], np.uint32), (count, 2))
            records.append(np.concatenate([some, extra], axis=1))
            names += [name] * count
    records, wanted = np.concatenate(records), np.concatenate(wanted)
    order = rng.permutation(len(records))
    got = run(records[order])
    return len(records), [
        f"{names[order[n]]} {' '.join(f'{x:08x}' for x in records[order[n], :3])}: "
        f"{got[n, 0]:08x} {got[n, 1]:05b}, not {wanted[order[n], 0]:08x} "
        f"{wanted[order[n], 1]:05b}"
        for n in np.flatnonzero((got != wanted[order]).any(axis=1))]
