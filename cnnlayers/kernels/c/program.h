/* A program: the calls of kernels that compute a net for batches of one shape, done one after the other. */
#pragma once

#include "table.h"

/* Where an operand lies: nowhere (it is not needed), in one of the arrays that each run brings, or in the arena, the
   one block of memory for all that lies between. */
typedef enum { CNN_NOWHERE, CNN_IN_ARRAY, CNN_IN_ARENA } cnn_place;

typedef struct {
    cnn_place place;
    ptrdiff_t at; /* which array; or bytes from the arena's beginning */
} cnn_operand;

/* What a call computes: a kernel of the table, or, after these, what needs none. */
typedef enum {
    CNN_CALL_DIRECT,
    CNN_CALL_DEPTHWISE,
    CNN_CALL_SEPARABLE,
    CNN_CALL_STRETCHED,
    CNN_CALL_WINOGRAD,
    CNN_CALL_DIRECT_INPUT_GRAD,
    CNN_CALL_DEPTHWISE_INPUT_GRAD,
    CNN_CALL_TURNED_INPUT_GRAD,
    CNN_CALL_DOTS_INPUT_GRAD,
    CNN_CALL_WINOGRAD_INPUT_GRAD,
    CNN_CALL_RELU,
    CNN_CALL_ADD,
    CNN_CALL_ADD_BIAS,
    CNN_CALL_SCALE_CHANNELS,
    CNN_CALL_MULTIPLY,
    CNN_CALL_ACTIVATION,
    CNN_CALL_BATCH_NORM,
    CNN_CALL_GROUP_NORM,
    CNN_CALL_LAYER_NORM,
    CNN_CALL_MAX_POOL,
    CNN_CALL_AVG_POOL,
    CNN_CALL_GLOBAL_AVG_POOL,
    CNN_CALL_GLOBAL_MAX_POOL,
    CNN_CALL_COPY_CHANNELS,
    CNN_CALL_PARTS, /* other programs, for a part of the batch each: the parts meanwhile stay in a cache */
    CNN_CALL_LEAVE  /* back to the caller, who computes the next value otherwise */
} cnn_call_kind;

enum { CNN_X, CNN_PLUS, CNN_Y, CNN_FIRST_SCRATCH, CNN_SECOND_SCRATCH, CNN_OPERANDS };

typedef struct cnn_program cnn_program;

/* A call's numbers; which of them count depends on its kind. W, b: weights and bias; ready: both packed, or NULL. */
typedef struct {
    cnn_call_kind kind;
    int otherwise; /* how many calls after this one are only done if it gives CNN_NOT_FINITE */
    int relu, threads;
    cnn_operand operands[CNN_OPERANDS];
    const void *W, *b, *ready;
    const void *mean, *scale; /* of a norm */
    union {
        cnn_conv conv; /* but `plus`, which is an operand */
        struct {
            cnn_conv depthwise, pointwise; /* W, b: of the first; ready: of the second */
            int biased;                    /* the second */
        } separable;
        cnn_pool pool;
        struct {
            ptrdiff_t n, positions, c; /* or n elements, or n rows of c channels */
            ptrdiff_t groups;          /* or the channels of a copy's result, of which `first` is the first */
            ptrdiff_t first;
            double number; /* eps, alpha */
            int which;     /* activation */
        } rows;
        struct {
            const cnn_program *larger, *smaller; /* the first parts have a sample more than the others */
            ptrdiff_t n, count;                  /* samples, parts */
            size_t x_bytes, y_bytes;             /* of a sample */
            size_t arena;                        /* bytes of a thread's; they lie in the first scratch memory */
        } parts;
    } of;
} cnn_call;

struct cnn_program {
    const cnn_kernels *kernels;
    cnn_call *calls;
    ptrdiff_t count;
    size_t item; /* bytes of an element */
};

/* What cnn_run returns in place of a call's number. CNN_UNDONE: in a part of the batch a number is not finite. */
enum { CNN_NO_MEMORY = -1, CNN_UNDONE = -2 };

/* Do the calls from number `first` on, until all are done or one wants to leave. Returns its number, or `count`, or
   what is above. arrays: the addresses of the arrays that operands lie in. */
ptrdiff_t cnn_run(const cnn_program *p, ptrdiff_t first, void *const *arrays, char *arena);
