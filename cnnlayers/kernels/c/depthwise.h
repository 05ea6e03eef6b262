/* Depthwise convolution: one filter per channel, W (kh, kw, 1, c), x (n, h, w, c), y (n, oh, ow, c).

   Each element of x meets only kh kw weights, so memory is the limit, not arithmetic: one pass, no copy, no halo.
   Windows whose taps are neighbours, with a vector of channels or more, are computed by whole rows: depthwise_rows.h.
   The others here: forward and input gradient are the same gather (taps.h) of weighted taps. Positions go `BLOCK` at a
   time in registers, so that a tap's weights are loaded once for all of them. The weight gradient is in
   depthwise_weight_grad.h. */
#pragma once

#include "depthwise_rows.h"
#include "parallel.h"
#include "scratch.h"
#include "table.h"
#include "taps.h"

#include <string.h>

#define BLOCK 8
#define AHEAD 8

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
    if (rows_suit(s, 0)) {
        DepthwiseRows q = rows_forward(s, x, W, b);
        return rows_run(&q, y, rows_of_a_task(&g, s->threads), s->threads);
    }
    g.relu = s->relu;
    return take_weights(&g, W, b) ? -1 : gather_run(&g, gather_task, s->threads);
}

static int depthwise_input_grad(const cnn_conv *s, const void *dy, const void *W, void *dx) {
    Gather g = depthwise_gather(s, 1, dy, dx);
    if (rows_suit(s, 1)) {
        DepthwiseRows q = rows_input_grad(s, dy, W);
        return rows_run(&q, dx, rows_of_a_task(&g, s->threads), s->threads);
    }
    return take_weights(&g, W, NULL) ? -1 : gather_run(&g, gather_task, s->threads);
}
