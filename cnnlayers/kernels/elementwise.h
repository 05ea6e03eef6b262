/* Number by number: ReLU, its gradient, and the sum that ends a residual block.

   Each is one pass, bound by memory: what counts is to read and write every number once, and to have several loads
   under way before the first store (four vectors: up to a quarter faster). Output and input may be the same
   array. NaN is not <= 0 and not > 0: it passes ReLU, and no gradient passes it. */
#define SLICE 32768 /* numbers of a task: 128 KB of floats in each array */

/* relu(v) = v > 0 ? v : 0, but NaN for NaN */
INLINE REAL T(rectify)(REAL v) { return v <= 0 ? 0 : v; }

typedef struct {
    ptrdiff_t count;
    const REAL *a, *b;
    REAL *y;
    int relu;
} T(each_job);

/* The first number of a slice; *n: how many it has. */
INLINE ptrdiff_t T(slice)(ptrdiff_t count, ptrdiff_t task, ptrdiff_t *n) {
    ptrdiff_t start = task * SLICE;
    *n = count - start < SLICE ? count - start : SLICE;
    return start;
}

static void T(relu_task)(void *job, ptrdiff_t task) {
    const T(each_job) *q = job;
    ptrdiff_t n, start = T(slice)(q->count, task, &n);
    const REAL *x = q->a + start;
    REAL *y = q->y + start;
    ptrdiff_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        VEC v[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            v[k] = LOAD(x + i + k * VL);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            STORE(y + i + k * VL, (VEC)((MASK)v[k] & ~(v[k] <= 0)));
    }
    for (; i < n; i++)
        y[i] = T(rectify)(x[i]);
}

static void T(relu_input_grad_task)(void *job, ptrdiff_t task) {
    const T(each_job) *q = job;
    ptrdiff_t n, start = T(slice)(q->count, task, &n);
    const REAL *y = q->a + start, *dy = q->b + start;
    REAL *dx = q->y + start;
    ptrdiff_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        VEC v[4], d[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            v[k] = LOAD(y + i + k * VL);
            d[k] = LOAD(dy + i + k * VL);
        }
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            STORE(dx + i + k * VL, (VEC)((MASK)d[k] & (v[k] > 0)));
    }
    for (; i < n; i++) {
        REAL d = dy[i];
        dx[i] = y[i] > 0 ? d : 0; /* chosen, not multiplied: 0 * inf is NaN */
    }
}

static void T(add_task)(void *job, ptrdiff_t task) {
    const T(each_job) *q = job;
    ptrdiff_t n, start = T(slice)(q->count, task, &n);
    const REAL *a = q->a + start, *b = q->b + start;
    REAL *y = q->y + start;
    if (q->relu)
        ANY_ORDER for (ptrdiff_t i = 0; i < n; i++)
            y[i] = T(rectify)(a[i] + b[i]);
    else
        ANY_ORDER for (ptrdiff_t i = 0; i < n; i++)
            y[i] = a[i] + b[i];
}

/* y = relu(x) */
static void T(relu)(ptrdiff_t count, const void *x, void *y, int threads) {
    T(each_job) q = {count, x, NULL, y, 0};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, T(relu_task), &q);
}

/* dx = dy where y > 0, else 0 */
static void T(relu_input_grad)(ptrdiff_t count, const void *y, const void *dy, void *dx, int threads) {
    T(each_job) q = {count, y, dy, dx, 0};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, T(relu_input_grad_task), &q);
}

/* y = a + b, or relu(a + b) */
static void T(add)(ptrdiff_t count, const void *a, const void *b, void *y, int relu, int threads) {
    T(each_job) q = {count, a, b, y, relu};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, T(add_task), &q);
}
