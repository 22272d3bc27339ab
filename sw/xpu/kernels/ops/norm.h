/* Normalisation of rows, in two passes over a row in LM: mean, then variance around it. Before it is
 * included: IN, OUT; LINE; CENTRED if the mean is subtracted; WEIGHT, BIAS if there are some, rows of
 * float32. */
#define LMUL 8
#include "rows.h"

__local__ float line[LINE] __attribute__((aligned(64)));
#ifdef WEIGHT
__local__ float weight_line[LINE] __attribute__((aligned(64)));
#endif
#ifdef BIAS
__local__ float bias_line[LINE] __attribute__((aligned(64)));
#endif

#ifdef BIAS
#define PARAMETERS const float *weight, const float *bias,
#elif defined(WEIGHT)
#define PARAMETERS const float *weight,
#else
#define PARAMETERS
#endif

__global__ void rows(const IN *in, PARAMETERS OUT *out, int count, int cols, float epsilon,
                     float inverse) {
  const int kept = cols <= LINE;
  if (core_id() >= count) return;
#ifdef WEIGHT
  if (kept) {
    GROUPS(i, vl, cols) v_store(weight_line + i, v_load(weight + i, vl), vl);
    weight = weight_line;
  }
#endif
#ifdef BIAS
  if (kept) {
    GROUPS(i, vl, cols) v_store(bias_line + i, v_load(bias + i, vl), vl);
    bias = bias_line;
  }
#endif
  ROWS(r, count) {
    const IN *x = in + r * cols;
    OUT *y = out + r * cols;
    vf total = ALL(0.0f);
    float mean = 0.0f;
#ifdef CENTRED
    GROUPS(i, vl, cols) {
      vf v = v_load(x + i, vl);
      if (kept) v_store(line + i, v, vl);
      INTO(total, vfadd_vv, total, v);
    }
    mean = fold_sum(total) * inverse;
    total = ALL(0.0f);
#endif
    GROUPS(i, vl, cols) {
#ifdef CENTRED
      vf v = V(vfsub_vf, kept ? v_load(line + i, vl) : v_load(x + i, vl), mean);
#else
      vf v = v_load(x + i, vl);
      if (kept) v_store(line + i, v, vl);
#endif
      INTO(total, vfmacc_vv, v, v);
    }
    const float scale = 1.0f / __builtin_sqrtf(fold_sum(total) * inverse + epsilon);
    GROUPS(i, vl, cols) {
      vf v = kept ? v_load(line + i, vl) : v_load(x + i, vl);
#ifdef CENTRED
      v = V(vfsub_vf, v, mean);
#endif
      v = V(vfmul_vf, v, scale);
#ifdef BIAS
      v = V(vfmadd_vv, v, v_load(weight + i, vl), v_load(bias + i, vl));
#elif defined(WEIGHT)
      v = V(vfmul_vv, v, v_load(weight + i, vl));
#endif
      v_store(y + i, v, vl);
    }
  }
}
