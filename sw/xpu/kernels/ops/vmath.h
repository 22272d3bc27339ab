/* Functions of vectors of float: groups of four registers, `vl` elements.
 *
 * Polynomials are least-squares fits at Chebyshev nodes, reweighted towards the largest error, of
 * the weight that makes the error of the result relative (tools/fit_polynomials.py). Bounds are in
 * docs/operators.md. All of it is branch-free: special cases are chosen by masks. */
#ifndef XPU_OPS_VMATH_H
#define XPU_OPS_VMATH_H

#include "xpu_kernel.h"

/* Registers of a group: 4, or 8 where nothing but a chain of operations is in flight, whose rows are then
 * as many as the latency of one; that leaves four groups, or three if there are masks. */
#ifndef LMUL
#define LMUL 4
#endif
#if LMUL == 4
#define F32 f32m4
#define I32 i32m4
#define U32 u32m4
#define F16 f16m2
#define I16 i16m2
#define U16 u16m2
#define I8 i8m1
#define U8 u8m1
#define MASKS b8
typedef vfloat32m4_t vf;
typedef vint32m4_t vi;
typedef vbool8_t vm;
#define SET_VL __riscv_vsetvl_e32m4
#else
#define F32 f32m8
#define I32 i32m8
#define U32 u32m8
#define F16 f16m4
#define I16 i16m4
#define U16 u16m4
#define I8 i8m2
#define U8 u8m2
#define MASKS b4
typedef vfloat32m8_t vf;
typedef vint32m8_t vi;
typedef vbool4_t vm;
#define SET_VL __riscv_vsetvl_e32m8
#endif
#define GROUP (LMUL * __riscv_v_fixed_vlen / 32) /* elements of a group */

/* Intrinsics of an operation and one type, or two. */
#define R1_(operation, type) __riscv_##operation##_##type
#define R1(operation, type) R1_(operation, type)
#define R_(operation, a, b) __riscv_##operation##_##a##_##b
#define R(operation, a, b) R_(operation, a, b)
#define FN static inline __attribute__((always_inline, unused)) vf
#define V(operation, ...) R1(operation, F32)(__VA_ARGS__, vl)
#define I(operation, ...) R1(operation, I32)(__VA_ARGS__, vl)
#define AS_INT(x) R(vreinterpret_v, F32, I32)(x)
#define AS_FLOAT(x) R(vreinterpret_v, I32, F32)(x)
#define MASK(operation, ...) R(operation, F32, MASKS)(__VA_ARGS__, vl)
#define INFINITE __builtin_inff()

/* p x + c. Not fused: the constant would take a register group, of which there are eight. */
FN v_next(vf p, vf x, float c, size_t vl) { return V(vfadd_vf, V(vfmul_vv, p, x), c); }
/* c + d x. */
FN v_pair(vf x, float c, float d, size_t vl) { return V(vfadd_vf, V(vfmul_vf, x, d), c); }
FN v_is_nan_keep(vf result, vf x, size_t vl) {
  return V(vmerge_vvm, result, x, MASK(vmfne_vv, x, x));
}
FN v_abs(vf x, size_t vl) { return V(vfabs_v, x); }
/* Magnitude of a, sign of b. */
FN v_sign_of(vf a, vf b, size_t vl) { return V(vfsgnj_vv, a, b); }

/* 1 / x for 2^-126 <= |x| <= 2^126, within 1 ulp: an estimate and two Newton steps. */
FN v_reciprocal(vf x, size_t vl) {
  vf y = V(vfrec7_v, x);
  for (int step = 0; step < 2; ++step) {
    vf error = V(vfnmsac_vv, V(vfmv_v_f, 1.0f), x, y);
    y = V(vfmacc_vv, y, y, error);
  }
  return y;
}

/* 2^fraction with fraction in [-1/2, 1/2], within 1 ulp. */
FN v_exp2_fraction(vf r, size_t vl) {
  vf s = V(vfmul_vv, r, r);
  vf high = v_pair(r, 0x1.3d0c52p-7f, 0x1.5c08dcp-10f, vl);
  high = V(vfmadd_vv, high, s, v_pair(r, 0x1.ebf918p-3f, 0x1.c6b6e6p-5f, vl));
  return V(vfmadd_vv, high, s, v_pair(r, 1.0f, 0x1.62e428p-1f, vl));
}
/* e^r with r in [-ln 2 / 2, ln 2 / 2]. */
FN v_exp_fraction(vf r, size_t vl) {
  vf s = V(vfmul_vv, r, r);
  vf high = V(vfmacc_vf, v_pair(r, 0.041668225f, 0.008374816f, vl), 0x1.6ab9aap-10f, s);
  high = V(vfmadd_vv, high, s, v_pair(r, 0.4999999f, 0.1666642f, vl));
  return V(vfadd_vf, V(vfmadd_vv, high, s, r), 1.0f);
}
#define ROUND_MAGIC 0x1.8p23f /* adding it rounds to an integer, in the low bits */

/* 2^z for -126 <= z < 128 (NaN stays). */
FN v_exp2_normal(vf z, size_t vl) {
  vf whole = V(vfadd_vf, z, ROUND_MAGIC);
  vf r = V(vfsub_vv, z, V(vfsub_vf, whole, ROUND_MAGIC));
  return AS_FLOAT(I(vadd_vv, AS_INT(v_exp2_fraction(r, vl)), I(vsll_vx, AS_INT(whole), 23)));
}
/* e^x where it is normal; 0 below (NaN stays); not for x > 88. */
FN v_exp_flushed(vf x, size_t vl) {
  vm none = MASK(vmflt_vf, x, -87.0f);
  vf whole = V(vfmacc_vf, V(vfmv_v_f, ROUND_MAGIC), 0x1.715476p+0f, x);
  vf n = V(vfsub_vf, whole, ROUND_MAGIC);
  vf r = V(vfnmsac_vf, x, 0x1.62e4p-1f, n);
  r = V(vfnmsac_vf, r, 0x1.7f7d1cp-20f, n);
  vf p = v_exp_fraction(r, vl);
  p = AS_FLOAT(I(vadd_vv, AS_INT(p), I(vsll_vx, AS_INT(whole), 23)));
  return V(vfmerge_vfm, p, 0.0f, none);
}
/* e^x for x <= 0, and 2^-126 for all below -87.3 (NaN stays); no masks, and one group beside x, so that
 * it suits groups of eight registers. The least is chosen among integers, as which negative floats are
 * the larger the lower they are. */
#define AS_UNSIGNED(x) R(vreinterpret_v, I32, U32)(AS_INT(x))
FN v_exp2_chain(vf z, size_t vl) { /* for -126 <= z < 128 */
  vf whole = V(vfadd_vf, z, ROUND_MAGIC);
  vf r = V(vfsub_vv, z, V(vfsub_vf, whole, ROUND_MAGIC));
  vf p = v_pair(r, 0x1.3cea88p-7f, 0x1.5bba0ep-10f, vl);
  p = v_next(p, r, 0x1.c6b752p-5f, vl);
  p = v_next(p, r, 0x1.ebf9bcp-3f, vl);
  p = v_next(p, r, 0x1.62e42ap-1f, vl);
  p = v_next(p, r, 1.0f, vl);
  return AS_FLOAT(I(vadd_vv, AS_INT(p), I(vsll_vx, AS_INT(whole), 23)));
}
FN v_exp_below(vf x, size_t vl) {
  vf z = V(vfmul_vf, x, 0x1.715476p+0f);
  z = AS_FLOAT(R(vreinterpret_v, U32, I32)(R1(vminu_vx, U32)(AS_UNSIGNED(z), 0xC2FC0000, vl)));
  return v_exp2_chain(z, vl);
}
/* 2^k for integers -149 - 126 <= k <= 254, in two factors of which each is normal. */
FN v_scale(vf p, vi k, size_t vl) {
  vi half = I(vsra_vx, k, 1), rest = I(vsub_vv, k, half);
  p = V(vfmul_vv, p, AS_FLOAT(I(vsll_vx, I(vadd_vx, half, 127), 23)));
  return V(vfmul_vv, p, AS_FLOAT(I(vsll_vx, I(vadd_vx, rest, 127), 23)));
}
FN v_exp(vf x, size_t vl) {
  vf y = V(vfmax_vf, V(vfmin_vf, x, 90.0f), -105.0f);
  vf whole = V(vfmacc_vf, V(vfmv_v_f, ROUND_MAGIC), 0x1.715476p+0f, y);
  vf n = V(vfsub_vf, whole, ROUND_MAGIC);
  vf r = V(vfnmsac_vf, y, 0x1.62e4p-1f, n);
  r = V(vfnmsac_vf, r, 0x1.7f7d1cp-20f, n);
  vf p = v_exp_fraction(r, vl);
  vi k = I(vsub_vx, AS_INT(whole), 0x4B400000);
  return v_is_nan_keep(v_scale(p, k, vl), x, vl);
}

/* Exponent and mantissa in [sqrt(1/2), sqrt(2)) of a positive number, also a subnormal one. */
#define V_SPLIT(x, f, e)                                                                     \
  vm tiny_ = MASK(vmflt_vf, x, 0x1p-126f);                                                   \
  vi bits_ = AS_INT(V(vmerge_vvm, x, V(vfmul_vf, x, 0x1p23f), tiny_));                       \
  vi k_ = I(vsra_vx, I(vsub_vx, bits_, 0x3F3504F3), 23);                                     \
  vf f = V(vfsub_vf, AS_FLOAT(I(vsub_vv, bits_, I(vsll_vx, k_, 23))), 1.0f);                 \
  k_ = I(vmerge_vvm, k_, I(vadd_vx, k_, -23), tiny_);                                        \
  vf e = V(vfcvt_f_x_v, k_)
FN v_log_polynomial(vf f, size_t vl) { /* (log(1 + f) - f + f^2 / 2) / f^3 */
  vf p = V(vfmv_v_f, 0.06746601f);
  p = v_next(p, f, -0.11675641f, vl);
  p = v_next(p, f, 0.11888175f, vl);
  p = v_next(p, f, -0.124055915f, vl);
  p = v_next(p, f, 0.14219551f, vl);
  p = v_next(p, f, -0.16667996f, vl);
  p = v_next(p, f, 0.20002119f, vl);
  p = v_next(p, f, -0.2500001f, vl);
  return v_next(p, f, 0.33333313f, vl);
}
FN v_log_special(vf y, vf x, size_t vl) {
  y = V(vfmerge_vfm, y, -INFINITE, MASK(vmfeq_vf, x, 0.0f));
  y = V(vfmerge_vfm, y, __builtin_nanf(""), MASK(vmflt_vf, x, 0.0f));
  y = V(vfmerge_vfm, y, INFINITE, MASK(vmfeq_vf, x, INFINITE));
  return v_is_nan_keep(y, x, vl);
}
FN v_log(vf x, size_t vl) {
  V_SPLIT(x, f, e);
  vf square = V(vfmul_vv, f, f);
  vf y = V(vfmul_vv, V(vfmul_vv, v_log_polynomial(f, vl), f), square);
  y = V(vfmacc_vf, y, 0x1.7f7d1cp-20f, e);
  y = V(vfmacc_vf, y, -0.5f, square);
  y = V(vfadd_vv, y, f);
  y = V(vfmacc_vf, y, 0x1.62e4p-1f, e);
  return v_log_special(y, x, vl);
}

/* x^y: y * log2(x) as a sum of two floats, so that the error does not grow with it. */
FN v_pow(vf x, vf y, size_t vl) {
  vf a = v_abs(x, vl);
  V_SPLIT(a, f, e);
  vf square = V(vfmul_vv, f, f), square_low = V(vfmsac_vv, square, f, f);
  vf p = v_log_polynomial(f, vl);
  /* log(1 + f) = f - square / 2 + f^3 p, high and low. */
  vf high = V(vfmacc_vf, f, -0.5f, square);
  vf low = V(vfmacc_vf, V(vfsub_vv, f, high), -0.5f, square);
  low = V(vfmacc_vf, low, -0.5f, square_low);
  low = V(vfmacc_vv, low, V(vfmul_vv, square, f), p);
  vf sum = V(vfadd_vv, high, low);
  low = V(vfsub_vv, low, V(vfsub_vv, sum, high));
  /* Times log2(e) = c + d, plus the exponent. */
  const float c = 0x1.715476p+0f, d = 0x1.4ae0cp-26f;
  vf product = V(vfmul_vf, sum, c), product_low = V(vfmsac_vf, product, c, sum);
  product_low = V(vfmacc_vf, V(vfmacc_vf, product_low, d, sum), c, low);
  vf log = V(vfadd_vv, e, product);
  vf log_low = V(vfadd_vv, V(vfsub_vv, product, V(vfsub_vv, log, e)), product_low);
  /* Times y. */
  vf z = V(vfmul_vv, log, y), z_low = V(vfmacc_vv, V(vfmsac_vv, z, log, y), log_low, y);
  vf bound = V(vfmax_vf, V(vfmin_vf, z, 300.0f), -300.0f);
  z_low = V(vfmerge_vfm, z_low, 0.0f, MASK(vmfne_vv, bound, z));
  vf whole = V(vfadd_vf, bound, ROUND_MAGIC);
  vf r = V(vfadd_vv, V(vfsub_vv, bound, V(vfsub_vf, whole, ROUND_MAGIC)), z_low);
  vf result = v_scale(v_exp2_fraction(r, vl),
                      I(vmin_vx, I(vmax_vx, I(vsub_vx, AS_INT(whole), 0x4B400000), -252), 254), vl);
  /* Zeros, infinities, signs. */
  vf size = v_abs(y, vl);
  vm y_up = MASK(vmfgt_vf, y, 0.0f);
  vf ends = V(vfmerge_vfm, V(vfmv_v_f, INFINITE), 0.0f, y_up); /* 0 to the y */
  result = V(vmerge_vvm, result, ends, MASK(vmfeq_vf, a, 0.0f));
  ends = V(vfmerge_vfm, V(vfmv_v_f, 0.0f), INFINITE, y_up);
  result = V(vmerge_vvm, result, ends, MASK(vmfeq_vf, a, INFINITE));
  vm grows = R1(vmxnor_mm, MASKS)(MASK(vmfgt_vf, a, 1.0f), y_up, vl);
  ends = V(vfmerge_vfm, V(vfmv_v_f, 0.0f), INFINITE, grows);
  result = V(vmerge_vvm, result, ends, MASK(vmfeq_vf, size, INFINITE));
  vm is_big = MASK(vmfge_vf, size, 0x1p24f); /* every float from there on is an even integer */
  vi n = R1(vfcvt_rtz_x_f_v, I32)(y, vl);
  vm integer = R1(vmor_mm, MASKS)(is_big, MASK(vmfeq_vv, V(vfcvt_f_x_v, n), y), vl);
  vm odd = R1(vmandn_mm, MASKS)(R(vmsne_vx, I32, MASKS)(I(vand_vx, n, 1), 0, vl), is_big, vl);
  odd = R1(vmand_mm, MASKS)(odd, integer, vl);
  vm negative = R(vmslt_vx, I32, MASKS)(AS_INT(x), 0, vl);
  vm flips = R1(vmand_mm, MASKS)(odd, negative, vl);
  result = V(vmerge_vvm, result, V(vfneg_v, result), flips);
  vm bad = R1(vmandn_mm, MASKS)(MASK(vmflt_vf, x, 0.0f), integer, vl);
  bad = R1(vmand_mm, MASKS)(bad, MASK(vmflt_vf, a, INFINITE), vl);
  result = V(vfmerge_vfm, result, __builtin_nanf(""), bad);
  vm undefined = R1(vmor_mm, MASKS)(MASK(vmfne_vv, x, x), MASK(vmfne_vv, y, y), vl);
  result = V(vfmerge_vfm, result, __builtin_nanf(""), undefined);
  vm one = R1(vmor_mm, MASKS)(MASK(vmfeq_vf, x, 1.0f), MASK(vmfeq_vf, y, 0.0f), vl);
  vm minus_one = R1(vmand_mm, MASKS)(MASK(vmfeq_vf, x, -1.0f), MASK(vmfeq_vf, size, INFINITE), vl);
  return V(vfmerge_vfm, result, 1.0f, R1(vmor_mm, MASKS)(one, minus_one, vl));
}

FN v_sigmoid(vf x, size_t vl) { /* with e = exp(-|x|): 1 / (1 + e), times e below 0 */
  vf e = v_exp_flushed(V(vfneg_v, v_abs(x, vl)), vl);
  vf s = v_reciprocal(V(vfadd_vf, e, 1.0f), vl);
  return V(vmerge_vvm, s, V(vfmul_vv, s, e), MASK(vmflt_vf, x, 0.0f));
}
FN v_silu(vf x, size_t vl) { return V(vfmul_vv, x, v_sigmoid(x, vl)); }
FN v_tanh(vf x, size_t vl) {
  vf a = v_abs(x, vl), s = V(vfmul_vv, x, x);
  vf p = V(vfmv_v_f, -0.0057049785f);
  p = v_next(p, s, 0.020639079f, vl);
  p = v_next(p, s, -0.05373971f, vl);
  p = v_next(p, s, 0.13331442f, vl);
  p = v_next(p, s, -0.3333328f, vl);
  vf near = V(vfmacc_vv, x, V(vfmul_vv, p, s), x);
  vf e = V(vfadd_vf, v_exp_flushed(V(vfmin_vf, V(vfadd_vv, a, a), 30.0f), vl), 1.0f);
  vf far = V(vfmacc_vf, V(vfmv_v_f, 1.0f), -2.0f, v_reciprocal(e, vl));
  vf y = V(vmerge_vvm, v_sign_of(far, x, vl), near, MASK(vmflt_vf, a, 0.625f));
  return v_is_nan_keep(y, x, vl);
}
FN v_erf(vf x, size_t vl) {
  vf a = v_abs(x, vl), s = V(vfmul_vv, x, x);
  vf p = V(vfmv_v_f, -0.0005631419f);
  p = v_next(p, s, 0.004917551f, vl);
  p = v_next(p, s, -0.026711311f, vl);
  p = v_next(p, s, 0.1128018f, vl);
  p = v_next(p, s, -0.37612325f, vl);
  p = v_next(p, s, 0.12837912f, vl);
  vf near = V(vfmacc_vv, x, p, x);
  vf t = V(vfmin_vf, a, 4.05f);
  vf q = V(vfmv_v_f, 0.00027761218f); /* log2(erfc(t)) */
  q = v_next(q, t, -0.0043404023f, vl);
  q = v_next(q, t, 0.031865735f, vl);
  q = v_next(q, t, -0.14952138f, vl);
  q = v_next(q, t, -0.91974264f, vl);
  q = v_next(q, t, -1.6266025f, vl);
  q = v_next(q, t, -0.00035304666f, vl);
  vf far = V(vfrsub_vf, v_exp2_normal(q, vl), 1.0f);
  vf y = V(vmerge_vvm, v_sign_of(far, x, vl), near, MASK(vmflt_vf, a, 0.95f));
  return v_is_nan_keep(y, x, vl);
}
/* x Phi(x) = max(x, 0) - t q(t), with t = |x| and q(t) = erfc(t / sqrt(2)) / 2 as a power of 2: a chain
 * with little beside it, for groups of eight registers. */
FN v_gelu(vf x, size_t vl) {
  vf t = V(vfmin_vf, v_abs(x, vl), 5.6f);
  vf q = v_pair(t, -6.328318e-05f, 9.489444e-06f, vl);
  q = v_next(q, t, -0.0003886408f, vl);
  q = v_next(q, t, 0.0073354663f, vl);
  q = v_next(q, t, -0.05264762f, vl);
  q = v_next(q, t, -0.45916903f, vl);
  q = v_next(q, t, -1.1511089f, vl);
  q = v_next(q, t, -0.99999994f, vl);
  vf rest = V(vfmul_vv, t, v_exp2_chain(q, vl));
  return V(vfmsac_vf, rest, 0.5f, V(vfadd_vv, x, v_abs(x, vl)));
}
FN v_clamp(vf x, float low, float high, size_t vl) {
  return v_is_nan_keep(V(vfmin_vf, V(vfmax_vf, x, low), high), x, vl);
}
FN v_hardswish(vf x, size_t vl) {
  return V(vfmul_vv, x, V(vfmul_vf, v_clamp(V(vfadd_vf, x, 3.0f), 0.0f, 6.0f, vl), 0x1.555556p-3f));
}
FN v_relu(vf x, size_t vl) { return v_clamp(x, 0.0f, INFINITE, vl); }
FN v_leaky_relu(vf x, float slope, size_t vl) {
  return V(vmerge_vvm, x, V(vfmul_vf, x, slope), MASK(vmflt_vf, x, 0.0f));
}
FN v_sqrt(vf x, size_t vl) { return V(vfsqrt_v, x); }
FN v_rsqrt(vf x, size_t vl) { return V(vfrdiv_vf, V(vfsqrt_v, x), 1.0f); }
FN v_maximum(vf a, vf b, size_t vl) { /* a NaN of either */
  vf y = V(vfmax_vv, a, b);
  return v_is_nan_keep(v_is_nan_keep(y, a, vl), b, vl);
}
FN v_minimum(vf a, vf b, size_t vl) {
  vf y = V(vfmin_vv, a, b);
  return v_is_nan_keep(v_is_nan_keep(y, a, vl), b, vl);
}
#endif
