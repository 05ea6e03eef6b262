/* Softmax, the cross-entropy loss and its gradient, row by row: z (n, c) is read once and dz (n, c) written once.

   A row's targets p are the one-hot row of its label, a row of zeros if the label is negative (left out), or given.
   With smoothing e, class weights w and the divisor Z of the mean:

       m_j  = w_j ((1 - e) p_j + (e / c) sum_k p_k) / Z
       loss = - sum_j m_j log q_j,   log q_j = s_j - log sum_k exp(s_k),   s_j = z_j - max z
       dz_j = q_j (sum_k m_k) - m_j

   All in double, in a few rows of scratch that stay in the nearest cache, by loops over doubles that the compiler turns
   into vectors; most of the time is in exp. A task has some rows, whose losses are added in order at the end: the same
   bits on any number of threads. Labels and rows of targets take the same path from p on: a one-hot row gives what its
   label gives, to the bit. NaN or +Inf in a row, or nothing but -Inf, makes the row NaN, as the equations would. */
#pragma once

#include "parallel.h"
#include "scratch.h"
#include "simd.h"

#include <string.h>

#define LANES 8          /* sums side by side, in a fixed order */
#define TASK_SCORES 8192 /* of a task, or one row if that has more */

typedef struct {
    const REAL *z;
    const int64_t *labels;        /* (n,), below c; or NULL, and then */
    const double *rows, *weights; /* (n, c); (c,) or NULL, which is ones */
    ptrdiff_t n, c, rows_per_task;
    double keep, share, scale; /* 1 - e, e / c, 1 / Z */
    REAL *dz;
    double *losses; /* (n,) */
    int failed;
} SoftmaxJob;

/* exp(x) for x <= 0, within about an ulp, in double whatever REAL is (that of vmath.h is of REAL). x = k ln 2 + r
   with |r| <= ln 2 / 2, and exp(x) = 2^k exp(r): Taylor's series, of which the rest is below half an ulp. The last
   bit of 1.5 2^52 counts ones: a number added to it is rounded to a whole one, which then stands in the lowest bits,
   to be moved to where a double has its exponent. Below the smallest normal number, as for -Inf, it is 0; NaN stays
   NaN. */
INLINE double exp_double(double x) {
    const double shifter = 0x1.8p52, log2_e = 0x1.71547652b82fep0;
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    double shifted = x * log2_e + shifter, k = shifted - shifter;
    double r = x - k * ln2_high - k * ln2_low, y = 1.0 / 6227020800;
    y = y * r + 1.0 / 479001600;
    y = y * r + 1.0 / 39916800;
    y = y * r + 1.0 / 3628800;
    y = y * r + 1.0 / 362880;
    y = y * r + 1.0 / 40320;
    y = y * r + 1.0 / 5040;
    y = y * r + 1.0 / 720;
    y = y * r + 1.0 / 120;
    y = y * r + 1.0 / 24;
    y = y * r + 1.0 / 6;
    y = y * r + 0.5;
    y = y * r + 1;
    y = y * r + 1;
    uint64_t bits;
    double power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return x < -708 ? 0 : y * power;
}

static double sum_lanes(const double *a, ptrdiff_t n) {
    double lane[LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += a[i + j];
    for (int j = 0; i < n; i++, j++)
        lane[j] += a[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* The largest, NaN aside: exp makes the sum NaN, and with it the row. */
static REAL largest(const REAL *z, ptrdiff_t n) {
    REAL lane[LANES], top = z[0];
    ptrdiff_t i = 0;
    for (int j = 0; j < LANES; j++)
        lane[j] = z[0];
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] = z[i + j] > lane[j] ? z[i + j] : lane[j];
    for (; i < n; i++)
        top = z[i] > top ? z[i] : top;
    for (int j = 0; j < LANES; j++)
        top = lane[j] > top ? lane[j] : top;
    return top;
}

/* m := the targets of a row as they count; the sum of p is that of its row. */
static void count_targets(const SoftmaxJob *q, ptrdiff_t row, double *restrict m) {
    ptrdiff_t c = q->c;
    if (q->labels) {
        memset(m, 0, (size_t)c * sizeof *m);
        if (q->labels[row] >= 0)
            m[q->labels[row]] = 1;
    } else {
        memcpy(m, q->rows + row * c, (size_t)c * sizeof *m);
    }
    double keep = q->keep, scale = q->scale, spread = q->share != 0 ? q->share * sum_lanes(m, c) : 0;
    for (ptrdiff_t j = 0; j < c; j++)
        m[j] = (keep * m[j] + spread) * scale;
    if (q->weights)
        for (ptrdiff_t j = 0; j < c; j++)
            m[j] *= q->weights[j];
}

static double softmax_row(const REAL *z, const double *m, REAL *restrict dz, ptrdiff_t c, double *restrict log_q,
                          double *restrict e) {
    double top = largest(z, c);
    for (ptrdiff_t j = 0; j < c; j++) {
        log_q[j] = (double)z[j] - top;
        e[j] = exp_double(log_q[j]);
    }
    double total = sum_lanes(e, c), log_total = __builtin_log(total), scale = sum_lanes(m, c) / total;
    for (ptrdiff_t j = 0; j < c; j++) {
        dz[j] = (REAL)(e[j] * scale - m[j]);
        double term = m[j] * (log_q[j] - log_total);
        log_q[j] = m[j] > 0 ? term : 0; /* 0 log 0 is 0 */
    }
    return 0 - sum_lanes(log_q, c); /* and not -0 */
}

static void softmax_task(void *job, ptrdiff_t task) {
    SoftmaxJob *q = job;
    ptrdiff_t c = q->c, first = task * q->rows_per_task, end = first + q->rows_per_task;
    double *m = cnn_scratch(1, 3 * (size_t)c * sizeof *m), *log_q = m + c, *e = log_q + c;
    if (!m) {
        cnn_note(&q->failed);
        return;
    }
    for (ptrdiff_t i = first; i < (end < q->n ? end : q->n); i++) {
        count_targets(q, i, m);
        q->losses[i] = softmax_row(q->z + i * c, m, q->dz + i * c, c, log_q, e);
    }
}

/* *loss := the loss, dz := its gradient; c >= 1. */
static int softmax_loss(ptrdiff_t n, ptrdiff_t c, const void *z, const int64_t *labels, const double *rows,
                        const double *weights, double smoothing, double divisor, double *loss, void *dz, int threads) {
    double *losses = cnn_scratch(0, (size_t)n * sizeof *losses);
    if (!losses)
        return -1;
    SoftmaxJob q = {.z = z,
                    .labels = labels,
                    .rows = rows,
                    .weights = weights,
                    .n = n,
                    .c = c,
                    .rows_per_task = (TASK_SCORES + c - 1) / c,
                    .keep = 1 - smoothing,
                    .share = smoothing / (double)c,
                    .scale = 1 / divisor,
                    .dz = dz,
                    .losses = losses};
    cnn_parallel((n + q.rows_per_task - 1) / q.rows_per_task, threads, softmax_task, &q);
    *loss = sum_lanes(losses, n);
    return q.failed ? -1 : 0;
}
