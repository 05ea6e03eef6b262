/* One number per channel, or per sample and channel, for all positions: y = x + b and y = x m.

   x is rows by channels, cut as in rows.h: few channels still make long inner loops. One pass, bound by memory. */
typedef struct {
    T(grid) grid;
    ptrdiff_t tasks, size; /* of one sample */
    const REAL *x, *per_channel;
    REAL *y;
    int relu;
} T(channels_job);

static void T(add_bias_task)(void *job, ptrdiff_t task) {
    const T(channels_job) *q = job;
    T(part) p = T(part_of)(&q->grid, task);
    REAL room[WIDEST], *y = q->y + p.first;
    const REAL *x = q->x + p.first, *b = T(along)(&p, q->per_channel, room);
    for (ptrdiff_t i = 0; i <= p.lines; i++, x += p.step, y += p.step) {
        ptrdiff_t n = i < p.lines ? p.width : p.rest;
        if (q->relu)
            ANY_ORDER for (ptrdiff_t j = 0; j < n; j++)
                y[j] = T(rectify)(x[j] + b[j]);
        else
            ANY_ORDER for (ptrdiff_t j = 0; j < n; j++)
                y[j] = x[j] + b[j];
    }
}

/* y (rows, c) = x + b, then max(y, 0) if relu; x and y may be the same array. */
static int T(add_bias)(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *b, void *y, int relu, int threads) {
    T(channels_job) q = {.grid = T(cut_rows)(rows, c), .x = x, .per_channel = b, .y = y, .relu = relu};
    cnn_parallel(q.grid.chunks * q.grid.blocks, threads, T(add_bias_task), &q);
    return 0;
}

static void T(scale_channels_task)(void *job, ptrdiff_t task) {
    const T(channels_job) *q = job;
    ptrdiff_t sample = task / q->tasks;
    T(part) p = T(part_of)(&q->grid, task % q->tasks);
    REAL room[WIDEST], *y = q->y + sample * q->size + p.first;
    const REAL *x = q->x + sample * q->size + p.first;
    const REAL *m = T(along)(&p, q->per_channel + sample * q->grid.c, room);
    for (ptrdiff_t i = 0; i <= p.lines; i++, x += p.step, y += p.step)
        ANY_ORDER for (ptrdiff_t j = 0, n = i < p.lines ? p.width : p.rest; j < n; j++)
            y[j] = x[j] * m[j];
}

/* y (n, positions, c) = x m, m (n, c). */
static int T(scale_channels)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *x, const void *m, void *y,
                             int threads) {
    T(grid) g = T(cut_rows)(positions, c);
    T(channels_job) q = {.grid = g, .tasks = g.chunks * g.blocks, .size = positions * c, .x = x, .per_channel = m,
                         .y = y};
    cnn_parallel(n * q.tasks, threads, T(scale_channels_task), &q);
    return 0;
}
