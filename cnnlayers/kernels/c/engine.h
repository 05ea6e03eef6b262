/* The engine of convolution: which patches the register tile meets, and with which weights.

   Along an axis, pixel i of the result is a sum over the source's pixels step * i + shift, for a list of shifts.
   Forward: step = s, shift = k d - p. Input gradient: see direct.h. Where a pixel would read padding its list is
   shorter; neighbours with the same list are a segment. Two ways to meet the padding, to the same bits, of which the
   cheaper is taken:

   - skip it: the tiles of each pair of segments (of rows and columns) have their own list of runs, read in the
     image;
   - copy: the images of a task are copied with a halo of zeros, which stays in the L2 cache, and all tiles are
     alike.

   Narrow results. A pixel with few channels would fill a small part of a vector. Then one position computes a block
   of neighbouring pixels of a row: its list is that of all of them, and a number that only one pixel wants has
   weights of zero for the others. Narrow groups are taken together (narrow_groups.h), with weights of zero between
   them. As 0 * inf is NaN, an infinite number in the source would spread to neighbours: then all is computed again
   without either. */
#pragma once

#include "elementwise.h"
#include "halo.h"
#include "pack.h"
#include "parallel.h"
#include "scratch.h"
#include "tile.h"

#include <string.h>

typedef struct {
    ptrdiff_t from, to; /* positions from .. to - 1 read taps first .. last - 1 */
    int first, last;
} Segment;

typedef struct {
    ptrdiff_t pixels, start, stride; /* of the result: start + stride * i, i < pixels */
    ptrdiff_t step, size;            /* of the source */
    ptrdiff_t block;                 /* pixels of a position */
    int n_kernel, n_taps, n_segments;
    int *kernel;       /* kernel elements of one pixel, their shifts ascending */
    ptrdiff_t *shifts; /* of all pixels of a position, ascending */
    Segment *segments;
} Axis;

INLINE ptrdiff_t count_positions(const Axis *a) { return (a->pixels + a->block - 1) / a->block; }

/* The first pixel of position u: the last block is moved back to end with the row, and what overlaps is the same. */
INLINE ptrdiff_t pixel(const Axis *a, ptrdiff_t u) {
    return u * a->block < a->pixels - a->block ? u * a->block : a->pixels - a->block;
}

/* Lay out an axis whose n_kernel, kernel and shifts (of one pixel) are given: blocks, then segments. */
static void finish_axis(Axis *a) {
    a->n_taps = a->block > 1 ? (int)((a->block - 1) * a->step) + a->n_kernel : a->n_kernel;
    for (int t = 1; a->block > 1 && t < a->n_taps; t++)
        a->shifts[t] = a->shifts[0] + t; /* those of one pixel are neighbours */
    a->n_segments = 0;
    for (ptrdiff_t u = 0; u < count_positions(a); u++) {
        ptrdiff_t at = pixel(a, u) * a->step;
        int first = 0, last = a->n_taps;
        while (first < last && at + a->shifts[first] < 0)
            first++;
        while (last > first && at + a->shifts[last - 1] >= a->size)
            last--;
        Segment *s = &a->segments[a->n_segments];
        if (u && s[-1].first == first && s[-1].last == last)
            s[-1].to = u + 1;
        else {
            *s = (Segment){u, u + 1, first, last};
            a->n_segments++;
        }
    }
}

/* One segment for all positions, as with a halo. */
static void join_segments(Axis *a) {
    a->segments[0] = (Segment){0, count_positions(a), 0, a->n_taps};
    a->n_segments = 1;
}

/* The pixels of one row axis and one column axis, and their packed weights: groups, one after the other. */
typedef struct {
    const Axis *h, *w;
    const REAL *packed;
} Phase;

typedef struct {
    const REAL *source; /* (n, sh, sw, groups * c) */
    REAL *out;          /* (n, oh, ow, groups * width) */
    const REAL *bias;   /* packed like the weights, or NULL */
    ptrdiff_t n, sh, sw, c, oh, ow, width, groups;
    ptrdiff_t together;            /* groups of the convolution in each */
    ptrdiff_t lanes;               /* block * width: elements that a position computes */
    ptrdiff_t panel_k, bias_group; /* packed elements of one k; of the bias of one group */
    ptrdiff_t ldw;                 /* not 0: the weights are read as they are */
    int relu, threads, copy;       /* copy: with a halo */
    int n_phases;
    const Phase *phases;
    Packing *packings; /* of each phase's weights, if each task packs the panels that it reads; or NULL */
    ptrdiff_t low_h, high_h, low_w, high_w; /* smallest and largest shift over all phases */
    /* How the work is cut into tasks: images, blocks of rows (positions of phase 0, the largest), panels of filters. */
    ptrdiff_t images, rows, row_blocks, panels, tasks;
    int by_panels; /* panels alone are cut */
    int failed, not_finite;
} Engine;

/* Steps that a tile takes for `count` positions. Half a tile reads as many weights as a whole one: two thirds of its
   steps. A single position waits for its own sums: four steps. */
static ptrdiff_t tile_steps(ptrdiff_t count) {
    ptrdiff_t rest = count % MR;
    return count - rest + (rest == 0 ? 0 : rest == 1 ? 4 : rest <= MR / 2 ? (2 * MR + 2) / 3 : MR);
}

/* Steps of a task's tiles, all elements of a patch taken as one. */
static double task_steps(const Engine *e, ptrdiff_t t0, ptrdiff_t t1, int skip) {
    double steps = 0;
    for (int i = 0; i < e->n_phases; i++) {
        const Axis *h = e->phases[i].h, *w = e->phases[i].w;
        ptrdiff_t end = t1 < h->pixels ? t1 : h->pixels;
        if (!skip && end > t0)
            steps += (double)tile_steps(e->images * (end - t0) * count_positions(w)) * h->n_taps * w->n_taps;
        for (int r = 0; skip && r < h->n_segments; r++) {
            ptrdiff_t from = h->segments[r].from > t0 ? h->segments[r].from : t0;
            ptrdiff_t to = h->segments[r].to < end ? h->segments[r].to : end;
            for (int s = 0; from < to && s < w->n_segments; s++)
                steps += (double)tile_steps(e->images * (to - from) * (w->segments[s].to - w->segments[s].from)) *
                         (h->segments[r].last - h->segments[r].first) * (w->segments[s].last - w->segments[s].first);
        }
    }
    return steps;
}

/* All tasks' steps where padding is skipped; *longest: of one task. */
static double all_steps(const Engine *e, double *longest) {
    double sum = 0;
    ptrdiff_t rows = e->phases[0].h->pixels;
    *longest = 0;
    for (ptrdiff_t t = 0; t < rows; t += e->rows) {
        double steps = task_steps(e, t, t + e->rows < rows ? t + e->rows : rows, 1);
        sum += steps;
        *longest = steps > *longest ? steps : *longest;
    }
    return sum;
}

/* The same where padding is copied: all tasks but the last of an image are alike. */
static double alike_steps(const Engine *e, double *longest) {
    ptrdiff_t rows = e->phases[0].h->pixels, whole = rows / e->rows;
    *longest = task_steps(e, 0, e->rows, 0);
    return (double)whole * *longest + (whole * e->rows < rows ? task_steps(e, whole * e->rows, rows, 0) : 0);
}

/* Many images: whole ones, several to a task if they are small; and more, if skipping the padding would leave tiles
   half empty. What is compared is when all is done, if the others wait for a quarter of a task. */
static void cut_by_images(Engine *e, ptrdiff_t wanted) {
    ptrdiff_t rows = e->phases[0].h->pixels, positions = rows * count_positions(e->phases[0].w);
    ptrdiff_t bytes = e->sh * e->sw * e->groups * e->c * (ptrdiff_t)sizeof(REAL);
    ptrdiff_t most = e->n / wanted, by_positions = 16 * MR / positions + 1, by_bytes = 262144 / (bytes + 1);
    double best = 0;
    e->images = by_positions > by_bytes ? by_positions : by_bytes;
    e->images = e->images < most ? e->images : most > 1 ? most : 1;
    if (positions > 4096)
        e->rows = (4096 + positions / rows - 1) / (positions / rows);
    ptrdiff_t chosen = e->images;
    do {
        double longest_skip, longest_copy, skip = all_steps(e, &longest_skip), copy = alike_steps(e, &longest_copy);
        double share = (double)e->n / (double)(e->images * e->threads), wait = e->threads > 1 ? 0.25 : 0;
        double time = skip < copy ? skip * share + wait * longest_skip : copy * share + wait * longest_copy;
        if (e->images == chosen || time < 0.9 * best) {
            best = time;
            chosen = e->images;
        }
        e->images *= 2;
    } while (e->images * e->threads <= e->n && e->images * bytes <= 262144);
    e->images = chosen;
}

/* Few images: blocks of rows, and panels apart. What is compared is when all is done, if the others wait for half a
   task. */
static void cut_by_rows(Engine *e, ptrdiff_t wanted) {
    ptrdiff_t rows = e->phases[0].h->pixels, chosen = rows;
    double longest, best = 0;
    e->panels = (e->lanes + NR - 1) / NR;
    for (ptrdiff_t blocks = 1; blocks <= rows; blocks++) {
        ptrdiff_t each = (rows + blocks - 1) / blocks;
        if (blocks > 1 && (rows + blocks - 2) / (blocks - 1) == each)
            continue; /* as before */
        e->rows = each;
        double sum = alike_steps(e, &longest) * (double)(e->n * e->panels);
        double time = sum / e->threads + longest / 2;
        if (blocks == 1 || time < best) {
            best = time;
            chosen = each;
        }
        e->rows = chosen;
        if (blocks * e->n * e->panels > 4 * wanted)
            break;
    }
}

/* Whether the weights are large beside the images, and their panels as many for each thread. Then a thread takes its
   panels for all positions: it reads no other weights, and those that it packs itself stay in its own cache. */
static int by_panels(const Engine *e, ptrdiff_t k) {
    ptrdiff_t images = e->n * (e->sh * e->sw * e->c + e->oh * e->ow * e->width);
    return e->threads > 1 && e->groups == 1 && k * e->lanes > 4 * images && (e->lanes + NR - 1) / NR % e->threads == 0;
}

/* Cut the work into tasks, and choose whether to skip the padding. None of it changes a bit, unless a weight is
   infinite: times a zero that was copied it is NaN. */
static void cut_work(Engine *e) {
    ptrdiff_t rows = e->phases[0].h->pixels, wanted = 8 * e->threads;
    double ignored;
    e->images = e->panels = 1;
    e->rows = rows;
    if (e->by_panels) {
        e->images = e->n;
        e->panels = e->threads;
    } else if (e->n >= wanted || e->threads == 1)
        cut_by_images(e, wanted);
    else
        cut_by_rows(e, wanted);
    e->row_blocks = (rows + e->rows - 1) / e->rows;
    e->tasks = (e->n + e->images - 1) / e->images * e->row_blocks * e->panels;
    e->copy = all_steps(e, &ignored) > alike_steps(e, &ignored);
}

/* Append a run, or lengthen the last one if it goes on there. */
static int add_run(Run *runs, int n, ptrdiff_t offset, ptrdiff_t length, ptrdiff_t weight) {
    Run *last = &runs[n - 1];
    if (n && last->offset + last->length == offset && last->weight + last->length == weight) {
        last->length += length;
        return n;
    }
    runs[n] = (Run){offset, length, weight};
    return n + 1;
}

/* What a task computes: panels p0 .. p1 - 1 at rows t0 .. t1 - 1 (positions of phase 0) of images n0 .. n1 - 1. */
typedef struct {
    ptrdiff_t p0, p1, n0, n1, t0, t1;
} Share;

static Share share_of(const Engine *e, ptrdiff_t task) {
    ptrdiff_t panels = (e->lanes + NR - 1) / NR, each = (panels + e->panels - 1) / e->panels;
    ptrdiff_t p0 = task % e->panels * each, block = task / e->panels;
    ptrdiff_t n0 = block / e->row_blocks * e->images, n1 = n0 + e->images;
    ptrdiff_t t0 = block % e->row_blocks * e->rows, t1 = t0 + e->rows, rows = e->phases[0].h->pixels;
    return (Share){p0, p0 + each < panels ? p0 + each : panels, n0, n1 < e->n ? n1 : e->n, t0, t1 < rows ? t1 : rows};
}

/* Where a task reads: the images themselves, or its copy. */
typedef struct {
    const REAL *source;
    ptrdiff_t image, line, pixel; /* elements of each */
    ptrdiff_t low_h, low_w;       /* the source's pixel at its beginning */
} View;

/* The memory of a task: for each position where its patch begins and where its result goes; the runs of a patch. */
typedef struct {
    const REAL **x;
    REAL **y;
    Run *runs;
    REAL *halo;           /* the task's images with their padding, if that is copied */
    ptrdiff_t rows, cols; /* of an image there */
} EngineRoom;

/* 0, or -1 if out of memory. */
static int open_engine_room(const Engine *e, const Share *s, EngineRoom *room) {
    const Axis *h = e->phases[0].h, *w = e->phases[0].w; /* phase 0 is the largest, but may have fewer taps */
    ptrdiff_t positions = (s->n1 - s->n0) * (s->t1 - s->t0) * count_positions(w), taps = 0;
    for (int i = 0; i < e->n_phases; i++)
        if (e->phases[i].h->n_taps * e->phases[i].w->n_taps > taps)
            taps = e->phases[i].h->n_taps * e->phases[i].w->n_taps;
    room->rows = (s->t1 - s->t0 - 1) * h->step + e->high_h - e->low_h + 1;
    room->cols = (w->pixels - 1) * w->step + e->high_w - e->low_w + 1;
    ptrdiff_t copied = e->copy ? (s->n1 - s->n0) * room->rows * room->cols * e->groups * e->c : 0;
    size_t tables = ((size_t)positions * 2 * sizeof(void *) + (size_t)taps * sizeof(Run) + 63) & ~(size_t)63;
    char *memory = cnn_scratch(1, tables + (size_t)copied * sizeof(REAL));
    if (!memory)
        return -1;
    room->x = (const REAL **)memory;
    room->y = (REAL **)(room->x + positions);
    room->runs = (Run *)(room->y + positions);
    room->halo = (REAL *)(memory + tables);
    return 0;
}

/* What the task reads; with a halo, which is filled here. */
static View make_view(const Engine *e, const Share *s, const EngineRoom *room) {
    ptrdiff_t pixel = e->groups * e->c, image = e->sh * e->sw * pixel, low_h = s->t0 * e->phases[0].h->step + e->low_h;
    View view = {e->source + s->n0 * image, image, e->sw * pixel, pixel, 0, 0};
    if (!e->copy)
        return view;
    ptrdiff_t copied = room->rows * room->cols * pixel;
    for (ptrdiff_t n = 0; n < s->n1 - s->n0; n++)
        window_copy(room->halo + n * copied, view.source + n * image, room->rows, room->cols, pixel, low_h, e->low_w,
                    e->sh, e->sw);
    return (View){room->halo, copied, room->cols * pixel, pixel, low_h, e->low_w};
}

/* The runs of a patch in a pair of segments; how many there are. */
static int collect_runs(const Engine *e, const Phase *phase, const Segment *rows, const Segment *cols, const View *view,
                        Run *runs) {
    const Axis *h = phase->h, *w = phase->w;
    int n = 0;
    for (int r = rows->first; r < rows->last; r++)
        for (int c = cols->first; c < cols->last; c++) {
            ptrdiff_t offset = (h->shifts[r] - h->shifts[rows->first]) * view->line +
                               (w->shifts[c] - w->shifts[cols->first]) * view->pixel;
            n = add_run(runs, n, offset, e->c, (r * w->n_taps + c) * e->c);
        }
    return n;
}

/* All positions of images n0 .. n1 - 1, rows t0 .. t1 - 1, of one pair of segments and one group. */
static ptrdiff_t find_positions(const Engine *e, const Phase *phase, const View *view, ptrdiff_t n0, ptrdiff_t n1,
                                ptrdiff_t t0, ptrdiff_t t1, const Segment *rows, const Segment *cols, ptrdiff_t group,
                                const REAL **x, REAL **y) {
    const Axis *h = phase->h, *w = phase->w;
    ptrdiff_t count = 0, oc = e->groups * e->width;
    ptrdiff_t shift_h = rows->first < rows->last ? h->shifts[rows->first] - view->low_h : 0;
    ptrdiff_t shift_w = cols->first < cols->last ? w->shifts[cols->first] - view->low_w : 0;
    for (ptrdiff_t n = n0; n < n1; n++)
        for (ptrdiff_t t = t0; t < t1; t++) {
            const REAL *from = view->source + (n - n0) * view->image + (t * h->step + shift_h) * view->line +
                               shift_w * view->pixel + group * e->c;
            REAL *to = e->out + ((n * e->oh + h->start + t * h->stride) * e->ow + w->start) * oc + group * e->width;
            for (ptrdiff_t u = cols->from; u < cols->to; u++, count++) {
                x[count] = from + pixel(w, u) * w->step * view->pixel;
                y[count] = to + pixel(w, u) * w->stride * oc;
            }
        }
    return count;
}

/* The task's share of a pair of segments, all groups. */
static void compute_segments(const Engine *e, const Phase *phase, const Segment *rows, const Segment *cols,
                             const Share *s, const View *view, const EngineRoom *room) {
    ptrdiff_t from = rows->from > s->t0 ? rows->from : s->t0, to = rows->to < s->t1 ? rows->to : s->t1;
    ptrdiff_t k = (ptrdiff_t)phase->h->n_taps * phase->w->n_taps * e->c;
    if (from >= to)
        return;
    Panels q = {.runs = room->runs,
                .n_runs = collect_runs(e, phase, rows, cols, view, room->runs),
                .k = k,
                .ldw = e->ldw,
                .ahead = e->ldw || k * NR * (ptrdiff_t)sizeof(REAL) > KEPT,
                .width = e->lanes,
                .relu = e->relu,
                .far = !e->copy && phase->w->step * view->pixel * (ptrdiff_t)sizeof(REAL) >= 64};
    for (ptrdiff_t g = 0; g < e->groups; g++) {
        ptrdiff_t count = find_positions(e, phase, view, s->n0, s->n1, from, to, rows, cols, g, room->x, room->y);
        q.packed = phase->packed + g * k * e->panel_k;
        q.bias = e->bias ? e->bias + g * e->bias_group : NULL;
        run_panels(&q, s->p0, s->p1, count, room->x, room->y);
    }
}

static void engine_task(void *job, ptrdiff_t task) {
    Engine *e = job;
    Share s = share_of(e, task);
    EngineRoom room;
    if (open_engine_room(e, &s, &room)) {
        cnn_note(&e->failed);
        return;
    }
    View view = make_view(e, &s, &room);
    for (int i = 0; e->packings && i < e->n_phases; i++)
        for (ptrdiff_t panel = s.p0; panel < s.p1; panel++)
            pack_panel(&e->packings[i], panel);
    for (const Phase *phase = e->phases; phase < e->phases + e->n_phases; phase++) {
        const Axis *h = phase->h, *w = phase->w;
        for (const Segment *rows = h->segments; rows < h->segments + h->n_segments; rows++)
            for (const Segment *cols = w->segments; cols < w->segments + w->n_segments; cols++)
                compute_segments(e, phase, rows, cols, &s, &view, &room);
    }
    if (e->lanes > e->width || e->together > 1)
        for (ptrdiff_t n = s.n0, row = e->ow * e->groups * e->width; n < s.n1; n++)
            if (any_not_finite(e->out + (n * e->oh + s.t0) * row, (s.t1 - s.t0) * row))
                cnn_note(&e->not_finite);
}

/* Pixels that a position shall compute: as many as fill a vector, if that is less work. */
static ptrdiff_t block_for(ptrdiff_t width, ptrdiff_t pixels, ptrdiff_t step, ptrdiff_t n_kernel) {
    ptrdiff_t block = VL / width < pixels ? VL / width : pixels;
    return block > 1 && (block - 1) * step + n_kernel < block * n_kernel ? block : 1;
}

/* Cut the work and do it. The axes are those of phases[0] .. */
static int run_engine(Engine *e, Axis *axes, int n_axes) {
    if (e->n * e->oh * e->ow == 0)
        return 0;
    cut_work(e);
    for (int i = 0; e->copy && i < n_axes; i++)
        join_segments(&axes[i]);
    cnn_parallel(e->tasks, e->threads, engine_task, e);
    return e->failed ? -1 : 0;
}
