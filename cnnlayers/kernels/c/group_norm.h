/* Group normalisation of x (n, positions, c): each group of c / groups channels by the mean and variance that it has
   in one sample.

   A sample is rows by channels, so its passes are those of batch_norm.h, on the sample's own grid: statistics of
   each channel, which are put together by group; then y. Backward: sums of each channel, put together by group; then
   dx. The statistics of a group are written down once for each of its channels, (n, c): from there on, groups need
   no more thought. */
#pragma once

#include "batch_norm.h"
#include "huge_norm.h"
#include "scratch.h"

typedef struct {
    NormJob first; /* of the first sample; the others' arrays follow */
    ptrdiff_t tasks, size, groups;
    REAL *mean, *scale; /* (n, c): what the forward pass finds */
    REAL *group_means;  /* [n][2][c]: the means of gamma delta and of gamma delta x_hat over the group */
    REAL eps;
} GroupJob;

static GroupJob group_cut(ptrdiff_t positions, ptrdiff_t c, ptrdiff_t groups) {
    Grid g = cut_rows(positions, c);
    return (GroupJob){.first = {.grid = g}, .tasks = g.chunks * g.blocks, .size = positions * c, .groups = groups};
}

/* The job of batch_norm.h for one sample. */
static NormJob of_sample(const GroupJob *q, ptrdiff_t sample) {
    NormJob job = q->first;
    ptrdiff_t numbers = sample * q->size, channels = sample * job.grid.c;
    job.x += numbers;
    job.dy = job.dy ? job.dy + numbers : NULL;
    job.y = job.y ? job.y + numbers : NULL;
    job.mean = job.mean ? job.mean + channels : NULL;
    job.scale = job.scale ? job.scale + channels : NULL;
    job.mean_dy = q->group_means ? q->group_means + 2 * channels : NULL;
    job.mean_dy_x = q->group_means ? job.mean_dy + job.grid.c : NULL;
    job.partial = job.partial ? job.partial + 2 * channels * job.grid.chunks : NULL;
    return job;
}

/* ---- forward ---- */

static void group_statistics_task(void *job, ptrdiff_t task) {
    const GroupJob *q = job;
    NormJob sample = of_sample(q, task / q->tasks);
    statistics_task(&sample, task % q->tasks);
}

/* From the chunks' means (less the first row of x) and sums of squared deviations those of each group of one sample. */
static void join_group_task(void *job, ptrdiff_t sample) {
    const GroupJob *q = job;
    NormJob s = of_sample(q, sample);
    Grid g = s.grid;
    ptrdiff_t c = g.c, width = c / q->groups, each = g.lines * (g.width / c), last = g.rows - (g.chunks - 1) * each;
    double count = (double)(g.rows * width);
    for (ptrdiff_t first = 0; first < c; first += width) {
        double mean = 0, square = 0;
        for (ptrdiff_t k = 0; k < g.chunks; k++)
            for (ptrdiff_t i = first; i < first + width; i++)
                mean += ((double)s.x[i] + s.partial[k * 2 * c + i]) * (double)(k + 1 < g.chunks ? each : last) / count;
        for (ptrdiff_t k = 0; k < g.chunks; k++)
            for (ptrdiff_t i = first; i < first + width; i++) {
                double off = (double)s.x[i] + s.partial[k * 2 * c + i] - mean;
                square += s.partial[k * 2 * c + c + i] + off * off * (double)(k + 1 < g.chunks ? each : last);
            }
        REAL centre = (REAL)mean, var = (REAL)(square / count), scale = 1 / SQRT((var < 0 ? 0 : var) + q->eps);
        if (is_huge(square / count))
            huge_statistics(g.rows, width, c, s.x + first, (double)q->eps, &centre, &var, &scale);
        for (ptrdiff_t i = sample * c + first; i < sample * c + first + width; i++) {
            q->mean[i] = centre;
            q->scale[i] = scale;
        }
    }
}

static void group_normalize_task(void *job, ptrdiff_t task) {
    const GroupJob *q = job;
    NormJob sample = of_sample(q, task / q->tasks);
    normalize_task(&sample, task % q->tasks);
}

/* y, and mean and scale (n, c), which backward needs. Every sample has at least one position. */
static int group_norm(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, ptrdiff_t groups, const void *x, const void *gamma,
                      const void *beta, double eps, void *mean, void *scale, void *y, int relu, int threads) {
    GroupJob q = group_cut(positions, c, groups);
    q.first.partial = cnn_scratch(0, (size_t)(n * q.first.grid.chunks * 2 * c + 1) * sizeof(double));
    if (!q.first.partial)
        return -1;
    q.first.x = x;
    q.first.y = y;
    q.first.gamma = gamma;
    q.first.beta = beta;
    q.first.after = relu ? CNN_THEN_RELU : CNN_THEN_NOTHING;
    q.first.mean = q.mean = mean;
    q.first.scale = q.scale = scale;
    q.eps = (REAL)eps;
    cnn_parallel(n * q.tasks, threads, group_statistics_task, &q);
    cnn_parallel(n, threads, join_group_task, &q);
    cnn_parallel(n * q.tasks, threads, group_normalize_task, &q);
    return 0;
}

/* ---- backward ---- */

static void group_sums_task(void *job, ptrdiff_t task) {
    const GroupJob *q = job;
    NormJob sample = of_sample(q, task / q->tasks);
    grad_sums_task(&sample, task % q->tasks);
}

/* The sums of delta and delta x_hat of one sample, into its first chunk; and their means over each group, by gamma. */
static void join_sums_task(void *job, ptrdiff_t sample) {
    const GroupJob *q = job;
    NormJob s = of_sample(q, sample);
    ptrdiff_t c = s.grid.c, width = c / q->groups;
    REAL *means = q->group_means + sample * 2 * c;
    for (ptrdiff_t k = 1; k < s.grid.chunks; k++)
        for (ptrdiff_t i = 0; i < 2 * c; i++)
            s.partial[i] += s.partial[k * 2 * c + i];
    for (ptrdiff_t first = 0; first < c; first += width) {
        double sum = 0, sum_x = 0, count = (double)(s.grid.rows * width);
        for (ptrdiff_t i = first; i < first + width; i++) {
            sum += (double)s.gamma[i] * s.partial[i];
            sum_x += (double)s.gamma[i] * s.partial[c + i];
        }
        for (ptrdiff_t i = first; i < first + width; i++) {
            means[i] = (REAL)(sum / count);
            means[c + i] = (REAL)(sum_x / count);
        }
    }
}

/* dx of one line: scale (gamma delta - mean of gamma delta - x_hat mean of gamma delta x_hat) */
INLINE void group_line(int masked, ptrdiff_t n, const REAL *x, const REAL *dy, const REAL *mean, const REAL *scale,
                       const REAL *gamma, const REAL *beta, const REAL *mean_g, const REAL *mean_g_x, REAL *dx) {
    FOR_EACH(j, n) {
        REAL delta = dy[j];
        if (masked)
            delta = normalized(x[j], mean[j], scale[j], gamma[j], beta[j]) > 0 ? delta : 0;
        dx[j] = scale[j] * (gamma[j] * delta - mean_g[j] - ((x[j] - mean[j]) * scale[j]) * mean_g_x[j]);
    }
}

static void group_input_grad_task(void *job, ptrdiff_t task) {
    const GroupJob *q = job;
    NormJob s = of_sample(q, task / q->tasks);
    Part p = part_of(&s.grid, q->tasks - 1 - task % q->tasks);
    REAL room[6][WIDEST], *dx = s.y + p.first;
    const REAL *x = s.x + p.first, *dy = s.dy + p.first, *beta = s.after ? along(&p, s.beta, room[5]) : NULL;
    const REAL *mean = along(&p, s.mean, room[0]), *scale = along(&p, s.scale, room[1]);
    const REAL *gamma = along(&p, s.gamma, room[2]), *mean_g = along(&p, s.mean_dy, room[3]);
    const REAL *mean_g_x = along(&p, s.mean_dy_x, room[4]);
    for (ptrdiff_t i = 0; i <= p.lines; i++) {
        ptrdiff_t n = i < p.lines ? p.width : p.rest;
        if (s.after == CNN_THEN_RELU)
            group_line(1, n, x, dy, mean, scale, gamma, beta, mean_g, mean_g_x, dx);
        else
            group_line(0, n, x, dy, mean, scale, gamma, beta, mean_g, mean_g_x, dx);
        x += p.step;
        dy += p.step;
        dx += p.step;
    }
}

/* dgamma, dbeta (c) and dx (unless NULL). relu: dy is that of a ReLU after it. */
static int group_norm_grad(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, ptrdiff_t groups, const void *x,
                           const void *dy, const void *gamma, const void *beta, const void *mean, const void *scale,
                           void *dgamma, void *dbeta, void *dx, int relu, int threads) {
    GroupJob q = group_cut(positions, c, groups);
    ptrdiff_t sums = n * q.first.grid.chunks * 2 * c;
    double *partial = cnn_scratch(0, (size_t)(sums + n * 2 * c + 1) * sizeof(double));
    if (!partial)
        return -1;
    q.first.partial = partial;
    q.first.x = x;
    q.first.dy = dy;
    q.first.y = dx;
    q.first.gamma = gamma;
    q.first.beta = beta;
    q.first.after = relu ? CNN_THEN_RELU : CNN_THEN_NOTHING;
    q.first.mean = mean;
    q.first.scale = scale;
    q.group_means = (REAL *)(partial + sums);
    cnn_parallel(n * q.tasks, threads, group_sums_task, &q);
    cnn_parallel(n, threads, join_sums_task, &q);
    if (dx)
        cnn_parallel(n * q.tasks, threads, group_input_grad_task, &q);
    ptrdiff_t step = q.first.grid.chunks * 2 * c;
    add_chunks(n, step, c, partial, dbeta);
    add_chunks(n, step, c, partial + c, dgamma);
    return 0;
}
