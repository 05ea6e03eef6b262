/* Layer normalisation: each row of x (rows, c) by its own mean and variance.

       x_hat = (x - mean) * scale,  scale = 1 / sqrt(var + eps),  y = gamma * x_hat + beta

   A task is some 64 KB of rows, so a row is read from memory once and then from the cache: for its mean, for the
   sums of d = x - mean and d^2 (what d sums to corrects the mean), and for y. Backward likewise: two sums, then dx.
   The gradients of gamma and beta are summed within a task in REAL, over the tasks in their order in double: the cut
   depends on the shape alone, so the bits do not depend on threads. */
#pragma once

#include "huge_norm.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"

#include <string.h>

typedef struct {
    ptrdiff_t rows, c, each; /* each: rows of a task */
    const REAL *x, *dy, *gamma, *beta;
    REAL *mean, *scale; /* (rows) */
    REAL *y;            /* or dx, or NULL */
    REAL *partial;      /* [tasks][2][c] */
    REAL eps;
} LayerNormJob;

static ptrdiff_t layer_norm_rows(ptrdiff_t c) {
    ptrdiff_t each = 65536 / (ptrdiff_t)sizeof(REAL) / c;
    return each < 16 ? 16 : each;
}

INLINE REAL lane_sum(Vec v) {
    REAL sum = 0;
    for (int k = 0; k < VL; k++)
        sum += v[k];
    return sum;
}

INLINE REAL row_sum(ptrdiff_t c, const REAL *x) {
    Vec a = {0}, b = {0};
    ptrdiff_t j = 0;
    for (; j + 2 * VL <= c; j += 2 * VL) {
        a += LOAD(x + j);
        b += LOAD(x + j + VL);
    }
    if (j + VL <= c) {
        a += LOAD(x + j);
        j += VL;
    }
    REAL sum = lane_sum(a + b);
    for (; j < c; j++)
        sum += x[j];
    return sum;
}

/* How many elements of a row, from j on, make one sum. */
INLINE ptrdiff_t part_of_row(ptrdiff_t c, ptrdiff_t j) { return c - j < MOST_TERMS ? c - j : MOST_TERMS; }

INLINE REAL row_mean(ptrdiff_t c, const REAL *x) {
    REAL sum = 0;
    for (ptrdiff_t j = 0; j < c; j += MOST_TERMS)
        sum += row_sum(part_of_row(c, j), x + j);
    return sum / (REAL)c;
}

/* off += the sum of d = x - mean, square += that of d^2. */
INLINE void add_deviations(ptrdiff_t c, const REAL *x, REAL mean, REAL *off, REAL *square) {
    Vec a = {0}, b = {0}, s = {0}, t = {0};
    ptrdiff_t j = 0;
    for (; j + 2 * VL <= c; j += 2 * VL) {
        Vec d = LOAD(x + j) - mean, e = LOAD(x + j + VL) - mean;
        a += d;
        b += e;
        s += d * d;
        t += e * e;
    }
    if (j + VL <= c) {
        Vec d = LOAD(x + j) - mean;
        a += d;
        s += d * d;
        j += VL;
    }
    REAL sum = lane_sum(a + b), squares = lane_sum(s + t);
    for (; j < c; j++) {
        REAL d = x[j] - mean;
        sum += d;
        squares += d * d;
    }
    *off += sum;
    *square += squares;
}

/* The means of d and of d^2. */
INLINE void row_deviation(ptrdiff_t c, const REAL *x, REAL mean, REAL *off, REAL *square) {
    *off = *square = 0;
    for (ptrdiff_t j = 0; j < c; j += MOST_TERMS)
        add_deviations(part_of_row(c, j), x + j, mean, off, square);
    *off /= (REAL)c;
    *square /= (REAL)c;
}

static void layer_norm_task(void *job, ptrdiff_t task) {
    const LayerNormJob *q = job;
    const REAL *gamma = q->gamma, *beta = q->beta;
    ptrdiff_t c = q->c, end = (task + 1) * q->each;
    for (ptrdiff_t r = task * q->each; r < (end < q->rows ? end : q->rows); r++) {
        const REAL *x = q->x + r * c;
        REAL *y = q->y + r * c, mean = row_mean(c, x), off, square;
        row_deviation(c, x, mean, &off, &square);
        REAL var = square - off * off; /* rounding may go below 0; NaN stays */
        REAL scale = 1 / SQRT((var < 0 ? 0 : var) + q->eps);
        mean += off;
        if (is_huge((double)var))
            huge_statistics(1, c, c, x, (double)q->eps, &mean, &var, &scale);
        q->mean[r] = mean;
        q->scale[r] = scale;
        FOR_EACH(j, c)
            y[j] = gamma[j] * ((x[j] - mean) * scale) + beta[j];
    }
}

/* y (rows, c), and mean and scale (rows), which backward needs. */
static int layer_norm(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *gamma, const void *beta, double eps,
                      void *mean, void *scale, void *y, int threads) {
    ptrdiff_t each = layer_norm_rows(c);
    LayerNormJob q = {.rows = rows,
                      .c = c,
                      .each = each,
                      .x = x,
                      .gamma = gamma,
                      .beta = beta,
                      .mean = mean,
                      .scale = scale,
                      .y = y,
                      .eps = (REAL)eps};
    cnn_parallel((rows + each - 1) / each, threads, layer_norm_task, &q);
    return 0;
}

/* mean_g += the sum of gamma delta, mean_g_x += that of gamma delta x_hat. */
INLINE void add_row_grads(ptrdiff_t c, const REAL *x, const REAL *dy, const REAL *gamma, REAL mean, REAL scale,
                          REAL *mean_g, REAL *mean_g_x) {
    Vec a = {0}, b = {0};
    ptrdiff_t j = 0;
    for (; j + VL <= c; j += VL) {
        Vec g = LOAD(gamma + j) * LOAD(dy + j);
        a += g;
        b += g * ((LOAD(x + j) - mean) * scale);
    }
    REAL sum = lane_sum(a), sum_x = lane_sum(b);
    for (; j < c; j++) {
        REAL g = gamma[j] * dy[j];
        sum += g;
        sum_x += g * ((x[j] - mean) * scale);
    }
    *mean_g += sum;
    *mean_g_x += sum_x;
}

/* The means of gamma delta and of gamma delta x_hat over one row. */
INLINE void row_grad_means(ptrdiff_t c, const REAL *x, const REAL *dy, const REAL *gamma, REAL mean, REAL scale,
                           REAL *mean_g, REAL *mean_g_x) {
    *mean_g = *mean_g_x = 0;
    for (ptrdiff_t j = 0; j < c; j += MOST_TERMS)
        add_row_grads(part_of_row(c, j), x + j, dy + j, gamma + j, mean, scale, mean_g, mean_g_x);
    *mean_g /= (REAL)c;
    *mean_g_x /= (REAL)c;
}

static void layer_norm_grad_task(void *job, ptrdiff_t task) {
    const LayerNormJob *q = job;
    ptrdiff_t c = q->c, end = (task + 1) * q->each;
    const REAL *gamma = q->gamma;
    REAL *restrict dbeta = q->partial + task * 2 * c, *restrict dgamma = dbeta + c;
    memset(dbeta, 0, (size_t)(2 * c) * sizeof(REAL));
    for (ptrdiff_t r = task * q->each; r < (end < q->rows ? end : q->rows); r++) {
        const REAL *x = q->x + r * c, *dy = q->dy + r * c;
        REAL mean = q->mean[r], scale = q->scale[r], mean_g, mean_g_x;
        FOR_EACH(j, c) {
            dbeta[j] += dy[j];
            dgamma[j] += dy[j] * ((x[j] - mean) * scale);
        }
        if (!q->y)
            continue;
        REAL *dx = q->y + r * c;
        row_grad_means(c, x, dy, gamma, mean, scale, &mean_g, &mean_g_x);
        FOR_EACH(j, c)
            dx[j] = scale * (gamma[j] * dy[j] - mean_g - ((x[j] - mean) * scale) * mean_g_x);
    }
}

/* dgamma, dbeta (c) and dx (unless NULL). */
static int layer_norm_grad(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *dy, const void *gamma,
                           const void *mean, const void *scale, void *dgamma, void *dbeta, void *dx, int threads) {
    ptrdiff_t each = layer_norm_rows(c), tasks = (rows + each - 1) / each;
    REAL *partial = cnn_scratch(0, (size_t)(tasks * 2 * c + 1) * sizeof(REAL));
    if (!partial)
        return -1;
    LayerNormJob q = {.rows = rows,
                      .c = c,
                      .each = each,
                      .x = x,
                      .dy = dy,
                      .gamma = gamma,
                      .mean = (REAL *)mean,
                      .scale = (REAL *)scale,
                      .y = dx,
                      .partial = partial};
    cnn_parallel(tasks, threads, layer_norm_grad_task, &q);
    for (ptrdiff_t j = 0; j < 2 * c; j++) {
        double sum = 0;
        for (ptrdiff_t t = 0; t < tasks; t++)
            sum += (double)partial[t * 2 * c + j];
        ((REAL *)(j < c ? dbeta : dgamma))[j < c ? j : j - c] = (REAL)sum;
    }
    return 0;
}
