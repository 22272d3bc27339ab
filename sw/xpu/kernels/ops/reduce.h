/* One number of each row. Before it is included: IN, OUT; one of SUM, SQUARES (the root of the sum of
 * squares), MAX, MIN, ARGMAX (of the first of the largest). A NaN makes the result NaN, for ARGMAX the
 * first one counts as the largest. */
#include "rows.h"

#ifdef MAX
#define START -INFINITE
#define TAKE(acc, v) INTO(acc, vfmax_vv, acc, v)
#define RESULT(acc) fold_max(acc)
#elif defined(MIN)
#define START INFINITE
#define TAKE(acc, v) INTO(acc, vfmin_vv, acc, v)
#define RESULT(acc) fold_min(acc)
#elif defined(SQUARES)
#define START 0.0f
#define TAKE(acc, v) INTO(acc, vfmacc_vv, v, v)
#define RESULT(acc) __builtin_sqrtf(fold_sum(acc))
#else
#define START 0.0f
#define TAKE(acc, v) INTO(acc, vfadd_vv, acc, v)
#define RESULT(acc) fold_sum(acc)
#endif

#ifdef ARGMAX
/* The first element of the row for which the mask is set, or -1. */
#define FIRST(x, cols, found, mask)                                \
  int found = -1;                                                  \
  GROUPS(i, vl, cols) {                                            \
    vf v = v_load((x) + i, vl);                                    \
    const long n = R1(vfirst_m, MASKS)(mask, vl);                  \
    if (n >= 0) {                                                  \
      found = i + n;                                               \
      break;                                                       \
    }                                                              \
  }
__global__ void rows(const IN *in, OUT *out, int count, int cols) {
  ROWS(r, count) {
    const IN *x = in + r * cols;
    vf most = ALL(-INFINITE);
    GROUPS(i, vl, cols) INTO(most, vfmax_vv, most, v_load(x + i, vl));
    const float top = fold_max(most);
    FIRST(x, cols, undefined, MASK(vmfne_vv, v, v));
    FIRST(x, cols, place, MASK(vmfeq_vf, v, top));
    out[r] = undefined >= 0 ? undefined : place;
  }
}
#else
__global__ void rows(const IN *in, OUT *out, int count, int cols, float factor) {
  ROWS(r, count) {
    const IN *x = in + r * cols;
    vf acc = ALL(START), other = acc, nan = ALL(0.0f);
    size_t first = 0;
    const size_t vl = GROUP;
    for (; first + 2 * GROUP <= (size_t)cols; first += 2 * GROUP) {
      vf a = v_load(x + first, vl), b = v_load(x + first + GROUP, vl);
      TAKE(acc, a);
      TAKE(other, b);
#if defined(MAX) || defined(MIN)
      nan = v_is_nan_keep(v_is_nan_keep(nan, a, vl), b, vl);
#endif
    }
#ifndef SQUARES
    TAKE(acc, other);
#else
    acc = V(vfadd_vv, acc, other);
#endif
    GROUPS(j, vl, cols - first) {
      vf v = v_load(x + first + j, vl);
      TAKE(acc, v);
#if defined(MAX) || defined(MIN)
      INTO(nan, vmerge_vvm, nan, v, MASK(vmfne_vv, v, v));
#endif
    }
    float result = RESULT(acc) * factor;
#if defined(MAX) || defined(MIN)
    result = fold_sum(nan) != 0.0f ? __builtin_nanf("") : result;
#endif
    v_store(out + r, R1(vfmv_v_f, F32)(result, 1), 1);
  }
}
#endif
