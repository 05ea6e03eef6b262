/* Depthwise convolution: one filter per channel, W (kh, kw, 1, c), x (n, h, w, c), y (n, oh, ow, c).

   Each element of x meets only kh kw weights, so memory is the limit, not arithmetic: one pass, no copy, no halo.
   Forward and input gradient are the same gather (taps.h) of weighted taps. Positions go `BLOCK` at a time in
   registers, so that a tap's weights are loaded once for all of them.

   Weight gradient: dW[k] = sum over positions of x[tap k] * dy. Up to nine taps at a time are kept in registers over a
   row, so that dy is read once for all of them. Rows are cut into chunks whose number depends on the shape alone, and
   the chunks' sums are added in order: so bits do not depend on the number of threads. */
#pragma once

#include "by_channel.h"
#include "parallel.h"
#include "scratch.h"
#include "table.h"
#include "taps.h"

#include <string.h>

#define BLOCK 8
#define AHEAD 8

/* Keep a number that is used several times in its register: GCC would rather load it again for each use. */
#if defined(__GNUC__) && defined(__x86_64__)
#define KEEP(v) __asm__("" : "+v"(v))
#else
#define KEEP(v) ((void)0)
#endif

/* `count` positions from u; count and n are constants where inlined. */
INLINE void weighted_block(int count, const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u,
                           int small) {
    const int near_end = small == 2; /* small, and a load might pass the end of the source */
    const ptrdiff_t c = g->c, stride = g->stride * c, weights_step = g->weights_step, to = at->to * c + u * stride;
    const ptrdiff_t room = at->end * c - to, next = (g->backward ? 1 : g->sh) * g->from_cols * c;
    const REAL *weights = g->weights, *bias = g->bias, *end = g->source_end, *x[BLOCK];
    const int relu = g->relu;
    REAL *y = g->result + to;
    UNROLLED(m, count)
        x[m] = at->source + (u + m) * g->step * c;
    for (ptrdiff_t i = 0; i < c; i += VL) {
        ptrdiff_t v = lane(i, c, small);
        Vec sum[BLOCK], start = {0};
        if (bias)
            start = LOAD(bias + v);
        UNROLLED(m, count)
            sum[m] = start;
        UNROLLED(m, count)
            __builtin_prefetch(y + (m + AHEAD) * stride + v, 1);
        if (n > 0)
            UNROLLED(m, count)
                __builtin_prefetch(x[m] + taps[n - 1].offset + v + next);
        for (ptrdiff_t t = 0; t < n; t++) {
            Vec w = LOAD(weights + taps[t].number * weights_step + v);
            ptrdiff_t from = taps[t].offset + v;
            UNROLLED(m, count)
                sum[m] += w * load_lanes(x[m] + from, end, near_end);
        }
        if (relu)
            UNROLLED(m, count)
                sum[m] = (Vec)((Mask)sum[m] & ~(sum[m] < 0)); /* NaN is not < 0: it passes */
        UNROLLED(m, count)
            store_lanes(y + m * stride + v, sum[m], room - m * stride, small);
    }
}

/* The same for taps in lines of `length` neighbouring pixels, positions `step` pixels apart, all of these constants:
   each element of x is loaded once for all positions that read it, 10 loads instead of 24 for a line of three and 8
   positions. */
INLINE void sliding_block(int count, int length, int step, const Gather *g, const Tap *taps, ptrdiff_t n,
                          const Place *at, ptrdiff_t u) {
    const ptrdiff_t c = g->c, stride = g->stride * c, weights_step = g->weights_step;
    const REAL *weights = g->weights, *bias = g->bias, *x = at->source + u * step * c;
    const int relu = g->relu;
    /* Processors do not foresee what the next row reads: they see jumps from pixel to pixel. */
    const ptrdiff_t next = (g->backward ? 1 : g->sh) * g->from_cols * c, fresh = n - (g->backward ? 1 : g->sh) * length;
    REAL *y = g->result + at->to * c + u * stride;
    for (ptrdiff_t i = 0; i < c; i += VL) {
        ptrdiff_t v = lane(i, c, 0);
        Vec sum[BLOCK], start = {0};
        if (bias)
            start = LOAD(bias + v);
        UNROLLED(m, count)
            sum[m] = start;
        UNROLLED(m, count)
            __builtin_prefetch(y + AHEAD * stride + i * count + m * VL, 1);
        for (ptrdiff_t t = 0; t < n; t += length) {
            const REAL *p = x + taps[t].offset + v;
            Vec w[7];
            if (step == 1 && t >= fresh)
                UNROLLED(m, count * step)
                    __builtin_prefetch(x + taps[t].offset + next + i * (count * step) + m * VL);
            UNROLLED(k, length)
                w[k] = LOAD(weights + taps[t + k].number * weights_step + v);
#pragma GCC unroll 36
            for (int j = 0; j < (count - 1) * step + length; j++, p += c) {
                Vec value = LOAD(p);
                KEEP(value);
                UNROLLED(k, length)
                    if (j >= k && (j - k) % step == 0 && (j - k) / step < count)
                        sum[(j - k) / step] += w[k] * value;
            }
        }
        if (relu)
            UNROLLED(m, count)
                sum[m] = (Vec)((Mask)sum[m] & ~(sum[m] < 0));
        UNROLLED(m, count)
            STORE(y + m * stride + v, sum[m]);
    }
}

/* Read the rows of a line's taps that no row before has read, in order, so that the processor foresees what comes. With
   strides above one it is faster than to prefetch for the next row: most of what is read is new. */
INLINE void touch_rows(int length, int step, const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at,
                       ptrdiff_t u0, ptrdiff_t u1) {
    ptrdiff_t fresh = n - g->sh * length;
    for (ptrdiff_t t = fresh > 0 ? fresh : 0; t < n; t += length) {
        const REAL *p = at->source + u0 * step * g->c + taps[t].offset, *end = p + (u1 - u0) * step * g->c;
        for (; p < end; p += 64 / sizeof(REAL))
            (void)*(const volatile REAL *)p;
    }
}

/* Positions u0 .. u1 - 1, four at least: blocks of 8 and 4, the last one moved back so that it ends with the range. */
INLINE void sliding_range(int length, int step, const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at,
                          ptrdiff_t u0, ptrdiff_t u1) {
    if (step > 1)
        touch_rows(length, step, g, taps, n, at, u0, u1);
    for (ptrdiff_t u = u0; u < u1;) {
        ptrdiff_t size = u1 - u > 4 && u1 - u0 >= 8 ? 8 : 4;
        u = u + size < u1 ? u : u1 - size;
        if (size == 8)
            sliding_block(8, length, step, g, taps, n, at, u);
        else
            sliding_block(4, length, step, g, taps, n, at, u);
        u += size;
    }
}

#define SLIDING(name, length, step)                                                                                    \
    NOINLINE void name(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1) {   \
        sliding_range(length, step, g, taps, n, at, u0, u1);                                                           \
    }
SLIDING(sliding_3, 3, 1)
SLIDING(sliding_3_by_2, 3, 2)
SLIDING(sliding_5, 5, 1)
SLIDING(sliding_7, 7, 1)

/* Taps come in lines, one for each kernel row: how many of each are neighbours? 1: no line. */
static ptrdiff_t line_length(const Tap *taps, ptrdiff_t n) {
    ptrdiff_t length = 1;
    while (length < n && taps[length].shift == taps[0].shift + length)
        length++;
    if (length < n && taps[length].shift != taps[0].shift) /* gaps in the line */
        return 1;
    return length;
}

/* As many whole blocks as there are; returns the first position left. */
INLINE ptrdiff_t weighted_range(int count, int small, const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at,
                                ptrdiff_t u0, ptrdiff_t u1) {
    const REAL *last = at->source + (count - 1) * g->step * g->c + (n ? taps[n - 1].offset : 0);
    for (; u0 + count <= u1; u0 += count)
        if (small && g->source_end - last - u0 * g->step * g->c < VL)
            weighted_block(count, g, taps, n, at, u0, 2);
        else
            weighted_block(count, g, taps, n, at, u0, small);
    return u0;
}

#define WEIGHTED(name, count, small)                                                                                   \
    NOINLINE ptrdiff_t name(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0,              \
                            ptrdiff_t u1) {                                                                            \
        return weighted_range(count, small, g, taps, n, at, u0, u1);                                                   \
    }
WEIGHTED(weighted_8, 8, 0)
WEIGHTED(weighted_4, 4, 0)
WEIGHTED(weighted_2, 2, 0)
WEIGHTED(weighted_1, 1, 0)
WEIGHTED(weighted_4_small, 4, 1)
WEIGHTED(weighted_1_small, 1, 1)

static void weighted_op(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1) {
    if (g->c < VL) {
        if (u1 - u0 >= 4)
            u0 = weighted_4_small(g, taps, n, at, u0, u1);
        weighted_1_small(g, taps, n, at, u0, u1);
        return;
    }
    ptrdiff_t length = u1 - u0 >= 4 ? line_length(taps, n) : 1;
    if (length == 3 && g->step == 1)
        return sliding_3(g, taps, n, at, u0, u1);
    if (length == 3 && g->step == 2)
        return sliding_3_by_2(g, taps, n, at, u0, u1);
    if (length == 5 && g->step == 1)
        return sliding_5(g, taps, n, at, u0, u1);
    if (length == 7 && g->step == 1)
        return sliding_7(g, taps, n, at, u0, u1);
    if (u1 - u0 >= 8)
        u0 = weighted_8(g, taps, n, at, u0, u1);
    if (u1 - u0 >= 4)
        u0 = weighted_4(g, taps, n, at, u0, u1);
    if (u1 - u0 >= 2)
        u0 = weighted_2(g, taps, n, at, u0, u1);
    weighted_1(g, taps, n, at, u0, u1);
}

static Gather depthwise_gather(const cnn_conv *s, int backward, const void *source, void *result) {
    return (Gather){.op = weighted_op,
                    .source = source,
                    .result = result,
                    .n = s->n,
                    .c = s->c,
                    .kh = s->kh,
                    .kw = s->kw,
                    .sh = s->sh,
                    .sw = s->sw,
                    .dh = s->dh,
                    .dw = s->dw,
                    .top = s->top,
                    .left = s->left,
                    .backward = backward,
                    .from_rows = backward ? s->oh : s->h,
                    .from_cols = backward ? s->ow : s->w,
                    .rows = backward ? s->h : s->oh,
                    .cols = backward ? s->w : s->ow};
}

/* Weights and bias where whole vectors can be loaded: where they lie, or, for c < VL, with zeros after them (scratch
   slot 2). */
static int take_weights(Gather *g, const REAL *W, const REAL *b) {
    g->weights = W;
    g->bias = b;
    g->weights_step = g->c;
    if (g->c >= VL)
        return 0;
    ptrdiff_t taps = g->kh * g->kw;
    REAL *padded = cnn_scratch(2, (size_t)((taps + 1) * VL) * sizeof(REAL));
    if (!padded)
        return -1;
    memset(padded, 0, (size_t)((taps + 1) * VL) * sizeof(REAL));
    for (ptrdiff_t k = 0; k < taps; k++)
        memcpy(padded + k * VL, W + k * g->c, (size_t)g->c * sizeof(REAL));
    if (b)
        memcpy(padded + taps * VL, b, (size_t)g->c * sizeof(REAL));
    g->weights = padded;
    g->bias = b ? padded + taps * VL : NULL;
    g->weights_step = VL;
    return 0;
}

static int depthwise_forward(const cnn_conv *s, const void *x, const void *W, const void *b, void *y) {
    Gather g = depthwise_gather(s, 0, x, y);
    g.relu = s->relu;
    return take_weights(&g, W, b) ? -1 : gather_run(&g, gather_task, s->threads);
}

static int depthwise_input_grad(const cnn_conv *s, const void *dy, const void *W, void *dx) {
    Gather g = depthwise_gather(s, 1, dy, dx);
    return take_weights(&g, W, NULL) ? -1 : gather_run(&g, gather_task, s->threads);
}

/* ---- weight gradient ---- */

typedef struct {
    Gather g; /* forward: source x, taps per row; result unused */
    const REAL *dy, *dy_end;
    REAL *partial; /* [chunks][kh * kw][ldw] */
    REAL *totals;  /* likewise, of a chunk's sums of MOST_TERMS positions; NULL if no chunk has more */
    ptrdiff_t chunks, ldw;
} DepthwiseGrad;

/* sums[k] += x[tap k] * dy over positions u0 .. u1, for `count` taps, a constant where inlined. */
INLINE void correlate(int count, const DepthwiseGrad *q, const Tap *taps, const REAL *x, const REAL *dy, ptrdiff_t u0,
                      ptrdiff_t u1, REAL *sums, int small) {
    const ptrdiff_t c = q->g.c, step = q->g.step * c, ldw = q->ldw, next = q->g.sh * q->g.from_cols * c;
    const REAL *x_end = q->g.source_end, *dy_end = q->dy_end;
    for (ptrdiff_t i = 0; i < c; i += VL) {
        ptrdiff_t v = lane(i, c, small);
        const REAL *p[9], *d = dy + u0 * c + v;
        Vec sum[9];
        UNROLLED(k, count) {
            p[k] = x + taps[k].offset + u0 * step + v;
            sum[k] = LOAD(sums + taps[k].number * ldw + i);
        }
        ptrdiff_t at = 0;
        for (ptrdiff_t u = u0; u < u1; u++, d += c, at += step) {
            Vec grad = load_lanes(d, dy_end, small);
            if (!small) {
                __builtin_prefetch(d + q->g.cols * c);
                __builtin_prefetch(p[count - 1] + at + next);
            }
            UNROLLED(k, count)
                sum[k] += grad * load_lanes(p[k] + at, x_end, small);
        }
        UNROLLED(k, count)
            STORE(sums + taps[k].number * ldw + i, sum[k]);
    }
}

INLINE void correlate_taps(int count, const DepthwiseGrad *q, const Tap *taps, const REAL *x, const REAL *dy,
                           ptrdiff_t u0, ptrdiff_t u1, REAL *sums) {
    if (q->g.c < VL)
        correlate(count, q, taps, x, dy, u0, u1, sums, 1);
    else
        correlate(count, q, taps, x, dy, u0, u1, sums, 0);
}

#define CORRELATE(name, count)                                                                                         \
    NOINLINE void name(const DepthwiseGrad *q, const Tap *taps, const REAL *x, const REAL *dy, ptrdiff_t u0,           \
                       ptrdiff_t u1, REAL *sums) {                                                                     \
        correlate_taps(count, q, taps, x, dy, u0, u1, sums);                                                           \
    }
CORRELATE(correlate_9, 9)
CORRELATE(correlate_6, 6)
CORRELATE(correlate_3, 3)
CORRELATE(correlate_1, 1)

/* The 3 x 3 window: four positions at a time, so that each element of x is loaded once for the taps that read it.
   Returns the first position left. */
INLINE ptrdiff_t correlate_3x3(int step, const DepthwiseGrad *q, const Tap *taps, const REAL *x, const REAL *dy,
                               ptrdiff_t u0, ptrdiff_t u1, REAL *sums) {
    const ptrdiff_t c = q->g.c, ldw = q->ldw, end = u0 + (u1 - u0) / 4 * 4, next = q->g.sh * q->g.from_cols * c;
    for (ptrdiff_t i = 0; i < c; i += VL) {
        ptrdiff_t v = lane(i, c, 0);
        const REAL *d = dy + u0 * c + v, *p[3];
        Vec sum[9];
        UNROLLED(k, 9)
            sum[k] = LOAD(sums + taps[k].number * ldw + i);
        UNROLLED(r, 3)
            p[r] = x + taps[3 * r].offset + u0 * step * c + v;
        for (ptrdiff_t u = u0; u < end; u += 4, d += 4 * c) {
            Vec grad[4];
            UNROLLED(m, 4) {
                grad[m] = LOAD(d + m * c);
                __builtin_prefetch(d + m * c + q->g.cols * c);
            }
            UNROLLED(r, 3) {
                if (r >= 3 - step)
                    UNROLLED(j, 4 * step)
                        __builtin_prefetch(p[r] + j * c + next);
                UNROLLED(j, 3 * step + 3) {
                    Vec value = LOAD(p[r] + j * c);
                    KEEP(value);
                    UNROLLED(k, 3)
                        if (j >= k && (j - k) % step == 0 && (j - k) / step < 4)
                            sum[3 * r + k] += grad[(j - k) / step] * value;
                }
                p[r] += 4 * step * c;
            }
        }
        UNROLLED(k, 9)
            STORE(sums + taps[k].number * ldw + i, sum[k]);
    }
    return end;
}
NOINLINE ptrdiff_t correlate_3x3_by_1(const DepthwiseGrad *q, const Tap *taps, const REAL *x, const REAL *dy,
                                      ptrdiff_t u0, ptrdiff_t u1, REAL *sums) {
    return correlate_3x3(1, q, taps, x, dy, u0, u1, sums);
}
NOINLINE ptrdiff_t correlate_3x3_by_2(const DepthwiseGrad *q, const Tap *taps, const REAL *x, const REAL *dy,
                                      ptrdiff_t u0, ptrdiff_t u1, REAL *sums) {
    return correlate_3x3(2, q, taps, x, dy, u0, u1, sums);
}

/* All of the list, nine at a time. */
static void correlate_all(const DepthwiseGrad *q, const Tap *taps, ptrdiff_t n, const REAL *x, const REAL *dy,
                          ptrdiff_t u0, ptrdiff_t u1, REAL *sums) {
    if (n == 9 && u1 - u0 >= 4 && q->g.c >= VL && line_length(taps, n) == 3) {
        if (q->g.step == 1)
            u0 = correlate_3x3_by_1(q, taps, x, dy, u0, u1, sums);
        else if (q->g.step == 2)
            u0 = correlate_3x3_by_2(q, taps, x, dy, u0, u1, sums);
        if (u0 == u1)
            return;
    }
    for (; n >= 9; n -= 9, taps += 9)
        correlate_9(q, taps, x, dy, u0, u1, sums);
    for (; n >= 6; n -= 6, taps += 6)
        correlate_6(q, taps, x, dy, u0, u1, sums);
    for (; n >= 3; n -= 3, taps += 3)
        correlate_3(q, taps, x, dy, u0, u1, sums);
    for (; n >= 1; n -= 1, taps += 1)
        correlate_1(q, taps, x, dy, u0, u1, sums);
}

/* Take the sums of a chunk to its totals, and begin again. */
static void move_to_totals(const DepthwiseGrad *q, ptrdiff_t chunk) {
    ptrdiff_t size = q->g.kh * q->g.kw * q->ldw;
    add_to(size, q->totals + chunk * size, q->partial + chunk * size);
    memset(q->partial + chunk * size, 0, (size_t)size * sizeof(REAL));
}

static void correlate_task(void *job, ptrdiff_t chunk) {
    DepthwiseGrad *q = job;
    const Gather *g = &q->g;
    const Columns *phase = &g->phases[0];
    ptrdiff_t all = g->n * g->rows, r0 = all * chunk / q->chunks, r1 = all * (chunk + 1) / q->chunks,
              most = g->kh * g->kw;
    REAL *sums = q->partial + chunk * most * q->ldw;
    Tap *taps = cnn_scratch(1, (size_t)(2 * most) * sizeof(Tap)), *clipped = taps + most;
    if (!taps) {
        q->g.failed = 1;
        return;
    }
    for (ptrdiff_t r = r0, terms = 0; r < r1; r++, terms += g->cols) {
        const REAL *x = g->source + r / g->rows * g->from_rows * g->from_cols * g->c, *dy = q->dy + r * g->cols * g->c;
        ptrdiff_t n = find_taps(g, phase, r % g->rows, taps);
        if (q->totals && terms + g->cols > MOST_TERMS) {
            move_to_totals(q, chunk);
            terms = 0;
        }
        for (ptrdiff_t u = 0; u < phase->low; u++)
            correlate_all(q, clipped, clip(g, taps, n, clipped, u), x, dy, u, u + 1, sums);
        for (ptrdiff_t u = phase->low, end; u < phase->high; u = end) {
            end = phase->high - u < MOST_TERMS ? phase->high : u + MOST_TERMS;
            correlate_all(q, taps, n, x, dy, u, end, sums);
            if (end < phase->high) /* a row longer than that */
                move_to_totals(q, chunk);
        }
        for (ptrdiff_t u = phase->high; u < phase->count; u++)
            correlate_all(q, clipped, clip(g, taps, n, clipped, u), x, dy, u, u + 1, sums);
    }
    if (q->totals)
        add_to(most * q->ldw, sums, q->totals + chunk * most * q->ldw);
}

/* dW, and db unless it is NULL. */
static int depthwise_weight_grad(const cnn_conv *s, const void *x, const void *dy, void *dW, void *db) {
    if (db && column_sums(s->n * s->oh * s->ow, s->f, dy, db, s->threads))
        return -1;
    Gather g = depthwise_gather(s, 0, x, NULL);
    ptrdiff_t k = s->kh * s->kw, ldw = (s->c + VL - 1) / VL * VL, size = k * ldw, rows = s->n * s->oh;
    ptrdiff_t per_task = rows_of(65536, s->h * s->w, s->oh, s->oh * s->ow, s->c),
              chunks = (rows + per_task - 1) / per_task;
    ptrdiff_t most = 131072 / size < 2 ? 2 : 131072 / size < 32 ? 131072 / size : 32;
    chunks = chunks < most ? chunks : most;
    ptrdiff_t partial = chunks * size, totals = 0;
    if (chunks && (rows + chunks - 1) / chunks * s->ow > MOST_TERMS)
        totals = partial;
    size_t tables = ((sizeof(Columns) + (size_t)s->kw * sizeof(Column)) + 63) & ~(size_t)63;
    char *memory = cnn_scratch(0, tables + (size_t)(partial + totals) * sizeof(REAL));
    if (!memory)
        return -1;
    g.step = s->sw;
    g.stride = 1;
    g.n_phases = 1;
    g.source_end = g.source + s->n * s->h * s->w * s->c;
    Columns *phase = (Columns *)memory;
    find_columns(&g, phase, (Column *)(phase + 1));
    g.phases = phase;
    DepthwiseGrad q = {.g = g,
                       .dy = dy,
                       .dy_end = (const REAL *)dy + rows * s->ow * s->c,
                       .partial = (REAL *)(memory + tables),
                       .totals = totals ? (REAL *)(memory + tables) + partial : NULL,
                       .chunks = chunks,
                       .ldw = ldw};
    memset(q.partial, 0, (size_t)(partial + totals) * sizeof(REAL));
    if (chunks)
        cnn_parallel(chunks, s->threads, correlate_task, &q);
    for (ptrdiff_t i = 0; i < k; i++)
        for (ptrdiff_t o = 0; o < s->c; o++) {
            ptrdiff_t v = o / VL * VL; /* the last vector was moved back, and its lanes with it */
            const REAL *from = q.partial + i * ldw + o + (s->c < VL ? 0 : v - lane(v, s->c, 0));
            REAL sum = 0;
            for (ptrdiff_t chunk = 0; chunk < chunks; chunk++)
                sum += from[chunk * size];
            ((REAL *)dW)[i * s->c + o] = sum;
        }
    return q.g.failed ? -1 : 0;
}
