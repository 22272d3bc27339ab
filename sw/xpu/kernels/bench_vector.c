/* What the vector units reach: each part is timed on every core between two barriers. Sizes are for
 * registers of 512 bits; other lengths work on as many elements as they have. */
#include "xpu_kernel.h"

enum { SIZE = 128, ROWS = 8, ROUNDS = 64, LENGTH = 16384 };

static __shared__ float a_sm[SIZE * SIZE], b_sm[SIZE * SIZE], c_sm[SIZE * SIZE];
static __simd__ float a_lm[ROWS * SIZE];

#define PEAK(name, vector, type, suffix, width)                                                  \
  static void name(type *out) {                                                                  \
    const size_t vl = __riscv_vsetvlmax_e##width##m4();                                          \
    vector x = __riscv_vfmv_v_f_##suffix(0.5f, vl), y = __riscv_vfmv_v_f_##suffix(0.25f, vl);    \
    vector s0 = x, s1 = x, s2 = x, s3 = x;                                                       \
    for (int n = 0; n < ROUNDS; ++n) {                                                           \
      s0 = __riscv_vfmacc_vv_##suffix(s0, x, y, vl);                                             \
      s1 = __riscv_vfmacc_vv_##suffix(s1, x, y, vl);                                             \
      s2 = __riscv_vfmacc_vv_##suffix(s2, x, y, vl);                                             \
      s3 = __riscv_vfmacc_vv_##suffix(s3, x, y, vl);                                             \
    }                                                                                            \
    s0 = __riscv_vfadd_vv_##suffix(s0, s1, vl);                                                  \
    s2 = __riscv_vfadd_vv_##suffix(s2, s3, vl);                                                  \
    __riscv_vse##width##_v_##suffix(out, __riscv_vfadd_vv_##suffix(s0, s2, vl), vl);             \
  }
PEAK(peak_single, vfloat32m4_t, float, f32m4, 32)
PEAK(peak_half, vfloat16m4_t, _Float16, f16m4, 16)

/* y = a * x + y in SM, a part for each core. */
static void saxpy(float a, const float *x, float *y) {
  const int mine = LENGTH / core_num();
  x += core_id() * mine;
  y += core_id() * mine;
  for (int left = mine; left > 0;) {
    const size_t vl = __riscv_vsetvl_e32m8(left);
    const vfloat32m8_t v = __riscv_vle32_v_f32m8(x, vl);
    __riscv_vse32_v_f32m8(y, __riscv_vfmacc_vf_f32m8(__riscv_vle32_v_f32m8(y, vl), a, v, vl), vl);
    left -= vl;
    x += vl;
    y += vl;
  }
}

/* c = a * b in SM: eight rows of a in LM, 32 columns of c in registers. */
#define STEP(n) s##n = __riscv_vfmacc_vf_f32m2(s##n, a_lm[n * SIZE + k], row, vl);
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)
#define ZERO(n) vfloat32m2_t s##n = __riscv_vfmv_v_f_f32m2(0, vl);
#define STORE(n) __riscv_vse32_v_f32m2(c_sm + (first + n) * SIZE + column, s##n, vl);
static void gemm(void) {
  for (int first = core_id() * ROWS; first < SIZE; first += core_num() * ROWS) {
    for (int n = 0; n < ROWS * SIZE;) {
      const size_t vl = __riscv_vsetvl_e32m8(ROWS * SIZE - n);
      __riscv_vse32_v_f32m8(a_lm + n, __riscv_vle32_v_f32m8(a_sm + first * SIZE + n, vl), vl);
      n += vl;
    }
    for (int column = 0; column < SIZE;) {
      const size_t vl = __riscv_vsetvl_e32m2(SIZE - column);
      EACH(ZERO)
#pragma clang loop unroll_count(4)
      for (int k = 0; k < SIZE; ++k) {
        const vfloat32m2_t row = __riscv_vle32_v_f32m2(b_sm + k * SIZE + column, vl);
        EACH(STEP)
      }
      EACH(STORE)
      column += vl;
    }
  }
}

static uint32_t timed(int part) {
  sync_cluster();
  const uint32_t begin = xpu_cycles();
  if (part == 0) peak_single(a_lm);
  if (part == 1) peak_half((_Float16 *)a_lm);
  if (part == 2) saxpy(0.5f, a_sm, c_sm);
  if (part == 3) gemm();
  sync_cluster();
  return xpu_cycles() - begin;
}

__global__ void bench_vector(const float *a, const float *b, float *axpy, float *product,
                             uint32_t *cycles) {
  const int mine = SIZE * SIZE / core_num(), first = core_id() * mine;
  GM2SM(a + first, a_sm + first, 4 * mine);
  GM2SM(b + first, b_sm + first, 4 * mine);
  GM2SM(b + first, c_sm + first, 4 * mine);
  uint32_t found[4];
  for (int part = 0; part < 4; ++part) {
    found[part] = timed(part);
    if (part == 2) SM2GM(c_sm + first, axpy + first, 4 * mine);
  }
  SM2GM(c_sm + first, product + first, 4 * mine);
  if (core_id() == 0)
    for (int part = 0; part < 4; ++part) cycles[part] = found[part];
}
