/* What compilers call behind a kernel's back, and the copies of xpu_kernel.h. */
#include "xpu_kernel.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  unsigned char *t = to;
  const unsigned char *f = from;
  if ((((uintptr_t)t ^ (uintptr_t)f) & 3) == 0) {
    for (; bytes && (uintptr_t)t & 3; --bytes) *t++ = *f++;
    for (; bytes >= 4; bytes -= 4, t += 4, f += 4) *(uint32_t *)t = *(const uint32_t *)f;
  }
  for (; bytes; --bytes) *t++ = *f++;
  return to;
}
void *memmove(void *to, const void *from, size_t bytes) {
  unsigned char *t = to;
  const unsigned char *f = from;
  if (t <= f) return memcpy(to, from, bytes);
  while (bytes--) t[bytes] = f[bytes];
  return to;
}
void *memset(void *to, int value, size_t bytes) {
  unsigned char *t = to;
  while (bytes--) *t++ = (unsigned char)value;
  return to;
}
void xpu_copy(void *to, const void *from, uint32_t bytes) { memcpy(to, from, bytes); }

/* Division of 64 bits, bit by bit. */
static uint64_t divide(uint64_t a, uint64_t b, uint64_t *rest) {
  uint64_t quotient = 0, r = 0;
  for (int bit = 63; bit >= 0; --bit) {
    r = r << 1 | (a >> bit & 1);
    if (r >= b) {
      r -= b;
      quotient |= (uint64_t)1 << bit;
    }
  }
  *rest = r;
  return quotient;
}
uint64_t __udivdi3(uint64_t a, uint64_t b) {
  uint64_t rest;
  return divide(a, b, &rest);
}
uint64_t __umoddi3(uint64_t a, uint64_t b) {
  uint64_t rest;
  divide(a, b, &rest);
  return rest;
}
int64_t __divdi3(int64_t a, int64_t b) {
  const uint64_t q = __udivdi3(a < 0 ? -(uint64_t)a : (uint64_t)a, b < 0 ? -(uint64_t)b : (uint64_t)b);
  return (int64_t)((a < 0) != (b < 0) ? -q : q);
}
int64_t __moddi3(int64_t a, int64_t b) {
  const uint64_t r = __umoddi3(a < 0 ? -(uint64_t)a : (uint64_t)a, b < 0 ? -(uint64_t)b : (uint64_t)b);
  return (int64_t)(a < 0 ? -r : r);
}
