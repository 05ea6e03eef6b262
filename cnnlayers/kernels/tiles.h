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

/* The tile after this one. */
INLINE void T(next_tile)(const T(tiles) * q, T(tile_at) * at) {
    at->j += q->side;
    if (at->j >= q->cols * q->side) {
        at->j = 0;
        at->i += q->side;
        if (at->i >= q->rows * q->side) {
            at->i = 0;
            at->n++;
        }
    }
}

/* A window of side x side on images: where its pixels are from the first. */
typedef struct {
    const T(images) * images;
    int side;
    ptrdiff_t channels;        /* that are read of each pixel */
    ptrdiff_t offsets[36];     /* of its pixels from the first */
    const REAL *zeros;         /* `channels` of them, or VL */
    REAL narrow[36][VBYTES / sizeof(REAL)]; /* copies of the pixels if their channels do not fill a vector */
} T(window);

static void T(open_window)(T(window) * q, const T(images) * images, int side, ptrdiff_t channels, const REAL *zeros) {
    q->images = images;
    q->side = side;
    q->channels = channels;
    q->zeros = zeros;
    for (int e = 0; e < side * side; e++)
        q->offsets[e] = (e / side * images->w + e % side) * images->pixel;
}

/* The pixels of the window at (i, j) of image n, from channel c0 on; zeros outside the image. */
static void T(find_pixels)(T(window) * q, T(tile_at) at, ptrdiff_t c0, const REAL **to) {
    const T(images) *im = q->images;
    int side = q->side, all = side * side;
    const REAL *image = im->first + at.n * im->h * im->w * im->pixel + c0;
    if (at.i >= 0 && at.j >= 0 && at.i + side <= im->h && at.j + side <= im->w) {
        const REAL *first = image + (at.i * im->w + at.j) * im->pixel;
        for (int e = 0; e < all; e++)
            to[e] = first + q->offsets[e];
    } else
        for (ptrdiff_t i = at.i, e = 0; i < at.i + side; i++)
            for (ptrdiff_t j = at.j; j < at.j + side; j++, e++)
                to[e] = i >= 0 && j >= 0 && i < im->h && j < im->w ? image + (i * im->w + j) * im->pixel : q->zeros;
    for (int e = 0; q->channels < VL && e < all; e++) {
        memset(q->narrow[e], 0, sizeof q->narrow[e]);
        memcpy(q->narrow[e], to[e], (size_t)q->channels * sizeof(REAL));
        to[e] = q->narrow[e];
    }
}

/* Have a tile brought to the cache: the hardware does not foresee the order in which tiles read memory. (A call of a
   function that only does this counts as without effect, and GCC leaves it out: so it must be inline.) */
INLINE void T(fetch_tile)(const T(images) * q, T(tile_at) at, ptrdiff_t side) {
    ptrdiff_t rows = q->h - at.i < side ? q->h - at.i : side;
    ptrdiff_t numbers = (q->w - at.j < side ? q->w - at.j : side) * q->pixel;
    const REAL *line = q->first + ((at.n * q->h + at.i) * q->w + at.j) * q->pixel;
    for (ptrdiff_t i = 0; i < rows; i++, line += q->w * q->pixel)
        for (ptrdiff_t e = 0; e < numbers; e += 64 / (ptrdiff_t)sizeof(REAL))
            __builtin_prefetch(line + e);
}

/* Numbers from a point to the next: an odd number of cache lines, so that points do not meet in the same ones. */
static ptrdiff_t T(points_apart)(ptrdiff_t numbers) { return ((numbers + VL - 1) / VL | 1) * VL; }
