/* Winograd's convolution: the transforms.

   A product of polynomials can be had from their values: evaluate both at enough points, multiply value by value,
   and interpolate. A correlation of a signal with r numbers, of which m neighbouring results are wanted, is the
   transpose of such a product, so it takes n = m + r - 1 multiplications in place of m r:

   y = A^T [ (G g) * (B^T d) ]        g: r numbers of the kernel, d: n of the signal, y: m results, *: value by value

   G evaluates g at the n points, A is the same evaluation for m numbers, and B^T takes the place of the
   interpolation. In two dimensions each transform is applied to the columns, then to the rows. Of F(4x4, 3x3), 16
   results of a 3 x 3 kernel, that is 36 multiplications in place of 144; of F(2x2, 3x3), 16 in place of 36; of
   F(2x2, 5x5), 36 in place of 100.

   Points: 0, 1, -1 and infinity for n = 4; 0, 3/4, -3/4, 3/2, -3/2 and infinity for n = 6. The usual 1 and 2 in
   place of 3/4 and 3/2 have twice the rounding error; all constants here are exact. The value at infinity is the
   last coefficient. Each point a has a factor 1 / N(a), N(a) = the product of a - a' over the other finite points
   a', which is left out of the transforms and multiplied in where that is done once for a call (`find_factors`).

   docs/winograd.md derives all this, with numbers.

   Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; for the choice of points,
   B. Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks",
   2018. */
#pragma once

#include "simd.h"
#include "table.h"
#include "winograd_tiles.h"

#include <string.h>

#define PA ((REAL)0.75)
#define PB ((REAL)1.5)

/* 1 / N of point i of n. */
NOINLINE double point_factor(int n, int i) {
    double a = 0.5625, b = 2.25; /* PA and PB squared */
    if (i == n - 1)
        return 1;
    if (n == 4)
        return i ? 0.5 : -1;
    return i == 0 ? 1 / (a * b) : i < 3 ? 1 / (2 * a * (a - b)) : 1 / (2 * b * (b - a));
}

/* B^T d: row i holds the coefficients of the product of (x - a') over all finite points but a_i; the last, of all of
   them. */
INLINE void interpolate(int in, int n, Vec *to, const Vec *d) {
    if (n == 4) {
        to[0] = d[2] - d[0];
        to[1] = d[2] + d[1];
        to[2] = d[2] - d[1];
        to[3] = d[3] - d[1];
    } else {
        const REAL a = PA * PA, b = PB * PB;
        Vec even = d[4] - b * d[2], odd = d[3] - b * d[1];
        to[1] = even + PA * odd;
        to[2] = even - PA * odd;
        even = d[4] - a * d[2], odd = d[3] - a * d[1];
        to[3] = even + PB * odd;
        to[4] = even - PB * odd;
        to[0] = d[4] - (a + b) * d[2] + a * b * d[0];
        to[5] = d[5] - (a + b) * d[3] + a * b * d[1];
    }
}

/* G g: the polynomial with r coefficients g at the points, even and odd powers apart. */
INLINE void evaluate(int r, int n, Vec *to, const Vec *g) {
    const REAL points[2] = {n == 4 ? 1 : PA, PB};
    to[0] = g[0];
    UNROLLED(p, (n - 2) / 2) {
        REAL a = points[p], power = a * a;
        Vec even = g[0], odd = a * g[1];
#pragma GCC unroll 4
        for (int i = 2; i < r; i++) {
            if (i % 2)
                odd += power * a * g[i];
            else
                even += power * g[i];
            power *= i % 2 ? a * a : 1;
        }
        to[1 + 2 * p] = even + odd;
        to[2 + 2 * p] = even - odd;
    }
    to[n - 1] = g[r - 1];
}

/* A^T v, the transpose of evaluating m coefficients: to[j] = the sum of a^j v(a). */
INLINE void collect(int n, int m, Vec *to, const Vec *v) {
    Vec even[2], odd[2];
    REAL power[2] = {1, 1};
    const REAL points[2] = {n == 4 ? 1 : PA, PB};
    UNROLLED(p, (n - 2) / 2) {
        even[p] = v[1 + 2 * p] + v[2 + 2 * p];
        odd[p] = v[1 + 2 * p] - v[2 + 2 * p];
    }
    UNROLLED(j, m) {
        const Vec *part = j % 2 ? odd : even;
        Vec sum = power[0] * part[0];
        if (j == 0)
            sum += v[0];
        if (n == 6)
            sum += power[1] * part[1];
        if (j == m - 1)
            sum += v[n - 1];
        to[j] = sum;
        power[0] *= points[0];
        power[1] *= points[1];
    }
}

/* One of these three, on a line of `in` vectors with `out` results. */
typedef void (*Transform)(int in, int out, Vec *to, const Vec *from);

/* ---- from pixels to points ---- */

/* half[0 .. out)[j] := the transform of column j of an image; a line's columns are single vectors and stay as they
   are. */
INLINE void transform_column(int image, Transform transform, int in, int out, Vec half[6][6], int j,
                             const Vec *column) {
    if (image) {
        Vec values[6];
        transform(in, out, values, column);
        UNROLLED(i, out)
            half[i][j] = values[i];
    } else {
        half[0][j] = column[0];
    }
}

/* A tile, `side` wide, to n points a line. Channel v of pixel (i, j) is pixel[i * side + j][v]; of point (i, j),
   to[(i * n + j) * apart + v]. c is at least VL; the last vector of channels is moved back to end with them.

   An image's columns are transformed first, then its rows; a line has no columns. All but the pointers and c are
   constants where this is inlined. */
INLINE void pixels_to_points(int image, Transform transform, int side, int n, const REAL *const *pixel, ptrdiff_t c,
                             REAL *to, ptrdiff_t apart) {
    const int rows = image ? side : 1, rows_of_points = image ? n : 1;
    for (ptrdiff_t v = 0; v < c; v += VL) {
        ptrdiff_t at = v + VL <= c ? v : c - VL;
        Vec half[6][6];
        UNROLLED(j, side) {
            Vec column[6];
            UNROLLED(i, rows)
                column[i] = LOAD(pixel[i * side + j] + at);
            transform_column(image, transform, side, n, half, j, column);
        }
        UNROLLED(i, rows_of_points) {
            Vec values[6];
            transform(side, n, values, half[i]);
            UNROLLED(j, n)
                STORE(to + (i * n + j) * apart + at, values[j]);
        }
    }
}

typedef void (*TileToPoints)(const REAL *const *pixel, ptrdiff_t c, REAL *to, ptrdiff_t apart);
#define TO_POINTS(name, image, transform, side, n)                                                                     \
    NOINLINE void name(const REAL *const *pixel, ptrdiff_t c, REAL *to, ptrdiff_t apart) {                             \
        pixels_to_points(image, transform, side, n, pixel, c, to, apart);                                              \
    }
TO_POINTS(image_interpolate_4, 1, interpolate, 4, 4)
TO_POINTS(image_evaluate_2_at_4, 1, evaluate, 2, 4)
TO_POINTS(image_evaluate_3_at_4, 1, evaluate, 3, 4)
TO_POINTS(image_interpolate_6, 1, interpolate, 6, 6)
TO_POINTS(image_evaluate_2_at_6, 1, evaluate, 2, 6)
TO_POINTS(image_evaluate_3_at_6, 1, evaluate, 3, 6)
TO_POINTS(image_evaluate_4_at_6, 1, evaluate, 4, 6)
TO_POINTS(image_evaluate_5_at_6, 1, evaluate, 5, 6)
TO_POINTS(line_interpolate_6, 0, interpolate, 6, 6)
TO_POINTS(line_evaluate_2_at_6, 0, evaluate, 2, 6)
TO_POINTS(line_evaluate_3_at_6, 0, evaluate, 3, 6)
TO_POINTS(line_evaluate_4_at_6, 0, evaluate, 4, 6)
TO_POINTS(line_evaluate_5_at_6, 0, evaluate, 5, 6)

/* ---- and back ---- */

/* One vector of filters of a tile of the result. */
typedef struct {
    ptrdiff_t line, pixel; /* elements of y */
    ptrdiff_t rows, cols;  /* pixels that lie in the result */
    ptrdiff_t width;       /* filters */
    int whole;             /* all pixels and a whole vector */
    const REAL *plus;      /* what is added, where y is in an array of the same shape; or NULL */
    const REAL *rectified; /* likewise: y = 0 where this is not above 0; or NULL */
    REAL least;            /* y = 0 where it is at most this: 0 for a ReLU, else NaN, which nothing is */
} Patch;

/* The first `width` elements; all of them if `whole`, a constant where this is inlined. */
INLINE Vec load_part(int whole, const REAL *from, ptrdiff_t width) {
    Vec v = {0};
    if (whole)
        return LOAD(from);
    memcpy(&v, from, (size_t)width * sizeof(REAL));
    return v;
}

/* The pixel `at` elements after y: value + bias, the epilogue, and a NaN for *bad where that is not finite. `joins`:
   whether there is a plus or a rectified. */
INLINE void set_pixel(int whole, int joins, const Patch *q, Vec value, Vec bias, REAL *y, ptrdiff_t at, Vec *bad) {
    value = value + bias;
    *bad += value * 0;
    if (joins && q->plus)
        value += load_part(whole, q->plus + at, q->width);
    if (joins && q->rectified)
        value = (Vec)((Mask)value & (load_part(whole, q->rectified + at, q->width) > 0));
    value = (Vec)((Mask)value & ~(value <= q->least));
    if (whole)
        STORE(y + at, value);
    else
        memcpy(y + at, &value, (size_t)q->width * sizeof(REAL));
}

/* y = A^T m A + b + plus. Point (i, j) of m is from[(i * n + j) * apart]; *bad becomes NaN where a number is not
   finite. */
INLINE void points_to_pixels(int image, int whole, int joins, int n, int side, const Patch *q, const REAL *from,
                             ptrdiff_t apart, Vec bias, REAL *y, Vec *bad) {
    const int rows = image ? side : 1, rows_of_points = image ? n : 1;
    Vec half[6][6];
    UNROLLED(j, n) {
        Vec column[6];
        UNROLLED(i, rows_of_points)
            column[i] = LOAD(from + (i * n + j) * apart);
        transform_column(image, collect, n, side, half, j, column);
    }
    UNROLLED(i, rows) {
        Vec values[6];
        collect(n, side, values, half[i]);
        UNROLLED(j, side)
            if (whole || (i < q->rows && j < q->cols))
                set_pixel(whole, joins, q, values[j], bias, y, i * q->line + j * q->pixel, bad);
    }
}

INLINE void collect_points(int image, int n, int side, const Patch *q, const REAL *from, ptrdiff_t apart, Vec bias,
                           REAL *y, Vec *bad) {
    Vec sum = *bad;
    if (!q->whole)
        points_to_pixels(image, 0, 1, n, side, q, from, apart, bias, y, &sum);
    else if (q->plus || q->rectified)
        points_to_pixels(image, 1, 1, n, side, q, from, apart, bias, y, &sum);
    else
        points_to_pixels(image, 1, 0, n, side, q, from, apart, bias, y, &sum);
    *bad = sum;
}

typedef void (*PointsToTile)(const Patch *q, const REAL *from, ptrdiff_t apart, Vec bias, REAL *y, Vec *bad);
#define FROM_POINTS(name, image, n, side)                                                                              \
    NOINLINE void name(const Patch *q, const REAL *from, ptrdiff_t apart, Vec bias, REAL *y, Vec *bad) {               \
        collect_points(image, n, side, q, from, apart, bias, y, bad);                                                  \
    }
FROM_POINTS(image_collect_4_to_2, 1, 4, 2)
FROM_POINTS(image_collect_4_to_3, 1, 4, 3)
FROM_POINTS(image_collect_6_to_2, 1, 6, 2)
FROM_POINTS(image_collect_6_to_3, 1, 6, 3)
FROM_POINTS(image_collect_6_to_4, 1, 6, 4)
FROM_POINTS(image_collect_6_to_5, 1, 6, 5)
FROM_POINTS(line_collect_6_to_2, 0, 6, 2)
FROM_POINTS(line_collect_6_to_3, 0, 6, 3)
FROM_POINTS(line_collect_6_to_4, 0, 6, 4)
FROM_POINTS(line_collect_6_to_5, 0, 6, 5)

/* ---- the methods ---- */

/* F(tile, kernel), and for the gradient of the weights F(kernel, tile). */
typedef struct {
    Extent kernel, tile, points;
    TileToPoints interpolate, evaluate_kernel, evaluate_tile;
    PointsToTile collect_tile, collect_kernel;
} Method;

static const Method methods[] = {
    {{3, 3},
     {4, 4},
     {6, 6},
     image_interpolate_6,
     image_evaluate_3_at_6,
     image_evaluate_4_at_6,
     image_collect_6_to_4,
     image_collect_6_to_3},
    {{3, 3},
     {2, 2},
     {4, 4},
     image_interpolate_4,
     image_evaluate_3_at_4,
     image_evaluate_2_at_4,
     image_collect_4_to_2,
     image_collect_4_to_3},
    {{5, 5},
     {2, 2},
     {6, 6},
     image_interpolate_6,
     image_evaluate_5_at_6,
     image_evaluate_2_at_6,
     image_collect_6_to_2,
     image_collect_6_to_5},
    {{1, 3},
     {1, 4},
     {1, 6},
     line_interpolate_6,
     line_evaluate_3_at_6,
     line_evaluate_4_at_6,
     line_collect_6_to_4,
     line_collect_6_to_3},
    {{1, 5},
     {1, 2},
     {1, 6},
     line_interpolate_6,
     line_evaluate_5_at_6,
     line_evaluate_2_at_6,
     line_collect_6_to_2,
     line_collect_6_to_5},
};

/* The method for a convolution whose kernel and side are among them. */
static const Method *find_method(const cnn_conv *s) {
    const Method *q = methods;
    while (q->kernel.high != s->kh || q->kernel.wide != s->kw || q->tile.wide != s->side)
        q++;
    return q;
}

/* The factor of each point. */
static void find_factors(const Method *q, REAL *to) {
    for (int i = 0; i < q->points.high; i++)
        for (int j = 0; j < q->points.wide; j++)
            *to++ =
                (REAL)((q->points.high > 1 ? point_factor(q->points.high, i) : 1) * point_factor(q->points.wide, j));
}
