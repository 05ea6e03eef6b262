/* All kernels of one instruction-set level and one dtype. setup.py compiles this file once for each pair, with the level's
   flags and REAL, REAL_BITS, VBYTES, MR, MW and TABLE, the name of the table. */
#include "activation.h"
#include "affine.h"
#include "augment.h"
#include "batch_norm.h"
#include "by_channel.h"
#include "channels.h"
#include "conv.h"
#include "depthwise.h"
#include "dropout.h"
#include "elementwise.h"
#include "gather_rows.h"
#include "global_pool.h"
#include "group_norm.h"
#include "layer_norm.h"
#include "optimizer.h"
#include "pool.h"
#include "softmax.h"
#include "table.h"
#include "weight_grad.h"
#include "winograd_conv.h"
#include "winograd_weight_grad.h"

const cnn_kernels TABLE = {
    .lanes = VL,
    .conv_forward = conv_forward,
    .conv_packed = conv_packed,
    .conv_pack = conv_pack,
    .conv_input_grad = conv_input_grad,
    .conv_weight_grad = conv_weight_grad,
    .winograd_forward = winograd_forward,
    .winograd_packed = winograd_packed,
    .winograd_pack = winograd_pack,
    .winograd_input_grad = winograd_input_grad,
    .winograd_weight_grad = winograd_weight_grad,
    .max_pool = max_pool,
    .max_pool_input_grad = max_pool_input_grad,
    .avg_pool = avg_pool,
    .avg_pool_input_grad = avg_pool_input_grad,
    .column_sums = column_sums,
    .relu = relu,
    .finish_grad = finish_grad,
    .add = add,
    .activation = activation,
    .activation_grad = activation_grad,
    .global_avg_pool = global_avg_pool,
    .global_avg_pool_input_grad = global_avg_pool_input_grad,
    .global_max_pool = global_max_pool,
    .global_max_pool_input_grad = global_max_pool_input_grad,
    .batch_norm = batch_norm,
    .batch_norm_apply = batch_norm_apply,
    .move_average = move_average,
    .batch_norm_grad = batch_norm_grad,
    .sgd = sgd,
    .rmsprop = rmsprop,
    .adagrad = adagrad,
    .adam = adam,
    .softmax_loss = softmax_loss,
    .dropout = dropout,
    .gather_rows = gather_rows,
    .add_bias = add_bias,
    .scale_channels = scale_channels,
    .group_norm = group_norm,
    .group_norm_grad = group_norm_grad,
    .layer_norm = layer_norm,
    .layer_norm_grad = layer_norm_grad,
    .place_images = place_images,
    .warp_images = warp_images,
    .jitter_images = jitter_images,
    .blend_images = blend_images,
};
