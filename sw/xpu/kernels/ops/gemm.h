/* C = A B, or C += A B, of float32 in SM: A [rows, depth], B [depth, cols], C [rows, cols], dense.
 *
 * A core takes TALL rows and a group of columns at a time: their sums stay in registers, and an element
 * of a row of B meets TALL elements of A, which wait in LM. The order of the statements is that of the
 * instructions: a row of B is loaded while the one before is multiplied.
 *
 * Before it is included: DEPTH, the most elements of a row of A. */
#include "rows.h"

#define TALL 6

__local__ float of_a[TALL][DEPTH + 1] __attribute__((aligned(64)));

#define SUM_(n) (rows > n)
#define EACH_ROW(S) S(0) S(1) S(2) S(3) S(4) S(5)

/* TALL rows or fewer, known to the compiler. */
static inline __attribute__((always_inline)) void tile(const int rows, const float *b, float *c,
                                                       int depth, int cols, int first, size_t vl) {
  vf acc0, acc1, acc2, acc3, acc4, acc5;
#define BEGIN(n) acc##n = first || !SUM_(n) ? V(vfmv_v_f, 0.0f) : v_load(c + n * cols, vl);
  EACH_ROW(BEGIN)
/* An element of A is loaded one step before it is used, behind the product that frees its register. */
#define TAKE(n, row, now, then, k)                        \
  if (SUM_(n)) acc##n = V(vfmacc_vf, acc##n, now##n, row); \
  if (SUM_(n)) then##n = of_a[n][k];
  const float *const last = b + (depth - 1) * cols;
  vf even = v_load(b, vl), odd;
  float this0 = 0, this1 = 0, this2 = 0, this3 = 0, this4 = 0, this5 = 0;
  float next0 = 0, next1 = 0, next2 = 0, next3 = 0, next4 = 0, next5 = 0;
#define BEGIN_A(n) \
  if (SUM_(n)) this##n = of_a[n][0];
  EACH_ROW(BEGIN_A)
  int k = 0;
  for (; k + 1 < depth; k += 2) { /* LM has room for one element more than DEPTH */
    b += cols;
    TAKE(0, even, this, next, k + 1)
    odd = v_load(b, vl);
    TAKE(1, even, this, next, k + 1) TAKE(2, even, this, next, k + 1)
    TAKE(3, even, this, next, k + 1) TAKE(4, even, this, next, k + 1)
    TAKE(5, even, this, next, k + 1)
    b = b < last ? b + cols : b;
    TAKE(0, odd, next, this, k + 2)
    even = v_load(b, vl);
    TAKE(1, odd, next, this, k + 2) TAKE(2, odd, next, this, k + 2)
    TAKE(3, odd, next, this, k + 2) TAKE(4, odd, next, this, k + 2)
    TAKE(5, odd, next, this, k + 2)
  }
  if (k < depth) {
#define REST(n) \
  if (SUM_(n)) acc##n = V(vfmacc_vf, acc##n, this##n, even);
    EACH_ROW(REST)
  }
#define END(n) \
  if (SUM_(n)) v_store(c + n * cols, acc##n, vl);
  EACH_ROW(END)
}

__global__ void rows(const float *a, const float *b, float *c, int count, int depth, int cols,
                     int first) {
  /* Work is a tile of rows and a group of columns; each core has a stretch of it, tile by tile. */
  const int tiles = (count + TALL - 1) / TALL, wide = (cols + GROUP - 1) / GROUP;
  const int total = tiles * wide;
  const int end = total * (core_id() + 1) / core_num();
  int held = -1, tall = 0;
  for (int n = total * core_id() / core_num(); n < end; ++n) {
    const int row = n / wide * TALL, column = n % wide * GROUP;
    if (row != held) {
      held = row;
      tall = count - row < TALL ? count - row : TALL;
      for (int r = 0; r < tall; ++r) {
        const float *from = a + (row + r) * depth;
        for (int i = 0; i < depth;) {
          const size_t vl = __riscv_vsetvl_e32m8(depth - i);
          __riscv_vse32_v_f32m8(of_a[r] + i, __riscv_vle32_v_f32m8(from + i, vl), vl);
          i += vl;
        }
      }
    }
    const size_t vl = SET_VL(cols - column);
    float *const to = c + row * cols + column;
#define TILE(n) tile(n, b + column, to, depth, cols, first, vl);
    switch (tall) {
      case 6: TILE(6) break;
      case 5: TILE(5) break;
      case 4: TILE(4) break;
      case 3: TILE(3) break;
      case 2: TILE(2) break;
      default: TILE(1)
    }
  }
}
