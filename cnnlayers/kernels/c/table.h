/* The table of functions that each instruction-set level offers, and the numbers that they take. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A convolution: x (n, h, w, c), W (kh, kw, c / groups, f), y (n, oh, ow, f). A signal has h = oh = kh = 1. */
typedef struct {
    ptrdiff_t n, h, w, c, oh, ow, f;
    ptrdiff_t kh, kw, sh, sw, dh, dw;
    ptrdiff_t top, left; /* padding before */
    ptrdiff_t groups;
    const void *plus;      /* forward and input gradient: what is added to the result, of its shape; or NULL */
    const void *rectified; /* input gradient: after that, dx = 0 where this is not above 0; or NULL */
    int relu;              /* forward: y = max(y, 0), after that */
    int side;              /* of Winograd's tiles */
    int threads;
} cnn_conv;

/* A pool: x (n, h, w, c), y (n, oh, ow, c). */
typedef struct {
    ptrdiff_t n, h, w, c, oh, ow, kh, kw, sh, sw, dh, dw;
    ptrdiff_t top, left; /* padding before */
    int relu;            /* y = max(y, 0) of the maximum y */
    int threads;
} cnn_pool;

/* What the rows of a data set are; CNN_SAME: what is wanted, to be copied. */
typedef enum { CNN_SAME, CNN_UINT8, CNN_FLOAT32, CNN_FLOAT64 } cnn_source;

/* What activation.h computes. */
enum { CNN_LEAKY_RELU, CNN_SIGMOID, CNN_TANH, CNN_ELU, CNN_GELU, CNN_GELU_TANH, CNN_SILU };

/* What follows a norm in the same pass. */
enum { CNN_THEN_NOTHING, CNN_THEN_RELU, CNN_THEN_GELU };

/* Images x and y (n, h, w, c) of an augmentation: each of bytes, or of float or double, as the table says. */
typedef struct {
    ptrdiff_t n, h, w, c;
    int bytes_in, bytes_out;
    int threads;
} cnn_images;

/* Winograd's method met a number that is not finite, which would spread to its neighbours: the result is of no use. */
enum { CNN_NOT_FINITE = 1 };

/* What a level offers for float or for double. */
typedef struct {
    int lanes;          /* elements of a vector */
    int tile_positions; /* of the register tile, MR */
#define KERNEL(result, name, ...) result (*name)(__VA_ARGS__);
#include "kernels.def"
#undef KERNEL
} cnn_kernels;
