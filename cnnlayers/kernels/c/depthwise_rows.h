/* Whole rows of a depthwise convolution whose taps are neighbours: kernels 3, 5 or 7 wide, strides 1 and, for 3, 2.

   A block is 8 or 4 neighbouring positions, of one row of the result or of two, and of one vector of channels: its sums
   are in registers, and each row of the source that they read is a line. Along it each pixel is loaded once, for all
   taps and both rows that read it: 40 loads for 16 sums of nine terms. Blocks at the ends of a row leave out the pixels
   that are padding, one test for each pixel; the last block is moved back so that it ends with the row.

   Forward, and dx for stride 1 (the same with the kernel turned), positions advance by the stride, and so does the
   pixel that a tap reads. For dx with stride 2 ("spread") a pixel of dy meets the taps of two pixels of dx in turn.

   Sums are in the order of the rows, then of the columns of the source, as in depthwise.h, whatever block a position
   falls in. What lies in memory rather than in the cache is computed row by row: each brings the next one. */
#pragma once

#include "memory.h"
#include "parallel.h"
#include "simd.h"
#include "table.h"

#define WIDE_BLOCK (VBYTES == 64 ? 8 : 4) /* with two rows of sums: 32 registers, or 16 */
#define MOST_LINES 7

/* Keep a number that is used several times in its register: GCC would rather load it again for each use. */
#if defined(__GNUC__) && defined(__x86_64__)
#define KEEP(v) __asm__("" : "+v"(v))
#else
#define KEEP(v) ((void)0)
#endif

/* A row of the source and, for each row of the result, the weights that meet it there: those of its first tap. */
typedef struct {
    const REAL *x, *w[2];
} Line;

/* Lines 0 .. first - 1 belong to the first row of the result alone, those to `both` to both, the rest to the second. */
typedef struct {
    int first, both, all;
    Line lines[MOST_LINES + 2];
} Lines;

typedef struct DepthwiseRows DepthwiseRows;
typedef void (*RowKernel)(const DepthwiseRows *q, const Lines *lines, REAL *y);

struct DepthwiseRows {
    RowKernel one, two; /* rows of the result at a time; two: NULL if there is none */
    const REAL *source, *weights, *bias;
    REAL *result;
    ptrdiff_t c, from_rows, from_cols, rows, cols;
    ptrdiff_t kernel_rows, kernel_row; /* how many; weights from one to the next */
    ptrdiff_t forth;                   /* weights from a tap to the next */
    ptrdiff_t step, top, left;         /* of the source for a row or column of the result */
    int spread, relu, far;
    ptrdiff_t all_rows, rows_per_task;
};

/* sum[r][m] += the taps of one line, for rows r0 .. r1 - 1; p: the pixel of position 0's first tap. low, high: which
   of the pixels from there on are no padding. */
INLINE void add_line(int r0, int r1, int count, int length, int step, int edge, const DepthwiseRows *q, Vec sum[2][8],
                     const Line *line, ptrdiff_t from, ptrdiff_t v, ptrdiff_t low, ptrdiff_t high) {
    const REAL *p = line->x + from;
    Vec tap[2][7];
    for (int r = r0; r < r1; r++)
        UNROLLED(k, length)
            tap[r][k] = LOAD(line->w[r] + v + k * q->forth);
    UNROLLED(j, (count - 1) * step + length) {
        if (!edge || (j >= low && j < high)) {
            Vec value = LOAD(p);
            KEEP(value);
            UNROLLED(k, length)
                if (j >= k && (j - k) % step == 0 && (j - k) / step < count)
                    for (int r = r0; r < r1; r++)
                        sum[r][(j - k) / step] += tap[r][k] * value;
        }
        p += q->c;
    }
}

/* The same for dx with stride 2 and three taps, of which the first one's weights are the line's. Position m meets the
   tap k = m + odd - 2 j of dy's column j, counted from p's. */
INLINE void spread_line(int count, int odd, const DepthwiseRows *q, Vec sum[2][8], const Line *line, ptrdiff_t from,
                        ptrdiff_t v, ptrdiff_t low, ptrdiff_t high) {
    const REAL *p = line->x + from;
    Vec tap[3];
    UNROLLED(k, 3)
        tap[k] = LOAD(line->w[0] + v + k * q->forth);
    UNROLLED(i, count / 2 + 1) {
        const int j = i + odd - 1; /* from -1 on if m = 0 meets the last tap */
        if (j >= low && j < high) {
            Vec value = LOAD(p + j * q->c);
            KEEP(value);
            UNROLLED(m, count)
                if (m + odd - 2 * j >= 0 && m + odd - 2 * j < 3)
                    sum[0][m] += tap[m + odd - 2 * j] * value;
        }
    }
}

/* Bring what the next block of this row writes, and what the next row reads that this one did not. */
INLINE void fetch_block(int count, int step, const DepthwiseRows *q, const Line *last, ptrdiff_t first, ptrdiff_t i,
                        const REAL *y) {
    const ptrdiff_t c = q->c, next = (q->from_cols + first) * c;
    UNROLLED(m, count)
        __builtin_prefetch(y + count * c + i * count + m * VL, 1);
    if (step == 1)
        UNROLLED(m, count)
            __builtin_prefetch(last->x + next + i * count + m * VL);
}

/* `count` positions from u, of one row or two. step 0: spread, with columns that begin at an odd tap or not. */
INLINE void row_block(int rows, int count, int length, int step, int odd, int edge, const DepthwiseRows *q,
                      const Lines *l, ptrdiff_t u, REAL *y) {
    const ptrdiff_t c = q->c, first = step ? u * step - q->left : (u + q->left - odd) / 2;
    const ptrdiff_t low = -first, high = q->from_cols - first, apart = q->cols * c;
    const REAL *bias = q->bias;
    const int relu = q->relu, far = q->far;
    const Line *line;
    y += u * c;
    for (ptrdiff_t i = 0; i < c; i += VL) {
        const ptrdiff_t v = lane(i, c, 0), from = first * c + v;
        Vec sum[2][8], start = {0};
        if (bias)
            start = LOAD(bias + v);
        for (int r = 0; r < rows; r++)
            UNROLLED(m, count)
                sum[r][m] = start;
        if (rows == 1 && far && l->all)
            fetch_block(count, step, q, l->lines + l->all - 1, first, i, y);
        for (line = l->lines; line < l->lines + l->first; line++)
            if (step)
                add_line(0, 1, count, length, step, edge, q, sum, line, from, v, low, high);
            else
                spread_line(count, odd, q, sum, line, from, v, low, high);
        for (; rows == 2 && line < l->lines + l->both; line++)
            add_line(0, 2, count, length, step, edge, q, sum, line, from, v, low, high);
        for (; rows == 2 && line < l->lines + l->all; line++)
            add_line(1, 2, count, length, step, edge, q, sum, line, from, v, low, high);
        for (int r = 0; r < rows; r++) {
            if (relu)
                UNROLLED(m, count)
                    sum[r][m] = (Vec)((Mask)sum[r][m] & ~(sum[r][m] < 0)); /* NaN is not < 0: it passes */
            UNROLLED(m, count)
                STORE(y + r * apart + m * c + v, sum[r][m]);
        }
    }
}

/* All columns, four at least, in blocks of 8 and 4. */
INLINE void row_blocks(int rows, int length, int step, const DepthwiseRows *q, const Lines *l, REAL *y) {
    const ptrdiff_t cols = q->cols;
    for (ptrdiff_t u = 0, size; u < cols; u += size) {
        const int wide = rows == 1 || WIDE_BLOCK == 8; /* too few registers else */
        size = wide && cols - u > 4 && cols >= 8 ? 8 : 4;
        u = u + size < cols ? u : cols - size;
        const ptrdiff_t first = u * step - q->left;
        if (wide && size == 8 && first >= 0 && first + 7 * step + length <= q->from_cols)
            row_block(rows, 8, length, step, 0, 0, q, l, u, y);
        else if (wide && size == 8)
            row_block(rows, 8, length, step, 0, 1, q, l, u, y);
        else
            row_block(rows, 4, length, step, 0, 1, q, l, u, y);
    }
}

/* The same for dx with stride 2. */
INLINE void spread_blocks(const DepthwiseRows *q, const Lines *l, REAL *y) {
    const ptrdiff_t cols = q->cols;
    for (ptrdiff_t u = 0, size; u < cols; u += size) {
        size = cols - u > 4 && cols >= 8 ? 8 : 4;
        u = u + size < cols ? u : cols - size;
        const int odd = (u + q->left) % 2 != 0;
        if (size == 8 && odd)
            row_block(1, 8, 3, 0, 1, 1, q, l, u, y);
        else if (size == 8)
            row_block(1, 8, 3, 0, 0, 1, q, l, u, y);
        else if (odd)
            row_block(1, 4, 3, 0, 1, 1, q, l, u, y);
        else
            row_block(1, 4, 3, 0, 0, 1, q, l, u, y);
    }
}

#define ROWS(name, rows, length, step)                                                                                 \
    NOINLINE void name(const DepthwiseRows *q, const Lines *lines, REAL *y) {                                          \
        row_blocks(rows, length, step, q, lines, y);                                                                   \
    }
ROWS(row_of_3, 1, 3, 1)
ROWS(rows_of_3, 2, 3, 1)
ROWS(row_of_3_by_2, 1, 3, 2)
ROWS(rows_of_3_by_2, 2, 3, 2)
ROWS(row_of_5, 1, 5, 1)
ROWS(rows_of_5, 2, 5, 1)
ROWS(row_of_7, 1, 7, 1)
NOINLINE void row_spread(const DepthwiseRows *q, const Lines *lines, REAL *y) { spread_blocks(q, lines, y); }

/* The lines of a row of the result, or of it and the next one. */
static Lines find_lines(const DepthwiseRows *q, const REAL *image, ptrdiff_t row, int two) {
    const ptrdiff_t n = q->kernel_rows, line = q->from_cols * q->c;
    Lines l = {0, 0, 0, {{0}}};
    for (ptrdiff_t k = n - 1; q->spread && k >= 0; k--) {
        ptrdiff_t at = row + q->top - k;
        if (at >= 0 && at % 2 == 0 && at / 2 < q->from_rows)
            l.lines[l.all++] = (Line){image + at / 2 * line, {q->weights + k * q->kernel_row, NULL}};
    }
    for (ptrdiff_t k = 0, at = row * q->step - q->top; !q->spread && k < n + two * q->step; k++) {
        if (at + k < 0 || at + k >= q->from_rows)
            continue;
        l.lines[l.all++] =
            (Line){image + (at + k) * line,
                   {q->weights + k * q->kernel_row, two ? q->weights + (k - q->step) * q->kernel_row : NULL}};
        l.first += k < q->step;
        l.both += k < n;
    }
    if (!two)
        l.first = l.both = l.all;
    return l;
}

/* Rows r0 .. r1 - 1 of one image's result to y. */
static void depthwise_rows(const DepthwiseRows *q, const REAL *image, ptrdiff_t r0, ptrdiff_t r1, REAL *y) {
    while (r0 < r1) {
        const int two = q->two && !q->far && r0 + 1 < r1;
        const Lines l = find_lines(q, image, r0, two);
        (two ? q->two : q->one)(q, &l, y);
        y += (1 + two) * q->cols * q->c;
        r0 += 1 + two;
    }
}

static void depthwise_rows_task(void *job, ptrdiff_t task) {
    const DepthwiseRows *q = job;
    ptrdiff_t r0 = task * q->rows_per_task, end = r0 + q->rows_per_task, size = q->from_rows * q->from_cols * q->c;
    end = end < q->all_rows ? end : q->all_rows;
    for (ptrdiff_t r1; r0 < end; r0 = r1) {
        ptrdiff_t image = r0 / q->rows, first = image * q->rows;
        r1 = first + q->rows < end ? first + q->rows : end;
        depthwise_rows(q, q->source + image * size, r0 - first, r1 - first, q->result + r0 * q->cols * q->c);
    }
}

/* Whether this file computes a convolution, or its dx. */
static int rows_suit(const cnn_conv *s, int backward) {
    const int narrow = s->kw == 3 && s->sw == 2, wide = s->kw == 3 || s->kw == 5 || s->kw == 7;
    return s->c >= VL && s->kh <= MOST_LINES && s->sh == s->sw && s->sh <= s->kh && s->dh == 1 && s->dw == 1 &&
           (narrow || (wide && s->sw == 1)) && (backward ? s->w : s->ow) >= 4;
}

/* y = x * W + b, with ReLU if that is asked for, and where it goes not yet known. */
static DepthwiseRows rows_forward(const cnn_conv *s, const REAL *x, const REAL *W, const REAL *b) {
    const int by_2 = s->sw == 2, most = VBYTES == 64 ? 5 : 3; /* taps that two rows of sums leave registers for */
    return (DepthwiseRows){.one = s->kw == 7   ? row_of_7
                                  : s->kw == 5 ? row_of_5
                                  : by_2       ? row_of_3_by_2
                                               : row_of_3,
                           .two = s->kw > most ? NULL
                                  : s->kw == 5 ? rows_of_5
                                  : by_2       ? rows_of_3_by_2
                                               : rows_of_3,
                           .source = x,
                           .weights = W,
                           .bias = b,
                           .c = s->c,
                           .from_rows = s->h,
                           .from_cols = s->w,
                           .rows = s->oh,
                           .cols = s->ow,
                           .kernel_rows = s->kh,
                           .kernel_row = s->kw * s->c,
                           .forth = s->c,
                           .step = s->sw,
                           .top = s->top,
                           .left = s->left,
                           .relu = s->relu,
                           .all_rows = s->n * s->oh};
}

/* dx: for stride 1 a convolution of dy with the kernel turned. */
static DepthwiseRows rows_input_grad(const cnn_conv *s, const REAL *dy, const REAL *W) {
    DepthwiseRows q = rows_forward(s, dy, W, NULL);
    q.from_rows = s->oh;
    q.from_cols = s->ow;
    q.rows = s->h;
    q.cols = s->w;
    q.relu = 0;
    q.all_rows = s->n * s->h;
    q.spread = s->sw == 2;
    if (q.spread) {
        q.one = row_spread;
        q.two = NULL;
        return q;
    }
    q.weights = W + (s->kh * s->kw - 1) * s->c;
    q.kernel_row = -q.kernel_row;
    q.forth = -q.forth;
    q.top = s->kh - 1 - s->top;
    q.left = s->kw - 1 - s->left;
    return q;
}

/* Whether so many elements, read and written, are more than the caches of these threads hold for sure. */
static int far_away(ptrdiff_t elements, int threads) {
    return (size_t)elements * sizeof(REAL) > cnn_cache() / 2 * (size_t)threads;
}

/* All rows to `result`; each task computes `rows_per_task` of them, or one more. */
static int rows_run(DepthwiseRows *q, REAL *result, ptrdiff_t rows_per_task, int threads) {
    const ptrdiff_t row = q->cols * q->c, from = q->from_rows * q->from_cols * q->c;
    const ptrdiff_t all = q->all_rows * row + (q->rows ? q->all_rows / q->rows * from : 0);
    q->result = result;
    q->rows_per_task = (rows_per_task + 1) / 2 * 2;
    q->far = far_away(all, threads);
    cnn_parallel((q->all_rows + q->rows_per_task - 1) / q->rows_per_task, threads, depthwise_rows_task, q);
    return 0;
}
