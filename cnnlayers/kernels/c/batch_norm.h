/* Batch normalisation of x (rows, c), each channel over the rows. A ReLU or GELU after it takes no pass of its own, and
   the sum that ends a residual block no more than to read what is added.

       x_hat = (x - mean) * scale,  scale = 1 / sqrt(var + eps),  y = gamma * x_hat + beta (+ plus)

   Forward is two passes over memory: statistics, then y. A chunk of the first (see by_channel.h) lies in the cache,
   so it is read twice there: for the chunk's mean, then for the sums of d = x - mean and of d^2. What d sums to
   corrects the mean, and the chunks are put together in double, so nothing is lost where |mean| is far above the
   deviation. The second pass goes backwards: what the first read last is still in the cache. Backward is two passes
   too: sums over dy, then dx. What passes the ReLU or GELU is computed again from x, which is read anyway: y would
   be one array more to read in each pass. */
#pragma once

#include "activation.h"
#include "by_channel.h"
#include "elementwise.h"
#include "huge_norm.h"
#include "parallel.h"
#include "scratch.h"

#include <string.h>

typedef struct {
    Grid grid;
    const REAL *x, *dy;
    const REAL *gamma, *beta, *mean, *scale, *plus;
    const REAL *mean_dy, *mean_dy_x; /* the means of dy and of dy * x_hat, or NULL: constants */
    REAL *y;                         /* or dx */
    double *partial;                 /* [chunks][2][c] */
    int after;                       /* CNN_THEN_...: what y goes through */
} NormJob;

/* ---- forward ---- */

static void statistics_task(void *job, ptrdiff_t task) {
    const NormJob *q = job;
    Part p = part_of(&q->grid, task);
    REAL columns[WIDEST], squares[WIDEST], centres[WIDEST];
    double *mean = q->partial + p.chunk * 2 * q->grid.c + p.channel, *square = mean + q->grid.c;
    size_t bytes = (size_t)p.width * sizeof(REAL);
    const REAL *x = q->x + p.first;
    memset(columns, 0, bytes);
    add_lines(&p, x, columns);
    for (ptrdiff_t i = 0; i < p.channels; i++)
        centres[i] = (REAL)(fold(&p, columns, i) / (double)p.rows);
    for (ptrdiff_t j = p.channels; j < p.width; j++)
        centres[j] = centres[j - p.channels];
    memset(columns, 0, bytes);
    memset(squares, 0, bytes);
    ptrdiff_t i = 0, s = p.step;
    REAL *restrict sum = columns, *restrict sum_squares = squares;
    for (; i + 4 <= p.lines; i += 4, x += 4 * s)
        for (ptrdiff_t j = 0; j < p.width; j++) {
            REAL m = centres[j], a = x[j] - m, b = x[s + j] - m, c = x[2 * s + j] - m, d = x[3 * s + j] - m;
            REAL t = sum_squares[j];
            sum[j] += (a + b) + (c + d);
            t += a * a;
            t += b * b;
            t += c * c;
            t += d * d;
            sum_squares[j] = t;
        }
    for (; i <= p.lines; i++, x += s)
        for (ptrdiff_t j = 0, n = i < p.lines ? p.width : p.rest; j < n; j++) {
            REAL a = x[j] - centres[j];
            sum[j] += a;
            sum_squares[j] += a * a;
        }
    for (ptrdiff_t k = 0; k < p.channels; k++) {
        double off = fold(&p, columns, k), by = off / (double)p.rows;
        mean[k] = (double)centres[k] - (double)q->x[p.channel + k] + by; /* from the first row: no digits lost */
        square[k] = fold(&p, squares, k) - off * by;
    }
}

/* From the chunks' means (less the first row of x) and sums of squared deviations those of all rows. */
static void join_statistics(const Grid *g, const REAL *x, double *partial, REAL eps, REAL *mean, REAL *var,
                            REAL *scale) {
    ptrdiff_t c = g->c, each = g->lines * (g->width / c), last = g->rows - (g->chunks - 1) * each;
    double *total = partial + g->chunks * 2 * c, *square = total + c;
    memset(total, 0, (size_t)(2 * c) * sizeof(double));
    for (ptrdiff_t k = 0; k < g->chunks; k++)
        FOR_EACH(i, c)
            total[i] += partial[k * 2 * c + i] * (double)(k + 1 < g->chunks ? each : last);
    for (ptrdiff_t i = 0; i < c; i++)
        total[i] /= (double)(g->rows ? g->rows : 1);
    for (ptrdiff_t k = 0; k < g->chunks; k++)
        FOR_EACH(i, c) {
            double off = partial[k * 2 * c + i] - total[i];
            square[i] += partial[k * 2 * c + c + i] + off * off * (double)(k + 1 < g->chunks ? each : last);
        }
    for (ptrdiff_t i = 0; i < c; i++) {
        double v = square[i] / (double)(g->rows ? g->rows : 1);
        mean[i] = g->rows ? (REAL)((double)x[i] + total[i]) : 0;
        var[i] = v < 0 ? 0 : (REAL)v; /* rounding may go below 0 */
        scale[i] = 1 / SQRT(var[i] + eps);
        if (is_huge(v))
            huge_statistics(g->rows, 1, c, x + i, (double)eps, &mean[i], &var[i], &scale[i]);
    }
}

/* The one place where y is computed: its bits decide what passes the ReLU, forward and backward. */
INLINE REAL normalized(REAL x, REAL mean, REAL scale, REAL gamma, REAL beta) {
    return gamma * ((x - mean) * scale) + beta;
}

/* y of one line; summed and relu are constants where this is inlined. */
INLINE void normalize_line(int summed, int relu, ptrdiff_t n, const REAL *x, const REAL *mean, const REAL *scale,
                           const REAL *gamma, const REAL *beta, const REAL *plus, REAL *y) {
    FOR_EACH(j, n) {
        REAL v = normalized(x[j], mean[j], scale[j], gamma[j], beta[j]);
        if (summed)
            v += plus[j];
        y[j] = relu ? rectify(v) : v;
    }
}

static void normalize_task(void *job, ptrdiff_t task) {
    const NormJob *q = job;
    Part p = part_of(&q->grid, task);
    REAL room[4][WIDEST], *y = q->y + p.first;
    const REAL *x = q->x + p.first, *mean = along(&p, q->mean, room[0]), *scale = along(&p, q->scale, room[1]);
    const REAL *gamma = along(&p, q->gamma, room[2]), *beta = along(&p, q->beta, room[3]);
    const int relu = q->after == CNN_THEN_RELU;
    for (ptrdiff_t i = 0; i <= p.lines; i++, x += p.step, y += p.step) {
        ptrdiff_t n = i < p.lines ? p.width : p.rest;
        const REAL *plus = q->plus ? q->plus + (y - q->y) : NULL;
        if (plus && relu)
            normalize_line(1, 1, n, x, mean, scale, gamma, beta, plus, y);
        else if (plus)
            normalize_line(1, 0, n, x, mean, scale, gamma, beta, plus, y);
        else if (relu)
            normalize_line(0, 1, n, x, mean, scale, gamma, beta, plus, y);
        else
            normalize_line(0, 0, n, x, mean, scale, gamma, beta, plus, y);
        if (q->after == CNN_THEN_GELU)
            apply(gelu, n, y, y, 0, y);
    }
}

/* y by statistics that are given: inference. */
static int batch_norm_apply(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *gamma, const void *beta,
                            const void *mean, const void *scale, const void *plus, void *y, int after, int threads) {
    NormJob q = {.grid = cut_rows(rows, c),
                 .x = x,
                 .gamma = gamma,
                 .beta = beta,
                 .mean = mean,
                 .scale = scale,
                 .plus = plus,
                 .y = y,
                 .after = after};
    cnn_parallel_back(q.grid.chunks * q.grid.blocks, threads, normalize_task, &q);
    return 0;
}

/* mean, var (biased), scale (c) and y from the batch itself: training. Without rows mean = var = 0. */
static int batch_norm(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *gamma, const void *beta, double eps,
                      const void *plus, void *mean, void *var, void *scale, void *y, int after, int threads) {
    Grid g = cut_rows(rows, c);
    double *partial = cnn_scratch(0, (size_t)((g.chunks + 1) * 2 * c + 1) * sizeof(double));
    if (!partial)
        return -1;
    NormJob q = {.grid = g, .x = x, .partial = partial};
    cnn_parallel(g.chunks * g.blocks, threads, statistics_task, &q);
    join_statistics(&g, x, partial, (REAL)eps, mean, var, scale);
    return batch_norm_apply(rows, c, x, gamma, beta, mean, scale, plus, y, after, threads);
}

/* running := momentum running + (1 - momentum) factor value */
static void move_average(ptrdiff_t count, void *running, const void *value, double momentum, double factor) {
    REAL *to = running, keep = (REAL)momentum, take = (REAL)((1 - momentum) * factor);
    const REAL *from = value;
    FOR_EACH(i, count)
        to[i] = keep * to[i] + take * from[i];
}

/* ---- backward ---- */

/* delta = GELU'(y) dy of one line, with y as forward has it. */
static void gelu_delta(ptrdiff_t n, const REAL *x, const REAL *dy, const REAL *mean, const REAL *scale,
                       const REAL *gamma, const REAL *beta, REAL *delta) {
    normalize_line(0, 0, n, x, mean, scale, gamma, beta, NULL, delta);
    apply(gelu_grad, n, delta, dy, 0, delta);
}

/* sum += delta and sum_x += delta * x_hat over n lines at once, a constant where this is inlined; so is masked. Lines
   are s apart in x, and t in dy. */
INLINE void grad_sums(int n, int masked, ptrdiff_t width, ptrdiff_t s, ptrdiff_t t, const REAL *x, const REAL *dy,
                      const REAL *mean, const REAL *scale, const REAL *gamma, const REAL *beta, REAL *restrict sum,
                      REAL *restrict sum_x) {
    for (ptrdiff_t j = 0; j < width; j++) {
        REAL a = sum[j], b = sum_x[j];
        UNROLLED(k, n) {
            REAL delta = dy[k * t + j];
            if (masked)
                delta = normalized(x[k * s + j], mean[j], scale[j], gamma[j], beta[j]) > 0 ? delta : 0;
            a += delta;
            b += delta * ((x[k * s + j] - mean[j]) * scale[j]);
        }
        sum[j] = a;
        sum_x[j] = b;
    }
}

static void grad_sums_task(void *job, ptrdiff_t task) {
    const NormJob *q = job;
    Part p = part_of(&q->grid, task);
    REAL sum[WIDEST], sum_x[WIDEST], room[4][WIDEST], deltas[4][WIDEST];
    const REAL *x = q->x + p.first, *dy = q->dy + p.first;
    const REAL *mean = along(&p, q->mean, room[0]), *scale = along(&p, q->scale, room[1]);
    const REAL *gamma = along(&p, q->gamma, room[2]), *beta = q->after ? along(&p, q->beta, room[3]) : NULL;
    const int relu = q->after == CNN_THEN_RELU, curved = q->after == CNN_THEN_GELU;
    double *partial = q->partial + p.chunk * 2 * q->grid.c + p.channel;
    memset(sum, 0, (size_t)p.width * sizeof(REAL));
    memset(sum_x, 0, (size_t)p.width * sizeof(REAL));
    for (ptrdiff_t i = 0; i <= p.lines;) {
        int n = i + 4 <= p.lines ? 4 : 1;
        ptrdiff_t width = i < p.lines ? p.width : p.rest;
        for (ptrdiff_t k = 0; curved && k < n; k++)
            gelu_delta(width, x + k * p.step, dy + k * p.step, mean, scale, gamma, beta, deltas[k]);
        const REAL *delta = curved ? deltas[0] : dy;
        const ptrdiff_t apart = curved ? WIDEST : p.step;
        if (n == 4 && relu)
            grad_sums(4, 1, width, p.step, apart, x, delta, mean, scale, gamma, beta, sum, sum_x);
        else if (n == 4)
            grad_sums(4, 0, width, p.step, apart, x, delta, mean, scale, gamma, beta, sum, sum_x);
        else if (relu)
            grad_sums(1, 1, width, p.step, apart, x, delta, mean, scale, gamma, beta, sum, sum_x);
        else
            grad_sums(1, 0, width, p.step, apart, x, delta, mean, scale, gamma, beta, sum, sum_x);
        i += n;
        x += n * p.step;
        dy += n * p.step;
    }
    for (ptrdiff_t i = 0; i < p.channels; i++) {
        partial[i] = fold(&p, sum, i);
        partial[q->grid.c + i] = fold(&p, sum_x, i);
    }
}

/* dx of one line: gamma scale (delta - mean of delta - x_hat mean of delta x_hat); constants: gamma scale delta. */
INLINE void grad_line(int masked, int constant, ptrdiff_t n, const REAL *x, const REAL *dy, const REAL *mean,
                      const REAL *scale, const REAL *gamma, const REAL *beta, const REAL *mean_dy,
                      const REAL *mean_dy_x, REAL *dx) {
    FOR_EACH(j, n) {
        REAL delta = dy[j];
        if (masked)
            delta = normalized(x[j], mean[j], scale[j], gamma[j], beta[j]) > 0 ? delta : 0;
        if (!constant)
            delta = delta - mean_dy[j] - ((x[j] - mean[j]) * scale[j]) * mean_dy_x[j];
        dx[j] = gamma[j] * scale[j] * delta;
    }
}

static void norm_input_grad_task(void *job, ptrdiff_t task) {
    const NormJob *q = job;
    Part p = part_of(&q->grid, task);
    REAL room[6][WIDEST], deltas[WIDEST], *dx = q->y + p.first;
    const REAL *x = q->x + p.first, *dy = q->dy + p.first;
    const REAL *mean = along(&p, q->mean, room[0]), *scale = along(&p, q->scale, room[1]);
    const REAL *gamma = along(&p, q->gamma, room[2]), *mean_dy = NULL, *mean_dy_x = NULL;
    const REAL *beta = q->after ? along(&p, q->beta, room[5]) : NULL;
    const int relu = q->after == CNN_THEN_RELU;
    if (q->mean_dy) {
        mean_dy = along(&p, q->mean_dy, room[3]);
        mean_dy_x = along(&p, q->mean_dy_x, room[4]);
    }
    for (ptrdiff_t i = 0; i <= p.lines; i++) {
        ptrdiff_t n = i < p.lines ? p.width : p.rest;
        const REAL *delta = dy;
        if (q->after == CNN_THEN_GELU) {
            gelu_delta(n, x, dy, mean, scale, gamma, beta, deltas);
            delta = deltas;
        }
        if (mean_dy && relu)
            grad_line(1, 0, n, x, delta, mean, scale, gamma, beta, mean_dy, mean_dy_x, dx);
        else if (mean_dy)
            grad_line(0, 0, n, x, delta, mean, scale, gamma, beta, mean_dy, mean_dy_x, dx);
        else if (relu)
            grad_line(1, 1, n, x, delta, mean, scale, gamma, beta, mean_dy, mean_dy_x, dx);
        else
            grad_line(0, 1, n, x, delta, mean, scale, gamma, beta, mean_dy, mean_dy_x, dx);
        x += p.step;
        dy += p.step;
        dx += p.step;
    }
}

/* dgamma, dbeta (c) and dx (unless NULL). after: dy is that of a ReLU or GELU after it. on_batch: mean and scale came
   from the batch, so x acts through them too. */
static int batch_norm_grad(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *dy, const void *gamma,
                           const void *beta, const void *mean, const void *scale, void *dgamma, void *dbeta, void *dx,
                           int on_batch, int after, int threads) {
    Grid g = cut_rows(rows, c);
    double *partial = cnn_scratch(0, (size_t)((g.chunks + 1) * 2 * c + 1) * sizeof(double));
    if (!partial)
        return -1;
    NormJob q = {.grid = g,
                 .x = x,
                 .dy = dy,
                 .gamma = gamma,
                 .beta = beta,
                 .mean = mean,
                 .scale = scale,
                 .y = dx,
                 .partial = partial,
                 .after = after};
    cnn_parallel(g.chunks * g.blocks, threads, grad_sums_task, &q);
    add_chunks(g.chunks, 2 * c, c, partial, dbeta);
    add_chunks(g.chunks, 2 * c, c, partial + c, dgamma);
    if (!dx)
        return 0;
    REAL *means = (REAL *)(partial + g.chunks * 2 * c);
    for (ptrdiff_t i = 0; i < c && on_batch; i++) {
        means[i] = ((const REAL *)dbeta)[i] / (REAL)rows;
        means[c + i] = ((const REAL *)dgamma)[i] / (REAL)rows;
    }
    q.mean_dy = on_batch ? means : NULL;
    q.mean_dy_x = means + c;
    cnn_parallel_back(g.chunks * g.blocks, threads, norm_input_grad_task, &q);
    return 0;
}
