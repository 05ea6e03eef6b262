/* Pooling along one axis: y (n, ow, c) from lines x (n, w, c), by windows of any length, and back.

   For the windows that have more elements than a byte can number (pool.h), whose lists of taps would be long too. A
   line is a signal, a row of an image, or an image whose rows are taken for pixels with w c channels: so an image is
   pooled along its rows, and then the result along its columns, kh + kw elements for each number of the result in place
   of kh kw. A maximum over a window's rows of the maxima of each, the first of equals both times, is the first in
   row-major order. Sums are in double: a window may have millions of elements.

   A task is a block of channels of one line, forward some positions of it. The shape of the pool is that of an image
   one pixel high. */
#pragma once

#include "elementwise.h"
#include "global_pool.h"
#include "parallel.h"
#include "simd.h"
#include "table.h"

#include <string.h>

#define LINE_BLOCK 512   /* channels of a task, at most */
#define LINE_WORK 65536  /* elements that a task reads, at least where there are as many */
#define LINE_NOBODY (-1) /* no pixel won: the window has none, or its maximum is rectified */

typedef struct {
    const cnn_pool *s;
    ptrdiff_t blocks, positions, parts; /* blocks of channels; positions of a task; tasks of a line and a block */
    const REAL *source;
    REAL *result;
    ptrdiff_t *new_winner; /* like y: the pixel of the line, or LINE_NOBODY */
    const ptrdiff_t *winner;
} LineJob;

/* What a task has. */
typedef struct {
    ptrdiff_t line, channel, width; /* its channels: the first and how many */
    ptrdiff_t first, last;          /* its positions */
} LinePart;

static LineJob cut_lines(const cnn_pool *s, int backward, const void *source, void *result) {
    ptrdiff_t blocks = (s->c + LINE_BLOCK - 1) / LINE_BLOCK, width = s->c < LINE_BLOCK ? s->c : LINE_BLOCK;
    ptrdiff_t reads = (s->kw < s->w ? s->kw : s->w) * width, positions = LINE_WORK / (reads + 1) + 1;
    if (backward || positions > s->ow)
        positions = s->ow;
    return (LineJob){.s = s,
                     .blocks = blocks,
                     .positions = positions,
                     .parts = positions ? (s->ow + positions - 1) / positions : 0,
                     .source = source,
                     .result = result};
}

static LinePart line_part(const LineJob *q, ptrdiff_t task) {
    ptrdiff_t part = task % q->parts, block = task / q->parts % q->blocks, first = part * q->positions;
    ptrdiff_t channel = block * LINE_BLOCK, left = q->s->c - channel;
    ptrdiff_t last = q->s->ow - first < q->positions ? q->s->ow : first + q->positions;
    return (LinePart){task / q->parts / q->blocks, channel, left < LINE_BLOCK ? left : LINE_BLOCK, first, last};
}

/* How many pixels the window at position o reads, and the first; the others are `dw` apart. */
static ptrdiff_t window_pixels(const cnn_pool *s, ptrdiff_t o, ptrdiff_t *first) {
    ptrdiff_t start = o * s->sw - s->left, skipped = start < 0 ? (-start - 1) / s->dw + 1 : 0;
    ptrdiff_t at = *first = start + skipped * s->dw, inside = at < s->w ? (s->w - 1 - at) / s->dw + 1 : 0;
    return s->kw - skipped < inside ? (s->kw > skipped ? s->kw - skipped : 0) : inside;
}

static int run_lines(LineJob *q, cnn_task task) {
    cnn_parallel(q->s->n * q->blocks * q->parts, q->s->threads, task, q);
    return 0;
}

/* ---- maximum ---- */

static void line_max_task(void *job, ptrdiff_t task) {
    const LineJob *q = job;
    const cnn_pool *s = q->s;
    LinePart p = line_part(q, task);
    const REAL *x = q->source + p.line * s->w * s->c + p.channel;
    REAL best[LINE_BLOCK];
    ptrdiff_t who[LINE_BLOCK], first;
    for (ptrdiff_t o = p.first; o < p.last; o++) {
        ptrdiff_t count = window_pixels(s, o, &first), to = (p.line * s->ow + o) * s->c + p.channel;
        for (ptrdiff_t i = 0; i < p.width; i++) {
            best[i] = count ? x[first * s->c + i] : -(REAL)__builtin_inf();
            who[i] = count ? first : LINE_NOBODY;
        }
        for (ptrdiff_t k = 1; k < count; k++) {
            ptrdiff_t at = first + k * s->dw;
            const REAL *pixel = x + at * s->c;
            FOR_EACH(i, p.width) {
                int better = wins(pixel[i], best[i]);
                best[i] = better ? pixel[i] : best[i];
                who[i] = better ? at : who[i];
            }
        }
        for (ptrdiff_t i = 0; i < p.width; i++) {
            q->result[to + i] = s->relu ? rectify(best[i]) : best[i];
            q->new_winner[to + i] = s->relu && !(best[i] > 0) ? LINE_NOBODY : who[i];
        }
    }
}

/* y and the pixel of each maximum, LINE_NOBODY for none. */
static int line_max_pool(const cnn_pool *s, const void *x, void *y, ptrdiff_t *winner) {
    LineJob q = cut_lines(s, 0, x, y);
    q.new_winner = winner;
    return run_lines(&q, line_max_task);
}

/* The task's channels of its line of dx, all 0. */
static REAL *cleared_line(const LineJob *q, const LinePart *p) {
    REAL *dx = q->result + p->line * q->s->w * q->s->c + p->channel;
    for (ptrdiff_t i = 0; i < q->s->w; i++)
        memset(dx + i * q->s->c, 0, (size_t)p->width * sizeof(REAL));
    return dx;
}

static void line_max_grad_task(void *job, ptrdiff_t task) {
    const LineJob *q = job;
    const cnn_pool *s = q->s;
    LinePart p = line_part(q, task);
    REAL *dx = cleared_line(q, &p);
    for (ptrdiff_t o = p.first; o < p.last; o++)
        for (ptrdiff_t i = 0, from = (p.line * s->ow + o) * s->c + p.channel; i < p.width; i++, from++) {
            ptrdiff_t at = q->winner[from];
            if (at >= 0 && at < s->w) /* LINE_NOBODY, or a number that no line_max_pool wrote, goes nowhere */
                dx[at * s->c + i] += q->source[from];
        }
}

/* dx: each dy goes to the pixel that won its window. */
static int line_max_pool_input_grad(const cnn_pool *s, const void *dy, const ptrdiff_t *winner, void *dx) {
    LineJob q = cut_lines(s, 1, dy, dx);
    q.winner = winner;
    return run_lines(&q, line_max_grad_task);
}

/* ---- sum ---- */

/* sums += `count` pixels, `step` elements apart; width is a constant where this is inlined, if it is small. */
INLINE void add_pixels_of_line(ptrdiff_t width, ptrdiff_t count, ptrdiff_t step, const REAL *pixel,
                               double *restrict sums) {
    for (ptrdiff_t k = 0; k < count; k++, pixel += step)
        for (ptrdiff_t i = 0; i < width; i++)
            sums[i] += (double)pixel[i];
}

static void line_sum_task(void *job, ptrdiff_t task) {
    const LineJob *q = job;
    const cnn_pool *s = q->s;
    LinePart p = line_part(q, task);
    const REAL *x = q->source + p.line * s->w * s->c + p.channel;
    double sums[LINE_BLOCK];
    ptrdiff_t first, step = s->dw * s->c;
    for (ptrdiff_t o = p.first; o < p.last; o++) {
        ptrdiff_t count = window_pixels(s, o, &first);
        REAL *y = q->result + (p.line * s->ow + o) * s->c + p.channel;
        memset(sums, 0, (size_t)p.width * sizeof(double));
        if (p.width == 1)
            add_pixels_of_line(1, count, step, x + first * s->c, sums);
        else if (p.width == 3)
            add_pixels_of_line(3, count, step, x + first * s->c, sums);
        else
            add_pixels_of_line(p.width, count, step, x + first * s->c, sums);
        for (ptrdiff_t i = 0; i < p.width; i++)
            y[i] = (REAL)sums[i];
    }
}

/* y = the sum of each window. */
static int line_sum_pool(const cnn_pool *s, const void *x, void *y) {
    LineJob q = cut_lines(s, 0, x, y);
    return run_lines(&q, line_sum_task);
}

static void line_sum_grad_task(void *job, ptrdiff_t task) {
    const LineJob *q = job;
    const cnn_pool *s = q->s;
    LinePart p = line_part(q, task);
    REAL *dx = cleared_line(q, &p);
    ptrdiff_t first;
    for (ptrdiff_t o = p.first; o < p.last; o++) {
        const REAL *dy = q->source + (p.line * s->ow + o) * s->c + p.channel;
        ptrdiff_t count = window_pixels(s, o, &first);
        for (REAL *pixel = dx + first * s->c; count > 0; count--, pixel += s->dw * s->c)
            FOR_EACH(i, p.width)
                pixel[i] += dy[i];
    }
}

/* dx: each pixel gets dy from every window that holds it. */
static int line_sum_pool_input_grad(const cnn_pool *s, const void *dy, void *dx) {
    LineJob q = cut_lines(s, 1, dy, dx);
    return run_lines(&q, line_sum_grad_task);
}
