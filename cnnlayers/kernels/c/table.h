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

/* Images x and y (n, h, w, c) of an augmentation: each of bytes, or of float or double, as the table says. */
typedef struct {
    ptrdiff_t n, h, w, c;
    int bytes_in, bytes_out;
    int threads;
} cnn_images;

/* All return 0, or -1 if memory is out. Pointers are to float or double, as the table says. */
typedef struct {
    int lanes; /* of a vector */
    /* ready: NULL, or the packed weights and bias of conv_pack, conv_packed numbers */
    int (*conv_forward)(const cnn_conv *, const void *x, const void *W, const void *b, const void *ready, void *y);
    ptrdiff_t (*conv_packed)(const cnn_conv *);
    int (*conv_pack)(const cnn_conv *, const void *W, const void *b, void *ready);
    int (*conv_input_grad)(const cnn_conv *, const void *dy, const void *W, void *dx);
    /* db: the sums of dy over all positions, (f), or NULL */
    int (*conv_weight_grad)(const cnn_conv *, const void *x, const void *dy, void *dW, void *db);
    /* The same by Winograd's method, for stride 1 and the kernels and sides of winograd.h's methods. */
    int (*winograd_forward)(const cnn_conv *, const void *x, const void *W, const void *b, const void *ready, void *y);
    ptrdiff_t (*winograd_packed)(const cnn_conv *);
    void (*winograd_pack)(const cnn_conv *, const void *W, void *ready);
    int (*winograd_input_grad)(const cnn_conv *, const void *dy, const void *W, void *dx);
    int (*winograd_weight_grad)(const cnn_conv *, const void *x, const void *dy, void *dW, void *db);
    /* winner: one byte per number of y, the kernel element (row * kw + column), 255 for none. Needs kh * kw <= 255. */
    int (*max_pool)(const cnn_pool *, const void *x, void *y, unsigned char *winner);
    int (*max_pool_input_grad)(const cnn_pool *, const void *dy, const unsigned char *winner, void *dx);
    /* inverse_counts: (oh, ow), 1 / the number of pixels that each window counts. */
    int (*avg_pool)(const cnn_pool *, const void *x, const void *inverse_counts, void *y);
    int (*avg_pool_input_grad)(const cnn_pool *, const void *dy, const void *inverse_counts, void *dx);

    /* by_channel.h */
    int (*column_sums)(ptrdiff_t rows, ptrdiff_t c, const void *a, void *sums, int threads);

    /* elementwise.h */
    void (*relu)(ptrdiff_t count, const void *x, void *y, int threads);
    void (*finish_grad)(ptrdiff_t count, const void *dx, const void *plus, const void *rectified, void *to,
                        int threads);
    void (*add)(ptrdiff_t count, const void *a, const void *b, void *y, int relu, int threads);

    /* activation.h: a is y for Sigmoid and Tanh, else x; alpha is that of LeakyReLU and ELU. */
    void (*activation)(int kind, ptrdiff_t count, const void *x, void *y, double alpha, int threads);
    void (*activation_grad)(int kind, ptrdiff_t count, const void *a, const void *dy, void *dx, double alpha,
                            int threads);

    /* global_pool.h: x (n, positions, c), y (n, c); winner: the position of each maximum. */
    int (*global_avg_pool)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *x, void *y, int threads);
    int (*global_avg_pool_input_grad)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *dy, void *dx,
                                      int threads);
    int (*global_max_pool)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *x, void *y, ptrdiff_t *winner,
                           int threads);
    int (*global_max_pool_input_grad)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *dy,
                                      const ptrdiff_t *winner, void *dx, int threads);

    /* batch_norm.h; plus: what is added to y before the ReLU, of its shape; or NULL */
    int (*batch_norm)(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *gamma, const void *beta, double eps,
                      const void *plus, void *mean, void *var, void *scale, void *y, int relu, int threads);
    int (*batch_norm_apply)(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *gamma, const void *beta,
                            const void *mean, const void *scale, const void *plus, void *y, int relu, int threads);
    void (*move_average)(ptrdiff_t count, void *running, const void *value, double momentum, double factor);
    int (*batch_norm_grad)(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *dy, const void *gamma,
                           const void *beta, const void *mean, const void *scale, void *dgamma, void *dbeta, void *dx,
                           int on_batch, int relu, int threads);

    /* optimizer.h */
    void (*sgd)(ptrdiff_t count, void *w, const void *g, void *v, double lr, double momentum, int nesterov,
                double decay, int threads);
    void (*rmsprop)(ptrdiff_t count, void *w, const void *g, void *s, double lr, double alpha, double eps, double decay,
                    int threads);
    void (*adagrad)(ptrdiff_t count, void *w, const void *g, void *s, double lr, double eps, double decay, int threads);
    void (*adam)(ptrdiff_t count, void *w, const void *g, void *m, void *v, double lr, double beta1, double beta2,
                 double eps, double correction1, double correction2, double decay, int decoupled, int threads);

    /* softmax.h: labels below c, or NULL and rows (n, c); weights (c,) or NULL. c is at least 1. */
    int (*softmax_loss)(ptrdiff_t n, ptrdiff_t c, const void *z, const int64_t *labels, const double *rows,
                        const double *weights, double smoothing, double divisor, double *loss, void *dz, int threads);

    /* dropout.h */
    void (*dropout)(ptrdiff_t count, const void *x, double p, uint64_t key, void *y, int threads);

    /* gather_rows.h: rows of `size` numbers, or of `size` bytes for CNN_SAME */
    void (*gather_rows)(ptrdiff_t count, ptrdiff_t size, const void *source, cnn_source kind, const int64_t *indices,
                        void *rows, int threads);

    /* channels.h: x (rows, c) + b; x (n, positions, c) m, m (n, c) */
    int (*add_bias)(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *b, void *y, int relu, int threads);
    int (*scale_channels)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, const void *x, const void *m, void *y,
                          int threads);

    /* group_norm.h: x (n, positions, c), mean and scale (n, c); groups divide c */
    int (*group_norm)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, ptrdiff_t groups, const void *x, const void *gamma,
                      const void *beta, double eps, void *mean, void *scale, void *y, int relu, int threads);
    int (*group_norm_grad)(ptrdiff_t n, ptrdiff_t positions, ptrdiff_t c, ptrdiff_t groups, const void *x,
                           const void *dy, const void *gamma, const void *beta, const void *mean, const void *scale,
                           void *dgamma, void *dbeta, void *dx, int relu, int threads);

    /* layer_norm.h: x (rows, c), mean and scale (rows) */
    int (*layer_norm)(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *gamma, const void *beta, double eps,
                      void *mean, void *scale, void *y, int threads);
    int (*layer_norm_grad)(ptrdiff_t rows, ptrdiff_t c, const void *x, const void *dy, const void *gamma,
                           const void *mean, const void *scale, void *dgamma, void *dbeta, void *dx, int threads);

    /* augment.h */
    void (*place_images)(const cnn_images *, const void *x, const int *places, double fill, double hole, void *y);
    void (*warp_images)(const cnn_images *, const void *x, const double *maps, double fill, void *y);
    void (*jitter_images)(const cnn_images *, const void *x, const double *factors, void *y);
    void (*blend_images)(const cnn_images *, const void *x, const int64_t *partners, const double *shares, void *y);
} cnn_kernels;
