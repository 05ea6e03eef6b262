"""Every equation of the package as NumPy or loops: slow, obviously right, what every fast path is tested against.

Nothing here is clever, nothing is shared with the code that it checks, and everything is computed in float64. For each
layer there is a function forward and one backward, `f` and `f_backward`, in a room of its kind:

    affine, activations, hard, smooth, gates        each number or row for itself
    softmax, scale
    windows, patches, conv, transposed, pool        a window that walks over its input, position by position
    global_pool, shapes, part, upsample, resize, dropout
    norm, sample_norm, instance_norm, fixed_norm    means, variances and what their gradients are
    containers, products                            the chain rule; a skip connection; branches

and besides those

    loss, sigmoid_loss                              losses, each with its gradient
    optimizers                                      one step of each
    matrix                                          a convolution as a matrix
    winograd                                        a convolution with fewer multiplications

Convolution, pooling and some others have a short name too: `reference.conv_forward` is `reference.conv.conv_forward`.
Images are (N, H, W, C), signals (N, L, C); in comments δ is dL/dy.
"""

from . import (
    activations,
    affine,
    containers,
    conv,
    dropout,
    fixed_norm,
    gates,
    global_pool,
    hard,
    instance_norm,
    loss,
    matrix,
    norm,
    optimizers,
    part,
    patches,
    pool,
    products,
    resize,
    sample_norm,
    scale,
    shapes,
    sigmoid_loss,
    smooth,
    softmax,
    transposed,
    upsample,
    windows,
    winograd,
)
from .conv import conv_backward, conv_forward
from .loss import softmax_loss
from .matrix import convolution_matrix, convolution_matrix_2d
from .patches import col2im, im2col
from .pool import avg_pool, avg_pool_backward, max_pool, max_pool_backward
from .sample_norm import group_norm, layer_norm
from .transposed import conv_transpose

__all__ = [
    "activations",
    "affine",
    "avg_pool",
    "avg_pool_backward",
    "col2im",
    "containers",
    "conv",
    "conv_backward",
    "conv_forward",
    "conv_transpose",
    "convolution_matrix",
    "convolution_matrix_2d",
    "dropout",
    "fixed_norm",
    "gates",
    "global_pool",
    "group_norm",
    "hard",
    "im2col",
    "instance_norm",
    "layer_norm",
    "loss",
    "matrix",
    "max_pool",
    "max_pool_backward",
    "norm",
    "optimizers",
    "part",
    "patches",
    "pool",
    "products",
    "resize",
    "sample_norm",
    "scale",
    "shapes",
    "sigmoid_loss",
    "smooth",
    "softmax",
    "softmax_loss",
    "transposed",
    "upsample",
    "windows",
    "winograd",
]
