/* Forward and input gradient by Winograd's method (winograd.h), for kernels of 3 x 3 and stride 1.

   The input gradient is the forward pass over dy with the kernel turned and transposed.

   A task takes a block of tiles, of as many images as that needs: transforms them to points, multiplies the matrix (tiles,
   channels) of each point by the point's (channels, filters) with the register tile, a panel of filters at a time, and
   transforms back. All of a block stays in the L2 cache. The sums over channels are in their order whatever block a tile
   falls in, so bits do not depend on threads.

   An infinite number in the source would spread over its tile: then all is computed again without Winograd. */

typedef struct {
    const REAL *source; /* (n, sh, sw, groups * c) */
    REAL *out;          /* (n, oh, ow, groups * width) */
    const REAL *bias;   /* (groups * width), or NULL */
    const REAL *packed; /* [groups][points * points][weights_apart: panels of packed_size(c, width)] */
    ptrdiff_t n, sh, sw, c, oh, ow, width, groups;
    ptrdiff_t top, left;
    ptrdiff_t rows, cols, tiles; /* of an image; tiles of all */
    ptrdiff_t block, apart;      /* tiles of a task; numbers from a point to the next */
    int side, points, relu, threads, failed, not_finite;
} T(winograd);

#define BLOCK_BYTES 131072 /* of a task's numbers at the points */

static T(winograd) T(winograd_job)(const cnn_conv *s, ptrdiff_t sh, ptrdiff_t sw, ptrdiff_t sc, ptrdiff_t oh, ptrdiff_t ow,
                                   ptrdiff_t oc, ptrdiff_t top, ptrdiff_t left) {
    ptrdiff_t rows = (oh + s->side - 1) / s->side, cols = (ow + s->side - 1) / s->side;
    return (T(winograd)){.n = s->n, .sh = sh, .sw = sw, .c = sc / s->groups, .oh = oh, .ow = ow, .width = oc / s->groups,
                         .groups = s->groups, .top = top, .left = left, .rows = rows, .cols = cols,
                         .tiles = s->n * rows * cols, .side = s->side, .points = s->side + 2, .relu = s->relu,
                         .threads = s->threads};
}


/* Numbers from a point's packed weights to the next. */
static ptrdiff_t T(weights_apart)(ptrdiff_t c, ptrdiff_t width) { return T(points_apart)(T(packed_size)(c, width)); }

/* The pixels of a side x side window from (i0, j0) on, zeros outside the h x w image. With less than VL channels they are
   copied to `room`, a vector each. */
static void T(find_pixels)(const REAL *image, ptrdiff_t h, ptrdiff_t w, ptrdiff_t pixel, ptrdiff_t c, ptrdiff_t i0,
                           ptrdiff_t j0, int side, const REAL *zeros, REAL *room, const REAL **to) {
    int inside = i0 >= 0 && j0 >= 0 && i0 + side <= h && j0 + side <= w;
    for (ptrdiff_t i = i0; i < i0 + side; i++)
        for (ptrdiff_t j = j0; j < j0 + side; j++)
            *to++ = inside || (i >= 0 && j >= 0 && i < h && j < w) ? image + (i * w + j) * pixel : zeros;
    for (int i = 0; c < VL && i < side * side; i++, room += VL) {
        const REAL **from = to - side * side + i;
        memset(room, 0, (size_t)VL * sizeof(REAL));
        memcpy(room, *from, (size_t)c * sizeof(REAL));
        *from = room;
    }
}

/* One vector of filters of a tile of the result. */
typedef struct {
    ptrdiff_t line, pixel; /* numbers of y */
    ptrdiff_t rows, cols;  /* pixels that lie in the result */
    ptrdiff_t width;       /* filters */
    int relu;
} T(patch);

/* y = A^T m A + b. Point (i, j) of m is from[(i * n + j) * apart]; *bad becomes NaN where a number is not finite. */
typedef void (*T(points_to_tile))(const T(patch) * q, const REAL *from, ptrdiff_t apart, VEC bias, REAL *y, VEC *bad);
#define POINTS_TO_TILE(name, n, side)                                                                                  \
    static __attribute__((noinline)) void T(name)(const T(patch) * q, const REAL *from, ptrdiff_t apart, VEC bias,       \
                                                  REAL *y, VEC *bad) {                                                 \
        VEC sum = *bad;                                                                                               \
        if (q->rows == side && q->cols == side && q->width >= VL)                                                      \
            IN_TWO_DIMENSIONS(n, side, COLLECT, POINT, SET_WHOLE);                                                     \
        else                                                                                                          \
            IN_TWO_DIMENSIONS(n, side, COLLECT, POINT, SET_PART);                                                      \
        *bad = sum;                                                                                                   \
    }
#define POINT(i, j) from + ((i) * POINTS + (j)) * apart
#define COLLECT(to, from) T(collect)(POINTS, SIDE, to, from)
#define SET_WHOLE(i, j, value)                                                                                         \
    do {                                                                                                              \
        VEC number = value + bias;                                                                                    \
        sum += number * 0;                                                                                            \
        if (q->relu)                                                                                                  \
            number = (VEC)((MASK)number & ~(number <= 0));                                                             \
        STORE(y + (i) * q->line + (j) * q->pixel, number);                                                             \
    } while (0)
#define SET_PART(i, j, value)                                                                                          \
    if (i < q->rows && j < q->cols) {                                                                                 \
        VEC number = value + bias;                                                                                    \
        sum += number * 0;                                                                                            \
        if (q->relu)                                                                                                  \
            number = (VEC)((MASK)number & ~(number <= 0));                                                             \
        memcpy(y + (i) * q->line + (j) * q->pixel, &number, (size_t)q->width * sizeof(REAL));                           \
    }
#define POINTS 6
#define SIDE 4
POINTS_TO_TILE(collect_6_to_4, 6, 4)
#undef SIDE
#undef POINTS
#define POINTS 4
#define SIDE 2
POINTS_TO_TILE(collect_4_to_2, 4, 2)
#undef SIDE
#undef POINTS
#undef POINT
#undef COLLECT
#undef SET_WHOLE
#undef SET_PART
#undef POINTS_TO_TILE

/* m = u w: mr tiles, `step` numbers apart, by one panel of nv vectors of filters. Three rows share a pointer. */
#define MULTIPLY(name, mr, nv)                                                                                        \
    static __attribute__((noinline)) void T(name)(const REAL *u, ptrdiff_t step, ptrdiff_t c, const REAL *w, REAL *m) { \
        VEC acc[mr][nv];                                                                                              \
        const REAL *row[(mr + 2) / 3];                                                                                \
        _Pragma("GCC unroll 8") for (int r = 0; r < (mr + 2) / 3; r++) row[r] = u + 3 * r * step;                       \
        _Pragma("GCC unroll 24") for (int i = 0; i < mr; i++)                                                          \
            _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++) acc[i][v] = (VEC){0};                                  \
        for (ptrdiff_t k = 0; k < c; k++, w += nv * VL) {                                                              \
            VEC b[nv];                                                                                                \
            _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++) b[v] = LOAD(w + v * VL);                               \
            _Pragma("GCC unroll 24") for (int i = 0; i < mr; i++)                                                      \
                _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++) acc[i][v] += row[i / 3][i % 3 * step] * b[v];       \
            _Pragma("GCC unroll 8") for (int r = 0; r < (mr + 2) / 3; r++) row[r]++;                                    \
        }                                                                                                             \
        _Pragma("GCC unroll 24") for (int i = 0; i < mr; i++)                                                          \
            _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++) STORE(m + (i * nv + v) * VL, acc[i][v]);               \
    }
#if MR == 12
MULTIPLY(multiply_2, 12, 2)
MULTIPLY(multiply_half_2, 6, 2)
MULTIPLY(multiply_1, 24, 1)
MULTIPLY(multiply_half_1, 12, 1)
#else
MULTIPLY(multiply_2, 6, 2)
MULTIPLY(multiply_half_2, 3, 2)
MULTIPLY(multiply_1, 12, 1)
MULTIPLY(multiply_half_1, 6, 1)
#endif
#undef MULTIPLY

/* m[point] = u[point] w[point] for the tiles of a block and one panel of filters: u[point][tile][cu], m[point][tile][lanes]. */
static void T(multiply_points)(const T(winograd) * q, const REAL *u, ptrdiff_t u_apart, ptrdiff_t cu, const REAL *w,
                               ptrdiff_t w_apart, REAL *m, ptrdiff_t m_apart, int lanes, ptrdiff_t count) {
    int height = lanes > VL ? MR : 2 * MR;
    for (int point = 0; point < q->points * q->points; point++, u += u_apart, w += w_apart, m += m_apart)
        for (ptrdiff_t t = 0; t < count; t += height)
            if (count - t <= height / 2)
                (lanes > VL ? T(multiply_half_2) : T(multiply_half_1))(u + t * cu, cu, q->c, w, m + t * lanes);
            else
                (lanes > VL ? T(multiply_2) : T(multiply_1))(u + t * cu, cu, q->c, w, m + t * lanes);
}

static void T(winograd_task)(void *job, ptrdiff_t task) {
    T(winograd) *q = job;
    ptrdiff_t first = task * q->block, count = q->tiles - first < q->block ? q->tiles - first : q->block;
    ptrdiff_t points = (ptrdiff_t)q->points * q->points, room = (count + 2 * MR - 1) / (2 * MR) * (2 * MR);
    ptrdiff_t cu = (q->c + VL - 1) / VL * VL, u_apart = T(points_apart)(room * cu), m_apart = T(points_apart)(room * NR);
    ptrdiff_t pixels = points * VL;
    REAL *zeros = cnn_scratch(1, (size_t)(cu + pixels + points * (u_apart + m_apart)) * sizeof(REAL));
    if (!zeros) {
        q->failed = 1;
        return;
    }
    REAL *narrow = zeros + cu, *u = narrow + pixels, *m = u + points * u_apart;
    T(tile_to_points) interpolate = q->points == 6 ? T(interpolate_6) : T(interpolate_4);
    T(points_to_tile) collect = q->points == 6 ? T(collect_6_to_4) : T(collect_4_to_2);
    ptrdiff_t step = q->groups * q->c, to_step = q->groups * q->width, w_apart = T(weights_apart)(q->c, q->width);
    VEC bad = {0};
    memset(zeros, 0, (size_t)cu * sizeof(REAL));
    for (ptrdiff_t g = 0; g < q->groups; g++) {
        for (ptrdiff_t t = 0; t < count; t++) {
            const REAL *pixel[36];
            ptrdiff_t n = (first + t) / (q->rows * q->cols), i = (first + t) / q->cols % q->rows, j = (first + t) % q->cols;
            T(find_pixels)(q->source + n * q->sh * q->sw * step + g * q->c, q->sh, q->sw, step, q->c, i * q->side - q->top,
                           j * q->side - q->left, q->points, zeros, narrow, pixel);
            interpolate(pixel, q->c < VL ? VL : q->c, u + t * cu, u_apart);
        }
        for (ptrdiff_t f = 0; f < q->width; f += NR) {
            int lanes = q->width - f > VL ? NR : VL;
            T(multiply_points)(q, u, u_apart, cu, q->packed + g * points * w_apart + f * q->c, w_apart, m, m_apart, lanes, count);
            for (ptrdiff_t t = 0; t < count; t++) {
                ptrdiff_t n = (first + t) / (q->rows * q->cols), i = (first + t) / q->cols % q->rows * q->side,
                          j = (first + t) % q->cols * q->side;
                for (ptrdiff_t v = f; v < f + lanes && v < q->width; v += VL) {
                    T(patch) to = {q->ow * to_step, to_step, q->oh - i < q->side ? q->oh - i : q->side,
                                   q->ow - j < q->side ? q->ow - j : q->side, q->width - v < VL ? q->width - v : VL, q->relu};
                    VEC bias = {0};
                    if (q->bias)
                        memcpy(&bias, q->bias + g * q->width + v, (size_t)to.width * sizeof(REAL));
                    collect(&to, m + t * lanes + v - f, m_apart, bias,
                            q->out + ((n * q->oh + i) * q->ow + j) * to_step + g * q->width + v, &bad);
                }
            }
        }
    }
    for (int v = 0; v < VL; v++)
        if (bad[v] != 0)
            q->not_finite = 1;
}

/* ---- the weights at the points ---- */

typedef struct {
    const T(winograd) * q;
    const REAL *W; /* (3, 3, c, groups * width); turned and transposed, (3, 3, width, groups * c) */
    REAL *packed;
    int transposed;
} T(points_job);

/* VL channels and VL filters: cut out of W, in order and filled up with zeros, then transformed. */
static void T(points_task)(void *job, ptrdiff_t task) {
    const T(points_job) *p = job;
    const T(winograd) *q = p->q;
    ptrdiff_t blocks = (q->c + VL - 1) / VL, panels = (q->width + VL - 1) / VL;
    ptrdiff_t c0 = task % blocks * VL, f0 = task / blocks % panels * VL, g = task / blocks / panels;
    ptrdiff_t rows = q->c - c0 < VL ? q->c - c0 : VL, width = q->width - f0 < VL ? q->width - f0 : VL;
    ptrdiff_t points = (ptrdiff_t)q->points * q->points, apart = T(weights_apart)(q->c, q->width);
    ptrdiff_t panel = f0 / NR * NR, ldw = q->width - panel > VL ? NR : VL;
    REAL *to = p->packed + g * points * apart + panel * q->c + c0 * ldw + f0 - panel;
    REAL cut[9][VBYTES / sizeof(REAL)][VBYTES / sizeof(REAL)], values[36][VBYTES / sizeof(REAL)];
    memset(cut, 0, sizeof cut);
    for (int e = 0; e < 9; e++)
        if (p->transposed) {
            ptrdiff_t step = q->groups * q->c;
            const REAL *w = p->W + ((8 - e) * q->width + f0) * step + g * q->c + c0;
            if (rows == VL && width == VL)
                for (ptrdiff_t r = 0; r < VL; r += 4)
                    for (ptrdiff_t f = 0; f < VL; f += 4)
                        T(transpose_four)(&cut[e][r][f], VL, w + r + f * step, step);
            else
                for (ptrdiff_t r = 0; r < rows; r++)
                    for (ptrdiff_t f = 0; f < width; f++)
                        cut[e][r][f] = w[r + f * step];
        } else {
            ptrdiff_t step = q->groups * q->width;
            const REAL *w = p->W + (e * q->c + c0) * step + g * q->width + f0;
            for (ptrdiff_t r = 0; r < rows; r++)
                memcpy(cut[e][r], w + r * step, (size_t)width * sizeof(REAL));
        }
    for (ptrdiff_t r = 0; r < rows; r++, to += ldw) {
        const REAL *pixel[9];
        for (int e = 0; e < 9; e++)
            pixel[e] = cut[e][r];
        (q->points == 6 ? T(evaluate_3_at_6) : T(evaluate_3_at_4))(pixel, VL, values[0], VL);
        for (int i = 0; i < points; i++)
            STORE(to + i * apart, LOAD(values[i]) * T(factor)(q->points, i));
    }
}

/* Numbers of all packed weights. */
static ptrdiff_t T(packed_numbers)(const T(winograd) * q) {
    return q->groups * q->points * q->points * T(weights_apart)(q->c, q->width);
}

static void T(pack_points)(const T(winograd) * q, const REAL *W, int transposed, REAL *to) {
    T(points_job) job = {q, W, to, transposed};
    ptrdiff_t tasks = q->groups * ((q->c + VL - 1) / VL) * ((q->width + VL - 1) / VL);
    cnn_parallel(tasks, q->threads, T(points_task), &job);
}

/* The packed weights in the caller's scratch; NULL if memory is out. */
static const REAL *T(pack_here)(const T(winograd) * q, const REAL *W, int transposed) {
    REAL *to = cnn_scratch(0, (size_t)T(packed_numbers)(q) * sizeof(REAL));
    if (to)
        T(pack_points)(q, W, transposed, to);
    return to;
}

/* ---- the passes ---- */

/* Cut the result into tiles and these into tasks, and do them. */
static int T(winograd_run)(T(winograd) * q) {
    ptrdiff_t points = (ptrdiff_t)q->points * q->points, cu = (q->c + VL - 1) / VL * VL;
    ptrdiff_t panel = q->width > VL ? NR : VL, height = q->width > VL ? MR : 2 * MR;
    ptrdiff_t fitting = BLOCK_BYTES / (points * (cu + panel) * (ptrdiff_t)sizeof(REAL));
    ptrdiff_t share = (q->tiles + 4 * q->threads - 1) / (4 * q->threads);
    q->block = fitting < share ? fitting : share;
    q->block = q->block < height ? height : q->block / height * height;
    cnn_parallel((q->tiles + q->block - 1) / q->block, q->threads, T(winograd_task), q);
    return q->failed ? -1 : q->not_finite ? AGAIN : 0;
}

static T(winograd) T(winograd_forward_job)(const cnn_conv *s) {
    return T(winograd_job)(s, s->h, s->w, s->c, s->oh, s->ow, s->f, s->top, s->left);
}

/* Numbers that winograd_pack writes. */
static ptrdiff_t T(winograd_packed)(const cnn_conv *s) {
    T(winograd) q = T(winograd_forward_job)(s);
    return T(packed_numbers)(&q);
}

/* Transform the weights for many forward passes. The bias needs no packing. */
static int T(winograd_pack)(const cnn_conv *s, const void *W, const void *b, void *to) {
    T(winograd) q = T(winograd_forward_job)(s);
    (void)b;
    T(pack_points)(&q, W, 0, to);
    return 0;
}

/* y = x * W + b. `ready`: the weights as winograd_pack wrote them, or NULL. */
static int T(winograd_forward)(const cnn_conv *s, const void *x, const void *W, const void *b, const void *ready, void *y) {
    T(winograd) q = T(winograd_forward_job)(s);
    q.source = x;
    q.out = y;
    q.bias = b;
    q.packed = ready ? ready : T(pack_here)(&q, W, 0);
    if (!q.packed)
        return -1;
    int failed = T(winograd_run)(&q);
    return failed == AGAIN ? T(conv_forward)(s, x, W, b, NULL, y) : failed;
}

static int T(winograd_input_grad)(const cnn_conv *s, const void *dy, const void *W, void *dx) {
    T(winograd) q = T(winograd_job)(s, s->oh, s->ow, s->f, s->h, s->w, s->c, 2 - s->top, 2 - s->left);
    q.source = dy;
    q.out = dx;
    q.relu = 0;
    q.packed = T(pack_here)(&q, W, 1);
    if (!q.packed)
        return -1;
    int failed = T(winograd_run)(&q);
    return failed == AGAIN ? T(conv_input_grad)(s, dy, W, dx) : failed;
}
