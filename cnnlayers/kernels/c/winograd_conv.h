/* Forward and input gradient by Winograd's method (winograd.h), for stride 1.

   The input gradient is the forward pass over dy with the kernel turned and transposed.

   A task takes a block of tiles, of as many images as that needs: transforms them to points, multiplies the matrix
   (tiles, channels) of each point by the point's (channels, filters) with the register tile, a panel of filters at a
   time, and transforms back. All of a block stays in the L2 cache. The sums over channels are in their order
   whatever block a tile falls in, so bits do not depend on threads.

   An infinite number in the source would spread over its tile: CNN_NOT_FINITE tells the caller to compute all of it
   another way. */
#pragma once

#include "memory.h"
#include "pack.h"
#include "parallel.h"
#include "scratch.h"
#include "table.h"
#include "tile.h"
#include "winograd.h"
#include "winograd_tiles.h"

#include <math.h>
#include <string.h>

typedef struct {
    Images in, out;     /* channels of a pixel: groups * c; groups * width */
    Images plus;        /* like out: what is added to it; first NULL if nothing is */
    Images rectified;   /* like out: where it is not above 0, neither is anything of the result but 0; or first NULL */
    Tiles tiles;        /* of the result */
    REAL *y;            /* out.first, to write */
    const REAL *bias;   /* (groups * width), or NULL */
    const REAL *packed; /* [groups][panels][points][point_numbers: c x lanes] */
    ptrdiff_t c, width, groups, top, left;
    ptrdiff_t block, span; /* tiles of a block; of a task: several blocks */
    ptrdiff_t parts;       /* of the filters: each has tasks of its own, which all transform the same tiles */
    const Method *method;
    int points; /* of all lines */
    int relu, threads, failed, not_finite;
} Winograd;

#define BLOCK_TILES 24 /* at most: two register tiles or more for each time that weights come to the L1 cache */

/* A pass from images of sh x sw, with sc channels, to images of oh x ow with oc. */
static Winograd winograd_job(const cnn_conv *s, const REAL *in, ptrdiff_t sh, ptrdiff_t sw, ptrdiff_t sc, REAL *out,
                             ptrdiff_t oh, ptrdiff_t ow, ptrdiff_t oc, ptrdiff_t top, ptrdiff_t left) {
    const Method *method = find_method(s);
    return (Winograd){.in = {in, sh, sw, sc},
                      .out = {out, oh, ow, oc},
                      .plus = {s->plus, oh, ow, oc},
                      .rectified = {s->rectified, oh, ow, oc},
                      .y = out,
                      .tiles = cut_tiles(s->n, oh, ow, method->tile),
                      .c = sc / s->groups,
                      .width = oc / s->groups,
                      .groups = s->groups,
                      .top = top,
                      .left = left,
                      .method = method,
                      .points = method->points.high * method->points.wide,
                      .threads = s->threads};
}

static ptrdiff_t panels(const Winograd *q) { return (q->width + NR - 1) / NR; }

/* Filters of the panel that begins with filter f, with those that fill it up. */
static int panel_lanes(const Winograd *q, ptrdiff_t f) { return q->width - f > VL ? NR : VL; }

/* Tiles of a register tile, for so many lanes. */
static ptrdiff_t panel_height(ptrdiff_t lanes) { return lanes > VL ? MR : 2 * MR; }

/* Tasks of a part of the filters. */
static ptrdiff_t spans(const Winograd *q) { return (q->tiles.count + q->span - 1) / q->span; }

/* Elements of the packed weights from a point of a panel to the next. */
static ptrdiff_t point_numbers(const Winograd *q, int lanes) { return points_apart(q->c * lanes); }

/* Elements of the packed weights of a group, up to the panel that begins with filter f. */
static ptrdiff_t panel_place(const Winograd *q, ptrdiff_t f) { return f / NR * q->points * point_numbers(q, NR); }

/* Elements of the packed weights of a group. */
static ptrdiff_t group_numbers(const Winograd *q) {
    ptrdiff_t last = (panels(q) - 1) * NR;
    return panel_place(q, last) + q->points * point_numbers(q, panel_lanes(q, last));
}

#define WEIGHTS_AHEAD (4096 / (ptrdiff_t)sizeof(REAL)) /* elements: a page, where the hardware stops to foresee */

/* m = u w: mr tiles, `step` elements apart, by one panel of nv vectors of filters. Three tiles share a pointer. */
INLINE void multiply_tiles(int mr, int nv, const REAL *u, ptrdiff_t step, ptrdiff_t c, const REAL *w, REAL *m) {
    Vec acc[2 * MR][2];
    const REAL *row[(2 * MR + 2) / 3];
    UNROLLED(r, (mr + 2) / 3)
        row[r] = u + 3 * r * step;
    clear_tile(mr, nv, acc);
    for (ptrdiff_t k = 0; k < c; k++, w += nv * VL) {
        Vec b[2];
        load_vectors(nv, b, w);
        UNROLLED(v, nv)
            __builtin_prefetch(w + WEIGHTS_AHEAD + v * VL);
        multiply_add(mr, nv, acc, row, 3, step, 0, b);
        UNROLLED(r, (mr + 2) / 3)
            row[r]++;
    }
    store_tile(mr, nv, acc, m, nv * VL);
}

#define MULTIPLY(name, mr, nv)                                                                                         \
    NOINLINE void name(const REAL *u, ptrdiff_t step, ptrdiff_t c, const REAL *w, REAL *m) {                           \
        multiply_tiles(mr, nv, u, step, c, w, m);                                                                      \
    }
MULTIPLY(multiply_2, MR, 2)
MULTIPLY(multiply_half_2, MR / 2, 2)
MULTIPLY(multiply_1, 2 * MR, 1)
MULTIPLY(multiply_half_1, MR, 1)

/* The memory of a task. */
typedef struct {
    Window window;
    REAL *u, *m;
    ptrdiff_t cu, u_apart, m_apart; /* elements of a tile of u; from a point to the next */
    Vec bad;                        /* NaN where a number was not finite */
} WinogradRoom;

/* m[point] = u[point] w[point] for the tiles of a block and one panel of filters: u[point][tile][cu],
   m[point][tile][lanes], w[point][channel][lanes]. */
static void multiply_points(const Winograd *q, const WinogradRoom *room, const REAL *w, int lanes, ptrdiff_t count) {
    const REAL *u = room->u;
    REAL *m = room->m;
    ptrdiff_t w_apart = point_numbers(q, lanes);
    ptrdiff_t height = panel_height(lanes);
    for (int point = 0; point < q->points; point++, u += room->u_apart, w += w_apart, m += room->m_apart)
        for (ptrdiff_t t = 0; t < count; t += height)
            if (count - t <= height / 2)
                (lanes > VL ? multiply_half_2 : multiply_half_1)(u + t * room->cu, room->cu, q->c, w, m + t * lanes);
            else
                (lanes > VL ? multiply_2 : multiply_1)(u + t * room->cu, room->cu, q->c, w, m + t * lanes);
}

/* u: the points of the tiles `first` to `first + count` - 1. */
static void tiles_to_points(const Winograd *q, WinogradRoom *room, ptrdiff_t g, ptrdiff_t first, ptrdiff_t count) {
    TileAt at = locate_tile(&q->tiles, first);
    for (ptrdiff_t t = 0; t < count; t++, next_tile(&q->tiles, &at)) {
        const REAL *pixel[36];
        find_pixels(&room->window, at.n, at.i - q->top, at.j - q->left, g * q->c, pixel);
        q->method->interpolate(pixel, q->c < VL ? VL : q->c, room->u + t * room->cu, room->u_apart);
    }
}

/* y: from the points m of `count` tiles and the `lanes` filters from f on. */
static void points_to_tiles(const Winograd *q, WinogradRoom *room, ptrdiff_t g, ptrdiff_t f, int lanes, ptrdiff_t first,
                            ptrdiff_t count) {
    Patch to = {.line = q->out.w * q->out.pixel, .pixel = q->out.pixel, .least = q->relu ? 0 : NAN};
    TileAt at = locate_tile(&q->tiles, first);
    for (ptrdiff_t t = 0; t < count; t++, next_tile(&q->tiles, &at)) {
        to.rows = q->out.h - at.i < q->tiles.high ? q->out.h - at.i : q->tiles.high;
        to.cols = q->out.w - at.j < q->tiles.wide ? q->out.w - at.j : q->tiles.wide;
        ptrdiff_t pixel = ((at.n * q->out.h + at.i) * q->out.w + at.j) * to.pixel + g * q->width;
        for (ptrdiff_t v = f; v < f + lanes && v < q->width; v += VL) {
            Vec bias = q->bias ? load_first(q->bias + g * q->width + v, q->width - v) : (Vec){0};
            to.width = q->width - v < VL ? q->width - v : VL;
            to.whole = to.rows == q->tiles.high && to.cols == q->tiles.wide && to.width == VL;
            to.plus = q->plus.first ? q->plus.first + pixel + v : NULL;
            to.rectified = q->rectified.first ? q->rectified.first + pixel + v : NULL;
            q->method->collect_tile(&to, room->m + t * lanes + v - f, room->m_apart, bias, q->y + pixel + v,
                                    &room->bad);
        }
    }
}

static void winograd_task(void *job, ptrdiff_t task) {
    Winograd *q = job;
    ptrdiff_t part = task / spans(q);
    ptrdiff_t f0 = panels(q) * part / q->parts * NR, f1 = panels(q) * (part + 1) / q->parts * NR;
    ptrdiff_t first = task % spans(q) * q->span, end = first + q->span;
    ptrdiff_t last = end < q->tiles.count ? end : q->tiles.count;
    ptrdiff_t tiles = (q->block + 2 * MR - 1) / (2 * MR) * (2 * MR);
    ptrdiff_t cu = (q->c + VL - 1) / VL * VL;
    WinogradRoom room;
    room.cu = cu;
    room.u_apart = points_apart(tiles * cu);
    room.m_apart = points_apart(tiles * NR);
    room.bad = (Vec){0};
    REAL *zeros = cnn_scratch(1, (size_t)(cu + q->points * (room.u_apart + room.m_apart)) * sizeof(REAL));
    if (!zeros) {
        cnn_note(&q->failed);
        return;
    }
    room.u = zeros + cu;
    room.m = room.u + q->points * room.u_apart;
    memset(zeros, 0, (size_t)cu * sizeof(REAL));
    open_window(&room.window, &q->in, q->method->points, q->c, zeros);
    for (ptrdiff_t t = first; t < last; t += q->block) {
        ptrdiff_t count = last - t < q->block ? last - t : q->block;
        for (ptrdiff_t g = 0; g < q->groups; g++) {
            const REAL *weights = q->packed + g * group_numbers(q);
            tiles_to_points(q, &room, g, t, count);
            for (ptrdiff_t f = f0; f < f1; f += NR) {
                int lanes = panel_lanes(q, f);
                multiply_points(q, &room, weights + panel_place(q, f), lanes, count);
                points_to_tiles(q, &room, g, f, lanes, t, count);
            }
        }
    }
    for (int v = 0; v < VL; v++)
        if (room.bad[v] != 0)
            cnn_note(&q->not_finite);
}

/* ---- the weights at the points ---- */

typedef struct {
    const Winograd *q;
    const REAL *W; /* (kh, kw, c, groups * width); turned and transposed, (kh, kw, width, groups * c) */
    REAL *packed;
    int transposed;
    REAL factors[36];
} PointsJob;

/* VL channels of one vector of filters, from filter f0 of W on: cut out of W, in order and filled up with zeros, then
   transformed. to: the first point of channel c0; a channel has ldw elements, a point `apart`. */
static void pack_block(const PointsJob *p, ptrdiff_t g, ptrdiff_t c0, ptrdiff_t f0, REAL *to, ptrdiff_t ldw,
                       ptrdiff_t apart) {
    const Winograd *q = p->q;
    ptrdiff_t rows = q->c - c0 < VL ? q->c - c0 : VL, width = q->width - f0 < VL ? q->width - f0 : VL;
    int elements = q->method->kernel.high * q->method->kernel.wide;
    REAL cut[25][VBYTES / sizeof(REAL)][VBYTES / sizeof(REAL)], values[36][VBYTES / sizeof(REAL)];
    if (width < VL)
        memset(cut, 0, sizeof cut);
    for (int e = 0; e < elements; e++)
        if (p->transposed) {
            ptrdiff_t step = q->groups * q->c;
            const REAL *w = p->W + ((elements - 1 - e) * q->width + f0) * step + g * q->c + c0;
            if (VL % 4 == 0 && rows == VL && width == VL)
                for (ptrdiff_t r = 0; r < VL; r += 4)
                    for (ptrdiff_t f = 0; f < VL; f += 4)
                        transpose_four(&cut[e][r][f], VL, w + r + f * step, step);
            else
                for (ptrdiff_t r = 0; r < rows; r++)
                    for (ptrdiff_t f = 0; f < width; f++)
                        cut[e][r][f] = w[r + f * step];
        } else {
            ptrdiff_t step = q->groups * q->width;
            const REAL *w = p->W + (e * q->c + c0) * step + g * q->width + f0;
            for (ptrdiff_t r = 0; r < rows; r++)
                if (width == VL)
                    STORE(cut[e][r], LOAD(w + r * step));
                else
                    memcpy(cut[e][r], w + r * step, (size_t)width * sizeof(REAL));
        }
    for (ptrdiff_t r = 0; r < rows; r++, to += ldw) {
        const REAL *pixel[25];
        for (int e = 0; e < elements; e++)
            pixel[e] = cut[e][r];
        q->method->evaluate_kernel(pixel, VL, values[0], VL);
        for (int i = 0; i < q->points; i++)
            STORE(to + i * apart, LOAD(values[i]) * p->factors[i]);
    }
}

/* VL channels of a panel of filters: whole cache lines. */
static void points_task(void *job, ptrdiff_t task) {
    const PointsJob *p = job;
    const Winograd *q = p->q;
    ptrdiff_t blocks = (q->c + VL - 1) / VL, all = panels(q);
    ptrdiff_t g = task / (blocks * all), c0 = task / all % blocks * VL, f0 = task % all * NR;
    if (p->transposed) /* neighbouring tasks read neighbouring elements of W */
        c0 = task % blocks * VL, f0 = task / blocks % all * NR;
    int ldw = panel_lanes(q, f0);
    REAL *to = p->packed + g * group_numbers(q) + panel_place(q, f0) + c0 * ldw;
    for (ptrdiff_t v = 0; v < ldw; v += VL)
        pack_block(p, g, c0, f0 + v, to + v, ldw, point_numbers(q, ldw));
}

/* Elements of all packed weights. */
static ptrdiff_t packed_numbers(const Winograd *q) { return q->groups * group_numbers(q); }

static void pack_points(const Winograd *q, const REAL *W, int transposed, REAL *to) {
    PointsJob job = {.q = q, .W = W, .packed = to, .transposed = transposed};
    find_factors(q->method, job.factors);
    ptrdiff_t tasks = q->groups * ((q->c + VL - 1) / VL) * panels(q);
    cnn_parallel(tasks, q->threads, points_task, &job);
}

/* The packed weights in the caller's scratch; NULL if out of memory. */
static const REAL *pack_here(const Winograd *q, const REAL *W, int transposed) {
    REAL *to = cnn_scratch(0, (size_t)packed_numbers(q) * sizeof(REAL));
    if (to)
        pack_points(q, W, transposed, to);
    return to;
}

/* ---- the passes ---- */

/* Cut the tiles into blocks and tasks, and do them. */
static int winograd_run(Winograd *q) {
    ptrdiff_t cu = (q->c + VL - 1) / VL * VL;
    ptrdiff_t lanes = panel_lanes(q, 0), height = panel_height(lanes);
    ptrdiff_t fitting = (ptrdiff_t)cnn_cache() / 2 / (q->points * (cu + lanes) * (ptrdiff_t)sizeof(REAL));
    fitting = fitting < BLOCK_TILES ? fitting : BLOCK_TILES;
    ptrdiff_t share = (q->tiles.count + 4 * q->threads - 1) / (4 * q->threads);
    q->block = fitting < share ? fitting : share;
    q->block = q->block < height ? height : q->block / height * height;
    q->span = share / q->block < 1 ? q->block : share / q->block < 8 ? share / q->block * q->block : 8 * q->block;
    ptrdiff_t all = spans(q);
    /* Too few tiles: a part of the filters for each thread, whose weights then stay in its own cache. */
    q->parts = all >= q->threads ? 1 : q->threads < panels(q) ? q->threads : panels(q);
    cnn_parallel(all * q->parts, q->threads, winograd_task, q);
    return q->failed ? -1 : q->not_finite ? CNN_NOT_FINITE : 0;
}

static Winograd winograd_forward_job(const cnn_conv *s, const void *x, void *y) {
    return winograd_job(s, x, s->h, s->w, s->c, y, s->oh, s->ow, s->f, s->top, s->left);
}

/* Elements that winograd_pack writes. */
static ptrdiff_t winograd_packed(const cnn_conv *s) {
    Winograd q = winograd_forward_job(s, NULL, NULL);
    return packed_numbers(&q);
}

/* Transform the weights for many forward passes. The bias needs no packing. */
static void winograd_pack(const cnn_conv *s, const void *W, void *to) {
    Winograd q = winograd_forward_job(s, NULL, NULL);
    pack_points(&q, W, 0, to);
}

/* y = x * W + b + plus. `ready`: the weights as winograd_pack wrote them, or NULL. */
static int winograd_forward(const cnn_conv *s, const void *x, const void *W, const void *b, const void *ready,
                            void *y) {
    Winograd q = winograd_forward_job(s, x, y);
    q.bias = b;
    q.relu = s->relu;
    q.packed = ready ? ready : pack_here(&q, W, 0);
    if (!q.packed)
        return -1;
    return winograd_run(&q);
}

static int winograd_input_grad(const cnn_conv *s, const void *dy, const void *W, void *dx) {
    Winograd q = winograd_job(s, dy, s->oh, s->ow, s->f, dx, s->h, s->w, s->c, s->kh - 1 - s->top, s->kw - 1 - s->left);
    q.packed = pack_here(&q, W, 1);
    if (!q.packed)
        return -1;
    return winograd_run(&q);
}
