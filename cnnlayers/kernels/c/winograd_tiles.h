/* Images cut into tiles, for Winograd's method. */
#pragma once

#include "simd.h"

#include <string.h>

typedef struct {
    int high, wide;
} Extent;

typedef struct {
    const REAL *first; /* (n, h, w, pixel) */
    ptrdiff_t h, w, pixel;
} Images;

/* Tiles of high x wide pixels: rows and cols of them in an image; all tiles are numbered, image after image. */
typedef struct {
    ptrdiff_t high, wide, rows, cols, count;
} Tiles;

/* Pixel (i, j) of image n. */
typedef struct {
    ptrdiff_t n, i, j;
} TileAt;

static Tiles cut_tiles(ptrdiff_t n, ptrdiff_t h, ptrdiff_t w, Extent tile) {
    ptrdiff_t rows = (h + tile.high - 1) / tile.high, cols = (w + tile.wide - 1) / tile.wide;
    return (Tiles){tile.high, tile.wide, rows, cols, n * rows * cols};
}

/* Where a tile begins. */
INLINE TileAt locate_tile(const Tiles *q, ptrdiff_t tile) {
    ptrdiff_t row = tile / q->cols, n = row / q->rows;
    return (TileAt){n, (row - n * q->rows) * q->high, (tile - row * q->cols) * q->wide};
}

/* The tile after this one. */
INLINE void next_tile(const Tiles *q, TileAt *at) {
    at->j += q->wide;
    if (at->j >= q->cols * q->wide) {
        at->j = 0;
        at->i += q->high;
        if (at->i >= q->rows * q->high) {
            at->i = 0;
            at->n++;
        }
    }
}

/* A window on images: where its pixels are from the first. */
typedef struct {
    const Images *images;
    Extent size;
    ptrdiff_t channels;                     /* that are read of each pixel */
    uintptr_t offsets[36];                  /* bytes from its first pixel to each */
    const REAL *zeros;                      /* `channels` of them, or VL */
    REAL narrow[36][VBYTES / sizeof(REAL)]; /* copies of the pixels if their channels do not fill a vector */
} Window;

static void open_window(Window *q, const Images *images, Extent size, ptrdiff_t channels, const REAL *zeros) {
    q->images = images;
    q->size = size;
    q->channels = channels;
    q->zeros = zeros;
    for (int e = 0; e < size.high * size.wide; e++)
        q->offsets[e] = (uintptr_t)((e / size.wide * images->w + e % size.wide) * images->pixel) * sizeof(REAL);
}

/* The pixels of the window at (i0, j0) of image n, from channel c0 on; zeros outside the image. (Three elements and
   not a struct: one passed by value would be read from the stack while the stores of the tile before are still on
   their way.) */
static void find_pixels(Window *q, ptrdiff_t n, ptrdiff_t i0, ptrdiff_t j0, ptrdiff_t c0, const REAL **to) {
    const Images *im = q->images;
    int high = q->size.high, wide = q->size.wide, all = high * wide;
    ptrdiff_t place = ((n * im->h + i0) * im->w + j0) * im->pixel + c0;
    uintptr_t first = (uintptr_t)im->first + (uintptr_t)(place * (ptrdiff_t)sizeof(REAL)); /* may lie outside */
    for (int e = 0; e < all; e++)
        to[e] = (const REAL *)(first + q->offsets[e]);
    for (int i = 0; i < high; i++)
        if (i0 + i < 0 || i0 + i >= im->h)
            for (int j = 0; j < wide; j++)
                to[i * wide + j] = q->zeros;
    for (int j = 0; j < wide; j++)
        if (j0 + j < 0 || j0 + j >= im->w)
            for (int i = 0; i < high; i++)
                to[i * wide + j] = q->zeros;
    for (int e = 0; q->channels < VL && e < all; e++) {
        memset(q->narrow[e], 0, sizeof q->narrow[e]);
        memcpy(q->narrow[e], to[e], (size_t)q->channels * sizeof(REAL));
        to[e] = q->narrow[e];
    }
}
