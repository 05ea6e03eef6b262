/* The activations other than ReLU, element by element: y = f(x) and dx = f'(x) dy, one threaded pass each.

   f sees a vector; the functions are those of vmath.h. A task's last elements, fewer than a vector, go through the
   same code on a copy: so an element's result does not depend on its place in the array. What a gradient reads
   besides dy is y where f' is simple in y (Sigmoid, Tanh), else x. At infinity each has its limit: x is bounded
   where inf * 0 would be NaN. */
#pragma once

#include "elementwise.h"
#include "parallel.h"
#include "table.h"
#include "vmath.h"

#define CURVE_SLICE 8192 /* elements of a task: each is more work than in elementwise.h; one image has several */

typedef struct {
    ptrdiff_t count;
    const REAL *a, *dy; /* a: x, or y */
    REAL *result;
    REAL alpha;
} ActivationJob;

typedef Vec (*Formula)(Vec a, Vec dy, REAL alpha);

/* ---- y from x ---- */

INLINE Vec leaky_relu(Vec x, Vec dy, REAL alpha) { return pick(x > 0, x, alpha * x); }

INLINE Vec sigmoid(Vec x, Vec dy, REAL alpha) {
    Vec rest;
    return logistic(x, &rest);
}

INLINE Vec tanh_activation(Vec x, Vec dy, REAL alpha) { return tanh_of(x); }

/* x, or alpha (exp(x) - 1) for x <= 0 */
INLINE Vec elu(Vec x, Vec dy, REAL alpha) {
    Vec below = pick(x > 0, (Vec){0}, x);
    return pick(x > 0, x, alpha * with_sign(expm1_below(below), below)); /* -0 for -0 */
}

/* x P(X <= x), X standard normal: with a = |x|, that is x - a P(X > a) from 0 on and -a P(X > a) below. */
INLINE Vec gelu(Vec x, Vec dy, REAL alpha) {
    Vec a, e, tail = normal_tail(x, &a, &e);
    return pick(x < 0, -(Vec){0}, x) - a * tail; /* -0 for -0 */
}

/* u and du/dx: GELU's approximation 0.5 x (1 + tanh u), which is x logistic(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
   exp makes 2 |u| times the rounding of u: far below 0, where y is next to nothing, that costs some digits. */
INLINE Vec gelu_argument(Vec x, Vec *slope) {
    const REAL root = (REAL)0.7978845608028653559, cubic = (REAL)0.044715;
    Vec square = x * x;
    *slope = root * (1 + 3 * cubic * square);
    return root * x * (1 + cubic * square);
}

INLINE Vec gelu_tanh(Vec x, Vec dy, REAL alpha) {
    Vec slope, rest, u = gelu_argument(clamp(x, -vmath.ones), &slope);
    return at_least(x, -vmath.most) * logistic(2 * u, &rest);
}

/* x logistic(x) */
INLINE Vec silu(Vec x, Vec dy, REAL alpha) {
    Vec rest;
    return at_least(x, -vmath.most) * logistic(x, &rest);
}

/* ---- dx from x or y, and dy ---- */

INLINE Vec leaky_relu_grad(Vec x, Vec dy, REAL alpha) { return pick(x > 0, dy, alpha * dy); }

INLINE Vec sigmoid_grad(Vec y, Vec dy, REAL alpha) { return y * (1 - y) * dy; }

INLINE Vec tanh_grad(Vec y, Vec dy, REAL alpha) { return (1 - y * y) * dy; }

INLINE Vec elu_grad(Vec x, Vec dy, REAL alpha) {
    return pick(x > 0, dy, alpha * exp_below(pick(x > 0, (Vec){0}, x)) * dy);
}

/* P(X <= x) + x density(x) */
INLINE Vec gelu_grad(Vec x, Vec dy, REAL alpha) {
    Vec density, p = normal(x, &density);
    return (p + clamp(x, vmath.most) * density) * dy;
}

/* s + x s (1 - s) 2 du/dx, s = logistic(2 u) */
INLINE Vec gelu_tanh_grad(Vec x, Vec dy, REAL alpha) {
    Vec bounded = clamp(x, -vmath.ones), slope, rest;
    Vec s = logistic(2 * gelu_argument(bounded, &slope), &rest);
    return (s + bounded * s * rest * 2 * slope) * dy;
}

/* s (1 + x (1 - s)), s = logistic(x) */
INLINE Vec silu_grad(Vec x, Vec dy, REAL alpha) {
    Vec rest, s = logistic(x, &rest);
    return s * (1 + clamp(x, vmath.most) * rest) * dy;
}

/* ---- passes ---- */

/* result[i] = f(a[i], dy[i]); it may be a or dy. */
INLINE void apply(Formula f, ptrdiff_t n, const REAL *a, const REAL *dy, REAL alpha, REAL *result) {
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL)
        STORE(result + i, f(LOAD(a + i), LOAD(dy + i), alpha));
    if (i < n)
        store_first(result + i, f(load_first(a + i, n - i), load_first(dy + i, n - i), alpha), n - i);
}

INLINE void apply_to_slice(const ActivationJob *q, ptrdiff_t task, Formula f, int backward) {
    ptrdiff_t n, start = slice_of(CURVE_SLICE, q->count, task, &n);
    const REAL *a = q->a + start;
    apply(f, n, a, backward ? q->dy + start : a, q->alpha, q->result + start);
}

#define TASK(name, backward)                                                                                           \
    static void name##_task(void *job, ptrdiff_t task) { apply_to_slice(job, task, name, backward); }
TASK(leaky_relu, 0)
TASK(sigmoid, 0)
TASK(tanh_activation, 0)
TASK(elu, 0)
TASK(gelu, 0)
TASK(gelu_tanh, 0)
TASK(silu, 0)
TASK(leaky_relu_grad, 1)
TASK(sigmoid_grad, 1)
TASK(tanh_grad, 1)
TASK(elu_grad, 1)
TASK(gelu_grad, 1)
TASK(gelu_tanh_grad, 1)
TASK(silu_grad, 1)
#undef TASK

/* y = f(x) */
static void activation(int kind, ptrdiff_t count, const void *x, void *y, double alpha, int threads) {
    static const cnn_task tasks[] = {[CNN_LEAKY_RELU] = leaky_relu_task,
                                     [CNN_SIGMOID] = sigmoid_task,
                                     [CNN_TANH] = tanh_activation_task,
                                     [CNN_ELU] = elu_task,
                                     [CNN_GELU] = gelu_task,
                                     [CNN_GELU_TANH] = gelu_tanh_task,
                                     [CNN_SILU] = silu_task};
    ActivationJob q = {count, x, NULL, y, (REAL)alpha};
    cnn_parallel((count + CURVE_SLICE - 1) / CURVE_SLICE, threads, tasks[kind], &q);
}

/* dx = f'(x) dy; a is y for Sigmoid and Tanh, else x. */
static void activation_grad(int kind, ptrdiff_t count, const void *a, const void *dy, void *dx, double alpha,
                            int threads) {
    static const cnn_task tasks[] = {[CNN_LEAKY_RELU] = leaky_relu_grad_task,
                                     [CNN_SIGMOID] = sigmoid_grad_task,
                                     [CNN_TANH] = tanh_grad_task,
                                     [CNN_ELU] = elu_grad_task,
                                     [CNN_GELU] = gelu_grad_task,
                                     [CNN_GELU_TANH] = gelu_tanh_grad_task,
                                     [CNN_SILU] = silu_grad_task};
    ActivationJob q = {count, a, dy, dx, (REAL)alpha};
    cnn_parallel((count + CURVE_SLICE - 1) / CURVE_SLICE, threads, tasks[kind], &q);
}
