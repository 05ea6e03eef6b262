/* The register tile of weight gradients: dW (entries of a patch, filters), summed over positions. */
#pragma once

#include "tile.h"

/* dW[m][v] += x[m] dy[v], over `rows` rows of `cols` positions, for mr neighbouring entries of the patch and nv
   vectors of filters: the register tile of tile.h, whose "positions" are here entries of the patch. `fresh`: dW :=
   that. */
INLINE void weight_tile(int mr, int nv, const REAL *x, ptrdiff_t row_step, ptrdiff_t step, const REAL *dy,
                        ptrdiff_t f_step, ptrdiff_t rows, ptrdiff_t cols, REAL *dW, ptrdiff_t ldw, int fresh) {
    Vec acc[2 * MW][2];
    UNROLLED(m, mr)
        UNROLLED(v, nv)
            acc[m][v] = fresh ? (Vec){0} : LOAD(dW + m * ldw + v * VL);
    for (ptrdiff_t i = 0; i < rows; i++, x += row_step) {
        const REAL *p = x;
        for (ptrdiff_t j = 0; j < cols; j++, p += step, dy += f_step) {
            Vec b[2];
            load_vectors(nv, b, dy);
            multiply_add(mr, nv, acc, &p, mr, 1, 0, b);
        }
    }
    store_tile(mr, nv, acc, dW, ldw);
}

typedef void (*WeightTile)(const REAL *x, ptrdiff_t row_step, ptrdiff_t step, const REAL *dy, ptrdiff_t f_step,
                           ptrdiff_t rows, ptrdiff_t cols, REAL *dW, ptrdiff_t ldw, int fresh);
#define WEIGHT_TILE(mr, nv)                                                                                            \
    NOINLINE void weight_tile_##mr##_##nv(const REAL *x, ptrdiff_t row_step, ptrdiff_t step, const REAL *dy,           \
                                          ptrdiff_t f_step, ptrdiff_t rows, ptrdiff_t cols, REAL *dW, ptrdiff_t ldw,   \
                                          int fresh) {                                                                 \
        weight_tile(mr, nv, x, row_step, step, dy, f_step, rows, cols, dW, ldw, fresh);                                \
    }

/* An instance for each height: up to MW with two vectors of filters, up to 2 MW with one. */
#define HEIGHTS_TO_6(DO, nv) DO(1, nv) DO(2, nv) DO(3, nv) DO(4, nv) DO(5, nv) DO(6, nv)
#define HEIGHTS_TO_12(DO, nv) HEIGHTS_TO_6(DO, nv) DO(7, nv) DO(8, nv) DO(9, nv) DO(10, nv) DO(11, nv) DO(12, nv)
#define HEIGHTS_TO_13(DO, nv) HEIGHTS_TO_12(DO, nv) DO(13, nv)
#define HEIGHTS_TO_14(DO, nv) HEIGHTS_TO_13(DO, nv) DO(14, nv)
#define HEIGHTS_TO_26(DO, nv)                                                                                          \
    HEIGHTS_TO_14(DO, nv)                                                                                              \
    DO(15, nv)                                                                                                         \
    DO(16, nv)                                                                                                         \
    DO(17, nv)                                                                                                         \
    DO(18, nv) DO(19, nv) DO(20, nv) DO(21, nv) DO(22, nv) DO(23, nv) DO(24, nv) DO(25, nv) DO(26, nv)
#define HEIGHTS_TO_28(DO, nv) HEIGHTS_TO_26(DO, nv) DO(27, nv) DO(28, nv)
#if MW == 14
#define TWO_VECTORS(DO) HEIGHTS_TO_14(DO, 2)
#define ONE_VECTOR(DO) HEIGHTS_TO_28(DO, 1)
#elif MW == 13
#define TWO_VECTORS(DO) HEIGHTS_TO_13(DO, 2)
#define ONE_VECTOR(DO) HEIGHTS_TO_26(DO, 1)
#else
#define TWO_VECTORS(DO) HEIGHTS_TO_6(DO, 2)
#define ONE_VECTOR(DO) HEIGHTS_TO_12(DO, 1)
#endif
TWO_VECTORS(WEIGHT_TILE)
ONE_VECTOR(WEIGHT_TILE)

#define ENTRY(mr, nv) weight_tile_##mr##_##nv,
static const WeightTile weight_tiles_2[MW] = {TWO_VECTORS(ENTRY)};
static const WeightTile weight_tiles_1[2 * MW] = {ONE_VECTOR(ENTRY)};

/* Patch entries go in tiles of `height`, as even as they can be. */
static ptrdiff_t tile_height(ptrdiff_t length, ptrdiff_t most) {
    ptrdiff_t tiles = (length + most - 1) / most;
    return (length + tiles - 1) / tiles;
}
