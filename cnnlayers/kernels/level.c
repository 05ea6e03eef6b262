/* All kernels for one instruction-set level: compiled once for each, with its own flags and LEVEL, VBYTES, MR, MW. */
#include "kernels.h"
#include "parallel.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __has_builtin
#define CAN_SHUFFLE __has_builtin(__builtin_shufflevector) /* GCC has it from version 12 */
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#define REAL float
#define T(name) JOIN(name, f32)
#include "all.h"
#undef REAL
#undef T
#undef VL
#undef NR
#undef VEC
#undef MASK
#undef LOAD
#undef STORE
#undef INLINE
#undef SQRT
#undef NUMBER
#undef SIGN

#define REAL double
#define T(name) JOIN(name, f64)
#include "all.h"

const cnn_kernels JOIN(cnn_level, LEVEL)[2] = {
#define TABLE(t, real)                                                                                                \
    {                                                                                                                 \
        (int)(VBYTES / sizeof(real)), JOIN(conv_forward, t), JOIN(conv_packed, t), JOIN(conv_pack, t),                \
        JOIN(conv_input_grad, t), JOIN(conv_weight_grad, t), JOIN(winograd_forward, t), JOIN(winograd_packed, t),     \
        JOIN(winograd_pack, t), JOIN(winograd_input_grad, t), JOIN(winograd_weight_grad, t),                          \
        JOIN(max_pool, t), JOIN(max_pool_input_grad, t), JOIN(avg_pool, t), JOIN(avg_pool_input_grad, t),             \
        JOIN(column_sums, t), JOIN(relu, t), JOIN(finish_grad, t), JOIN(add, t),                                      \
        JOIN(activation, t), JOIN(activation_grad, t), JOIN(global_avg_pool, t),                                      \
        JOIN(global_avg_pool_input_grad, t),                                                                          \
        JOIN(global_max_pool, t), JOIN(global_max_pool_input_grad, t), JOIN(batch_norm, t),                           \
        JOIN(batch_norm_apply, t), JOIN(move_average, t), JOIN(batch_norm_grad, t), JOIN(sgd, t), JOIN(rmsprop, t),   \
        JOIN(adagrad, t), JOIN(adam, t), JOIN(softmax_loss, t), JOIN(dropout, t), JOIN(gather_rows, t),               \
        JOIN(add_bias, t), JOIN(scale_channels, t), JOIN(group_norm, t), JOIN(group_norm_grad, t),                    \
        JOIN(layer_norm, t), JOIN(layer_norm_grad, t), JOIN(place_images, t), JOIN(warp_images, t),                   \
        JOIN(jitter_images, t), JOIN(blend_images, t),                                                                \
    }
    TABLE(f32, float), TABLE(f64, double)};
