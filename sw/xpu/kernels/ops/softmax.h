/* Softmax of rows. Before it is included: IN, OUT; LINE; LOG for its logarithm. */
#include "rows.h"

__local__ float line[LINE] __attribute__((aligned(64)));

#ifdef LOG
#define SHIFT(x) V(vfsub_vf, x, top)
#else
#define SHIFT(x) v_exp_flushed(V(vfsub_vf, x, top), vl)
#endif

__global__ void rows(const IN *in, OUT *out, int count, int cols) {
  const int kept = cols <= LINE;
  ROWS(r, count) {
    const IN *x = in + r * cols;
    OUT *y = out + r * cols;
    vf most = ALL(-INFINITE);
    GROUPS(i, vl, cols) {
      vf v = v_load(x + i, vl);
      if (kept) v_store(line + i, v, vl);
      INTO(most, vfmax_vv, most, v);
    }
    const float top = fold_max(most);
    vf total = ALL(0.0f), other = total;
    size_t first = 0;
#ifndef LOG
    if (kept) { /* two groups at a time: each fills the other's waits */
      const size_t vl = GROUP;
      for (; first + 2 * GROUP <= (size_t)cols; first += 2 * GROUP) {
        vf a = SHIFT(v_load(line + first, vl)), b = SHIFT(v_load(line + first + GROUP, vl));
        total = V(vfadd_vv, total, a);
        other = V(vfadd_vv, other, b);
        v_store(line + first, a, vl);
        v_store(line + first + GROUP, b, vl);
      }
      total = V(vfadd_vv, total, other);
    }
#endif
    GROUPS(j, vl, cols - first) {
      const size_t i = first + j;
      vf v = kept ? v_load(line + i, vl) : v_load(x + i, vl);
      v = SHIFT(v);
#ifdef LOG
      INTO(total, vfadd_vv, total, v_exp_flushed(v, vl));
#else
      INTO(total, vfadd_vv, total, v);
#endif
      if (kept) v_store(line + i, v, vl);
    }
    const float sum = fold_sum(total);
#ifdef LOG
    const size_t one = 1;
    const float shift = __riscv_vfmv_f_s_f32m4_f32(v_log(__riscv_vfmv_s_f_f32m4(sum, one), one));
#else
    const float scale = 1.0f / sum;
#endif
    GROUPS(i, vl, cols) {
      vf v;
      if (kept) v = v_load(line + i, vl);
      else v = SHIFT(v_load(x + i, vl));
#ifdef LOG
      v_store(y + i, V(vfsub_vf, v, shift), vl);
#else
      v_store(y + i, V(vfmul_vf, v, scale), vl);
#endif
    }
  }
}
