"""Kernels with vectors: C types of 512 bits, intrinsics, rows of LM and SM at any address."""

import numpy as np
import pytest

import xpu

pytestmark = pytest.mark.cosim

HEADER = '#include "xpu_kernel.h"\n'


@pytest.fixture(scope="module")
def dev():
    with xpu.open("tiny") as device:
        yield device
        assert not device._work.faulted


def run(device, source, name, *args):
    device.launch(xpu.Kernel.from_source(HEADER + source, name), args)
    device.synchronize()


OPERATIONS = {      # C, NumPy
    "vvadd_{}(a, b)": lambda a, b: a + b, "vvsub_{}(a, b)": lambda a, b: a - b,
    "vvmul_{}(a, b)": lambda a, b: a * b, "vvmax_{}(a, b)": np.maximum,
    "vvmin_{}(a, b)": np.minimum, "svadd_{}(2, b)": lambda a, b: b + b.dtype.type(2),
    "svsub_{}(2, b)": lambda a, b: b.dtype.type(2) - b,
    "svmul_{}(3, b)": lambda a, b: b.dtype.type(3) * b,
}
FLOATS = {
    "vvdiv_{}(a, b)": lambda a, b: a / b, "vabs_{}(b)": lambda a, b: abs(b),
    "vneg_{}(b)": lambda a, b: -b, "vsqrt_{0}(vabs_{0}(a))": lambda a, b: np.sqrt(abs(a)),
    "vset_{}(4)": lambda a, b: np.full_like(a, 4),
}


@pytest.mark.parametrize(("name", "dtype"), [
    ("float32x16", "float32"), ("float16x32", "float16"), ("int32x16", "int32"),
    ("int16x32", "int16"), ("int8x64", "int8")])
def test_operations_of_the_vector_types(dev, name, dtype):
    count = 512 // np.dtype(dtype).itemsize // 8
    rng = np.random.default_rng(count)
    if dtype.startswith("float"):
        a, b = (rng.standard_normal(count).astype(dtype) for _ in range(2))
        operations = OPERATIONS | FLOATS
    else:
        a, b = (rng.integers(-100, 100, count).astype(dtype) for _ in range(2))
        operations = OPERATIONS
    lines = "".join(f"  vstore_lm_{name}(out + {count * n}, {text.format(name)});\n"
                    for n, text in enumerate(operations))
    kind = {"float16": "_Float16", "float32": "float"}.get(dtype, f"{dtype}_t")
    out = np.zeros((len(operations), count), dtype)
    run(dev, f"__global__ void all(const {kind} *x, const {kind} *y, {kind} *out) {{\n"
        f"  {name}_t a = vload_lm_{name}(x), b = vload_sm_{name}(y);\n{lines}}}", "all", a, b, out)
    with np.errstate(over="ignore"):
        for row, (text, function) in zip(out, operations.items(), strict=True):
            np.testing.assert_array_equal(row, function(a, b), err_msg=text)


def test_masks_and_reductions(dev):
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-3, 3, 16).astype(np.float32) for _ in range(2))
    masks, out = np.zeros(4, np.uint32), np.full(66, 7, np.float32)
    run(dev, """__global__ void masks(const float *x, const float *y, unsigned *m, float *out) {
      float32x16_t a = vload_lm_float32x16(x), b = vload_lm_float32x16(y);
      m[0] = vveq_float32x16(a, b); m[1] = vvneq_float32x16(a, b);
      m[2] = vvlt_float32x16(a, b); m[3] = vvle_float32x16(a, b);
      vstore_lm_float32x16(out, vload_lm_float32x16_mz(x, m[2]));
      vstore_lm_float32x16(out + 16, vload_lm_float32x16_mh(x, b, m[2]));
      vstore_lm_float32x16_mh(out + 32, a, m[3]);
      vstore_lm_float32x16(out + 48, svmac_float32x16(2, a, b));
      out[64] = vreduce_sum_float32x16(a); out[65] = vreduce_max_float32x16(b);
    }""", "masks", a, b, masks, out)
    less = a < b
    for found, expected in zip(masks, (a == b, a != b, less, a <= b), strict=True):
        assert found == sum(int(bit) << n for n, bit in enumerate(expected))
    np.testing.assert_array_equal(out, np.concatenate([
        np.where(less, a, 0), np.where(less, a, b), np.where(a <= b, a, 7), 2 * a + b,
        [a.sum(), b.max()]]))


COPY = """
static void copy_lm(int kind, const char *from, char *to, int vl, const unsigned char *bits) {
  switch (kind) {
    case 0: __riscv_vse8_v_u8m8((uint8_t *)to, __riscv_vle8_v_u8m8((const uint8_t *)from, vl), vl);
            break;
    case 1: __riscv_vse16_v_u16m2((uint16_t *)to,
                __riscv_vle16_v_u16m2((const uint16_t *)from, vl), vl); break;
    case 2: __riscv_vse32_v_u32m4((uint32_t *)to,
                __riscv_vle32_v_u32m4((const uint32_t *)from, vl), vl); break;
    case 3: {
      vbool4_t mask = __riscv_vlm_v_b4(bits, vl);
      __riscv_vse16_v_u16m4_m(mask, (uint16_t *)to, __riscv_vle16_v_u16m4_m(mask,
                              (const uint16_t *)from, vl), vl); break;
    }
    case 4: __riscv_vsse16_v_u16m2((uint16_t *)to, 6,
                __riscv_vlse16_v_u16m2((const uint16_t *)from, 6, vl), vl); break;
    case 5: {
      vuint8m2x3_t three = __riscv_vlseg3e8_v_u8m2x3((const uint8_t *)from, vl);
      __riscv_vsseg3e8_v_u8m2x3((uint8_t *)to, three, vl); break;
    }
  }
}
"""


@pytest.mark.parametrize("place", ["__simd__", "__shared__"])
def test_rows_at_any_address(dev, place):
    """Copies within LM and SM, against NumPy: rows, masks, strides and segments."""
    rng = np.random.default_rng(2)
    kernel = xpu.Kernel.from_source(HEADER + COPY + f"""
    __global__ void copies(const int *what, int n, const unsigned char *x, unsigned char *out) {{
      {place} static unsigned char from[512], to[512], bits[16];
      for (int k = 0; k < n; ++k, what += 4) {{
        GM2LM(x, from, 512); GM2LM(x + 512, to, 512); GM2LM(x + 1024, bits, 16);
        copy_lm(what[0], (const char *)from + what[1], (char *)to + what[2], what[3], bits);
        LM2GM(to, out + 512 * k, 512);
      }}
    }}""", "copies")
    size = (1, 2, 4, 2, 2, 1)
    most = (128, 16, 16, 32, 16, 32)        # VLMAX of 128 bits
    what = []
    for kind in (0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5):
        first, second = (int(rng.integers(0, 64)) & -size[kind] for _ in range(2))
        what.append([kind, first, second, int(rng.integers(0, most[kind] + 1))])
    x = rng.integers(0, 256, 1040).astype(np.uint8)
    out = np.zeros((len(what), 512), np.uint8)
    dev.launch(kernel, [np.array(what, np.int32).reshape(-1), len(what), x, out])
    dev.synchronize()
    enabled = np.unpackbits(x[1024:], bitorder="little").astype(bool)
    for (kind, first, second, vl), result in zip(what, out, strict=True):
        expected = x[512:1024].copy()
        step = {4: 6, 5: 3}.get(kind, size[kind])
        wide = {5: 3}.get(kind, size[kind])
        for n in range(vl):
            if kind != 3 or enabled[n]:
                expected[second + n * step:][:wide] = x[first + n * step:][:wide]
        np.testing.assert_array_equal(result, expected, err_msg=f"{kind, first, second, vl}")


def test_scalar_accesses_between_vector_ones(dev):
    """Loads and stores of both kinds in LM keep the order of the program."""
    out = np.zeros(48, np.int32)
    run(dev, """__global__ void order(int *out) {
      __simd__ static volatile int memory[48];
      for (int n = 0; n < 16; ++n) memory[n] = n;
      int32x16_t v = vload_lm_int32x16((int *)memory);
      memory[3] = 100;                                 /* behind the load */
      vstore_lm_int32x16((int *)memory + 16, v);
      int seen = memory[31];                           /* behind the store */
      memory[16] = seen + memory[3];
      vstore_lm_int32x16((int *)memory + 32, vload_lm_int32x16((int *)memory + 16));
      LM2GM((const void *)memory, out, 192);
    }""", "order", out)
    first = np.arange(16)
    second = first.copy()
    second[0] = 115
    first[3] = 100
    np.testing.assert_array_equal(out, np.concatenate([first, second, second]))


def test_loops_become_vectors(dev):
    """A plain loop over LM is compiled to vector instructions, and computes the same."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal(200).astype(np.float32)
    out = np.zeros(200, np.float32)
    kernel = xpu.Kernel.from_source(HEADER + """
    __global__ void loop(const float *x, float *out, int n) {
      __simd__ static float lm[256];
      GM2LM(x, lm, 4 * n);
      for (int i = 0; i < n; ++i) lm[i] = lm[i] * lm[i] + 1.0f;
      LM2GM(lm, out, 4 * n);
    }""", "loop")
    dev.launch(kernel, [x, out, 200])
    dev.synchronize()
    exact = x.astype(np.float64) ** 2 + 1
    np.testing.assert_allclose(out, exact, rtol=2e-7)


def test_scalar_accesses_to_sm_between_rows(dev):
    """What comes back for them is none of the vector unit's: not even when its last access was a
    load from SM."""
    kernel = xpu.Kernel.from_source(HEADER + """
    __global__ void turns(const int *x, int *out) {
      __shared__ static int from[64];
      __shared__ static volatile int other[8];
      GM2LM(x, from, 256);
      for (int n = 0; n < 8; ++n) {
        vint32m2_t v = __riscv_vle32_v_i32m2(from + n, 8);
        other[n] = __riscv_vmv_x_s_i32m2_i32(v);
        __riscv_vse32_v_i32m2(from + 32, v, 8);
        other[n] += from[32 + n];
        LM2GM(from + 32, out + 9 * n, 32);
        out[9 * n + 8] = other[n];
      }
    }""", "turns")
    x = np.arange(64, dtype=np.int32)
    out = np.zeros((8, 9), np.int32)
    dev.launch(kernel, [x, out])
    for n, row in enumerate(out):
        np.testing.assert_array_equal(row, [*range(n, n + 8), n + n + n])
