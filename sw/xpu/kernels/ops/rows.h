/* What operators on rows share: a row is `cols` elements, row r is core r's, modulo their number.
 *
 * Rows of up to LINE elements wait in LM for their next pass; longer ones are read from SM again. */
#ifndef XPU_OPS_ROWS_H
#define XPU_OPS_ROWS_H

#include "types.h"

#define SINGLE (__riscv_v_fixed_vlen / 32) /* elements of a register */

#define ROWS(r, rows) for (int r = core_id(); r < (rows); r += core_num())
/* Groups of a row, the last of which may be short. */
#define GROUPS(i, vl, cols) \
  for (size_t i = 0, vl; vl = SET_VL((cols) - i), i < (size_t)(cols); i += vl)

__local__ float fold_place[SINGLE] __attribute__((aligned(64)));
#if LMUL == 8
#define HALF_OF(operation, x)                                                             \
  __riscv_##operation##_vv_f32m4(__riscv_vget_v_f32m8_f32m4(x, 0),                         \
                                 __riscv_vget_v_f32m8_f32m4(x, 1), 4 * SINGLE)
#else
#define HALF_OF(operation, x) x
#endif
#define FOLD(name, operation, combine)                                                       \
  static inline __attribute__((unused)) float name(vf x) {                                   \
    vfloat32m4_t four = HALF_OF(operation, x);                                               \
    vfloat32m2_t two = __riscv_##operation##_vv_f32m2(                                       \
        __riscv_vget_v_f32m4_f32m2(four, 0), __riscv_vget_v_f32m4_f32m2(four, 1), 2 * SINGLE); \
    vfloat32m1_t one = __riscv_##operation##_vv_f32m1(                                       \
        __riscv_vget_v_f32m2_f32m1(two, 0), __riscv_vget_v_f32m2_f32m1(two, 1), SINGLE);     \
    __riscv_vse32_v_f32m1(fold_place, one, SINGLE);                                          \
    float part[SINGLE];                                                                      \
    for (int n = 0; n < SINGLE; ++n) part[n] = fold_place[n];                                \
    for (int width = SINGLE / 2; width; width /= 2)                                          \
      for (int n = 0; n < width; ++n) part[n] = combine(part[n], part[n + width]);           \
    return part[0];                                                                          \
  }
#define ADD_OF(a, b) ((a) + (b))
FOLD(fold_sum, vfadd, ADD_OF)
FOLD(fold_max, vfmax, __builtin_fmaxf)
FOLD(fold_min, vfmin, __builtin_fminf)

#define ALL(value) R1(vfmv_v_f, F32)(value, GROUP)
/* The elements of an accumulator that a short group has stay. */
#define INTO(acc, operation, ...) acc = R(operation, F32, tu)(acc, __VA_ARGS__, vl)
#endif
