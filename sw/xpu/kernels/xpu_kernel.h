/* What a kernel for the SIMD cores sees: the C interface in the style of XTDK.
 *
 * A kernel runs on every core of a launch (SPMD). Pointers are 32 bits: the core's own local
 * memory (LM) is at 0, the cluster's scratchpad (SM) at 0x01000000, global memory (GM) from
 * 0x10000000 on. A kernel is a function qualified with
 * __global__ that returns void. */
#ifndef XPU_KERNEL_H
#define XPU_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define __global__ __attribute__((used, noinline))
#define __device__ __attribute__((unused))
/* Storage in LM: one object per core, undefined at the start of a launch. */
#define __local__ __attribute__((section(".lm.data")))
#define __simd__ __attribute__((section(".lm.data"), aligned(64)))
#define _global_ptr_
#define __global_ptr__

#ifdef __cplusplus
#define XPU_INLINE static inline __attribute__((always_inline))
extern "C" {
#else
#define XPU_INLINE static inline __attribute__((always_inline, unused))
#endif

#define XPU_READ_CSR(number)                              \
  (__extension__({                                        \
    uint32_t xpu_csr_value;                               \
    __asm__ volatile("csrr %0, %1" : "=r"(xpu_csr_value) : "i"(number)); \
    xpu_csr_value;                                        \
  }))

/* Who runs. The usual number of a thread is core_num() * cluster_id() + core_id(). */
XPU_INLINE int core_id(void) { return (int)XPU_READ_CSR(XPU_CSR_MHARTID); }
XPU_INLINE int core_num(void) { return (int)XPU_READ_CSR(XPU_CSR_CORE_COUNT); }
XPU_INLINE int cluster_id(void) { return 0; }
XPU_INLINE int cluster_num(void) { return 1; }

/* Cycles since the launch, and instructions retired. */
XPU_INLINE uint32_t xpu_cycles(void) { return XPU_READ_CSR(XPU_CSR_CYCLE); }
XPU_INLINE uint32_t xpu_instructions(void) { return XPU_READ_CSR(XPU_CSR_INSTRET); }

/* Order what came before against what comes after: loads and stores, and copies. */
XPU_INLINE void mfence(void) { __asm__ volatile("fence" ::: "memory"); }
XPU_INLINE void mfence_lm(void) { mfence(); }

/* Storage in the cluster's scratchpad (SM), the same object for all cores of a launch; undefined at
 * its start. Objects begin at the start of SM: a launch with some must not run beside operators that
 * use it, and in the order of one device's work none does. */
#define __shared__ __attribute__((section(".sm.data"), aligned(64)))
#define _shared_ptr_
#define __shared_ptr__
XPU_INLINE void mfence_sm(void) { mfence(); }

/* Copies, source first, sizes in bytes. Done when they return; the asynchronous ones at the next
 * mfence(). */
void xpu_copy(void *to, const void *from, uint32_t bytes);
XPU_INLINE void GM2LM(const void *gm, void *lm, uint32_t bytes) { xpu_copy(lm, gm, bytes); }
XPU_INLINE void LM2GM(const void *lm, void *gm, uint32_t bytes) { xpu_copy(gm, lm, bytes); }
XPU_INLINE void GM2SM(const void *gm, void *sm, uint32_t bytes) { xpu_copy(sm, gm, bytes); }
XPU_INLINE void SM2GM(const void *sm, void *gm, uint32_t bytes) { xpu_copy(gm, sm, bytes); }
XPU_INLINE void GM2SM_ASYNC(const void *gm, void *sm, uint32_t bytes) { xpu_copy(sm, gm, bytes); }
XPU_INLINE void SM2GM_ASYNC(const void *sm, void *gm, uint32_t bytes) { xpu_copy(gm, sm, bytes); }
XPU_INLINE void GM2LM_ASYNC(const void *gm, void *lm, uint32_t bytes) { xpu_copy(lm, gm, bytes); }
XPU_INLINE void LM2GM_ASYNC(const void *lm, void *gm, uint32_t bytes) { xpu_copy(gm, lm, bytes); }

/* To the host: each core's text appears, core by core, when the launch is complete. Conversions d i
 * u x X o c s p f e g; floating-point numbers have the precision of a float. */
int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Wait until all cores of the launch that have not ended are here. */
XPU_INLINE void sync_cluster(void) {
  __asm__ volatile("csrw %0, zero" ::"i"(XPU_CSR_BARRIER) : "memory");
}
XPU_INLINE void sync_all(void) { sync_cluster(); }

/* End the kernel on this core with a trap that the host sees: BREAKPOINT at this place. */
XPU_INLINE void xpu_abort(void) { __asm__ volatile("ebreak" ::: "memory"); }

#ifdef __cplusplus
}
#endif

#ifdef __riscv_vector
#include "xpu_vector.h"
#endif
#endif
