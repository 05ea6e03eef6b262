/* Optimiser steps: one pass over a stretch of the flat arrays of parameters w, gradients g and state, in place.

   The formulas are those of optimizers.py; there each operation is a pass over a block of its own. Numbers that are the
   same for all parameters come in double and are rounded to REAL once. No decay is no operation: 0 * inf is NaN. */
#pragma once

#include "elementwise.h"
#include "parallel.h"

typedef struct {
    ptrdiff_t count;
    REAL *w;
    const REAL *g;
    REAL *m, *v; /* state, or NULL */
    REAL lr, decay, momentum, keep, take, keep_m, take_m, correction, eps, shrink;
    int nesterov;
} StepJob;

/* The slice of a task: n numbers of each array. */
#define OPEN_SLICE                                                                                                     \
    const StepJob *q = job;                                                                                            \
    ptrdiff_t n, start = slice(q->count, task, &n);                                                                    \
    REAL *w = q->w + start;                                                                                            \
    const REAL *g = q->g + start, lr = q->lr, decay = q->decay

/* g + decay * w: a loop for each case, since a test within would stay in the loop. */
#define DECAYED (decay * w[i] + g[i])
#define FOR_DECAY(body)                                                                                                \
    if (decay != 0)                                                                                                    \
        FOR_EACH(i, n) {                                                                                               \
            REAL d = DECAYED;                                                                                          \
            body                                                                                                       \
        }                                                                                                              \
    else                                                                                                               \
        FOR_EACH(i, n) {                                                                                               \
            REAL d = g[i];                                                                                             \
            body                                                                                                       \
        }

static void sgd_task(void *job, ptrdiff_t task) {
    OPEN_SLICE;
    REAL *v = q->v ? q->v + start : NULL, momentum = q->momentum;
    if (!v) {
        FOR_DECAY(w[i] -= lr * d;)
    } else if (q->nesterov) {
        FOR_DECAY(REAL u = momentum * v[i] + d; v[i] = u; w[i] -= lr * (momentum * u + d);)
    } else {
        FOR_DECAY(REAL u = momentum * v[i] + d; v[i] = u; w[i] -= lr * u;)
    }
}

/* v = momentum v + d, w = w - lr v (nesterov: w - lr (d + momentum v)), d = g + decay w; without v: w = w - lr d. */
static void sgd(ptrdiff_t count, void *w, const void *g, void *v, double lr, double momentum, int nesterov,
                double decay, int threads) {
    StepJob q = {.count = count,
                 .w = w,
                 .g = g,
                 .v = v,
                 .lr = (REAL)lr,
                 .momentum = (REAL)momentum,
                 .decay = (REAL)decay,
                 .nesterov = nesterov};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, sgd_task, &q);
}

static void rmsprop_task(void *job, ptrdiff_t task) {
    OPEN_SLICE;
    REAL *s = q->v + start, keep = q->keep, take = q->take, eps = q->eps;
    FOR_DECAY(REAL t = keep * s[i]; t += take * d * d; s[i] = t; w[i] -= lr * d / (SQRT(t) + eps);)
}

/* s = alpha s + (1 - alpha) d^2, w = w - lr d / (sqrt(s) + eps) */
static void rmsprop(ptrdiff_t count, void *w, const void *g, void *s, double lr, double alpha, double eps, double decay,
                    int threads) {
    StepJob q = {.count = count,
                 .w = w,
                 .g = g,
                 .v = s,
                 .lr = (REAL)lr,
                 .keep = (REAL)alpha,
                 .take = (REAL)(1 - alpha),
                 .eps = (REAL)eps,
                 .decay = (REAL)decay};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, rmsprop_task, &q);
}

static void adagrad_task(void *job, ptrdiff_t task) {
    OPEN_SLICE;
    REAL *s = q->v + start, eps = q->eps;
    FOR_DECAY(REAL t = s[i] + d * d; s[i] = t; w[i] -= lr * d / (SQRT(t) + eps);)
}

/* s = s + d^2, w = w - lr d / (sqrt(s) + eps) */
static void adagrad(ptrdiff_t count, void *w, const void *g, void *s, double lr, double eps, double decay,
                    int threads) {
    StepJob q = {.count = count, .w = w, .g = g, .v = s, .lr = (REAL)lr, .eps = (REAL)eps, .decay = (REAL)decay};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, adagrad_task, &q);
}

static void adam_task(void *job, ptrdiff_t task) {
    OPEN_SLICE;
    REAL *m = q->m + start, *v = q->v + start, keep = q->keep, take = q->take, keep_m = q->keep_m, take_m = q->take_m;
    REAL correction = q->correction, eps = q->eps, shrink = q->shrink;
    FOR_DECAY(REAL mean = keep_m * m[i]; mean += take_m * d; m[i] = mean; REAL square = keep * v[i];
              square += take * d * d; v[i] = square;
              w[i] = shrink * w[i] - lr * mean / (SQRT(square / correction) + eps);)
}

/* m = beta1 m + (1 - beta1) d, v = beta2 v + (1 - beta2) d^2,
   w = w - (lr / correction1) m / (sqrt(v / correction2) + eps), correction1 = 1 - beta1^t, correction2 = 1 - beta2^t.
   decoupled (AdamW): d = g, and w = (1 - lr decay) w before. */
static void adam(ptrdiff_t count, void *w, const void *g, void *m, void *v, double lr, double beta1, double beta2,
                 double eps, double correction1, double correction2, double decay, int decoupled, int threads) {
    StepJob q = {.count = count,
                 .w = w,
                 .g = g,
                 .m = m,
                 .v = v,
                 .lr = (REAL)(lr / correction1),
                 .keep_m = (REAL)beta1,
                 .take_m = (REAL)(1 - beta1),
                 .keep = (REAL)beta2,
                 .take = (REAL)(1 - beta2),
                 .correction = (REAL)correction2,
                 .eps = (REAL)eps,
                 .decay = decoupled ? 0 : (REAL)decay,
                 .shrink = decoupled ? (REAL)(1 - lr * decay) : 1};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, adam_task, &q);
}
#undef DECAYED
#undef FOR_DECAY
#undef OPEN_SLICE
