/* Vectors of REAL, by the vector extension of GCC and Clang: one source for every instruction set.

   VBYTES is the width of a vector register, MR the positions of a register tile; level.c sets both for each level. A
   tile holds MR x 2 accumulators, two vectors of weights and one broadcast number: 27 of 32 registers on AVX-512. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VL ((int)(VBYTES / sizeof(REAL)))
#define NR (2 * VL)

typedef REAL Vec __attribute__((vector_size(VBYTES), aligned(sizeof(REAL)), may_alias));
typedef __typeof__((Vec){0} < (Vec){0}) Mask;

#define LOAD(p) (*(const Vec *)(p))
#define STORE(p, v) (*(Vec *)(p) = (v))

/* Of a sum in REAL, at most. Beyond that many, parts are summed, and then their sums: a float that has come to 2^24
   stays where it is if ones are added. */
#define MOST_TERMS 65536

/* INLINE: the numbers that a call gives as constants are constants in the body. NOINLINE: an instance of such a
   body. */
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))

#if REAL_BITS == 32
#define SQRT __builtin_sqrtf
#else
#define SQRT __builtin_sqrt
#endif

/* for (i = 0; i < n; i++) with a constant n of at most 36, all turns written out: arrays that i indexes are
   registers. */
#define UNROLLED(i, n) _Pragma("GCC unroll 36") for (int i = 0; i < (n); i++)

/* for (i = 0; i < n; i++), a loop to be made of vectors: its iterations are independent. Output and input may be one
   array; partial overlap is not allowed. */
#ifdef __clang__
#define FOR_EACH(i, n) _Pragma("clang loop vectorize(assume_safety)") for (ptrdiff_t i = 0; i < (n); i++)
#else
#define FOR_EACH(i, n) _Pragma("GCC ivdep") for (ptrdiff_t i = 0; i < (n); i++)
#endif

/* to += from */
INLINE void add_to(ptrdiff_t count, REAL *to, const REAL *from) {
    FOR_EACH(i, count)
        to[i] += from[i];
}

/* relu(v) = v > 0 ? v : 0, but NaN for NaN */
INLINE REAL rectify(REAL v) { return v <= 0 ? 0 : v; }

INLINE Vec rectify_each(Vec v) { return (Vec)((Mask)v & ~(v <= 0)); }

/* The first `count` elements of a vector; the others are 0. */
INLINE Vec load_first(const REAL *from, ptrdiff_t count) {
    Vec v = {0};
    if (count >= VL)
        return LOAD(from);
    memcpy(&v, from, (size_t)count * sizeof(REAL));
    return v;
}

INLINE void store_first(REAL *to, Vec v, ptrdiff_t count) {
    if (count >= VL)
        STORE(to, v);
    else
        memcpy(to, &v, (size_t)count * sizeof(REAL));
}

/* Where vector v of c channels begins: the last one is moved back to end with them. Not so if they are `small`,
   fewer than a vector has. */
INLINE ptrdiff_t lane(ptrdiff_t v, ptrdiff_t c, int small) { return small || v + VL <= c ? v : c - VL; }
