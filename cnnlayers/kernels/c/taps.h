/* Rows of pixels, each gathered from a list of taps: the frame of pooling and depthwise convolution, both ways.

   Output o of a window reads the pixels o s + k d - p; pixel i is read by the outputs (i + p - k d) / s, where s
   divides that. Either way each pixel of the result has a list of "taps": pixels of the source, each with its kernel
   element. Along a row the list repeats, shifted. Forward there is one list, and its taps advance by s; backward there
   are s lists, one for each phase (the pixels b, b + s, b + 2s, ...), and their taps advance by 1. Where a tap falls
   off the source the list is clipped: by rows once for the whole row, by columns pixel by pixel at the two ends; in
   between nothing is tested.

   An operation (pool.h, depthwise.h) gets a list and a range of pixels that it holds for, and vectorises over channels.
   Each pixel of the result is written once, by one task, with its taps in a fixed order (ascending in the source): no
   memset, no atomics, no halo, and bits that do not depend on the number of threads.

   Channels. c >= VL: whole vectors, the last one moved back so that it ends with the pixel; what overlaps is computed
   twice and is the same. c < VL ("small"): a whole vector all the same. What it reads after the pixel is the next
   pixel, and what it writes there is overwritten in its turn, since pixels are written in ascending order; only at the
   end of the array, or of the task's part of it, are single elements copied. */
#pragma once

#include "parallel.h"
#include "scratch.h"
#include "simd.h"

#include <string.h>

typedef struct {
    ptrdiff_t shift;  /* source column at position u = 0 of the phase */
    ptrdiff_t pixel;  /* number of that pixel in the source image */
    ptrdiff_t offset; /* of its first element from the image's: pixel * c */
    ptrdiff_t number; /* kernel element: row * kw + column */
} Tap;

typedef struct {
    ptrdiff_t shift, k; /* source column at u = 0, kernel column */
} Column;

typedef struct {
    ptrdiff_t count;     /* positions u = 0 .. count - 1: pixels first + stride * u of the row,
        first = the phase's number */
    ptrdiff_t low, high; /* where all columns lie inside the source */
    int n_columns;
    const Column *columns;
} Columns;

typedef struct Gather Gather;

/* Positions u0 .. u1 - 1. `source` is the image; position u is pixel `to + u * stride` of the result (numbered through
   the batch), `end` the first one that belongs to another task. */
typedef struct {
    const REAL *source;
    ptrdiff_t image, row, first, to, end;
} Place;
typedef void (*GatherOp)(const Gather *g, const Tap *taps, ptrdiff_t n_taps, const Place *at, ptrdiff_t u0,
                         ptrdiff_t u1);

struct Gather {
    GatherOp op;
    const REAL *source; /* (n, from_rows, from_cols, c) */
    REAL *result;       /* (n, rows, cols, c) */
    ptrdiff_t n, from_rows, from_cols, rows, cols, c;
    ptrdiff_t kh, kw, sh, sw, dh, dw, top, left;
    int backward; /* the result is the pixels, and the source the outputs */
    /* what the operation needs */
    const REAL *scale, *weights, *bias; /* per output position; [kh * kw][weights_step]; per channel */
    const unsigned char *winner;        /* like the outputs */
    unsigned char *new_winner;
    ptrdiff_t weights_step;
    int relu;
    /* set by gather_run */
    ptrdiff_t step, stride; /* source and result pixels between neighbouring positions */
    const REAL *source_end;
    int n_phases;
    const Columns *phases;
    ptrdiff_t rows_per_task;
    int failed;
};

/* ---- channels ---- */

INLINE Vec load_lanes(const REAL *p, const REAL *end, int small) {
    Vec v = {0};
    if (!small || end - p >= VL)
        return LOAD(p);
    memcpy(&v, p, (size_t)(end - p) * sizeof(REAL));
    return v;
}

/* `room` elements after p belong to this task; at least the pixel's c. */
INLINE void store_lanes(REAL *p, Vec v, ptrdiff_t room, int small) {
    if (!small || room >= VL)
        STORE(p, v);
    else
        memcpy(p, &v, (size_t)room * sizeof(REAL));
}

/* ---- lists ---- */

/* Source position for kernel element k at position i of the result, or -1. */
static ptrdiff_t source_of(int backward, ptrdiff_t i, ptrdiff_t k, ptrdiff_t s, ptrdiff_t d, ptrdiff_t p,
                           ptrdiff_t size) {
    ptrdiff_t at = backward ? i + p - k * d : i * s + k * d - p;
    if (at < 0 || (backward && at % s))
        return -1;
    at = backward ? at / s : at;
    return at < size ? at : -1;
}

static ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return a / b + (a % b > 0); }

/* Columns of every phase. `columns` has room for kw, `phases` for g->n_phases. */
static void find_columns(const Gather *g, Columns *phases, Column *columns) {
    for (ptrdiff_t b = 0; b < g->n_phases; b++) {
        Columns *phase = &phases[b];
        *phase = (Columns){(g->cols - b + g->stride - 1) / g->stride, 0, 0, 0, columns};
        phase->high = phase->count;
        for (ptrdiff_t i = 0; i < g->kw; i++) {
            ptrdiff_t k = g->backward ? g->kw - 1 - i : i,
                      shift = g->backward ? b + g->left - k * g->dw : k * g->dw - g->left;
            if (g->backward && shift % g->sw)
                continue;
            shift = g->backward ? shift / g->sw : shift;
            *columns++ = (Column){shift, k};
            phase->n_columns++;
            ptrdiff_t low = shift < 0 ? ceil_div(-shift, g->step) : 0;
            ptrdiff_t high = shift < g->from_cols ? (g->from_cols - 1 - shift) / g->step + 1 : 0;
            phase->low = low > phase->low ? low : phase->low;
            phase->high = high < phase->high ? high : phase->high;
        }
        if (phase->low >= phase->high)
            phase->low = phase->high = 0;
    }
}

/* Taps of a phase for row i of the result, clipped by rows. */
static ptrdiff_t find_taps(const Gather *g, const Columns *phase, ptrdiff_t i, Tap *taps) {
    ptrdiff_t n = 0;
    for (ptrdiff_t a = 0; a < g->kh; a++) {
        ptrdiff_t k = g->backward ? g->kh - 1 - a : a;
        ptrdiff_t row = source_of(g->backward, i, k, g->sh, g->dh, g->top, g->from_rows);
        for (int j = 0; row >= 0 && j < phase->n_columns; j++) {
            ptrdiff_t shift = phase->columns[j].shift, pixel = row * g->from_cols + shift;
            taps[n++] = (Tap){shift, pixel, pixel * g->c, k * g->kw + phase->columns[j].k};
        }
    }
    return n;
}

/* The taps of one position that its column does not clip. */
static ptrdiff_t clip(const Gather *g, const Tap *taps, ptrdiff_t n, Tap *clipped, ptrdiff_t u) {
    ptrdiff_t left = 0;
    for (ptrdiff_t t = 0; t < n; t++)
        if ((size_t)(taps[t].shift + u * g->step) < (size_t)g->from_cols) /* and not negative */
            clipped[left++] = taps[t];
    return left;
}

static void gather_one(const Gather *g, const Tap *taps, ptrdiff_t n, Tap *clipped, const Place *at, ptrdiff_t u) {
    g->op(g, clipped, clip(g, taps, n, clipped, u), at, u, u + 1);
}

static void gather_task(void *job, ptrdiff_t task) {
    Gather *g = job;
    ptrdiff_t r0 = task * g->rows_per_task, r1 = r0 + g->rows_per_task, all = g->n * g->rows, most = g->kh * g->kw;
    r1 = r1 < all ? r1 : all;
    Tap *taps = cnn_scratch(1, (size_t)(2 * most) * sizeof(Tap) + (size_t)(g->n_phases + 1) * sizeof(ptrdiff_t));
    if (!taps) {
        cnn_note(&g->failed);
        return;
    }
    Tap *clipped = taps + most;
    ptrdiff_t *first = (ptrdiff_t *)(clipped + most); /* of each phase's taps */
    for (ptrdiff_t r = r0; r < r1; r++) {
        ptrdiff_t image = r / g->rows, row = r % g->rows;
        Place at = {g->source + image * g->from_rows * g->from_cols * g->c, image, row, 0, r * g->cols, r1 * g->cols};
        first[0] = 0;
        for (int b = 0; b < g->n_phases; b++)
            first[b + 1] = first[b] + find_taps(g, &g->phases[b], row, taps + first[b]);
        if (g->c < VL && g->n_phases > 1) { /* small: in the order of the pixels, through all phases */
            for (ptrdiff_t j = 0; j < g->cols; j++) {
                ptrdiff_t b = j % g->stride, u = j / g->stride, n = first[b + 1] - first[b];
                at.first = b;
                at.to = r * g->cols + b;
                if (u >= g->phases[b].low && u < g->phases[b].high)
                    g->op(g, taps + first[b], n, &at, u, u + 1);
                else
                    gather_one(g, taps + first[b], n, clipped, &at, u);
            }
            continue;
        }
        for (int b = 0; b < g->n_phases; b++) {
            const Columns *phase = &g->phases[b];
            ptrdiff_t n = first[b + 1] - first[b];
            at.first = b;
            at.to = r * g->cols + b;
            for (ptrdiff_t u = 0; u < phase->low; u++)
                gather_one(g, taps + first[b], n, clipped, &at, u);
            if (phase->low < phase->high)
                g->op(g, taps + first[b], n, &at, phase->low, phase->high);
            for (ptrdiff_t u = phase->high; u < phase->count; u++)
                gather_one(g, taps + first[b], n, clipped, &at, u);
        }
    }
}

/* Rows of `bytes` bytes of source and result together, one at least. */
static ptrdiff_t rows_of(ptrdiff_t bytes, ptrdiff_t source_pixels, ptrdiff_t result_rows, ptrdiff_t result_pixels,
                         ptrdiff_t c) {
    ptrdiff_t all = (source_pixels + result_pixels) * c * (ptrdiff_t)sizeof(REAL);
    ptrdiff_t row = all / (result_rows ? result_rows : 1) + 1;
    return row < bytes ? bytes / row : 1;
}

/* Rows of the result that a task computes. Long tasks: each row prefetches for the next. Yet several for each thread;
   but what takes about a microsecond is one task, since waking another thread takes as long, and what takes a few is
   not cut into more than it needs. */
static ptrdiff_t rows_of_a_task(const Gather *g, int threads) {
    ptrdiff_t most = rows_of(524288, g->from_rows * g->from_cols, g->rows, g->rows * g->cols, g->c);
    ptrdiff_t reads = g->n * g->rows * g->cols * ((g->c + VL - 1) / VL) * g->kh * g->kw, each = reads > 65536 ? 8 : 2;
    ptrdiff_t shares = reads > 4096 ? each * threads : 1, even = (g->n * g->rows + shares - 1) / shares;
    return most < even ? most : even ? even : 1;
}

/* Runs `task` over all rows of the result: gather_task, or one that has its own way with the lists. */
static int gather_run(Gather *g, cnn_task task, int threads) {
    g->step = g->backward ? 1 : g->sw;
    g->stride = g->backward ? g->sw : 1;
    g->n_phases = (int)(g->stride < g->cols ? g->stride : g->cols);
    g->source_end = g->source + g->n * g->from_rows * g->from_cols * g->c;
    Columns *phases = cnn_scratch(0, (size_t)g->n_phases * sizeof(Columns) + (size_t)g->kw * sizeof(Column));
    if (!phases)
        return -1;
    find_columns(g, phases, (Column *)(phases + g->n_phases));
    g->phases = phases;
    g->rows_per_task = rows_of_a_task(g, threads);
    cnn_parallel((g->n * g->rows + g->rows_per_task - 1) / g->rows_per_task, threads, task, g);
    return g->failed ? -1 : 0;
}
