/* Winograd's convolution: the transforms.

   A product of polynomials can be had from their values: evaluate both at enough points, multiply value by value, and
   interpolate. A correlation of a signal with r numbers, of which m neighbouring results are wanted, is the transpose of
   such a product, so it takes n = m + r - 1 multiplications in place of m r:

       y = A^T [ (G g) * (B^T d) ]        g: r numbers of the kernel, d: n of the signal, y: m results, *: value by value

   G evaluates g at the n points, A is the same evaluation for m numbers, and B^T takes the place of the interpolation. In
   two dimensions each transform is applied to the columns, then to the rows. Of F(4x4, 3x3), 16 results of a 3 x 3 kernel,
   that is 36 multiplications in place of 144; of F(2x2, 3x3), 16 in place of 36; of F(2x2, 5x5), 36 in place of 100.

   Points: 0, 1, -1 and infinity for n = 4; 0, 3/4, -3/4, 3/2, -3/2 and infinity for n = 6. The usual 1 and 2 in place of
   3/4 and 3/2 have twice the rounding error; all constants here are exact. The value at infinity is the last coefficient.
   Each point a has a factor 1 / N(a), N(a) = the product of a - a' over the other finite points a', which is left out of
   the transforms and multiplied in where that is done once for a call (`find_factors`).

   docs/winograd.md derives all this, with numbers.

   Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; for the choice of points,
   B. Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2018. */
#pragma once

#include "simd.h"
#include "table.h"
#include "tiles.h"

#include <string.h>

#define PA ((REAL)0.75)
#define PB ((REAL)1.5)

/* 1 / N of point i of n. */
static __attribute__((noinline)) double point_factor(int n, int i) {
    double a = 0.5625, b = 2.25; /* PA and PB squared */
    if (i == n - 1)
        return 1;
    if (n == 4)
        return i ? 0.5 : -1;
    return i == 0 ? 1 / (a * b) : i < 3 ? 1 / (2 * a * (a - b)) : 1 / (2 * b * (b - a));
}

/* B^T d: row i holds the coefficients of the product of (x - a') over all finite points but a_i; the last, of all of them. */
INLINE void interpolate(int n, Vec *to, const Vec *d) {
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
INLINE void evaluate(int n, int r, Vec *to, const Vec *g) {
    const REAL points[2] = {n == 4 ? 1 : PA, PB};
    to[0] = g[0];
#pragma GCC unroll 2
    for (int p = 0; p < (n - 2) / 2; p++) {
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
#pragma GCC unroll 2
    for (int p = 0; p < (n - 2) / 2; p++) {
        even[p] = v[1 + 2 * p] + v[2 + 2 * p];
        odd[p] = v[1 + 2 * p] - v[2 + 2 * p];
    }
#pragma GCC unroll 6
    for (int j = 0; j < m; j++) {
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

/* METHOD(in, out, to, from) in one dimension, on a line of `in` vectors. FROM(in, i, j): the address of vector j of line i;
   each of the `out` results goes to TO(out, i, j, value). */
#define ON_A_LINE(in, out, METHOD, FROM, TO)                                                                           \
    do {                                                                                                               \
        Vec line[in], values[out];                                                                                     \
        _Pragma("GCC unroll 6") for (int j = 0; j < in; j++) line[j] = LOAD(FROM(in, 0, j));                           \
        METHOD(in, out, values, line);                                                                                 \
        _Pragma("GCC unroll 6") for (int j = 0; j < out; j++) TO(out, 0, j, values[j]);                                \
    } while (0)

/* The same in two dimensions, on an image of in x in: on the columns, then on the rows. */
#define ON_AN_IMAGE(in, out, METHOD, FROM, TO)                                                                         \
    do {                                                                                                               \
        Vec half[out][in], line[in], values[out];                                                                      \
        _Pragma("GCC unroll 6") for (int j = 0; j < in; j++) {                                                         \
            _Pragma("GCC unroll 6") for (int i = 0; i < in; i++) line[i] = LOAD(FROM(in, i, j));                       \
            METHOD(in, out, values, line);                                                                             \
            _Pragma("GCC unroll 6") for (int i = 0; i < out; i++) half[i][j] = values[i];                              \
        }                                                                                                              \
        _Pragma("GCC unroll 6") for (int i = 0; i < out; i++) {                                                        \
            METHOD(in, out, values, half[i]);                                                                          \
            _Pragma("GCC unroll 6") for (int j = 0; j < out; j++) TO(out, i, j, values[j]);                            \
        }                                                                                                              \
    } while (0)

#define INTERPOLATE(in, out, to, from) interpolate(in, to, from)
#define EVALUATE(in, out, to, from) evaluate(out, in, to, from)
#define COLLECT(in, out, to, from) collect(in, out, to, from)

/* ---- from pixels to points ---- */

/* A tile, `side` wide, to n points a line. Channel v of pixel (i, j) is pixel[i * side + j][v]; of point (i, j),
   to[(i * n + j) * apart + v]. c is at least VL; the last vector of channels is moved back to end with them. */
typedef void (*TileToPoints)(const REAL *const *pixel, ptrdiff_t c, REAL *to, ptrdiff_t apart);
#define PIXEL(in, i, j) pixel[(i) * in + (j)] + at
#define SET_POINT(out, i, j, value) STORE(to + ((i) * out + (j)) * apart + at, value)
#define TILE_TO_POINTS(name, side, n, METHOD, DIMENSIONS)                                                              \
    static __attribute__((noinline)) void name(const REAL *const *pixel, ptrdiff_t c, REAL *to, ptrdiff_t apart) {     \
        for (ptrdiff_t v = 0; v < c; v += VL) {                                                                        \
            ptrdiff_t at = v + VL <= c ? v : c - VL;                                                                   \
            DIMENSIONS(side, n, METHOD, PIXEL, SET_POINT);                                                             \
        }                                                                                                              \
    }

/* ---- and back ---- */

/* One vector of filters of a tile of the result. */
typedef struct {
    ptrdiff_t line, pixel; /* numbers of y */
    ptrdiff_t rows, cols;  /* pixels that lie in the result */
    ptrdiff_t width;       /* filters */
    int whole;             /* all pixels and a whole vector */
    const REAL *plus;      /* what is added, where y is in an array of the same shape; or NULL */
    const REAL *rectified; /* likewise: y = 0 where this is not above 0; or NULL */
    int relu;
} Patch;

/* y = A^T m A + b + plus. Point (i, j) of m is from[(i * n + j) * apart]; *bad becomes NaN where a number is not finite. */
typedef void (*PointsToTile)(const Patch *q, const REAL *from, ptrdiff_t apart, Vec bias, REAL *y, Vec *bad);
#define POINT(in, i, j) from + ((i) * in + (j)) * apart
#define SET_WHOLE(out, i, j, value)                                                                                    \
    do {                                                                                                               \
        Vec number = value + bias;                                                                                     \
        sum += number * 0;                                                                                             \
        if (q->plus)                                                                                                   \
            number += LOAD(q->plus + (i) * q->line + (j) * q->pixel);                                                  \
        if (q->rectified)                                                                                              \
            number = (Vec)((Mask)number & (LOAD(q->rectified + (i) * q->line + (j) * q->pixel) > 0));                  \
        if (q->relu)                                                                                                   \
            number = (Vec)((Mask)number & ~(number <= 0));                                                             \
        STORE(y + (i) * q->line + (j) * q->pixel, number);                                                             \
    } while (0)
#define SET_PART(out, i, j, value)                                                                                     \
    if (i < q->rows && j < q->cols) {                                                                                  \
        Vec number = value + bias;                                                                                     \
        sum += number * 0;                                                                                             \
        if (q->plus) {                                                                                                 \
            Vec more = {0};                                                                                            \
            memcpy(&more, q->plus + (i) * q->line + (j) * q->pixel, (size_t)q->width * sizeof(REAL));                  \
            number += more;                                                                                            \
        }                                                                                                              \
        if (q->rectified) {                                                                                            \
            Vec mask = {0};                                                                                            \
            memcpy(&mask, q->rectified + (i) * q->line + (j) * q->pixel, (size_t)q->width * sizeof(REAL));             \
            number = (Vec)((Mask)number & (mask > 0));                                                                 \
        }                                                                                                              \
        if (q->relu)                                                                                                   \
            number = (Vec)((Mask)number & ~(number <= 0));                                                             \
        memcpy(y + (i) * q->line + (j) * q->pixel, &number, (size_t)q->width * sizeof(REAL));                          \
    }
#define POINTS_TO_TILE(name, n, side, DIMENSIONS)                                                                      \
    static __attribute__((noinline)) void name(const Patch *q, const REAL *from, ptrdiff_t apart, Vec bias, REAL *y,   \
                                               Vec *bad) {                                                             \
        Vec sum = *bad;                                                                                                \
        if (q->whole)                                                                                                  \
            DIMENSIONS(n, side, COLLECT, POINT, SET_WHOLE);                                                            \
        else                                                                                                           \
            DIMENSIONS(n, side, COLLECT, POINT, SET_PART);                                                             \
        *bad = sum;                                                                                                    \
    }

/* ---- the methods ---- */

#define WITH_4_POINTS(where, DIMENSIONS)                                                                               \
    TILE_TO_POINTS(where##_interpolate_4, 4, 4, INTERPOLATE, DIMENSIONS)                                               \
    TILE_TO_POINTS(where##_evaluate_2_at_4, 2, 4, EVALUATE, DIMENSIONS)                                                \
    TILE_TO_POINTS(where##_evaluate_3_at_4, 3, 4, EVALUATE, DIMENSIONS)                                                \
    POINTS_TO_TILE(where##_collect_4_to_2, 4, 2, DIMENSIONS)                                                           \
    POINTS_TO_TILE(where##_collect_4_to_3, 4, 3, DIMENSIONS)
#define WITH_6_POINTS(where, DIMENSIONS)                                                                               \
    TILE_TO_POINTS(where##_interpolate_6, 6, 6, INTERPOLATE, DIMENSIONS)                                               \
    TILE_TO_POINTS(where##_evaluate_2_at_6, 2, 6, EVALUATE, DIMENSIONS)                                                \
    TILE_TO_POINTS(where##_evaluate_3_at_6, 3, 6, EVALUATE, DIMENSIONS)                                                \
    TILE_TO_POINTS(where##_evaluate_4_at_6, 4, 6, EVALUATE, DIMENSIONS)                                                \
    TILE_TO_POINTS(where##_evaluate_5_at_6, 5, 6, EVALUATE, DIMENSIONS)                                                \
    POINTS_TO_TILE(where##_collect_6_to_2, 6, 2, DIMENSIONS)                                                           \
    POINTS_TO_TILE(where##_collect_6_to_3, 6, 3, DIMENSIONS)                                                           \
    POINTS_TO_TILE(where##_collect_6_to_4, 6, 4, DIMENSIONS)                                                           \
    POINTS_TO_TILE(where##_collect_6_to_5, 6, 5, DIMENSIONS)

WITH_4_POINTS(image, ON_AN_IMAGE)
WITH_6_POINTS(image, ON_AN_IMAGE)
WITH_6_POINTS(line, ON_A_LINE)

/* F(tile, kernel), and for the gradient of the weights F(kernel, tile). */
typedef struct {
    Extent kernel, tile, points;
    TileToPoints interpolate, evaluate_kernel, evaluate_tile;
    PointsToTile collect_tile, collect_kernel;
} Method;

#define METHOD(where, r, m, n)                                                                                         \
    where##_interpolate_##n, where##_evaluate_##r##_at_##n, where##_evaluate_##m##_at_##n,                             \
        where##_collect_##n##_to_##m, where##_collect_##n##_to_##r
static const Method methods[] = {{{3, 3}, {4, 4}, {6, 6}, METHOD(image, 3, 4, 6)},
                                 {{3, 3}, {2, 2}, {4, 4}, METHOD(image, 3, 2, 4)},
                                 {{5, 5}, {2, 2}, {6, 6}, METHOD(image, 5, 2, 6)},
                                 {{1, 3}, {1, 4}, {1, 6}, METHOD(line, 3, 4, 6)},
                                 {{1, 5}, {1, 2}, {1, 6}, METHOD(line, 5, 2, 6)}};

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

#undef ON_A_LINE
#undef ON_AN_IMAGE
#undef INTERPOLATE
#undef EVALUATE
#undef COLLECT
#undef PIXEL
#undef SET_POINT
#undef TILE_TO_POINTS
#undef POINT
#undef SET_WHOLE
#undef SET_PART
#undef POINTS_TO_TILE
#undef WITH_4_POINTS
#undef WITH_6_POINTS
#undef METHOD
