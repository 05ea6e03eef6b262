/* Every kernel, for REAL and T(name): level.c includes this once for float and once for double. */
#include "simd.h"

#include "elementwise.h"

#include "tile.h"

#include "pack.h"

#include "engine.h"

#include "gather.h"

#include "depthwise.h"

#include "affine.h"
#include "conv.h"
#include "rows.h"
#include "wgrad.h"

#include "tiles.h"
#include "winograd.h"

#include "winograd_conv.h"
#include "winograd_grad.h"

#include "pool.h"

#include "vmath.h"

#include "activation.h"
#include "global_pool.h"
#include "channels.h"
#include "norm.h"
#include "group_norm.h"
#include "layer_norm.h"
#include "optimizer.h"

#include "batch.h"
#include "dropout.h"
#include "softmax.h"
#include "augment.h"
