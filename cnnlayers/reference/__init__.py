"""Every equation of the package as NumPy or loops: slow, obviously right, what every fast path is tested against.

Nothing here is clever, nothing is shared with the code that it checks, and everything is computed in float64. A room
for each kind:

    windows, patches, conv, transposed, pool    a window that walks over its input, position by position
    norm, loss
    matrix                                      a convolution as a matrix

The functions of the first rooms are also here: `reference.conv_forward` is `reference.conv.conv_forward`.

Images are (N, H, W, C), signals (N, L, C).
"""

from . import conv, loss, matrix, norm, patches, pool, transposed, windows
from .conv import conv_backward, conv_forward
from .loss import softmax_loss
from .matrix import convolution_matrix, convolution_matrix_2d
from .norm import group_norm, layer_norm
from .patches import col2im, im2col
from .pool import avg_pool, avg_pool_backward, max_pool, max_pool_backward
from .transposed import conv_transpose

__all__ = [
    "avg_pool",
    "avg_pool_backward",
    "col2im",
    "conv",
    "conv_backward",
    "conv_forward",
    "conv_transpose",
    "convolution_matrix",
    "convolution_matrix_2d",
    "group_norm",
    "im2col",
    "layer_norm",
    "loss",
    "matrix",
    "max_pool",
    "max_pool_backward",
    "norm",
    "patches",
    "pool",
    "softmax_loss",
    "transposed",
    "windows",
]
