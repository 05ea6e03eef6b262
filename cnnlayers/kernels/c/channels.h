/* One value per channel, or per sample and channel, for all positions: y = x + b and y = x m.

   x is rows by channels, cut as in by_channel.h: few channels still make long inner loops. One pass, bound by
   memory. */
#pragma once

#include "by_channel.h"
#include "elementwise.h"
#include "parallel.h"

typedef struct {
    Grid grid;
    ptrdiff_t tasks, size; /* of one sample */
    const REAL *x, *per_channel;
    REAL *y;
    int relu;
} ChannelsJob;

static void add_bias_task(void *job, ptrdiff_t task) {
    const ChannelsJob *q = job;
    Part p = part_of(&q->grid, task);
    REAL room[WIDEST], *y = q->y + p.first;
    const REAL *x = q->x + p.first, *b = along(&p, q->per_channel, room);
    for (ptrdiff_t i = 0; i <= p.lines; i++, x += p.step, y += p.step) {
        ptrdiff_t n = i < p.lines ? p.width : p.rest;
        if (q->relu)
            FOR_EACH(j, n)
                y[j] = rectify(x[j] + b[j]);
        else
            FOR_EACH(j, n)
                y[j] = x[j] + b[j];
    }
}

/* y (rows, c) = x + b, then max(y, 0) if relu; x and y may be the same array. */
static int add_bias(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *b, void *y, int relu, int threads) {
    ChannelsJob q = {.grid = cut_rows(rows, c), .x = x, .per_channel = b, .y = y, .relu = relu};
    cnn_parallel(q.grid.chunks * q.grid.blocks, threads, add_bias_task, &q);
    return 0;
}

static void scale_channels_task(void *job, ptrdiff_t task) {
    const ChannelsJob *q = job;
    ptrdiff_t sample = task / q->tasks;
    Part p = part_of(&q->grid, task % q->tasks);
    REAL room[WIDEST], *y = q->y + sample * q->size + p.first;
    const REAL *x = q->x + sample * q->size + p.first;
    const REAL *m = along(&p, q->per_channel + sample * q->grid.c, room);
    for (ptrdiff_t i = 0; i <= p.lines; i++, x += p.step, y += p.step) {
        ptrdiff_t n = i < p.lines ? p.width : p.rest;
        FOR_EACH(j, n)
            y[j] = x[j] * m[j];
    }
}

/* y (n, positions, c) = x m, m (n, c). */
static int scale_channels(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *x, const void *m, void *y,
                          int threads) {
    Grid g = cut_rows(positions, c);
    ChannelsJob q = {.grid = g, .tasks = g.chunks * g.blocks, .size = positions * c, .x = x, .per_channel = m, .y = y};
    cnn_parallel(n * q.tasks, threads, scale_channels_task, &q);
    return 0;
}
