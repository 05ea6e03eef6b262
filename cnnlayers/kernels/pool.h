/* Pooling of channels-last images: y (n, oh, ow, c) from x (n, h, w, c), and back. Every pass is a gather (gather.h):
   one pass over memory, vectors of channels. Max-pool keeps the number of the winning kernel element, one byte per
   output, so that its backward pass reads dy and a quarter of that again, and not x.

   First in row-major order wins ties; padding never wins; the first NaN wins. A window that holds padding alone gives
   -inf and winner 255, which no kernel element has (kh kw <= 255): its gradient goes nowhere. Nor does that of a maximum
   that is rectified and not above 0. */
#define NOBODY 255

typedef unsigned char T(bytes) __attribute__((vector_size(VBYTES / sizeof(REAL)), aligned(1), may_alias));
typedef __typeof__(_Generic((REAL)0, float: (int)0, double: (long long)0)) T(whole); /* as wide as REAL */
typedef T(whole) T(wholes) __attribute__((vector_size(VBYTES)));
typedef unsigned short T(shorts) __attribute__((vector_size(2 * VBYTES / sizeof(REAL))));
typedef unsigned int T(words) __attribute__((vector_size(4 * VBYTES / sizeof(REAL))));

/* Step by step: GCC makes scalar code of a conversion that skips a size. */
INLINE T(wholes) T(widen)(T(bytes) v) {
    return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(v, T(shorts)), T(words)), T(wholes));
}
INLINE T(bytes) T(narrow)(T(wholes) v) {
    return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(v, T(words)), T(shorts)), T(bytes));
}
#define ALL(number) ((T(wholes)){0} + (T(whole))(number))

/* `n` taps for positions u0 .. u1; a constant where inlined. */
INLINE void T(max_row)(const T(gather) * g, const T(tap) * taps, ptrdiff_t n, const T(place) * at, ptrdiff_t u0,
                       ptrdiff_t u1,
                       int small, int keep) {
    const ptrdiff_t c = g->c, step = g->step;
    const REAL *end = g->source_end;
    REAL *result = g->result;
    unsigned char *winner = g->new_winner;
    const int relu = g->relu;
    for (ptrdiff_t u = u0; u < u1; u++) {
        const REAL *x = at->source + u * step * c;
        ptrdiff_t to = (at->to + u) * c, room = at->end * c - to;
        for (ptrdiff_t i = 0; i < c; i += VL) {
            ptrdiff_t v = T(lane)(i, c, small);
            VEC best = T(load_lanes)(x + taps[0].offset + v, end, small);
            T(wholes) who = ALL(taps[0].number);
#pragma GCC unroll 4
            for (ptrdiff_t t = 1; t < n; t++) {
                VEC value = T(load_lanes)(x + taps[t].offset + v, end, small);
                T(wholes) wins = ~(value <= best) & (best == best); /* greater, or the first NaN */
                best = (VEC)(((T(wholes))value & wins) | ((T(wholes))best & ~wins));
                if (keep)
                    who = (ALL(taps[t].number) & wins) | (who & ~wins);
            }
            if (relu) {
                who = (who & (best > 0)) | (ALL(NOBODY) & ~(best > 0));
                best = (VEC)((T(wholes))best & ~(best <= 0));
            }
            T(store_lanes)(result + to + v, best, room, small);
            if (keep) {
                T(bytes) packed = T(narrow)(who);
                if (!small || room >= VL)
                    *(T(bytes) *)(winner + to + v) = packed;
                else
                    memcpy(winner + to + v, &packed, (size_t)room);
            }
        }
    }
}

static void T(max_op)(const T(gather) * g, const T(tap) * taps, ptrdiff_t n, const T(place) * at, ptrdiff_t u0,
                      ptrdiff_t u1) {
    if (n == 0) {
        for (ptrdiff_t u = u0; u < u1; u++)
            for (ptrdiff_t i = 0, to = (at->to + u) * g->c; i < g->c; i++) {
                g->result[to + i] = g->relu ? 0 : -(REAL)__builtin_inf();
                if (g->new_winner)
                    g->new_winner[to + i] = NOBODY;
            }
    } else if (g->c < VL) {
        if (g->new_winner)
            T(max_row)(g, taps, n, at, u0, u1, 1, 1);
        else
            T(max_row)(g, taps, n, at, u0, u1, 1, 0);
    } else if (n == 4) { /* the 2 x 2 window: all taps unrolled */
        if (g->new_winner)
            T(max_row)(g, taps, 4, at, u0, u1, 0, 1);
        else
            T(max_row)(g, taps, 4, at, u0, u1, 0, 0);
    } else {
        if (g->new_winner)
            T(max_row)(g, taps, n, at, u0, u1, 0, 1);
        else
            T(max_row)(g, taps, n, at, u0, u1, 0, 0);
    }
}

/* dx = sum of dy over the windows that this pixel won. */
INLINE void T(max_grad_row)(const T(gather) * g, const T(tap) * taps, ptrdiff_t n, const T(place) * at, ptrdiff_t u0,
                            ptrdiff_t u1, int small) {
    for (ptrdiff_t u = u0; u < u1; u++) {
        const REAL *dy = at->source + u * g->step * g->c;
        ptrdiff_t to = (at->to + u * g->stride) * g->c, room = at->end * g->c - to;
        for (ptrdiff_t i = 0; i < g->c; i += VL) {
            ptrdiff_t v = T(lane)(i, g->c, small);
            VEC sum = {0};
            for (ptrdiff_t t = 0; t < n; t++) {
                const REAL *from = dy + taps[t].offset + v;
                const unsigned char *winner = g->winner + (from - g->source);
                T(bytes) won = {0};
                if (!small || g->source_end - from >= VL)
                    won = *(const T(bytes) *)winner;
                else
                    memcpy(&won, winner, (size_t)(g->source_end - from));
                T(wholes) here = T(widen)(won) == ALL(taps[t].number);
                VEC part = (VEC)((T(wholes))T(load_lanes)(from, g->source_end, small) & here);
                if (n == 1)
                    sum = part;
                else
                    sum += part;
            }
            T(store_lanes)(g->result + to + v, sum, room, small);
        }
    }
}

static void T(max_grad_op)(const T(gather) * g, const T(tap) * taps, ptrdiff_t n, const T(place) * at, ptrdiff_t u0,
                           ptrdiff_t u1) {
    if (g->c < VL)
        T(max_grad_row)(g, taps, n, at, u0, u1, 1);
    else if (n == 1) /* windows that do not overlap */
        T(max_grad_row)(g, taps, 1, at, u0, u1, 0);
    else
        T(max_grad_row)(g, taps, n, at, u0, u1, 0);
}

/* y = sum of x, times the output's scale; or dx = sum of dy, each times its output's scale. */
INLINE void T(avg_row)(const T(gather) * g, const T(tap) * taps, ptrdiff_t n, const T(place) * at, ptrdiff_t u0,
                       ptrdiff_t u1,
                       int small, int backward) {
    for (ptrdiff_t u = u0; u < u1; u++) {
        const REAL *x = at->source + u * g->step * g->c, *scale = g->scale + (backward ? u : at->row * g->cols + u);
        ptrdiff_t to = (at->to + u * g->stride) * g->c, room = at->end * g->c - to;
        for (ptrdiff_t i = 0; i < g->c; i += VL) {
            ptrdiff_t v = T(lane)(i, g->c, small);
            VEC sum = {0};
            for (ptrdiff_t t = 0; t < n; t++) {
                VEC value = T(load_lanes)(x + taps[t].offset + v, g->source_end, small);
                if (backward)
                    value *= scale[taps[t].pixel];
                sum += value;
            }
            if (!backward)
                sum *= *scale;
            T(store_lanes)(g->result + to + v, sum, room, small);
        }
    }
}

static void T(avg_op)(const T(gather) * g, const T(tap) * taps, ptrdiff_t n, const T(place) * at, ptrdiff_t u0,
                      ptrdiff_t u1) {
    if (g->c < VL)
        T(avg_row)(g, taps, n, at, u0, u1, 1, 0);
    else if (n == 4)
        T(avg_row)(g, taps, 4, at, u0, u1, 0, 0);
    else
        T(avg_row)(g, taps, n, at, u0, u1, 0, 0);
}

static void T(avg_grad_op)(const T(gather) * g, const T(tap) * taps, ptrdiff_t n, const T(place) * at, ptrdiff_t u0,
                           ptrdiff_t u1) {
    if (g->c < VL)
        T(avg_row)(g, taps, n, at, u0, u1, 1, 1);
    else if (n == 1)
        T(avg_row)(g, taps, 1, at, u0, u1, 0, 1);
    else
        T(avg_row)(g, taps, n, at, u0, u1, 0, 1);
}

/* ---- the cases that deserve their own loop ---- */

/* dx of a 2 x 2 window of stride 2, c >= VL: each vector of dy and of winners is read once, for four pixels. A task is
   some rows of dy, and the two rows of dx that each stands for; what is left over on the right and below gets zeros. */
static void T(max_grad_2x2_task)(void *job, ptrdiff_t task) {
    const T(gather) *g = job;
    const ptrdiff_t c = g->c, line = g->cols * c, rest = (g->cols - 2 * g->from_cols) * c;
    ptrdiff_t r0 = task * g->rows_per_task, r1 = r0 + g->rows_per_task, all = g->n * g->from_rows;
    for (ptrdiff_t r = r0; r < r1 && r < all; r++) {
        const REAL *dy = g->source + r * g->from_cols * c;
        const unsigned char *winner = g->winner + r * g->from_cols * c;
        REAL *dx = g->result + (r / g->from_rows * g->rows + r % g->from_rows * 2) * line;
        for (ptrdiff_t u = 0; u < g->from_cols; u++, dy += c, winner += c, dx += 2 * c)
            for (ptrdiff_t i = 0; i < c; i += VL) {
                ptrdiff_t v = T(lane)(i, c, 0);
                T(wholes) who = T(widen)(*(const T(bytes) *)(winner + v)), value = (T(wholes))LOAD(dy + v);
                STORE(dx + v, (VEC)(value & (who == ALL(0))));
                STORE(dx + c + v, (VEC)(value & (who == ALL(1))));
                STORE(dx + line + v, (VEC)(value & (who == ALL(2))));
                STORE(dx + line + c + v, (VEC)(value & (who == ALL(3))));
            }
        memset(dx, 0, (size_t)rest * sizeof(REAL));
        memset(dx + line, 0, (size_t)rest * sizeof(REAL));
        if (r % g->from_rows == g->from_rows - 1)
            memset(dx + line + rest, 0, (size_t)((g->rows - 2 * g->from_rows) * line) * sizeof(REAL));
    }
}

/* dx for c < VL, where the lanes of a vector would be idle: number by number to where each came from. A task is some
   images. */
static void T(max_grad_small_task)(void *job, ptrdiff_t task) {
    T(gather) *g = job;
    const ptrdiff_t c = g->c, image = g->rows * g->cols * c;
    ptrdiff_t n0 = task * g->rows_per_task, n1 = n0 + g->rows_per_task, *offset = cnn_scratch(1, 256 * sizeof(ptrdiff_t));
    if (!offset) {
        g->failed = 1;
        return;
    }
    for (int i = 0; i < 256; i++)
        offset[i] = PTRDIFF_MAX / 2;
    for (ptrdiff_t i = 0; i < g->kh; i++)
        for (ptrdiff_t j = 0; j < g->kw; j++)
            offset[i * g->kw + j] = (i * g->dh * g->cols + j * g->dw) * c;
    const REAL *dy = g->source + n0 * g->from_rows * g->from_cols * c;
    const unsigned char *winner = g->winner + (dy - g->source);
    for (ptrdiff_t n = n0; n < n1 && n < g->n; n++) {
        REAL *dx = g->result + n * image;
        memset(dx, 0, (size_t)image * sizeof(REAL));
        for (ptrdiff_t i = 0; i < g->from_rows; i++)
            for (ptrdiff_t j = 0; j < g->from_cols; j++) {
                ptrdiff_t at = ((i * g->sh - g->top) * g->cols + j * g->sw - g->left) * c;
                for (ptrdiff_t end = at + c; at < end; at++, dy++, winner++) {
                    ptrdiff_t to = at + offset[*winner];
                    if ((size_t)to < (size_t)image) /* NOBODY, or a byte that no max_pool wrote, goes nowhere */
                        dx[to] += *dy;
                }
            }
    }
}

/* dx of an average for c < VL: tap by tap over a row, which stays in the cache. */
INLINE void T(spread)(const T(gather) * g, ptrdiff_t c, const T(tap) * tap, const REAL *dy, ptrdiff_t u0,
                      ptrdiff_t u1, REAL *dx) {
    ptrdiff_t stride = g->stride * c;
    const REAL *scale = g->scale + tap->pixel;
    dy += tap->offset;
    for (ptrdiff_t u = u0; u < u1; u++)
        for (ptrdiff_t i = 0; i < c; i++)
            dx[u * stride + i] += dy[u * c + i] * scale[u];
}

static void T(avg_grad_small_task)(void *job, ptrdiff_t task) {
    T(gather) *g = job;
    ptrdiff_t r0 = task * g->rows_per_task, r1 = r0 + g->rows_per_task, all = g->n * g->rows, c = g->c;
    T(tap) *taps = cnn_scratch(1, (size_t)(g->kh * g->kw) * sizeof(T(tap)));
    if (!taps) {
        g->failed = 1;
        return;
    }
    for (ptrdiff_t r = r0; r < r1 && r < all; r++) {
        const REAL *dy = g->source + r / g->rows * g->from_rows * g->from_cols * c;
        REAL *dx = g->result + r * g->cols * c;
        memset(dx, 0, (size_t)(g->cols * c) * sizeof(REAL));
        for (int b = 0; b < g->n_phases; b++) {
            ptrdiff_t n = T(find_taps)(g, &g->phases[b], r % g->rows, taps);
            for (ptrdiff_t t = 0; t < n; t++) {
                ptrdiff_t shift = taps[t].shift, low = shift < 0 ? -shift : 0, high = g->from_cols - shift;
                high = high < g->phases[b].count ? high : g->phases[b].count;
                if (c == 1)
                    T(spread)(g, 1, &taps[t], dy, low, high, dx + b);
                else if (c == 3)
                    T(spread)(g, 3, &taps[t], dy, low, high, dx + b * 3);
                else
                    T(spread)(g, c, &taps[t], dy, low, high, dx + b * c);
            }
        }
    }
}

/* ---- entries ---- */

static T(gather) T(pool_gather)(const cnn_pool *s, int backward, const void *source, void *result) {
    return (T(gather)){.source = source, .result = result, .n = s->n, .c = s->c, .kh = s->kh, .kw = s->kw, .sh = s->sh,
                       .sw = s->sw, .dh = s->dh, .dw = s->dw, .top = s->top, .left = s->left, .backward = backward,
                       .from_rows = backward ? s->oh : s->h, .from_cols = backward ? s->ow : s->w,
                       .rows = backward ? s->h : s->oh, .cols = backward ? s->w : s->ow};
}

static int T(max_pool)(const cnn_pool *s, const void *x, void *y, unsigned char *winner) {
    T(gather) g = T(pool_gather)(s, 0, x, y);
    g.op = T(max_op);
    g.relu = s->relu;
    g.new_winner = winner;
    return T(gather_run)(&g, T(gather_task), s->threads);
}

static int T(max_pool_input_grad)(const cnn_pool *s, const void *dy, const unsigned char *winner, void *dx) {
    T(gather) g = T(pool_gather)(s, 1, dy, dx);
    g.op = T(max_grad_op);
    g.winner = winner;
    if (s->c < VL) {
        ptrdiff_t image = (s->h * s->w + s->oh * s->ow) * s->c * (ptrdiff_t)sizeof(REAL);
        g.rows_per_task = 65536 / image + 1;
        cnn_parallel((s->n + g.rows_per_task - 1) / g.rows_per_task, s->threads, T(max_grad_small_task), &g);
        return g.failed ? -1 : 0;
    }
    if (s->kh == 2 && s->kw == 2 && s->sh == 2 && s->sw == 2 && s->dh == 1 && s->dw == 1 && s->top == 0 &&
        s->left == 0 &&
        2 * s->oh <= s->h && 2 * s->ow <= s->w && s->oh > 0) {
        g.rows_per_task = T(rows_of)(65536, s->h * s->w, s->oh, s->oh * s->ow, s->c);
        cnn_parallel((s->n * s->oh + g.rows_per_task - 1) / g.rows_per_task, s->threads, T(max_grad_2x2_task), &g);
        return 0;
    }
    return T(gather_run)(&g, T(gather_task), s->threads);
}

static int T(avg_pool)(const cnn_pool *s, const void *x, const void *inverse_counts, void *y) {
    T(gather) g = T(pool_gather)(s, 0, x, y);
    g.op = T(avg_op);
    g.scale = inverse_counts;
    return T(gather_run)(&g, T(gather_task), s->threads);
}

static int T(avg_pool_input_grad)(const cnn_pool *s, const void *dy, const void *inverse_counts, void *dx) {
    T(gather) g = T(pool_gather)(s, 1, dy, dx);
    g.op = T(avg_grad_op);
    g.scale = inverse_counts;
    return T(gather_run)(&g, s->c < VL ? T(avg_grad_small_task) : T(gather_task), s->threads);
}
#undef ALL
#undef NOBODY
