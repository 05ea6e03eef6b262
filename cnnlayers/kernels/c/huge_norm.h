/* Statistics of elements whose squares overflow, from |x| about 1e19 on (in double 1e154): the norms' slow way, which
   they go where the usual one found no variance.

   The elements are multiplied by a power of two, which rounds nothing, so that the largest is near 1; the sums are in
   double. A deviation of up to the largest number / 4 has a scale that is no subnormal number. */
#pragma once

#include "simd.h"

#if REAL_BITS == 32
#define LARGEST ((double)__FLT_MAX__)
#else
#define LARGEST ((double)__DBL_MAX__)
#endif

/* Whether the statistics that led to this variance are of no use. */
INLINE int is_huge(double var) { return !(var <= LARGEST / 4); }

/* mean, var (infinite where it is larger than the largest number) and scale = 1 / sqrt(var + eps) of `rows` rows of
   `width` neighbours, the rows `step` elements apart. Where an element is not finite all three are left as they are:
   NaN. */
NOINLINE void huge_statistics(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t step, const REAL *x, double eps, REAL *mean,
                              REAL *var, REAL *scale) {
    double most = 0, sum = 0, off = 0, squares = 0, count = (double)(rows * width);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < width; i++) {
            double size = __builtin_fabs((double)x[r * step + i]);
            if (!(size <= LARGEST))
                return;
            most = size > most ? size : most;
        }
    int exponent;
    __builtin_frexp(most, &exponent);
    double down = __builtin_ldexp(1, 8 - exponent), up = __builtin_ldexp(1, exponent - 8); /* neither is subnormal */
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < width; i++)
            sum += (double)x[r * step + i] * down;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < width; i++) {
            double d = (double)x[r * step + i] * down - sum / count;
            off += d;
            squares += d * d;
        }
    double var_down = (squares - off * off / count) / count; /* rounding may go below 0 */
    double deviation = __builtin_sqrt(var_down > 0 ? var_down : 0) * up;
    *mean = (REAL)((sum + off) / count * up);
    *var = (REAL)(deviation * deviation);
    *scale = (REAL)(1 / __builtin_hypot(deviation, __builtin_sqrt(eps)));
}
