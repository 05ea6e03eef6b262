/* Weight gradient of a convolution: see direct.h. dW[k][f] = sum over all positions of patch[k] dy[f]; and that of
   the bias, db[f] = sum of dy[f], while dy is read anyway. */
#pragma once

#include "by_channel.h"
#include "halo.h"
#include "narrow_groups.h"
#include "pack.h"
#include "parallel.h"
#include "scratch.h"
#include "table.h"
#include "weight_tile.h"

#include <string.h>

/* The tile of weight_tile.h for a whole kernel of side x side on images with one channel: all its entries in one
   tile, with one vector of filters. Rows of the kernel are `line` elements apart. */
INLINE void whole_kernel_tile(int side, const REAL *x, ptrdiff_t line, ptrdiff_t row_step, ptrdiff_t step,
                              const REAL *dy, ptrdiff_t f_step, ptrdiff_t rows, ptrdiff_t cols, REAL *dW, ptrdiff_t ldw,
                              int fresh) {
    Vec acc[25];
    UNROLLED(m, side * side)
        acc[m] = fresh ? (Vec){0} : LOAD(dW + m * ldw);
    for (ptrdiff_t i = 0; i < rows; i++, x += row_step) {
        const REAL *p[5];
        UNROLLED(r, side)
            p[r] = x + r * line;
        for (ptrdiff_t j = 0; j < cols; j++, dy += f_step) {
            Vec b = LOAD(dy);
            UNROLLED(r, side) {
                UNROLLED(m, side)
                    acc[r * side + m] += p[r][m] * b;
                p[r] += step;
            }
        }
    }
    UNROLLED(m, side * side)
        STORE(dW + m * ldw, acc[m]);
}

typedef void (*KernelTile)(const REAL *x, ptrdiff_t line, ptrdiff_t row_step, ptrdiff_t step, const REAL *dy,
                           ptrdiff_t f_step, ptrdiff_t rows, ptrdiff_t cols, REAL *dW, ptrdiff_t ldw, int fresh);
#define WHOLE_KERNEL(name, side)                                                                                       \
    NOINLINE void name(const REAL *x, ptrdiff_t line, ptrdiff_t row_step, ptrdiff_t step, const REAL *dy,              \
                       ptrdiff_t f_step, ptrdiff_t rows, ptrdiff_t cols, REAL *dW, ptrdiff_t ldw, int fresh) {         \
        whole_kernel_tile(side, x, line, row_step, step, dy, f_step, rows, cols, dW, ldw, fresh);                      \
    }
WHOLE_KERNEL(whole_3, 3)
#if MW >= 13
WHOLE_KERNEL(whole_5, 5)
#endif

/* The tile that holds the whole kernel, or NULL. */
static KernelTile whole_tile(const cnn_conv *s) {
    if (s->c != 1 || s->dw != 1 || s->kh != s->kw)
        return NULL;
#if MW >= 13
    if (s->kh == 5)
        return whole_5;
#endif
    return s->kh == 3 ? whole_3 : NULL;
}

typedef REAL Eight __attribute__((vector_size(8 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

typedef struct {
    const cnn_conv *s; /* with groups together */
    const REAL *x, *dy;
    REAL *partial;        /* [chunks][groups][k][ldw] */
    REAL *totals;         /* likewise, of a chunk's sums of MOST_TERMS positions; NULL if no chunk has more */
    double *bias_sums;    /* [tasks][filters], or NULL */
    ptrdiff_t c, f, k;    /* of a group: channels, filters, patch entries */
    ptrdiff_t together;   /* groups of the convolution in each */
    ptrdiff_t ldw;        /* filters of a group, rounded up to whole vectors */
    ptrdiff_t chunks;     /* of the images; each has sums of its own */
    ptrdiff_t splits;     /* of the patch entries: tasks of a chunk */
    ptrdiff_t rows, cols; /* of an image with the padding that is read */
    int direct;           /* x is read where it lies, not in a copy with its padding */
    int gather;           /* patches are made contiguous first: their runs are short */
    KernelTile whole;     /* not NULL: all entries in one tile */
    int once;             /* one image (or Affine): each tile is written once, straight into dW */
    int failed;
} WeightJob;

/* The patches of `rows` by `cols` outputs, the first of which reads from x on, one every `step` elements, for short
   runs: 4 or 8 elements at a time. What is too much is overwritten by the next piece or falls after the patch, where
   there is room. */
static void gather_patches(const cnn_conv *s, REAL *to, const REAL *x, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t line,
                           ptrdiff_t step) {
    ptrdiff_t c = s->c / s->groups, piece = c == s->c && s->dw == 1 ? s->kw * c : c, pieces = s->kw * c / piece;
    for (ptrdiff_t oh = 0; oh < rows; oh++, to += cols * step)
        for (ptrdiff_t i = 0; i < s->kh; i++)
            for (ptrdiff_t j = 0; j < pieces; j++) {
                const REAL *from = x + (oh * s->sh + i * s->dh) * line + j * s->dw * s->c;
                REAL *at = to + (i * pieces + j) * piece;
                if (piece > 4)
                    for (ptrdiff_t ow = 0; ow < cols; ow++)
                        *(Eight *)(at + ow * step) = *(const Eight *)(from + ow * s->sw * s->c);
                else
                    for (ptrdiff_t ow = 0; ow < cols; ow++)
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

#define GATHERED 1024 /* positions of a row whose patches are made contiguous at once, at most */

/* What a task has at hand: its memory, and how it walks through an image. */
typedef struct {
    REAL *halo, *patches, *tails;   /* each NULL if it is not needed */
    ptrdiff_t line, apart;          /* elements of a row of x; from one gathered patch to the next */
    ptrdiff_t block, span;          /* rows and columns of outputs at once: gathered patches stay in the L1 cache */
    ptrdiff_t run, height, per_run; /* contiguous entries of a patch; of a tile; tiles of a run */
    ptrdiff_t first, last;          /* the task's tiles */
} WeightRoom;

/* 0, or -1 if out of memory. */
static int open_room(const WeightJob *q, ptrdiff_t split, WeightRoom *room) {
    const cnn_conv *s = q->s;
    ptrdiff_t halo = q->direct ? 0 : q->rows * q->cols * s->c + 8;
    room->line = (q->direct ? s->w : q->cols) * s->c;
    ptrdiff_t most = q->gather ? GATHERED : MOST_TERMS;
    room->span = s->ow < most ? s->ow : most;
    room->block = q->gather ? (63 + s->ow) / s->ow : s->oh * s->ow <= most ? s->oh : most / room->span;
    room->apart = q->k + 8;
    ptrdiff_t patches = q->gather ? room->block * room->span * room->apart : 0;
    ptrdiff_t tails = q->once || q->f % VL == 0 ? 0 : room->block * room->span * q->ldw;
    REAL *memory = cnn_scratch(1, (size_t)(halo + patches + tails) * sizeof(REAL));
    if (!memory)
        return -1;
    room->halo = halo ? memory : NULL;
    room->patches = patches ? memory + halo : NULL;
    room->tails = tails ? memory + halo + patches : NULL;
    int whole_rows = q->c == s->c && s->dw == 1; /* a row of the kernel is contiguous in the image */
    room->run = q->gather ? q->k : whole_rows ? s->kw * q->c : q->c;
    room->height = tile_height(room->run, q->ldw > VL ? MW : 2 * MW);
    room->per_run = (room->run + room->height - 1) / room->height;
    ptrdiff_t tiles = q->k / room->run * room->per_run;
    room->first = tiles * split / q->splits;
    room->last = tiles * (split + 1) / q->splits;
    return 0;
}

/* The filters of a group in whole vectors: a copy of dy at `count` positions, with zeros after the last filter. */
static const REAL *load_tails(const WeightJob *q, ptrdiff_t count, const REAL *dy, REAL *to) {
    const REAL *tails = to;
    for (ptrdiff_t i = 0; i < count; i++, to += q->ldw) {
        memcpy(to, dy + i * q->s->f, (size_t)q->f * sizeof(REAL));
        memset(to + q->f, 0, (size_t)(q->ldw - q->f) * sizeof(REAL));
    }
    return tails;
}

/* A block of outputs: where its patches begin, how they go on, and its gradient. */
typedef struct {
    const REAL *patch, *dy;
    ptrdiff_t first; /* row of outputs */
    ptrdiff_t rows, cols, row_step, step, f_step;
    int fresh; /* the first block of a sum */
} WeightBlock;

/* sums += the block's products, all entries of the kernel at once, a vector of filters after the other. */
static void add_whole_kernel(const WeightJob *q, const WeightRoom *room, const WeightBlock *b, REAL *sums) {
    for (ptrdiff_t v = 0; v < q->ldw; v += VL) {
        ptrdiff_t f0 = q->ldw - v < VL ? q->ldw - VL : v;
        q->whole(b->patch, q->s->dh * room->line, b->row_step, b->step, b->dy + f0, b->f_step, b->rows, b->cols,
                 sums + f0, q->ldw, b->fresh);
    }
}

/* sums += the block's products, for tile `i` of the patch entries. */
static void add_tile(const WeightJob *q, const WeightRoom *room, const WeightBlock *b, ptrdiff_t i, REAL *sums) {
    const cnn_conv *s = q->s;
    ptrdiff_t r = i / room->per_run, entry = i % room->per_run * room->height;
    ptrdiff_t mr = room->run - entry < room->height ? room->run - entry : room->height;
    ptrdiff_t at = entry, low = 0, high = b->rows, panel = q->ldw < NR ? VL : NR;
    if (!q->gather) {
        ptrdiff_t per_row = q->c == s->c && s->dw == 1 ? 1 : s->kw, row = r / per_row; /* of the kernel */
        at += row * s->dh * room->line + r % per_row * s->dw * s->c;
        rows_inside(s, row, &low, &high);
        low = low < b->first ? 0 : low - b->first;
        high = high < b->first ? 0 : high - b->first < b->rows ? high - b->first : b->rows;
    }
    for (ptrdiff_t v = 0; v < q->ldw; v += panel) {
        ptrdiff_t left = q->ldw - v, width = left > VL ? panel : VL;
        ptrdiff_t f0 = left < width ? q->ldw - width : v; /* the last panel ends with dW */
        WeightTile tile = width > VL ? weight_tiles_2[mr - 1] : weight_tiles_1[mr - 1];
        tile(b->patch + at + low * b->row_step, b->row_step, b->step, b->dy + low * b->cols * b->f_step + f0, b->f_step,
             high > low ? high - low : 0, b->cols, sums + (r * room->run + entry) * q->ldw + f0, q->ldw, b->fresh);
    }
}

/* to += from, both laid out like a group's sums: the entries of the task's tiles. */
static void add_entries(const WeightJob *q, const WeightRoom *room, REAL *to, const REAL *from) {
    ptrdiff_t begin = room->first / room->per_run * room->run + room->first % room->per_run * room->height;
    ptrdiff_t end = room->last / room->per_run * room->run + room->last % room->per_run * room->height;
    add_to((end - begin) * q->ldw, to + begin * q->ldw, from + begin * q->ldw);
}

/* sums += the products of a block of outputs of one image and one group. */
static void add_block(const WeightJob *q, const WeightRoom *room, WeightBlock b, REAL *sums) {
    if (room->tails) {
        b.dy = load_tails(q, b.rows * b.cols, b.dy, room->tails);
        b.f_step = q->ldw;
    }
    if (q->gather) { /* one row of contiguous patches */
        gather_patches(q->s, room->patches, b.patch, b.rows, b.cols, room->line, room->apart);
        b.patch = room->patches;
        b.step = room->apart;
        b.cols *= b.rows;
        b.rows = 1;
    }
    if (q->whole)
        add_whole_kernel(q, room, &b, sums);
    for (ptrdiff_t i = room->first; !q->whole && i < room->last; i++)
        add_tile(q, room, &b, i, sums);
}

/* The same of one whole image, whose first channel is at x and first filter at dy; of `totals`, the sums with
   MOST_TERMS positions. Takes and returns how many positions the sums have. */
static ptrdiff_t add_image(const WeightJob *q, const WeightRoom *room, const REAL *x, const REAL *dy, REAL *sums,
                           REAL *totals, ptrdiff_t terms) {
    const cnn_conv *s = q->s;
    for (ptrdiff_t oh = 0; oh < s->oh; oh += room->block)
        for (ptrdiff_t ow = 0; ow < s->ow; ow += room->span) {
            ptrdiff_t rows = s->oh - oh < room->block ? s->oh - oh : room->block;
            ptrdiff_t cols = s->ow - ow < room->span ? s->ow - ow : room->span;
            if (totals && terms + rows * cols > MOST_TERMS) {
                add_entries(q, room, totals, sums);
                terms = 0;
            }
            add_block(q, room,
                      (WeightBlock){.patch = x + oh * s->sh * room->line + ow * s->sw * s->c,
                                    .dy = dy + (oh * s->ow + ow) * s->f,
                                    .first = oh,
                                    .rows = rows,
                                    .cols = cols,
                                    .row_step = s->sh * room->line,
                                    .step = s->sw * s->c,
                                    .f_step = s->f,
                                    .fresh = terms == 0},
                      sums);
            terms += rows * cols;
        }
    return terms;
}

/* A chunk of the images, and a split of the patch entries. */
static void weight_task(void *job, ptrdiff_t task) {
    WeightJob *q = job;
    const cnn_conv *s = q->s;
    ptrdiff_t chunk = task / q->splits, split = task % q->splits, positions = s->oh * s->ow;
    ptrdiff_t n0 = s->n * chunk / q->chunks, n1 = s->n * (chunk + 1) / q->chunks;
    WeightRoom room;
    if (open_room(q, split, &room)) {
        cnn_note(&q->failed);
        return;
    }
    double *bias_sums = q->bias_sums ? q->bias_sums + task * s->f : NULL;
    if (bias_sums)
        memset(bias_sums, 0, (size_t)s->f * sizeof(double));
    ptrdiff_t terms = 0, size = s->groups * q->k * q->ldw;
    REAL *sums = q->partial + chunk * size, *totals = q->totals ? q->totals + chunk * size : NULL;
    for (ptrdiff_t n = n0; n < n1; n++) {
        const REAL *x = q->x + n * s->h * s->w * s->c, *dy = q->dy + n * positions * s->f;
        if (bias_sums && n % q->splits == split)
            add_rows(positions, s->f, dy, bias_sums);
        if (!q->direct) {
            window_copy(room.halo, x, q->rows, q->cols, s->c, -s->top, -s->left, s->h, s->w);
            x = room.halo;
        }
        ptrdiff_t before = terms;
        for (ptrdiff_t g = 0, at = 0; g < s->groups; g++, at += q->k * q->ldw)
            terms = add_image(q, &room, x + g * q->c, dy + g * q->f, sums + at, totals ? totals + at : NULL, before);
    }
    for (ptrdiff_t g = 0; g < s->groups && totals; g++)
        add_entries(q, &room, sums + g * q->k * q->ldw, totals + g * q->k * q->ldw);
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
    ptrdiff_t c = q->c / q->together, f = q->f / q->together, rows = q->s->groups * q->k, end = task * 64 + 64;
    for (ptrdiff_t i = task * 64; i < (end < rows ? end : rows); i++) {
        ptrdiff_t entry = i % q->k, channel = entry % q->c, group = channel / c;
        REAL *to = sum->dW + (entry / q->c * c + channel % c) * q->s->f + (i / q->k * q->together + group) * f;
        const REAL *from = q->partial + i * q->ldw + group * f;
        for (ptrdiff_t o = 0; o < f; o++)
            to[o] = from[o];
        for (ptrdiff_t chunk = 1; chunk < q->chunks; chunk++)
            for (ptrdiff_t o = 0; o < f; o++)
                to[o] += from[chunk * sum->size + o];
    }
}

/* dW := 0 and db := 0, the sums of nothing. */
static void clear_gradients(const cnn_conv *s, REAL *dW, REAL *db) {
    memset(dW, 0, (size_t)(s->kh * s->kw * (s->c / s->groups) * s->f) * sizeof(REAL));
    if (db)
        memset(db, 0, (size_t)s->f * sizeof(REAL));
}

/* How the work is cut, by the shapes alone. */
static WeightJob cut_weight_work(const cnn_conv *s, ptrdiff_t together, const REAL *x, const REAL *dy) {
    WeightJob q = {.s = s,
                   .x = x,
                   .dy = dy,
                   .c = s->c / s->groups,
                   .f = s->f / s->groups,
                   .together = together,
                   .whole = whole_tile(s)};
    q.k = s->kh * s->kw * q.c;
    q.ldw = (q.f + VL - 1) / VL * VL;
    q.cols = (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
    q.rows = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1;
    ptrdiff_t size = s->groups * q.k * q.ldw;
    q.chunks = size <= 65536 ? 8 : size <= 262144 ? 4 : 2;
    if (q.chunks > s->n)
        q.chunks = s->n;
    q.gather = !q.whole && s->kh * s->kw > 1 && (q.c == s->c && s->dw == 1 ? s->kw * q.c : q.c) < 8;
    q.splits = q.gather || q.whole ? 1 : (16 + q.chunks - 1) / q.chunks; /* each split would gather again */
    /* Gathered patches come in blocks, each added to the sums: then no panel may overlap another. */
    q.once = s->n == 1 && s->groups * together == 1 && q.f >= VL && (!q.gather || q.f % VL == 0) &&
             s->oh * s->ow <= MOST_TERMS;
    if (q.once)
        q.ldw = q.f;
    /* The loads of gathered patches go a little too far, which only the halo's buffer allows. */
    q.direct = s->top == 0 && s->left == 0 && q.rows <= s->h && q.cols <= s->w && !q.gather;
    return q;
}

/* dW, and db unless it is NULL. */
static int direct_weight_grad(const cnn_conv *s, const void *x, const void *dy, void *dW, void *db) {
    if (s->n * s->oh * s->ow == 0) {
        clear_gradients(s, dW, db);
        return 0;
    }
    cnn_conv wide = *s;
    ptrdiff_t together = groups_together(s->groups, s->f / s->groups);
    wide.groups /= together;
    s = &wide;
    WeightJob q = cut_weight_work(s, together, x, dy);
    ptrdiff_t size = s->groups * q.k * ((q.f + VL - 1) / VL * VL);
    size_t sums = db ? (size_t)(q.chunks * q.splits * s->f) * sizeof(double) : 0;
    ptrdiff_t partial = q.once ? 0 : q.chunks * size;
    ptrdiff_t totals = (s->n + q.chunks - 1) / q.chunks * s->oh * s->ow > MOST_TERMS ? partial : 0;
    char *memory = cnn_scratch(0, sums + (size_t)(partial + totals + 1) * sizeof(REAL));
    if (!memory)
        return -1;
    q.partial = q.once ? dW : (REAL *)(memory + sums);
    q.totals = totals ? q.partial + partial : NULL;
    memset(q.partial + partial, 0, (size_t)totals * sizeof(REAL));
    q.bias_sums = db ? (double *)memory : NULL;
    cnn_parallel(q.chunks * q.splits, s->threads, weight_task, &q);
    if (q.failed)
        return -1;
    if (db)
        add_chunks(q.chunks * q.splits, s->f, s->f, q.bias_sums, db);
    if (q.once)
        return 0;
    WeightSum sum = {&q, dW, size};
    cnn_parallel((s->groups * q.k + 63) / 64, s->threads, sum_task, &sum);
    return 0;
}
