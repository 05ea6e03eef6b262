/* All kernels of one instruction-set level and one dtype. setup.py compiles this file once for each pair, with the
   level's flags and REAL, REAL_BITS, VBYTES, MR, MW and TABLE, the name of the table. */
#include "activation.h"
#include "augment.h"
#include "batch_norm.h"
#include "by_channel.h"
#include "channels.h"
#include "depthwise.h"
#include "depthwise_weight_grad.h"
#include "direct.h"
#include "dropout.h"
#include "elementwise.h"
#include "gather_rows.h"
#include "global_pool.h"
#include "group_norm.h"
#include "layer_norm.h"
#include "line_pool.h"
#include "matmul.h"
#include "optimizer.h"
#include "pool.h"
#include "separable.h"
#include "softmax.h"
#include "table.h"
#include "weight_grad.h"
#include "winograd_conv.h"
#include "winograd_weight_grad.h"

const cnn_kernels TABLE = {
    .lanes = VL,
    .tile_positions = MR,
#define KERNEL(result, name, ...) .name = name,
#include "kernels.def"
#undef KERNEL
};
