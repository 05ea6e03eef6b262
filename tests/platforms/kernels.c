/* The kernels against plain loops, on every level that the processor runs, without Python: for systems that are reached
   by a cross compiler.

       kernels [LEVEL | thread-ends]

   Inputs are small multiples of 1/8, so that what is made of sums and products alone must be equal to the last bit, in
   float too. Every kernel is called on 1, 2, 3 and 7 threads and must give the same bits. Arrays begin at odd addresses
   of their type, and lie between guards that must not change. A line for each group of checks, and their sum at the
   end; the exit status is 1 if any failed. */
#include "dispatch.h"
#include "memory.h"
#include "parallel.h"
#include "scratch.h"
#include "system.h"

#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- counting ---- */

static const cnn_kernels *k; /* the table that is tested, */
static int wide;             /* of doubles */
static int passed, failed, group_passed, group_failed;

static void check(int right, const char *what, ...) {
    group_passed += right;
    group_failed += !right;
    if (right || group_failed > 3)
        return;
    va_list arguments;
    va_start(arguments, what);
    fputs("  FAILED: ", stdout);
    vprintf(what, arguments);
    putchar('\n');
    va_end(arguments);
}

static void end_group(const char *level, const char *name) {
    printf("%-8s  %-6s  %-28s  %6d passed, %d failed\n", level, k ? wide ? "double" : "float" : "", name, group_passed,
           group_failed);
    fflush(stdout);
    passed += group_passed;
    failed += group_failed;
    group_passed = group_failed = 0;
}

/* ---- arrays ---- */

enum { GUARD = 128, MOST_ARRAYS = 64 };

static struct {
    unsigned char *memory, *begin, *end;
} arrays[MOST_ARRAYS];
static int n_arrays;

/* Room for `bytes` at an address that only `alignment` divides, in guards of 0xA5; it holds 0xFF, NaN in floats. */
static void *room(ptrdiff_t bytes, size_t alignment) {
    unsigned char *memory = cnn_aligned(64, (size_t)bytes + 3 * GUARD);
    if (!memory || n_arrays == MOST_ARRAYS) {
        puts("no memory for the arrays of a test");
        exit(2);
    }
    unsigned char *here = memory + GUARD + alignment;
    memset(memory, 0xA5, (size_t)bytes + 3 * GUARD);
    memset(here, 0xFF, (size_t)bytes);
    arrays[n_arrays].memory = memory;
    arrays[n_arrays].begin = here;
    arrays[n_arrays++].end = here + bytes;
    return here;
}

static size_t item(void) { return wide ? sizeof(double) : sizeof(float); }
static void *numbers(ptrdiff_t count) { return room(count * (ptrdiff_t)item(), item()); }
static double *doubles(ptrdiff_t count) { return room(count * (ptrdiff_t)sizeof(double), sizeof(double)); }
static double at(const void *a, ptrdiff_t i) { return wide ? ((const double *)a)[i] : (double)((const float *)a)[i]; }

static void *numbers_of(const double *from, ptrdiff_t count) {
    void *to = numbers(count);
    for (ptrdiff_t i = 0; i < count; i++)
        if (wide)
            ((double *)to)[i] = from[i];
        else
            ((float *)to)[i] = (float)from[i];
    return to;
}

static uint64_t state = 1;

/* -1, -7/8 .. 1 */
static double draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)((int)(state >> 33) % 17 - 8) / 8;
}

static double *drawn(ptrdiff_t count) {
    double *a = doubles(count);
    for (ptrdiff_t i = 0; i < count; i++)
        a[i] = draw();
    return a;
}

static double *zeros(ptrdiff_t count) {
    double *a = doubles(count);
    for (ptrdiff_t i = 0; i < count; i++)
        a[i] = 0;
    return a;
}

/* The end of a case: no kernel wrote beside its arrays. */
static void free_arrays(const char *what) {
    int kept = 1;
    for (int i = 0; i < n_arrays; i++) {
        for (int j = 0; j < GUARD; j++)
            kept = kept && arrays[i].begin[-1 - j] == 0xA5 && arrays[i].end[j] == 0xA5;
        cnn_aligned_free(arrays[i].memory);
    }
    n_arrays = 0;
    check(kept, "%s wrote beside an array", what);
}

/* Whether each is within a share of the largest; none if that is 0. */
static void compare(const char *what, const void *got, const double *expected, ptrdiff_t count, double in_float,
                    double in_double) {
    double most = 0, worst = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        most = fmax(most, fabs(expected[i]));
    for (ptrdiff_t i = 0; i < count; i++) {
        double error = fabs(at(got, i) - expected[i]);
        worst = error <= worst ? worst : isnan(error) ? INFINITY : error;
    }
    check(worst <= (wide ? in_double : in_float) * fmax(most, 1), "%s is off by %g, the largest being %g", what, worst,
          most);
}

static void equal(const char *what, const void *got, const double *expected, ptrdiff_t count) {
    compare(what, got, expected, count, 0, 0);
}

static const int THREADS[] = {1, 2, 3, 7};

/* Call a kernel on each number of threads, for a result y of that many numbers, whose bits must be the same. */
#define ON_THREADS(what, threads, y, count, call)                                                                      \
    do {                                                                                                               \
        const void *alone_ = NULL;                                                                                     \
        for (int turn_ = 0; turn_ < 4; turn_++) {                                                                      \
            threads = THREADS[turn_];                                                                                  \
            y = numbers(count);                                                                                        \
            int status_ = (call, 0);                                                                                   \
            (void)status_;                                                                                             \
            if (alone_)                                                                                                \
                check(memcmp(alone_, y, (size_t)(count) * item()) == 0, "%s has other bits on %d threads", what,       \
                      threads);                                                                                        \
            else                                                                                                       \
                alone_ = y;                                                                                            \
        }                                                                                                              \
    } while (0)

static void done(int status, const char *what) { check(status == 0, "%s gave %d", what, status); }

/* ---- convolutions ---- */

typedef struct {
    ptrdiff_t h, w, kh, kw, sh, sw, dh, dw, top, bottom, left, right;
} Geometry;

static const Geometry GEOMETRIES[] = {
    {6, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},  /* 3 x 3, "same" */
    {7, 5, 3, 2, 1, 1, 1, 1, 0, 1, 2, 0},  /* neither kernel nor image nor padding is square */
    {9, 8, 3, 3, 2, 3, 1, 1, 1, 0, 0, 2},  /* strides that do not divide */
    {9, 9, 2, 3, 1, 2, 3, 2, 1, 2, 3, 1},  /* dilated */
    {5, 6, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},  /* a pixel */
    {6, 6, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0},  /* and every other */
    {4, 4, 4, 4, 1, 1, 1, 1, 0, 0, 0, 0},  /* the whole image */
    {3, 3, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2},  /* more than it */
    {1, 19, 1, 3, 1, 2, 1, 1, 0, 0, 1, 1}, /* a signal */
    {12, 11, 5, 3, 1, 1, 1, 1, 2, 2, 1, 1},
};

static cnn_conv convolution(const Geometry *g, ptrdiff_t n, ptrdiff_t c, ptrdiff_t f, ptrdiff_t groups) {
    cnn_conv s = {.n = n, .h = g->h, .w = g->w, .c = c, .f = f, .kh = g->kh, .kw = g->kw, .groups = groups};
    s.sh = g->sh, s.sw = g->sw, s.dh = g->dh, s.dw = g->dw, s.top = g->top, s.left = g->left;
    s.oh = (g->h + g->top + g->bottom - (g->kh - 1) * g->dh - 1) / g->sh + 1;
    s.ow = (g->w + g->left + g->right - (g->kw - 1) * g->dw - 1) / g->sw + 1;
    s.threads = 1;
    return s;
}

/* Each product x W that y sums: what it is in y, dx and dW. */
static void loop_conv(const cnn_conv *s, const double *x, const double *W, const double *b, const double *dy, double *y,
                      double *dx, double *dW, double *db) {
    ptrdiff_t c = s->c / s->groups, f = s->f / s->groups;
    for (ptrdiff_t n = 0; n < s->n; n++)
        for (ptrdiff_t oy = 0; oy < s->oh; oy++)
            for (ptrdiff_t ox = 0; ox < s->ow; ox++)
                for (ptrdiff_t o = 0; o < s->f; o++) {
                    ptrdiff_t here = ((n * s->oh + oy) * s->ow + ox) * s->f + o;
                    y[here] += b[o];
                    db[o] += dy[here];
                    for (ptrdiff_t ky = 0; ky < s->kh; ky++)
                        for (ptrdiff_t kx = 0; kx < s->kw; kx++)
                            for (ptrdiff_t i = 0; i < c; i++) {
                                ptrdiff_t iy = oy * s->sh + ky * s->dh - s->top;
                                ptrdiff_t ix = ox * s->sw + kx * s->dw - s->left;
                                if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w)
                                    continue;
                                ptrdiff_t from = ((n * s->h + iy) * s->w + ix) * s->c + o / f * c + i;
                                ptrdiff_t by = ((ky * s->kw + kx) * c + i) * s->f + o;
                                y[here] += x[from] * W[by];
                                dx[from] += dy[here] * W[by];
                                dW[by] += dy[here] * x[from];
                            }
                }
}

typedef struct {
    ptrdiff_t nx, nW, ny;
    double *y, *dx, *dW, *db; /* by loops */
    void *x, *W, *b, *dy;     /* for the kernels */
} Operands;

static Operands operands(const cnn_conv *s) {
    Operands o = {.nx = s->n * s->h * s->w * s->c,
                  .nW = s->kh * s->kw * (s->c / s->groups) * s->f,
                  .ny = s->n * s->oh * s->ow * s->f};
    double *x = drawn(o.nx), *W = drawn(o.nW), *b = drawn(s->f), *dy = drawn(o.ny);
    o.y = zeros(o.ny), o.dx = zeros(o.nx), o.dW = zeros(o.nW), o.db = zeros(s->f);
    loop_conv(s, x, W, b, dy, o.y, o.dx, o.dW, o.db);
    o.x = numbers_of(x, o.nx), o.W = numbers_of(W, o.nW), o.b = numbers_of(b, s->f), o.dy = numbers_of(dy, o.ny);
    return o;
}

static void direct_case(cnn_conv s, int with_bias) {
    Operands o = operands(&s);
    void *y, *dx, *dW, *db = with_bias ? numbers(s.f) : NULL;
    ON_THREADS("direct_forward", s.threads, y, o.ny, done(k->direct_forward(&s, o.x, o.W, o.b, NULL, y), "it"));
    equal("direct_forward", y, o.y, o.ny);
    void *ready = numbers(k->direct_packed(&s));
    done(k->direct_pack(&s, o.W, o.b, ready), "direct_pack");
    y = numbers(o.ny);
    s.relu = 1;
    done(k->direct_forward(&s, o.x, o.W, o.b, ready, y), "direct_forward");
    s.relu = 0;
    for (ptrdiff_t i = 0; i < o.ny; i++)
        o.y[i] = fmax(o.y[i], 0);
    equal("direct_forward with packed weights and ReLU", y, o.y, o.ny);
    ON_THREADS("direct_input_grad", s.threads, dx, o.nx, done(k->direct_input_grad(&s, o.dy, o.W, dx), "it"));
    equal("direct_input_grad", dx, o.dx, o.nx);
    ON_THREADS("direct_weight_grad", s.threads, dW, o.nW, done(k->direct_weight_grad(&s, o.x, o.dy, dW, db), "it"));
    equal("direct_weight_grad", dW, o.dW, o.nW);
    if (db)
        equal("its db", db, o.db, s.f);
    free_arrays("a direct convolution");
}

static const ptrdiff_t CHANNELS[] = {1, 3, 5, 17};
enum { N_GEOMETRIES = sizeof GEOMETRIES / sizeof *GEOMETRIES, N_CHANNELS = 4 };

static void test_direct(void) {
    for (int g = 0; g < N_GEOMETRIES; g++)
        for (int i = 0; i < N_CHANNELS; i++)
            for (int j = 0; j < N_CHANNELS; j++)
                direct_case(convolution(&GEOMETRIES[g], 1 + (g + i + j) % 3, CHANNELS[i], CHANNELS[j], 1), j % 2);
    for (int g = 0; g < N_GEOMETRIES; g++) { /* whole vectors and register tiles */
        direct_case(convolution(&GEOMETRIES[g], 2, 16, 32, 1), 1);
        direct_case(convolution(&GEOMETRIES[g], 1, 33, 70, 1), 1);
    }
}

static void test_groups(void) {
    for (int g = 0; g < N_GEOMETRIES; g++) {
        direct_case(convolution(&GEOMETRIES[g], 2, 6, 4, 2), 1);
        direct_case(convolution(&GEOMETRIES[g], 1, 9, 15, 3), 0);
        direct_case(convolution(&GEOMETRIES[g], 2, 36, 34, 2), 1);
    }
}

static void test_depthwise(void) {
    static const ptrdiff_t channels[] = {1, 3, 5, 17, 40};
    for (int g = 0; g < N_GEOMETRIES; g++)
        for (int i = 0; i < 5; i++) {
            cnn_conv s = convolution(&GEOMETRIES[g], 1 + (g + i) % 3, channels[i], channels[i], channels[i]);
            Operands o = operands(&s);
            void *y, *dx, *dW, *db = numbers(s.f);
            ON_THREADS("depthwise_forward", s.threads, y, o.ny, done(k->depthwise_forward(&s, o.x, o.W, o.b, y), "it"));
            equal("depthwise_forward", y, o.y, o.ny);
            ON_THREADS("depthwise_input_grad", s.threads, dx, o.nx,
                       done(k->depthwise_input_grad(&s, o.dy, o.W, dx), "it"));
            equal("depthwise_input_grad", dx, o.dx, o.nx);
            ON_THREADS("depthwise_weight_grad", s.threads, dW, o.nW,
                       done(k->depthwise_weight_grad(&s, o.x, o.dy, dW, db), "it"));
            equal("depthwise_weight_grad", dW, o.dW, o.nW);
            equal("its db", db, o.db, s.f);
            free_arrays("a depthwise convolution");
        }
}

static void winograd_case(cnn_conv s) {
    Operands o = operands(&s);
    void *y, *dx, *dW, *db = numbers(s.f);
    ON_THREADS("winograd_forward", s.threads, y, o.ny, done(k->winograd_forward(&s, o.x, o.W, o.b, NULL, y), "it"));
    compare("winograd_forward", y, o.y, o.ny, 1e-4, 1e-12);
    void *ready = numbers(k->winograd_packed(&s));
    k->winograd_pack(&s, o.W, ready);
    void *again = numbers(o.ny);
    done(k->winograd_forward(&s, o.x, o.W, o.b, ready, again), "winograd_forward");
    check(memcmp(y, again, (size_t)o.ny * item()) == 0, "winograd_forward has other bits with packed weights");
    ON_THREADS("winograd_input_grad", s.threads, dx, o.nx, done(k->winograd_input_grad(&s, o.dy, o.W, dx), "it"));
    compare("winograd_input_grad", dx, o.dx, o.nx, 1e-4, 1e-12);
    ON_THREADS("winograd_weight_grad", s.threads, dW, o.nW, done(k->winograd_weight_grad(&s, o.x, o.dy, dW, db), "it"));
    compare("winograd_weight_grad", dW, o.dW, o.nW, 1e-4, 1e-12);
    equal("its db", db, o.db, s.f);
    free_arrays("Winograd's method");
}

static void test_winograd(void) {
    static const struct {
        Geometry geometry;
        int side;
    } methods[] = {
        {{9, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, 4},  {{8, 6, 3, 3, 1, 1, 1, 1, 0, 1, 2, 0}, 4},
        {{5, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, 2},  {{7, 8, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2}, 2},
        {{1, 21, 1, 3, 1, 1, 1, 1, 0, 0, 1, 1}, 4}, {{1, 18, 1, 5, 1, 1, 1, 1, 0, 0, 2, 1}, 2},
    };
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++)
        for (int i = 0; i < N_CHANNELS; i++)
            for (int j = 0; j < N_CHANNELS; j++) {
                cnn_conv s = convolution(&methods[m].geometry, 1 + (i + j) % 3, CHANNELS[i], CHANNELS[j], 1);
                s.side = methods[m].side;
                winograd_case(s);
            }
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        cnn_conv s = convolution(&methods[m].geometry, 3, 34, 70, 2);
        s.side = methods[m].side;
        winograd_case(s);
    }
}

/* ---- the affine map ---- */

static void test_affine(void) {
    static const ptrdiff_t sizes[][3] = {{1, 300, 70}, {3, 17, 65}, {2, 129, 200}, {5, 5, 64}};
    for (int i = 0; i < 4; i++) {
        const ptrdiff_t n = sizes[i][0], d = sizes[i][1], m = sizes[i][2];
        Geometry pixel = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
        cnn_conv s = convolution(&pixel, n, d, m, 1);
        Operands o = operands(&s);
        void *y, *dx;
        int threads;
        ON_THREADS("stretched_forward", threads, y, o.ny,
                   done(k->stretched_forward(n, d, m, o.x, o.W, o.b, y, 0, threads), "it"));
        equal("stretched_forward", y, o.y, o.ny);
        ON_THREADS("turned_input_grad", threads, dx, o.nx,
                   done(k->turned_input_grad(n, d, m, o.dy, o.W, dx, threads), "it"));
        equal("turned_input_grad", dx, o.dx, o.nx);
        ON_THREADS("dots_input_grad", threads, dx, o.nx,
                   done(k->dots_input_grad(n, d, m, o.dy, o.W, dx, threads), "it"));
        equal("dots_input_grad", dx, o.dx, o.nx);
        free_arrays("an affine map");
    }
}

/* ---- pools ---- */

static void pool_case(const Geometry *g, ptrdiff_t n, ptrdiff_t c) {
    cnn_conv v = convolution(g, n, c, c, 1);
    cnn_pool s = {v.n, v.h, v.w, v.c, v.oh, v.ow, v.kh, v.kw, v.sh, v.sw, v.dh, v.dw, v.top, v.left, 0, 1};
    const ptrdiff_t nx = n * s.h * s.w * c, places = s.oh * s.ow, ny = n * places * c;
    double *x = drawn(nx), *dy = drawn(ny), *most = doubles(ny), *mean = zeros(ny), *inverse = zeros(places);
    double *dx_most = zeros(nx), *dx_mean = zeros(nx);
    unsigned char *first = room(ny, 1), *winner = room(ny, 1);
    for (ptrdiff_t i = 0; i < ny; i++) {
        const ptrdiff_t q = i % c, place = i / c % places, image = i / c / places;
        ptrdiff_t from = -1, count = 0;
        for (int turn = 0; turn < 2; turn++)
            for (ptrdiff_t t = 0; t < s.kh * s.kw; t++) {
                ptrdiff_t iy = place / s.ow * s.sh + t / s.kw * s.dh - s.top;
                ptrdiff_t ix = place % s.ow * s.sw + t % s.kw * s.dw - s.left;
                ptrdiff_t here = ((image * s.h + iy) * s.w + ix) * c + q;
                if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w)
                    continue;
                if (turn) { /* the count is known */
                    mean[i] += x[here] / (double)count;
                    dx_mean[here] += dy[i] / (double)count;
                    continue;
                }
                count++;
                if (from < 0 || x[here] > x[from]) {
                    from = here;
                    first[i] = (unsigned char)t;
                }
            }
        most[i] = x[from];
        dx_most[from] += dy[i];
        inverse[place] = 1 / (double)count;
    }
    void *y, *dx, *px = numbers_of(x, nx), *pdy = numbers_of(dy, ny), *scale = numbers_of(inverse, places);
    ON_THREADS("max_pool", s.threads, y, ny, done(k->max_pool(&s, px, y, winner), "it"));
    equal("max_pool", y, most, ny);
    check(memcmp(first, winner, (size_t)ny) == 0, "max_pool has another winner");
    ON_THREADS("max_pool without winners", s.threads, y, ny, done(k->max_pool(&s, px, y, NULL), "it"));
    equal("max_pool without winners", y, most, ny);
    ON_THREADS("max_pool_input_grad", s.threads, dx, nx, done(k->max_pool_input_grad(&s, pdy, first, dx), "it"));
    equal("max_pool_input_grad", dx, dx_most, nx);
    ON_THREADS("avg_pool", s.threads, y, ny, done(k->avg_pool(&s, px, scale, y), "it"));
    compare("avg_pool", y, mean, ny, 1e-6, 1e-14);
    ON_THREADS("avg_pool_input_grad", s.threads, dx, nx, done(k->avg_pool_input_grad(&s, pdy, scale, dx), "it"));
    compare("avg_pool_input_grad", dx, dx_mean, nx, 1e-6, 1e-14);
    free_arrays("a pool");
}

static void test_pools(void) {
    static const Geometry windows[] = {
        {8, 6, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0}, {9, 7, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0},
        {9, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1}, {7, 9, 3, 2, 1, 3, 1, 1, 0, 1, 1, 0},
        {9, 9, 2, 3, 2, 1, 3, 2, 1, 1, 2, 1}, {1, 15, 1, 3, 1, 2, 1, 1, 0, 0, 1, 1},
    };
    static const ptrdiff_t channels[] = {1, 3, 5, 17, 33};
    for (size_t g = 0; g < sizeof windows / sizeof *windows; g++)
        for (int i = 0; i < 5; i++)
            pool_case(&windows[g], 1 + i % 3, channels[i]);
}

static void test_line_pools(void) {
    for (int i = 0; i < N_CHANNELS; i++) {
        const ptrdiff_t c = CHANNELS[i], n = 2, w = 61, size = 30, step = 4, ow = (w - size) / step + 1;
        cnn_pool s = {n, 1, w, c, 1, ow, 1, size, 1, step, 1, 1, 0, 0, 0, 1};
        const ptrdiff_t nx = n * w * c, ny = n * ow * c;
        double *x = drawn(nx), *dy = drawn(ny), *most = doubles(ny), *sum = zeros(ny);
        double *dx_most = zeros(nx), *dx_sum = zeros(nx);
        ptrdiff_t *first = room(ny * (ptrdiff_t)sizeof(ptrdiff_t), sizeof(ptrdiff_t));
        ptrdiff_t *winner = room(ny * (ptrdiff_t)sizeof(ptrdiff_t), sizeof(ptrdiff_t));
        for (ptrdiff_t o = 0; o < ny; o++) {
            const ptrdiff_t q = o % c, start = o / c % ow * step, image = o / c / ow;
            ptrdiff_t from = start;
            for (ptrdiff_t t = start; t < start + size; t++) {
                ptrdiff_t here = (image * w + t) * c + q;
                from = x[here] > x[(image * w + from) * c + q] ? t : from;
                sum[o] += x[here];
                dx_sum[here] += dy[o];
            }
            first[o] = from;
            most[o] = x[(image * w + from) * c + q];
            dx_most[(image * w + from) * c + q] += dy[o];
        }
        void *y, *dx, *px = numbers_of(x, nx), *pdy = numbers_of(dy, ny);
        ON_THREADS("line_max_pool", s.threads, y, ny, done(k->line_max_pool(&s, px, y, winner), "it"));
        equal("line_max_pool", y, most, ny);
        check(memcmp(first, winner, (size_t)ny * sizeof *first) == 0, "line_max_pool has another winner");
        ON_THREADS("line_max_pool_input_grad", s.threads, dx, nx,
                   done(k->line_max_pool_input_grad(&s, pdy, first, dx), "it"));
        equal("line_max_pool_input_grad", dx, dx_most, nx);
        ON_THREADS("line_sum_pool", s.threads, y, ny, done(k->line_sum_pool(&s, px, y), "it"));
        equal("line_sum_pool", y, sum, ny);
        ON_THREADS("line_sum_pool_input_grad", s.threads, dx, nx, done(k->line_sum_pool_input_grad(&s, pdy, dx), "it"));
        equal("line_sum_pool_input_grad", dx, dx_sum, nx);
        free_arrays("a pool of a line");
    }
}

static void test_global_pools(void) {
    for (int i = 0; i < N_CHANNELS; i++) {
        const ptrdiff_t c = CHANNELS[i], n = 3, positions = 35, nx = n * positions * c, ny = n * c;
        double *x = drawn(nx), *dy = drawn(ny), *most = doubles(ny), *mean = zeros(ny);
        double *dx_most = zeros(nx), *dx_mean = zeros(nx);
        ptrdiff_t *first = room(ny * (ptrdiff_t)sizeof(ptrdiff_t), sizeof(ptrdiff_t));
        ptrdiff_t *winner = room(ny * (ptrdiff_t)sizeof(ptrdiff_t), sizeof(ptrdiff_t));
        for (ptrdiff_t o = 0; o < ny; o++) {
            const double *here = x + o / c * positions * c + o % c;
            first[o] = 0;
            for (ptrdiff_t p = 0; p < positions; p++) {
                first[o] = here[p * c] > here[first[o] * c] ? p : first[o];
                mean[o] += here[p * c] / (double)positions;
                dx_mean[o / c * positions * c + p * c + o % c] = dy[o] / (double)positions;
            }
            most[o] = here[first[o] * c];
            dx_most[o / c * positions * c + first[o] * c + o % c] = dy[o];
        }
        void *y, *dx, *px = numbers_of(x, nx), *pdy = numbers_of(dy, ny);
        int threads;
        ON_THREADS("global_max_pool", threads, y, ny,
                   done(k->global_max_pool(n, positions, c, px, y, winner, threads), "it"));
        equal("global_max_pool", y, most, ny);
        check(memcmp(first, winner, (size_t)ny * sizeof *first) == 0, "global_max_pool has another winner");
        ON_THREADS("global_max_pool_input_grad", threads, dx, nx,
                   done(k->global_max_pool_input_grad(n, positions, c, pdy, first, dx, threads), "it"));
        equal("global_max_pool_input_grad", dx, dx_most, nx);
        ON_THREADS("global_avg_pool", threads, y, ny, done(k->global_avg_pool(n, positions, c, px, y, threads), "it"));
        compare("global_avg_pool", y, mean, ny, 1e-6, 1e-14);
        ON_THREADS("global_avg_pool_input_grad", threads, dx, nx,
                   done(k->global_avg_pool_input_grad(n, positions, c, pdy, dx, threads), "it"));
        compare("global_avg_pool_input_grad", dx, dx_mean, nx, 1e-6, 1e-14);
        free_arrays("a global pool");
    }
}

/* ---- norms ---- */

/* y = gamma (x - mean) scale + beta and back, for count numbers that share mean and scale: those at `place`. */
static void loop_norm(ptrdiff_t count, const ptrdiff_t *place, ptrdiff_t c, const double *x, const double *gamma,
                      const double *beta, const double *dy, double eps, double *y, double *dx, double *dgamma,
                      double *dbeta) {
    double mean = 0, var = 0, mean_g = 0, mean_g_x = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        mean += x[place[i]] / (double)count;
    for (ptrdiff_t i = 0; i < count; i++)
        var += (x[place[i]] - mean) * (x[place[i]] - mean) / (double)count;
    const double scale = 1 / sqrt(var + eps);
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t p = place[i], q = p % c;
        const double x_hat = (x[p] - mean) * scale;
        y[p] = gamma[q] * x_hat + beta[q];
        dgamma[q] += dy[p] * x_hat;
        dbeta[q] += dy[p];
        mean_g += gamma[q] * dy[p] / (double)count;
        mean_g_x += gamma[q] * dy[p] * x_hat / (double)count;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t p = place[i];
        dx[p] = scale * (gamma[p % c] * dy[p] - mean_g - (x[p] - mean) * scale * mean_g_x);
    }
}

enum { BATCH, GROUP, LAYER };

static void norm_case(int kind, ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, ptrdiff_t groups) {
    const ptrdiff_t rows = n * positions, count = rows * c;
    const double eps = 1e-3;
    double *x = drawn(count), *dy = drawn(count), *gamma = drawn(c), *beta = drawn(c);
    double *y = doubles(count), *dx = doubles(count), *dgamma = zeros(c), *dbeta = zeros(c);
    ptrdiff_t *place = room(count * (ptrdiff_t)sizeof *place, sizeof *place);
    const ptrdiff_t parts = kind == BATCH ? c : kind == GROUP ? n * groups : rows;
    for (ptrdiff_t part = 0; part < parts; part++) {
        ptrdiff_t own = 0;
        for (ptrdiff_t p = 0; p < count; p++) {
            const ptrdiff_t channel = p % c, row = p / c;
            const ptrdiff_t of = kind == BATCH   ? channel
                                 : kind == GROUP ? row / positions * groups + channel / (c / groups)
                                                 : row;
            if (of == part)
                place[own++] = p;
        }
        loop_norm(own, place, c, x, gamma, beta, dy, eps, y, dx, dgamma, dbeta);
    }
    void *px = numbers_of(x, count), *pdy = numbers_of(dy, count), *pg = numbers_of(gamma, c),
         *pb = numbers_of(beta, c);
    const ptrdiff_t kept = kind == BATCH ? c : kind == GROUP ? n * c : rows;
    void *mean = numbers(kept), *var = numbers(kept), *scale = numbers(kept), *py, *pdx, *pdg = numbers(c),
         *pdb = numbers(c);
    int threads;
    if (kind == BATCH) {
        ON_THREADS(
            "batch_norm", threads, py, count,
            done(k->batch_norm(rows, c, px, pg, pb, eps, NULL, mean, var, scale, py, CNN_THEN_NOTHING, threads), "it"));
        ON_THREADS(
            "batch_norm_grad", threads, pdx, count,
            done(k->batch_norm_grad(rows, c, px, pdy, pg, pb, mean, scale, pdg, pdb, pdx, 1, CNN_THEN_NOTHING, threads),
                 "it"));
    } else if (kind == GROUP) {
        ON_THREADS("group_norm", threads, py, count,
                   done(k->group_norm(n, positions, c, groups, px, pg, pb, eps, mean, scale, py, 0, threads), "it"));
        ON_THREADS(
            "group_norm_grad", threads, pdx, count,
            done(k->group_norm_grad(n, positions, c, groups, px, pdy, pg, pb, mean, scale, pdg, pdb, pdx, 0, threads),
                 "it"));
    } else {
        ON_THREADS("layer_norm", threads, py, count,
                   done(k->layer_norm(rows, c, px, pg, pb, eps, mean, scale, py, threads), "it"));
        ON_THREADS("layer_norm_grad", threads, pdx, count,
                   done(k->layer_norm_grad(rows, c, px, pdy, pg, mean, scale, pdg, pdb, pdx, threads), "it"));
    }
    compare("a norm's y", py, y, count, 1e-5, 1e-12);
    compare("a norm's dx", pdx, dx, count, 2e-5, 1e-12);
    compare("a norm's dgamma", pdg, dgamma, c, 1e-5, 1e-12);
    compare("a norm's dbeta", pdb, dbeta, c, 1e-5, 1e-12);
    free_arrays("a norm");
}

static void test_norms(void) {
    static const ptrdiff_t channels[] = {1, 3, 5, 17, 33};
    for (int i = 0; i < 5; i++) {
        norm_case(BATCH, 4, 30, channels[i], 1);
        norm_case(BATCH, 2, 333, channels[i], 1);
        norm_case(GROUP, 3, 20, channels[i], 1);
        norm_case(GROUP, 3, 20, 2 * channels[i], 2);
        norm_case(LAYER, 3, 7, channels[i] + 1, 1); /* of one number nothing is left */
    }
}

/* ---- number by number ---- */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double curve(int kind, double x, double alpha) {
    switch (kind) {
    case CNN_LEAKY_RELU:
        return x > 0 ? x : alpha * x;
    case CNN_SIGMOID:
        return sigmoid(x);
    case CNN_TANH:
        return tanh(x);
    case CNN_ELU:
        return x > 0 ? x : alpha * expm1(x);
    case CNN_GELU:
        return x * erfc(-x / sqrt(2)) / 2;
    case CNN_GELU_TANH:
        return x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x))) / 2;
    default:
        return x * sigmoid(x);
    }
}

static void test_activations(void) {
    static const char *const names[] = {"LeakyReLU", "Sigmoid", "Tanh", "ELU", "GELU", "GELU by tanh", "SiLU"};
    static const ptrdiff_t counts[] = {1, 3, 5, 17, 4099};
    for (int kind = CNN_LEAKY_RELU; kind <= CNN_SILU; kind++)
        for (int i = 0; i < 5; i++) {
            const ptrdiff_t count = counts[i];
            const double alpha = 0.125, h = 1e-5;
            double *x = doubles(count), *dy = drawn(count), *y = doubles(count), *dx = doubles(count);
            for (ptrdiff_t j = 0; j < count; j++) {
                x[j] = 6 * draw() + 1.0 / 16; /* the kink of two is at 0 */
                y[j] = curve(kind, x[j], alpha);
                dx[j] = dy[j] * (curve(kind, x[j] + h, alpha) - curve(kind, x[j] - h, alpha)) / (2 * h);
            }
            void *py, *pdx, *px = numbers_of(x, count), *pdy = numbers_of(dy, count);
            int threads;
            ON_THREADS(names[kind], threads, py, count, k->activation(kind, count, px, py, alpha, threads));
            compare(names[kind], py, y, count, 1e-6, 1e-13);
            const void *a = kind == CNN_SIGMOID || kind == CNN_TANH ? py : px;
            ON_THREADS(names[kind], threads, pdx, count, k->activation_grad(kind, count, a, pdy, pdx, alpha, threads));
            compare(names[kind], pdx, dx, count, 2e-6, 1e-8); /* the slopes are differences */
            free_arrays(names[kind]);
        }
}

static void test_elementwise(void) {
    static const ptrdiff_t counts[] = {0, 1, 3, 5, 17, 70001};
    for (int i = 0; i < 6; i++) {
        const ptrdiff_t count = counts[i];
        double *a = drawn(count), *b = drawn(count), *y = doubles(count);
        void *pa = numbers_of(a, count), *pb = numbers_of(b, count), *py;
        int threads;
        ON_THREADS("relu", threads, py, count, k->relu(count, pa, py, threads));
        for (ptrdiff_t j = 0; j < count; j++)
            y[j] = fmax(a[j], 0);
        equal("relu", py, y, count);
        ON_THREADS("add", threads, py, count, k->add(count, pa, pb, py, 1, threads));
        for (ptrdiff_t j = 0; j < count; j++)
            y[j] = fmax(a[j] + b[j], 0);
        equal("add", py, y, count);
        ON_THREADS("multiply", threads, py, count, k->multiply(count, pa, pb, py, threads));
        for (ptrdiff_t j = 0; j < count; j++)
            y[j] = a[j] * b[j];
        equal("multiply", py, y, count);
        ON_THREADS("finish_grad", threads, py, count, k->finish_grad(count, pa, pb, pb, py, threads));
        for (ptrdiff_t j = 0; j < count; j++)
            y[j] = b[j] > 0 ? a[j] + b[j] : 0;
        equal("finish_grad", py, y, count);
        free_arrays("a sum");
    }
    for (int i = 0; i < N_CHANNELS; i++) {
        const ptrdiff_t c = CHANNELS[i], rows = 500, count = rows * c;
        double *x = drawn(count), *b = drawn(c), *y = doubles(count), *sums = zeros(c);
        for (ptrdiff_t j = 0; j < count; j++) {
            y[j] = x[j] + b[j % c];
            sums[j % c] += x[j];
        }
        void *px = numbers_of(x, count), *pb = numbers_of(b, c), *py;
        int threads;
        ON_THREADS("add_bias", threads, py, count, done(k->add_bias(rows, c, px, pb, py, 0, threads), "it"));
        equal("add_bias", py, y, count);
        ON_THREADS("column_sums", threads, py, c, done(k->column_sums(rows, c, px, py, threads), "it"));
        equal("column_sums", py, sums, c);
        free_arrays("a bias");
    }
}

static void test_dropout(void) {
    const ptrdiff_t count = 70001;
    const uint64_t key = 12345;
    double *x = drawn(count), *y = doubles(count);
    for (ptrdiff_t i = 0; i < count; i++) {
        uint64_t z = key + ((uint64_t)i / 2 + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        y[i] = (double)(uint32_t)(i % 2 ? z >> 32 : z) < 0.5 * 4294967296.0 ? 0 * x[i] : 2 * x[i];
    }
    void *px = numbers_of(x, count), *py;
    int threads;
    ON_THREADS("dropout", threads, py, count, k->dropout(count, px, 0.5, key, py, threads));
    equal("dropout", py, y, count);
    free_arrays("dropout");
}

/* ---- the loss, steps, rows ---- */

static void test_softmax(void) {
    static const ptrdiff_t classes[] = {1, 2, 3, 10, 17, 1000};
    for (int i = 0; i < 6; i++) {
        const ptrdiff_t n = 37, c = classes[i];
        double *z = drawn(n * c), *dz = doubles(n * c), expected = 0, loss = 0;
        int64_t *labels = room(n * 8, 8);
        for (ptrdiff_t r = 0; r < n; r++) {
            double sum = 0;
            labels[r] = (int64_t)((r * 7) % c);
            for (ptrdiff_t j = 0; j < c; j++)
                sum += exp(z[r * c + j]);
            for (ptrdiff_t j = 0; j < c; j++)
                dz[r * c + j] = (exp(z[r * c + j]) / sum - (j == labels[r])) / (double)n;
            expected -= (z[r * c + labels[r]] - log(sum)) / (double)n;
        }
        void *pz = numbers_of(z, n * c), *pdz;
        int threads;
        ON_THREADS("softmax_loss", threads, pdz, n * c,
                   done(k->softmax_loss(n, c, pz, labels, NULL, NULL, 0, (double)n, &loss, pdz, threads), "it"));
        compare("the gradient of softmax_loss", pdz, dz, n * c, 1e-7, 1e-14);
        check(fabs(loss - expected) < 1e-12, "softmax_loss is %.17g, not %.17g", loss, expected);
        free_arrays("softmax_loss");
    }
}

static void test_steps(void) {
    static const ptrdiff_t counts[] = {1, 3, 17, 70001};
    for (int i = 0; i < 4; i++) {
        const ptrdiff_t count = counts[i];
        double *w = drawn(count), *g = drawn(count), *v = drawn(count), *new_w = doubles(count),
               *new_v = doubles(count);
        for (ptrdiff_t j = 0; j < count; j++) {
            new_v[j] = 0.5 * v[j] + (g[j] + 0.25 * w[j]);
            new_w[j] = w[j] - 0.125 * new_v[j];
        }
        void *pw, *pv = NULL, *pg = numbers_of(g, count);
        int threads;
        ON_THREADS("sgd", threads, pw, count,
                   (memcpy(pw, numbers_of(w, count), (size_t)count * item()), pv = numbers_of(v, count),
                    k->sgd(count, pw, pg, pv, 0.125, 0.5, 0, 0.25, threads)));
        equal("sgd", pw, new_w, count);
        equal("its momentum", pv, new_v, count);
        free_arrays("sgd");
    }
}

static void test_rows(void) {
    const ptrdiff_t n = 9, count = 40, size = 77;
    unsigned char *source = room(n * size, 1);
    int64_t *indices = room(count * 8, 8);
    double *rows = doubles(count * size);
    for (ptrdiff_t i = 0; i < n * size; i++)
        source[i] = (unsigned char)(i * 37);
    for (ptrdiff_t r = 0; r < count; r++) {
        indices[r] = (int64_t)((r * 5) % n);
        for (ptrdiff_t j = 0; j < size; j++)
            rows[r * size + j] = source[indices[r] * size + j];
    }
    void *got;
    int threads;
    ON_THREADS("gather_rows", threads, got, count * size,
               k->gather_rows(count, size, source, CNN_UINT8, indices, got, threads));
    equal("gather_rows", got, rows, count * size);
    free_arrays("gather_rows");
}

/* ---- threads ---- */

enum { MOST_TASKS = 64 };

typedef struct {
    atomic_int times[MOST_TASKS]; /* that each task was done */
} Tally;

static void tally_task(void *job, ptrdiff_t task) { atomic_fetch_add(&((Tally *)job)->times[task], 1); }

static int each_once(Tally *tally, ptrdiff_t tasks) {
    int right = 1;
    for (ptrdiff_t i = 0; i < MOST_TASKS; i++)
        right = right && atomic_load(&tally->times[i]) == (i < tasks);
    return right;
}

static void wait_for(uint64_t nanoseconds) {
    for (uint64_t start = cnn_nanoseconds(); cnn_nanoseconds() - start < nanoseconds;)
        cnn_yield();
}

/* Every task of every job is done once, when the call returns; workers spin, sleep and are parked in between. */
static int jobs_are_right(int jobs) {
    int right = 1;
    for (int i = 0; i < jobs; i++) {
        Tally tally;
        for (int j = 0; j < MOST_TASKS; j++)
            atomic_init(&tally.times[j], 0);
        const ptrdiff_t tasks = i % (MOST_TASKS + 1);
        (i % 3 ? cnn_parallel : cnn_parallel_back)(tasks, 1 + i % 9, tally_task, &tally);
        right = right && each_once(&tally, tasks);
        if (i % 256 == 0)
            wait_for(1000000);
    }
    return right;
}

static cnn_mutex callers_mutex = CNN_MUTEX;
static cnn_condition callers_changed = CNN_CONDITION;
static int callers_left, callers_right;

static void *caller(void *kept) {
    int right = jobs_are_right(2000);
    void *mine = cnn_scratch(0, 1 << 20); /* the system releases it with the thread */
    right = right && mine && (uintptr_t)mine % 64 == 0;
    (void)kept;
    cnn_lock(&callers_mutex);
    callers_left--;
    callers_right += right;
    cnn_wake_all(&callers_changed);
    cnn_unlock(&callers_mutex);
    return NULL;
}

static void test_threads(void) {
    check(jobs_are_right(20000), "a task of many jobs was not done once");
    enum { CALLERS = 6, TURNS = 5 };
    for (int turn = 0; turn < TURNS; turn++) {
        callers_left = CALLERS;
        callers_right = 0;
        for (int i = 0; i < CALLERS; i++)
            if (cnn_start_thread(caller, NULL) != 0) {
                check(0, "no thread could be started");
                return;
            }
        cnn_lock(&callers_mutex);
        while (callers_left)
            cnn_wait(&callers_changed, &callers_mutex);
        cnn_unlock(&callers_mutex);
        check(callers_right == CALLERS, "%d of %d callers at once were right", callers_right, (int)CALLERS);
    }
    check(cnn_scratch(0, 1 << 20) != NULL, "no scratch memory was to be had");
    check(cnn_release_scratch() >= 1 << 20, "there was no scratch memory to release");
    check(cnn_release_scratch() == 0, "scratch memory was left");
    check(jobs_are_right(100), "a task was not done once after the release");
}

/* ---- the system ---- */

static atomic_int ended;
static void at_end(void *value) { atomic_fetch_add((atomic_int *)value, 1); }
static void *short_lived(void *value) {
    cnn_at_thread_end(at_end, value);
    return NULL;
}

static void test_system(void) {
    uint64_t before = cnn_nanoseconds();
    wait_for(5000000);
    uint64_t after = cnn_nanoseconds();
    check(after - before >= 5000000 && after - before < 60000000000u, "the clock does not go in nanoseconds");
    cnn_mutex m = CNN_MUTEX;
    check(cnn_try_lock(&m), "a free mutex was not to be had");
    check(!cnn_try_lock(&m), "a mutex was to be had twice");
    cnn_unlock(&m);
    for (size_t alignment = 64; alignment <= (size_t)1 << 21; alignment *= 2) {
        unsigned char *memory = cnn_aligned(alignment, 3 * alignment + 1);
        check(memory && (uintptr_t)memory % alignment == 0, "memory is not aligned");
        memset(memory, 1, 3 * alignment + 1);
        cnn_want_huge_pages(memory, 3 * alignment + 1);
        check(memory[3 * alignment] == 1, "memory was lost");
        cnn_aligned_free(memory);
    }
    check(cnn_l2_bytes() == 0 || (cnn_l2_bytes() >= 1 << 16 && cnn_l2_bytes() <= (size_t)1 << 30),
          "the L2 cache has %g bytes", (double)cnn_l2_bytes());
    printf("L2 cache: %d KB\n", (int)(cnn_l2_bytes() >> 10));
}

/* Vectors on the stack lie where aligned instructions find them. (GCC does not see to it on 64-bit Windows.) They are
   kept from registers by a call that may change them, and by more of them than there are registers. */
#if defined(__x86_64__)
#define FOR_TARGET(name) __attribute__((target(name), noinline))
#else
#define FOR_TARGET(name) __attribute__((noinline))
#endif

static _Atomic(void *) seen;

/* Whether an address is a multiple; it goes through `seen`, since a compiler takes its own alignment for granted. */
__attribute__((noinline)) static int is_at_multiple(void *p, uintptr_t of) {
    atomic_store(&seen, p);
    return (uintptr_t)atomic_load(&seen) % of == 0;
}

#define STACK_TEST(name, bytes, level)                                                                                 \
    typedef double name##_vector __attribute__((vector_size(bytes)));                                                  \
    FOR_TARGET(level) static int name(const double *from, int depth) {                                                 \
        volatile char odd[24];                                                                                         \
        name##_vector v[40], sum = {0};                                                                                \
        int right = 1;                                                                                                 \
        odd[0] = (char)depth;                                                                                          \
        for (int i = 0; i < 40; i++) {                                                                                 \
            for (int j = 0; j < (bytes) / 8; j++)                                                                      \
                v[i][j] = from[(i + j) % 8];                                                                           \
            right &= is_at_multiple(&v[i], bytes);                                                                     \
        }                                                                                                              \
        for (int i = 0; i < 40; i++)                                                                                   \
            sum += v[i] * v[(i * 7 + depth) % 40];                                                                     \
        right &= is_at_multiple(&sum, bytes) && odd[0] == (char)depth;                                                 \
        return right && (depth == 0 || name(from, depth - 1));                                                         \
    }
STACK_TEST(stack_16, 16, "sse2")
STACK_TEST(stack_32, 32, "avx2")
STACK_TEST(stack_64, 64, "avx512f")
#undef STACK_TEST

typedef struct {
    int (*test)(const double *from, int depth);
    atomic_int wrong;
} StackJob;

static void stack_task(void *job, ptrdiff_t task) {
    static const double from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    StackJob *q = job;
    if (!q->test(from, 1 + (int)task % 5))
        atomic_fetch_add(&q->wrong, 1);
}

static void test_stack(void) {
    const cnn_cpu here = cnn_cpu_here();
    StackJob jobs[] = {{stack_16, 0}, {stack_32, 0}, {stack_64, 0}};
    const char *const levels[] = {"baseline", "avx2", "avx512"};
    for (int i = 0; i < 3; i++) {
        if (!cnn_level(levels[i], here))
            continue;
        stack_task(&jobs[i], 4);
        cnn_parallel(200, 3, stack_task, &jobs[i]);
        check(atomic_load(&jobs[i].wrong) == 0, "vectors of %s are not aligned on the stack", levels[i]);
    }
}

static void test_thread_ends(void) {
    enum { STARTED = 20 };
    for (int i = 0; i < STARTED; i++)
        cnn_start_thread(short_lived, &ended);
    for (int i = 0; i < 2000 && atomic_load(&ended) < STARTED; i++)
        wait_for(1000000);
    check(atomic_load(&ended) == STARTED, "the ends of %d of %d threads were seen", atomic_load(&ended), (int)STARTED);
}

/* ---- all ---- */

static const struct {
    const char *name;
    void (*test)(void);
} TESTS[] = {
    {"direct convolution", test_direct},
    {"convolution in groups", test_groups},
    {"depthwise convolution", test_depthwise},
    {"Winograd's method", test_winograd},
    {"affine map", test_affine},
    {"pools", test_pools},
    {"pools of lines", test_line_pools},
    {"global pools", test_global_pools},
    {"norms", test_norms},
    {"activations", test_activations},
    {"elementwise", test_elementwise},
    {"dropout", test_dropout},
    {"softmax loss", test_softmax},
    {"steps", test_steps},
    {"rows of a data set", test_rows},
};

int main(int argc, char **argv) {
    const cnn_cpu here = cnn_cpu_here();
    int levels = 0;
    /* By themselves: what is called at the end of a thread is the same for all of a process. */
    if (argc == 2 && strcmp(argv[1], "thread-ends") == 0) {
        test_thread_ends();
        end_group("", "ends of threads");
    } else {
        test_system();
        end_group("", "system");
        test_stack();
        end_group("", "vectors on the stack");
        test_threads();
        end_group("", "threads");
        for (int i = 0; cnn_level_name(i); i++) {
            const char *level = cnn_level_name(i);
            const cnn_kernels *const *tables = cnn_level(level, here);
            if (argc > 1 && strcmp(argv[1], level) != 0)
                continue;
            if (!tables) {
                printf("%-8s  not on this processor\n", level);
                continue;
            }
            levels++;
            for (wide = 0; wide < 2; wide++) {
                k = tables[wide];
                for (size_t t = 0; t < sizeof TESTS / sizeof *TESTS; t++) {
                    state = 1;
                    TESTS[t].test();
                    end_group(level, TESTS[t].name);
                }
            }
        }
        check(levels > 0, "no level was tested");
        k = NULL;
        end_group("", "levels");
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
