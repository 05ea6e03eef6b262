/* Weights in the order in which the register tile reads them.

   Panels of NR lanes, the last of VL if that holds it; in each, one row of weights for each k: [panel][k][NR or VL]. */

/* Numbers of `lanes` packed. */
static ptrdiff_t T(packed_size)(ptrdiff_t k, ptrdiff_t lanes) {
    ptrdiff_t tail = lanes % NR;
    return k * (lanes / NR * NR + (tail ? (tail > VL ? NR : VL) : 0));
}

/* One kernel element: rows k, k + 1, ... and lanes `lane`, lane + 1, ... of a matrix that is packed for `total` rows. */
typedef struct {
    const REAL *w; /* its number (r, i) is w[r * row_step + i * lane_step] */
    REAL *packed;
    ptrdiff_t k, total, lane;
} T(element);

typedef struct {
    const T(element) * elements;
    ptrdiff_t rows, width; /* of an element */
    ptrdiff_t lanes;       /* of the matrix */
    ptrdiff_t row_step, lane_step;
} T(packing);

static void T(pack_task)(void *job, ptrdiff_t task) {
    const T(packing) *q = job;
    const T(element) *e = &q->elements[task];
    for (ptrdiff_t f = 0; f < q->width; f += NR) {
        ptrdiff_t here = q->width - f < NR ? q->width - f : NR, panel = q->lanes - f > VL ? NR : VL;
        REAL *to = e->packed + f * e->total + e->k * panel + e->lane;
        const REAL *w = e->w + f * q->lane_step;
        if (q->lane_step == 1)
            for (ptrdiff_t r = 0; r < q->rows; r++)
                for (ptrdiff_t i = 0; i < here; i++)
                    to[r * panel + i] = w[r * q->row_step + i];
        else /* transposed: reads in order; the writes stay within a panel, in the L1 cache */
            for (ptrdiff_t i = 0; i < here; i++)
                for (ptrdiff_t r = 0; r < q->rows; r++)
                    to[r * panel + i] = w[r * q->row_step + i * q->lane_step];
    }
}
