/* Vectors of 512 bits in the style of XTDK, made of RISC-V vector registers: as many as 512 bits
 * take. The standard intrinsics (riscv_vector.h) can be used beside them.
 *
 * Loads and stores have LM and SM forms, which are the same here. Masks are integers, bit n for
 * element n; with the suffix _mz an operation makes 0 of elements whose bit is 0, with _mh those of
 * a stored vector stay. */
#ifndef XPU_VECTOR_H
#define XPU_VECTOR_H

#include <riscv_vector.h>

/* Register groups of 512 bits: their size, and the ratio of a mask of 32, 16 and 8 bit elements. */
#if __riscv_v_fixed_vlen == 128
#define XPU_GROUP m4
#define XPU_MASK_32 b8
#define XPU_MASK_16 b4
#define XPU_MASK_8 b2
#elif __riscv_v_fixed_vlen == 256
#define XPU_GROUP m2
#define XPU_MASK_32 b16
#define XPU_MASK_16 b8
#define XPU_MASK_8 b4
#elif __riscv_v_fixed_vlen == 512
#define XPU_GROUP m1
#define XPU_MASK_32 b32
#define XPU_MASK_16 b16
#define XPU_MASK_8 b8
#else
#error "vectors of 512 bits need registers of 128, 256 or 512 bits"
#endif

#define XPU_JOIN_(a, b) a##b
#define XPU_JOIN(a, b) XPU_JOIN_(a, b)
#define XPU_RVV(operation, type) XPU_JOIN(XPU_JOIN(__riscv_##operation##_, type), XPU_GROUP)
#define XPU_TYPE(type) XPU_JOIN(XPU_JOIN(type, XPU_GROUP), _t)
#define XPU_FIXED __attribute__((riscv_rvv_vector_bits(512)))

typedef XPU_TYPE(vfloat32) float32x16_t XPU_FIXED;
typedef XPU_TYPE(vfloat16) float16x32_t XPU_FIXED;
typedef XPU_TYPE(vint32) int32x16_t XPU_FIXED;
typedef XPU_TYPE(vuint32) uint32x16_t XPU_FIXED;
typedef XPU_TYPE(vint16) int16x32_t XPU_FIXED;
typedef XPU_TYPE(vint8) int8x64_t XPU_FIXED;

/* A mask register from an integer, and back. */
#define XPU_TO_MASK(mask, ratio) \
  XPU_JOIN(__riscv_vreinterpret_v_u32m1_, ratio)(__riscv_vmv_s_x_u32m1((mask), 1))
#define XPU_FROM_MASK(register, ratio) \
  __riscv_vmv_x_s_u32m1_u32(XPU_JOIN(XPU_JOIN(__riscv_vreinterpret_v_, ratio), _u32m1)(register))

/* Loads and stores. */
#define XPU_MEMORY(name, ctype, width, type, count)                                               \
  XPU_INLINE name##_t vload_lm_##name(const void *p) {                                            \
    return XPU_RVV(vle##width##_v, type)((const ctype *)p, count);                                \
  }                                                                                               \
  XPU_INLINE name##_t vload_sm_##name(const void *p) { return vload_lm_##name(p); }               \
  XPU_INLINE void vstore_lm_##name(void *p, name##_t v) {                                         \
    XPU_RVV(vse##width##_v, type)((ctype *)p, v, count);                                          \
  }                                                                                               \
  XPU_INLINE void vstore_sm_##name(void *p, name##_t v) { vstore_lm_##name(p, v); }
XPU_MEMORY(float32x16, float, 32, f32, 16)
XPU_MEMORY(float16x32, _Float16, 16, f16, 32)
XPU_MEMORY(int32x16, int32_t, 32, i32, 16)
XPU_MEMORY(uint32x16, uint32_t, 32, u32, 16)
XPU_MEMORY(int16x32, int16_t, 16, i16, 32)
XPU_MEMORY(int8x64, int8_t, 8, i8, 64)

#define XPU_BINARY(name, type, count, ours, theirs)                                               \
  XPU_INLINE name##_t vv##ours##_##name(name##_t a, name##_t b) {                                 \
    return XPU_RVV(theirs##_vv, type)(a, b, count);                                               \
  }
#define XPU_SCALAR(name, ctype, type, count, ours, theirs)                                        \
  XPU_INLINE name##_t sv##ours##_##name(ctype a, name##_t b) {                                    \
    return XPU_RVV(theirs, type)(b, a, count);                                                    \
  }
/* svsub is scalar - vector. */
#define XPU_FLOAT(name, ctype, type, count, ratio)                                                \
  XPU_BINARY(name, type, count, add, vfadd)                                                       \
  XPU_BINARY(name, type, count, sub, vfsub)                                                       \
  XPU_BINARY(name, type, count, mul, vfmul)                                                       \
  XPU_BINARY(name, type, count, div, vfdiv)                                                       \
  XPU_BINARY(name, type, count, max, vfmax)                                                       \
  XPU_BINARY(name, type, count, min, vfmin)                                                       \
  XPU_SCALAR(name, ctype, type, count, add, vfadd_vf)                                             \
  XPU_SCALAR(name, ctype, type, count, sub, vfrsub_vf)                                            \
  XPU_SCALAR(name, ctype, type, count, mul, vfmul_vf)                                             \
  XPU_SCALAR(name, ctype, type, count, max, vfmax_vf)                                             \
  XPU_SCALAR(name, ctype, type, count, min, vfmin_vf)                                             \
  /* a * b + c, rounded once. */                                                                  \
  XPU_INLINE name##_t vvmac_##name(name##_t a, name##_t b, name##_t c) {                          \
    return XPU_RVV(vfmacc_vv, type)(c, a, b, count);                                              \
  }                                                                                               \
  XPU_INLINE name##_t svmac_##name(ctype a, name##_t b, name##_t c) {                             \
    return XPU_RVV(vfmacc_vf, type)(c, a, b, count);                                              \
  }                                                                                               \
  XPU_INLINE name##_t vabs_##name(name##_t a) { return XPU_RVV(vfabs_v, type)(a, count); }        \
  XPU_INLINE name##_t vneg_##name(name##_t a) { return XPU_RVV(vfneg_v, type)(a, count); }        \
  XPU_INLINE name##_t vsqrt_##name(name##_t a) { return XPU_RVV(vfsqrt_v, type)(a, count); }      \
  XPU_INLINE name##_t vset_##name(ctype a) { return XPU_RVV(vfmv_v_f, type)(a, count); }          \
  XPU_COMPARE(name, type, count, ratio, eq, vmfeq)                                                \
  XPU_COMPARE(name, type, count, ratio, neq, vmfne)                                               \
  XPU_COMPARE(name, type, count, ratio, lt, vmflt)                                                \
  XPU_COMPARE(name, type, count, ratio, le, vmfle)
#define XPU_COMPARE(name, type, count, ratio, ours, theirs)                                       \
  XPU_INLINE uint32_t vv##ours##_##name(name##_t a, name##_t b) {                                 \
    return XPU_FROM_MASK(XPU_JOIN(XPU_JOIN(XPU_RVV(theirs##_vv, type), _), ratio)(a, b, count),   \
                         ratio) & (uint32_t)((1ull << (count)) - 1);                              \
  }
XPU_FLOAT(float32x16, float, f32, 16, XPU_MASK_32)
XPU_FLOAT(float16x32, _Float16, f16, 32, XPU_MASK_16)

#define XPU_INTEGER(name, ctype, type, count)                                                     \
  XPU_BINARY(name, type, count, add, vadd)                                                        \
  XPU_BINARY(name, type, count, sub, vsub)                                                        \
  XPU_BINARY(name, type, count, mul, vmul)                                                        \
  XPU_BINARY(name, type, count, and, vand)                                                        \
  XPU_BINARY(name, type, count, or, vor)                                                          \
  XPU_BINARY(name, type, count, xor, vxor)                                                        \
  XPU_SCALAR(name, ctype, type, count, add, vadd_vx)                                              \
  XPU_SCALAR(name, ctype, type, count, sub, vrsub_vx)                                             \
  XPU_SCALAR(name, ctype, type, count, mul, vmul_vx)                                              \
  XPU_INLINE name##_t vset_##name(ctype a) { return XPU_RVV(vmv_v_x, type)(a, count); }
XPU_INTEGER(int32x16, int32_t, i32, 16)
XPU_INTEGER(uint32x16, uint32_t, u32, 16)
XPU_INTEGER(int16x32, int16_t, i16, 32)
XPU_INTEGER(int8x64, int8_t, i8, 64)
#define XPU_EXTREMES(name, type, count)                                                           \
  XPU_BINARY(name, type, count, max, vmax)                                                        \
  XPU_BINARY(name, type, count, min, vmin)
XPU_EXTREMES(int32x16, i32, 16)
XPU_EXTREMES(int16x32, i16, 32)
XPU_EXTREMES(int8x64, i8, 64)

/* Under a mask. */
#define XPU_MASKED(name, ctype, width, type, count, ratio, splat)                                 \
  XPU_INLINE name##_t vload_lm_##name##_mz(const void *p, uint32_t mask) {                        \
    return XPU_JOIN(XPU_RVV(vle##width##_v, type), _mu)(XPU_TO_MASK(mask, ratio),                 \
        XPU_RVV(splat, type)(0, count), (const ctype *)p, count);                                 \
  }                                                                                               \
  XPU_INLINE name##_t vload_sm_##name##_mz(const void *p, uint32_t mask) {                        \
    return vload_lm_##name##_mz(p, mask);                                                         \
  }                                                                                               \
  XPU_INLINE name##_t vload_lm_##name##_mh(const void *p, name##_t old, uint32_t mask) {          \
    return XPU_JOIN(XPU_RVV(vle##width##_v, type), _mu)(XPU_TO_MASK(mask, ratio), old,            \
        (const ctype *)p, count);                                                                 \
  }                                                                                               \
  XPU_INLINE void vstore_lm_##name##_mh(void *p, name##_t v, uint32_t mask) {                     \
    XPU_JOIN(XPU_RVV(vse##width##_v, type), _m)(XPU_TO_MASK(mask, ratio), (ctype *)p, v, count);  \
  }
XPU_MASKED(float32x16, float, 32, f32, 16, XPU_MASK_32, vfmv_v_f)
XPU_MASKED(float16x32, _Float16, 16, f16, 32, XPU_MASK_16, vfmv_v_f)
XPU_MASKED(int32x16, int32_t, 32, i32, 16, XPU_MASK_32, vmv_v_x)

/* Sums and extremes of all elements, in the order of the elements. */
#define XPU_REDUCE(name, ctype, type, count)                                                      \
  XPU_INLINE ctype vreduce_sum_##name(name##_t v) {                                               \
    return XPU_JOIN(XPU_JOIN(__riscv_vfmv_f_s_, type), XPU_JOIN(m1_, type))(                      \
        XPU_JOIN(XPU_JOIN(XPU_RVV(vfredosum_vs, type), _), XPU_JOIN(type, m1))(                   \
            v, XPU_JOIN(XPU_JOIN(__riscv_vfmv_s_f_, type), m1)(0, 1), count));                    \
  }                                                                                               \
  XPU_INLINE ctype vreduce_max_##name(name##_t v) {                                               \
    return XPU_JOIN(XPU_JOIN(__riscv_vfmv_f_s_, type), XPU_JOIN(m1_, type))(                      \
        XPU_JOIN(XPU_JOIN(XPU_RVV(vfredmax_vs, type), _), XPU_JOIN(type, m1))(                    \
            v, XPU_JOIN(XPU_JOIN(__riscv_vfmv_s_f_, type), m1)(                                   \
                (ctype)-__builtin_inff(), 1), count));                                            \
  }
XPU_REDUCE(float32x16, float, f32, 16)
XPU_REDUCE(float16x32, _Float16, f16, 32)

/* Two vectors that follow each other. */
XPU_INLINE void vload2_lm(const void *p, float32x16_t *low, float32x16_t *high) {
  *low = vload_lm_float32x16(p);
  *high = vload_lm_float32x16((const char *)p + 64);
}
XPU_INLINE void vstore2_lm(void *p, float32x16_t low, float32x16_t high) {
  vstore_lm_float32x16(p, low);
  vstore_lm_float32x16((char *)p + 64, high);
}
#endif
