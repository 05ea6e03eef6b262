/* Dropout: y = x m / (1 - p), where m is 0 with chance p, else 1. The mask is never stored: a key and a number's place
   in the array decide, so the backward pass, with the same key, finds the same mask, and so does any thread.

   The random numbers are those of SplitMix64, seeded with the key (Steele, Lea and Flood, "Fast Splittable Pseudorandom
   Number Generators", 2014; its constants are Stafford's "Mix13"). Word i is a hash of key + (i + 1) gamma, so words
   can be had in any order. Each gives two numbers of 32 bits, the lower half first. They are made some at a time, in
   the nearest cache; integers have the same bits on any processor. */
#pragma once

#include "elementwise.h"
#include "parallel.h"

#define DROPOUT_BLOCK 512 /* divides SLICE */

typedef struct {
    ptrdiff_t count;
    const REAL *x;
    REAL *y, scale;
    uint64_t key;
    uint32_t threshold; /* a number below it is dropped */
} DropoutJob;

INLINE uint64_t splitmix(uint64_t key, uint64_t i) {
    uint64_t word = key + (i + 1) * 0x9e3779b97f4a7c15;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    return word ^ word >> 31;
}

/* The numbers first .. first + DROPOUT_BLOCK - 1 of the sequence; first is even. */
INLINE void draw(uint64_t key, ptrdiff_t first, uint32_t *restrict numbers) {
    uint64_t start = (uint64_t)first / 2;
    for (int i = 0; i < DROPOUT_BLOCK / 2; i++) {
        uint64_t word = splitmix(key, start + (uint64_t)i);
        numbers[2 * i] = (uint32_t)word;
        numbers[2 * i + 1] = (uint32_t)(word >> 32);
    }
}

static void dropout_task(void *job, ptrdiff_t task) {
    const DropoutJob *q = job;
    ptrdiff_t n, start = slice(q->count, task, &n);
    uint32_t numbers[DROPOUT_BLOCK], threshold = q->threshold;
    REAL scale = q->scale;
    for (ptrdiff_t i = 0; i < n; i += DROPOUT_BLOCK) {
        draw(q->key, start + i, numbers);
        const REAL *x = q->x + start + i;
        REAL *y = q->y + start + i;
        ptrdiff_t block = n - i < DROPOUT_BLOCK ? n - i : DROPOUT_BLOCK;
        FOR_EACH(j, block)
            y[j] = x[j] * (numbers[j] < threshold ? 0 : scale); /* a product: NaN and Inf are never hidden */
    }
}

/* y = x m / (1 - p), 0 <= p <= 1; 0 x for p = 1. */
static void dropout(ptrdiff_t count, const void *x, double p, uint64_t key, void *y, int threads) {
    double threshold = p * 0x1p32;
    DropoutJob q = {
        count, x, y, p < 1 ? (REAL)(1 / (1 - p)) : 0, key, threshold < UINT32_MAX ? (uint32_t)threshold : UINT32_MAX};
    cnn_parallel((count + SLICE - 1) / SLICE, threads, dropout_task, &q);
}
