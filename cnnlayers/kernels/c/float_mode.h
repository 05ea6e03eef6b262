/* The processor's mode for subnormal numbers. Computing with them takes 40 to 50 times as long, so kernels flush
   results to zero and take operands for zero (on x86, FTZ and DAZ). */
#pragma once

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)

#include <immintrin.h>

typedef unsigned int FloatMode;

static inline FloatMode flush_subnormals(void) {
    FloatMode before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}

static inline void restore_mode(FloatMode before) { _mm_setcsr(before); }

#elif defined(__aarch64__)

typedef uint64_t FloatMode;

static inline FloatMode flush_subnormals(void) {
    FloatMode before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before | (1u << 24)));
    return before;
}

static inline void restore_mode(FloatMode before) { __asm__ __volatile__("msr fpcr, %0" : : "r"(before)); }

#else

typedef int FloatMode;

static inline FloatMode flush_subnormals(void) { return 0; }

static inline void restore_mode(FloatMode before) { (void)before; }

#endif
