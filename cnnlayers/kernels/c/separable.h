/* A depthwise convolution and the 1x1 convolution after it, as one pass: y = P(D(x)), each with its bias and ReLU.

   A task is a block of rows of an image. It computes D(x) there into memory of its own, which stays in the L1 or L2
   cache, and the register tile multiplies that with the packed weights of P at once: what lies between the two is never
   an array, and no thread waits for another in between. Every number is the same sum in the same order as by the two
   kernels apart, so it has their bits. */
#pragma once

#include "depthwise_rows.h"
#include "engine.h"
#include "pack.h"
#include "parallel.h"
#include "scratch.h"
#include "table.h"
#include "tile.h"

#define BETWEEN 65536 /* bytes of a task between the two, about */

typedef struct {
    DepthwiseRows depthwise;
    Panels pointwise;
    Run run; /* all channels of a position */
    REAL *y;
    ptrdiff_t rows, blocks; /* of a task; blocks of rows in an image */
    int failed;
} Separable;

static void separable_task(void *job, ptrdiff_t task) {
    Separable *q = job;
    const DepthwiseRows *d = &q->depthwise;
    const ptrdiff_t image = task / q->blocks, r0 = task % q->blocks * q->rows;
    const ptrdiff_t r1 = r0 + q->rows < d->rows ? r0 + q->rows : d->rows, positions = (r1 - r0) * d->cols;
    const size_t between = ((size_t)(positions * d->c) * sizeof(REAL) + 63) & ~(size_t)63;
    char *memory = cnn_scratch(1, between + (size_t)positions * 2 * sizeof(void *));
    if (!memory) {
        cnn_note(&q->failed);
        return;
    }
    REAL *middle = (REAL *)memory, *to = q->y + (image * d->rows + r0) * d->cols * q->pointwise.width;
    const REAL **x = (const REAL **)(memory + between);
    REAL **y = (REAL **)(x + positions);
    for (ptrdiff_t i = 0; i < positions; i++) {
        x[i] = middle + i * d->c;
        y[i] = to + i * q->pointwise.width;
    }
    depthwise_rows(d, d->source + image * d->from_rows * d->from_cols * d->c, r0, r1, middle);
    run_panels(&q->pointwise, 0, (q->pointwise.width + NR - 1) / NR, positions, x, y);
}

/* Rows of a task: what lies between stays near, and all is done as early as can be. The steps of a task are those of
   its tiles; few tasks are shared evenly, and smaller ones wait less for each other. */
static ptrdiff_t rows_of_a_block(const cnn_conv *s) {
    const ptrdiff_t most = BETWEEN / (s->ow * s->c * (ptrdiff_t)sizeof(REAL)) + 1;
    ptrdiff_t chosen = 1;
    double best = 0;
    for (ptrdiff_t rows = 1; rows <= s->oh && rows <= most; rows++) {
        const ptrdiff_t tasks = s->n * ((s->oh + rows - 1) / rows);
        const double longest = (double)tile_steps(rows * s->ow),
                     rounds = (double)((tasks + s->threads - 1) / s->threads);
        const double time = rounds * longest + (s->threads > 1 ? longest / 8 : 0);
        if (rows == 1 || time <= best) {
            best = time;
            chosen = rows;
        }
    }
    return chosen;
}

/* Whether this file computes p(s(x)): rows for the one, and for the other one product of whole vectors. */
static int separable_suits(const cnn_conv *s, const cnn_conv *p) {
    return s->groups == s->c && s->c == s->f && rows_suit(s, 0) && p->n == s->n && p->c == s->f && p->h == s->oh &&
           p->w == s->ow && p->oh == p->h && p->ow == p->w && p->kh * p->kw * p->sh * p->sw * p->groups == 1 &&
           p->top == 0 && p->left == 0 && 2 * p->f > VL;
}

/* s: the depthwise convolution of x with W and b; p: the 1x1 convolution, whose weights and bias `ready` holds as
   direct_pack wrote them; biased: whether it has a bias. */
static int separable_forward(const cnn_conv *s, const cnn_conv *p, const void *x, const void *W, const void *b,
                             const void *ready, int biased, void *y) {
    Separable q = {.depthwise = rows_forward(s, x, W, b), .run = {0, s->c, 0}, .y = y, .rows = rows_of_a_block(s)};
    q.pointwise = (Panels){.runs = &q.run,
                           .n_runs = 1,
                           .k = s->c,
                           .packed = ready,
                           .bias = biased ? (const REAL *)ready + packed_size(s->c, p->f) : NULL,
                           .width = p->f,
                           .relu = p->relu};
    q.depthwise.far = far_away(s->n * (s->h * s->w * s->c + s->oh * s->ow * p->f), s->threads);
    q.blocks = (s->oh + q.rows - 1) / q.rows;
    cnn_parallel(s->n * q.blocks, s->threads, separable_task, &q);
    return q.failed ? -1 : 0;
}
