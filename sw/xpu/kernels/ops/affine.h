/* Rows times a row plus a row. Before it is included: IN, OUT. */
#include "rows.h"

__global__ void rows(const IN *in, const float *weight, const float *bias, OUT *out, int count,
                     int cols) {
  ROWS(r, count) GROUPS(i, vl, cols) {
    vf v = v_load(in + r * cols + i, vl);
    v = V(vfmadd_vv, v, v_load(weight + i, vl), v_load(bias + i, vl));
    v_store(out + r * cols + i, v, vl);
  }
}
