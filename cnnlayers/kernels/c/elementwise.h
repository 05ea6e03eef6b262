/* Element by element: ReLU, the sum that ends a residual block, and the gradients of both; products.

   Each is one pass, bound by memory: what counts is to read and write every number once, and to have several loads
   under way before the first store (four vectors: up to a quarter faster). Output and input may be the same
   array. NaN is not <= 0 and not > 0: it passes ReLU, and no gradient passes it. */
#pragma once

#include "parallel.h"
#include "simd.h"

#define SLICE 32768 /* elements of a task: 128 KB of floats in each array */

typedef struct {
    ptrdiff_t count;
    const REAL *a, *b, *c;
    REAL *y;
    int relu;
} EachJob;

/* The first element of a slice of `size` elements; *n: how many it has. */
INLINE ptrdiff_t slice_of(ptrdiff_t size, ptrdiff_t count, ptrdiff_t task, ptrdiff_t *n) {
    ptrdiff_t start = task * size;
    *n = count - start < size ? count - start : size;
    return start;
}

INLINE ptrdiff_t slice(ptrdiff_t count, ptrdiff_t task, ptrdiff_t *n) { return slice_of(SLICE, count, task, n); }

static void relu_task(void *job, ptrdiff_t task) {
    const EachJob *q = job;
    ptrdiff_t n, start = slice(q->count, task, &n);
    const REAL *x = q->a + start;
    REAL *y = q->y + start;
    ptrdiff_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        Vec v[4];
        UNROLLED(k, 4)
            v[k] = LOAD(x + i + k * VL);
        UNROLLED(k, 4)
            STORE(y + i + k * VL, rectify_each(v[k]));
    }
    for (; i < n; i++)
        y[i] = rectify(x[i]);
}

/* y = a + b where c > 0, else 0; b may be NULL, and is a constant where this is inlined. */
INLINE void masked_sum(const REAL *a, const REAL *b, const REAL *c, REAL *y, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        Vec v[4], mask[4];
        UNROLLED(k, 4) {
            mask[k] = LOAD(c + i + k * VL);
            v[k] = LOAD(a + i + k * VL);
            if (b)
                v[k] += LOAD(b + i + k * VL);
        }
        UNROLLED(k, 4)
            STORE(y + i + k * VL, (Vec)((Mask)v[k] & (mask[k] > 0)));
    }
    for (; i < n; i++) {
        REAL sum = b ? a[i] + b[i] : a[i];
        y[i] = c[i] > 0 ? sum : 0; /* chosen, not multiplied: 0 * inf is NaN */
    }
}

static void masked_sum_task(void *job, ptrdiff_t task) {
    const EachJob *q = job;
    ptrdiff_t n, start = slice(q->count, task, &n);
    if (q->b)
        masked_sum(q->a + start, q->b + start, q->c + start, q->y + start, n);
    else
        masked_sum(q->a + start, NULL, q->c + start, q->y + start, n);
}

static void add_task(void *job, ptrdiff_t task) {
    const EachJob *q = job;
    ptrdiff_t n, start = slice(q->count, task, &n);
    const REAL *a = q->a + start, *b = q->b + start;
    REAL *y = q->y + start;
    if (q->relu)
        FOR_EACH(i, n)
            y[i] = rectify(a[i] + b[i]);
    else
        FOR_EACH(i, n)
            y[i] = a[i] + b[i];
}

static void multiply_task(void *job, ptrdiff_t task) {
    const EachJob *q = job;
    ptrdiff_t n, start = slice(q->count, task, &n);
    const REAL *a = q->a + start, *b = q->b + start;
    REAL *y = q->y + start;
    FOR_EACH(i, n)
        y[i] = a[i] * b[i];
}

/* y = relu(x) */
static void relu(ptrdiff_t count, const void *x, void *y, int threads) {
    EachJob q = {.count = count, .a = x, .y = y};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, relu_task, &q);
}

/* y = a + b, or relu(a + b) */
static void add(ptrdiff_t count, const void *a, const void *b, void *y, int relu, int threads) {
    EachJob q = {.count = count, .a = a, .b = b, .y = y, .relu = relu};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, add_task, &q);
}

/* y = a b */
static void multiply(ptrdiff_t count, const void *a, const void *b, void *y, int threads) {
    EachJob q = {.count = count, .a = a, .b = b, .y = y};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, multiply_task, &q);
}

/* to = dx + plus where rectified > 0, else 0: what a layer's input gradient ends in, where the layer comes after a
   ReLU that gave `rectified` and before a sum. Without either that part is left out. */
static void finish_grad(ptrdiff_t count, const void *dx, const void *plus, const void *rectified, void *to,
                        int threads) {
    EachJob q = {.count = count, .a = dx, .b = plus, .c = rectified, .y = to};
    if (rectified)
        cnn_parallel((count + SLICE - 1) / SLICE, threads, masked_sum_task, &q);
    else if (plus)
        add(count, dx, plus, to, 0, threads);
}

/* Whether any of n elements is infinite or NaN. */
static int any_not_finite(const REAL *p, ptrdiff_t n) {
    Vec zeros = {0};
    REAL sum = 0;
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL)
        zeros += LOAD(p + i) * 0;
    for (; i < n; i++)
        sum += p[i] * 0;
    for (int v = 0; v < VL; v++)
        sum += zeros[v];
    return sum != 0;
}
