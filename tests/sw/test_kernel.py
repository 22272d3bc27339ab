"""Kernels in C on the simulated cores, launched from Python."""

import numpy as np
import pytest

import xpu
from xpu_rtl.command.formats import Engine, FaultCause
from xpu_rtl.simd.instruction import Cause

pytestmark = pytest.mark.cosim

HEADER = '#include "xpu_kernel.h"\n'
SAXPY = HEADER + """
__global__ void saxpy(float a, const float *x, float *y, int n) {
  for (int i = core_id(); i < n; i += core_num()) y[i] = __builtin_fmaf(a, x[i], y[i]);
}
"""


@pytest.fixture(scope="module")
def dev():
    with xpu.open("tiny") as device:
        yield device
        assert not device._work.faulted


@pytest.fixture
def broken():
    """A device of its own, for kernels that trap."""
    with xpu.open("tiny") as device:
        yield device


def kernel(body, parameters="int *out", name="test", **options):
    return xpu.Kernel.from_source(f"{HEADER}__global__ void {name}({parameters}) {{ {body} }}",
                                  name, **options)


def test_saxpy_on_tensors(dev):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(300).astype(np.float32) for _ in range(2))
    k = xpu.Kernel.from_source(SAXPY, "saxpy")
    assert [one.type for one in k.parameters] == ["float", "const float *", "float *", "int"]
    on_device = dev.tensor(y)
    dev.launch(k, [2.5, dev.tensor(x), on_device, 300])
    exact = np.float64(2.5) * x + y         # one rounding
    np.testing.assert_array_equal(on_device.numpy(), exact.astype(np.float32))


def test_arrays_go_there_and_back(dev):
    x, y = np.arange(10, dtype=np.float32), np.ones(10, np.float32)
    dev.launch(xpu.Kernel.from_source(SAXPY, "saxpy"), [2, x, y, 10])
    np.testing.assert_array_equal(y, 2 * np.arange(10) + 1)


@pytest.mark.parametrize(("kind", "dtype", "value"), [
    ("int", "int32", -5), ("unsigned", "uint32", 1 << 31), ("short", "int16", -300),
    ("unsigned short", "uint16", 65535), ("signed char", "int8", -128),
    ("unsigned char", "uint8", 200), ("float", "float32", -1.5), ("_Float16", "float16", 0.1),
    ("_Bool", "bool", True),
])
def test_every_type_of_argument(dev, kind, dtype, value):
    k = kernel("out[0] = value; out[1] = in[0];", f"{kind} *out, {kind} value, const {kind} *in")
    out, given = np.zeros(2, dtype), np.array([value]).astype(dtype)
    dev.launch(k, [out, value, given])
    np.testing.assert_array_equal(out, [given[0]] * 2)


def test_compiled_once():
    """Objects are found again by the text, whatever folder it was compiled in."""
    first, second = (kernel("out[0] = 1;")._objects for _ in range(2))
    assert first == second
    vlen = next(iter(first))
    assert kernel("out[0] = 2;")._objects[vlen][0] != first[vlen][0]


def test_many_arguments_and_64_bits(dev):
    names = [f"a{n}" for n in range(12)]
    k = kernel("long long sum = 0;" + "".join(f"sum = sum * 7 + {name};" for name in names)
               + "out[0] = sum; out[1] = sum / 1000003; out[2] = sum % 1000003;",
               "long long *out, " + ", ".join(f"int {name}" for name in names))
    values = [n * n - 40 for n in range(12)]
    out = np.zeros(3, np.int64)
    dev.launch(k, [out, *values])
    total = 0
    for value in values:
        total = total * 7 + value
    quotient = int(np.trunc(total / 1000003))
    assert out.tolist() == [total, quotient, total - quotient * 1000003]


def test_local_memory_and_copies(dev):
    k = kernel("""
        static __local__ int buffer[64];
        GM2LM(in, buffer, 256);
        for (int i = 0; i < 64; ++i) buffer[i] = buffer[i] * buffer[i];
        LM2GM(buffer, out, 256);
        mfence();""", "int *out, const int *in")
    out, values = np.zeros(64, np.int32), np.arange(64, dtype=np.int32)
    dev.launch(k, [out, values])
    np.testing.assert_array_equal(out, values ** 2)


def test_shared_memory(dev):
    """Bytes, halves and words, at every place of a scratchpad word."""
    k = kernel("""
        static __shared__ unsigned char bytes[64];
        static __shared__ short halves[32];
        static __shared__ float floats[16];
        for (int i = 0; i < 64; ++i) bytes[i] = in[i];
        for (int i = 0; i < 32; ++i) halves[i] = (short)(bytes[2 * i] | bytes[2 * i + 1] << 8);
        for (int i = 0; i < 16; ++i) floats[i] = halves[i] * 0.5f;
        SM2GM(halves, out, 64);
        SM2GM(floats, (char *)out + 64, 64);""", "void *out, const unsigned char *in")
    values = np.random.default_rng(3).integers(0, 256, 64).astype(np.uint8)
    out = np.zeros(32, np.int32)
    dev.launch(k, [out, values])
    np.testing.assert_array_equal(out[:16].view(np.uint8), values)
    np.testing.assert_array_equal(out[16:].view(np.float32),
                                  values.view(np.int16)[:16].astype(np.float32) / 2)


def test_windows_hold_for_cores(broken):
    """A ring's windows onto GM and SM are those of the kernels it launches."""
    k = kernel("*(volatile int *)where = 1;", "unsigned where")
    out = broken.tensor(np.zeros(1024, np.int32))
    secret = broken.tensor(np.arange(2048, dtype=np.int32))
    first, last = broken.ring_memory[0], (out.address | 4095) + 8192
    page = (secret.address + 4095) & -4096
    broken.launch(k, [secret.address + (1 << 28)])
    broken.synchronize()
    last = page - 1
    broken.protect(gm=[(first, last, "rw"), (last + 1, (1 << 28) - 1, "r")], sm=(0, 127, "rw"))
    broken.launch(k, [(1 << 24) + 124])
    broken.synchronize()
    for where, cause in (((1 << 24) + 128, "STORE_FAULT"), (page + (1 << 28), "STORE_FAULT")):
        broken.launch(k, [where])
        with pytest.raises(xpu.DeviceFault, match=cause) as caught:
            broken.synchronize()
        assert caught.value.row == where
        broken.reset()
    broken.protect()
    np.testing.assert_array_equal(secret.numpy()[1:], np.arange(1, 2048))


def test_qualifiers_do_not_matter(dev):
    k = kernel("*out = *in + 1;", "volatile int *restrict out, int const volatile *const in")
    assert [one.type for one in k.parameters] == ["int *", "const int *"]
    out = np.zeros(1, np.int32)
    dev.launch(k, [out, np.array([4], np.int32)])
    assert out[0] == 5


def test_c_plus_plus_and_included_files(dev, tmp_path):
    (tmp_path / "twice.h").write_text("template <class T> T twice(T x) { return x + x; }\n")
    source = tmp_path / "kernel.cpp"
    source.write_text(f'{HEADER}#include "twice.h"\nextern "C" __global__ void test(int *out) '
                      "{ out[0] = twice(21); }\n")
    out = np.zeros(1, np.int32)
    dev.launch(xpu.Kernel.from_file(source, "test"), [out])
    assert out[0] == 42


@pytest.mark.parametrize(("body", "cause", "value"), [
    ("__asm__ volatile(\".word 0x0000007f\");", Cause.ILLEGAL, 0x7F),
    ("xpu_abort();", Cause.BREAKPOINT, None),
    ("*(volatile int *)0x3000 = 1;", Cause.STORE_FAULT, 0x3000),
    ("*(volatile int *)0x01FFFFF0 = 1;", Cause.STORE_FAULT, 0x01FF_FFF0),
    ("out[0] = *(volatile int *)0x02000000;", Cause.LOAD_FAULT, 0x0200_0000),
    ("out[0] = *(volatile int *)0xF0000000;", Cause.LOAD_FAULT, 0xF000_0000),
    ("out[0] = *(volatile int *)((char *)out + 1);", Cause.LOAD_MISALIGNED, None),
    ("((void (*)(void))0xE0000000)();", Cause.FETCH_FAULT, 0xE000_0000),
    ("__asm__ volatile(\"ecall\");", Cause.ECALL, 0),
])
def test_traps_are_precise_and_leave_the_rest_intact(broken, body, cause, value):
    before = broken.tensor(np.arange(5, dtype=np.int32))
    out = np.zeros(4, np.int32)
    with pytest.raises(xpu.DeviceFault, match=f"core 0 met {cause.name}") as caught:
        broken.launch(kernel(body), [out])
    fault = caught.value
    assert (fault.cause, fault.engine) == (FaultCause.KERNEL_TRAP, Engine.SIMD)
    assert fault.info == cause
    assert value is None or fault.row == value
    if cause is not Cause.FETCH_FAULT:
        assert "test+" in str(fault) or "xpu_entry+" in str(fault)
    broken.reset()
    np.testing.assert_array_equal(before.numpy(), np.arange(5))
    dev_out = np.zeros(1, np.int32)
    broken.launch(kernel("out[0] = 7;"), [dev_out])
    assert dev_out[0] == 7


def test_a_kernel_that_never_ends(broken):
    broken._work.timeout_cycles = 20_000
    with pytest.raises(xpu.HangError, match="simd"):
        broken.launch(kernel("for (;;) __asm__ volatile(\"\");"), [np.zeros(1, np.int32)])
    broken.reset()
    out = np.zeros(1, np.int32)
    broken.launch(kernel("out[0] = 3;"), [out])
    assert out[0] == 3


def test_compiler_errors_name_file_and_line():
    with pytest.raises(xpu.CompileError, match=r"mine\.c:3:\d+: error: use of undeclared"):
        xpu.Kernel.from_source(f"{HEADER}\n__global__ void f(int *p) {{ q = 3; }}", "f",
                               path="mine.c")
    with pytest.raises(xpu.CompileError, match="no function 'g'"):
        xpu.Kernel.from_source(SAXPY, "g")
    with pytest.raises(xpu.CompileError, match="must return void, not int"):
        xpu.Kernel.from_source("int f(void) { return 1; }", "f")
    with pytest.raises(xpu.ArgumentError, match="'x' of kernel 'test' has type double"):
        kernel("", "double x")


def test_wrong_arguments(dev):
    k = xpu.Kernel.from_source(SAXPY, "saxpy")
    x = dev.tensor(np.zeros(4, np.float32))
    with pytest.raises(xpu.ArgumentError, match="takes 4 arguments, not 3"):
        dev.launch(k, [1.0, x, x])
    with pytest.raises(xpu.DTypeError, match="'x' of kernel 'saxpy' must have elements float32"):
        dev.launch(k, [1.0, dev.tensor(np.zeros(4, np.int32)), x, 4])
    with pytest.raises(xpu.DTypeError, match="'n' of kernel 'saxpy' must be an integer"):
        dev.launch(k, [1.0, x, x, 4.5])
    with pytest.raises(xpu.ArgumentError, match=r"'n' .* must lie in \[-2147483648"):
        dev.launch(k, [1.0, x, x, 1 << 31])
    with pytest.raises(xpu.DTypeError, match="'a' of kernel 'saxpy' must be a number"):
        dev.launch(k, [x, x, x, 4])
    with pytest.raises(xpu.DTypeError, match="must be a tensor or an array"):
        dev.launch(k, [1.0, 5, x, 4])
    with pytest.raises(xpu.ArgumentError, match=r"cores must be an integer in \[1, 1\], not 2"):
        dev.launch(k, [1.0, x, x, 4], cores=2)
    with pytest.raises(xpu.DTypeError, match="kernel must be a Kernel, not str"):
        dev.launch("saxpy", [])
    with xpu.open("tiny", "model") as other, pytest.raises(xpu.ArgumentError, match="another"):
        dev.launch(k, [1.0, other.tensor(np.zeros(4, np.float32)), x, 4])


def test_too_much_local_data(dev):
    with pytest.raises(xpu.ArgumentError, match="bytes of __local__ data"):
        dev.launch(kernel("static __local__ int big[2000]; big[out[0]] = 1; out[1] = big[3];"),
                   [np.zeros(2, np.int32)])


def test_printf(dev, capsys):
    lines = [("%d %5i|%-6d|%+d %05d %.3d", (7, -12, 3, 4, -42, 5)),
             ("%u %x %#X %o", (9, 255, 48879, 8)),
             ("%c%s|%-5s|%.2s", ("'x'", '"yz"', '"ab"', '"cdef"')),
             ("%f %.3f %8.2f|%-9.1f|%+.0f", (1.5, 0.1, -3.14159, 2.25, 2.5)),
             ("%e %.2e %g %g %g %#g", (12345.678, 0.00098765, 1e-5, 123456.0, 1e10, 2.0)),
             ("%g %f %g", (3.4028234e38, 1e-45, 0.0)), ("100%%", ())]
    body, wanted = "", ""
    for text, values in lines:
        shown = [f"{np.float32(v)!r}f".replace("np.float32(", "").replace(")", "")
                 if isinstance(v, float) else str(v) for v in values]
        body += f'printf("{text}\\n"{"".join(", " + one for one in shown)});\n'
        python = tuple(v.strip("'\"") if isinstance(v, str) else
                       float(np.float32(v)) if isinstance(v, float) else v for v in values)
        wanted += text % python + "\n"
    dev.launch(kernel(body + 'printf("%lld %p\\n", -5000000000LL, (void *)out);'),
               [np.zeros(1, np.int32)])
    printed = capsys.readouterr().out.splitlines()
    assert printed[:-1] == wanted.splitlines()
    assert printed[-1].startswith("-5000000000 0x10")


def test_much_is_printed(dev, capsys):
    dev.launch(kernel('printf("%04990d\\n%5000d", 1, 2);'), [np.zeros(1, np.int32)])
    printed = capsys.readouterr().out
    assert printed.startswith("0" * 4989 + "1\n" + " " * 3000)
    assert f"[core 0: {9991 - 8188} characters more]" in printed
