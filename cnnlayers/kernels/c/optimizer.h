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

/* A task's slice of the arrays. */
typedef struct {
    ptrdiff_t n;
    REAL *w;
    const REAL *g;
    REAL *m, *v;
} StepSlice;

INLINE StepSlice step_slice(const StepJob *q, ptrdiff_t task) {
    ptrdiff_t n, start = slice(q->count, task, &n);
    return (StepSlice){n, q->w + start, q->g + start, q->m ? q->m + start : NULL, q->v ? q->v + start : NULL};
}

/* g + decay w; `decays` is a constant where this is inlined, so that no test stays in a loop. */
INLINE REAL decayed(int decays, REAL decay, REAL w, REAL g) { return decays ? decay * w + g : g; }

INLINE void sgd_slice(int decays, const StepJob *q, StepSlice s) {
    REAL *w = s.w, *v = s.v, lr = q->lr, decay = q->decay, momentum = q->momentum;
    const REAL *g = s.g;
    if (!v) {
        FOR_EACH(i, s.n)
            w[i] -= lr * decayed(decays, decay, w[i], g[i]);
    } else if (q->nesterov) {
        FOR_EACH(i, s.n) {
            REAL d = decayed(decays, decay, w[i], g[i]), u = momentum * v[i] + d;
            v[i] = u;
            w[i] -= lr * (momentum * u + d);
        }
    } else {
        FOR_EACH(i, s.n) {
            REAL d = decayed(decays, decay, w[i], g[i]), u = momentum * v[i] + d;
            v[i] = u;
            w[i] -= lr * u;
        }
    }
}

static void sgd_task(void *job, ptrdiff_t task) {
    const StepJob *q = job;
    if (q->decay != 0)
        sgd_slice(1, q, step_slice(q, task));
    else
        sgd_slice(0, q, step_slice(q, task));
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

INLINE void rmsprop_slice(int decays, const StepJob *q, StepSlice s) {
    REAL *w = s.w, *v = s.v, lr = q->lr, decay = q->decay, keep = q->keep, take = q->take, eps = q->eps;
    const REAL *g = s.g;
    FOR_EACH(i, s.n) {
        REAL d = decayed(decays, decay, w[i], g[i]), square = keep * v[i];
        square += take * d * d;
        v[i] = square;
        w[i] -= lr * d / (SQRT(square) + eps);
    }
}

static void rmsprop_task(void *job, ptrdiff_t task) {
    const StepJob *q = job;
    if (q->decay != 0)
        rmsprop_slice(1, q, step_slice(q, task));
    else
        rmsprop_slice(0, q, step_slice(q, task));
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

INLINE void adagrad_slice(int decays, const StepJob *q, StepSlice s) {
    REAL *w = s.w, *v = s.v, lr = q->lr, decay = q->decay, eps = q->eps;
    const REAL *g = s.g;
    FOR_EACH(i, s.n) {
        REAL d = decayed(decays, decay, w[i], g[i]), square = v[i] + d * d;
        v[i] = square;
        w[i] -= lr * d / (SQRT(square) + eps);
    }
}

static void adagrad_task(void *job, ptrdiff_t task) {
    const StepJob *q = job;
    if (q->decay != 0)
        adagrad_slice(1, q, step_slice(q, task));
    else
        adagrad_slice(0, q, step_slice(q, task));
}

/* s = s + d^2, w = w - lr d / (sqrt(s) + eps) */
static void adagrad(ptrdiff_t count, void *w, const void *g, void *s, double lr, double eps, double decay,
                    int threads) {
    StepJob q = {.count = count, .w = w, .g = g, .v = s, .lr = (REAL)lr, .eps = (REAL)eps, .decay = (REAL)decay};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, adagrad_task, &q);
}

INLINE void adam_slice(int decays, const StepJob *q, StepSlice s) {
    REAL *w = s.w, *m = s.m, *v = s.v, lr = q->lr, decay = q->decay, shrink = q->shrink;
    REAL keep = q->keep, take = q->take, keep_m = q->keep_m, take_m = q->take_m, correction = q->correction,
         eps = q->eps;
    const REAL *g = s.g;
    FOR_EACH(i, s.n) {
        REAL d = decayed(decays, decay, w[i], g[i]), mean = keep_m * m[i];
        mean += take_m * d;
        m[i] = mean;
        REAL square = keep * v[i];
        square += take * d * d;
        v[i] = square;
        w[i] = shrink * w[i] - lr * mean / (SQRT(square / correction) + eps);
    }
}

static void adam_task(void *job, ptrdiff_t task) {
    const StepJob *q = job;
    if (q->decay != 0)
        adam_slice(1, q, step_slice(q, task));
    else
        adam_slice(0, q, step_slice(q, task));
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
