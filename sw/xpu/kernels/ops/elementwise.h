/* One element of the result from one of each operand. Before it is included:
 *   A, B, C      types of the operands in memory, B and C if there are so many
 *   OUT          that of the result
 *   LOAD, STORE  v or i: as floats or integers, m: the result is a mask
 *   RESULT(a)    or (a, b), (a, b, c): the function, with numbers p and q, of type NUMBER
 *   AHEAD        of one operand, the next group is loaded before one is computed
 *   STORE_AS     for STORE i: stored as this type, of the size of OUT */
#include "types.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define STRIP (2 * GROUP)
#ifndef STORE_AS
#define STORE_AS OUT
#endif
#define TO(i) ((STORE_AS *)out + (i))
#ifdef C
#define OPERANDS const A *a, const B *b, const C *c
#define APPLY(i) RESULT(JOIN(LOAD, _load)(a + (i), vl), JOIN(LOAD, _load)(b + (i), vl), JOIN(LOAD, _load)(c + (i), vl))
#elif defined(B)
#define OPERANDS const A *a, const B *b
#define APPLY(i) RESULT(JOIN(LOAD, _load)(a + (i), vl), JOIN(LOAD, _load)(b + (i), vl))
#else
#define OPERANDS const A *a
#define APPLY(i) RESULT(JOIN(LOAD, _load)(a + (i), vl))
#endif

__global__ void elementwise(OPERANDS, OUT *out, int count, NUMBER p, NUMBER q) {
  (void)p, (void)q;
  MY_SHARE(count, STRIP, first, last);
  int i = first;
#if LMUL == 4
  const size_t vl = GROUP;
  for (; i + STRIP <= last; i += STRIP) { /* two independent groups: each fills the other's waits */
    __auto_type one = APPLY(i);
    __auto_type two = APPLY(i + STRIP / 2);
    JOIN(STORE, _store)(TO(i), one, vl);
    JOIN(STORE, _store)(TO(i + STRIP / 2), two, vl);
  }
#endif
#ifdef AHEAD /* of one operand, the next group is loaded while one is computed */
  if (i + GROUP <= last) {
    const size_t vl = GROUP;
    __auto_type next = JOIN(LOAD, _load)(a + i, vl);
    for (; i + GROUP <= last; i += GROUP) {
      __auto_type x = next;
      next = JOIN(LOAD, _load)(a + (i + 2 * GROUP <= last ? i + GROUP : i), vl);
      JOIN(STORE, _store)(TO(i), RESULT(x), vl);
    }
  }
#endif
  for (; i < last;) {
    const size_t vl = SET_VL(last - i);
    JOIN(STORE, _store)(TO(i), APPLY(i), vl);
    i += vl;
  }
}
