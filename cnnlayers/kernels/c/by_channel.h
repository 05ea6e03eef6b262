/* An array of rows by channels (any layer's output, channels last), cut into tasks for passes that treat channels
   apart.

   Few channels would make short inner loops, so rows are joined: a line is as many rows, one after the other in
   memory, as make a whole number of vectors and at least 512 elements (where WIDEST holds that; else one row), and
   what belongs to a channel is repeated along the line. A task has some 64 KB of lines, and of the columns only a
   block if there are very many. The cut depends on the shape alone: a sum over a task's lines, and then over the
   tasks in order, has the same bits on any number of threads. */
#pragma once

#include "parallel.h"
#include "scratch.h"
#include "simd.h"

#include <string.h>

#define WIDEST 1024 /* columns of a task, at most */

typedef struct {
    ptrdiff_t rows, c;
    ptrdiff_t width;         /* of a line: c, or a multiple of it */
    ptrdiff_t block, blocks; /* columns of a task; blocks of columns: one where width > c */
    ptrdiff_t lines, chunks; /* lines of a task; chunks of lines */
} Grid;

static Grid cut_rows(ptrdiff_t rows, ptrdiff_t c) {
    ptrdiff_t joined = 1;
    if (rows == 0 || c == 0)
        return (Grid){rows, c, c, c, 0, 0, 0};
    while (joined * c % 16 || joined * c < 512) /* 16 floats are the widest vector */
        joined *= 2;
    if (joined * c > WIDEST)
        joined = 1;
    ptrdiff_t width = joined * c, block = width > WIDEST ? WIDEST / 2 : width;
    ptrdiff_t lines = 65536 / (ptrdiff_t)sizeof(REAL) / block / 4 * 4;
    if (lines * joined < 64) /* rows: so that partial sums stay few compared with the elements */
        lines = 64 / joined;
    ptrdiff_t all_lines = (rows + joined - 1) / joined;
    return (Grid){rows, c, width, block, (width + block - 1) / block, lines, (all_lines + lines - 1) / lines};
}

/* What a task has: `lines` lines of `width` columns, and of one more line the first `rest`. */
typedef struct {
    ptrdiff_t chunk, rows;
    ptrdiff_t first;             /* element of the array */
    ptrdiff_t channel, channels; /* the first one and how many */
    ptrdiff_t width, lines, rest;
    ptrdiff_t step; /* from line to line */
} Part;

static Part part_of(const Grid *g, ptrdiff_t task) {
    ptrdiff_t chunk = task / g->blocks, column = task % g->blocks * g->block;
    ptrdiff_t start = chunk * g->lines * g->width, count = g->rows * g->c - start;
    if (count > g->lines * g->width)
        count = g->lines * g->width;
    ptrdiff_t width = g->width - column < g->block ? g->width - column : g->block;
    return (Part){chunk, count / g->c,     start + column,   column,  width < g->c ? width : g->c,
                  width, count / g->width, count % g->width, g->width};
}

/* One value per channel, repeated along the task's line: in place, or in `room` for WIDEST elements. */
static const REAL *along(const Part *p, const REAL *per_channel, REAL *room) {
    if (p->width == p->channels)
        return per_channel + p->channel;
    for (ptrdiff_t j = 0; j < p->width; j += p->channels)
        memcpy(room + j, per_channel, (size_t)p->channels * sizeof(REAL));
    return room;
}

/* The sum of one channel's columns: the i-th of the task. */
static double fold(const Part *p, const REAL *columns, ptrdiff_t i) {
    double sum = 0;
    for (ptrdiff_t j = i; j < p->width; j += p->channels)
        sum += (double)columns[j];
    return sum;
}

/* columns[j] += the sum of column j of `a`, four lines at a time. */
static void add_lines(const Part *p, const REAL *a, REAL *restrict columns) {
    ptrdiff_t i = 0, s = p->step;
    for (; i + 4 <= p->lines; i += 4, a += 4 * s)
        for (ptrdiff_t j = 0; j < p->width; j++)
            columns[j] += (a[j] + a[s + j]) + (a[2 * s + j] + a[3 * s + j]);
    for (; i <= p->lines; i++, a += s)
        for (ptrdiff_t j = 0, n = i < p->lines ? p->width : p->rest; j < n; j++)
            columns[j] += a[j];
}

/* ---- gradient of a bias: the sum over the rows ---- */

typedef struct {
    Grid grid;
    const REAL *a;
    REAL *y;
    double *partial; /* [chunks][c] */
} RowsJob;

/* sums[i] += the sum of channel i over the task's lines. */
static void add_part(const Part *p, const REAL *a, double *sums) {
    REAL columns[WIDEST];
    memset(columns, 0, (size_t)p->width * sizeof(REAL));
    add_lines(p, a + p->first, columns);
    for (ptrdiff_t i = 0; i < p->channels; i++)
        sums[p->channel + i] += fold(p, columns, i);
}

static void column_sums_task(void *job, ptrdiff_t task) {
    const RowsJob *q = job;
    Part p = part_of(&q->grid, task);
    double *partial = q->partial + p.chunk * q->grid.c;
    memset(partial + p.channel, 0, (size_t)p.channels * sizeof(double));
    add_part(&p, q->a, partial);
}

/* sums[i] += the sum over r of a[r][i], by this thread alone. */
static void add_rows(ptrdiff_t rows, ptrdiff_t c, const REAL *a, double *sums) {
    Grid g = cut_rows(rows, c);
    for (ptrdiff_t task = 0; task < g.chunks * g.blocks; task++) {
        Part p = part_of(&g, task);
        add_part(&p, a, sums);
    }
}

/* out[i] = sum over the chunks of partial[chunk][i], in order; partial[0] takes the sums. */
static void add_chunks(ptrdiff_t chunks, ptrdiff_t step, ptrdiff_t c, double *partial, REAL *out) {
    for (ptrdiff_t k = 1; k < chunks; k++)
        FOR_EACH(i, c)
            partial[i] += partial[k * step + i];
    for (ptrdiff_t i = 0; i < c; i++)
        out[i] = chunks ? (REAL)partial[i] : 0;
}

/* sums[i] = sum over r of a[r][i]: in REAL within a chunk, in double from there. */
static int column_sums(ptrdiff_t rows, ptrdiff_t c, const void *a, void *sums, int threads) {
    Grid g = cut_rows(rows, c);
    double *partial = cnn_scratch(0, (size_t)(g.chunks * c + 1) * sizeof(double)); /* of 0 bytes it would be NULL */
    if (!partial)
        return -1;
    RowsJob q = {g, a, NULL, partial};
    cnn_parallel(g.chunks * g.blocks, threads, column_sums_task, &q);
    add_chunks(g.chunks, c, c, partial, sums);
    return 0;
}
