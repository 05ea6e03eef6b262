/* The activations beside ReLU, number by number: y = f(x) and dx = f'(x) dy, one threaded pass each.

   f sees a vector; the functions are those of vmath.h. A task's last numbers, fewer than a vector, go through the same
   code on a copy: so a number's result does not depend on its place in the array. What a gradient reads beside dy is y
   where f' is simple in y (Sigmoid, Tanh), else x. At infinity each has its limit: x is bounded where inf * 0 would be
   NaN. */
typedef struct {
    ptrdiff_t count;
    const REAL *a, *dy; /* a: x, or y */
    REAL *result;
    REAL alpha;
} T(activation_job);

typedef VEC (*T(formula))(VEC a, VEC dy, REAL alpha);

/* ---- y from x ---- */

INLINE VEC T(leaky_relu)(VEC x, VEC dy, REAL alpha) { return T(pick)(x > 0, x, alpha * x); }

INLINE VEC T(sigmoid)(VEC x, VEC dy, REAL alpha) {
    VEC rest;
    return T(logistic)(x, &rest);
}

INLINE VEC T(tanh)(VEC x, VEC dy, REAL alpha) { return T(tanh_of)(x); }

/* x, or alpha (exp(x) - 1) for x <= 0 */
INLINE VEC T(elu)(VEC x, VEC dy, REAL alpha) {
    VEC below = T(pick)(x > 0, (VEC){0}, x);
    return T(pick)(x > 0, x, alpha * T(with_sign)(T(expm1_below)(below), below)); /* -0 for -0 */
}

/* x P(X <= x), X standard normal: with a = |x|, that is x - a P(X > a) from 0 on and -a P(X > a) below. */
INLINE VEC T(gelu)(VEC x, VEC dy, REAL alpha) {
    VEC a, e, tail = T(normal_tail)(x, &a, &e);
    return T(pick)(x < 0, -(VEC){0}, x) - a * tail; /* -0 for -0 */
}

/* u and du/dx: GELU's approximation 0.5 x (1 + tanh u), which is x logistic(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
   exp makes 2 |u| times the rounding of u: far below 0, where y is next to nothing, that costs some digits. */
INLINE VEC T(gelu_argument)(VEC x, VEC *slope) {
    const REAL root = (REAL)0.7978845608028653559, cubic = (REAL)0.044715;
    VEC square = x * x;
    *slope = root * (1 + 3 * cubic * square);
    return root * x * (1 + cubic * square);
}

INLINE VEC T(gelu_tanh)(VEC x, VEC dy, REAL alpha) {
    VEC slope, rest, u = T(gelu_argument)(T(clamp)(x, -NUMBER(ones)), &slope);
    return T(at_least)(x, -NUMBER(most)) * T(logistic)(2 * u, &rest);
}

/* x logistic(x) */
INLINE VEC T(silu)(VEC x, VEC dy, REAL alpha) {
    VEC rest;
    return T(at_least)(x, -NUMBER(most)) * T(logistic)(x, &rest);
}

/* ---- dx from x or y, and dy ---- */

INLINE VEC T(leaky_relu_grad)(VEC x, VEC dy, REAL alpha) { return T(pick)(x > 0, dy, alpha * dy); }

INLINE VEC T(sigmoid_grad)(VEC y, VEC dy, REAL alpha) { return y * (1 - y) * dy; }

INLINE VEC T(tanh_grad)(VEC y, VEC dy, REAL alpha) { return (1 - y * y) * dy; }

INLINE VEC T(elu_grad)(VEC x, VEC dy, REAL alpha) {
    return T(pick)(x > 0, dy, alpha * T(exp_below)(T(pick)(x > 0, (VEC){0}, x)) * dy);
}

/* P(X <= x) + x density(x) */
INLINE VEC T(gelu_grad)(VEC x, VEC dy, REAL alpha) {
    VEC density, p = T(normal)(x, &density);
    return (p + T(clamp)(x, NUMBER(most)) * density) * dy;
}

/* s + x s (1 - s) 2 du/dx, s = logistic(2 u) */
INLINE VEC T(gelu_tanh_grad)(VEC x, VEC dy, REAL alpha) {
    VEC bounded = T(clamp)(x, -NUMBER(ones)), slope, rest;
    VEC s = T(logistic)(2 * T(gelu_argument)(bounded, &slope), &rest);
    return (s + bounded * s * rest * 2 * slope) * dy;
}

/* s (1 + x (1 - s)), s = logistic(x) */
INLINE VEC T(silu_grad)(VEC x, VEC dy, REAL alpha) {
    VEC rest, s = T(logistic)(x, &rest);
    return s * (1 + T(clamp)(x, NUMBER(most)) * rest) * dy;
}

/* ---- passes ---- */

/* The first `count` numbers of a vector; the others are 0. */
INLINE VEC T(load_first)(const REAL *from, ptrdiff_t count) {
    VEC v = {0};
    if (count >= VL)
        return LOAD(from);
    memcpy(&v, from, (size_t)count * sizeof(REAL));
    return v;
}

INLINE void T(store_first)(REAL *to, VEC v, ptrdiff_t count) {
    if (count >= VL)
        STORE(to, v);
    else
        memcpy(to, &v, (size_t)count * sizeof(REAL));
}

INLINE void T(apply)(const T(activation_job) * q, ptrdiff_t task, T(formula) f, int backward) {
    ptrdiff_t n, start = T(slice)(q->count, task, &n);
    const REAL *a = q->a + start, *dy = backward ? q->dy + start : a;
    REAL *result = q->result + start, alpha = q->alpha;
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL)
        STORE(result + i, f(LOAD(a + i), LOAD(dy + i), alpha));
    if (i < n)
        T(store_first)(result + i, f(T(load_first)(a + i, n - i), T(load_first)(dy + i, n - i), alpha), n - i);
}

#define TASK(name, backward)                                                                                        \
    static void T(name##_task)(void *job, ptrdiff_t task) { T(apply)(job, task, T(name), backward); }
TASK(leaky_relu, 0)
TASK(sigmoid, 0)
TASK(tanh, 0)
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
static void T(activation)(int kind, ptrdiff_t count, const void *x, void *y, double alpha, int threads) {
    static const cnn_task tasks[] = {
        [CNN_LEAKY_RELU] = T(leaky_relu_task), [CNN_SIGMOID] = T(sigmoid_task), [CNN_TANH] = T(tanh_task),
        [CNN_ELU] = T(elu_task),               [CNN_GELU] = T(gelu_task),       [CNN_GELU_TANH] = T(gelu_tanh_task),
        [CNN_SILU] = T(silu_task)};
    T(activation_job) q = {count, x, NULL, y, (REAL)alpha};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, tasks[kind], &q);
}

/* dx = f'(x) dy; a is y for Sigmoid and Tanh, else x. */
static void T(activation_grad)(int kind, ptrdiff_t count, const void *a, const void *dy, void *dx, double alpha,
                               int threads) {
    static const cnn_task tasks[] = {
        [CNN_LEAKY_RELU] = T(leaky_relu_grad_task), [CNN_SIGMOID] = T(sigmoid_grad_task),
        [CNN_TANH] = T(tanh_grad_task),             [CNN_ELU] = T(elu_grad_task),
        [CNN_GELU] = T(gelu_grad_task),             [CNN_GELU_TANH] = T(gelu_tanh_grad_task),
        [CNN_SILU] = T(silu_grad_task)};
    T(activation_job) q = {count, a, dy, dx, (REAL)alpha};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, tasks[kind], &q);
}
