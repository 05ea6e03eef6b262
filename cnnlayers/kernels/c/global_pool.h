/* Global pooling: y (n, c) from x (n, positions, c), and back.

   An image is an array of rows by channels, cut as in by_channel.h: a task is a part of one image, so that even a
   single image keeps all threads at work, and few channels still fill the vectors. What the parts of an image give
   is put together in their order: bits do not depend on threads. In a line of joined rows every column is a running
   sum, or maximum, of its own; the columns of a channel are put together at the end. */
#pragma once

#include "by_channel.h"
#include "parallel.h"
#include "scratch.h"
#include "vmath.h"

#include <string.h>

typedef struct {
    Grid grid;             /* of one image */
    ptrdiff_t tasks, size; /* of one image: its tasks and its elements */
    const REAL *source;
    REAL *result;
    double *sums;        /* [n][chunks][c] */
    REAL *best;          /* [n][chunks][c] */
    ptrdiff_t *position; /* [n][chunks][c] */
} GlobalJob;

static GlobalJob global_cut(ptrdiff_t positions, ptrdiff_t c, const void *source, void *result) {
    Grid g = cut_rows(positions, c);
    return (GlobalJob){
        .grid = g, .tasks = g.chunks * g.blocks, .size = positions * c, .source = source, .result = result};
}

/* ---- mean ---- */

static void global_sum_task(void *job, ptrdiff_t task) {
    const GlobalJob *q = job;
    ptrdiff_t image = task / q->tasks;
    Part p = part_of(&q->grid, task % q->tasks);
    double *sums = q->sums + (image * q->grid.chunks + p.chunk) * q->grid.c + p.channel;
    REAL columns[WIDEST];
    memset(columns, 0, (size_t)p.width * sizeof(REAL));
    add_lines(&p, q->source + image * q->size + p.first, columns);
    for (ptrdiff_t i = 0; i < p.channels; i++)
        sums[i] = fold(&p, columns, i);
}

/* y = the mean over the positions: summed in REAL within a task, in double from there. */
static int global_avg_pool(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *x, void *y, int threads) {
    GlobalJob q = global_cut(positions, c, x, y);
    ptrdiff_t chunks = q.grid.chunks;
    q.sums = cnn_scratch(0, (size_t)(n * chunks * c + 1) * sizeof(double));
    if (!q.sums)
        return -1;
    cnn_parallel(n * q.tasks, threads, global_sum_task, &q);
    for (ptrdiff_t image = 0; image < n; image++) {
        double *sums = q.sums + image * chunks * c;
        REAL *means = q.result + image * c;
        add_chunks(chunks, c, c, sums, means);
        for (ptrdiff_t i = 0; i < c; i++)
            means[i] = (REAL)(sums[i] / (double)positions);
    }
    return 0;
}

static void global_spread_task(void *job, ptrdiff_t task) {
    const GlobalJob *q = job;
    ptrdiff_t image = task / q->tasks, positions = q->grid.rows;
    Part p = part_of(&q->grid, task % q->tasks);
    const REAL *dy = q->source + image * q->grid.c + p.channel;
    REAL *dx = q->result + image * q->size + p.first, line[WIDEST];
    for (ptrdiff_t j = 0; j < p.channels; j++)
        line[j] = dy[j] / (REAL)positions;
    for (ptrdiff_t j = p.channels; j < p.width; j++)
        line[j] = line[j - p.channels];
    for (ptrdiff_t i = 0; i < p.lines; i++)
        memcpy(dx + i * p.step, line, (size_t)p.width * sizeof(REAL));
    if (p.rest)
        memcpy(dx + p.lines * p.step, line, (size_t)p.rest * sizeof(REAL));
}

/* dx = dy / positions, at each position */
static int global_avg_pool_input_grad(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *dy, void *dx,
                                      int threads) {
    GlobalJob q = global_cut(positions, c, dy, dx);
    cnn_parallel(n * q.tasks, threads, global_spread_task, &q);
    return 0;
}

/* ---- maximum ---- */

/* Whether `value` takes the place of `best`, which came before it: it is greater, or the first NaN. */
INLINE int wins(REAL value, REAL best) { return !(value <= best) && best == best; }

/* The maximum of each column and its line, `width` columns of lines `step` apart. */
INLINE void max_lines(ptrdiff_t lines, ptrdiff_t width, ptrdiff_t step, const REAL *x, REAL *best, REAL *line) {
    memcpy(best, x, (size_t)width * sizeof(REAL));
    memset(line, 0, (size_t)width * sizeof(REAL));
    for (ptrdiff_t i = 1; i < lines; i++) {
        const REAL *row = x + i * step;
        for (ptrdiff_t j = 0; j < width; j += VL) {
            ptrdiff_t left = width - j;
            Vec value = load_first(row + j, left), old = load_first(best + j, left);
            Mask wins = ~(value <= old) & (old == old);
            store_first(best + j, pick(wins, value, old), left);
            store_first(line + j, pick(wins, (Vec){0} + (REAL)i, load_first(line + j, left)), left);
        }
    }
}

static void global_max_task(void *job, ptrdiff_t task) {
    const GlobalJob *q = job;
    ptrdiff_t image = task / q->tasks, c = q->grid.c, joined = q->grid.width / c;
    Part p = part_of(&q->grid, task % q->tasks);
    const REAL *x = q->source + image * q->size + p.first, *last = x + p.lines * p.step;
    ptrdiff_t to = (image * q->grid.chunks + p.chunk) * c + p.channel;
    ptrdiff_t first = p.chunk * q->grid.lines * joined; /* position of the chunk */
    REAL best[WIDEST], line[WIDEST];
    ptrdiff_t width = p.lines ? p.width : p.rest;
    max_lines(p.lines, width, p.step, x, best, line);
    for (ptrdiff_t j = 0; p.lines && j < p.rest; j++)
        if (wins(last[j], best[j])) {
            best[j] = last[j];
            line[j] = (REAL)p.lines;
        }
    for (ptrdiff_t i = 0; i < p.channels; i++) {
        REAL most = best[i];
        ptrdiff_t at = (ptrdiff_t)line[i] * joined;
        for (ptrdiff_t j = i + p.channels, k = 1; j < width; j += p.channels, k++) {
            ptrdiff_t here = (ptrdiff_t)line[j] * joined + k;
            int tie = best[j] == most || (best[j] != best[j] && most != most);
            if (tie ? here < at : wins(best[j], most)) {
                most = best[j];
                at = here;
            }
        }
        q->best[to + i] = most;
        q->position[to + i] = first + at;
    }
}

/* y = the maximum over the positions, and where it was first; the first NaN wins. */
static int global_max_pool(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *x, void *y, ptrdiff_t *winner,
                           int threads) {
    GlobalJob q = global_cut(positions, c, x, y);
    ptrdiff_t chunks = q.grid.chunks, count = n * chunks * c;
    q.position = cnn_scratch(0, (size_t)(count + 1) * (sizeof(ptrdiff_t) + sizeof(REAL)));
    if (!q.position)
        return -1;
    q.best = (REAL *)(q.position + count);
    cnn_parallel(n * q.tasks, threads, global_max_task, &q);
    for (ptrdiff_t image = 0; image < n; image++)
        for (ptrdiff_t k = 0; k < chunks; k++)
            for (ptrdiff_t i = 0; i < c; i++) {
                ptrdiff_t from = (image * chunks + k) * c + i, to = image * c + i;
                if (k == 0 || wins(q.best[from], q.result[to])) {
                    q.result[to] = q.best[from];
                    winner[to] = q.position[from];
                }
            }
    return 0;
}

typedef struct {
    ptrdiff_t positions, c, rows, chunks; /* rows: positions of a task; chunks: tasks of an image */
    const REAL *dy;
    const ptrdiff_t *winner;
    REAL *dx;
} ScatterJob;

static void global_scatter_task(void *job, ptrdiff_t task) {
    const ScatterJob *q = job;
    ptrdiff_t image = task / q->chunks, first = task % q->chunks * q->rows, c = q->c;
    ptrdiff_t rows = q->positions - first < q->rows ? q->positions - first : q->rows;
    const ptrdiff_t *winner = q->winner + image * c;
    REAL *dx = q->dx + (image * q->positions + first) * c;
    memset(dx, 0, (size_t)(rows * c) * sizeof(REAL));
    for (ptrdiff_t i = 0; i < c; i++)
        if (winner[i] >= first && winner[i] - first < rows)
            dx[(winner[i] - first) * c + i] = q->dy[image * c + i];
}

/* dx = dy where x was the maximum, else 0; a winner that is not a position gets nothing. */
static int global_max_pool_input_grad(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *dy,
                                      const ptrdiff_t *winner, void *dx, int threads) {
    ptrdiff_t rows = 65536 / (c * (ptrdiff_t)sizeof(REAL)) + 1;
    ScatterJob q = {positions, c, rows, (positions + rows - 1) / rows, dy, winner, dx};
    cnn_parallel(n * q.chunks, threads, global_scatter_task, &q);
    return 0;
}
