/* Which instruction sets a processor has and its system lets programs use: CPUID and XGETBV, asked directly.

   Not __builtin_cpu_supports, which some toolchains lack. A set counts if its bit of CPUID is set and the system keeps
   its registers when it goes from one program to another (XCR0): some virtual machines and kernels do not. On aarch64
   there is nothing to ask: NEON is part of each. */
#pragma once

#include <stdint.h>

/* Bits of a processor: all 0 where it is no x86. */
typedef struct {
    uint32_t leaf1; /* CPUID 1, ECX */
    uint32_t leaf7; /* CPUID 7, EBX */
    uint32_t kept;  /* XCR0 */
} cnn_cpu;

enum {
    LEAF1_FMA = 1 << 12,
    LEAF1_OSXSAVE = 1 << 27, /* XCR0 can be read */
    LEAF1_AVX = 1 << 28,
    LEAF7_AVX2 = 1 << 5,
    LEAF7_AVX512F = 1 << 16,
    LEAF7_AVX512DQ = 1 << 17,
    LEAF7_AVX512BW = 1 << 30,
    KEPT_YMM = 0x06, /* xmm and the upper halves of ymm */
    KEPT_ZMM = 0xe6, /* these, masks, the upper halves of zmm, and zmm16 to 31 */
};
#define LEAF7_AVX512VL (1u << 31)

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

static inline cnn_cpu cnn_cpu_here(void) {
    cnn_cpu has = {0, 0, 0};
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        has.leaf1 = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        has.leaf7 = ebx;
    if (has.leaf1 & LEAF1_OSXSAVE) {
        __asm__ volatile(".byte 0x0f, 0x01, 0xd0" /* xgetbv */ : "=a"(eax), "=d"(edx) : "c"(0));
        has.kept = eax;
    }
#ifdef __APPLE__
    has.kept &= KEPT_YMM; /* it keeps zmm for threads that have used them, and its older versions do not keep masks */
#endif
    return has;
}
#else
static inline cnn_cpu cnn_cpu_here(void) { return (cnn_cpu){0, 0, 0}; }
#endif

/* Whether it has all that is needed. */
static inline int cnn_cpu_has(cnn_cpu has, cnn_cpu needed) {
    return (has.leaf1 & needed.leaf1) == needed.leaf1 && (has.leaf7 & needed.leaf7) == needed.leaf7 &&
           (has.kept & needed.kept) == needed.kept;
}
