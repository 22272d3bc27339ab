/* Softmax of rows, whose elements below the largest by more than 87.3 become 0. Before it is included:
 * IN, OUT; LINE; LOG for its logarithm. */
#define LMUL 8
#include "rows.h"

__local__ float line[LINE] __attribute__((aligned(64)));

#ifdef LOG
#define SHIFT(x) V(vfsub_vf, x, top)
#define TERM(x) v_exp_below(x, vl)
#else
#define SHIFT(x) v_exp_below(V(vfsub_vf, x, top), vl)
#define TERM(x) x
#endif

__global__ void rows(const IN *in, OUT *out, int count, int cols) {
  const int kept = cols <= LINE;
  ROWS(r, count) {
    const IN *x = in + r * cols;
    OUT *y = out + r * cols;
    vf most = ALL(-INFINITE);
    GROUPS(i, vl, cols) {
      vf v = v_load(x + i, vl);
      INTO(most, vfmax_vv, most, v);
      if (kept) v_store(line + i, v, vl);
    }
    const float top = fold_max(most);
    vf total = ALL(0.0f);
    GROUPS(i, vl, cols) {
      vf v = SHIFT(kept ? v_load(line + i, vl) : v_load(x + i, vl));
      if (kept) v_store(line + i, v, vl);
      INTO(total, vfadd_vv, total, TERM(v));
    }
    const float sum = fold_sum(total);
#ifdef LOG
    const size_t one = 1;
    const float shift = R(vfmv_f_s, F32, f32)(v_log(R1(vfmv_s_f, F32)(sum, one), one));
    GROUPS(i, vl, cols) {
      vf v = kept ? v_load(line + i, vl) : SHIFT(v_load(x + i, vl));
      v_store(y + i, V(vfsub_vf, v, shift), vl);
    }
#else
    const float scale = 1.0f / sum;
    const vf least = ALL(0x1p-126f * scale);
    GROUPS(i, vl, cols) {
      vf v = kept ? v_load(line + i, vl) : SHIFT(v_load(x + i, vl));
      v_store(y + i, V(vfmsub_vf, v, scale, least), vl);
    }
#endif
  }
}
