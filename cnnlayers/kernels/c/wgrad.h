/* Weight gradient: see conv.h. dW[k][f] = sum over all positions of patch[k] dy[f]; and that of the bias, db[f] = sum of
   dy[f], while dy is read anyway. */
#pragma once

#include "depthwise.h"
#include "engine.h"
#include "parallel.h"
#include "rows.h"
#include "table.h"

#include <string.h>

/* acc[m][v] += x[step * i + m] * dy[f_step * i + v] over one row of positions, for mr entries of the patch in a row. */
#define WTILE(name, mr, nv)                                                                                            \
    static __attribute__((noinline)) void name(const REAL *x, ptrdiff_t row_step, ptrdiff_t step, const REAL *dy,      \
                                               ptrdiff_t f_step, ptrdiff_t rows, ptrdiff_t cols, REAL *dW,             \
                                               ptrdiff_t ldw, int fresh) {                                             \
        Vec acc[mr][nv];                                                                                               \
        _Pragma("GCC unroll 28") for (int m = 0; m < mr; m++) _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++)     \
            acc[m][v] = fresh ? (Vec){0} : LOAD(dW + m * ldw + v * VL);                                                \
        for (ptrdiff_t i = 0; i < rows; i++, x += row_step) {                                                          \
            const REAL *p = x;                                                                                         \
            for (ptrdiff_t j = 0; j < cols; j++, p += step, dy += f_step) {                                            \
                Vec b[2];                                                                                              \
                _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++) b[v] = LOAD(dy + v * VL);                         \
                _Pragma("GCC unroll 28") for (int m = 0; m < mr; m++)                                                  \
                    _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++) acc[m][v] += p[m] * b[v];                     \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 28") for (int m = 0; m < mr; m++) _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++)     \
            STORE(dW + m * ldw + v * VL, acc[m][v]);                                                                   \
    }
/* Heights: up to MW with two vectors of filters, up to 2 MW with one. */
#if MW > 6
#define HEIGHTS_2(_) _(1) _(2) _(3) _(4) _(5) _(6) _(7) _(8) _(9) _(10) _(11) _(12) _(13) _(14)
#define HEIGHTS_1(_) HEIGHTS_2(_) _(15) _(16) _(17) _(18) _(19) _(20) _(21) _(22) _(23) _(24) _(25) _(26) _(27) _(28)
#else
#define HEIGHTS_2(_) _(1) _(2) _(3) _(4) _(5) _(6)
#define HEIGHTS_1(_) HEIGHTS_2(_) _(7) _(8) _(9) _(10) _(11) _(12)
#endif
#define TWO(mr) WTILE(wtile_##mr##_2, mr, 2)
#define ONE(mr) WTILE(wtile_##mr##_1, mr, 1)
HEIGHTS_2(TWO)
HEIGHTS_1(ONE)
#undef TWO
#undef ONE
#undef WTILE

typedef void (*WeightTile)(const REAL *, ptrdiff_t, ptrdiff_t, const REAL *, ptrdiff_t, ptrdiff_t, ptrdiff_t, REAL *,
                           ptrdiff_t, int);
#define TWO(mr) wtile_##mr##_2,
#define ONE(mr) wtile_##mr##_1,
static const WeightTile wtiles_2[MW] = {HEIGHTS_2(TWO)};
static const WeightTile wtiles_1[2 * MW] = {HEIGHTS_1(ONE)};
#undef TWO
#undef ONE
#undef HEIGHTS_1
#undef HEIGHTS_2

/* A whole kernel of side x side on images with one channel: all its entries in one tile, one vector of filters. */
#define WHOLE(name, side)                                                                                              \
    static __attribute__((noinline)) void name(const REAL *x, ptrdiff_t line, ptrdiff_t row_step, ptrdiff_t step,      \
                                               const REAL *dy, ptrdiff_t f_step, ptrdiff_t rows, ptrdiff_t cols,       \
                                               REAL *dW, ptrdiff_t ldw, int fresh) {                                   \
        Vec acc[side * side];                                                                                          \
        _Pragma("GCC unroll 25") for (int m = 0; m < side * side; m++) acc[m] = fresh ? (Vec){0} : LOAD(dW + m * ldw); \
        for (ptrdiff_t i = 0; i < rows; i++, x += row_step) {                                                          \
            const REAL *p[side];                                                                                       \
            _Pragma("GCC unroll 5") for (int r = 0; r < side; r++) p[r] = x + r * line;                                \
            for (ptrdiff_t j = 0; j < cols; j++, dy += f_step) {                                                       \
                Vec b = LOAD(dy);                                                                                      \
                _Pragma("GCC unroll 5") for (int r = 0; r < side; r++) {                                               \
                    _Pragma("GCC unroll 5") for (int m = 0; m < side; m++) acc[r * side + m] += p[r][m] * b;           \
                    p[r] += step;                                                                                      \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 25") for (int m = 0; m < side * side; m++) STORE(dW + m * ldw, acc[m]);                    \
    }
WHOLE(whole_3, 3)
#if MW > 6
WHOLE(whole_5, 5)
#endif
#undef WHOLE
typedef void (*KernelTile)(const REAL *, ptrdiff_t, ptrdiff_t, ptrdiff_t, const REAL *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                           REAL *, ptrdiff_t, int);

/* The tile that holds the whole kernel, or NULL. */
static KernelTile whole_tile(const cnn_conv *s) {
    if (s->c != 1 || s->dw != 1 || s->kh != s->kw)
        return NULL;
#if MW > 6
    if (s->kh == 5)
        return whole_5;
#endif
    return s->kh == 3 ? whole_3 : NULL;
}

typedef REAL Eight __attribute__((vector_size(8 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

typedef struct {
    const cnn_conv *s;
    const REAL *x, *dy;
    REAL *partial;     /* [chunks][groups][k][ldw] */
    double *bias_sums; /* [tasks][filters], or NULL */
    ptrdiff_t k, ldw;  /* patch entries of a group; filters of a group, rounded up to whole vectors */
    ptrdiff_t chunks, splits, span, cols, rows;
    int direct, gather; /* read x where it lies; patches made contiguous first (short runs) */
    KernelTile whole;   /* not NULL: all entries in one tile */
    int once;           /* one image (or Affine): each tile is written once, straight into dW */
    int failed;
} WeightJob;

/* Patch entries go in tiles of `height`, as even as they can be. */
static ptrdiff_t tile_height(ptrdiff_t length, ptrdiff_t most) {
    ptrdiff_t tiles = (length + most - 1) / most;
    return (length + tiles - 1) / tiles;
}

/* The patches of output rows `first` to `last` - 1, one every `step` numbers, for short runs: 4 or 8 numbers at a time. What
   is too much is overwritten by the next piece or falls behind the patch, where there is room. */
static void gather_patches(const cnn_conv *s, REAL *to, const REAL *x, ptrdiff_t first, ptrdiff_t last, ptrdiff_t line,
                           ptrdiff_t step) {
    ptrdiff_t c = s->c / s->groups, piece = c == s->c && s->dw == 1 ? s->kw * c : c, pieces = s->kw * c / piece;
    for (ptrdiff_t oh = first; oh < last; oh++, to += s->ow * step)
        for (ptrdiff_t i = 0; i < s->kh; i++)
            for (ptrdiff_t j = 0; j < pieces; j++) {
                const REAL *from = x + (oh * s->sh + i * s->dh) * line + j * s->dw * s->c;
                REAL *at = to + (i * pieces + j) * piece;
                if (piece > 4)
                    for (ptrdiff_t ow = 0; ow < s->ow; ow++)
                        *(Eight *)(at + ow * step) = *(const Eight *)(from + ow * s->sw * s->c);
                else
                    for (ptrdiff_t ow = 0; ow < s->ow; ow++)
                        *(Four *)(at + ow * step) = *(const Four *)(from + ow * s->sw * s->c);
            }
}

/* The rows of outputs, low .. high - 1, for which row `i` of the kernel lies inside the image. */
static void rows_inside(const cnn_conv *s, ptrdiff_t i, ptrdiff_t *low, ptrdiff_t *high) {
    ptrdiff_t at = i * s->dh - s->top;
    *low = at < 0 ? (-at + s->sh - 1) / s->sh : 0;
    *high = at < s->h ? (s->h - 1 - at) / s->sh + 1 : 0;
    *low = *low < s->oh ? *low : s->oh;
    *high = *high < *low ? *low : *high < s->oh ? *high : s->oh;
}

static void weight_task(void *job, ptrdiff_t task) {
    WeightJob *q = job;
    const cnn_conv *s = q->s;
    ptrdiff_t chunk = task / q->splits, split = task % q->splits;
    ptrdiff_t n0 = s->n * chunk / q->chunks, n1 = s->n * (chunk + 1) / q->chunks;
    ptrdiff_t c = s->c / s->groups, f = s->f / s->groups, positions = s->oh * s->ow, tail = q->once ? 0 : f % VL;
    ptrdiff_t halo = q->direct ? 0 : q->rows * q->cols * s->c + 8, line = (q->direct ? s->w : q->cols) * s->c;
    ptrdiff_t block = q->gather ? (63 + s->ow) / s->ow : s->oh + !s->oh;
    ptrdiff_t apart = q->k + 8, patches = q->gather ? block * s->ow * apart : 0, tails = tail ? positions * q->ldw : 0;
    REAL *memory = cnn_scratch(1, (size_t)(halo + patches + tails) * sizeof(REAL));
    if (!memory) {
        q->failed = 1;
        return;
    }
    int whole_rows = c == s->c && s->dw == 1;                      /* a row of the kernel is contiguous in the image */
    ptrdiff_t run = q->gather ? q->k : whole_rows ? s->kw * c : c; /* contiguous entries of a patch */
    ptrdiff_t n_runs = q->k / run, height = tile_height(run, q->ldw > VL ? MW : 2 * MW);
    ptrdiff_t per_run = (run + height - 1) / height;
    ptrdiff_t first = n_runs * per_run * split / q->splits, last = n_runs * per_run * (split + 1) / q->splits;
    double *bias_sums = q->bias_sums ? q->bias_sums + task * s->f : NULL;
    if (bias_sums)
        memset(bias_sums, 0, (size_t)s->f * sizeof(double));
    for (ptrdiff_t n = n0; n < n1; n++) {
        const REAL *x = q->x + n * s->h * s->w * s->c;
        if (bias_sums && n % q->splits == split)
            add_rows(positions, s->f, q->dy + n * positions * s->f, bias_sums);
        if (!q->direct) {
            window_copy(memory, x, q->rows, q->cols, s->c, -s->top, -s->left, s->h, s->w);
            x = memory;
        }
        for (ptrdiff_t g = 0; g < s->groups; g++) {
            const REAL *dy = q->dy + n * positions * s->f + g * f, *patch = x + g * c;
            ptrdiff_t f_step = s->f, row_step = s->sh * line, step = q->gather ? apart : s->sw * s->c;
            REAL *sum = q->partial + (chunk * s->groups + g) * q->k * q->ldw;
            if (tails) { /* whole vectors: zeros behind the last filter */
                REAL *to = memory + halo + patches;
                for (ptrdiff_t i = 0; i < positions; i++, to += q->ldw) {
                    memcpy(to, dy + i * s->f, (size_t)f * sizeof(REAL));
                    memset(to + f, 0, (size_t)(q->ldw - f) * sizeof(REAL));
                }
                dy = memory + halo + patches;
                f_step = q->ldw;
            }
            /* Gathered patches go in blocks of rows that stay in the L1 cache; else all rows at once. */
            for (ptrdiff_t oh = 0; oh < s->oh; oh += block) {
                ptrdiff_t rows = s->oh - oh < block ? s->oh - oh : block, cols = s->ow;
                const REAL *from = patch, *delta = dy + oh * s->ow * f_step;
                if (q->gather) {
                    gather_patches(s, memory + halo, patch, oh, oh + rows, line, apart);
                    from = memory + halo;
                    cols *= rows; /* one row of contiguous patches */
                    rows = 1;
                }
                for (ptrdiff_t v = 0; q->whole && v < q->ldw; v += VL) {
                    ptrdiff_t f0 = q->ldw - v < VL ? q->ldw - VL : v;
                    q->whole(from, s->dh * line, row_step, step, delta + f0, f_step, rows, cols, sum + f0, q->ldw,
                             n == n0);
                }
                for (ptrdiff_t i = first; !q->whole && i < last; i++) {
                    ptrdiff_t r = i / per_run, e = i % per_run * height, mr = run - e < height ? run - e : height;
                    ptrdiff_t at = e, low = 0, high = rows;
                    if (!q->gather) {
                        ptrdiff_t per_row = whole_rows ? 1 : s->kw, row = r / per_row; /* of the kernel */
                        at += row * s->dh * line + r % per_row * s->dw * s->c;
                        rows_inside(s, row, &low, &high);
                    }
                    ptrdiff_t panel = q->ldw < NR ? VL : NR;
                    for (ptrdiff_t v = 0; v < q->ldw; v += panel) {
                        ptrdiff_t left = q->ldw - v, width = left > VL ? panel : VL;
                        ptrdiff_t f0 = left < width ? q->ldw - width : v; /* the last panel ends with dW */
                        WeightTile tile = width > VL ? wtiles_2[mr - 1] : wtiles_1[mr - 1];
                        tile(from + at + low * row_step, row_step, step, delta + low * cols * f_step + f0, f_step,
                             high - low, cols, sum + (r * run + e) * q->ldw + f0, q->ldw, n == n0 && oh == 0);
                    }
                }
            }
        }
    }
}

/* dW := the chunks' sums, added in order; 64 rows a task. */
typedef struct {
    const WeightJob *q;
    REAL *dW;
    ptrdiff_t size; /* of one chunk's sums */
} WeightSum;

static void sum_task(void *job, ptrdiff_t task) {
    const WeightSum *sum = job;
    const WeightJob *q = sum->q;
    ptrdiff_t f = q->s->f / q->s->groups, rows = q->s->groups * q->k, end = task * 64 + 64;
    for (ptrdiff_t i = task * 64; i < (end < rows ? end : rows); i++) {
        REAL *to = sum->dW + i % q->k * q->s->f + i / q->k * f;
        for (ptrdiff_t o = 0; o < f; o++)
            to[o] = q->partial[i * q->ldw + o];
        for (ptrdiff_t chunk = 1; chunk < q->chunks; chunk++)
            for (ptrdiff_t o = 0; o < f; o++)
                to[o] += q->partial[chunk * sum->size + i * q->ldw + o];
    }
}

static int conv_weight_grad(const cnn_conv *s, const void *x, const void *dy, void *dW, void *db) {
    if (one_filter_per_channel(s)) {
        int failed = db ? column_sums(s->n * s->oh * s->ow, s->f, dy, db, s->threads) : 0;
        return failed ? failed : depthwise_weight_grad(s, x, dy, dW);
    }
    ptrdiff_t c = s->c / s->groups, f = s->f / s->groups, k = s->kh * s->kw * c, ldw = (f + VL - 1) / VL * VL;
    ptrdiff_t cols = (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1, span = (s->kh - 1) * s->dh + 1;
    ptrdiff_t rows = (s->oh - 1) * s->sh + span, size = s->groups * k * ldw;
    ptrdiff_t chunks = size <= 65536 ? 8 : size <= 262144 ? 4 : 2;
    if (s->n * s->oh * s->ow == 0) { /* nothing to sum */
        memset(dW, 0, (size_t)(k * s->f) * sizeof(REAL));
        if (db)
            memset(db, 0, (size_t)s->f * sizeof(REAL));
        return 0;
    }
    KernelTile whole = whole_tile(s);
    int gather = !whole && s->kh * s->kw > 1 && (c == s->c && s->dw == 1 ? s->kw * c : c) < 8;
    /* Gathered patches come in blocks, each added to the sums: then no panel may overlap another. */
    int once = s->n == 1 && s->groups == 1 && f >= VL && (!gather || f % VL == 0);
    if (chunks > s->n)
        chunks = s->n;
    if (once)
        ldw = f;
    ptrdiff_t splits = gather || whole ? 1 : (16 + chunks - 1) / chunks; /* each split would gather again */
    size_t sums = db ? (size_t)(chunks * splits * s->f) * sizeof(double) : 0;
    char *room = cnn_scratch(0, sums + (once ? 0 : (size_t)(chunks * size + 1) * sizeof(REAL)));
    if (!room)
        return -1;
    REAL *partial = once ? dW : (REAL *)(room + sums);
    WeightJob q = {.s = s,
                   .x = x,
                   .dy = dy,
                   .partial = partial,
                   .bias_sums = db ? (double *)room : NULL,
                   .k = k,
                   .ldw = ldw,
                   .chunks = chunks,
                   .span = span,
                   .cols = cols,
                   .rows = rows,
                   .direct = s->top == 0 && s->left == 0 && rows <= s->h && cols <= s->w,
                   .splits = splits,
                   .once = once,
                   .gather = gather,
                   .whole = whole};
    q.direct &= !q.gather; /* its loads go a little too far, which only the halo's buffer allows */
    cnn_parallel(chunks * splits, s->threads, weight_task, &q);
    if (q.failed)
        return -1;
    if (db)
        add_chunks(chunks * splits, s->f, s->f, q.bias_sums, db);
    if (once)
        return 0;
    WeightSum sum = {&q, dW, size};
    cnn_parallel((s->groups * k + 63) / 64, s->threads, sum_task, &sum);
    return 0;
}
