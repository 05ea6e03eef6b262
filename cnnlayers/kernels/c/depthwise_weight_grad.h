/* Weight gradient of the depthwise convolution: dW[k] = sum over positions of x[tap k] * dy.

   Windows whose taps are neighbours: for a vector of channels the sums of up to 15 taps, all nine of a 3 x 3 window,
   stay in registers over a band of rows, and each pixel is loaded once for all taps of a line that read it. Others: up
   to nine taps at a time are kept over a row, so that dy is read once for all of them.

   Rows are cut into chunks whose number depends on the shape alone, and the chunks' sums are added in order: so bits
   do not depend on the number of threads. */
#pragma once

#include "by_channel.h"
#include "depthwise.h"
#include "parallel.h"
#include "scratch.h"
#include "taps.h"

#include <string.h>

#define BAND 8192 /* bytes of x, about: it stays in the L1 cache from one vector of channels to the next */

#define MOST_SUMS (VBYTES == 64 ? 15 : 10) /* beside four gradients and a pixel: of 32 registers, or 16 */

typedef struct DepthwiseGrad DepthwiseGrad;
typedef void (*CorrelateBand)(const DepthwiseGrad *q, const REAL *x, const REAL *dy, ptrdiff_t r0, ptrdiff_t r1,
                              REAL *sums);

struct DepthwiseGrad {
    Gather g; /* forward: source x, taps per row; result unused */
    const REAL *dy, *dy_end;
    REAL *partial;               /* [chunks][kh * kw][ldw] */
    REAL *totals;                /* likewise, of a chunk's sums of MOST_TERMS positions; NULL if no chunk has more */
    ptrdiff_t chunks, ldw, band; /* band: rows of dy that a vector of channels goes through at a time */
    CorrelateBand correlate;
};

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

/* All of the list, nine at a time. */
static void correlate_all(const DepthwiseGrad *q, const Tap *taps, ptrdiff_t n, const REAL *x, const REAL *dy,
                          ptrdiff_t u0, ptrdiff_t u1, REAL *sums) {
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

/* ---- windows whose taps are neighbours: 3, 5 or 7 wide, stride 1 and, for 3, 2 ---- */

/* Sums over `count` positions of a row of dy: d is position 0's gradient, p[a] the pixel that its first tap in line a
   reads, or NULL if that line is padding. low, high: which of the pixels from there on are none. */
INLINE void correlate_block(int lines, int count, int length, int step, int edge, Vec *sum, const REAL *d,
                            const REAL *const *p, ptrdiff_t c, ptrdiff_t low, ptrdiff_t high) {
    Vec grad[4];
    UNROLLED(m, count)
        grad[m] = LOAD(d + m * c);
    UNROLLED(a, lines) {
        const REAL *at = p[a];
        if (!at)
            continue;
        UNROLLED(j, (count - 1) * step + length) {
            if (!edge || (j >= low && j < high)) {
                Vec value = LOAD(at);
                KEEP(value);
                UNROLLED(k, length)
                    if (j >= k && (j - k) % step == 0 && (j - k) / step < count)
                        sum[length * a + k] += grad[(j - k) / step] * value;
            }
            at += c;
        }
    }
}

/* One vector of channels over rows r0 .. r1 - 1 of dy of an image, for kernel rows k0 .. k0 + lines - 1; x and dy: the
   image's first number there. */
INLINE void correlate_vector(int lines, int length, int step, const DepthwiseGrad *q, const REAL *x, const REAL *dy,
                             ptrdiff_t r0, ptrdiff_t r1, ptrdiff_t k0, Vec *sum) {
    const Gather *g = &q->g;
    const ptrdiff_t c = g->c, line = g->from_cols * c, cols = g->cols;
    for (ptrdiff_t r = r0; r < r1; r++) {
        const ptrdiff_t top = r * step - g->top + k0;
        for (ptrdiff_t u = 0, size; u < cols; u += size) {
            const ptrdiff_t first = u * step - g->left, low = -first, high = g->from_cols - first;
            const REAL *d = dy + (r * cols + u) * c, *p[3];
            UNROLLED(a, lines)
                p[a] = top + a >= 0 && top + a < g->from_rows ? x + (top + a) * line + first * c : NULL;
            size = cols - u >= 4 ? 4 : cols - u >= 2 ? 2 : 1;
            if (size == 4 && first >= 0 && first + 3 * step + length <= g->from_cols)
                correlate_block(lines, 4, length, step, 0, sum, d, p, c, low, high);
            else if (size == 4)
                correlate_block(lines, 4, length, step, 1, sum, d, p, c, low, high);
            else if (size == 2)
                correlate_block(lines, 2, length, step, 1, sum, d, p, c, low, high);
            else
                correlate_block(lines, 1, length, step, 1, sum, d, p, c, low, high);
        }
    }
}

/* The same for all channels, and kernel rows k0 .. k1 - 1 as far as there are so many `lines`; returns the first one
   left. */
INLINE ptrdiff_t correlate_lines(int lines, int length, int step, const DepthwiseGrad *q, const REAL *x, const REAL *dy,
                                 ptrdiff_t r0, ptrdiff_t r1, ptrdiff_t k0, REAL *sums) {
    for (; k0 + lines <= q->g.kh; k0 += lines)
        for (ptrdiff_t i = 0; i < q->g.c; i += VL) {
            const ptrdiff_t v = lane(i, q->g.c, 0);
            REAL *to = sums + k0 * length * q->ldw + i;
            Vec sum[MOST_SUMS];
            UNROLLED(k, lines * length)
                sum[k] = LOAD(to + k * q->ldw);
            correlate_vector(lines, length, step, q, x + v, dy + v, r0, r1, k0, sum);
            UNROLLED(k, lines * length)
                STORE(to + k * q->ldw, sum[k]);
        }
    return k0;
}

#define CORRELATE_BAND(name, lines, length, step)                                                                      \
    NOINLINE void name(const DepthwiseGrad *q, const REAL *x, const REAL *dy, ptrdiff_t r0, ptrdiff_t r1,              \
                       REAL *sums) {                                                                                   \
        ptrdiff_t k0 = correlate_lines(lines, length, step, q, x, dy, r0, r1, 0, sums);                                \
        correlate_lines(1, length, step, q, x, dy, r0, r1, k0, sums);                                                  \
    }
CORRELATE_BAND(correlate_band_3, 3, 3, 1)
CORRELATE_BAND(correlate_band_3_by_2, 3, 3, 2)
CORRELATE_BAND(correlate_band_5, MOST_SUMS / 5, 5, 1)
CORRELATE_BAND(correlate_band_7, MOST_SUMS / 7, 7, 1)

static void correlate_task(void *job, ptrdiff_t chunk) {
    DepthwiseGrad *q = job;
    const Gather *g = &q->g;
    const Columns *phase = &g->phases[0];
    ptrdiff_t all = g->n * g->rows, r0 = all * chunk / q->chunks, r1 = all * (chunk + 1) / q->chunks,
              most = g->kh * g->kw;
    REAL *sums = q->partial + chunk * most * q->ldw;
    Tap *taps = cnn_scratch(1, (size_t)(2 * most) * sizeof(Tap)), *clipped = taps + most;
    if (!taps) {
        cnn_note(&q->g.failed);
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

/* The same by bands. */
static void correlate_bands_task(void *job, ptrdiff_t chunk) {
    const DepthwiseGrad *q = job;
    const Gather *g = &q->g;
    const ptrdiff_t all = g->n * g->rows, r1 = all * (chunk + 1) / q->chunks, size = g->kh * g->kw * q->ldw;
    REAL *sums = q->partial + chunk * size;
    ptrdiff_t terms = 0;
    for (ptrdiff_t r = all * chunk / q->chunks, end; r < r1; r = end) {
        const ptrdiff_t image = r / g->rows, first = image * g->rows;
        end = r + q->band < r1 ? r + q->band : r1;
        end = end < first + g->rows ? end : first + g->rows;
        if (q->totals && terms + (end - r) * g->cols > MOST_TERMS) {
            move_to_totals(q, chunk);
            terms = 0;
        }
        terms += (end - r) * g->cols;
        q->correlate(q, g->source + image * g->from_rows * g->from_cols * g->c, q->dy + first * g->cols * g->c,
                     r - first, end - first, sums);
    }
    if (q->totals)
        add_to(size, sums, q->totals + chunk * size);
}

/* What computes a band of rows, or NULL if there is nothing for such a window. */
static CorrelateBand correlate_band_for(const cnn_conv *s, ptrdiff_t band) {
    const int alike = s->sh == s->sw && s->dh == 1 && s->dw == 1;
    if (!alike || s->c < VL || s->ow > MOST_TERMS / band)
        return NULL;
    if (s->sw == 2)
        return s->kw == 3 ? correlate_band_3_by_2 : NULL;
    if (s->sw != 1)
        return NULL;
    return s->kw == 3 ? correlate_band_3 : s->kw == 5 ? correlate_band_5 : s->kw == 7 ? correlate_band_7 : NULL;
}

/* dW = the sums of all chunks, in order; those of the first chunk take the others. */
static void add_partial(const DepthwiseGrad *q, REAL *dW) {
    const ptrdiff_t c = q->g.c, k = q->g.kh * q->g.kw, size = k * q->ldw;
    for (ptrdiff_t chunk = 1; chunk < q->chunks; chunk++)
        add_to(size, q->partial, q->partial + chunk * size);
    for (ptrdiff_t i = 0; i < k; i++)
        for (ptrdiff_t v = 0; v < c; v += VL) { /* the last vector may have been moved back */
            ptrdiff_t count = c < VL ? c : VL;
            REAL *to = dW + i * c + lane(v, c, c < VL);
            if (q->chunks)
                memcpy(to, q->partial + i * q->ldw + v, (size_t)count * sizeof(REAL));
            else
                memset(to, 0, (size_t)count * sizeof(REAL));
        }
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
                       .ldw = ldw,
                       .band = BAND / (s->sh * s->w * s->c * (ptrdiff_t)sizeof(REAL)) + 1};
    q.correlate = correlate_band_for(s, q.band);
    memset(q.partial, 0, (size_t)(partial + totals) * sizeof(REAL));
    if (chunks)
        cnn_parallel(chunks, s->threads, q.correlate ? correlate_bands_task : correlate_task, &q);
    add_partial(&q, dW);
    return q.g.failed ? -1 : 0;
}
