/* Products of matrices where W is large compared with the batch, as in Affine after many pixels: x (n, d), W (d, m),
   y (n, m).

   The engine of convolution (engine.h) would pack W, which is then most of the work. Here W is read once, where it
   lies. */
#pragma once

#include "elementwise.h"
#include "pack.h"
#include "parallel.h"
#include "scratch.h"
#include "tile.h"

#include <string.h>

/* ---- forward ---- */

/* y = x W + b for a W (d, m) of many rows: cut along the sum, so that a task reads a stretch of W's rows once, where
   they lie, and meets all rows of x with it while it is in the L2 cache. The stretches' sums are added in order. */
typedef struct {
    const REAL *x, *W, *b;
    REAL *sums, *y; /* sums: [stretches][n][m] */
    ptrdiff_t n, d, m, each, stretches;
    int relu, failed;
} Stretched;

#define STRETCH 51200 /* elements of W in a task */
#define STRETCHED_ROWS                                                                                                 \
    480 /* of x at once, at most: the sums of as many rows as a stretch has are as many as W's elements */

static void stretch_task(void *job, ptrdiff_t task) {
    Stretched *q = job;
    ptrdiff_t first = task * q->each, length = q->d - first < q->each ? q->d - first : q->each;
    const REAL *x[STRETCHED_ROWS], *W = q->W + first * q->m;
    REAL *y[STRETCHED_ROWS];
    for (ptrdiff_t i = 0; i < q->n; i++) {
        x[i] = q->x + i * q->d + first;
        y[i] = q->sums + (task * q->n + i) * q->m;
    }
    Run run = {0, length, 0};
    Panels panels = {.runs = &run, .n_runs = 1, .k = length, .packed = W, .ldw = q->m, .width = q->m, .far = 1};
    if (q->n > 4 * MR) { /* worth packing the stretch */
        size_t bytes = (size_t)packed_size(length, q->m) * sizeof(REAL);
        REAL *packed = cnn_scratch(1, bytes);
        if (!packed) {
            cnn_note(&q->failed);
            return;
        }
        Element all = {W, packed, 0, length, 0};
        Packing packing = {.elements = &all,
                           .n_elements = 1,
                           .rows = length,
                           .width = q->m,
                           .lanes = q->m,
                           .row_step = q->m,
                           .lane_step = 1};
        memset(packed + q->m / NR * NR * length, 0, bytes - (size_t)(q->m / NR * NR * length) * sizeof(REAL));
        for (ptrdiff_t panel = 0; panel < pack_panels(&packing); panel++)
            pack_panel(&packing, panel);
        panels.packed = packed;
        panels.ldw = 0;
    }
    run_panels(&panels, 0, (q->m + NR - 1) / NR, q->n, x, y);
}

static void add_stretches_task(void *job, ptrdiff_t row) {
    const Stretched *q = job;
    const REAL *sums = q->sums + row * q->m;
    REAL *y = q->y + row * q->m;
    for (ptrdiff_t i = 0; i < q->m; i += VL) {
        const ptrdiff_t at = lane(i, q->m, 0);
        Vec sum = LOAD(sums + at);
        for (ptrdiff_t s = 1; s < q->stretches; s++)
            sum += LOAD(sums + s * q->n * q->m + at);
        if (q->b)
            sum += LOAD(q->b + at);
        STORE(y + at, q->relu ? rectify_each(sum) : sum);
    }
}

/* y = x W + b, then max(y, 0) if relu; for m from NR to STRETCH. */
static int stretched_forward(ptrdiff_t n, ptrdiff_t d, ptrdiff_t m, const void *x, const void *W, const void *b,
                             void *y, int relu, int threads) {
    ptrdiff_t each = STRETCH / m, stretches = (d + each - 1) / each,
              most = each < STRETCHED_ROWS ? each : STRETCHED_ROWS;
    REAL *sums = cnn_scratch(0, (size_t)(stretches * (n < most ? n : most) * m) * sizeof(REAL));
    if (!sums)
        return -1;
    for (ptrdiff_t row = 0; row < n; row += most) {
        ptrdiff_t rows = n - row < most ? n - row : most;
        Stretched q = {
            (const REAL *)x + row * d, W, b, sums, (REAL *)y + row * m, rows, d, m, each, stretches, relu, 0};
        cnn_parallel(stretches, threads, stretch_task, &q);
        if (q.failed)
            return -1;
        cnn_parallel(rows, rows * m > 4096 ? threads : 1, add_stretches_task, &q);
    }
    return 0;
}

/* ---- input gradient ---- */

/* dx = dy W^T for a few rows of dy: each row of W is read once, where it lies, and multiplied with each of them. */
typedef struct {
    const REAL *dy, *W;
    REAL *dx;
    ptrdiff_t n, d, m;
} Dots;

INLINE REAL dot(ptrdiff_t m, const REAL *w, const REAL *dy) {
    Vec sums = {0};
    ptrdiff_t j = 0;
    for (; j + VL <= m; j += VL)
        sums += LOAD(w + j) * LOAD(dy + j);
    REAL sum = 0;
    for (int v = 0; v < VL; v++)
        sum += sums[v];
    for (; j < m; j++)
        sum += w[j] * dy[j];
    return sum;
}

static void dots_task(void *job, ptrdiff_t task) {
    const Dots *q = job;
    ptrdiff_t end = task * 256 + 256 < q->d ? task * 256 + 256 : q->d;
    for (ptrdiff_t i = task * 256; i < end; i++)
        for (ptrdiff_t n = 0; n < q->n; n++) {
            const REAL *w = q->W + i * q->m, *dy = q->dy + n * q->m;
            REAL sum = 0;
            for (ptrdiff_t j = 0; j < q->m; j += MOST_TERMS)
                sum += dot(q->m - j < MOST_TERMS ? q->m - j : MOST_TERMS, w + j, dy + j);
            q->dx[n * q->d + i] = sum;
        }
}

static int dots_input_grad(ptrdiff_t n, ptrdiff_t d, ptrdiff_t m, const void *dy, const void *W, void *dx,
                           int threads) {
    Dots q = {dy, W, dx, n, d, m};
    cnn_parallel((d + 255) / 256, threads, dots_task, &q);
    return 0;
}

/* dx^T = W dy^T, for dy (n, m) and dx (n, d) that are small compared with W (d, m). The tile's positions are rows of
   W, which are read where they lie; what is packed is dy^T, and the result is turned a few rows of W at a time. */
typedef struct {
    const REAL *packed, *W; /* dy^T in panels */
    REAL *dx;
    ptrdiff_t n, d, m;
    int failed;
} Turned;

#define TURNED_ROWS (4 * MR) /* of W in a task */

static void turned_task(void *job, ptrdiff_t task) {
    Turned *q = job;
    ptrdiff_t first = task * TURNED_ROWS, rows = q->d - first < TURNED_ROWS ? q->d - first : TURNED_ROWS;
    const REAL *x[TURNED_ROWS];
    REAL *y[TURNED_ROWS], *results = cnn_scratch(1, (size_t)(rows * q->n) * sizeof(REAL));
    if (!results) {
        cnn_note(&q->failed);
        return;
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        x[i] = q->W + (first + i) * q->m;
        y[i] = results + i * q->n;
    }
    Run run = {0, q->m, 0};
    Panels panels = {.runs = &run, .n_runs = 1, .k = q->m, .packed = q->packed, .width = q->n};
    run_panels(&panels, 0, (q->n + NR - 1) / NR, rows, x, y);
    for (ptrdiff_t n = 0, many; n < q->n; n += many) {
        REAL *to = q->dx + n * q->d + first;
        ptrdiff_t i = 0;
        many = n + 4 <= q->n ? 4 : 1;
        for (; many == 4 && i + 4 <= rows; i += 4)
            transpose_four(to + i, q->d, results + i * q->n + n, q->n);
        for (; i < rows; i++)
            for (ptrdiff_t r = 0; r < many; r++)
                to[r * q->d + i] = results[i * q->n + n + r];
    }
}

static int turned_input_grad(ptrdiff_t n, ptrdiff_t d, ptrdiff_t m, const void *dy, const void *W, void *dx,
                             int threads) {
    size_t numbers = (size_t)packed_size(m, n);
    REAL *packed = cnn_scratch(0, numbers * sizeof(REAL));
    if (!packed)
        return -1;
    memset(packed, 0, numbers * sizeof(REAL)); /* lanes that no row of dy fills */
    Element all = {dy, packed, 0, m, 0};
    Packing packing = {
        .elements = &all, .n_elements = 1, .rows = m, .width = n, .lanes = n, .row_step = 1, .lane_step = m};
    cnn_parallel(pack_panels(&packing), n * m > 16384 ? threads : 1, pack_task, &packing);
    Turned q = {packed, W, dx, n, d, m, 0};
    cnn_parallel((d + TURNED_ROWS - 1) / TURNED_ROWS, threads, turned_task, &q);
    return q.failed ? -1 : 0;
}
