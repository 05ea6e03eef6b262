/* The register tile: the one loop that convolution (forward and input gradient) and Affine spend their time in.

       y[m][0 .. NR) = sum over k of x[m][k] * w[k][0 .. NR)        m < MR output positions

   x[m] is a pointer to the patch of position m. A patch is not contiguous: it is a list of runs, each contiguous
   (one kernel row of KW * C elements of a channels-last image). So the column matrix of im2col is read where it lies
   in the image, and never written. w holds the weights packed as [k][NR]; each run knows where its own begin, so
   that runs that would read padding are left out.

   For each k: MR elements broadcast, two vectors of weights, 2 MR fused multiply-adds. The accumulators never leave
   their registers. Every y is one sum in the order of k (or, if that has very many terms, one of such sums), whatever
   tile it falls in: so bits do not depend on the tiling. */
#pragma once

#include "simd.h"

#include <string.h>

typedef struct {
    ptrdiff_t offset; /* of the run's first element from the position's pointer */
    ptrdiff_t length;
    ptrdiff_t weight; /* the k of its first element */
} Run;

/* acc[m][v] += a[m] * b[v], with a[m] = rows[m / share][m % share * step + k]: the statement that convolution spends
   its time in. Each row is `share` positions, so that pointers take fewer registers. mr, nv and share are constants
   where this and what follows is inlined. */
INLINE void multiply_add(int mr, int nv, Vec acc[][2], const REAL *const *rows, int share, ptrdiff_t step, ptrdiff_t k,
                         const Vec *b) {
    UNROLLED(m, mr)
        UNROLLED(v, nv)
            acc[m][v] += rows[m / share][m % share * step + k] * b[v];
}

INLINE void load_vectors(int nv, Vec *b, const REAL *from) {
    UNROLLED(v, nv)
        b[v] = LOAD(from + v * VL);
}

INLINE void clear_tile(int mr, int nv, Vec acc[][2]) {
    UNROLLED(m, mr)
        UNROLLED(v, nv)
            acc[m][v] = (Vec){0};
}

/* Rows of the tile are `apart` elements apart in memory. */
INLINE void store_tile(int mr, int nv, const Vec acc[][2], REAL *to, ptrdiff_t apart) {
    UNROLLED(m, mr)
        UNROLLED(v, nv)
            STORE(to + m * apart + v * VL, acc[m][v]);
}

#define KEPT 262144   /* bytes of weights that stay in the cache */
#define ROWS_AHEAD 16 /* of others */

/* acc[m][v] over all runs. `ahead`: have weights brought to the cache. */
INLINE void accumulate(int mr, int nv, int ahead, Vec acc[][2], const REAL *const *x, const Run *runs, int n_runs,
                       const REAL *w, ptrdiff_t ldw) {
    clear_tile(mr, nv, acc);
    const REAL *p[MR];
    UNROLLED(m, mr)
        p[m] = x[m];
    for (int r = 0; r < n_runs; r++) {
        const REAL *weight = w + runs[r].weight * ldw;
        for (ptrdiff_t k = runs[r].offset, end = k + runs[r].length; k < end; k++) {
            Vec b[2];
            load_vectors(nv, b, weight);
            if (ahead)
                UNROLLED(v, nv)
                    __builtin_prefetch(weight + ROWS_AHEAD * ldw + v * VL);
            multiply_add(mr, nv, acc, p, 1, 0, k, b);
            weight += ldw;
        }
    }
}

/* The first `width` of a row of nv vectors, more than the vectors before the last have: those whole, then the rest. */
INLINE void store_part(int nv, REAL *to, const Vec *row, int width) {
    REAL rest[VL];
    int i = 0;
    if (nv == 2)
        STORE(to, row[0]);
    STORE(rest, row[nv - 1]);
    to += (nv - 1) * VL;
    width -= (nv - 1) * VL;
    for (; VL >= 4 && i + 4 <= width; i += 4)
        memcpy(to + i, rest + i, 4 * sizeof(REAL));
    for (; i < width; i++)
        to[i] = rest[i];
}

/* y[m][f ..] = acc[m] + bias, then max(., 0) if asked; only the first `width` elements, the tail of the filters. */
INLINE void finish(int mr, int nv, Vec acc[MR][2], REAL *const *y, ptrdiff_t f, const REAL *bias, int relu, int width) {
    UNROLLED(m, mr)
        UNROLLED(v, nv) {
            if (bias)
                acc[m][v] += LOAD(bias + v * VL);
            if (relu)
                acc[m][v] = rectify_each(acc[m][v]);
        }
    if (width == nv * VL) {
        UNROLLED(m, mr)
            UNROLLED(v, nv)
                STORE(y[m] + f + v * VL, acc[m][v]);
    } else
        UNROLLED(m, mr)
            store_part(nv, y[m] + f, acc[m], width);
}

/* A job of the tile: all positions of a block against all panels of filters. */
typedef struct {
    const Run *runs;
    int n_runs;
    ptrdiff_t k;        /* length of all runs */
    const REAL *packed; /* panels [ceil(width / NR)][k][NR or VL]; or, with ldw, the weights as they are, [k][ldw] */
    ptrdiff_t ldw;      /* 0 if packed */
    const REAL *bias;   /* [panels * NR] (with ldw as they are), or NULL */
    ptrdiff_t width;    /* filters */
    int relu;
    int ahead; /* fetch weights before they are needed: a panel does not stay in the cache, or is spread over it */
    int far;   /* positions are a cache line or more apart, and not in a copy */
} Panels;

INLINE void tile(int mr, int nv, int ahead, const Panels *q, const REAL *const *x, REAL *const *y, ptrdiff_t f,
                 const REAL *w, ptrdiff_t ldw, const REAL *bias, int width) {
    Vec acc[MR][2];
    accumulate(mr, nv, ahead, acc, x, q->runs, q->n_runs, w, ldw);
    finish(mr, nv, acc, y, f, bias, q->relu, width);
}

#define TILE(name, mr, nv, ahead)                                                                                      \
    NOINLINE void name(const Panels *q, const REAL *const *x, REAL *const *y, ptrdiff_t f, const REAL *w,              \
                       ptrdiff_t ldw, const REAL *bias, int width) {                                                   \
        tile(mr, nv, ahead, q, x, y, f, w, ldw, bias, width);                                                          \
    }
TILE(tile_full_2, MR, 2, 0)
TILE(tile_full_1, MR, 1, 0)
TILE(tile_half_2, MR / 2, 2, 0)
TILE(tile_half_1, MR / 2, 1, 0)
TILE(tile_one_2, 1, 2, 0)
TILE(tile_one_1, 1, 1, 0)
TILE(tile_full_2_ahead, MR, 2, 1)
TILE(tile_half_2_ahead, MR / 2, 2, 1)

typedef void (*Tile)(const Panels *q, const REAL *const *x, REAL *const *y, ptrdiff_t f, const REAL *w, ptrdiff_t ldw,
                     const REAL *bias, int width);

/* A full tile whose sums have more than MOST_TERMS terms: in pieces of the runs, whose sums are added. */
NOINLINE void tile_in_parts(const Panels *q, int nv, const REAL *const *x, REAL *const *y, ptrdiff_t f, const REAL *w,
                            ptrdiff_t ldw, const REAL *bias, int width) {
    REAL total[MR][NR] = {{0}}, part[MR][NR], *to[MR];
    const Tile full = nv == 2 ? tile_full_2 : tile_full_1;
    for (int m = 0; m < MR; m++)
        to[m] = part[m];
    for (const Run *run = q->runs; run < q->runs + q->n_runs; run++)
        for (ptrdiff_t done = 0; done < run->length; done += MOST_TERMS) {
            ptrdiff_t left = run->length - done;
            Run piece = {run->offset + done, left < MOST_TERMS ? left : MOST_TERMS, run->weight + done};
            Panels pieces = {.runs = &piece, .n_runs = 1};
            full(&pieces, x, to, 0, w, ldw, NULL, nv * VL);
            for (int m = 0; m < MR; m++)
                add_to(nv * VL, total[m], part[m]);
        }
    for (int m = 0; m < MR; m++)
        for (int i = 0; i < width; i++) {
            REAL sum = total[m][i] + (bias ? bias[i] : 0);
            y[m][f + i] = q->relu ? rectify(sum) : sum;
        }
}

/* The tile for `mr` positions, MR or fewer. */
static Tile tile_for(int mr, int nv, int ahead) {
    static const Tile tiles[3][3] = {{tile_one_1, tile_one_2, tile_one_2},
                                     {tile_half_1, tile_half_2, tile_half_2_ahead},
                                     {tile_full_1, tile_full_2, tile_full_2_ahead}};
    return tiles[mr == 1 ? 0 : mr <= MR / 2 ? 1 : 2][nv == 1 ? 0 : 1 + ahead];
}

#define TILES_AHEAD 2
#define FETCHED 256 /* elements of a run: the hardware foresees the rest */

/* Have what positions first .. last - 1 read brought to the cache: of each the last runs, since those before were read
   by its neighbours; and where their results go, of filters f .. f + width - 1. What lies close together the hardware
   foresees by itself. (Inline, or GCC leaves the call out as one without effect.) */
INLINE void fetch(const Panels *q, ptrdiff_t first, ptrdiff_t last, const REAL **x, REAL **y, ptrdiff_t f,
                  ptrdiff_t width) {
    ptrdiff_t line = 64 / (ptrdiff_t)sizeof(REAL);
    if (first >= last)
        return;
    if (q->far)
        for (ptrdiff_t m = first; m < last; m++)
            for (const Run *run = q->runs + (q->n_runs > 2 ? q->n_runs - 2 : 0); run < q->runs + q->n_runs; run++)
                for (ptrdiff_t e = 0, end = run->length < FETCHED ? run->length : FETCHED; e < end; e += line)
                    __builtin_prefetch(x[m] + run->offset + e);
    ptrdiff_t numbers = y[last - 1] - y[first] + width;
    if (numbers <= (last - first) * width)
        for (const REAL *p = y[first] + f, *end = p + numbers; p < end; p += line)
            __builtin_prefetch(p);
    else
        for (ptrdiff_t m = first; m < last; m++)
            for (ptrdiff_t e = 0; e < width; e += line)
                __builtin_prefetch(y[m] + f + e);
}

/* One tile: the panel from number f on, at `mr` positions, MR or fewer. */
static void run_tile(const Panels *q, ptrdiff_t f, int mr, const REAL *const *x, REAL *const *y) {
    int width = (int)(q->width - f < NR ? q->width - f : NR);
    int nv = width > VL ? 2 : 1;
    const REAL *w = q->packed + (q->ldw ? f : f * q->k), *bias = q->bias ? q->bias + f : NULL, *short_x[MR];
    REAL *short_y[MR], spill[NR];
    ptrdiff_t ldw = q->ldw ? q->ldw : nv * VL;
    if (mr < MR) { /* it computes its last position again and drops it */
        for (int m = 0; m < MR; m++) {
            short_x[m] = x[m < mr ? m : mr - 1];
            short_y[m] = m < mr ? y[m] + f : spill;
        }
        x = short_x;
        y = short_y;
        f = 0;
    }
    if (q->k > MOST_TERMS)
        tile_in_parts(q, nv, x, y, f, w, ldw, bias, width);
    else
        tile_for(mr, nv, q->ahead)(q, x, y, f, w, ldw, bias, width);
}

/* Panels `first` to `last` - 1, at `count` positions: x[i] is the patch of position i, y[i] where its filter 0 goes.

   If their weights stay in the cache, a tile's positions meet all panels, one after the other: so memory is read and
   written all the time, a share of what comes with each panel. Else each panel meets all positions, and the first
   panel has all of the memory's work.

   Weights that are not packed need NR filters or more: the last panel is moved back to end with them, and what
   overlaps is computed twice and is the same. */
static void run_panels(const Panels *q, ptrdiff_t first, ptrdiff_t last, ptrdiff_t count, const REAL **x, REAL **y) {
    ptrdiff_t tiles = (count + MR - 1) / MR, panels = last - first;
    ptrdiff_t width = last * NR < q->width ? panels * NR : q->width - first * NR; /* of these panels */
    int kept = panels * NR * q->k * (ptrdiff_t)sizeof(REAL) <= KEPT;
    ptrdiff_t share = kept ? (MR + panels - 1) / panels : MR; /* positions that a panel fetches */
    for (ptrdiff_t i = 0; i < (kept ? tiles : panels); i++)
        for (ptrdiff_t j = 0; j < (kept ? panels : tiles); j++) {
            ptrdiff_t panel = kept ? j : i, at = (kept ? i : j) * MR, f = (first + panel) * NR;
            ptrdiff_t begin = at + TILES_AHEAD * MR + panel * share, end = at + (TILES_AHEAD + 1) * MR;
            end = begin + share < end ? begin + share : end;
            fetch(q, begin, end < count ? end : count, x, y, first * NR, width);
            run_tile(q, q->ldw && f + NR > q->width ? q->width - NR : f, (int)(count - at < MR ? count - at : MR),
                     x + at, y + at);
        }
}

/* Elements from a point to the next: an odd number of cache lines, so that points do not meet in the same ones. */
static ptrdiff_t points_apart(ptrdiff_t numbers) { return ((numbers + VL - 1) / VL | 1) * VL; }
