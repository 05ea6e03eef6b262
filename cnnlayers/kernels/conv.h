/* Convolution without columns: forward, input gradient, weight gradient.

   Forward. The tile of tile.h over all output positions. A block of images (or of rows of one) is copied into a buffer
   with a halo of zeros, which stays in the L2 cache; where there is no padding, x is read where it lies.

   Input gradient. Pixel i of dx is read by output o through tap k where o s + k d - p = i. So the pixels i = a + s t of one
   phase a (0 <= a < s) are a convolution of stride 1 over dy, with the taps k for which s divides a + p - k d, at
   o = t + (a + p - k d) / s. Each pixel gathers: the same tile, with weights turned and transposed. For s = 1 there is one
   phase: the seed's full correlation with the kernel reversed.

   Weight gradient. dW[k][f] = sum over positions of patch[k] dy[f]: a tile of MR patch entries by NR filters, summed over
   the positions of an image in registers. The images are cut into chunks whose number depends on the shape alone, and
   their sums are added in order: so bits do not depend on the number of threads. */

/* One copy of dst := src for `rows` x `cols` pixels of `c` numbers, from pixel (i0, j0) of an h x w image, zero outside. */
static void T(window_copy)(REAL *dst, const REAL *src, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t c, ptrdiff_t i0,
                           ptrdiff_t j0, ptrdiff_t h, ptrdiff_t w) {
    ptrdiff_t from = j0 < 0 ? -j0 : 0, to = w - j0 < cols ? w - j0 : cols;
    if (from > cols)
        from = cols;
    if (to < from)
        to = from;
    for (ptrdiff_t i = 0; i < rows; i++, dst += cols * c) {
        if (i + i0 < 0 || i + i0 >= h) {
            memset(dst, 0, (size_t)(cols * c) * sizeof(REAL));
            continue;
        }
        memset(dst, 0, (size_t)(from * c) * sizeof(REAL));
        if (to > from)
            memcpy(dst + from * c, src + ((i + i0) * w + j0 + from) * c, (size_t)((to - from) * c) * sizeof(REAL));
        memset(dst + to * c, 0, (size_t)((cols - to) * c) * sizeof(REAL));
    }
}

/* Size of `width` filters packed: panels of NR, the last of VL if that holds it. */
static ptrdiff_t T(packed_size)(ptrdiff_t k, ptrdiff_t width) {
    ptrdiff_t tail = width % NR;
    return k * (width / NR * NR + (tail ? (tail > VL ? NR : VL) : 0));
}

/* Add one row (weights of one k for all filters) to the panels: row k of each. */
static void T(pack_row)(REAL *packed, ptrdiff_t k, ptrdiff_t total_k, ptrdiff_t width, const REAL *row) {
    for (ptrdiff_t f = 0; f < width; f += NR) {
        ptrdiff_t here = width - f < NR ? width - f : NR, lanes = here > VL ? NR : VL;
        REAL *dst = packed + f * total_k + k * lanes;
        for (ptrdiff_t i = 0; i < here; i++)
            dst[i] = row[f + i];
        for (ptrdiff_t i = here; i < lanes; i++)
            dst[i] = 0;
    }
}

/* Add `count` rows from a transposed matrix: row r holds w[i * step + r] for filter i. */
static void T(pack_transposed)(REAL *packed, ptrdiff_t k, ptrdiff_t total_k, ptrdiff_t width, const REAL *w, ptrdiff_t step,
                               ptrdiff_t count) {
    for (ptrdiff_t f = 0; f < width; f += NR) {
        ptrdiff_t here = width - f < NR ? width - f : NR, lanes = here > VL ? NR : VL;
        REAL *dst = packed + f * total_k + k * lanes;
        for (ptrdiff_t i = 0; i < lanes; i++)
            for (ptrdiff_t r = 0; r < count; r++) /* reads in order; the writes stay within a panel, in the L1 cache */
                dst[r * lanes + i] = i < here ? w[(f + i) * step + r] : 0;
    }
}

/* Append a run, or lengthen the last one if it goes on there. */
static int T(add_run)(T(run) * runs, int n, ptrdiff_t offset, ptrdiff_t length) {
    if (n && runs[n - 1].offset + runs[n - 1].length == offset) {
        runs[n - 1].length += length;
        return n;
    }
    runs[n].offset = offset;
    runs[n].length = length;
    return n + 1;
}

/* How images and rows are cut into tasks: whole images where they are many, else blocks of rows. */
typedef struct {
    ptrdiff_t images; /* per task */
    ptrdiff_t rows;   /* per task */
    ptrdiff_t blocks; /* of rows, per image */
    ptrdiff_t tasks;
} T(cut);

static T(cut) T(cut_work)(ptrdiff_t n, ptrdiff_t rows, ptrdiff_t cols, int threads) {
    T(cut) cut = {1, rows, 1, n};
    if (n == 0 || rows == 0 || cols == 0)
        return (T(cut)){1, 1, 1, 0};
    ptrdiff_t wanted = 8 * threads; /* tasks, so that no thread waits long for the last */
    if (threads > 1 && n < wanted) {
        ptrdiff_t blocks = (wanted + n - 1) / n, least = (2 * MR + cols - 1) / cols; /* rows that make two tiles */
        cut.rows = (rows + blocks - 1) / blocks;
        if (cut.rows < least)
            cut.rows = least;
        cut.blocks = (rows + cut.rows - 1) / cut.rows;
    } else {
        ptrdiff_t most = n / (wanted ? wanted : 1), enough = (16 * MR + rows * cols - 1) / (rows * cols);
        cut.images = enough < most ? enough : most;
        if (cut.images < 1)
            cut.images = 1;
    }
    cut.tasks = (n + cut.images - 1) / cut.images * cut.blocks;
    return cut;
}

/* ---- forward and input gradient: one engine ---- */

/* A phase: the positions (a + s t, b + s u) of the output, each the sum over a list of runs of the source. */
typedef struct {
    ptrdiff_t first_h, first_w, count_h, count_w; /* a, b and how many t, u */
    int n_runs, k;
    T(run) * runs; /* per group: n_runs, offsets from the position's patch, group included */
    const REAL *packed; /* groups, one after the other */
} T(phase);

typedef struct {
    const REAL *source; /* (n, sh, sw, sc) */
    REAL *out;          /* (n, oh, ow, oc) */
    const REAL *bias;   /* packed per group, or NULL */
    ptrdiff_t n, sh, sw, sc, oh, ow, oc, groups, width;
    ptrdiff_t step_h, step_w;   /* source pixels between neighbouring positions t, u */
    ptrdiff_t low_h, low_w;     /* source pixel that position 0's patch starts at */
    ptrdiff_t span_h, cols;     /* source rows of one patch, source columns of all patches of a row */
    ptrdiff_t rows;             /* positions t of the largest phase */
    ptrdiff_t stride_h, stride_w; /* output pixels between neighbouring positions */
    ptrdiff_t packed_group, bias_group;
    ptrdiff_t ldw;                /* not 0: the weights are read as they are */
    ptrdiff_t panel_tasks;        /* 1, or the number of panels: then each is a task */
    int n_phases, relu, direct;
    T(phase) * phases;
    T(cut) cut;
    int failed;
} T(engine);

static void T(engine_task)(void *job, ptrdiff_t task) {
    T(engine) *e = job;
    ptrdiff_t panels = (e->width + NR - 1) / NR, each = (panels + e->panel_tasks - 1) / e->panel_tasks;
    ptrdiff_t panel = task % e->panel_tasks * each;
    task /= e->panel_tasks;
    ptrdiff_t n0 = task / e->cut.blocks * e->cut.images, n1 = n0 + e->cut.images < e->n ? n0 + e->cut.images : e->n;
    ptrdiff_t t0 = task % e->cut.blocks * e->cut.rows, t1 = t0 + e->cut.rows < e->rows ? t0 + e->cut.rows : e->rows;
    ptrdiff_t most = (n1 - n0) * (t1 - t0) * e->phases[0].count_w; /* phase 0 is the largest */
    ptrdiff_t block_rows = (t1 - t0 - 1) * e->step_h + e->span_h, image = e->direct ? 0 : block_rows * e->cols * e->sc;
    size_t table = ((size_t)most * 2 * sizeof(void *) + 63) & ~(size_t)63;
    char *memory = cnn_scratch(1, table + (size_t)((n1 - n0) * image) * sizeof(REAL));
    if (!memory) {
        e->failed = 1;
        return;
    }
    const REAL **x = (const REAL **)memory;
    REAL **y = (REAL **)(x + most), *halo = (REAL *)(memory + table);
    ptrdiff_t i0 = t0 * e->step_h + e->low_h, line = (e->direct ? e->sw : e->cols) * e->sc;
    if (!e->direct)
        for (ptrdiff_t n = n0; n < n1; n++)
            T(window_copy)(halo + (n - n0) * image, e->source + n * e->sh * e->sw * e->sc, block_rows, e->cols, e->sc, i0,
                           e->low_w, e->sh, e->sw);
    for (int i = 0; i < e->n_phases; i++) {
        const T(phase) *ph = &e->phases[i];
        ptrdiff_t end = t1 < ph->count_h ? t1 : ph->count_h;
        for (ptrdiff_t g = 0; g < e->groups; g++) {
            ptrdiff_t count = 0;
            for (ptrdiff_t n = n0; n < n1; n++) {
                const REAL *base = e->direct ? e->source + (n * e->sh + i0) * e->sw * e->sc : halo + (n - n0) * image;
                for (ptrdiff_t t = t0; t < end; t++) {
                    const REAL *row = base + (t - t0) * e->step_h * line;
                    REAL *to = e->out + ((n * e->oh + ph->first_h + t * e->stride_h) * e->ow + ph->first_w) * e->oc +
                               g * e->width;
                    for (ptrdiff_t u = 0; u < ph->count_w; u++, count++) {
                        x[count] = row + u * e->step_w * e->sc;
                        y[count] = to + u * e->stride_w * e->oc;
                    }
                }
            }
            T(panels) q = {ph->runs + g * ph->n_runs, ph->n_runs, ph->k, ph->packed + g * e->packed_group * ph->k, e->ldw,
                           e->bias ? e->bias + g * e->bias_group : NULL, e->width, e->relu};
            T(run_panels)(&q, panel, panel + each < panels ? panel + each : panels, count, x, y);
        }
    }
}

static int T(conv_forward)(const cnn_conv *s, const void *x, const void *W, const void *b, void *y) {
    ptrdiff_t c = s->c / s->groups, f = s->f / s->groups, k = s->kh * s->kw * c, per_k = T(packed_size)(1, f);
    ptrdiff_t biases = (f + NR - 1) / NR * NR, span = (s->kh - 1) * s->dh + 1;
    ptrdiff_t cols = (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1, rows = (s->oh - 1) * s->sh + span;
    int direct = s->top == 0 && s->left == 0 && rows <= s->h && cols <= s->w, taps = (int)(s->kh * s->kw);
    /* Few positions: packing the weights would cost more than the product, and panels make more tasks than positions. */
    int plain = s->groups == 1 && f >= NR && s->n * s->oh * s->ow <= 2 * MR;
    size_t reals = plain ? 0 : (size_t)(s->groups * (k * per_k + biases));
    REAL *packed = cnn_scratch(0, reals * sizeof(REAL) + (size_t)(s->groups * taps) * sizeof(T(run)));
    if (!packed)
        return -1;
    const REAL *weights = plain ? W : packed, *biased = plain ? b : packed + s->groups * k * per_k;
    REAL *bias = packed + s->groups * k * per_k;
    T(run) *runs = (T(run) *)(packed + reals);
    ptrdiff_t line = (direct ? s->w : cols) * s->c;
    int n_runs = 0;
    for (ptrdiff_t g = 0; g < s->groups; g++) {
        n_runs = 0;
        for (ptrdiff_t i = 0; i < s->kh; i++)
            for (ptrdiff_t j = 0; j < s->kw; j++)
                n_runs = T(add_run)(runs, n_runs, i * s->dh * line + j * s->dw * s->c + g * c, c);
        if (g + 1 < s->groups) /* all groups have as many runs; the next group's go behind */
            runs += n_runs;
        for (ptrdiff_t i = 0; !plain && i < k; i++)
            T(pack_row)(packed + g * k * per_k, i, k, f, (const REAL *)W + i * s->f + g * f);
        for (ptrdiff_t i = 0; b && !plain && i < biases; i++)
            bias[g * biases + i] = i < f ? ((const REAL *)b)[g * f + i] : 0;
    }
    runs -= (s->groups - 1) * n_runs;
    T(phase) phase = {0, 0, s->oh, s->ow, n_runs, (int)k, runs, weights};
    T(engine) e = {.source = x, .out = y, .bias = b ? biased : NULL, .ldw = plain ? s->f : 0, .n = s->n, .sh = s->h,
                   .sw = s->w, .sc = s->c, .oh = s->oh, .ow = s->ow, .oc = s->f, .groups = s->groups, .width = f, .step_h = s->sh, .step_w = s->sw,
                   .low_h = -s->top, .low_w = -s->left, .span_h = span, .cols = cols, .rows = s->oh, .stride_h = 1,
                   .stride_w = 1, .packed_group = per_k, .bias_group = biases, .n_phases = 1, .relu = s->relu,
                   .direct = direct, .phases = &phase, .cut = T(cut_work)(s->n, s->oh, s->ow, s->threads),
                   .panel_tasks = plain ? (f + NR - 1) / NR : 1};
    cnn_parallel(e.cut.tasks * e.panel_tasks, s->threads, T(engine_task), &e);
    return e.failed ? -1 : 0;
}

/* One axis of the input gradient: which outputs o = t + shift[tap] pixel a + s t reads, for the taps of phase a. */
typedef struct {
    ptrdiff_t stride, low, high; /* smallest and largest shift over all phases */
} T(reach);

static T(reach) T(find_reach)(ptrdiff_t s, ptrdiff_t d, ptrdiff_t k, ptrdiff_t p, ptrdiff_t size) {
    T(reach) r = {s, 0, 0};
    int any = 0;
    for (ptrdiff_t a = 0; a < s && a < size; a++)
        for (ptrdiff_t tap = 0; tap < k; tap++)
            if ((a + p - tap * d) % s == 0) {
                ptrdiff_t shift = (a + p - tap * d) / s;
                r.low = !any || shift < r.low ? shift : r.low;
                r.high = !any || shift > r.high ? shift : r.high;
                any = 1;
            }
    return r;
}

/* dx = dy W^T for a few rows of dy: each row of W is read once, where it lies, and multiplied with each of them. */
typedef struct {
    const REAL *dy, *W;
    REAL *dx;
    ptrdiff_t n, d, m;
} T(dots);

#define DOTS 4 /* rows of dy at most */

static void T(dots_task)(void *job, ptrdiff_t task) {
    const T(dots) *q = job;
    ptrdiff_t end = task * 256 + 256 < q->d ? task * 256 + 256 : q->d;
    for (ptrdiff_t i = task * 256; i < end; i++)
        for (ptrdiff_t n = 0; n < q->n; n++) {
            const REAL *w = q->W + i * q->m, *dy = q->dy + n * q->m;
            VEC sums = {0};
            ptrdiff_t j = 0;
            for (; j + VL <= q->m; j += VL)
                sums += LOAD(w + j) * LOAD(dy + j);
            REAL sum = 0;
            for (int v = 0; v < VL; v++)
                sum += sums[v];
            for (; j < q->m; j++)
                sum += w[j] * dy[j];
            q->dx[n * q->d + i] = sum;
        }
}

static int T(conv_input_grad)(const cnn_conv *s, const void *dy, const void *W, void *dx) {
    ptrdiff_t c = s->c / s->groups, f = s->f / s->groups, per_k = T(packed_size)(1, c), taps = s->kh * s->kw;
    int pointwise = taps == 1 && s->sh == 1 && s->sw == 1 && s->oh == s->h && s->ow == s->w && s->groups == 1;
    if (pointwise && s->top == 0 && s->left == 0 && s->n * s->h * s->w <= DOTS) {
        T(dots) q = {dy, W, dx, s->n * s->h * s->w, s->c, s->f};
        cnn_parallel((s->c + 255) / 256, s->threads, T(dots_task), &q);
        return 0;
    }
    ptrdiff_t ph = s->sh < s->h ? s->sh : s->h, pw = s->sw < s->w ? s->sw : s->w;
    T(reach) rh = T(find_reach)(s->sh, s->dh, s->kh, s->top, s->h), rw = T(find_reach)(s->sw, s->dw, s->kw, s->left, s->w);
    ptrdiff_t rows = (s->h + s->sh - 1) / s->sh, across = (s->w + s->sw - 1) / s->sw;
    ptrdiff_t span = rh.high - rh.low + 1, cols = across - 1 + rw.high - rw.low + 1;
    int direct = rh.low == 0 && rw.low == 0 && rows - 1 + rh.high < s->oh && across - 1 + rw.high < s->ow;
    ptrdiff_t line = (direct ? s->ow : cols) * s->f;
    size_t reals = (size_t)(s->groups * taps * f * per_k);
    REAL *packed = cnn_scratch(0, reals * sizeof(REAL) + (size_t)(s->groups * taps) * sizeof(T(run)) +
                                      (size_t)(ph * pw) * sizeof(T(phase)));
    if (!packed)
        return -1;
    T(run) *runs = (T(run) *)(packed + reals);
    T(phase) *phases = (T(phase) *)(runs + s->groups * taps);
    int n_phases = 0;
    for (ptrdiff_t a = 0; a < ph; a++)
        for (ptrdiff_t b = 0; b < pw; b++) {
            T(phase) *phase = &phases[n_phases++];
            ptrdiff_t n_taps = 0;
            for (ptrdiff_t i = 0; i < s->kh; i++)
                for (ptrdiff_t j = 0; j < s->kw; j++)
                    n_taps += (a + s->top - i * s->dh) % s->sh == 0 && (b + s->left - j * s->dw) % s->sw == 0;
            *phase = (T(phase)){a, b, (s->h - a + s->sh - 1) / s->sh, (s->w - b + s->sw - 1) / s->sw, 0, (int)(n_taps * f),
                                runs, packed};
            for (ptrdiff_t g = 0; g < s->groups; g++) {
                ptrdiff_t k = 0;
                int n_runs = 0;
                for (ptrdiff_t i = s->kh - 1; i >= 0; i--) /* turned by 180 degrees: neighbouring outputs ascend */
                    for (ptrdiff_t j = s->kw - 1; j >= 0; j--) {
                        if ((a + s->top - i * s->dh) % s->sh != 0 || (b + s->left - j * s->dw) % s->sw != 0)
                            continue;
                        ptrdiff_t at_h = (a + s->top - i * s->dh) / s->sh - rh.low;
                        ptrdiff_t at_w = (b + s->left - j * s->dw) / s->sw - rw.low;
                        n_runs = T(add_run)(runs, n_runs, at_h * line + at_w * s->f + g * f, f);
                        const REAL *w = (const REAL *)W + (i * s->kw + j) * c * s->f + g * f;
                        T(pack_transposed)(packed, k, n_taps * f, c, w, s->f, f);
                        k += f;
                    }
                phase->n_runs = n_runs;
                runs += n_runs;
                packed += n_taps * f * per_k;
            }
        }
    T(engine) e = {.source = dy, .out = dx, .bias = NULL, .n = s->n, .sh = s->oh, .sw = s->ow, .sc = s->f, .oh = s->h,
                   .ow = s->w, .oc = s->c, .groups = s->groups, .width = c, .step_h = 1, .step_w = 1, .low_h = rh.low,
                   .low_w = rw.low, .span_h = span, .cols = cols, .rows = rows, .stride_h = s->sh, .stride_w = s->sw,
                   .packed_group = per_k, .n_phases = n_phases, .direct = direct, .phases = phases,
                   .cut = T(cut_work)(s->n, rows, across, s->threads), .panel_tasks = 1};
    cnn_parallel(e.cut.tasks, s->threads, T(engine_task), &e);
    return e.failed ? -1 : 0;
}
