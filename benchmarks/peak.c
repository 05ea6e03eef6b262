/* The machine's limits on one thread: fused multiply-adds with all operands in registers, and bytes from memory.

   A multiply-add waits about four cycles for its own result, and a core starts two in each: so the sums must be many
   and independent, and still fit in the registers with the two operands. */
#include <stddef.h>

#if defined(__AVX512F__)
#define VBYTES 64
#define SUMS 24
#elif defined(__AVX__)
#define VBYTES 32
#define SUMS 12
#elif defined(__aarch64__)
#define VBYTES 16
#define SUMS 24
#else
#define VBYTES 16
#define SUMS 12
#endif

#define DEFINE_FMA(REAL)                                                                    \
    typedef REAL REAL##_vector __attribute__((vector_size(VBYTES)));                        \
    /* Give the number of operations done: SUMS multiply-adds of a vector in each turn. */  \
    double fma_##REAL(long turns, REAL *out) {                                              \
        REAL##_vector sum[SUMS], a, b;                                                      \
        for (size_t i = 0; i < VBYTES / sizeof(REAL); i++)                                  \
            a[i] = out[0], b[i] = out[1];                                                   \
        for (int s = 0; s < SUMS; s++)                                                      \
            sum[s] = b * (REAL)s;                                                           \
        for (long t = 0; t < turns; t++) {                                                  \
            _Pragma("GCC unroll 24") for (int s = 0; s < SUMS; s++) sum[s] = sum[s] * a + b; \
        }                                                                                   \
        for (int s = 1; s < SUMS; s++)                                                      \
            sum[0] += sum[s];                                                               \
        out[2] = sum[0][0];                                                                 \
        return 2.0 * (double)turns * SUMS * (VBYTES / sizeof(REAL));                        \
    }
DEFINE_FMA(float)
DEFINE_FMA(double)

/* y = a x + y over n floats. */
void triad(long n, float a, const float *x, float *y) {
    for (long i = 0; i < n; i++)
        y[i] += a * x[i];
}
