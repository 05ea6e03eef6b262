/* Images cut into tiles, for Winograd's method. */

#define ROWS_AHEAD 2 /* rows of tiles that are fetched before they are needed */

typedef struct {
    const REAL *first; /* (n, h, w, pixel) */
    ptrdiff_t h, w, pixel;
} T(images);

/* Tiles of side x side: so many rows and columns of an image; all tiles are numbered, image after image. */
typedef struct {
    ptrdiff_t side, rows, cols, count;
} T(tiles);

/* Pixel (i, j) of image n. */
typedef struct {
    ptrdiff_t n, i, j;
} T(tile_at);

static T(tiles) T(cut_tiles)(ptrdiff_t n, ptrdiff_t h, ptrdiff_t w, ptrdiff_t side) {
    ptrdiff_t rows = (h + side - 1) / side, cols = (w + side - 1) / side;
    return (T(tiles)){side, rows, cols, n * rows * cols};
}

/* Where a tile begins. */
INLINE T(tile_at) T(locate_tile)(const T(tiles) * q, ptrdiff_t tile) {
    ptrdiff_t row = tile / q->cols, n = row / q->rows;
    return (T(tile_at)){n, (row - n * q->rows) * q->side, (tile - row * q->cols) * q->side};
}

/* The pixels, from channel c0 on, of a window of side x side; zeros outside the image. With less than VL channels they are
   copied to `room`, a vector each. */
static void T(find_pixels)(const T(images) * q, T(tile_at) at, int side, ptrdiff_t c0, ptrdiff_t c, const REAL *zeros,
                           REAL *room, const REAL **to) {
    const REAL *image = q->first + at.n * q->h * q->w * q->pixel + c0;
    int inside = at.i >= 0 && at.j >= 0 && at.i + side <= q->h && at.j + side <= q->w;
    for (ptrdiff_t i = at.i; i < at.i + side; i++)
        for (ptrdiff_t j = at.j; j < at.j + side; j++)
            *to++ = inside || (i >= 0 && j >= 0 && i < q->h && j < q->w) ? image + (i * q->w + j) * q->pixel : zeros;
    for (int i = 0; c < VL && i < side * side; i++, room += VL) {
        const REAL **from = to - side * side + i;
        memset(room, 0, (size_t)VL * sizeof(REAL));
        memcpy(room, *from, (size_t)c * sizeof(REAL));
        *from = room;
    }
}

/* Have a tile brought to the cache: the hardware does not foresee the order in which tiles read memory. (A call of a
   function that only does this counts as without effect, and GCC leaves it out: so it must be inline.) */
INLINE void T(fetch_tile)(const T(images) * q, const T(tiles) * tiles, ptrdiff_t tile) {
    T(tile_at) at = T(locate_tile)(tiles, tile);
    ptrdiff_t rows = q->h - at.i < tiles->side ? q->h - at.i : tiles->side;
    ptrdiff_t numbers = (q->w - at.j < tiles->side ? q->w - at.j : tiles->side) * q->pixel;
    const REAL *line = q->first + ((at.n * q->h + at.i) * q->w + at.j) * q->pixel;
    for (ptrdiff_t i = 0; i < rows; i++, line += q->w * q->pixel)
        for (ptrdiff_t e = 0; e < numbers; e += 64 / (ptrdiff_t)sizeof(REAL))
            __builtin_prefetch(line + e);
}

/* Numbers from a point to the next: an odd number of cache lines, so that points do not meet in the same ones. */
static ptrdiff_t T(points_apart)(ptrdiff_t numbers) { return ((numbers + VL - 1) / VL | 1) * VL; }
