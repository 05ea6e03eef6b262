/* A batch: rows of a data set gathered by index, and converted to REAL on the way. Each row is a stretch of memory, so
   this is one pass at the speed of memory; images in bytes become floats without being written down in between. */
#pragma once

#include "parallel.h"
#include "simd.h"
#include "table.h"

#include <string.h>

typedef struct {
    ptrdiff_t count, size, rows_per_task;
    const void *source;
    cnn_source kind;
    const int64_t *indices;
    void *rows;
} BatchJob;

/* Element i of an array of such elements; kind is a constant where this is inlined. */
INLINE REAL element_at(const void *source, cnn_source kind, ptrdiff_t i) {
    if (kind == CNN_UINT8)
        return (REAL)((const uint8_t *)source)[i];
    return kind == CNN_FLOAT32 ? (REAL)((const float *)source)[i] : (REAL)((const double *)source)[i];
}

INLINE void convert_from(cnn_source kind, const void *source, ptrdiff_t from, ptrdiff_t size, REAL *restrict y) {
    for (ptrdiff_t i = 0; i < size; i++)
        y[i] = element_at(source, kind, from + i);
}

/* y := the `size` elements of `source` from number `from` on. */
static void convert(const void *source, cnn_source kind, ptrdiff_t from, ptrdiff_t size, REAL *restrict y) {
    if (kind == CNN_UINT8)
        convert_from(CNN_UINT8, source, from, size, y);
    else if (kind == CNN_FLOAT32)
        convert_from(CNN_FLOAT32, source, from, size, y);
    else
        convert_from(CNN_FLOAT64, source, from, size, y);
}

static void gather_rows_task(void *job, ptrdiff_t task) {
    const BatchJob *q = job;
    ptrdiff_t first = task * q->rows_per_task, end = first + q->rows_per_task;
    for (ptrdiff_t i = first; i < (end < q->count ? end : q->count); i++) {
        ptrdiff_t from = q->indices[i] * q->size;
        if (q->kind == CNN_SAME)
            memcpy((char *)q->rows + i * q->size, (const char *)q->source + from, (size_t)q->size);
        else
            convert(q->source, q->kind, from, q->size, (REAL *)q->rows + i * q->size);
    }
}

/* rows[i] = source[indices[i]], `size` elements each; bytes for CNN_SAME, which converts nothing. */
static void gather_rows(ptrdiff_t count, ptrdiff_t size, const void *source, cnn_source kind, const int64_t *indices,
                        void *rows, int threads) {
    ptrdiff_t per_task = 16384 / (size + 1) + 1;
    BatchJob q = {count, size, per_task, source, kind, indices, rows};
    cnn_parallel((count + per_task - 1) / per_task, threads, gather_rows_task, &q);
}
