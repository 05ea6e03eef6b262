/* Weight gradient by Winograd's method (winograd.h): F(kernel, tile).

   dW is the correlation of x with dy, so tiles of dy take the part of the kernel: their values at the points, times
   those of x, are summed over all tiles, one matrix (channels, filters) for each point; the transform back is done
   once, at the end. The tiles are summed in a fixed number of chunks, and these in order: bits do not depend on
   threads. */
#pragma once

#include "by_channel.h"
#include "elementwise.h"
#include "parallel.h"
#include "scratch.h"
#include "table.h"
#include "tile.h"
#include "weight_tile.h"
#include "winograd.h"
#include "winograd_tiles.h"

#include <math.h>
#include <string.h>

typedef struct {
    const cnn_conv *s;
    Images x, dy;
    Tiles tiles;       /* of dy */
    REAL *sums;        /* [chunks][groups][points][apart: c x ldw] */
    REAL *totals;      /* likewise, of a chunk's sums of GRAD_TERMS tiles; NULL if no chunk has more */
    double *bias_sums; /* [chunks][filters], or NULL */
    REAL *dW;
    ptrdiff_t c, f, ldw; /* of a group */
    ptrdiff_t cu, fu;    /* elements of a tile at a point, of x and of dy: an odd number of cache lines */
    ptrdiff_t apart;     /* elements of sums from a point to the next */
    ptrdiff_t chunks, block;
    const Method *method;
    int points, failed;
    REAL factors[36];
} WinogradGrad;

#define GRAD_BYTES (1 << 20) /* that a cache is taken to hold, whatever it is: see grad_block */
#define GRAD_LEAST 32        /* tiles of a block: the sums are read and written once for each */
#define GRAD_MOST 128
#define GRAD_TERMS 4096 /* tiles of a sum; below MOST_TERMS, since values at the points are seldom whole numbers */

/* sums[point] += u[point]^T v[point] over `count` tiles: u[point][tile][cu], v[point][tile][fu]. */
static void add_products(const WinogradGrad *q, const REAL *u, ptrdiff_t u_apart, const REAL *v, ptrdiff_t v_apart,
                         REAL *sums, ptrdiff_t count, int fresh) {
    ptrdiff_t height = tile_height(q->c, q->ldw > VL ? MW : 2 * MW);
    for (int point = 0; point < q->points; point++, u += u_apart, v += v_apart, sums += q->apart)
        for (ptrdiff_t f = 0; f < q->ldw; f += NR)
            for (ptrdiff_t c = 0; c < q->c; c += height) {
                ptrdiff_t here = q->c - c < height ? q->c - c : height;
                WeightTile tile = q->ldw - f > VL ? weight_tiles_2[here - 1] : weight_tiles_1[here - 1];
                tile(u + c, 0, q->cu, v + f, q->fu, 1, count, sums + c * q->ldw + f, q->ldw, fresh);
            }
}

/* The bias: sums[v] += the pixels of a tile of dy, a vector of filters at a time; the last ends with the filters. */
static void add_pixels(const REAL *const *pixel, int pixels, ptrdiff_t f, REAL *sums) {
    for (ptrdiff_t v = 0; v < f; v += VL) {
        ptrdiff_t at = lane(v, f, f < VL);
        Vec sum = LOAD(pixel[0] + at);
        for (int i = 1; i < pixels; i++)
            sum += LOAD(pixel[i] + at);
        STORE(sums + v, LOAD(sums + v) + sum);
    }
}

/* Take the sums of a block to those of the chunk, and begin again. */
static void move_sums(REAL *sums, ptrdiff_t f, double *to) {
    for (ptrdiff_t v = 0; v < f; v += VL)
        for (ptrdiff_t i = v; i < f && i < v + VL; i++)
            to[i] += (double)sums[v + i - lane(v, f, f < VL)];
    memset(sums, 0, (size_t)((f + VL - 1) / VL * VL) * sizeof(REAL));
}

static void winograd_grad_task(void *job, ptrdiff_t chunk) {
    WinogradGrad *q = job;
    const cnn_conv *s = q->s;
    ptrdiff_t first = q->tiles.count * chunk / q->chunks, last = q->tiles.count * (chunk + 1) / q->chunks;
    ptrdiff_t points = q->points, widest = q->cu > q->fu ? q->cu : q->fu;
    ptrdiff_t u_apart = points_apart(q->block * q->cu), v_apart = points_apart(q->block * q->fu);
    REAL *zeros = cnn_scratch(1, (size_t)(widest + q->ldw + points * (u_apart + v_apart)) * sizeof(REAL));
    if (!zeros) {
        cnn_note(&q->failed);
        return;
    }
    REAL *tile_sums = zeros + widest, *u = tile_sums + q->ldw, *v = u + points * u_apart;
    double *bias_sums = q->bias_sums ? q->bias_sums + chunk * s->f : NULL;
    Window x_window, dy_window;
    open_window(&x_window, &q->x, q->method->points, q->c, zeros);
    open_window(&dy_window, &q->dy, q->method->tile, q->f, zeros);
    memset(zeros, 0, (size_t)(widest + q->ldw) * sizeof(REAL));
    if (bias_sums)
        memset(bias_sums, 0, (size_t)s->f * sizeof(double));
    for (ptrdiff_t g = 0; g < s->groups; g++) {
        ptrdiff_t at_group = (chunk * s->groups + g) * points * q->apart, terms = 0;
        for (ptrdiff_t t0 = first; t0 < last; t0 += q->block) {
            ptrdiff_t count = last - t0 < q->block ? last - t0 : q->block;
            TileAt at = locate_tile(&q->tiles, t0);
            for (ptrdiff_t t = 0; t < count; t++, next_tile(&q->tiles, &at)) {
                const REAL *pixel[36];
                find_pixels(&x_window, at.n, at.i - s->top, at.j - s->left, g * q->c, pixel);
                q->method->interpolate(pixel, q->c < VL ? VL : q->c, u + t * q->cu, u_apart);
                find_pixels(&dy_window, at.n, at.i, at.j, g * q->f, pixel);
                q->method->evaluate_tile(pixel, q->f < VL ? VL : q->f, v + t * q->fu, v_apart);
                if (bias_sums)
                    add_pixels(pixel, q->method->tile.high * q->method->tile.wide, q->f, tile_sums);
            }
            if (terms + count > GRAD_TERMS) {
                add_to(points * q->apart, q->totals + at_group, q->sums + at_group);
                terms = 0;
            }
            add_products(q, u, u_apart, v, v_apart, q->sums + at_group, count, terms == 0);
            terms += count;
            if (bias_sums)
                move_sums(tile_sums, q->f, bias_sums + g * q->f);
        }
        if (q->totals)
            add_to(points * q->apart, q->sums + at_group, q->totals + at_group);
    }
}

/* dW of one channel: the chunks' sums added in order, then A^T . A. */
static void winograd_finish_task(void *job, ptrdiff_t task) {
    const WinogradGrad *q = job;
    ptrdiff_t g = task / q->c, c = task % q->c, points = q->points, step = q->c * q->s->f;
    ptrdiff_t all = q->s->groups * points * q->apart;
    for (ptrdiff_t f = 0; f < q->f; f += VL) {
        ptrdiff_t width = q->f - f < VL ? q->f - f : VL;
        REAL m[36][VBYTES / sizeof(REAL)];
        for (ptrdiff_t p = 0; p < points; p++) {
            const REAL *from = q->sums + (g * points + p) * q->apart + c * q->ldw + f;
            Vec sum = LOAD(from);
            for (ptrdiff_t chunk = 1; chunk < q->chunks; chunk++)
                sum += LOAD(from + chunk * all);
            STORE(m[p], sum * q->factors[p]);
        }
        Vec bad = {0};
        Patch to = {.line = q->method->kernel.wide * step,
                    .pixel = step,
                    .rows = q->method->kernel.high,
                    .cols = q->method->kernel.wide,
                    .width = width,
                    .whole = width == VL,
                    .least = NAN};
        q->method->collect_kernel(&to, m[0], VL, (Vec){0}, q->dW + c * q->s->f + g * q->f + f, &bad);
    }
}

/* Tiles of a block, whose elements at the points are to stay in the cache beside a group's sums: bytes of each. If the
   sums alone are too many, they had better pass by seldom. By shapes alone, as the bits of db depend on it. */
static ptrdiff_t grad_block(ptrdiff_t tile, ptrdiff_t sums) {
    ptrdiff_t fitting = (GRAD_BYTES - sums) / tile;
    if (sums > GRAD_BYTES)
        return 2 * GRAD_LEAST;
    return fitting < GRAD_LEAST ? GRAD_LEAST : fitting > GRAD_MOST ? GRAD_MOST : fitting;
}

static int winograd_weight_grad(const cnn_conv *s, const void *x, const void *dy, void *dW, void *db) {
    const Method *method = find_method(s);
    ptrdiff_t points = method->points.high * method->points.wide;
    WinogradGrad q = {.s = s,
                      .x = {x, s->h, s->w, s->c},
                      .dy = {dy, s->oh, s->ow, s->f},
                      .dW = dW,
                      .tiles = cut_tiles(s->n, s->oh, s->ow, method->tile),
                      .c = s->c / s->groups,
                      .f = s->f / s->groups,
                      .method = method,
                      .points = (int)points};
    q.ldw = (q.f + VL - 1) / VL * VL;
    q.cu = points_apart(q.c);
    q.fu = points_apart(q.f);
    if (q.tiles.count == 0) {
        memset(dW, 0, (size_t)(s->kh * s->kw * q.c * s->f) * sizeof(REAL));
        if (db)
            memset(db, 0, (size_t)s->f * sizeof(REAL));
        return 0;
    }
    find_factors(q.method, q.factors);
    q.apart = points_apart(q.c * q.ldw);
    ptrdiff_t size = s->groups * points * q.apart;
    ptrdiff_t most = size <= 65536 ? 16 : size <= 262144 ? 8 : size <= 1048576 ? 4 : 2, by_tiles = q.tiles.count / 128;
    q.chunks = by_tiles < 2 ? (q.tiles.count < 2 ? 1 : 2) : by_tiles < most ? by_tiles : most;
    q.block = grad_block(points * (q.cu + q.fu) * (ptrdiff_t)sizeof(REAL), points * q.apart * (ptrdiff_t)sizeof(REAL));
    size_t bias_bytes = db ? (size_t)(q.chunks * s->f) * sizeof(double) : 0;
    ptrdiff_t sums = q.chunks * size, totals = (q.tiles.count + q.chunks - 1) / q.chunks > GRAD_TERMS ? sums : 0;
    char *room = cnn_scratch(0, bias_bytes + (size_t)(sums + totals) * sizeof(REAL));
    if (!room)
        return -1;
    q.bias_sums = db ? (double *)room : NULL;
    q.sums = (REAL *)(room + bias_bytes);
    q.totals = totals ? q.sums + sums : NULL;
    memset(q.sums + sums, 0, (size_t)totals * sizeof(REAL));
    cnn_parallel(q.chunks, s->threads, winograd_grad_task, &q);
    cnn_parallel(s->groups * q.c, s->threads, winograd_finish_task, &q);
    if (!q.failed && db)
        add_chunks(q.chunks, s->f, s->f, q.bias_sums, db);
    if (q.failed)
        return -1;
    return any_not_finite(dW, s->kh * s->kw * q.c * s->f) ? CNN_NOT_FINITE : 0; /* db is right all the same */
}
