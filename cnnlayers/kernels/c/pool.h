/* Pooling of channels-last images: y (n, oh, ow, c) from x (n, h, w, c), and back. Every pass is a gather (taps.h):
   one pass over memory, vectors of channels. Max-pool keeps the number of the winning kernel element, one byte per
   output, so that its backward pass reads dy and a quarter of that again, and not x; in prediction it keeps none.

   First in row-major order wins ties; padding never wins; the first NaN wins. A window that holds padding alone
   gives -inf and winner 255, which no kernel element has (kh kw <= 255): its gradient goes nowhere. Nor does that of
   a maximum that is rectified and not above 0. */
#pragma once

#include "scratch.h"
#include "table.h"
#include "taps.h"

#include <string.h>

#define NOBODY 255

typedef unsigned char Bytes __attribute__((vector_size(VBYTES / sizeof(REAL)), aligned(1), may_alias));
#if REAL_BITS == 32
typedef int Whole; /* as wide as REAL */
#else
typedef long long Whole;
#endif
typedef Whole Wholes __attribute__((vector_size(VBYTES)));
typedef unsigned short Shorts __attribute__((vector_size(2 * VBYTES / sizeof(REAL))));
typedef unsigned int Words __attribute__((vector_size(4 * VBYTES / sizeof(REAL))));

/* Step by step: GCC makes scalar code of a conversion that skips a size. */
INLINE Wholes widen(Bytes v) {
    return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(v, Shorts), Words), Wholes);
}
INLINE Bytes narrow(Wholes v) {
    return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(v, Words), Shorts), Bytes);
}

/* `number` in every lane. */
INLINE Wholes in_all(ptrdiff_t number) { return (Wholes){0} + (Whole)number; }

/* `n` taps for positions u0 .. u1; a constant where inlined, as is `named`: whether winners are wanted. */
INLINE void max_row(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1,
                    int small, int named) {
    const ptrdiff_t c = g->c, step = g->step;
    const REAL *end = g->source_end;
    REAL *result = g->result;
    unsigned char *winner = g->new_winner;
    const int relu = g->relu;
    for (ptrdiff_t u = u0; u < u1; u++) {
        const REAL *x = at->source + u * step * c;
        ptrdiff_t to = (at->to + u) * c, room = at->end * c - to;
        for (ptrdiff_t i = 0; i < c; i += VL) {
            ptrdiff_t v = lane(i, c, small);
            Vec best = load_lanes(x + taps[0].offset + v, end, small);
            Wholes who = in_all(taps[0].number);
#pragma GCC unroll 4
            for (ptrdiff_t t = 1; t < n; t++) {
                Vec value = load_lanes(x + taps[t].offset + v, end, small);
                Wholes wins = ~(value <= best) & (best == best); /* greater, or the first NaN */
                best = (Vec)(((Wholes)value & wins) | ((Wholes)best & ~wins));
                if (named)
                    who = (in_all(taps[t].number) & wins) | (who & ~wins);
            }
            if (relu && named)
                who = (who & (best > 0)) | (in_all(NOBODY) & ~(best > 0));
            if (relu)
                best = rectify_each(best);
            store_lanes(result + to + v, best, room, small);
            if (!named)
                continue;
            Bytes packed = narrow(who);
            if (!small || room >= VL)
                *(Bytes *)(winner + to + v) = packed;
            else
                memcpy(winner + to + v, &packed, (size_t)room);
        }
    }
}

INLINE void max_of_taps(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1,
                        int named) {
    if (n == 0) {
        for (ptrdiff_t u = u0; u < u1; u++)
            for (ptrdiff_t i = 0, to = (at->to + u) * g->c; i < g->c; i++) {
                g->result[to + i] = g->relu ? 0 : -(REAL)__builtin_inf();
                if (named)
                    g->new_winner[to + i] = NOBODY;
            }
    } else if (g->c < VL)
        max_row(g, taps, n, at, u0, u1, 1, named);
    else if (n == 4) /* the 2 x 2 window: all taps unrolled */
        max_row(g, taps, 4, at, u0, u1, 0, named);
    else
        max_row(g, taps, n, at, u0, u1, 0, named);
}

static void max_op(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1) {
    max_of_taps(g, taps, n, at, u0, u1, 1);
}

/* The same without winners. */
static void best_op(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1) {
    max_of_taps(g, taps, n, at, u0, u1, 0);
}

/* dx = sum of dy over the windows that this pixel won. */
INLINE void max_grad_row(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1,
                         int small) {
    for (ptrdiff_t u = u0; u < u1; u++) {
        const REAL *dy = at->source + u * g->step * g->c;
        ptrdiff_t to = (at->to + u * g->stride) * g->c, room = at->end * g->c - to;
        for (ptrdiff_t i = 0; i < g->c; i += VL) {
            ptrdiff_t v = lane(i, g->c, small);
            Vec sum = {0};
            for (ptrdiff_t t = 0; t < n; t++) {
                const REAL *from = dy + taps[t].offset + v;
                const unsigned char *winner = g->winner + (from - g->source);
                Bytes won = {0};
                if (!small || g->source_end - from >= VL)
                    won = *(const Bytes *)winner;
                else
                    memcpy(&won, winner, (size_t)(g->source_end - from));
                Wholes here = widen(won) == in_all(taps[t].number);
                Vec part = (Vec)((Wholes)load_lanes(from, g->source_end, small) & here);
                if (n == 1)
                    sum = part;
                else
                    sum += part;
            }
            store_lanes(g->result + to + v, sum, room, small);
        }
    }
}

static void max_grad_op(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1) {
    if (g->c < VL)
        max_grad_row(g, taps, n, at, u0, u1, 1);
    else if (n == 1) /* windows that do not overlap */
        max_grad_row(g, taps, 1, at, u0, u1, 0);
    else
        max_grad_row(g, taps, n, at, u0, u1, 0);
}

/* y = sum of x, times the output's scale; or dx = sum of dy, each times its output's scale. */
INLINE void avg_row(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1,
                    int small, int backward) {
    for (ptrdiff_t u = u0; u < u1; u++) {
        const REAL *x = at->source + u * g->step * g->c, *scale = g->scale + (backward ? u : at->row * g->cols + u);
        ptrdiff_t to = (at->to + u * g->stride) * g->c, room = at->end * g->c - to;
        for (ptrdiff_t i = 0; i < g->c; i += VL) {
            ptrdiff_t v = lane(i, g->c, small);
            Vec sum = {0};
            for (ptrdiff_t t = 0; t < n; t++) {
                Vec value = load_lanes(x + taps[t].offset + v, g->source_end, small);
                if (backward)
                    value *= scale[taps[t].pixel];
                sum += value;
            }
            if (!backward)
                sum *= *scale;
            store_lanes(g->result + to + v, sum, room, small);
        }
    }
}

static void avg_op(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1) {
    if (g->c < VL)
        avg_row(g, taps, n, at, u0, u1, 1, 0);
    else if (n == 4)
        avg_row(g, taps, 4, at, u0, u1, 0, 0);
    else
        avg_row(g, taps, n, at, u0, u1, 0, 0);
}

static void avg_grad_op(const Gather *g, const Tap *taps, ptrdiff_t n, const Place *at, ptrdiff_t u0, ptrdiff_t u1) {
    if (g->c < VL)
        avg_row(g, taps, n, at, u0, u1, 1, 1);
    else if (n == 1)
        avg_row(g, taps, 1, at, u0, u1, 0, 1);
    else
        avg_row(g, taps, n, at, u0, u1, 0, 1);
}

/* ---- the cases that deserve their own loop ---- */

/* dx of a 2 x 2 window of stride 2, c >= VL: each vector of dy and of winners is read once, for four pixels. A task is
   some rows of dy, and the two rows of dx that each stands for; what is left over on the right and below gets zeros. */
static void max_grad_2x2_task(void *job, ptrdiff_t task) {
    const Gather *g = job;
    const ptrdiff_t c = g->c, line = g->cols * c, rest = (g->cols - 2 * g->from_cols) * c;
    ptrdiff_t r0 = task * g->rows_per_task, r1 = r0 + g->rows_per_task, all = g->n * g->from_rows;
    for (ptrdiff_t r = r0; r < r1 && r < all; r++) {
        const REAL *dy = g->source + r * g->from_cols * c;
        const unsigned char *winner = g->winner + r * g->from_cols * c;
        REAL *dx = g->result + (r / g->from_rows * g->rows + r % g->from_rows * 2) * line;
        for (ptrdiff_t u = 0; u < g->from_cols; u++, dy += c, winner += c, dx += 2 * c)
            for (ptrdiff_t i = 0; i < c; i += VL) {
                ptrdiff_t v = lane(i, c, 0);
                Wholes who = widen(*(const Bytes *)(winner + v)), value = (Wholes)LOAD(dy + v);
                STORE(dx + v, (Vec)(value & (who == in_all(0))));
                STORE(dx + c + v, (Vec)(value & (who == in_all(1))));
                STORE(dx + line + v, (Vec)(value & (who == in_all(2))));
                STORE(dx + line + c + v, (Vec)(value & (who == in_all(3))));
            }
        memset(dx, 0, (size_t)rest * sizeof(REAL));
        memset(dx + line, 0, (size_t)rest * sizeof(REAL));
        if (r % g->from_rows == g->from_rows - 1)
            memset(dx + line + rest, 0, (size_t)((g->rows - 2 * g->from_rows) * line) * sizeof(REAL));
    }
}

/* dx for c < VL, where the lanes of a vector would be idle: element by element to where each came from. A task is some
   images. */
static void max_grad_small_task(void *job, ptrdiff_t task) {
    Gather *g = job;
    const ptrdiff_t c = g->c, image = g->rows * g->cols * c;
    ptrdiff_t n0 = task * g->rows_per_task, n1 = n0 + g->rows_per_task,
              *offset = cnn_scratch(1, 256 * sizeof(ptrdiff_t));
    if (!offset) {
        cnn_note(&g->failed);
        return;
    }
    for (int i = 0; i < 256; i++)
        offset[i] = PTRDIFF_MAX / 2;
    for (ptrdiff_t i = 0; i < g->kh; i++)
        for (ptrdiff_t j = 0; j < g->kw; j++)
            offset[i * g->kw + j] = (i * g->dh * g->cols + j * g->dw) * c;
    const REAL *dy = g->source + n0 * g->from_rows * g->from_cols * c;
    const unsigned char *winner = g->winner + (dy - g->source);
    for (ptrdiff_t n = n0; n < n1 && n < g->n; n++) {
        REAL *dx = g->result + n * image;
        memset(dx, 0, (size_t)image * sizeof(REAL));
        for (ptrdiff_t i = 0; i < g->from_rows; i++)
            for (ptrdiff_t j = 0; j < g->from_cols; j++) {
                ptrdiff_t at = ((i * g->sh - g->top) * g->cols + j * g->sw - g->left) * c;
                for (ptrdiff_t end = at + c; at < end; at++, dy++, winner++) {
                    ptrdiff_t to = at + offset[*winner];
                    if ((size_t)to < (size_t)image) /* NOBODY, or a byte that no max_pool wrote, goes nowhere */
                        dx[to] += *dy;
                }
            }
    }
}

/* dx of an average for c < VL: tap by tap over a row, which stays in the cache. */
INLINE void spread(const Gather *g, ptrdiff_t c, const Tap *tap, const REAL *dy, ptrdiff_t u0, ptrdiff_t u1, REAL *dx) {
    ptrdiff_t stride = g->stride * c;
    const REAL *scale = g->scale + tap->pixel;
    dy += tap->offset;
    for (ptrdiff_t u = u0; u < u1; u++)
        for (ptrdiff_t i = 0; i < c; i++)
            dx[u * stride + i] += dy[u * c + i] * scale[u];
}

static void avg_grad_small_task(void *job, ptrdiff_t task) {
    Gather *g = job;
    ptrdiff_t r0 = task * g->rows_per_task, r1 = r0 + g->rows_per_task, all = g->n * g->rows, c = g->c;
    Tap *taps = cnn_scratch(1, (size_t)(g->kh * g->kw) * sizeof(Tap));
    if (!taps) {
        cnn_note(&g->failed);
        return;
    }
    for (ptrdiff_t r = r0; r < r1 && r < all; r++) {
        const REAL *dy = g->source + r / g->rows * g->from_rows * g->from_cols * c;
        REAL *dx = g->result + r * g->cols * c;
        memset(dx, 0, (size_t)(g->cols * c) * sizeof(REAL));
        for (int b = 0; b < g->n_phases; b++) {
            ptrdiff_t n = find_taps(g, &g->phases[b], r % g->rows, taps);
            for (ptrdiff_t t = 0; t < n; t++) {
                ptrdiff_t shift = taps[t].shift, low = shift < 0 ? -shift : 0, high = g->from_cols - shift;
                high = high < g->phases[b].count ? high : g->phases[b].count;
                if (c == 1)
                    spread(g, 1, &taps[t], dy, low, high, dx + b);
                else if (c == 3)
                    spread(g, 3, &taps[t], dy, low, high, dx + b * 3);
                else
                    spread(g, c, &taps[t], dy, low, high, dx + b * c);
            }
        }
    }
}

/* ---- entries ---- */

static Gather pool_gather(const cnn_pool *s, int backward, const void *source, void *result) {
    return (Gather){.source = source,
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

static int max_pool(const cnn_pool *s, const void *x, void *y, unsigned char *winner) {
    Gather g = pool_gather(s, 0, x, y);
    g.op = winner ? max_op : best_op;
    g.relu = s->relu;
    g.new_winner = winner;
    return gather_run(&g, gather_task, s->threads);
}

static int max_pool_input_grad(const cnn_pool *s, const void *dy, const unsigned char *winner, void *dx) {
    Gather g = pool_gather(s, 1, dy, dx);
    g.op = max_grad_op;
    g.winner = winner;
    if (s->c < VL) {
        ptrdiff_t image = (s->h * s->w + s->oh * s->ow) * s->c * (ptrdiff_t)sizeof(REAL);
        g.rows_per_task = 65536 / image + 1;
        cnn_parallel((s->n + g.rows_per_task - 1) / g.rows_per_task, s->threads, max_grad_small_task, &g);
        return g.failed ? -1 : 0;
    }
    if (s->kh == 2 && s->kw == 2 && s->sh == 2 && s->sw == 2 && s->dh == 1 && s->dw == 1 && s->top == 0 &&
        s->left == 0 && 2 * s->oh <= s->h && 2 * s->ow <= s->w && s->oh > 0) {
        g.rows_per_task = rows_of(65536, s->h * s->w, s->oh, s->oh * s->ow, s->c);
        cnn_parallel((s->n * s->oh + g.rows_per_task - 1) / g.rows_per_task, s->threads, max_grad_2x2_task, &g);
        return 0;
    }
    return gather_run(&g, gather_task, s->threads);
}

static int avg_pool(const cnn_pool *s, const void *x, const void *inverse_counts, void *y) {
    Gather g = pool_gather(s, 0, x, y);
    g.op = avg_op;
    g.scale = inverse_counts;
    return gather_run(&g, gather_task, s->threads);
}

static int avg_pool_input_grad(const cnn_pool *s, const void *dy, const void *inverse_counts, void *dx) {
    Gather g = pool_gather(s, 1, dy, dx);
    g.op = avg_grad_op;
    g.scale = inverse_counts;
    return gather_run(&g, s->c < VL ? avg_grad_small_task : gather_task, s->threads);
}
