/* A copy of an image with the padding around it. */
#pragma once

#include "simd.h"

#include <string.h>

/* dst := src for `rows` x `cols` pixels of `c` elements, from pixel (i0, j0) of an h x w image, zero outside. */
static void window_copy(REAL *dst, const REAL *src, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t c, ptrdiff_t i0,
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
