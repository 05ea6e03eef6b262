/* Weights in the order in which the register tile reads them.

   Panels of NR lanes, the last of VL if that holds it; in each, one row of weights for each k: [panel][k][NR or VL]. */
#pragma once

#include "parallel.h"
#include "tile.h"

#include <string.h>

#ifdef __has_builtin
#define CAN_SHUFFLE __has_builtin(__builtin_shufflevector) /* GCC has it from version 12 */
#endif

/* Elements of `lanes` packed. */
static ptrdiff_t packed_size(ptrdiff_t k, ptrdiff_t lanes) {
    ptrdiff_t tail = lanes % NR;
    return k * (lanes / NR * NR + (tail ? (tail > VL ? NR : VL) : 0));
}

/* One kernel element: rows k, k + 1, ... and lanes `lane`, lane + 1, ... of a matrix that is packed for `total`
   rows. */
typedef struct {
    const REAL *w; /* its number (r, i) is w[r * row_step + i * lane_step] */
    REAL *packed;
    ptrdiff_t k, total, lane;
} Element;

typedef struct {
    const Element *elements;
    ptrdiff_t n_elements;
    ptrdiff_t rows, width; /* of an element */
    ptrdiff_t lanes;       /* of the matrix */
    ptrdiff_t row_step, lane_step;
} Packing;

typedef REAL Four __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

/* to[r][i] = w[i][r] for 4 x 4 elements; rows of `to` and of `w` are to_step and w_step elements apart. */
INLINE void transpose_four(REAL *to, ptrdiff_t to_step, const REAL *w, ptrdiff_t w_step) {
#if CAN_SHUFFLE
    Four v[4], low, high, other_low, other_high;
    for (int i = 0; i < 4; i++)
        v[i] = *(const Four *)(w + i * w_step);
    low = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5); /* 00 10 01 11 */
    high = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    other_low = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    other_high = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    *(Four *)(to) = __builtin_shufflevector(low, other_low, 0, 1, 4, 5);
    *(Four *)(to + to_step) = __builtin_shufflevector(low, other_low, 2, 3, 6, 7);
    *(Four *)(to + 2 * to_step) = __builtin_shufflevector(high, other_high, 0, 1, 4, 5);
    *(Four *)(to + 3 * to_step) = __builtin_shufflevector(high, other_high, 2, 3, 6, 7);
#else
    for (int r = 0; r < 4; r++)
        for (int i = 0; i < 4; i++)
            to[r * to_step + i] = w[i * w_step + r];
#endif
}

/* Tasks of an element: a panel of its lanes each. */
static ptrdiff_t pack_panels(const Packing *q) { return (q->width + NR - 1) / NR; }

static void pack_task(void *job, ptrdiff_t task) {
    const Packing *q = job;
    const Element *e = &q->elements[task / pack_panels(q)];
    ptrdiff_t f = task % pack_panels(q) * NR;
    ptrdiff_t here = q->width - f < NR ? q->width - f : NR, panel = q->lanes - f > VL ? NR : VL;
    REAL *to = e->packed + f * e->total + e->k * panel + e->lane;
    const REAL *w = e->w + f * q->lane_step;
    if (q->lane_step == 1)
        for (ptrdiff_t r = 0; r < q->rows; r++)
            for (ptrdiff_t i = 0; i < here; i++)
                to[r * panel + i] = w[r * q->row_step + i];
    else { /* row_step is 1: transposed, four by four; the writes stay within a panel, in the L1 cache */
        ptrdiff_t fours = here / 4 * 4, rows = q->rows / 4 * 4;
        for (ptrdiff_t i = 0; i < fours; i += 4)
            for (ptrdiff_t r = 0; r < rows; r += 4)
                transpose_four(to + r * panel + i, panel, w + r + i * q->lane_step, q->lane_step);
        for (ptrdiff_t i = 0; i < here; i++)
            for (ptrdiff_t r = i < fours ? rows : 0; r < q->rows; r++)
                to[r * panel + i] = w[r + i * q->lane_step];
    }
}

/* Panel `panel` of all elements. */
static void pack_panel(Packing *q, ptrdiff_t panel) {
    for (ptrdiff_t e = 0; e < q->n_elements; e++)
        pack_task(q, e * pack_panels(q) + panel);
}
