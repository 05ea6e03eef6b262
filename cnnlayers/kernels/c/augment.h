/* Augmentation: crop, mirror, cut out, rotate and shift, brightness and contrast, mix.

   Images x and y are (n, h, w, c). An image is a task, so nothing depends on which thread runs it, and each pixel is
   read once and written once: a crop that is mirrored, cut out and converted from bytes is one pass. What is drawn
   comes in, a few numbers for each image. Images of bytes are computed in REAL and rounded to the nearest of 0..255.

   The bodies are written once for bytes and REAL: their types, and the channels of gray and colour, are arguments
   that are constants where they are inlined. */
#pragma once

#include "parallel.h"
#include "simd.h"
#include "table.h"

typedef struct {
    const cnn_images *s;
    const void *x;
    void *y;
    const int *places;       /* place */
    const double *numbers;   /* warp: 6 for each image, jitter: 2, blend: 1 */
    const int64_t *partners; /* blend */
    REAL fill, hole;
    int reflect; /* place: in place of fill */
} AugmentJob;

/* Element i of an array of bytes or REAL. */
INLINE REAL get(const void *x, ptrdiff_t i, int bytes) {
    return bytes ? (REAL)((const unsigned char *)x)[i] : ((const REAL *)x)[i];
}

INLINE void put(void *y, ptrdiff_t i, int bytes, REAL v) {
    if (bytes) {
        v = v > 0 ? v : 0; /* and so is NaN */
        v = v < 255 ? v : 255;
        ((unsigned char *)y)[i] = (unsigned char)(int)(v + (REAL)0.5);
    } else {
        ((REAL *)y)[i] = v;
    }
}

/* y[i] = x[j], a byte as it is. */
INLINE void move(void *y, ptrdiff_t i, int to, const void *x, ptrdiff_t j, int from) {
    if (from && to)
        ((unsigned char *)y)[i] = ((const unsigned char *)x)[j];
    else
        put(y, i, to, get(x, j, from));
}

static __attribute__((noinline)) void paint(void *y, ptrdiff_t start, ptrdiff_t count, int bytes, REAL v) {
    for (ptrdiff_t i = start; i < start + count; i++)
        put(y, i, bytes, v);
}

INLINE ptrdiff_t in_range(ptrdiff_t v, ptrdiff_t low, ptrdiff_t high) { return v < low ? low : v > high ? high : v; }

INLINE ptrdiff_t within(ptrdiff_t v, ptrdiff_t size) { return in_range(v, 0, size); }

/* Pixel s of a line of n, mirrored about its first and its last, neither of which is repeated. */
INLINE ptrdiff_t reflected(ptrdiff_t s, ptrdiff_t n) { return s < 0 ? -s : s >= n ? 2 * (n - 1) - s : s; }

/* count pixels of y from element i on = those of x at element j, and at the next ones, or if back those before it. */
INLINE void move_pixels(const AugmentJob *q, ptrdiff_t i, ptrdiff_t j, ptrdiff_t count, int back, int from, int to,
                        ptrdiff_t c) {
    if (!back)
        for (ptrdiff_t k = 0; k < count * c; k++)
            move(q->y, i + k, to, q->x, j + k, from);
    else
        for (; count > 0; count--, i += c, j -= c)
            for (ptrdiff_t k = 0; k < c; k++)
                move(q->y, i + k, to, q->x, j + k, from);
}

/* y[i, j] = hole where top <= i < bottom and left <= j < right, else x[i + down, j' + along]; j' = w - 1 - j in a
   mirrored image, else j. Outside of x that is fill, or if q->reflect x reflected, for which down is kept below h and
   along below w. An image's places: down, along, mirrored, top, bottom, left, right. */
INLINE void place_image(const AugmentJob *q, ptrdiff_t image, int from, int to, ptrdiff_t c) {
    const ptrdiff_t h = q->s->h, w = q->s->w;
    const int *place = q->places + image * 7;
    const int reflect = q->reflect, mirrored = place[2] != 0;
    const ptrdiff_t down = reflect ? in_range(place[0], 1 - h, h - 1) : place[0];
    const ptrdiff_t along = reflect ? in_range(place[1], 1 - w, w - 1) : place[1];
    const ptrdiff_t left = within(place[5], w), right = within(place[6], w);
    const ptrdiff_t first = within(mirrored ? along : -along, w); /* columns first .. last - 1 lie in x */
    const ptrdiff_t last = within(mirrored ? w + along : w - along, w);
    const ptrdiff_t border = first > 0 ? 0 : last, width = w - (last - first);      /* the others are on one side */
    const ptrdiff_t s = mirrored ? w - 1 + along : along, step = mirrored ? -1 : 1; /* column j is x's s + step j */
    for (ptrdiff_t i = 0; i < h; i++) {
        const ptrdiff_t row = (image * h + i) * w * c, r = reflect ? reflected(i + down, h) : i + down;
        const ptrdiff_t source = (image * h + r) * w;
        if (r < 0 || r >= h || first >= last) {
            paint(q->y, row, w * c, to, q->fill);
        } else {
            move_pixels(q, row + first * c, (source + s + step * first) * c, last - first, mirrored, from, to, c);
            if (reflect) {
                const ptrdiff_t pixel = source + reflected(s + step * border, w);
                move_pixels(q, row + border * c, pixel * c, width, !mirrored, from, to, c);
            } else {
                paint(q->y, row + border * c, width * c, to, q->fill);
            }
        }
        if (i >= place[3] && i < place[4] && left < right)
            paint(q->y, row + left * c, (right - left) * c, to, q->hole);
    }
}

INLINE void place_channels(const AugmentJob *q, ptrdiff_t image, int from, int to) {
    if (q->s->c == 1)
        place_image(q, image, from, to, 1);
    else if (q->s->c == 3)
        place_image(q, image, from, to, 3);
    else
        place_image(q, image, from, to, q->s->c);
}

static void place_task(void *job, ptrdiff_t image) {
    const AugmentJob *q = job;
    if (q->s->bytes_in && q->s->bytes_out)
        place_channels(q, image, 1, 1);
    else if (q->s->bytes_in)
        place_channels(q, image, 1, 0);
    else
        place_channels(q, image, 0, 0);
}

/* Channel k of x at row r, column s of the image that starts at `start`; fill outside. */
INLINE REAL corner_or_fill(const AugmentJob *q, ptrdiff_t start, ptrdiff_t r, ptrdiff_t s, ptrdiff_t k, int bytes) {
    const int inside = r >= 0 && r < q->s->h && s >= 0 && s < q->s->w;
    return inside ? get(q->x, start + (r * q->s->w + s) * q->s->c + k, bytes) : q->fill;
}

/* y[i, j] = x at (m0 i + m1 j + m2, m3 i + m4 j + m5), between pixels bilinear, fill outside; y is of x's type. */
INLINE void warp_image(const AugmentJob *q, ptrdiff_t image, int bytes, ptrdiff_t c) {
    const ptrdiff_t h = q->s->h, w = q->s->w, start = image * h * w * c;
    const double *m = q->numbers + image * 6;
    for (ptrdiff_t i = 0; i < h; i++)
        for (ptrdiff_t j = 0; j < w; j++) {
            const ptrdiff_t pixel = start + (i * w + j) * c;
            const double row = m[0] * i + m[1] * j + m[2], column = m[3] * i + m[4] * j + m[5];
            if (!(row > -1 && row < h && column > -1 && column < w)) { /* NaN too */
                paint(q->y, pixel, c, bytes, q->fill);
                continue;
            }
            const ptrdiff_t r = (ptrdiff_t)(row + 1) - 1, s = (ptrdiff_t)(column + 1) - 1; /* rounded down */
            const ptrdiff_t corner = start + (r * w + s) * c;
            const int inside = r >= 0 && r + 1 < h && s >= 0 && s + 1 < w;
            const REAL below = (REAL)(row - r), right = (REAL)(column - s);
            for (ptrdiff_t k = 0; k < c; k++) {
                REAL a, b, d, e; /* a b over d e */
                if (inside) {
                    a = get(q->x, corner + k, bytes), b = get(q->x, corner + c + k, bytes);
                    d = get(q->x, corner + w * c + k, bytes), e = get(q->x, corner + (w + 1) * c + k, bytes);
                } else {
                    a = corner_or_fill(q, start, r, s, k, bytes), b = corner_or_fill(q, start, r, s + 1, k, bytes);
                    d = corner_or_fill(q, start, r + 1, s, k, bytes),
                    e = corner_or_fill(q, start, r + 1, s + 1, k, bytes);
                }
                const REAL upper = a * (1 - right) + b * right, lower = d * (1 - right) + e * right;
                put(q->y, pixel + k, bytes, upper * (1 - below) + lower * below);
            }
        }
}

INLINE void warp_channels(const AugmentJob *q, ptrdiff_t image, int bytes) {
    if (q->s->c == 1)
        warp_image(q, image, bytes, 1);
    else if (q->s->c == 3)
        warp_image(q, image, bytes, 3);
    else
        warp_image(q, image, bytes, q->s->c);
}

static void warp_task(void *job, ptrdiff_t image) {
    const AugmentJob *q = job;
    if (q->s->bytes_in)
        warp_channels(q, image, 1);
    else
        warp_channels(q, image, 0);
}

/* y = contrast (brightness x - m) + m with m the mean of brightness x over the image; y is of x's type. */
INLINE void jitter_image(const AugmentJob *q, ptrdiff_t image, int bytes) {
    const ptrdiff_t count = q->s->h * q->s->w * q->s->c, start = image * count;
    const double brightness = q->numbers[image * 2], contrast = q->numbers[image * 2 + 1];
    double sum = 0;
    int64_t whole = 0;
    if (bytes)
        for (ptrdiff_t i = start; i < start + count; i++)
            whole += ((const unsigned char *)q->x)[i];
    else
        for (ptrdiff_t i = start; i < start + count; i++)
            sum += (double)((const REAL *)q->x)[i];
    const double mean = (bytes ? (double)whole : sum) / (double)count;
    const REAL gain = (REAL)(contrast * brightness), offset = (REAL)((1 - contrast) * brightness * mean);
    for (ptrdiff_t i = start; i < start + count; i++)
        put(q->y, i, bytes, gain * get(q->x, i, bytes) + offset);
}

static void jitter_task(void *job, ptrdiff_t image) {
    const AugmentJob *q = job;
    if (q->s->bytes_in)
        jitter_image(q, image, 1);
    else
        jitter_image(q, image, 0);
}

/* y[i] = share x[i] + (1 - share) x[partner], in REAL. */
INLINE void blend_image(const AugmentJob *q, ptrdiff_t image, int bytes) {
    const ptrdiff_t count = q->s->h * q->s->w * q->s->c, start = image * count, other = q->partners[image] * count;
    const REAL share = (REAL)q->numbers[image], rest = (REAL)(1 - q->numbers[image]);
    REAL *y = (REAL *)q->y + start;
    for (ptrdiff_t i = 0; i < count; i++)
        y[i] = share * get(q->x, start + i, bytes) + rest * get(q->x, other + i, bytes);
}

static void blend_task(void *job, ptrdiff_t image) {
    const AugmentJob *q = job;
    if (q->s->bytes_in)
        blend_image(q, image, 1);
    else
        blend_image(q, image, 0);
}

static void place_images(const cnn_images *s, const void *x, const int *places, double fill, int reflect, double hole,
                         void *y) {
    AugmentJob q = {s, x, y, places, NULL, NULL, (REAL)fill, (REAL)hole, reflect};
    cnn_parallel(s->n, s->threads, place_task, &q);
}

static void warp_images(const cnn_images *s, const void *x, const double *maps, double fill, void *y) {
    AugmentJob q = {s, x, y, NULL, maps, NULL, (REAL)fill, 0, 0};
    cnn_parallel(s->n, s->threads, warp_task, &q);
}

static void jitter_images(const cnn_images *s, const void *x, const double *factors, void *y) {
    AugmentJob q = {s, x, y, NULL, factors, NULL, 0, 0, 0};
    cnn_parallel(s->n, s->threads, jitter_task, &q);
}

static void blend_images(const cnn_images *s, const void *x, const int64_t *partners, const double *shares, void *y) {
    AugmentJob q = {s, x, y, NULL, shares, partners, 0, 0, 0};
    cnn_parallel(s->n, s->threads, blend_task, &q);
}
