/* Elements of any type in memory as groups of four registers of 32 bits, and back.
 *
 * v_load(p) is float: exact of types of at most 24 bits. v_store rounds to nearest even; to integers
 * it cuts off the fraction and saturates; NaN becomes the largest. i_load, i_store are for integers:
 * of more bits than the type has the low ones stay. */
#ifndef XPU_OPS_TYPES_H
#define XPU_OPS_TYPES_H

#include "vmath.h"

typedef struct { uint16_t bits; } bfloat16_t;
typedef struct { uint8_t bits; } bool8_t;

#define OVER static inline __attribute__((always_inline, overloadable, unused))

OVER vi i_load(const int32_t *p, size_t vl) { return R1(vle32_v, I32)(p, vl); }
OVER vi i_load(const uint32_t *p, size_t vl) { return i_load((const int32_t *)p, vl); }
OVER vi i_load(const int16_t *p, size_t vl) { return I(vsext_vf2, R1(vle16_v, I16)(p, vl)); }
OVER vi i_load(const int8_t *p, size_t vl) { return I(vsext_vf4, R1(vle8_v, I8)(p, vl)); }
#define AS_SIGNED(x) R(vreinterpret_v, U32, I32)(x)
OVER vi i_load(const uint16_t *p, size_t vl) {
  return AS_SIGNED(R1(vzext_vf2, U32)(R1(vle16_v, U16)(p, vl), vl));
}
OVER vi i_load(const uint8_t *p, size_t vl) {
  return AS_SIGNED(R1(vzext_vf4, U32)(R1(vle8_v, U8)(p, vl), vl));
}
OVER vi i_load(const bool8_t *p, size_t vl) { return i_load(&p->bits, vl); }

OVER void i_store(int32_t *p, vi x, size_t vl) { R1(vse32_v, I32)(p, x, vl); }
OVER void i_store(uint32_t *p, vi x, size_t vl) { i_store((int32_t *)p, x, vl); }
OVER void i_store(int16_t *p, vi x, size_t vl) {
  R1(vse16_v, I16)(p, R1(vncvt_x_x_w, I16)(x, vl), vl);
}
OVER void i_store(uint16_t *p, vi x, size_t vl) { i_store((int16_t *)p, x, vl); }
OVER void i_store(int8_t *p, vi x, size_t vl) {
  R1(vse8_v, I8)(p, R1(vncvt_x_x_w, I8)(R1(vncvt_x_x_w, I16)(x, vl), vl), vl);
}
OVER void i_store(uint8_t *p, vi x, size_t vl) { i_store((int8_t *)p, x, vl); }
static inline __attribute__((always_inline, unused)) void m_store(bool8_t *p, vm x, size_t vl) {
  R1(vse8_v, U8)(&p->bits, R1(vmerge_vxm, U8)(R1(vmv_v_x, U8)(0, vl), 1, x, vl), vl);
}
OVER void i_store(bool8_t *p, vi x, size_t vl) {
  m_store(p, R(vmsne_vx, I32, MASKS)(x, 0, vl), vl);
}

OVER vf v_load(const float *p, size_t vl) { return R1(vle32_v, F32)(p, vl); }
OVER vf v_load(const _Float16 *p, size_t vl) {
  return R1(vfwcvt_f_f_v, F32)(R1(vle16_v, F16)(p, vl), vl);
}
OVER vf v_load(const bfloat16_t *p, size_t vl) {
  return AS_FLOAT(I(vsll_vx, i_load(&p->bits, vl), 16));
}
OVER vf v_load(const uint32_t *p, size_t vl) {
  return R1(vfcvt_f_xu_v, F32)(R1(vle32_v, U32)(p, vl), vl);
}
#define FROM_INTEGER(type) \
  OVER vf v_load(const type *p, size_t vl) { return V(vfcvt_f_x_v, i_load(p, vl)); }
FROM_INTEGER(int32_t)
FROM_INTEGER(int16_t)
FROM_INTEGER(uint16_t)
FROM_INTEGER(int8_t)
FROM_INTEGER(uint8_t)
FROM_INTEGER(bool8_t)

OVER void v_store(float *p, vf x, size_t vl) { R1(vse32_v, F32)(p, x, vl); }
OVER void v_store(_Float16 *p, vf x, size_t vl) {
  R1(vse16_v, F16)(p, R1(vfncvt_f_f_w, F16)(x, vl), vl);
}
OVER void v_store(bfloat16_t *p, vf x, size_t vl) {
  vi bits = AS_INT(x);
  vi odd = I(vand_vx, I(vsra_vx, bits, 16), 1);
  vi up = I(vadd_vx, I(vadd_vv, bits, odd), 0x7FFF);
  up = I(vmerge_vxm, up, 0x7FC00000, MASK(vmfne_vv, x, x));
  i_store((int16_t *)&p->bits, I(vsra_vx, up, 16), vl);
}
OVER void v_store(int32_t *p, vf x, size_t vl) {
  R1(vse32_v, I32)(p, R1(vfcvt_rtz_x_f_v, I32)(x, vl), vl);
}
OVER void v_store(uint32_t *p, vf x, size_t vl) {
  R1(vse32_v, U32)(p, R1(vfcvt_rtz_xu_f_v, U32)(x, vl), vl);
}
OVER void v_store(bool8_t *p, vf x, size_t vl) { m_store(p, MASK(vmfne_vf, x, 0.0f), vl); }
#define TO_INTEGER(type, low, high)                                           \
  OVER void v_store(type *p, vf x, size_t vl) {                               \
    vi n = R1(vfcvt_rtz_x_f_v, I32)(x, vl);                              \
    i_store(p, I(vmin_vx, I(vmax_vx, n, low), high), vl);                     \
  }
TO_INTEGER(int16_t, -32768, 32767)
TO_INTEGER(uint16_t, 0, 65535)
TO_INTEGER(int8_t, -128, 127)
TO_INTEGER(uint8_t, 0, 255)

/* The part of `count` units that is this core's: `first` to `last`, in multiples of `step`. */
#define MY_SHARE(count, step, first, last)                                    \
  const int share_ = ((count) + core_num() * (step) - 1) / (core_num() * (step)) * (step); \
  const int first = core_id() * share_;                                       \
  const int last = first + share_ < (count) ? first + share_ : (count)
#endif
