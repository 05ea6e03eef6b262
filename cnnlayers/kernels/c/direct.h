/* Convolution without columns: forward and input gradient; the weight gradient is in weight_grad.h.

   Forward. Pixel o of y is the sum over the taps k of x[o s + k d - p] W[k].

   Input gradient. Pixel i of dx is read by output o through tap k where o s + k d - p = i. So the pixels i = a + s t
   of one phase a (0 <= a < s) are a convolution of stride 1 over dy, with the taps k for which s divides a + p - k
   d, at o = t + (a + p - k d) / s. Each pixel gathers: the same tile, with weights turned and transposed. For s = 1
   there is one phase: the sheet's full correlation with the kernel reversed. */
#pragma once

#include "engine.h"
#include "narrow_groups.h"
#include "pack.h"
#include "parallel.h"
#include "scratch.h"
#include "table.h"

#include <string.h>

#define AGAIN 1 /* a number was not finite: compute again, and let each vector have one pixel of one group */

/* Cut a call's memory into arrays. */
static void *take(char **room, size_t bytes) {
    void *here = *room;
    *room += (bytes + 63) & ~(size_t)63;
    return here;
}

static ptrdiff_t most_taps(const Axis *a) { return (a->block - 1) * a->step + a->n_kernel; }

static size_t axis_bytes(const Axis *a) {
    return (size_t)most_taps(a) * (sizeof(ptrdiff_t) + sizeof(int) + 2 * sizeof(Segment)) + 4 * 64;
}

static void place_axis(Axis *a, char **room) {
    size_t taps = (size_t)most_taps(a);
    a->shifts = take(room, taps * sizeof(ptrdiff_t));
    a->kernel = take(room, taps * sizeof(int));
    a->segments = take(room, (2 * taps + 1) * sizeof(Segment));
}

/* Pack the weights of one phase, all groups, unless tasks do. */
static void pack_phase(const cnn_conv *s, const Engine *e, const Phase *phase, Packing *q, const REAL *W, REAL *to,
                       Element *elements) {
    const Axis *rows = phase->h, *cols = phase->w;
    ptrdiff_t k = (ptrdiff_t)rows->n_taps * cols->n_taps * e->c, n = 0, c = e->c / e->together,
              width = e->width / e->together, apart = s->c / s->groups * s->f;
    for (ptrdiff_t g = 0; g < s->groups; g++)
        for (int i = 0; i < rows->n_kernel; i++)
            for (int j = 0; j < cols->n_kernel; j++)
                for (ptrdiff_t b = 0, t = g % e->together; b < cols->block; b++)
                    elements[n++] =
                        (Element){W + (rows->kernel[i] * s->kw + cols->kernel[j]) * apart + g * (s->f / s->groups),
                                  to + g / e->together * k * e->panel_k,
                                  (i * cols->n_taps + j + b * cols->step) * e->c + t * c, k, b * e->width + t * width};
    /* Lanes that no element fills: in all panels, or the last. */
    ptrdiff_t from = cols->block > 1 || e->together > 1 ? 0 : e->width / NR * NR;
    if (n * c * width < e->groups * k * e->panel_k)
        for (ptrdiff_t g = 0; g < e->groups; g++)
            memset(to + (g * e->panel_k + from) * k, 0, (size_t)((e->panel_k - from) * k) * sizeof(REAL));
    q->elements = elements;
    q->n_elements = n;
    q->rows = c;
    q->width = width;
    q->lanes = e->lanes;
    if (!e->packings)
        cnn_parallel(n * pack_panels(q), n * c * width > 16384 ? e->threads : 1, pack_task, q);
}

/* ---- forward ---- */

/* What does not depend on the memory: the axes, and the engine's sizes. `fill`: narrow results fill vectors, as blocks
   of pixels or groups together. */
static Engine forward_engine(const cnn_conv *s, Axis *h, Axis *w, int fill) {
    ptrdiff_t together = fill ? groups_together(s->groups, s->f / s->groups) : 1, groups = s->groups / together,
              f = s->f / groups, block = 1;
    if (fill && s->groups == 1 && s->dw == 1)
        block = block_for(f, s->ow, s->sw, s->kw);
    *h = (Axis){.pixels = s->oh, .stride = 1, .step = s->sh, .size = s->h, .block = 1, .n_kernel = (int)s->kh};
    *w = (Axis){.pixels = s->ow, .stride = 1, .step = s->sw, .size = s->w, .block = block, .n_kernel = (int)s->kw};
    return (Engine){.n = s->n,
                    .sh = s->h,
                    .sw = s->w,
                    .c = s->c / groups,
                    .oh = s->oh,
                    .ow = s->ow,
                    .width = f,
                    .groups = groups,
                    .together = together,
                    .lanes = block * f,
                    .panel_k = packed_size(1, block * f),
                    .bias_group = (block * f + NR - 1) / NR * NR,
                    .relu = s->relu,
                    .threads = s->threads,
                    .n_phases = 1,
                    .low_h = -s->top,
                    .high_h = (s->kh - 1) * s->dh - s->top,
                    .low_w = -s->left,
                    .high_w = (s->kw - 1) * s->dw - s->left};
}

/* Elements of the packed weights and bias. */
static ptrdiff_t forward_reals(const Engine *e, const Axis *h, const Axis *w) {
    return e->groups * (most_taps(h) * most_taps(w) * e->c * e->panel_k + e->bias_group);
}

static void forward_axes(const cnn_conv *s, Axis *h, Axis *w, char **room) {
    place_axis(h, room);
    place_axis(w, room);
    for (int i = 0; i < s->kh; i++) {
        h->kernel[i] = i;
        h->shifts[i] = i * s->dh - s->top;
    }
    for (int j = 0; j < s->kw; j++) {
        w->kernel[j] = j;
        w->shifts[j] = j * s->dw - s->left;
    }
    finish_axis(h);
    finish_axis(w);
}

/* The weights, then the bias. */
static void forward_pack(const cnn_conv *s, const Engine *e, const Phase *phase, Packing *q, const REAL *W,
                         const REAL *b, REAL *to, Element *elements) {
    *q = (Packing){.row_step = s->f, .lane_step = 1};
    pack_phase(s, e, phase, q, W, to, elements);
    REAL *bias = to + e->groups * phase->h->n_taps * phase->w->n_taps * e->c * e->panel_k;
    for (ptrdiff_t i = 0; b && i < e->groups * e->bias_group; i++) {
        ptrdiff_t lane = i % e->bias_group;
        bias[i] = lane < e->lanes ? b[i / e->bias_group * e->width + lane % e->width] : 0;
    }
}

static size_t forward_tables(const cnn_conv *s, const Axis *h, const Axis *w) {
    return axis_bytes(h) + axis_bytes(w) + (size_t)(s->groups * s->kh * s->kw * w->block) * sizeof(Element) + 64;
}

static int forward_once(const cnn_conv *s, const REAL *x, const REAL *W, const REAL *b, const REAL *ready, REAL *y,
                        int fill) {
    Axis axes[2], *h = &axes[0], *w = &axes[1];
    Engine e = forward_engine(s, h, w, fill);
    /* Few positions: packing the weights would cost more than the product. */
    int plain = !ready && s->groups == 1 && s->f >= NR && s->n * s->oh * s->ow <= 2 * MR;
    size_t reals = ready || plain ? 0 : (size_t)forward_reals(&e, h, w) * sizeof(REAL);
    char *room = cnn_scratch(0, forward_tables(s, h, w) + reals + 64);
    if (!room)
        return -1;
    forward_axes(s, h, w, &room);
    Element *elements = take(&room, (size_t)(s->groups * s->kh * s->kw * w->block) * sizeof(Element));
    Phase phase = {h, w, plain ? W : ready ? ready : (REAL *)room};
    e.source = x;
    e.out = y;
    e.phases = &phase;
    e.ldw = plain ? s->f : 0;
    e.by_panels = by_panels(&e, s->kh * s->kw * e.c);
    Packing packing;
    if (e.by_panels && !plain && !ready)
        e.packings = &packing;
    if (!plain && !ready)
        forward_pack(s, &e, &phase, &packing, W, b, (REAL *)room, elements);
    if (b)
        e.bias = plain ? b : phase.packed + e.groups * h->n_taps * w->n_taps * e.c * e.panel_k;
    int failed = run_engine(&e, axes, 2);
    return failed ? -1 : e.not_finite ? AGAIN : 0;
}

/* y = x * W + b, then max(y, 0) if s->relu. `ready`: the weights and bias as direct_pack wrote them, or NULL. */
static int direct_forward(const cnn_conv *s, const void *x, const void *W, const void *b, const void *ready, void *y) {
    int failed = forward_once(s, x, W, b, ready, y, 1);
    return failed == AGAIN ? forward_once(s, x, W, b, NULL, y, 0) : failed;
}

/* Elements that direct_pack writes. */
static ptrdiff_t direct_packed(const cnn_conv *s) {
    Axis h, w;
    Engine e = forward_engine(s, &h, &w, 1);
    return forward_reals(&e, &h, &w);
}

/* Pack weights and bias for many forward passes over images of this size, of any number. */
static int direct_pack(const cnn_conv *s, const void *W, const void *b, void *to) {
    Axis h, w;
    Engine e = forward_engine(s, &h, &w, 1);
    char *room = cnn_scratch(0, forward_tables(s, &h, &w));
    if (!room)
        return -1;
    forward_axes(s, &h, &w, &room);
    Phase phase = {&h, &w, to};
    Packing packing;
    forward_pack(s, &e, &phase, &packing, W, b, to, (Element *)room);
    return 0;
}

/* ---- input gradient ---- */

/* Phase a of an axis: pixels a, a + s, ... Its kernel elements k in descending order, so that their shifts ascend. */
static Axis phase_axis(ptrdiff_t a, ptrdiff_t s, ptrdiff_t d, ptrdiff_t p, ptrdiff_t kernel, ptrdiff_t pixels,
                       ptrdiff_t size, ptrdiff_t block, char **room) {
    Axis axis = {.pixels = (pixels - a + s - 1) / s, .start = a, .stride = s, .step = 1, .size = size, .block = block};
    axis.n_kernel = (int)kernel; /* at most */
    place_axis(&axis, room);
    axis.n_kernel = 0;
    for (ptrdiff_t k = kernel - 1; k >= 0; k--)
        if ((a + p - k * d) % s == 0) {
            axis.kernel[axis.n_kernel] = (int)k;
            axis.shifts[axis.n_kernel++] = (a + p - k * d) / s;
        }
    finish_axis(&axis);
    return axis;
}

/* Widen low .. high by the shifts of n axes. */
static void find_reach(const Axis *axes, ptrdiff_t n, ptrdiff_t *low, ptrdiff_t *high) {
    int any = 0;
    *low = *high = 0;
    for (ptrdiff_t a = 0; a < n; a++)
        if (axes[a].n_kernel) {
            ptrdiff_t first = axes[a].shifts[0], last = axes[a].shifts[axes[a].n_kernel - 1];
            *low = !any || first < *low ? first : *low;
            *high = !any || last > *high ? last : *high;
            any = 1;
        }
}

/* The phases of an input gradient: n_h x n_w of them, of n_h row axes and then n_w column axes. */
typedef struct {
    ptrdiff_t n_h, n_w;
    Axis *axes;
    Phase *phases;
    Packing *packings;
    Element *elements; /* of all phases, which share the kernel's */
    REAL *packed;      /* weights of all phases */
} Phases;

/* Lay the axes out, for blocks of `block` pixels and panel_k packed elements of one k; 0, or -1 if out of memory. */
static int open_phases(const cnn_conv *s, ptrdiff_t block, ptrdiff_t panel_k, Phases *p) {
    ptrdiff_t n_h = s->sh < s->h ? s->sh : s->h, n_w = s->sw < s->w ? s->sw : s->w;
    Axis rows = {.block = 1, .step = 1, .n_kernel = (int)s->kh},
         cols = {.block = block, .step = 1, .n_kernel = (int)s->kw};
    ptrdiff_t most_w = block > 1 ? most_taps(&cols) : s->kw;
    size_t n_axes = (size_t)(n_h + n_w), n_elements = (size_t)(s->groups * s->kh * s->kw * block);
    size_t reals = (size_t)(s->groups * s->kh * most_w * (s->f / s->groups) * panel_k) * sizeof(REAL);
    size_t tables = (size_t)n_h * axis_bytes(&rows) + (size_t)n_w * axis_bytes(&cols) + n_axes * sizeof(Axis) +
                    (size_t)(n_h * n_w) * (sizeof(Phase) + sizeof(Packing)) + n_elements * sizeof(Element) + 5 * 64;
    char *room = cnn_scratch(0, tables + reals);
    if (!room)
        return -1;
    p->n_h = n_h;
    p->n_w = n_w;
    p->axes = take(&room, n_axes * sizeof(Axis));
    p->phases = take(&room, (size_t)(n_h * n_w) * sizeof(Phase));
    p->packings = take(&room, (size_t)(n_h * n_w) * sizeof(Packing));
    p->elements = take(&room, n_elements * sizeof(Element));
    for (ptrdiff_t a = 0; a < n_h; a++)
        p->axes[a] = phase_axis(a, s->sh, s->dh, s->top, s->kh, s->h, s->oh, 1, &room);
    for (ptrdiff_t b = 0; b < n_w; b++)
        p->axes[n_h + b] = phase_axis(b, s->sw, s->dw, s->left, s->kw, s->w, s->ow, block, &room);
    p->packed = (REAL *)room;
    return 0;
}

/* Pack the weights of all phases, turned and transposed. */
static void pack_phases(const cnn_conv *s, const Engine *e, const Phases *p, const REAL *W) {
    REAL *packed = p->packed;
    Element *elements = p->elements;
    for (ptrdiff_t i = 0; i < p->n_h * p->n_w; i++) {
        Phase *phase = &p->phases[i];
        Packing *q = &p->packings[i];
        *q = (Packing){.row_step = 1, .lane_step = s->f};
        *phase = (Phase){&p->axes[i / p->n_w], &p->axes[p->n_h + i % p->n_w], packed};
        pack_phase(s, e, phase, q, W, packed, elements);
        elements += q->n_elements;
        packed += e->groups * phase->h->n_taps * phase->w->n_taps * e->c * e->panel_k;
    }
}

static int input_grad_once(const cnn_conv *s, const REAL *dy, const REAL *W, REAL *dx, int fill) {
    ptrdiff_t together = fill ? groups_together(s->groups, s->c / s->groups) : 1, groups = s->groups / together,
              c = s->c / groups, block = 1;
    if (fill && s->groups == 1 && s->sh == 1 && s->sw == 1 && s->dw == 1)
        block = block_for(c, s->w, 1, s->kw);
    ptrdiff_t panel_k = packed_size(1, block * c);
    Phases p;
    if (open_phases(s, block, panel_k, &p))
        return -1;
    Engine e = {.source = dy,
                .out = dx,
                .n = s->n,
                .sh = s->oh,
                .sw = s->ow,
                .c = s->f / groups,
                .oh = s->h,
                .ow = s->w,
                .width = c,
                .groups = groups,
                .together = together,
                .lanes = block * c,
                .panel_k = panel_k,
                .threads = s->threads,
                .n_phases = (int)(p.n_h * p.n_w),
                .phases = p.phases};
    find_reach(p.axes, p.n_h, &e.low_h, &e.high_h);
    find_reach(p.axes + p.n_h, p.n_w, &e.low_w, &e.high_w);
    e.by_panels = by_panels(&e, s->kh * s->kw * e.c);
    e.packings = e.by_panels ? p.packings : NULL;
    pack_phases(s, &e, &p, W);
    int failed = run_engine(&e, p.axes, (int)(p.n_h + p.n_w));
    return failed ? -1 : e.not_finite ? AGAIN : 0;
}

/* dx = dy W^T, gathered. */
static int direct_input_grad(const cnn_conv *s, const void *dy, const void *W, void *dx) {
    int failed = input_grad_once(s, dy, W, dx, 1);
    return failed == AGAIN ? input_grad_once(s, dy, W, dx, 0) : failed;
}
