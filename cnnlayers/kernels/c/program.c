#include "program.h"
#include "parallel.h"

#include <stdatomic.h>
#include <string.h>

/* A call with its operands' addresses; those that it does not need are NULL. */
typedef struct {
    const cnn_program *program;
    const cnn_call *call;
    void *at[CNN_OPERANDS];
} Bound;

typedef int (*Run)(const cnn_kernels *k, const cnn_call *c, const Bound *o);

/* ---- convolutions and products ---- */

static cnn_conv convolution(const cnn_call *c, const Bound *o) {
    cnn_conv s = c->of.conv;
    s.plus = o->at[CNN_PLUS];
    return s;
}

static int run_direct(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->direct_forward(&c->of.conv, o->at[CNN_X], c->W, c->b, c->ready, o->at[CNN_Y]);
}

static int run_depthwise(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->depthwise_forward(&c->of.conv, o->at[CNN_X], c->W, c->b, o->at[CNN_Y]);
}

static int run_separable(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->separable_forward(&c->of.separable.depthwise, &c->of.separable.pointwise, o->at[CNN_X], c->W, c->b,
                                c->ready, c->of.separable.biased, o->at[CNN_Y]);
}

static int run_stretched(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    const cnn_conv *s = &c->of.conv;
    return k->stretched_forward(s->n * s->h * s->w, s->c, s->f, o->at[CNN_X], c->W, c->b, o->at[CNN_Y], s->relu,
                                s->threads);
}

static int run_winograd(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    cnn_conv s = convolution(c, o);
    return k->winograd_forward(&s, o->at[CNN_X], c->W, c->b, c->ready, o->at[CNN_Y]);
}

static int run_direct_input_grad(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->direct_input_grad(&c->of.conv, o->at[CNN_X], c->W, o->at[CNN_Y]);
}

static int run_depthwise_input_grad(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->depthwise_input_grad(&c->of.conv, o->at[CNN_X], c->W, o->at[CNN_Y]);
}

static int run_turned_input_grad(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    const cnn_conv *s = &c->of.conv;
    return k->turned_input_grad(s->n * s->h * s->w, s->c, s->f, o->at[CNN_X], c->W, o->at[CNN_Y], s->threads);
}

static int run_dots_input_grad(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    const cnn_conv *s = &c->of.conv;
    return k->dots_input_grad(s->n * s->h * s->w, s->c, s->f, o->at[CNN_X], c->W, o->at[CNN_Y], s->threads);
}

static int run_winograd_input_grad(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->winograd_input_grad(&c->of.conv, o->at[CNN_X], c->W, o->at[CNN_Y]);
}

/* ---- one number, or one channel, after the other ---- */

static int run_relu(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    k->relu(c->of.rows.n, o->at[CNN_X], o->at[CNN_Y], c->threads);
    return 0;
}

static int run_add(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    k->add(c->of.rows.n, o->at[CNN_X], o->at[CNN_PLUS], o->at[CNN_Y], c->relu, c->threads);
    return 0;
}

static int run_add_bias(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->add_bias(c->of.rows.n, c->of.rows.c, o->at[CNN_X], c->b, o->at[CNN_Y], c->relu, c->threads);
}

static int run_scale_channels(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->scale_channels(c->of.rows.n, c->of.rows.positions, c->of.rows.c, o->at[CNN_X], o->at[CNN_PLUS],
                             o->at[CNN_Y], c->threads);
}

static int run_multiply(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    k->multiply(c->of.rows.n, o->at[CNN_X], o->at[CNN_PLUS], o->at[CNN_Y], c->threads);
    return 0;
}

static int run_activation(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    k->activation(c->of.rows.which, c->of.rows.n, o->at[CNN_X], o->at[CNN_Y], c->of.rows.number, c->threads);
    return 0;
}

/* ---- norms: W is gamma, b is beta ---- */

static int run_batch_norm(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->batch_norm_apply(c->of.rows.n, c->of.rows.c, o->at[CNN_X], c->W, c->b, c->mean, c->scale, o->at[CNN_PLUS],
                               o->at[CNN_Y], c->relu, c->threads);
}

static int run_group_norm(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->group_norm(c->of.rows.n, c->of.rows.positions, c->of.rows.c, c->of.rows.groups, o->at[CNN_X], c->W, c->b,
                         c->of.rows.number, o->at[CNN_FIRST_SCRATCH], o->at[CNN_SECOND_SCRATCH], o->at[CNN_Y], c->relu,
                         c->threads);
}

static int run_layer_norm(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->layer_norm(c->of.rows.n, c->of.rows.c, o->at[CNN_X], c->W, c->b, c->of.rows.number,
                         o->at[CNN_FIRST_SCRATCH], o->at[CNN_SECOND_SCRATCH], o->at[CNN_Y], c->threads);
}

/* ---- pools ---- */

static int run_max_pool(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->max_pool(&c->of.pool, o->at[CNN_X], o->at[CNN_Y], NULL);
}

static int run_avg_pool(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->avg_pool(&c->of.pool, o->at[CNN_X], c->scale, o->at[CNN_Y]);
}

static int run_global_avg_pool(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->global_avg_pool(c->of.rows.n, c->of.rows.positions, c->of.rows.c, o->at[CNN_X], o->at[CNN_Y], c->threads);
}

static int run_global_max_pool(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    return k->global_max_pool(c->of.rows.n, c->of.rows.positions, c->of.rows.c, o->at[CNN_X], o->at[CNN_Y],
                              o->at[CNN_FIRST_SCRATCH], c->threads);
}

/* ---- channels side by side ---- */

#define COPIED 65536 /* bytes of a task, about */

static ptrdiff_t rows_of_a_copy(const Bound *o) {
    return COPIED / (o->call->of.rows.c * (ptrdiff_t)o->program->item) + 1;
}

static void copy_task(void *job, ptrdiff_t task) {
    const Bound *o = job;
    const cnn_call *c = o->call;
    size_t from = (size_t)c->of.rows.c * o->program->item, to = (size_t)c->of.rows.groups * o->program->item;
    ptrdiff_t each = rows_of_a_copy(o), first = task * each;
    ptrdiff_t last = first + each < c->of.rows.n ? first + each : c->of.rows.n;
    const char *x = (const char *)o->at[CNN_X] + (size_t)first * from;
    char *y = (char *)o->at[CNN_Y] + (size_t)first * to + (size_t)c->of.rows.first * o->program->item;
    for (ptrdiff_t row = first; row < last; row++, x += from, y += to)
        memcpy(y, x, from);
}

static int run_copy_channels(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    ptrdiff_t each = rows_of_a_copy(o);
    Bound job = *o;
    (void)k;
    cnn_parallel((c->of.rows.n + each - 1) / each, c->threads, copy_task, &job);
    return 0;
}

/* ---- parts of the batch ---- */

typedef struct {
    const Bound *of;
    atomic_ptrdiff_t next; /* the part that no thread has taken yet */
    atomic_int result;
} Parts;

static int run_call(const cnn_program *p, ptrdiff_t number, void *const *arrays, char *arena);

/* What a thread does: part after part, in an arena of its own. It stops at a number that is not finite, since which
   kernel then computes the other samples must not depend on how the batch is cut. */
static void parts_task(void *job, ptrdiff_t thread) {
    Parts *parts = job;
    const Bound *o = parts->of;
    const cnn_call *c = o->call;
    ptrdiff_t least = c->of.parts.n / c->of.parts.count, larger = c->of.parts.n % c->of.parts.count;
    char *arena = (char *)o->at[CNN_FIRST_SCRATCH] + (size_t)thread * c->of.parts.arena;
    for (ptrdiff_t part; (part = atomic_fetch_add(&parts->next, 1)) < c->of.parts.count;) {
        size_t first = (size_t)(part * least + (part < larger ? part : larger));
        void *arrays[] = {(char *)o->at[CNN_X] + first * c->of.parts.x_bytes,
                          (char *)o->at[CNN_Y] + first * c->of.parts.y_bytes};
        const cnn_program *p = part < larger ? c->of.parts.larger : c->of.parts.smaller;
        for (ptrdiff_t i = 0; i < p->count; i += 1 + p->calls[i].otherwise) {
            int result = run_call(p, i, arrays, arena);
            if (result != 0) {
                atomic_store(&parts->result, result);
                return;
            }
        }
    }
}

static int run_parts(const cnn_kernels *k, const cnn_call *c, const Bound *o) {
    Parts parts = {.of = o};
    (void)k;
    cnn_parallel(c->threads, c->threads, parts_task, &parts);
    return atomic_load(&parts.result);
}

/* ---- all of them ---- */

static const Run runs[] = {
    [CNN_CALL_DIRECT] = run_direct,
    [CNN_CALL_DEPTHWISE] = run_depthwise,
    [CNN_CALL_SEPARABLE] = run_separable,
    [CNN_CALL_STRETCHED] = run_stretched,
    [CNN_CALL_WINOGRAD] = run_winograd,
    [CNN_CALL_DIRECT_INPUT_GRAD] = run_direct_input_grad,
    [CNN_CALL_DEPTHWISE_INPUT_GRAD] = run_depthwise_input_grad,
    [CNN_CALL_TURNED_INPUT_GRAD] = run_turned_input_grad,
    [CNN_CALL_DOTS_INPUT_GRAD] = run_dots_input_grad,
    [CNN_CALL_WINOGRAD_INPUT_GRAD] = run_winograd_input_grad,
    [CNN_CALL_RELU] = run_relu,
    [CNN_CALL_ADD] = run_add,
    [CNN_CALL_ADD_BIAS] = run_add_bias,
    [CNN_CALL_SCALE_CHANNELS] = run_scale_channels,
    [CNN_CALL_MULTIPLY] = run_multiply,
    [CNN_CALL_ACTIVATION] = run_activation,
    [CNN_CALL_BATCH_NORM] = run_batch_norm,
    [CNN_CALL_GROUP_NORM] = run_group_norm,
    [CNN_CALL_LAYER_NORM] = run_layer_norm,
    [CNN_CALL_MAX_POOL] = run_max_pool,
    [CNN_CALL_AVG_POOL] = run_avg_pool,
    [CNN_CALL_GLOBAL_AVG_POOL] = run_global_avg_pool,
    [CNN_CALL_GLOBAL_MAX_POOL] = run_global_max_pool,
    [CNN_CALL_COPY_CHANNELS] = run_copy_channels,
    [CNN_CALL_PARTS] = run_parts,
};

static void *address(const cnn_operand *o, void *const *arrays, char *arena) {
    if (o->place == CNN_IN_ARRAY)
        return arrays[o->at];
    return o->place == CNN_IN_ARENA ? arena + o->at : NULL;
}

static int run_call(const cnn_program *p, ptrdiff_t number, void *const *arrays, char *arena) {
    const cnn_call *c = &p->calls[number];
    Bound o = {p, c, {NULL}};
    for (int j = 0; j < CNN_OPERANDS; j++)
        o.at[j] = address(&c->operands[j], arrays, arena);
    return runs[c->kind](p->kernels, c, &o);
}

ptrdiff_t cnn_run(const cnn_program *p, ptrdiff_t first, void *const *arrays, char *arena) {
    for (ptrdiff_t i = first; i < p->count; i++) {
        if (p->calls[i].kind == CNN_CALL_LEAVE)
            return i;
        int result = run_call(p, i, arrays, arena);
        if (result == 0)
            i += p->calls[i].otherwise;
        else if (result != CNN_NOT_FINITE)
            return CNN_NO_MEMORY;
        else if (p->calls[i].otherwise == 0)
            return CNN_UNDONE;
    }
    return p->count;
}
